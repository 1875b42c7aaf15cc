import type { Labels } from "../../kube/object.ts";
import { index, type MeshView, relation } from "../../view/view.ts";
import type { readers } from "../membership/control-plane.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { isSameAge, oldestFirst } from "../objects/creation-order.ts";
import { selects } from "../objects/selectors.ts";
import {
  mtlsOf,
  type PeerAuthentication,
  type peerAuthenticationsOfNamespace,
  planes,
  planesOfNamespace,
} from "./effective-mtls.ts";
import { declared, type EffectiveMode, isWide, portModes } from "./peer-authentications.ts";
import { namespaceByNameAndRoot } from "../objects/indexes.ts";

/**
 * A namespace and every PeerAuthentication in it and in the root namespace, whether or not a control plane reads it.
 */
export const everyPeerAuthenticationOfNamespace = relation(
  "everyPeerAuthenticationOfNamespace",
  namespaceByNameAndRoot,
  index("PeerAuthentication", ({ metadata }) => [metadata.namespace]),
);

/** The scope of a policy. */
export type PeerAuthenticationLevel = "mesh" | "namespace" | "workload";

/**
 * Whether a policy sets the mode of a workload, and if not, why.
 * - `counts`: some port gets its mode from it.
 * - `not-read`: the control plane of these workloads does not read it, because of its label `istio.io/rev` or of the
 *   `discoverySelectors`.
 * - `root-selector`: policies with a selector in the root namespace have no effect.
 * - `younger`, `same-age`: `by` is older, or comes first by name.
 * - `unset`: it sets no mode, so that the inherited mode applies.
 * - `overridden`: `by`, a policy with a narrower scope, sets the mode.
 */
export interface PeerAuthenticationChoice {
  readonly policy: PeerAuthentication;
  readonly level: PeerAuthenticationLevel;
  readonly outcome: "counts" | "not-read" | "root-selector" | "younger" | "same-age" | "unset" | "overridden";
  readonly by?: PeerAuthentication;
}

/**
 * Every policy whose scope contains workloads with these labels (undefined: workloads that no policy selects), oldest
 * first, with its status. The results are consistent with mtlsOf.
 */
export function peerAuthenticationChoices(
  namespace: Namespace,
  labels: Labels | undefined,
  mesh: MeshView<typeof everyPeerAuthenticationOfNamespace | typeof peerAuthenticationsOfNamespace | typeof readers>,
): readonly PeerAuthenticationChoice[] {
  const { rootNamespace } = mesh.settings;
  const mtls = mtlsOf(namespace, mesh);
  // The control planes of sidecars and of ztunnel can read different policies.
  const considered = mtls.isOfAll ? planes : planesOfNamespace(namespace, mesh.settings).planes;
  const all = considered.flatMap((plane): readonly EffectiveMode[] => {
    if (labels === undefined) return [mtls.wide(plane)];
    const { mode, ports } = mtls.of(labels, plane);
    return [mode, ...ports.values()];
  });
  const deciding = new Set(all.flatMap(({ by }) => by ?? []));
  const related = mesh.related(everyPeerAuthenticationOfNamespace, namespace).toSorted(oldestFirst);
  const mine = related.filter((policy) => isFor(policy, labels, rootNamespace));
  const controlPlanes = considered.map((plane) =>
    plane === "ambient" ? mtls.readers.ofZtunnel : mtls.readers.ofSidecar(labels ?? {}),
  );
  const read = new Set(mine.filter((policy) => controlPlanes.some((one) => mtls.readers.reads(policy, one))));
  return mine.map((policy) => {
    const level = levelOf(policy, rootNamespace);
    const rivals = mine.filter((rival) => levelOf(rival, rootNamespace) === level && read.has(rival));
    if (!read.has(policy)) return { policy, level, outcome: "not-read" };
    if (policy.metadata.namespace === rootNamespace && !isWide(policy))
      return { policy, level, outcome: "root-selector" };
    const lost = lostTo(policy, rivals.filter(isRival(rootNamespace)), deciding);
    // ztunnel may use any policy of the same age; mtlsOf assumes the weakest.
    if (deciding.has(policy) && lost.outcome !== "same-age") return { policy, level, outcome: "counts" };
    return { policy, level, ...lost };
  });
}

/** The policies of a namespace with a selector, oldest first, whether or not a control plane reads them. */
export function selectingPeerAuthentications(
  namespace: Namespace,
  mesh: MeshView<typeof everyPeerAuthenticationOfNamespace>,
): readonly PeerAuthentication[] {
  return mesh
    .related(everyPeerAuthenticationOfNamespace, namespace)
    .filter((policy) => policy.metadata.namespace === namespace.metadata.name && !isWide(policy))
    .toSorted(oldestFirst);
}

/**
 * Leaves out policies of other workloads, but keeps one with a selector in the root namespace, because it looks
 * mesh-wide.
 */
function isFor({ metadata, spec }: PeerAuthentication, labels: Labels | undefined, rootNamespace: string): boolean {
  const selector = spec.selector?.matchLabels ?? {};
  if (Object.keys(selector).length === 0) return true;
  if (metadata.namespace === rootNamespace) return labels === undefined || selects(selector, labels);
  return labels !== undefined && selects(selector, labels);
}

const levelOf = (policy: PeerAuthentication, rootNamespace: string): PeerAuthenticationLevel =>
  policy.metadata.namespace === rootNamespace ? "mesh" : isWide(policy) ? "namespace" : "workload";

const isRival =
  (rootNamespace: string) =>
  (policy: PeerAuthentication): boolean =>
    policy.metadata.namespace !== rootNamespace || isWide(policy);

function lostTo(
  policy: PeerAuthentication,
  rivals: readonly PeerAuthentication[],
  deciding: ReadonlySet<PeerAuthentication>,
): Pick<PeerAuthenticationChoice, "outcome" | "by"> {
  const [oldest] = rivals;
  if (oldest !== undefined && oldest !== policy)
    return { outcome: isSameAge(oldest, policy) ? "same-age" : "younger", by: oldest };
  const saysNothing =
    declared(policy.spec.mtls) === "UNSET" && [...portModes(policy).values()].every((mode) => mode === "UNSET");
  const [by] = deciding;
  return saysNothing || by === undefined ? { outcome: "unset" } : { outcome: "overridden", by };
}
