import { kindsIn } from "../../engine/declared-reads.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { clusterJudgements, type IntentJudgement, judgementsOf, ownJudgement } from "../../mesh/intents/judged.ts";
import { relatedObjects, type Verdict } from "../../mesh/intents/verdicts.ts";
import { waysToIntents } from "../../mesh/intents/ways.ts";
import { formatEntry, formatVerdict, keyOfEntry, topicOf } from "../../mesh/intents/wording.ts";
import { reachedBy } from "../../view/view.ts";

const reads = [reachedBy(ownJudgement, waysToIntents), reachedBy(clusterJudgements, waysToIntents)] as const;

export const intentNotHeld = defineRule({
  id: "intent-not-held",
  subject: ["MeshwardIntent", "Namespace"],
  onlyWith: "MeshwardIntent",
  reads,
  // What is not known makes an entry undecided, and matters only where there are intents.
  worksWithout: kindsIn(reads),
  onlyOwnChanges: true,
  mode: "warn",
  since: "0.1.0",
  summary: "What a MeshwardIntent expects of requests is not so, or cannot be decided.",
  why: "An intent keeps only what is so already: intent-broken denies the change that ends it. An entry that never held, or of which too little is known, keeps nothing, and nobody would notice. So this rule says it when the intent is written, and in every audit, with a request that shows it. An intent of the root namespace is reported for each namespace that it is about, by audits.",
  fix: "Change the policies, routes or labels that the message names until the intent holds; or correct the intent, if it expects what is not meant.",
  incident: {
    symptoms: ["protection-missing"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "What the intent expects is not so: the example request in the message shows it.",
    wayOut: "Nothing has changed now. Ask the owner of the intent which of the two is meant, the intent or the mesh.",
    silentWhen:
      "The intent was not written with this change; then audits report it. The entry is wrong: then intent-invalid does.",
    page: "https://istio.io/latest/docs/ops/best-practices/security/",
  },

  *check(object, mesh) {
    for (const judgement of judgementsOf(object, mesh)) {
      // What a wrong entry would expect is not what is meant, and intent-invalid says what is wrong.
      const wrong = yield* judgement.wrongEntries();
      for (const verdict of judgement.verdicts())
        if (verdict === undefined) yield;
        else if (verdict.state !== "held" && !wrong.has(verdict.index))
          yield problemOf(verdict, judgement, object.kind === "Namespace");
    }
  },
});

function problemOf(verdict: Verdict, { intent }: IntentJudgement, isOfNamespace: boolean): Problem {
  const { entry, index, state, outcome } = verdict;
  const open = state === "undecided" ? ", and that cannot be decided" : "";
  return {
    at: isOfNamespace ? [] : ["spec", "requests", index],
    message: `${isOfNamespace ? `${idOf(intent)}: ` : ""}${formatEntry(entry)}${open}: ${formatVerdict(verdict, "is")}`,
    key: JSON.stringify([state, idOf(intent), keyOfEntry(entry)]),
    topic: topicOf(intent, entry),
    related: outcome === undefined ? [] : relatedObjects(outcome),
    ...(state === "undecided" ? { onlyWarns: "it cannot be decided", fix: undecided } : {}),
  };
}

const undecided =
  "Give Meshward what is missing, or expect less; until then, no change is denied because of this entry.";
