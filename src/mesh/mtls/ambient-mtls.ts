import type { ObjectOf } from "../../kube/object.ts";
import { isSameAge } from "../objects/creation-order.ts";
import {
  declared,
  type DeclaredMode,
  type EffectiveMode,
  hasNoSelector,
  type Levels,
  type Modes,
  portModes,
} from "./peer-authentications.ts";

type PeerAuthentication = ObjectOf<"PeerAuthentication">;

// The plaintext that ztunnel refuses. istiod does not send it modes but DENY policies: a shared one for STRICT, and one
// converted from each policy with ports. istiod computes the attached policies and their content in two places that do
// not always agree.

/** The mode of a workload that no policy selects. */
export const ambientWide = (levels: Levels): EffectiveMode => weakest(wideVerdicts(levels));

/** The mode of a workload that these policies select, oldest first. */
export function ambientWorkload(selecting: readonly PeerAuthentication[], levels: Levels): Modes {
  const wide = wideVerdicts(levels);
  const parents = parentsOf(levels);
  const enforced = oldest(selecting).flatMap((policy) =>
    wide.flatMap((verdict) => parents.map((parent) => enforcedOf(policy, verdict, parent))),
  );
  const verdictAt = (port?: number) => weakest(enforced.map((of) => of(port)));
  const ports = new Set(oldest(selecting).flatMap((policy) => [...portModes(policy).keys()]));
  return { mode: verdictAt(), ports: new Map([...ports].map((port) => [port, verdictAt(port)])) };
}

/**
 * The oldest of policies that are sorted oldest first. Istio does not define which of several policies of the same age
 * applies, so all of them are candidates.
 */
function oldest(policies: readonly PeerAuthentication[]): readonly PeerAuthentication[] {
  const end = policies.findIndex((policy) => !isSameAge(policy, policies[0] as PeerAuthentication));
  return end < 0 ? policies : policies.slice(0, end);
}

const unselecting = new WeakMap<readonly PeerAuthentication[], readonly PeerAuthentication[]>();
/** The oldest without any selector. All namespaces share the list of the mesh. */
function oldestUnselecting(policies: readonly PeerAuthentication[]): readonly PeerAuthentication[] {
  let found = unselecting.get(policies);
  if (found === undefined) unselecting.set(policies, (found = oldest(policies.filter(hasNoSelector))));
  return found;
}

const weakest = (verdicts: readonly EffectiveMode[]): EffectiveMode =>
  verdicts.find(({ mode }) => mode !== "STRICT") ?? (verdicts[0] as EffectiveMode);

const nobody: EffectiveMode = { mode: "PERMISSIVE" };

/**
 * Mesh-wide policies must have no selector at all, except for pods of the root namespace itself; a policy of the
 * workload's namespace may have an empty one (Istio pilot/pkg/serviceregistry/ambient/workloads.go fetchPeerAuthentications).
 */
function wideVerdicts({ isRoot, mesh, namespace }: Levels): readonly EffectiveMode[] {
  const ofMesh = (isRoot ? oldest(mesh) : oldestUnselecting(mesh)).flatMap((policy) => verdictOf(policy, [nobody]));
  const inherited = ofMesh.length === 0 ? [nobody] : ofMesh;
  if (namespace.length === 0) return inherited;
  return oldest(namespace).flatMap((policy) => verdictOf(policy, inherited));
}

/** ztunnel has no mode DISABLE: it always accepts mTLS. */
function verdictOf(policy: PeerAuthentication, inherited: readonly EffectiveMode[]): readonly EffectiveMode[] {
  const mode = declared(policy.spec.mtls);
  if (mode === "UNSET") return inherited;
  return [{ mode: mode === "STRICT" ? "STRICT" : "PERMISSIVE", by: policy }];
}

interface Parent {
  readonly namespace: DeclaredMode | undefined;
  readonly mesh: DeclaredMode | undefined;
}

