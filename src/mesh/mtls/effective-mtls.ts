import type { ObjectOf } from "../../kube/object.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, type MeshView, relation } from "../../view/view.ts";
import { captureOf, enrollmentOf, isEnrolled, staysOut } from "../membership/capture.ts";
import { isOwned, isProxy } from "../membership/workloads.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { isServed } from "../objects/revision.ts";
import { selects } from "../objects/selectors.ts";
import { ambientWide, ambientWorkload } from "./ambient-mtls.ts";
import { declared, type EffectiveMode, isWide, type Levels, type Modes, portModes } from "./peer-authentications.ts";
import { namespaceByNameAndRoot } from "../objects/indexes.ts";

export type PeerAuthentication = ObjectOf<"PeerAuthentication">;
export type Namespace = ObjectOf<"Namespace">;
export type Workload = ObjectOf<"Workload">;
type Labels = Readonly<Record<string, string>>;

/** The data plane of a pod, which decides whether plaintext is refused. */
export type Plane = "sidecar" | "ambient";
export const planes: readonly Plane[] = ["sidecar", "ambient"];

/** A namespace and its own policies and the mesh-wide ones. */
export const peerAuthenticationsOfNamespace = relation(
  "peerAuthenticationsOfNamespace",
  namespaceByNameAndRoot,
  index("PeerAuthentication", (policy, settings) => servedIn(policy, settings)),
);
const servedIn = (policy: PeerAuthentication, settings: MeshSettings) =>
  isServed(policy, settings) ? [policy.metadata.namespace] : [];

/** A policy and the namespaces that it applies to: its own, or all of them if it is in the root namespace. */
export const namespacesOfPeerAuthentication = relation(
  "namespacesOfPeerAuthentication",
  peerAuthenticationsOfNamespace.to,
  peerAuthenticationsOfNamespace.from,
);

/** Policies that can replace each other: those of one namespace. */
export const peerAuthenticationsBeside = relation(
  "peerAuthenticationsBeside",
  index("PeerAuthentication", (policy, settings) => servedIn(policy, settings)),
  index("PeerAuthentication", (policy, settings) => servedIn(policy, settings)),
);

/** A policy with a selector, indexed by one of its labels, and the workloads with this label; proxies enforce none. */
export const workloadsSelectedByPeerAuthentication = relation(
  "workloadsSelectedByPeerAuthentication",
  index("PeerAuthentication", ({ metadata, spec }, { rootNamespace }) => {
    const [label] = Object.entries(spec.selector?.matchLabels ?? {});
    return label === undefined || metadata.namespace === rootNamespace ? [] : [labelKey(metadata.namespace, label)];
  }),
  index("Workload", (workload) => {
    if (isOwned(workload) || isProxy(workload)) return [];
    return Object.entries(workload.pod.labels).map((label) => labelKey(workload.metadata.namespace, label));
  }),
);
const labelKey = (namespace: string, [key, value]: readonly [string, string]) => `${namespace}|${key}=${value}`;

/** The effective mTLS modes of a namespace. */
export interface NamespaceMtls {
  readonly levels: Levels;
  /** The modes of workloads that no policy of the namespace selects. */
  wide(plane: Plane): EffectiveMode;
  /** The modes of workloads with these pod labels. */
  of(labels: Labels, plane: Plane): Modes;
}

/**
 * Computes the effective mTLS modes of a namespace: at each level the oldest policy applies, and unset modes are
 * inherited.
 */
