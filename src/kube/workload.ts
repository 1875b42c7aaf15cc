import { flag, int32, list, type Malformed, map, member, name, type Path, type Read, record, text } from "./read.ts";

const pod = record({
  metadata: record({ labels: map(text), annotations: map(text) }),
  spec: record({
    serviceAccountName: text,
    hostNetwork: flag,
    containers: list(record({ name, ports: list(record({ containerPort: int32, name: text, protocol: text })) })),
    initContainers: list(record({ name })),
  }),
});

export interface WorkloadFields {
  /** The path of the pod (template) in the raw object: `["spec", "template"]`; `[]` for a Pod. */
  readonly podAt: Path;
  readonly pod: {
    readonly labels: Readonly<Record<string, string>>;
    readonly annotations: Readonly<Record<string, string>>;
    readonly serviceAccountName: string;
    readonly hostNetwork: boolean;
    readonly ports: readonly { readonly number: number; readonly name: string | undefined }[];
    /** Whether a container or init container has the name of Istio's proxy. */
    readonly hasProxyContainer: boolean;
    /** Whether there are containers other than the proxy; init containers do not count. */
    readonly hasOtherContainers: boolean;
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
  const ports = spec.containers.flatMap((container) =>
    container.ports.flatMap(({ containerPort, name }) =>
      containerPort === undefined ? [] : [{ number: containerPort, name }],
    ),
  );
  return {
    podAt,
    pod: {
      labels: metadata.labels,
      annotations: metadata.annotations,
      serviceAccountName: spec.serviceAccountName ?? "default",
      hostNetwork: spec.hostNetwork ?? false,
      ports,
      hasProxyContainer: spec.containers.some(isProxyContainer) || spec.initContainers.some(isProxyContainer),
      hasOtherContainers: spec.containers.some((container) => !isProxyContainer(container)),
    },
  };
};
