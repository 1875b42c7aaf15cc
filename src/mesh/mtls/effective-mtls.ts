import type { Labels, ObjectOf } from "../../kube/object.ts";
import { KeptIn } from "../../view/kept-in.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";
import { captureOf, enrollmentOf, isEnrolled, staysOut } from "../membership/capture.ts";
import type { InjectorSettings } from "../membership/injector-selectors.ts";
import { type Readers, readers } from "../membership/control-plane.ts";
import { rootOfNamespace } from "../membership/namespaces.ts";
import { isSameAge, oldestFirst } from "../objects/creation-order.ts";
import { type ControlPlane, isServed } from "../objects/revision.ts";
import { type SelectorGroup, SelectorGroups } from "../objects/selector-groups.ts";
import { ambientWide, ambientWorkload } from "./ambient-mtls.ts";
import { declared, type EffectiveMode, isWide, type Levels, type Modes, portModes } from "./peer-authentications.ts";
import { namespaceByName, namespaceByNameAndRoot } from "../objects/indexes.ts";

export type PeerAuthentication = ObjectOf<"PeerAuthentication">;
export type Namespace = ObjectOf<"Namespace">;
export type Workload = ObjectOf<"Workload">;

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

/** A namespace and its own policies. */
export const peerAuthenticationsInNamespace = relation(
  "peerAuthenticationsInNamespace",
  namespaceByName,
  peerAuthenticationsOfNamespace.to,
);

/** The policies of one namespace, each list oldest first. */
export interface PeerAuthenticationLevel {
  /** In no order. */
  readonly all: readonly PeerAuthentication[];
  readonly wide: readonly PeerAuthentication[];
  /** Those with a selector. */
  readonly selecting: readonly PeerAuthentication[];
  readonly groups: SelectorGroups<PeerAuthentication>;
}
/** A namespace's own policies, sorted and indexed. */
export const peerAuthenticationLevel = fact(
  "peerAuthenticationLevel",
  "Namespace",
  [peerAuthenticationsInNamespace],
  (namespace, mesh) => levelOf(mesh.related(peerAuthenticationsInNamespace, namespace)),
);

const levels = new KeptIn<readonly PeerAuthentication[], PeerAuthenticationLevel>();

/** If a change touches no policy of a namespace, the list and its level are the same before and after. */
export function levelOf(policies: readonly PeerAuthentication[]): PeerAuthenticationLevel {
  if (policies.length === 0) return noLevel;
  const known = levels.get(policies);
  if (known !== undefined) return known;
  const sorted = policies.toSorted(oldestFirst);
  const selecting = sorted.filter((policy) => !isWide(policy));
  const groups = new SelectorGroups(
    selecting.map((policy) => [policy.spec.selector?.matchLabels ?? {}, policy] as const),
  );
  const level = { all: policies, wide: sorted.filter(isWide), selecting, groups };
  levels.set(policies, level);
  return level;
}
const noLevel: PeerAuthenticationLevel = { all: [], wide: [], selecting: [], groups: new SelectorGroups([]) };

/** The effective mTLS modes of a namespace, before or after a change. */
export const mtls = fact(
  "mtls",
  "Namespace",
  [peerAuthenticationLevel, rootOfNamespace, readers],
  (namespace, mesh): NamespaceMtls => {
    const [root] = mesh.related(rootOfNamespace, namespace);
    const meshWide = root === undefined ? noLevel : mesh.get(peerAuthenticationLevel, root);
    const isRoot = namespace.metadata.name === mesh.settings.rootNamespace;
    const own = isRoot ? noLevel : mesh.get(peerAuthenticationLevel, namespace);
    return new NamespaceMtls({ isRoot, own, meshWide }, mesh.get(readers, namespace));
  },
);

/**
 * The modes of namespaces without policies of their own, from the level of the root namespace, as if every control plane
 * read all of its policies.
 */
export const meshWideMtls = ({ wide }: PeerAuthenticationLevel): NamespaceMtls["wide"] => {
  const levels = { isRoot: false, mesh: wide, namespace: noLevel.wide, workload: noLevel.selecting };
  const read = new ReadMtls(levels, noLevel.groups);
  return (plane) => read.wide(plane);
};

/** The same for a mesh that is not part of a change, such as in an explanation. */
export function mtlsOf(
  namespace: Namespace,
  mesh: MeshView<typeof peerAuthenticationsOfNamespace | typeof readers>,
): NamespaceMtls {
  const { rootNamespace } = mesh.settings;
  const isRoot = namespace.metadata.name === rootNamespace;
  const of = Map.groupBy(
    mesh.related(peerAuthenticationsOfNamespace, namespace),
    (policy) => policy.metadata.namespace === rootNamespace,
  );
  const [own, meshWide] = [levelOf(of.get(false) ?? []), levelOf(of.get(true) ?? [])];
  return new NamespaceMtls({ isRoot, own, meshWide }, mesh.get(readers, namespace));
}

