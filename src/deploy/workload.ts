import { defaultNames } from "../controllers/permissions.ts";
import { certificateSecret, installationName, type KubernetesObject, selectorLabels } from "./object.ts";

/** The ports of the container. */
const ports = { https: 8443, ops: 8080 } as const;
/** Above the default of --drain-seconds, with time for requests in flight. */
const terminationGracePeriodSeconds = 45;
/** The user `nonroot` of the distroless images. */
const userId = 65532;

const certificateFolder = "/var/run/meshward/tls";
const clientFolder = "/etc/meshward/clients";
const policyFolder = "/etc/meshward/policies";

/**
 * Measured with `--mesh cluster`: docs/high-availability.md. There is no limit for CPU, because a throttled webhook
 * exceeds the timeout of the API server.
 */
const resources = { requests: { cpu: "100m", memory: "256Mi" }, limits: { memory: "512Mi" } };

/** Keeps Meshward out of the mesh: the API server has no identity in it and calls the webhook with TLS of its own. */
const outsideOfMesh = {
  "istio-injection": "disabled",
  "istio.io/dataplane-mode": "none",
} as const;

export const namespaceObject = (name: string): KubernetesObject => ({
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name, labels: { ...outsideOfMesh, "pod-security.kubernetes.io/enforce": "restricted" } },
});

/** Who may call the webhook. */
export interface ClientAuthentication {
  /** A ConfigMap with PEM authorities in `ca.crt`. */
  readonly authorityConfigMap: string;
  /** Any name if empty. */
  readonly names: readonly string[];
}

export interface WorkloadOptions {
  readonly namespace: string;
  readonly image: string;
  readonly replicas: number;
  readonly spread: "preferred" | "required";
  readonly profile: string;
  readonly policies?: string;
  readonly networkPolicy: boolean;
  readonly clients?: ClientAuthentication;
  readonly certificates: "self-signed" | "cert-manager" | "secret";
}

/** The Deployment and what belongs to it. Values that differ between installations come from `options`. */
export function workloadObjects(options: WorkloadOptions): readonly KubernetesObject[] {
  const { namespace, policies, networkPolicy } = options;
  const metadata = { name: installationName, namespace };
  return [
    ...(policies === undefined
      ? []
      : [
          {
            apiVersion: "v1",
            kind: "ConfigMap",
            metadata: { ...metadata, name: policyConfigMap },
            data: { "policies.yaml": policies },
          },
        ]),
    {
      apiVersion: "v1",
      kind: "Service",
      metadata,
      spec: {
        selector: selectorLabels,
        ports: [
          { name: "https", port: 443, targetPort: "https", protocol: "TCP", appProtocol: "https" },
          { name: "ops", port: ports.ops, targetPort: "ops", protocol: "TCP", appProtocol: "http" },
        ],
      },
    },
    deployment(options),
    {
      apiVersion: "policy/v1",
      kind: "PodDisruptionBudget",
      metadata,
      // A pod that is not ready answers nobody and must not keep a node from being drained.
      spec: { maxUnavailable: 1, unhealthyPodEvictionPolicy: "AlwaysAllow", selector: { matchLabels: selectorLabels } },
    },
    criticalPods(metadata),
    ...(networkPolicy ? [networkPolicyObject(namespace)] : []),
  ];
}

const priorityClassName = "system-cluster-critical";

/** Some platforms, such as GKE, allow critical pods outside of kube-system only where a quota does. */
const criticalPods = (metadata: { readonly name: string; readonly namespace: string }): KubernetesObject => ({
  apiVersion: "v1",
  kind: "ResourceQuota",
  metadata,
  spec: {
    hard: { pods: "100" },
    scopeSelector: {
      matchExpressions: [{ scopeName: "PriorityClass", operator: "In", values: [priorityClassName] }],
    },
  },
});

const policyConfigMap = `${installationName}-policies`;

function deployment(options: WorkloadOptions): KubernetesObject {
  const { namespace, replicas } = options;
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: installationName, namespace },
    spec: {
      replicas,
      minReadySeconds: 5,
      revisionHistoryLimit: 3,
      selector: { matchLabels: selectorLabels },
      // A replica that answers is replaced only after its successor answers.
      strategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } },
      template: {
        metadata: {
          labels: { ...selectorLabels, "sidecar.istio.io/inject": "false", "istio.io/dataplane-mode": "none" },
        },
        spec: podSpec(options),
      },
    },
  };
}

/** A folder in the container, and the volume that is mounted there. */
interface Folder {
  readonly name: string;
  readonly mountPath: string;
  readonly source: object;
}

function foldersOf({ policies, clients, certificates }: WorkloadOptions): readonly Folder[] {
  const folders: Folder[] = [];
  if (certificates !== "self-signed")
    folders.push({
      name: "tls",
      mountPath: certificateFolder,
      source: { secret: { secretName: certificateSecret, defaultMode: 0o440 } },
    });
  if (clients !== undefined)
    folders.push({
      name: "clients",
      mountPath: clientFolder,
      source: { configMap: { name: clients.authorityConfigMap } },
    });
  if (policies !== undefined)
    folders.push({ name: "policies", mountPath: policyFolder, source: { configMap: { name: policyConfigMap } } });
  return folders;
}