export function mtlsOf(namespace: Namespace, mesh: MeshView<typeof peerAuthenticationsOfNamespace>): NamespaceMtls {
  const { rootNamespace } = mesh.settings;
  const isRoot = namespace.metadata.name === rootNamespace;
  const policies = mesh.related(peerAuthenticationsOfNamespace, namespace).toSorted(oldestFirst);
  // The root namespace has no namespace level, and policies with a selector there have no effect.
  const own = isRoot ? [] : policies.filter(({ metadata }) => metadata.namespace === namespace.metadata.name);
  const levels: Levels = {
    isRoot,
    mesh: policies.filter((policy) => policy.metadata.namespace === rootNamespace && isWide(policy)),
    namespace: own.filter(isWide),
    workload: own.filter((policy) => !isWide(policy)),
  };
  const wide = { sidecar: sidecarWide(levels), ambient: ambientWide(levels) };
  return {
    levels,
    wide: (plane) => wide[plane],
    of(labels, plane) {
      const selecting = levels.workload.filter(({ spec }) => selects(spec.selector?.matchLabels ?? {}, labels));
      if (selecting.length === 0) return { mode: wide[plane], ports: noPorts };
      return plane === "sidecar"
        ? sidecarWorkload(selecting[0] as PeerAuthentication, wide.sidecar)
        : ambientWorkload(selecting, levels);
    },
  };
}

const noPorts: ReadonlyMap<number, EffectiveMode> = new Map();

/** Istio pilot/pkg/security/authn/policy_applier.go ComposePeerAuthentication, down to the namespace. */
function sidecarWide({ mesh, namespace }: Levels): EffectiveMode {
  for (const policy of [namespace[0], mesh[0]]) {
    if (policy === undefined) continue;
    const mode = declared(policy.spec.mtls);
    if (mode !== "UNSET") return { mode, by: policy };
  }
  return { mode: "PERMISSIVE" };
}

/** The same for the one workload policy that applies, from which ports inherit. */
function sidecarWorkload(policy: PeerAuthentication, wide: EffectiveMode): Modes {
  const own = declared(policy.spec.mtls);
  const mode: EffectiveMode = own === "UNSET" ? wide : { mode: own, by: policy };
  const ports = new Map<number, EffectiveMode>();
  for (const [port, ofPort] of portModes(policy))
    ports.set(port, ofPort === "UNSET" ? mode : { mode: ofPort, by: policy });
  return { mode, ports };
}

/** Whether a mode accepts a caller without a certificate. */
export const acceptsPlaintext = ({ mode }: EffectiveMode): boolean => mode !== "STRICT";

/** The effective mode at a port of the workload (the pod's port, not the service's). */
export const atPort = ({ mode, ports }: Modes, port: number): EffectiveMode => ports.get(port) ?? mode;

/** The possible data planes; more than one if it is not certain which one is used. */
export interface PossiblePlanes {
  readonly planes: readonly Plane[];
  readonly isCertain: boolean;
}

/**
 * The data planes that are assumed for a workload's mTLS. None: the workload is outside the mesh and requires nothing.
 * In a namespace without enrollment both are assumed, because pods may have been injected by other means than labels.
 */
export function planesOf(workload: Workload, namespace: Namespace): PossiblePlanes {
  const capture = captureOf(workload, namespace);
  if (capture === "sidecar" || capture === "ambient") return { planes: [capture], isCertain: true };
  if (capture === "unknown") return { planes, isCertain: false };
  return isEnrolled(namespace) !== false || staysOut(workload)
    ? { planes: [], isCertain: true }
    : { planes, isCertain: false };
}

/** The data planes that are assumed for the unknown workloads of a namespace. */
export function planesOfNamespace(namespace: Namespace): PossiblePlanes {
  const enrollment = enrollmentOf(namespace);
  if (enrollment === "ambient" || enrollment === "sidecar") return { planes: [enrollment], isCertain: true };
  return { planes, isCertain: enrollment === "ambient-and-sidecar" };
}

/** The weakest mode of a workload, at a port or at the ports that no policy lists; undefined: it is not in the mesh. */
export function mtlsModeOf(
  workload: Workload,
  namespace: Namespace,
  mesh: MeshView<typeof peerAuthenticationsOfNamespace>,
  port?: number,
): EffectiveMode | undefined {
  const mtls = mtlsOf(namespace, mesh);
  const verdicts = planesOf(workload, namespace).planes.map((plane) => {
    const modes = mtls.of(workload.pod.labels, plane);
    return port === undefined ? modes.mode : atPort(modes, port);
  });
  return verdicts.find(acceptsPlaintext) ?? verdicts[0];
}
