import type { ObjectOf } from "../../kube/object.ts";

type PeerAuthentication = ObjectOf<"PeerAuthentication">;

export type MtlsMode = "STRICT" | "PERMISSIVE" | "DISABLE";
/** What a policy says at one place: what is absent, or no mode at all, is inherited. */
export type DeclaredMode = MtlsMode | "UNSET";

export function declared(mtls: { readonly mode: string | undefined } | undefined): DeclaredMode {
  const mode = mtls?.mode;
  return mode === "STRICT" || mode === "PERMISSIVE" || mode === "DISABLE" ? mode : "UNSET";
}

/** The modes of single ports. The API server takes no key that is not a port number. */
export const portModes = ({ spec }: PeerAuthentication): readonly (readonly [number, DeclaredMode])[] =>
  Object.entries(spec.portLevelMtls)
    .filter(([port]) => /^\d+$/.test(port))
    .map(([port, mtls]) => [Number(port), declared(mtls)] as const);

/** For the whole namespace, or the mesh: an empty selector is none (Istio pilot/pkg/model/authentication.go addPeerAuthentication). */
export const isWide = ({ spec }: PeerAuthentication): boolean =>
  Object.keys(spec.selector?.matchLabels ?? {}).length === 0;

/** Ztunnel's side tells an empty selector from none. */
export const hasNoSelector = ({ spec }: PeerAuthentication): boolean => spec.selector === undefined;

/** The policies that count for a namespace, each list oldest first. */
export interface Levels {
  readonly isRoot: boolean;
  readonly mesh: readonly PeerAuthentication[];
  readonly namespace: readonly PeerAuthentication[];
  /** Those with a selector. */
  readonly workload: readonly PeerAuthentication[];
}

/** A mode, and the policy that sets it; none does: plaintext is accepted. */
export interface EffectiveMode {
  readonly mode: MtlsMode;
  readonly by?: PeerAuthentication;
  /** The policy sets no such mode: ztunnel is given nothing of what it says and inherits, and refuses nobody. */
  readonly isDropped?: true;
}

/** Of one workload: its ports that a policy names, and all the others. */
export interface Modes {
  readonly mode: EffectiveMode;
  readonly ports: ReadonlyMap<number, EffectiveMode>;
}
