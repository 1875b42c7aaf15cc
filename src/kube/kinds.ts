import { readMeshConfig } from "./mesh-config.ts";
import {
  fingerprint,
  flag,
  int32,
  intOrText,
  isObject,
  list,
  type Malformed,
  map,
  member,
  name,
  number,
  optional,
  type Path,
  type Read,
  record,
  text,
  type Value,
} from "./read.ts";
import { readWorkload } from "./workload.ts";

const selector = optional(record({ matchLabels: optional(map(text)) }));
const labelSelector = record({
  matchLabels: map(text),
  matchExpressions: list(record({ key: name, operator: name, values: list(name) })),
});
const targetRef = record({ group: name, kind: name, name, namespace: text });
const port = optional(record({ number: int32, name: text }));
const destination = record({ host: name, subset: text, port });
const weighted = record({ destination, weight: int32 });
const stringMatch = optional(record({ exact: text, prefix: text, regex: text }));
const httpMatch = record({
  name: text,
  uri: stringMatch,
  method: stringMatch,
  authority: stringMatch,
  scheme: stringMatch,
  headers: map(stringMatch),
  withoutHeaders: map(stringMatch),
  queryParams: map(stringMatch),
  port: int32,
  sourceLabels: map(text),
  sourceNamespace: text,
  gateways: list(name),
  ignoreUriCase: flag,
});
const present = optional(record({}));
const redirect = record({
  uri: text,
  prefixRewrite: text,
  authority: text,
  scheme: text,
  port: int32,
  derivePort: intOrText,
  redirectCode: int32,
});
const rewrite = record({
  uri: text,
  authority: text,
  uriRegexRewrite: optional(record({ match: text, rewrite: text })),
});
const httpRoute = record({
  name: text,
  match: list(httpMatch),
  route: list(weighted),
  redirect: optional(redirect),
  directResponse: optional(record({ status: int32 })),
  delegate: optional(record({ name, namespace: text })),
  rewrite: optional(rewrite),
  fault: optional(record({ abort: present, delay: present })),
  mirror: optional(destination),
  mirrors: list(record({ destination, percentage: optional(record({ value: number })) })),
  mirrorPercent: int32,
  mirrorPercentage: optional(record({ value: number })),
  timeout: text,
  retries: optional(record({ attempts: int32, perTryTimeout: text, retryOn: text })),
});
const streamMatch = record({
  destinationSubnets: list(name),
  port: int32,
  sourceLabels: map(text),
  sourceNamespace: text,
  gateways: list(name),
});
const tcpRoute = record({ match: list(streamMatch), route: list(weighted) });
const tlsMatch = record({
  sniHosts: list(name),
  destinationSubnets: list(name),
  port: int32,
  sourceLabels: map(text),
  sourceNamespace: text,
  gateways: list(name),
});
const tlsRoute = record({ match: list(tlsMatch), route: list(weighted) });

const clientTls = optional(record({ mode: text, credentialName: text }));
const trafficPolicy = optional(
  record({
    tls: clientTls,
    portLevelSettings: list(record({ port, tls: clientTls })),
    connectionPool: present,
    outlierDetection: present,
    loadBalancer: present,
  }),
);
const peerMtls = optional(record({ mode: text }));
const source = record({
  principals: list(name),
  notPrincipals: list(name),
  requestPrincipals: list(name),
  notRequestPrincipals: list(name),
  namespaces: list(name),
  notNamespaces: list(name),
  serviceAccounts: list(name),
  notServiceAccounts: list(name),
  trustDomains: list(name),
  notTrustDomains: list(name),
  ipBlocks: list(name),
  notIpBlocks: list(name),
  remoteIpBlocks: list(name),
  notRemoteIpBlocks: list(name),
});
const operation = record({
  hosts: list(name),
  notHosts: list(name),
  ports: list(name),
  notPorts: list(name),
  methods: list(name),
  notMethods: list(name),
  paths: list(name),
  notPaths: list(name),
});

/** How the API server serves a kind: Meshward takes all versions of one resource for the same object. */
export interface Served {
  readonly group: string;
  readonly versions: readonly string[];
  readonly kind: string;
  readonly plural: string;
  readonly namespaced: boolean;
}