/** The policies that some control plane reads. */
interface ServedLevels {
  readonly isRoot: boolean;
  readonly own: PeerAuthenticationLevel;
  readonly meshWide: PeerAuthenticationLevel;
}

/**
 * The policy that sets mode DISABLE for a whole namespace, so that proxies do not use auto mTLS for its services, whatever
 * mode a workload has. Istio decides that once for each service, by the mode of its namespace (Istio
 * pilot/pkg/model/push_context.go BestEffortInferServiceMTLSMode). For endpoints that ztunnel captures, HBONE takes
 * precedence.
 */
export const disabledAutoMtls = (
  namespace: Namespace,
  mesh: MeshView<typeof peerAuthenticationsOfNamespace | typeof readers>,
): PeerAuthentication | undefined => disabledBy(mtlsOf(namespace, mesh));

export function disabledBy({ wide }: NamespaceMtls): PeerAuthentication | undefined {
  const { mode, by } = wide("sidecar");
  return mode === "DISABLE" ? by : undefined;
}

/**
 * The effective mTLS modes of a namespace. They depend on the control plane that configures a pod, because each one reads
 * its own policies.
 */
export class NamespaceMtls {
  /** The policies that some control plane reads, whether or not it is that of a pod of this namespace. */
  readonly levels: Levels;
  readonly readers: Readers;
  readonly #served: ServedLevels;
  readonly #read = new Map<ControlPlane, ReadMtls>();
  #all: ReadMtls | undefined;

  constructor(served: ServedLevels, readers: Readers) {
    this.readers = readers;
    this.#served = served;
    const { isRoot, own, meshWide } = served;
    this.levels = { isRoot, mesh: meshWide.wide, namespace: own.wide, workload: own.selecting };
    if (readers.areReadByAll(own.all, meshWide.all)) this.#all = new ReadMtls(this.levels, own.groups);
  }

  /** Whether it does not matter which control plane configures a pod. */
  get isOfAll(): boolean {
    return this.#all !== undefined;
  }

  /** Whether discoverySelectors leave out the namespace, so that only policies of the root namespace count in it. */
  get isLeftOut(): boolean {
    return !this.readers.discovers(this.readers.ofSidecar(noLabels));
  }

  /** The modes of workloads that no policy of the namespace selects, and that have no revision of their own. */
  readonly wide = (plane: Plane): EffectiveMode => this.#of(noLabels, plane).wide(plane);

  /** The modes of workloads with these pod labels. The value is the same one for all that the same policies select. */
  readonly of = (labels: Labels, plane: Plane): Modes => this.#of(labels, plane).of(labels, plane);

  /** The policies that the control plane of these pods reads. */
  readonly levelsOf = (labels: Labels, plane: Plane): Levels => this.#of(labels, plane).levels;

  #of(labels: Labels, plane: Plane): ReadMtls {
    if (this.#all !== undefined) return this.#all;
    const controlPlane = plane === "ambient" ? this.readers.ofZtunnel : this.readers.ofSidecar(labels);
    let found = this.#read.get(controlPlane);
    if (found === undefined) this.#read.set(controlPlane, (found = this.#readBy(controlPlane)));
    return found;
  }

  #readBy(controlPlane: ControlPlane): ReadMtls {
    const { isRoot, own, meshWide } = this.#served;
    const [mine, all] = [
      levelOf(this.readers.own(own.all, controlPlane)),
      levelOf(this.readers.meshWide(meshWide.all, controlPlane)),
    ];
    const levels = { isRoot, mesh: all.wide, namespace: mine.wide, workload: mine.selecting };
    return new ReadMtls(levels, mine.groups);
  }
}

const noLabels: Labels = Object.freeze({});

/**
 * The modes by the policies that one control plane reads: at each level the oldest policy applies, and unset modes are
 * inherited. The root namespace has no namespace level, and policies with a selector there have no effect.
 */
class ReadMtls {
  readonly levels: Levels;
  readonly #wide: Readonly<Record<Plane, Modes>>;
  readonly #groups: SelectorGroups<PeerAuthentication>;
  readonly #ofGroups = new Map<Plane, Map<readonly SelectorGroup<PeerAuthentication>[], Modes>>();
  /** The modes of workloads for which one policy decides, although others may select them too. */
  readonly #ofPolicies = new Map<Plane, Map<PeerAuthentication, Modes>>();