/** The parent policies in the conversion: only those without any selector (ambient/policies.go PolicyCollections). */
function parentsOf({ mesh, namespace }: Levels): readonly Parent[] {
  const modes = (policies: readonly PeerAuthentication[]): readonly (DeclaredMode | undefined)[] => {
    const found = new Set(oldestUnselecting(policies).map(({ spec }) => declared(spec.mtls)));
    return found.size === 0 ? [undefined] : [...found];
  };
  return modes(namespace).flatMap((ofNamespace) =>
    modes(mesh).map((ofMesh) => ({ namespace: ofNamespace, mesh: ofMesh })),
  );
}

/** The mode that ztunnel enforces at a port; undefined: at the ports that the policy does not list. */
function enforcedOf(policy: PeerAuthentication, wide: EffectiveMode, parent: Parent): (port?: number) => EffectiveMode {
  const own = declared(policy.spec.mtls);
  const ports = portModes(policy);
  const isStrict = own === "STRICT" || (own === "UNSET" && wide.mode === "STRICT");
  const attached = attachedOf([...ports.values()], own, isStrict);
  const isRefused = attached === "converted" ? convertedOf(ports, own, parent) : () => attached === "strict";
  return (port) => {
    const said = port === undefined ? undefined : ports.get(port);
    const isInherited = said === undefined || said === "UNSET";
    const isWanted = isInherited ? isStrict : said === "STRICT";
    const mode = isRefused(port) ? "STRICT" : "PERMISSIVE";
    if (isWanted && mode !== "STRICT") return { mode, by: policy, isDropped: true };
    return isInherited && own === "UNSET" && mode === wide.mode ? wide : { mode, by: policy };
  };
}

/**
 * The DENY policy that the workload refers to (ambient/authorization.go convertedSelectorPeerAuthentications). With an
 * inherited STRICT, istiod looks for PERMISSIVE ports only, so that DISABLE alone exempts no port.
 */
function attachedOf(
  ports: readonly DeclaredMode[],
  own: DeclaredMode,
  isStrict: boolean,
): "strict" | "converted" | "nothing" {
  if (!isStrict) return ports.includes("STRICT") ? "converted" : "nothing";
  const isExempting = ports.includes("PERMISSIVE") || (own === "STRICT" && ports.includes("DISABLE"));
  return isExempting ? "converted" : "strict";
}

/**
 * The plaintext that the converted policy refuses (ambient/authorization.go convertPeerAuthentication). If it would be
 * empty, istiod creates none, and ztunnel ignores the reference to it.
 */
function convertedOf(
  ports: ReadonlyMap<number, DeclaredMode>,
  own: DeclaredMode,
  parent: Parent,
): (port?: number) => boolean {
  const portsWith = (...modes: readonly DeclaredMode[]) =>
    new Set<number | undefined>([...ports].filter(([, mode]) => modes.includes(mode)).map(([port]) => port));
  const refused = isCoveredByParent(own, parent) ? new Set() : portsWith("STRICT");
  const exempt = isExemptionMade(own, parent) ? portsWith("PERMISSIVE", "DISABLE") : new Set();
  return (port) => refused.has(port) || (exempt.size > 0 && !exempt.has(port));
}

/** istiod relies on the mesh's STRICT even if the workload's own mode is not STRICT, and then nothing is refused. */
const isCoveredByParent = (own: DeclaredMode, { namespace, mesh }: Parent): boolean =>
  own === "STRICT" ||
  (own === "UNSET" && namespace === "STRICT") ||
  ((namespace === undefined || namespace === "UNSET") && mesh === "STRICT");

/** A namespace policy that is not STRICT hides the mesh's STRICT, even if it sets no mode. */
const isExemptionMade = (own: DeclaredMode, { namespace, mesh }: Parent): boolean =>
  own === "STRICT" || (own === "UNSET" && (namespace ?? mesh) === "STRICT");
