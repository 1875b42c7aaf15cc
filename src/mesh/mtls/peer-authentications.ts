import type { ObjectOf } from "../../kube/object.ts";

type PeerAuthentication = ObjectOf<"PeerAuthentication">;

export type MtlsMode = "STRICT" | "PERMISSIVE" | "DISABLE";
/** The mode that a policy declares at one place; an absent or unknown mode is inherited. */
export type DeclaredMode = MtlsMode | "UNSET";

export function declared(mtls: { readonly mode: string | undefined } | undefined): DeclaredMode {
  const mode = mtls?.mode;
  return mode === "STRICT" || mode === "PERMISSIVE" || mode === "DISABLE" ? mode : "UNSET";
}

const portsOf = new WeakMap<PeerAuthentication, ReadonlyMap<number, DeclaredMode>>();

/** The modes of single ports. An object with keys that are none is malformed. */
export function portModes(policy: PeerAuthentication): ReadonlyMap<number, DeclaredMode> {
  let modes = portsOf.get(policy);
  if (modes === undefined) {
    const named = Object.entries(policy.spec.portLevelMtls).filter(([port]) => /^\d+$/.test(port));
    portsOf.set(policy, (modes = new Map(named.map(([port, mtls]) => [Number(port), declared(mtls)]))));
  }
  return modes;
}

/**
 * Whether a policy is for the whole namespace or the mesh; an empty selector counts as none (Istio
 * pilot/pkg/model/authentication.go addPeerAuthentication).
 */
export const isWide = ({ spec }: PeerAuthentication): boolean =>
  Object.keys(spec.selector?.matchLabels ?? {}).length === 0;

/** The same in CEL, about a raw `object`. */
export const isWideInCel =
  "(!has(object.spec.selector) || !has(object.spec.selector.matchLabels) || object.spec.selector.matchLabels.size() == 0)";

/** The ambient code of istiod distinguishes an empty selector from none. */
export const hasNoSelector = ({ spec }: PeerAuthentication): boolean => spec.selector === undefined;

/** The policies that apply to a namespace, each list oldest first. */
export interface Levels {
  readonly isRoot: boolean;
  readonly mesh: readonly PeerAuthentication[];
  readonly namespace: readonly PeerAuthentication[];
  /** Those with a selector. */
  readonly workload: readonly PeerAuthentication[];
}

/** A mode and the policy that sets it; if no policy sets one, plaintext is accepted. */
export interface EffectiveMode {
  readonly mode: MtlsMode;
  readonly by?: PeerAuthentication;
  /** istiod sends ztunnel neither the policy's own modes nor the inherited ones, so that ztunnel refuses nobody. */
  readonly isDropped?: true;
  /** What clients do, who send plaintext although the workload refuses it. */
  readonly isRefused?: true;
}

/** The modes of one workload: at the ports that a policy lists, and at all other ports. */
export interface Modes {
  readonly mode: EffectiveMode;
  readonly ports: ReadonlyMap<number, EffectiveMode>;
}
