import { absent } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { kindsIn } from "../../engine/declared-reads.ts";
import { callerReads, Callers } from "../../mesh/intents/callers.ts";
import { faultsOf } from "../../mesh/intents/faults.ts";
import { missingReads, missingTargets } from "../../mesh/intents/missing-targets.ts";
import type { IntentFault } from "../../mesh/intents/value-faults.ts";
import { setting } from "../../view/view.ts";

// What is wrong with an intent about other namespaces names the root namespace.
const reads = [...missingReads, ...callerReads, setting("rootNamespace")] as const;

export const intentInvalid = defineRule({
  id: "intent-invalid",
  subject: "MeshwardIntent",
  reads,
  worksWithout: kindsIn(reads),
  onlyOwnChanges: true,
  mode: "deny",
  since: "0.1.0",
  summary: "A MeshwardIntent contradicts itself, or names something that does not exist.",
  why: "Nothing can be said of such an intent, or of the entries that are wrong, so it keeps nothing. Paths, methods and headers mean what they mean in an AuthorizationPolicy (Istio pkg/config/security/security.go CheckValidPathTemplate, pilot/pkg/security/authz/matcher). A Service, a port or pods that do not exist only warn, because an intent may be applied before them.",
  fix: "Correct the entry that the message names.",
  incident: {
    symptoms: ["protection-missing"],
    proxies: [],
    seen: "Changes are admitted that the intent was written to stop.",
    wayOut: "Apply the previous version of the intent.",
    silentWhen:
      "Entries contradict each other through the service account of a workload or a gateway that is not known, or that changes later.",
    page: "https://istio.io/latest/docs/reference/config/security/authorization-policy/",
  },

  *check(intent, mesh) {
    const callers = new Callers(intent, mesh);
    for (const fault of faultsOf(intent, mesh.settings, callers.runningOf)) yield fault && problemOf(fault);
    for (const { at, message } of callers.misspelt()) yield { at, message, onlyWarns: mayFollow, fix: missing };
    for (const { at, message, service } of missingTargets(intent, mesh)) {
      const evidence = service === undefined ? {} : { evidence: [absent("Service", service.namespace, service.name)] };
      yield { at, message, onlyWarns: mayFollow, ...evidence, fix: missing } satisfies Problem;
    }
  },
});

const mayFollow = "what the intent names may be created later";

const problemOf = ({ at, message, fix, isGuess, evidence }: IntentFault): Problem => ({
  ...{ at, message },
  ...(fix === undefined ? {} : { fix }),
  ...(isGuess === true ? { onlyWarns: "it may be meant" } : {}),
  ...(evidence === undefined ? {} : { evidence, related: evidence }),
});

const missing = "Correct the name, or apply what the intent is about.";
