import { defineRule, type Problem } from "../../engine/rule.ts";
import { captured } from "../../mesh/membership/captured.ts";
import { type Readers, readers } from "../../mesh/membership/control-plane.ts";
import {
  acceptsPlaintext,
  atPort,
  levelOf,
  mtls,
  type PeerAuthentication,
  type PeerAuthenticationLevel,
  peerAuthenticationLevel,
} from "../../mesh/mtls/effective-mtls.ts";
import {
  declared,
  type DeclaredMode,
  hasNoSelector,
  isWide,
  type Modes,
  portModes,
} from "../../mesh/mtls/peer-authentications.ts";
import { namespaceOfPeerAuthentication } from "../../mesh/mtls/replaced-policies.ts";
import type { Namespace } from "../../mesh/membership/namespaces.ts";
import { revisionLabel } from "../../mesh/objects/labels.ts";
import { isSameAge, oldestFirst, precedence } from "../../mesh/objects/creation-order.ts";
import { formatLabels } from "../../mesh/objects/selectors.ts";
import type { SelectorGroup } from "../../mesh/objects/selector-groups.ts";
import { fact, type MeshView } from "../../view/view.ts";

/** The oldest policies of one namespace, which apply. */
class Winners {
  readonly wide: PeerAuthentication | undefined;
  readonly withoutSelector: PeerAuthentication | undefined;
  readonly #level: PeerAuthenticationLevel;
  readonly #selecting = new Map<readonly SelectorGroup<PeerAuthentication>[], PeerAuthentication | undefined>();

  constructor(level: PeerAuthenticationLevel) {
    this.#level = level;
    this.wide = level.wide[0];
    this.withoutSelector = level.wide.find(hasNoSelector);
  }

  /** The oldest policy with a selector that selects these labels. */
  selecting(labels: Readonly<Record<string, string>>): PeerAuthentication | undefined {
    const groups = this.#level.groups.selecting(labels);
    if (!this.#selecting.has(groups))
      this.#selecting.set(groups, groups.flatMap(({ members }) => members.slice(0, 1)).sort(oldestFirst)[0]);
    return this.#selecting.get(groups);
  }
}

/** The policies of a namespace that apply at each level, among those that a control plane reads. */
class WinnersByControlPlane {
  readonly #policies: readonly PeerAuthentication[];
  readonly #readers: Readers;
  readonly #known = new Map<PeerAuthenticationLevel, Winners>();

  constructor({ all }: PeerAuthenticationLevel, found: Readers) {
    this.#policies = all;
    this.#readers = found;
  }

