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
  summary: "A PeerAuthentication changes nothing: an older one wins, or it has a selector in the root namespace.",
  why: "Of the policies of one level (mesh, namespace, workload) Istio takes the oldest and drops the others, and in the root namespace it drops those with a selector (pilot/pkg/security/authn/policy_applier.go ComposePeerAuthentication). The policy looks as if it were in force; when the older one goes, it wakes up.",
  fix: "Change the policy that wins, or delete one of the two; to select workloads, put the policy into their namespace.",

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
  // An empty selector in the root namespace is mesh-wide for sidecars and nothing for ambient pods: there the next one counts.
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
  yield lost("The policy has no effect: older ones win for every workload it selects", [...new Set(known)]);
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
  if (!isSameAge(winner, loser)) return `the older ${name} wins`;
  return loser.metadata.creationTimestamp
    ? `${name} was created in the same second and wins by its name`
    : `${name} wins by its name when both are created at once`;
}
