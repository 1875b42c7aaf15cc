import {
  flag,
  int32,
  intOrText,
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

/** Whether a list has any items, which are not kept. */
const isGiven: Read<boolean> = (raw) => Array.isArray(raw) && raw.length > 0;
const securityContext = optional(
  record({
    runAsUser: number,
    runAsGroup: number,
    privileged: flag,
    capabilities: optional(record({ add: list(name) })),
  }),
);
const container = {
  name,
  image: text,
  command: isGiven,
  args: isGiven,
  env: list(record({ name })),
  envFrom: isGiven,
  volumeMounts: list(record({ mountPath: text })),
  securityContext,
};
const httpGet = optional(record({ port: intOrText, host: text }));
const probe = optional(record({ httpGet, grpc: optional(record({ port: int32 })) }));
const hook = optional(record({ httpGet }));
const probes = {
  readinessProbe: probe,
  startupProbe: probe,
  livenessProbe: probe,
  lifecycle: optional(record({ postStart: hook, preStop: hook })),
};
const containerPorts = list(record({ containerPort: int32, hostPort: int32, name: text, protocol: text }));
const pod = record({
  metadata: record({ labels: map(text), annotations: map(text) }),
  spec: record({
    serviceAccountName: text,
    serviceAccount: text,
    hostNetwork: flag,
    securityContext: optional(record({ runAsUser: number, runAsGroup: number })),
    initContainers: list(record({ ...container, ...probes, ports: containerPorts, restartPolicy: text })),
    /** Only Pods have these, which their subresource adds to a pod that runs. */
    ephemeralContainers: list(record(container)),
    containers: list(
      record({
        ...container,
        ...probes,
        ports: containerPorts,
      }),
    ),
  }),
});
type PodSpec = Value<typeof pod>["spec"];
type ContainerFields = PodSpec["ephemeralContainers"][number];

/** A port that a container declares. */
export interface PodPort {
  readonly number: number;
  readonly name: string | undefined;
  /** UDP or SCTP; undefined: TCP. */
  readonly protocol?: string;
}

const probeKinds = ["readinessProbe", "startupProbe", "livenessProbe"] as const;
const hookKinds = ["postStart", "preStop"] as const;

/**
 * A probe or a hook by which the kubelet sends a request to a port of the pod. One that only opens a connection, or asks another host,
 * is none.
 */
export interface PodProbe {
  /** The path in the pod (template): `["spec", "containers", 0, "readinessProbe"]`. */
  readonly at: Path;
  readonly container: string;
  readonly kind: (typeof probeKinds | typeof hookKinds)[number];
  readonly port: number;
}

/** A container that has a name or a privilege of Istio's own containers. */
export interface UnusualContainer extends ContainerFields {
  /** The path in the pod (template): `["spec", "containers", 0]`. */
  readonly at: Path;
}

export interface WorkloadFields {
  /** The path of the pod (template) in the raw object: `["spec", "template"]`; `[]` for a Pod. */
  readonly podAt: Path;
  readonly pod: {
    readonly labels: Readonly<Record<string, string>>;
    readonly annotations: Readonly<Record<string, string>>;
    readonly serviceAccountName: string;
    readonly hostNetwork: boolean;
    /** Whether a container can be reached at a port of the node. */
    readonly hasHostPort: boolean;
    /** Of the containers, and of init containers that run on beside them. */
    readonly ports: readonly PodPort[];
    /** Of the same containers, without Istio's proxy. */
    readonly probes: readonly PodProbe[];
    /** Whether a container or init container has the name of Istio's proxy. */
    readonly hasProxyContainer: boolean;
    /** Whether there are containers other than the proxy; init containers do not count. */
    readonly hasOtherContainers: boolean;
    /** Containers with a reserved name, with privileges, or with a user of their own. Others are not kept. */
    readonly unusual: readonly UnusualContainer[];
    /** The user and the group of containers that set none. */
    readonly runAs: readonly number[];
  };
}

const templateOf: Readonly<Record<string, Path>> = { Pod: [], CronJob: ["spec", "jobTemplate", "spec", "template"] };
const template: Path = ["spec", "template"];

/** Istio pkg/kube/inject/inject.go ProxyContainerName; native sidecars are init containers. */
const proxyContainer = "istio-proxy";
const isProxyContainer = ({ name }: { readonly name: string }): boolean => name === proxyContainer;

/** All kinds that run pods (Deployment, StatefulSet, ..., Pod) are one kind, of which only the pod template is read. */
export const readWorkload: Read<WorkloadFields> = (raw, malformed) => {
  const podAt = templateOf[String(member(raw, "kind"))] ?? template;
  let from = raw;
  for (const step of podAt) from = member(from, String(step));
  const start = malformed.length;
  const { metadata, spec } = pod(from, malformed);
  for (let i = start; i < malformed.length; i++) (malformed[i] as Malformed).at.unshift(...podAt);
  const beside = spec.initContainers.filter((one) => one.restartPolicy === "Always" && !isProxyContainer(one));
  const ports = [...spec.containers, ...beside].flatMap((container) =>
    container.ports.flatMap(({ containerPort, name, protocol }): PodPort[] => {
      if (containerPort === undefined) return [];
      const isTcp = protocol === undefined || protocol === "" || protocol === "TCP";
      return [{ number: containerPort, name, ...(isTcp ? {} : { protocol }) }];
    }),
  );
  return {
    podAt,
    pod: {
      labels: metadata.labels,
      annotations: metadata.annotations,
      // The old name of the field counts without the new one (Kubernetes pkg/apis/core/v1/conversion.go Convert_v1_PodSpec_To_core_PodSpec).
      serviceAccountName: spec.serviceAccountName || spec.serviceAccount || "default",
      hostNetwork: spec.hostNetwork ?? false,
      hasHostPort: spec.containers.some(({ ports }) => ports.some(({ hostPort }) => Boolean(hostPort))),
      ports,
      probes: probesIn(spec),
      hasProxyContainer: spec.containers.some(isProxyContainer) || spec.initContainers.some(isProxyContainer),
      hasOtherContainers: spec.containers.some((container) => !isProxyContainer(container)),
      unusual: unusualIn(spec),
      runAs: idsOf(spec.securityContext),
    },
  };
};

const none: readonly never[] = Object.freeze([]);

/** Most pods are read without any, and share one empty list. */
function probesIn({ containers, initContainers }: PodSpec): readonly PodProbe[] {
  const found = [
    ...containers.flatMap((one, i) => probesOf(one, ["spec", "containers", i])),
    ...initContainers.flatMap((one, i) =>
      one.restartPolicy === "Always" ? probesOf(one, ["spec", "initContainers", i]) : [],
    ),
  ];
  return found.length === 0 ? none : found;
}

function probesOf(container: PodSpec["containers"][number], at: Path): readonly PodProbe[] {
  if (isProxyContainer(container)) return none;
  const { name, lifecycle, ports } = container;
  const found = [
    ...probeKinds.map((kind) => ({ at: [...at, kind], kind, port: portOf(container[kind], ports) })),
    ...hookKinds.map((kind) => ({ at: [...at, "lifecycle", kind], kind, port: portOf(lifecycle?.[kind], ports) })),
  ];
  return found.flatMap(({ port, ...one }) => (port === undefined ? [] : [{ ...one, container: name, port }]));
}

/** The port of a request. The kubelet looks up a name in the ports of the container (Kubernetes pkg/probe/util.go ResolveContainerPort). */
function portOf(
  probe: Partial<NonNullable<PodSpec["containers"][number]["livenessProbe"]>> | undefined,
  ports: PodSpec["containers"][number]["ports"],
): number | undefined {
  const { httpGet: request, grpc } = probe ?? {};
  if (request === undefined) return grpc?.port;
  if ((request.host ?? "") !== "") return undefined;
  const { port } = request;
  return typeof port === "string" ? ports.find(({ name }) => name === port)?.containerPort : port;
}

/** The names of the containers that the injector adds. */
const reservedNames: ReadonlySet<string> = new Set(["istio-proxy", "istio-init", "istio-validation"]);

/** Most pods have no such container, and share one empty list. */
function unusualIn({ containers, initContainers, ephemeralContainers }: PodSpec): readonly UnusualContainer[] {
  const found = [
    ...containers.map((one, i) => [one, ["spec", "containers", i]] as const),
    ...initContainers.map((one, i) => [one, ["spec", "initContainers", i]] as const),
    ...ephemeralContainers.map((one, i) => [one, ["spec", "ephemeralContainers", i]] as const),
  ].filter(([one]) => reservedNames.has(one.name) || isPrivileged(one));
  return found.length === 0
    ? none
    : found.map(([{ name, image, command, args, env, envFrom, volumeMounts, securityContext }, at]) => ({
        name,
        image,
        command,
        args,
        env,
        envFrom,
        volumeMounts,
        securityContext,
        at,
      }));
}

const isPrivileged = ({ securityContext }: ContainerFields): boolean =>
  securityContext?.privileged === true ||
  (securityContext?.capabilities?.add.length ?? 0) > 0 ||
  idsOf(securityContext).length > 0;

/** The user and the group that a security context sets. */
export function idsOf(
  context: { readonly runAsUser: number | undefined; readonly runAsGroup: number | undefined } | undefined,
): readonly number[] {
  const ids = [context?.runAsUser, context?.runAsGroup].filter((id) => id !== undefined);
  return ids.length === 0 ? none : ids;
}
