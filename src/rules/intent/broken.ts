import { absent, type Evidence } from "../../engine/evidence.ts";
import { kindsIn } from "../../engine/declared-reads.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { identityOf, idOf, keyOf } from "../../kube/identity.ts";
import { effectOf } from "../../mesh/intents/effects.ts";
import { clusterJudgements, type IntentJudgement, judgementsOf, ownJudgement } from "../../mesh/intents/judged.ts";
import { relatedObjects, type Verdict } from "../../mesh/intents/verdicts.ts";
import { waysToIntents } from "../../mesh/intents/ways.ts";
import { formatEntry, formatVerdict, keyOfEntry, topicOf } from "../../mesh/intents/wording.ts";
import { isTerminating } from "../../mesh/membership/namespaces.ts";
import { reachedBy } from "../../view/view.ts";

const reads = [reachedBy(ownJudgement, waysToIntents), reachedBy(clusterJudgements, waysToIntents)] as const;

export const intentBroken = defineRule({
  id: "intent-broken",
  subject: ["MeshwardIntent", "Namespace"],
  onlyWith: "MeshwardIntent",
  reads,
  // What is not known makes an entry undecided, and matters only where there are intents.
  worksWithout: kindsIn(reads),
  mode: "deny",
  since: "0.1.0",
  summary: "The change ends what a MeshwardIntent expects of requests, and what was so before.",
  why: "The message has a request that shows it, and what decides about it: the policy that lets it through or stops it, the route, the DestinationRule or the PeerAuthentication. Requests are followed as Istio routes, encrypts and authorizes them (pilot/pkg/networking/core/httproute.go, pilot/pkg/networking/core/cluster_tls.go, pilot/pkg/security/authz/builder/builder.go, ztunnel src/rbac.rs). What did not hold before is reported by intent-not-held and denies nothing, and neither does what cannot be decided.",
  fix: "Change the object so that the intent still holds. If the intent is no longer meant, change or delete it first.",
  incident: {
    symptoms: ["open-access", "access-denied", "plaintext", "no-cluster", "other-destination"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "What the example request in the message does: it gets an answer where 403 was expected, or the reverse; or it is in plaintext, reaches nothing or another version.",
    wayOut:
      "Apply the previous version of the object that the message names, or delete it if the change created it. The intent itself needs no change.",
    silentWhen:
      "The entry did not hold before the change, or it cannot be decided whether it holds, such as with a CUSTOM policy: then it warns at most.",
    page: "https://istio.io/latest/docs/ops/best-practices/security/",
  },

  *compare(before, after) {
    const effect = after.only === undefined ? "any" : effectOf(after.only, after.mesh.settings);
    if (effect === "nothing") return;
    const old = new Map(judgementsOf(before.object, before.mesh).map((one) => [keyOf(one.intent), one]));
    const isOfNamespace = after.object.kind === "Namespace";
    for (const now of judgementsOf(after.object, after.mesh)) {
      if (now.targets.targets.some(({ namespace }) => isTerminating(namespace))) continue;
      const was = old.get(keyOf(now.intent));
      for (const verdict of now.verdicts(now.limitsOf(effect, after.only, was)))
        if (verdict === undefined) yield;
        else if (verdict.state !== "held") yield* ended(verdict, now, { was, isOfNamespace });
    }
  },
});

interface Before {
  /** The same intent before the change; undefined: there was none, or it was not about these requests. */
  readonly was: IntentJudgement | undefined;
  readonly isOfNamespace: boolean;
}

/**
 * The problem, if the same entry held before. An entry that was written with this change is reported by intent-not-held; a
 * namespace that an intent was not about before is only warned.
 */
function* ended(verdict: Verdict, at: IntentJudgement, before: Before): Generator<Problem | undefined, undefined> {
  const { was, isOfNamespace } = before;
  if (was === undefined) {
    if (isOfNamespace && verdict.state === "broken")
      yield problemOf(verdict, at, { isOfNamespace, onlyWarns: "the intent was not about this namespace before" });
    return;
  }
  const key = keyOfEntry(verdict.entry);
  const entry = was.intent.spec.requests.find((one) => keyOfEntry(one) === key);
  if (entry === undefined || !isAboutTheSame(was, at)) return;
  const state = yield* was.stateOf(entry);
  if (state === "broken" || state === verdict.state) return;
  const onlyWarns = state === "undecided" ? "it is not decided that the entry held before" : undecidedNow(verdict);
  yield problemOf(verdict, at, { isOfNamespace, onlyWarns });
}

const isAboutTheSame = (was: IntentJudgement, at: IntentJudgement): boolean =>
  was.intent === at.intent || JSON.stringify(was.intent.spec.to) === JSON.stringify(at.intent.spec.to);

const undecidedNow = ({ state }: Verdict): string | undefined =>
  state === "undecided" ? "it is not decided that the entry no longer holds" : undefined;

function problemOf(
  verdict: Verdict,
  { intent, targets }: IntentJudgement,
  { isOfNamespace, onlyWarns }: { readonly isOfNamespace: boolean; readonly onlyWarns: string | undefined },
): Problem {
  const { entry, index, state, outcome } = verdict;
  const where = isOfNamespace ? `${idOf(intent)}: ` : "";
  const undecided = state === "undecided" ? ", and that can no longer be decided" : "";
  const evidence = state === "broken" ? evidenceOf(verdict, targets.targets[0]?.namespace.metadata.name) : [];
  return {
    at: isOfNamespace ? [] : ["spec", "requests", index],
    message: `${where}${formatEntry(entry)}${undecided}: ${formatVerdict(verdict, "would be")}`,
    key: JSON.stringify([state, identityOf(intent), keyOfEntry(entry)]),
    // What intent-not-held says of the same namespace.
    topic: topicOf(intent, entry),
    related: outcome === undefined ? [] : relatedObjects(outcome),
    ...(onlyWarns === undefined ? {} : { onlyWarns }),
    ...(evidence.length > 0 ? { evidence } : {}),
  };
}

/** A destination that is missing may follow; what lets a request through does not go away again. */
function evidenceOf({ outcome }: Verdict, namespace = ""): readonly Evidence[] {
  if (outcome?.result !== "nowhere") return [];
  return [outcome.route.virtualService ?? absent("VirtualService", namespace)];
}