interface KindEntry<T> {
  readonly served: readonly Served[];
  readonly read: Read<T>;
}

const istioVersions = ["v1", "v1beta1", "v1alpha3"];
const networking = (kind: string, plural: string): Served => ({
  group: "networking.istio.io",
  versions: istioVersions,
  kind,
  plural,
  namespaced: true,
});
const security = (kind: string, plural: string): Served => ({
  group: "security.istio.io",
  versions: ["v1", "v1beta1"],
  kind,
  plural,
  namespaced: true,
});
const workload = (group: string, versions: readonly string[], kind: string, plural: string): Served => ({
  group,
  versions,
  kind,
  plural,
  namespaced: true,
});
const core = (kind: string, plural: string, namespaced: boolean): Served => ({
  group: "",
  versions: ["v1"],
  kind,
  plural,
  namespaced,
});
const clusterWide = (group: string, kind: string, plural: string): Served => ({
  group,
  versions: ["v1"],
  kind,
  plural,
  namespaced: false,
});
const serviceCalled = optional(record({ namespace: name, name, port: int32 }));
const clientConfig = optional(record({ service: serviceCalled }));
const entry = <T>(served: readonly Served[], read: Read<T>): KindEntry<T> => ({ served, read });

/**
 * One table: what Meshward knows of a kind. The fields read are the fields kept, and the types follow. Paths in
 * problems are those of the raw object.
 */