function argumentsOf({ profile, policies, clients, certificates }: WorkloadOptions): readonly string[] {
  return [
    "serve",
    "--mesh=cluster",
    `--profile=${profile}`,
    "--policies-from-cluster",
    ...(certificates === "self-signed"
      ? [`--tls-secret=${defaultNames.secret}`, `--service=${installationName}`]
      : [`--tls-cert=${certificateFolder}/tls.crt`, `--tls-key=${certificateFolder}/tls.key`]),
    ...(clients === undefined ? [] : [`--client-ca=${clientFolder}/ca.crt`]),
    ...(clients?.names ?? []).map((name) => `--client-name=${name}`),
    ...(policies === undefined ? [] : [`--policies=${policyFolder}`]),
  ];
}

function podSpec(options: WorkloadOptions) {
  const { image, spread } = options;
  const folders = foldersOf(options);
  return {
    serviceAccountName: installationName,
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    priorityClassName,
    terminationGracePeriodSeconds,
    securityContext: {
      runAsNonRoot: true,
      runAsUser: userId,
      runAsGroup: userId,
      fsGroup: userId,
      seccompProfile: { type: "RuntimeDefault" },
    },
    topologySpreadConstraints: [
      spreadOver("kubernetes.io/hostname", spread === "required" ? "DoNotSchedule" : "ScheduleAnyway"),
      // Nodes without this label could run no replica if it was required.
      spreadOver("topology.kubernetes.io/zone", "ScheduleAnyway"),
    ],
    containers: [
      {
        name: installationName,
        image,
        args: argumentsOf(options),
        env: [...memoryEnvironment].map(([name, value]) => ({ name, value })),
        ports: [
          { name: "https", containerPort: ports.https, protocol: "TCP" },
          { name: "ops", containerPort: ports.ops, protocol: "TCP" },
        ],
        startupProbe: { ...probe("/livez"), periodSeconds: 2, failureThreshold: 30 },
        livenessProbe: { ...probe("/livez"), periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6 },
        readinessProbe: { ...probe("/readyz"), periodSeconds: 5, timeoutSeconds: 5, failureThreshold: 2 },
        resources,
        securityContext: {
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ["ALL"] },
        },
        volumeMounts: [
          { name: "token", mountPath: "/var/run/secrets/kubernetes.io/serviceaccount", readOnly: true },
          ...folders.map(({ name, mountPath }) => ({ name, mountPath, readOnly: true })),
        ],
      },
    ],
    volumes: [tokenVolume, ...folders.map(({ name, source }) => ({ name, ...source }))],
  };
}

/**
 * How glibc returns what Node frees outside of its heap: by default each thread keeps an area of its own, and the top of it
 * until it is large. V8 compiles in areas of 32 KiB each, which below that limit are taken from the same memory as what stays, so that
 * they are not returned when they are free. A replica that watches 1,000 objects needs a quarter less memory with it.
 */
export const memoryEnvironment: ReadonlyMap<string, string> = new Map([
  ["MALLOC_ARENA_MAX", "1"],
  ["MALLOC_MMAP_THRESHOLD_", "32768"],
  ["MALLOC_TRIM_THRESHOLD_", "131072"],
]);

/** Of one version only: otherwise, pods that a rollout is about to remove count. */
const spreadOver = (topologyKey: string, whenUnsatisfiable: "DoNotSchedule" | "ScheduleAnyway") => ({
  maxSkew: 1,
  topologyKey,
  whenUnsatisfiable,
  labelSelector: { matchLabels: selectorLabels },
  matchLabelKeys: ["pod-template-hash"],
});

const probe = (path: string) => ({ httpGet: { path, port: "ops" } });

/** A token that expires, mounted where clients look for the one that would be mounted automatically. */
const tokenVolume = {
  name: "token",
  projected: {
    defaultMode: 0o440,
    sources: [
      { serviceAccountToken: { path: "token", expirationSeconds: 3600 } },
      { configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] } },
      {
        downwardAPI: {
          items: [{ path: "namespace", fieldRef: { apiVersion: "v1", fieldPath: "metadata.namespace" } }],
        },
      },
    ],
  },
};

/**
 * Incoming: the two ports, from anywhere, because neither the API server nor the kubelet is a pod that could be selected.
 * Outgoing: the API server, whose address is not known here, and DNS.
 */
const networkPolicyObject = (namespace: string): KubernetesObject => ({
  apiVersion: "networking.k8s.io/v1",
  kind: "NetworkPolicy",
  metadata: { name: installationName, namespace },
  spec: {
    podSelector: { matchLabels: selectorLabels },
    policyTypes: ["Ingress", "Egress"],
    ingress: [{ ports: [{ port: ports.https, protocol: "TCP" }] }, { ports: [{ port: ports.ops, protocol: "TCP" }] }],
    egress: [
      {
        ports: [
          { port: 443, protocol: "TCP" },
          { port: 6443, protocol: "TCP" },
        ],
      },
      {
        ports: [
          { port: 53, protocol: "UDP" },
          { port: 53, protocol: "TCP" },
        ],
      },
    ],
  },
});