  /** The control plane is that of the policy's revision, else that of the namespace. */
  against(policy: PeerAuthentication): Winners {
    const controlPlane = policy.metadata.labels[revisionLabel] ?? this.#readers.ofSidecar({});
    const level = levelOf(this.#readers.own(this.#policies, controlPlane));
    const found = this.#known.get(level) ?? new Winners(level);
    this.#known.set(level, found);
    return found;
  }
}

/** The policies of a namespace that apply at each level. */
const winners = fact(
  "winners",
  "Namespace",
  [peerAuthenticationLevel, readers],
  (namespace, mesh) =>
    new WinnersByControlPlane(mesh.get(peerAuthenticationLevel, namespace), mesh.get(readers, namespace)),
);

const reads = [namespaceOfPeerAuthentication, winners, captured, mtls] as const;
type View = MeshView<(typeof reads)[number]>;

export const peerAuthenticationWithoutEffect = defineRule({
  id: "peer-authentication-without-effect",
  subject: "PeerAuthentication",
  reads,
  worksWithout: ["Workload"],
  mode: "warn",
  since: "0.1.0",
  tags: ["mtls"],
  summary:
    "A PeerAuthentication or one of its ports has no effect: an older one applies, it has a selector in the root namespace, or istiod does not send the port to ztunnel.",
  why: "Of the policies at one level (mesh, namespace, workload), Istio uses the oldest and ignores the others, and in the root namespace it ignores those with a selector (pilot/pkg/security/authn/policy_applier.go ComposePeerAuthentication). The policy seems to be in force, and takes effect when the older one is deleted. ztunnel gets modes of ports as DENY policies, and whether istiod refers to one and what it writes into it is decided in two places that do not always agree (pilot/pkg/serviceregistry/ambient/authorization.go convertedSelectorPeerAuthentications, convertPeerAuthentication).",
  fix: "Change the policy that applies instead, or delete one of the two.",
  incident: {
    symptoms: ["no-effect"],
    proxies: ["sidecar", "ztunnel"],
    seen: "Workloads have another mode than this policy says, or another one at a port.",
    wayOut: "Nothing changes until the older policy is deleted: do not delete it before this one says what you want.",
    silentWhen:
      "The two policies select different workloads, or it is not known which workloads a selector selects. It only warns if the policy says the same as the older one.",
    page: "https://istio.io/latest/docs/reference/config/security/peer_authentication/",
  },

  *check(policy, mesh) {
    const [namespace] = mesh.related(namespaceOfPeerAuthentication, policy);
    if (namespace === undefined) return;
    const isRoot = namespace.metadata.name === mesh.settings.rootNamespace;
    if (isWide(policy)) yield* secondWide(policy, mesh.get(winners, namespace).against(policy), isRoot);
    else if (isRoot)
      yield {
        at: ["spec", "selector"],
        message: "Istio ignores a policy with a selector in the root namespace: it applies to no workload",
        fix: "Create the policy in the namespace of the workloads, or remove the selector to make it mesh-wide.",
      };
    else {
      yield* secondSelecting(policy, namespace, mesh);
      yield* lostAtZtunnel(policy, namespace, mesh);
    }
  },
});

/** What ztunnel does at the ports of a policy that decides for ambient workloads, where it is not what the policy says. */
function* lostAtZtunnel(policy: PeerAuthentication, namespace: Namespace, mesh: View): Iterable<Problem> {
  const labels = labelsOf(policy);
  const ports = portModes(policy);
  if (ports.size === 0 || !mesh.get(captured, namespace).capturesOf(labels).has("ambient")) return;
  const { of, levels } = mesh.get(mtls, namespace);
  const modes = of(labels, "ambient");
  const evidence = [levels.namespace[0], levels.mesh[0]].filter((parent) => parent !== undefined);
  for (const { place, at, isMore } of unlikeWritten(policy, modes))
    yield {
      at: ["spec", "portLevelMtls", ...at],
      message: `ztunnel ${isMore ? "accepts" : "refuses"} plaintext at ${place} of ambient workloads labelled ${formatLabels(labels).replaceAll(", ", ",")}, ${isMore ? "which the policy requires to use mTLS" : "which the policy exempts from mTLS"}`,
      key: `ztunnel at ${place}`,
      fix: "Set spec.mtls.mode to STRICT, and list the ports that accept plaintext in portLevelMtls: istiod then sends ztunnel all of it.",
      evidence,
    };
}

interface Unlike {
  readonly place: string;
  readonly at: readonly string[];
  /** Whether more plaintext is accepted than the policy says. */
  readonly isMore: boolean;
}

function* unlikeWritten(policy: PeerAuthentication, modes: Modes): Iterable<Unlike> {
  const isDropped = (found: Modes["mode"]) => found.by === policy && found.isDropped === true;
  if (isDropped(modes.mode)) yield { place: "all ports", at: [], isMore: true };
  for (const [port, said] of portModes(policy)) {
    const found = atPort(modes, port);
    const place = { place: `port ${port}`, at: [String(port), "mode"] };
    if (said === "STRICT" && isDropped(found)) yield { ...place, isMore: true };
    else if (isExempt(said) && found.by === policy && !acceptsPlaintext(found)) yield { ...place, isMore: false };
  }
}

const isExempt = (mode: DeclaredMode): boolean => mode === "PERMISSIVE" || mode === "DISABLE";

const isOlder = (other: PeerAuthentication | undefined, policy: PeerAuthentication): other is PeerAuthentication =>
  other !== undefined && oldestFirst(other, policy) < 0;

function* secondWide(
  policy: PeerAuthentication,
  { wide, withoutSelector }: Winners,
  isRoot: boolean,
): Iterable<Problem> {
  if (!isOlder(wide, policy)) return;
  // An empty selector in the root namespace is mesh-wide for sidecars and ignored for ambient pods, for which the next policy applies.
  if (isRoot && hasNoSelector(policy) && !isOlder(withoutSelector, policy)) return;
  const level = isRoot ? "mesh-wide" : "namespace-wide";
  yield lost(policy, `A second ${level} policy has no effect: ${because(wide, policy)}`, [wide]);
}

function* secondSelecting(policy: PeerAuthentication, namespace: Namespace, mesh: View): Iterable<Problem> {
  const labels = labelsOf(policy);
  const there = mesh.get(winners, namespace).against(policy);
  const wider = there.selecting(labels);
  if (isOlder(wider, policy)) {
    yield lost(policy, `The policy has no effect on the workloads it selects: ${because(wider, policy)}`, [wider]);
    return;
  }
  if (!mesh.knowsAll("Workload")) return;
  const selected = mesh.get(captured, namespace).workloads.selected(labels);
  const known = new Set<PeerAuthentication>();
  for (const { pod } of selected) {
    const winner = there.selecting(pod.labels);
    if (!isOlder(winner, policy)) return;
    known.add(winner);
  }
  if (known.size > 0)
    yield {
      ...lost(policy, "The policy has no effect: older policies apply to every workload that it selects", [...known]),
      fix: "Change the older policies instead, or delete this one.",
    };
}

const labelsOf = ({ spec }: PeerAuthentication) => spec.selector?.matchLabels ?? {};

const lost = (policy: PeerAuthentication, message: string, winners: readonly PeerAuthentication[]): Problem => ({
  at: [],
  message,
  key: "an older policy wins",
  related: winners,
  evidence: winners,
  ...(winners.every((winner) => sayingOf(winner) === sayingOf(policy))
    ? { onlyWarns: "both policies say the same" }
    : {}),
});

/** What a policy says; whoever renames one creates the new one before the old one goes. */
function sayingOf(policy: PeerAuthentication): string {
  const ports = [...portModes(policy)].sort(([a], [b]) => a - b);
  return JSON.stringify([hasNoSelector(policy), declared(policy.spec.mtls), ports]);
}

function because(winner: PeerAuthentication, loser: PeerAuthentication): string {
  const name = `${winner.metadata.namespace}/${winner.metadata.name}`;
  return isSameAge(winner, loser) ? `${name} ${precedence(winner, loser)}` : `the older ${name} applies`;
}
