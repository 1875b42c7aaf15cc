import { defineRule, type Problem } from "../../engine/rule.ts";
import { isSameAge, oldestFirst } from "../../mesh/objects/creation-order.ts";
import {
  type PeerAuthentication,
  peerAuthenticationsBeside,
  workloadsSelectedByPeerAuthentication,
} from "../../mesh/mtls/effective-mtls.ts";
import { hasNoSelector, isWide } from "../../mesh/mtls/peer-authentications.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { selects } from "../../mesh/objects/selectors.ts";
import type { MeshView } from "../../view/view.ts";

const reads = [peerAuthenticationsBeside, workloadsSelectedByPeerAuthentication] as const;
type View = MeshView<(typeof reads)[number]>;

export const peerAuthenticationWithoutEffect = defineRule({
  id: "peer-authentication-without-effect",
  subject: "PeerAuthentication",
  reads,
  worksWithout: ["Workload"],
  mode: "warn",
  since: "0.1.0",
  tags: ["mtls"],
  summary: "A PeerAuthentication has no effect: an older one applies, or it has a selector in the root namespace.",
  why: "Of the policies at one level (mesh, namespace, workload), Istio uses the oldest and ignores the others, and in the root namespace it ignores those with a selector (pilot/pkg/security/authn/policy_applier.go ComposePeerAuthentication). The policy seems to be in force, and takes effect when the older one is deleted.",
  fix: "Change the policy that applies instead, or delete one of the two.",

  *check(policy, mesh) {
    if (!isServed(policy, mesh.settings)) return;
    const isRoot = policy.metadata.namespace === mesh.settings.rootNamespace;
    const older = mesh.related(peerAuthenticationsBeside, policy).filter((other) => oldestFirst(other, policy) < 0);
    older.sort(oldestFirst);
    if (isWide(policy)) yield* secondWide(policy, older.filter(isWide), isRoot);
    else if (isRoot)
      yield {
        at: ["spec", "selector"],
        message: "Istio ignores a policy with a selector in the root namespace: it applies to no workload",
        fix: "Create the policy in the namespace of the workloads, or remove the selector to make it mesh-wide.",
      };
    else
      yield* secondSelecting(
        policy,
        older.filter((other) => !isWide(other)),
        mesh,
      );
  },
});

function* secondWide(
  policy: PeerAuthentication,
  older: readonly PeerAuthentication[],
  isRoot: boolean,
): Iterable<Problem> {
  const [winner] = older;
  if (winner === undefined) return;
  // An empty selector in the root namespace is mesh-wide for sidecars and ignored for ambient pods, for which the next policy applies.
  if (isRoot && hasNoSelector(policy) && !older.some(hasNoSelector)) return;
  const level = isRoot ? "mesh-wide" : "namespace-wide";
  yield lost(`A second ${level} policy has no effect: ${because(winner, policy)}`, [winner]);
}

function* secondSelecting(
  policy: PeerAuthentication,
  older: readonly PeerAuthentication[],
  mesh: View,
): Iterable<Problem> {
  const labels = labelsOf(policy);
  const wider = older.find((other) => selects(labelsOf(other), labels));
  if (wider !== undefined) {
    yield lost(`The policy has no effect on the workloads it selects: ${because(wider, policy)}`, [wider]);
    return;
  }
  if (!mesh.knowsAll("Workload")) return;
  const selected = mesh
    .related(workloadsSelectedByPeerAuthentication, policy)
    .filter(({ pod }) => selects(labels, pod.labels));
  const winners = selected.map(({ pod }) => older.find((other) => selects(labelsOf(other), pod.labels)));
  const known = winners.filter((winner) => winner !== undefined);
  if (selected.length === 0 || known.length < selected.length) return;
  yield {
    ...lost("The policy has no effect: older policies apply to every workload that it selects", [...new Set(known)]),
    fix: "Change the older policies instead, or delete this one.",
  };
}

const labelsOf = ({ spec }: PeerAuthentication) => spec.selector?.matchLabels ?? {};

const lost = (message: string, winners: readonly PeerAuthentication[]): Problem => ({
  at: [],
  message,
  key: "an older policy wins",
  related: winners,
  evidence: winners,
});

function because(winner: PeerAuthentication, loser: PeerAuthentication): string {
  const name = `${winner.metadata.namespace}/${winner.metadata.name}`;
  if (!isSameAge(winner, loser)) return `the older ${name} applies`;
  return loser.metadata.creationTimestamp
    ? `${name} was created in the same second and comes first by name`
    : `${name} comes first by name if both are created at the same time`;
}
