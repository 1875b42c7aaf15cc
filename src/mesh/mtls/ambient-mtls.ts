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

// What ztunnel refuses. istiod gives it no modes but DENY policies: a shared one for STRICT, and one converted from
// each policy with ports. Which are attached and what they say is worked out in two places that do not always agree.

/** What holds where no policy selects the workload. */
export const ambientWide = (levels: Levels): EffectiveMode => weakest(wideVerdicts(levels));

/** What holds for a workload that these policies select, oldest first. */
export function ambientWorkload(selecting: readonly PeerAuthentication[], levels: Levels): Modes {
  const wide = wideVerdicts(levels);
  const parents = parentsOf(levels);
  const enforced = oldest(selecting).flatMap((policy) =>
    wide.flatMap((verdict) => parents.map((parent) => enforcedOf(policy, verdict, parent))),
  );
  const verdictAt = (port?: number) => weakest(enforced.map((of) => of(port)));
  const ports = oldest(selecting)
    .flatMap(portModes)
    .map(([port]) => port);
  return { mode: verdictAt(), ports: new Map(ports.map((port) => [port, verdictAt(port)])) };
}

/** Which of two of the same age counts is not defined: all of them may. */
const oldest = (policies: readonly PeerAuthentication[]): readonly PeerAuthentication[] =>
  policies.filter((policy) => isSameAge(policy, policies[0] as PeerAuthentication));

const weakest = (verdicts: readonly EffectiveMode[]): EffectiveMode =>
  verdicts.find(({ mode }) => mode !== "STRICT") ?? (verdicts[0] as EffectiveMode);

const nobody: EffectiveMode = { mode: "PERMISSIVE" };

/**
 * Mesh-wide policies must have no selector at all, but for pods of the root namespace itself; in the namespace an empty
 * one will do (Istio pilot/pkg/serviceregistry/ambient/workloads.go fetchPeerAuthentications).
 */
function wideVerdicts({ isRoot, mesh, namespace }: Levels): readonly EffectiveMode[] {
  const ofMesh = oldest(isRoot ? mesh : mesh.filter(hasNoSelector)).flatMap((policy) => verdictOf(policy, [nobody]));
  const inherited = ofMesh.length === 0 ? [nobody] : ofMesh;
  if (namespace.length === 0) return inherited;
  return oldest(namespace).flatMap((policy) => verdictOf(policy, inherited));
}

/** DISABLE does not exist here: ztunnel takes mTLS whenever it is offered. */
function verdictOf(policy: PeerAuthentication, inherited: readonly EffectiveMode[]): readonly EffectiveMode[] {
  const mode = declared(policy.spec.mtls);
  if (mode === "UNSET") return inherited;
  return [{ mode: mode === "STRICT" ? "STRICT" : "PERMISSIVE", by: policy }];
}

interface Parent {
  readonly namespace: DeclaredMode | undefined;
  readonly mesh: DeclaredMode | undefined;
}

/** The parents that the conversion sees: only those without any selector (ambient/policies.go PolicyCollections). */
function parentsOf({ mesh, namespace }: Levels): readonly Parent[] {
  const modes = (policies: readonly PeerAuthentication[]): readonly (DeclaredMode | undefined)[] => {
    const found = new Set(oldest(policies.filter(hasNoSelector)).map(({ spec }) => declared(spec.mtls)));
    return found.size === 0 ? [undefined] : [...found];
  };
  return modes(namespace).flatMap((ofNamespace) =>
    modes(mesh).map((ofMesh) => ({ namespace: ofNamespace, mesh: ofMesh })),
  );
}

/** What ztunnel enforces at a port; undefined: at the ports that the policy does not name. */
function enforcedOf(policy: PeerAuthentication, wide: EffectiveMode, parent: Parent): (port?: number) => EffectiveMode {
  const own = declared(policy.spec.mtls);
  const ports = new Map(portModes(policy));
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
 * Which DENY policy the workload refers to (ambient/authorization.go convertedSelectorPeerAuthentications). Under an
 * inherited STRICT only PERMISSIVE ports are looked for, so that a DISABLE alone exempts nothing.
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
 * What the converted policy refuses (ambient/authorization.go convertPeerAuthentication). Where nothing is left to say
 * istiod makes none, and ztunnel passes over the reference to it.
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

/** The mesh's STRICT passes for cover even where the workload's own mode is not STRICT, and then nothing is refused. */
const isCoveredByParent = (own: DeclaredMode, { namespace, mesh }: Parent): boolean =>
  own === "STRICT" ||
  (own === "UNSET" && namespace === "STRICT") ||
  ((namespace === undefined || namespace === "UNSET") && mesh === "STRICT");

/** A namespace policy that is there and not STRICT hides the mesh's STRICT, even when it sets nothing. */
const isExemptionMade = (own: DeclaredMode, { namespace, mesh }: Parent): boolean =>
  own === "STRICT" || (own === "UNSET" && (namespace ?? mesh) === "STRICT");
