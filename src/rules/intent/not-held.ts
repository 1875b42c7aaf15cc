import { kindsIn } from "../../engine/subjects.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { formatEntry, keyOfEntry } from "../../mesh/intents/wording.ts";
import {
  intentAbout,
  type IntentAt,
  intentReads,
  intentsAt,
  namespacesOfClusterIntent,
} from "../../mesh/intents/judged.ts";
import { decidingObjects, formatVerdict, type Verdict, verdictsOf } from "../../mesh/intents/verdicts.ts";

export const intentNotHeld = defineRule({
  id: "intent-not-held",
  subject: "MeshwardIntent",
  reads: [...intentReads, namespacesOfClusterIntent],
  // What is not known makes an entry undecided, and matters only where there are intents.
  worksWithout: kindsIn(intentReads),
  onlyOwnChanges: true,
  mode: "warn",
  since: "0.1.0",
  summary: "What a MeshwardIntent expects of requests is not so, or cannot be decided.",
  why: "An intent keeps only what is so already: intent-broken denies the change that ends it. An entry that never held, or of which too little is known, keeps nothing, and nobody would notice. So this rule says it when the intent is written, and in every audit, with a request that shows it.",
  fix: "Change the policies, routes or labels that the message names until the intent holds; or correct the intent, if it expects what is not meant.",

  *check(intent, mesh) {
    for (const at of intentsAt(intent, mesh)) yield* problemsOf(at, "", mesh);
    for (const namespace of mesh.related(namespacesOfClusterIntent, intent)) {
      for (const at of intentAbout(namespace, intent, mesh)) yield* problemsOf(at, namespace.metadata.name, mesh);
      yield;
    }
  },
});

/** `namespace`: the one that an intent of the root namespace is looked at in. */
function* problemsOf(
  { intent, targets }: IntentAt,
  namespace: string,
  mesh: Parameters<typeof verdictsOf>[2],
): Generator<Problem | undefined, undefined> {
  for (const verdict of verdictsOf(intent, targets, mesh))
    if (verdict === undefined) yield;
    else if (verdict.state !== "held") yield problemOf(verdict, namespace);
}

function problemOf(verdict: Verdict, namespace: string): Problem {
  const where = namespace === "" ? "" : `In namespace ${namespace}: `;
  const { entry, index, state, outcome } = verdict;
  const open = state === "undecided" ? ", and that cannot be decided" : "";
  return {
    at: ["spec", "requests", index],
    message: `${where}${formatEntry(entry)}${open}: ${formatVerdict(verdict, "is")}`,
    key: JSON.stringify([state, namespace, keyOfEntry(entry)]),
    related: outcome === undefined ? [] : decidingObjects(outcome),
    ...(state === "undecided" ? { atMost: "warn", fix: undecided } : {}),
  };
}

const undecided =
  "Give Meshward what is missing, or expect less; until then, no change is denied because of this entry.";