  constructor(levels: Levels, groups: SelectorGroups<PeerAuthentication>) {
    this.levels = levels;
    this.#wide = {
      sidecar: { mode: sidecarWide(this.levels), ports: noPorts },
      ambient: { mode: ambientWide(this.levels), ports: noPorts },
    };
    this.#groups = groups;
  }

  wide(plane: Plane): EffectiveMode {
    return this.#wide[plane].mode;
  }

  of(labels: Labels, plane: Plane): Modes {
    const groups = this.#groups.selecting(labels);
    if (groups.length === 0) return this.#wide[plane];
    return known(this.#ofGroups, plane, groups, () => this.#ofSelecting(groups, plane));
  }

  #ofSelecting(groups: readonly SelectorGroup<PeerAuthentication>[], plane: Plane): Modes {
    const first = groups.reduce((oldest, { members }) => older(oldest, members[0]), groups[0]?.members[0]);
    if (first === undefined) return this.#wide[plane];
    if (plane === "sidecar")
      return known(this.#ofPolicies, plane, first, () => sidecarWorkload(first, this.wide(plane)));
    const oldest = groups.flatMap(({ members }) => sameAge(members, first)).sort(oldestFirst);
    if (oldest.length > 1) return ambientWorkload(oldest, this.levels);
    return known(this.#ofPolicies, plane, first, () => ambientWorkload(oldest, this.levels));
  }
}

type Oldest = PeerAuthentication | undefined;
const older = (a: Oldest, b: Oldest): Oldest => (a === undefined || (b !== undefined && oldestFirst(b, a) < 0) ? b : a);

/** The policies at the start of a list, sorted oldest first, that are as old as this one. */
function sameAge(policies: readonly PeerAuthentication[], oldest: PeerAuthentication): readonly PeerAuthentication[] {
  const end = policies.findIndex((policy) => !isSameAge(policy, oldest));
  return end < 0 ? policies : policies.slice(0, end);
}

function known<K>(memory: Map<Plane, Map<K, Modes>>, plane: Plane, key: K, compute: () => Modes): Modes {
  let ofPlane = memory.get(plane);
  if (ofPlane === undefined) memory.set(plane, (ofPlane = new Map()));
  let modes = ofPlane.get(key);
  if (modes === undefined) ofPlane.set(key, (modes = compute()));
  return modes;
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

// They are asked for each workload, and compared by identity.
const certainly: Readonly<Record<Plane, PossiblePlanes>> = {
  sidecar: { planes: ["sidecar"], isCertain: true },
  ambient: { planes: ["ambient"], isCertain: true },
};
const outside: PossiblePlanes = { planes: [], isCertain: true };
const either: PossiblePlanes = { planes, isCertain: true };
const assumed: PossiblePlanes = { planes, isCertain: false };

/**
 * The data planes that are assumed for a workload's mTLS. None: the workload is outside the mesh and requires nothing.
 * In a namespace without enrollment both are assumed, because pods may have been injected by other means than labels.
 */
export function planesOf(workload: Workload, namespace: Namespace, settings: InjectorSettings): PossiblePlanes {
  const capture = captureOf(workload, namespace, settings);
  if (capture === "sidecar" || capture === "ambient") return certainly[capture];
  if (capture === "unknown") return assumed;
  return isEnrolled(namespace, settings) !== false || staysOut(workload) ? outside : assumed;
}

/** The data planes that are assumed for the unknown workloads of a namespace. */
export function planesOfNamespace(namespace: Namespace, settings: InjectorSettings): PossiblePlanes {
  const enrollment = enrollmentOf(namespace, settings);
  if (enrollment === "ambient" || enrollment === "sidecar") return certainly[enrollment];
  return enrollment === "ambient-and-sidecar" ? either : assumed;
}

/** The weakest mode of a workload, at a port or at the ports that no policy lists; undefined: it is not in the mesh. */
export function mtlsModeOf(
  workload: Workload,
  namespace: Namespace,
  mesh: MeshView<typeof peerAuthenticationsOfNamespace | typeof readers>,
  port?: number,
): EffectiveMode | undefined {
  const mtls = mtlsOf(namespace, mesh);
  const verdicts = planesOf(workload, namespace, mesh.settings).planes.map((plane) => {
    const modes = mtls.of(workload.pod.labels, plane);
    return port === undefined ? modes.mode : atPort(modes, port);
  });
  return verdicts.find(acceptsPlaintext) ?? verdicts[0];
}
