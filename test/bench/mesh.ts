// Meshes of any size, made of objects as the API server sends them: with managed fields and the last applied manifest.

import { readAny } from "../../src/kube/object.ts";
import { type AllMeshSettings, defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";

export type Raw = Readonly<Record<string, unknown>> & {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: Readonly<Record<string, unknown>>;
};

interface Named {
  readonly name: string;
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

const networking = "networking.istio.io/v1";
const security = "security.istio.io/v1";
export const rootNamespace = "istio-system";
const objectsInNamespace = 100;

/** What a user writes. */
export function manifest(apiVersion: string, kind: string, named: Named, body: object): Raw {
  const labels = named.labels ?? { "app.kubernetes.io/name": named.name, team: named.namespace ?? "platform" };
  return { apiVersion, kind, metadata: { ...named, labels }, ...body };
}

/** The same as the API server keeps it. Each number makes another object: another uid, version and time. */
export function asStored({ apiVersion, kind, metadata, ...body }: Raw, stored: number): Raw {
  const time = new Date(Date.UTC(2026, 0, 1) + stored * 60_000).toISOString().replace(".000", "");
  return {
    apiVersion,
    kind,
    metadata: {
      annotations: {
        "kubectl.kubernetes.io/last-applied-configuration": `${JSON.stringify({ apiVersion, kind, metadata, ...body })}\n`,
      },
      creationTimestamp: time,
      generation: 3,
      ...metadata,
      managedFields: [
        {
          apiVersion,
          fieldsType: "FieldsV1",
          fieldsV1: {
            "f:metadata": {
              "f:annotations": { ".": {}, "f:kubectl.kubernetes.io/last-applied-configuration": {} },
              "f:labels": { ".": {}, "f:app.kubernetes.io/name": {}, "f:team": {} },
            },
            "f:spec": fieldsOf(body["spec"]),
          },
          manager: "kubectl-client-side-apply",
          operation: "Update",
          time,
        },
      ],
      resourceVersion: String(100_000 + stored),
      uid: `8c0e6b7e-1d2f-4c3b-9a5e-${String(stored).padStart(12, "0")}`,
    },
    ...body,
  };
}

const fieldsOf = (spec: unknown): object =>
  Object.fromEntries([[".", {}], ...Object.keys(spec ?? {}).map((key) => [`f:${key}`, {}])]);

interface Canary {
  readonly weights?: readonly [number, number];
  readonly subsets?: readonly [string, string];
  readonly gateways?: readonly string[];
}

export const virtualService = (named: Named, host: string, canary: Canary = {}): Raw => {
  const { weights = [90, 10], subsets = ["v1", "v2"], gateways } = canary;
  return manifest(networking, "VirtualService", named, {
    spec: {
      hosts: [host],
      ...(gateways === undefined ? {} : { gateways }),
      http: [
        {
          name: "canary",
          match: [{ uri: { prefix: "/api" }, headers: { "x-canary": { exact: "true" } } }],
          route: [{ destination: { host, subset: subsets[1], port: { number: 8080 } } }],
          retries: { attempts: 3, perTryTimeout: "2s", retryOn: "5xx,reset" },
          timeout: "10s",
        },
        {
          name: "primary",
          route: [
            { destination: { host, subset: subsets[0], port: { number: 8080 } }, weight: weights[0] },
            { destination: { host, subset: subsets[1], port: { number: 8080 } }, weight: weights[1] },
          ],
          timeout: "10s",
        },
      ],
    },
  });
};

export const destinationRule = (named: Named, host: string, subsets: readonly string[] = ["v1", "v2"]): Raw =>
  manifest(networking, "DestinationRule", named, {
    spec: {
      host,
      trafficPolicy: {
        connectionPool: { tcp: { maxConnections: 100 } },
        outlierDetection: { consecutive5xxErrors: 5, interval: "10s", baseEjectionTime: "30s" },
      },
      subsets: subsets.map((name) => ({ name, labels: { version: name } })),
    },
  });

export const peerAuthentication = (named: Named, mode: string, matchLabels?: Readonly<Record<string, string>>): Raw =>
  manifest(security, "PeerAuthentication", named, {
    spec:
      matchLabels === undefined
        ? { mtls: { mode } }
        : { selector: { matchLabels }, mtls: { mode }, portLevelMtls: { 9090: { mode } } },
  });

export const authorizationPolicy = (named: Named, spec: object): Raw =>
  manifest(security, "AuthorizationPolicy", named, { spec });

/** Lets one service account read. */
export const readers = (namespace: string, app: string, rules = 1): object => ({
  selector: { matchLabels: { app } },
  action: "ALLOW",
  rules: Array.from({ length: rules }, (_, i) => ({
    from: [{ source: { principals: [`cluster.local/ns/${namespace}/sa/reader-${i}`] } }],
    to: [{ operation: { methods: ["GET"], paths: ["/api/*"] } }],
  })),
});

export const deployment = (named: Named, app: string, version = "v1"): Raw =>
  manifest("apps/v1", "Deployment", named, {
    spec: {
      replicas: 3,
      selector: { matchLabels: { app, version } },
      template: {
        metadata: { labels: { app, version } },
        spec: {
          serviceAccountName: app,
          containers: [
            {
              name: "app",
              image: "registry.example.com/app:1.2.3",
              ports: [{ containerPort: 8080, name: "http" }],
              resources: { requests: { cpu: "100m", memory: "128Mi" }, limits: { memory: "256Mi" } },
              readinessProbe: { httpGet: { path: "/ready", port: "http" } },
            },
          ],
        },
      },
    },
  });

export const service = (named: Named, app: string): Raw =>
  manifest("v1", "Service", named, {
    spec: { type: "ClusterIP", selector: { app }, ports: [{ name: "http", port: 8080, targetPort: "http" }] },
  });

/** Every fourth one is protected. */
export const isProtectedTeam = (i: number): boolean => i % 4 === 0;

export const namespace = (name: string, labels: Readonly<Record<string, string>> = {}): Raw =>
  manifest("v1", "Namespace", { name, labels: { "kubernetes.io/metadata.name": name, ...labels } }, {});

export const teamCount = (objects: number): number => Math.max(1, Math.round(objects / objectsInNamespace));
export const team = (i: number): string => `team-${i}`;

/** The Service whose DestinationRule has ten VirtualServices that depend on it, all in the first team's namespace. */
export const hot = "hot";
/** A mesh of about this many objects, as users write them. */
export function* manifests(objects: number): Iterable<Raw> {
  yield namespace(rootNamespace);
  yield peerAuthentication({ namespace: rootNamespace, name: "default" }, "STRICT");
  yield deployment({ namespace: rootNamespace, name: "ingress" }, "ingress");
  yield manifest(networking, "Gateway", { namespace: rootNamespace, name: "public" }, publicGateway);
  yield destinationRule({ namespace: team(0), name: hot }, hot);
  for (let i = 0; i < 10; i++) yield virtualService({ namespace: team(0), name: `hot-${i}` }, hot);
  for (let i = 0; i < teamCount(objects); i++) yield* ofTeam(i);
}

const publicGateway = {
  spec: {
    selector: { app: "ingress" },
    servers: [{ hosts: ["*.example.com"], port: { number: 443, name: "https", protocol: "HTTPS" } }],
  },
};

/** 100 objects. */
function* ofTeam(i: number): Iterable<Raw> {
  const at = team(i);
  yield namespace(at, {
    "istio-injection": "enabled",
    ...(isProtectedTeam(i) ? { "meshward.io/protected": "true" } : {}),
  });
  for (let j = 0; j < 20; j++) {
    const app = `svc-${j}`;
    const gateways = j % 10 === 9 ? { gateways: [`${rootNamespace}/public`, "mesh"] } : {};
    yield virtualService({ namespace: at, name: `vs-${j}` }, app, gateways);
    yield destinationRule({ namespace: at, name: `dr-${j}` }, app);
    yield service({ namespace: at, name: app }, app);
    yield deployment({ namespace: at, name: app }, app);
  }
  for (let j = 0; j < 5; j++) yield deployment({ namespace: at, name: `canary-${j}` }, `svc-${j}`, "v2");
  yield authorizationPolicy({ namespace: at, name: "default-deny" }, {});
  for (let j = 0; j < 11; j++) {
    const app = `svc-${j}`;
    yield authorizationPolicy({ namespace: at, name: `read-${app}` }, readers(at, app));
  }
  yield peerAuthentication({ namespace: at, name: "default" }, "STRICT");
  yield peerAuthentication({ namespace: at, name: "metrics" }, "STRICT", { app: "svc-1" });
}

/** Everything that the objects make, read at the door. */
export function meshOf(raws: Iterable<Raw>, settings: AllMeshSettings = defaultMeshSettings): MeshStore {
  const mesh = new MeshStore(settings);
  for (const raw of raws) {
    const object = readAny(raw);
    if (object !== undefined) mesh.set(object);
  }
  return mesh;
}

/** As the API server keeps them, the same each time it is called. */
export function* storedMesh(objects: number): Iterable<Raw> {
  let stored = 0;
  for (const one of manifests(objects)) yield asStored(one, ++stored);
}
