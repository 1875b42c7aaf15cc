import { fact, relation } from "../../view/view.ts";
import { isSameAge } from "../objects/creation-order.ts";
import { revisionLabel } from "../objects/labels.ts";
import { selectorText } from "../objects/selector-groups.ts";
import {
  acceptsPlaintext,
  type NamespaceMtls,
  type PeerAuthentication,
  peerAuthenticationLevel,
  type PeerAuthenticationLevel,
  peerAuthenticationsInNamespace,
  planes,
} from "./effective-mtls.ts";
import { declared, type DeclaredMode, hasNoSelector, portModes } from "./peer-authentications.ts";

/** A PeerAuthentication that a control plane reads, and its Namespace, whose other policies can replace it. */
export const namespaceOfPeerAuthentication = relation(
  "namespaceOfPeerAuthentication",
  peerAuthenticationsInNamespace.to,
  peerAuthenticationsInNamespace.from,
);

/**
 * The policies of a namespace that have no effect for any pod, behind a sidecar or in ambient mode, and the older policy that each
 * control plane uses instead. Of policies at one level the oldest counts alone (Istio pilot/pkg/security/authn/policy_applier.go
 * ComposePeerAuthentication, pilot/pkg/serviceregistry/ambient/authorization.go getOldestPeerAuthn,
 * convertedSelectorPeerAuthentications). Of policies of the same age, ztunnel may use either.
 */
export const replacedPeerAuthentications = fact(
  "replacedPeerAuthentications",
  "Namespace",
  [peerAuthenticationLevel],
  (namespace, mesh): ReadonlyMap<PeerAuthentication, PeerAuthentication> =>
    new Map(replacedIn(mesh.get(peerAuthenticationLevel, namespace))),
);

type Replaced = readonly [policy: PeerAuthentication, by: PeerAuthentication];

function* replacedIn({ wide, selecting, groups }: PeerAuthenticationLevel): Iterable<Replaced> {
  // istiod distinguishes an empty selector from none for ztunnel, but not for sidecars.
  const scopeOf = (policy: PeerAuthentication) => (hasNoSelector(policy) ? "none" : "empty");
  yield* behindOlder(wide, scopeOf, (policy) => (hasNoSelector(policy) ? ["none"] : ["none", "empty"]));
  const labelsOf = ({ spec }: PeerAuthentication) => spec.selector?.matchLabels ?? {};
  yield* behindOlder(
    selecting,
    (policy) => selectorText(labelsOf(policy)),
    (policy) => groups.selecting(labelsOf(policy)).map(({ labels }) => selectorText(labels)),
  );
}

/** Of policies that are sorted oldest first: those with an older one in one of the scopes that include their own. */
function* behindOlder(
  policies: readonly PeerAuthentication[],
  scopeOf: (policy: PeerAuthentication) => string,
  includingScopes: (policy: PeerAuthentication) => readonly string[],
): Iterable<Replaced> {
  const oldest = new Map<string, { readonly policy: PeerAuthentication; readonly place: number }>();
  const placeOf = (scope: string, revision: string) => JSON.stringify([scope, revision]);
  for (const [place, policy] of policies.entries()) {
    const revision = policy.metadata.labels[revisionLabel] ?? "";
    // Every control plane reads policies without a revision. One of another revision may be read by another one.
    const found = includingScopes(policy)
      .flatMap((scope) => ["", revision].map((of) => oldest.get(placeOf(scope, of))))
      .filter((one) => one !== undefined)
      .sort((a, b) => a.place - b.place)[0];
    if (found !== undefined && !isSameAge(found.policy, policy)) yield [policy, found.policy];
    const own = placeOf(scopeOf(policy), revision);
    if (!oldest.has(own)) oldest.set(own, { policy, place });
  }
}

const isAccepting = (mode: DeclaredMode | undefined): boolean => mode === "PERMISSIVE" || mode === "DISABLE";

/**
 * Whether an older policy that replaces another one lets plaintext in, at a port or (undefined) at every port, so that nothing opens
 * when it goes. A policy without a mode lets in what its namespace or the mesh does (Istio pilot/pkg/security/authn/policy_applier.go
 * ComposePeerAuthentication), as far as that is the same for every control plane and data plane.
 */
export function isAcceptedBy(older: PeerAuthentication, port: number | undefined, inherited: NamespaceMtls): boolean {
  const [mode, ports] = [declared(older.spec.mtls), portModes(older)];
  const ofPort = port === undefined ? undefined : ports.get(port);
  if (ofPort !== undefined && ofPort !== "UNSET") return isAccepting(ofPort);
  const isOpen = mode === "UNSET" ? isOpenAnyway(inherited) : isAccepting(mode);
  return isOpen && (port !== undefined || ![...ports.values()].includes("STRICT"));
}

/** Whether pods that no policy selects accept plaintext; of a policy without a mode for all of them, that is what it inherits. */
const isOpenAnyway = ({ isOfAll, wide }: NamespaceMtls): boolean =>
  isOfAll && planes.every((plane) => acceptsPlaintext(wide(plane)));
