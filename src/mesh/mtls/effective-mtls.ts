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

/** What takes a pod's traffic and so decides which plaintext it refuses. */
export type Plane = "sidecar" | "ambient";
export const planes: readonly Plane[] = ["sidecar", "ambient"];

/** A namespace with its own policies and the mesh-wide ones. */
export const peerAuthenticationsOfNamespace = relation(
  "peerAuthenticationsOfNamespace",
  namespaceByNameAndRoot,
  index("PeerAuthentication", (policy, settings) => servedIn(policy, settings)),
);
const servedIn = (policy: PeerAuthentication, settings: MeshSettings) =>
  isServed(policy, settings) ? [policy.metadata.namespace] : [];

/** A policy and the namespaces that it counts in: its own; all of them where it lives in the root namespace. */
export const namespacesOfPeerAuthentication = relation(
  "namespacesOfPeerAuthentication",
  peerAuthenticationsOfNamespace.to,
  peerAuthenticationsOfNamespace.from,
);

/** Policies that may take each other's place: those of one namespace. */
export const peerAuthenticationsBeside = relation(
  "peerAuthenticationsBeside",
  index("PeerAuthentication", (policy, settings) => servedIn(policy, settings)),
  index("PeerAuthentication", (policy, settings) => servedIn(policy, settings)),
);

/** A policy with a selector, under one of its labels, and the workloads that have this one; proxies enforce none. */
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

/** The mTLS that a namespace demands of whoever calls its workloads. */
export interface NamespaceMtls {
  readonly levels: Levels;
  /** Of workloads that no policy of the namespace selects. */
  wide(plane: Plane): EffectiveMode;
  /** Of workloads with these pod labels. */
  of(labels: Labels, plane: Plane): Modes;
}

/** The effective mTLS modes of a namespace: at each level the oldest policy counts, what is not set inherits. */
export function mtlsOf(namespace: Namespace, mesh: MeshView<typeof peerAuthenticationsOfNamespace>): NamespaceMtls {
  const { rootNamespace } = mesh.settings;
  const isRoot = namespace.metadata.name === rootNamespace;
  const policies = mesh.related(peerAuthenticationsOfNamespace, namespace).toSorted(oldestFirst);
  // The root namespace has no level of its own, and a selector there counts nowhere.
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

/** The same, for the one workload policy that counts: ports inherit from it. */
function sidecarWorkload(policy: PeerAuthentication, wide: EffectiveMode): Modes {
  const own = declared(policy.spec.mtls);
  const mode: EffectiveMode = own === "UNSET" ? wide : { mode: own, by: policy };
  const ports = new Map<number, EffectiveMode>();
  for (const [port, ofPort] of portModes(policy))
    ports.set(port, ofPort === "UNSET" ? mode : { mode: ofPort, by: policy });
  return { mode, ports };
}

/** Whether a caller without a certificate is served. */
export const acceptsPlaintext = ({ mode }: EffectiveMode): boolean => mode !== "STRICT";

/** What holds at a port of the workload (the pod's port, not the service's). */
export const atPort = ({ mode, ports }: Modes, port: number): EffectiveMode => ports.get(port) ?? mode;

/** The data planes to judge by; more than one when it is not certain which it is. */
export interface PossiblePlanes {
  readonly planes: readonly Plane[];
  readonly isCertain: boolean;
}

/**
 * By which data planes a workload's mTLS is judged. None: it stays out of the mesh and demands nothing. In a namespace
 * that nothing enrolls it is judged by what would hold: pods may have been injected by other means than labels.
 */
export function planesOf(workload: Workload, namespace: Namespace): PossiblePlanes {
  const capture = captureOf(workload, namespace);
  if (capture === "sidecar" || capture === "ambient") return { planes: [capture], isCertain: true };
  if (capture === "unknown") return { planes, isCertain: false };
  return isEnrolled(namespace) !== false || staysOut(workload)
    ? { planes: [], isCertain: true }
    : { planes, isCertain: false };
}

/** By which data planes workloads of a namespace are judged that are not known one by one. */
export function planesOfNamespace(namespace: Namespace): PossiblePlanes {
  const enrollment = enrollmentOf(namespace);
  if (enrollment === "ambient" || enrollment === "sidecar") return { planes: [enrollment], isCertain: true };
  return { planes, isCertain: enrollment === "ambient-and-sidecar" };
}

/** The weakest mode that a workload has, at a port or else at those that no policy names; undefined: it is not in the mesh. */
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