export const kinds = {
  VirtualService: entry(
    [networking("VirtualService", "virtualservices")],
    record({
      spec: record({
        hosts: list(name),
        gateways: list(name),
        exportTo: list(name),
        http: list(httpRoute),
        tcp: list(tcpRoute),
        tls: list(tlsRoute),
      }),
    }),
  ),
  DestinationRule: entry(
    [networking("DestinationRule", "destinationrules")],
    record({
      spec: record({
        host: name,
        exportTo: list(name),
        workloadSelector: selector,
        trafficPolicy,
        subsets: list(record({ name, labels: map(text), trafficPolicy })),
      }),
    }),
  ),
  ServiceEntry: entry(
    [networking("ServiceEntry", "serviceentries")],
    record({
      spec: record({
        hosts: list(name),
        location: text,
        resolution: text,
        exportTo: list(name),
        ports: list(record({ number: int32, name: text, protocol: text, targetPort: int32 })),
        workloadSelector: optional(record({ labels: map(text) })),
      }),
    }),
  ),
  Gateway: entry(
    [networking("Gateway", "gateways")],
    record({
      spec: record({
        selector: map(text),
        servers: list(
          record({
            hosts: list(name),
            port: optional(record({ number: int32, name: text, protocol: text })),
            tls: optional(record({ mode: text, httpsRedirect: flag, minProtocolVersion: text })),
          }),
        ),
      }),
    }),
  ),
  KubernetesGateway: entry(
    [
      {
        group: "gateway.networking.k8s.io",
        versions: ["v1", "v1beta1"],
        kind: "Gateway",
        plural: "gateways",
        namespaced: true,
      },
    ],
    record({
      spec: record({
        gatewayClassName: name,
        listeners: list(
          record({
            name,
            port: int32,
            protocol: text,
            hostname: text,
            allowedRoutes: optional(
              record({ namespaces: optional(record({ from: text, selector: optional(labelSelector) })) }),
            ),
          }),
        ),
      }),
      status: record({
        addresses: list(record({ value: name })),
        conditions: list(record({ type: name, status: name })),
      }),
    }),
  ),
  PeerAuthentication: entry(
    [security("PeerAuthentication", "peerauthentications")],
    record({ spec: record({ selector, mtls: peerMtls, portLevelMtls: map(peerMtls) }) }),
  ),
  AuthorizationPolicy: entry(
    [security("AuthorizationPolicy", "authorizationpolicies")],
    record({
      spec: record({
        selector,
        targetRef: optional(targetRef),
        targetRefs: list(targetRef),
        action: text,
        provider: optional(record({ name })),
        rules: list(
          record({
            from: list(record({ source })),
            to: list(record({ operation })),
            when: list(record({ key: name, values: list(name), notValues: list(name) })),
          }),
        ),
      }),
    }),
  ),
  RequestAuthentication: entry(
    [security("RequestAuthentication", "requestauthentications")],
    record({
      spec: record({
        selector,
        targetRef: optional(targetRef),
        targetRefs: list(targetRef),
        jwtRules: list(record({ issuer: text })),
      }),
    }),
  ),
  EnvoyFilter: entry(
    [{ ...networking("EnvoyFilter", "envoyfilters"), versions: ["v1alpha3"] }],
    record({
      spec: record({
        workloadSelector: optional(record({ labels: map(text) })),
        targetRefs: list(targetRef),
        priority: int32,
        configPatches: list(fingerprint),
      }),
    }),
  ),
  Service: entry(
    [core("Service", "services", true)],
    record({
      spec: record({
        type: text,
        selector: map(text),
        externalName: text,
        clusterIP: text,
        ports: list(record({ port: int32, name: text, targetPort: intOrText, protocol: text, appProtocol: text })),
      }),
    }),
  ),
  Workload: entry(
    [
      workload("apps", ["v1"], "Deployment", "deployments"),
      workload("apps", ["v1"], "StatefulSet", "statefulsets"),
      workload("apps", ["v1"], "DaemonSet", "daemonsets"),
      workload("apps", ["v1"], "ReplicaSet", "replicasets"),
      workload("batch", ["v1"], "Job", "jobs"),
      workload("batch", ["v1"], "CronJob", "cronjobs"),
      workload("argoproj.io", ["v1alpha1"], "Rollout", "rollouts"),
      core("ReplicationController", "replicationcontrollers", true),
      core("Pod", "pods", true),
    ],
    readWorkload,
  ),
  /** What makes the API server call a Service: admission webhooks, aggregated APIs, conversions between versions. */
  AdmissionWebhook: entry(
    [
      clusterWide("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations"),
      clusterWide("admissionregistration.k8s.io", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations"),
      clusterWide("apiregistration.k8s.io", "APIService", "apiservices"),
      clusterWide("apiextensions.k8s.io", "CustomResourceDefinition", "customresourcedefinitions"),
    ],
    record({
      webhooks: list(record({ clientConfig })),
      spec: record({
        service: serviceCalled,
        conversion: optional(record({ webhook: optional(record({ clientConfig })) })),
      }),
    }),
  ),
  Namespace: entry([core("Namespace", "namespaces", false)], record({ status: record({ phase: text }) })),
  MeshConfig: entry([core("ConfigMap", "configmaps", true)], readMeshConfig),
} satisfies Record<string, KindEntry<object>>;

export type Kind = keyof typeof kinds;
export const allKinds = Object.keys(kinds) as readonly Kind[];

const metadata = record({
  name,
  namespace: name,
  generateName: text,
  labels: map(text),
  annotations: map(text),
  uid: text,
  resourceVersion: text,
  creationTimestamp: text,
  deletionTimestamp: text,
  ownerReferences: list(record({ apiVersion: name, kind: name, name, controller: flag })),
});
export type ObjectMetadata = Value<typeof metadata>;

/** What every object has, whatever its kind. */
interface ObjectBase<K extends Kind> {
  readonly kind: K;
  /** As the object itself says it: `apps/v1` and `Deployment` for a Workload. */
  readonly apiVersion: string;
  readonly originKind: string;
  readonly metadata: ObjectMetadata;
  /** Only where something has the wrong type; no rule but object-malformed judges such an object. */
  readonly malformed?: readonly Malformed[];
  /** Only on a Namespace that other objects mention and the view does not hold: its labels are unknown. */
  readonly implied?: true;
}
export type ObjectOf<K extends Kind> = { [N in K]: ObjectBase<N> & Value<(typeof kinds)[N]["read"]> }[K];
export type AnyObject = ObjectOf<Kind>;

const servedKinds = new Map<string, Kind>();
for (const kind of allKinds)
  for (const served of kinds[kind].served) servedKinds.set(`${served.group}/${served.kind}`, kind);

/** The kind in the table for an object's apiVersion and kind, all served versions alike; undefined for kinds that no rule reads. */
export function kindOf(apiVersion: string, kind: string): Kind | undefined {
  const slash = apiVersion.indexOf("/");
  return servedKinds.get(`${slash < 0 ? "" : apiVersion.slice(0, slash)}/${kind}`);
}

/** How the API server serves an object of this table. */
export function servedAs(kind: Kind, originKind: string): Served {
  const found = kinds[kind].served.find((served) => served.kind === originKind);
  return found ?? (kinds[kind].served[0] as Served);
}

/**
 * The door. Everything that enters a view passes here, once. Total: arbitrary JSON in, an object out, and what has the
 * wrong type is listed in `malformed` with its path in the raw object.
 */
export function readObject<K extends Kind>(kind: K, raw: unknown, defaultNamespace = ""): ObjectOf<K> {
  const malformed: Malformed[] = [];
  const originKind = textOf(member(raw, "kind")) ?? servedAs(kind, "").kind;
  const served = servedAs(kind, originKind);
  const read = readAt("metadata", metadata, member(raw, "metadata"), malformed);
  const namespace = served.namespaced ? read.namespace || defaultNamespace : "";
  const fields = (kinds[kind].read as Read<object>)(raw, malformed);
  const object = {
    kind,
    apiVersion: textOf(member(raw, "apiVersion")) ?? "",
    originKind,
    metadata: { ...read, namespace },
    ...fields,
    ...(malformed.length > 0 ? { malformed } : {}),
  };
  return object as unknown as ObjectOf<K>;
}

const textOf = (raw: unknown): string | undefined => (typeof raw === "string" ? raw : undefined);

function readAt<T>(field: string, read: Read<T>, raw: unknown, malformed: Malformed[]): T {
  const start = malformed.length;
  const value = read(raw, malformed);
  for (let i = start; i < malformed.length; i++) malformed[i]?.at.unshift(field);
  return value;
}

/**
 * Reads an object whose kind only it itself says. Undefined: no rule reads this kind, or the ConfigMap is not a mesh
 * config. `defaultNamespace` is where an object without a namespace goes, as kubectl has it.
 */
export function readAny(raw: unknown, defaultNamespace = ""): AnyObject | undefined {
  if (!isObject(raw)) return undefined;
  const kind = kindOf(textOf(raw.apiVersion) ?? "", textOf(raw.kind) ?? "");
  if (kind === undefined || (kind === "MeshConfig" && !isMeshConfig(raw))) return undefined;
  return readObject(kind, raw, defaultNamespace);
}

/** istiod reads its mesh config from the ConfigMap `istio`, or `istio-<revision>`, key `mesh`. */
const isMeshConfig = (raw: unknown): boolean =>
  /^istio(-.+)?$/.test(textOf(member(member(raw, "metadata"), "name")) ?? "") &&
  member(member(raw, "data"), "mesh") !== undefined;

/** The key of an object among those of its kind: `namespace/name`; those of different origin may share a name. */
export function keyOf({ kind, originKind, metadata }: AnyObject): string {
  return kind === "Workload" || kind === "AdmissionWebhook"
    ? `${metadata.namespace}/${originKind}/${metadata.name}`
    : `${metadata.namespace}/${metadata.name}`;
}

/** One text for each object of a mesh: kinds of different groups may share what users call them. */
export const identityOf = (object: AnyObject): string => `${object.kind} ${keyOf(object)}`;

/** An object as users name it: `VirtualService payments/payments-api`, `Namespace payments`. */
export function idOf({ originKind, metadata }: AnyObject): string {
  const shown = metadata.name || `${metadata.generateName ?? ""}*`;
  return `${originKind} ${metadata.namespace === "" ? shown : `${metadata.namespace}/${shown}`}`;
}

/** A Namespace that other objects mention and nobody has shown: all that is known is its name. */
export function impliedNamespace(namespace: string): ObjectOf<"Namespace"> {
  const object = readObject("Namespace", { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } });
  return { ...object, implied: true };
}

/** An object that is there, or a place where one was looked for in vain (without a name: any object of the kind in the namespace). */
export type Witness =
  | AnyObject
  | { readonly absent: Kind; readonly namespace: string; readonly name: string | undefined };
export const absent = (kind: Kind, namespace: string, name?: string): Witness => ({ absent: kind, namespace, name });

export type { Path };
