import { formatPath } from "../kube/field-path.ts";
import { keyOf } from "../kube/identity.ts";
import { readObject } from "../kube/object.ts";
import type { Path } from "../kube/read.ts";
import { Callers } from "../mesh/intents/callers.ts";
import { faultsOf } from "../mesh/intents/faults.ts";
import { type Intent, isClusterWide } from "../mesh/intents/intents.ts";
import { clusterJudgements, type IntentJudgement, ownJudgement } from "../mesh/intents/judged.ts";
import { missingTargets } from "../mesh/intents/missing-targets.ts";
import type { Verdict } from "../mesh/intents/verdicts.ts";
import { formatEntry, formatVerdict } from "../mesh/intents/wording.ts";
import type { Difference } from "../report/test-report.ts";
import { overlay } from "../view/overlay.ts";
import type { MeshSettings } from "../view/settings.ts";
import { sideOf } from "../view/side.ts";
import type { Mesh } from "../view/view.ts";
import type { Expectation, StatedRequests } from "./test-file.ts";

/** The fields of `expect` that state requests. */
const statedFields = ["holds", "heldBefore"] as const;

/** A fault of what a case states, whatever the mesh is. */
export interface StatedFault {
  /** Within `expect`. */
  readonly at: Path;
  readonly message: string;
}

/** What is wrong with the requests that a case states: callers that are none, entries that contradict each other. */
export function* faultsOfStated(expect: Expectation, settings: MeshSettings): Generator<StatedFault, undefined> {
  for (const field of statedFields)
    for (const [i, stated] of (expect[field] ?? []).entries()) {
      const at: Path = [field, i];
      if (stated.namespace === undefined && stated.to["namespaces"] === undefined)
        yield { at, message: "namespace is missing: give the namespace of the target" };
      yield* faultsAt(at, intentOf(stated, at, settings), settings);
    }
}

function* faultsAt(at: Path, intent: Intent, settings: MeshSettings): Generator<StatedFault, undefined> {
  for (const fault of faultsOf(intent, settings))
    if (fault !== undefined) yield { at: [...at, ...fault.at.slice(1)], message: sentences(fault.message, fault.fix) };
}

const sentences = (message: string, fix = ""): string =>
  fix === "" ? message : `${message}${message.endsWith("?") ? "" : "."} ${fix}`;

/** An intent of a name that no object can have. */
function intentOf({ namespace, to, requests }: StatedRequests, at: Path, { rootNamespace }: MeshSettings): Intent {
  return readObject("MeshwardIntent", {
    kind: "MeshwardIntent",
    metadata: { name: formatPath(at), namespace: namespace ?? rootNamespace },
    spec: { to, requests },
  });
}

/** What does not become of the requests that one field of `expect` states, or cannot be decided, in a mesh. */
export function unheldIn(
  field: (typeof statedFields)[number],
  all: readonly StatedRequests[] | undefined,
  mesh: Mesh,
): readonly Difference[] {
  if (all === undefined) return [];
  const intents = all.map((stated, i) => intentOf(stated, [field, i], mesh.settings));
  // Facts are computed once for all of them. Intents about namespaces are found there.
  const side = sideOf(
    overlay(
      mesh,
      intents.map((object) => ({ object })),
    ),
  );
  return intents.flatMap((intent) => [...unheld(intent, side)]);
}

function* unheld(intent: Intent, mesh: Mesh): Generator<Difference, undefined> {
  const what = intent.metadata.name;
  const missing = [...missingTargets(intent, mesh)];
  for (const { at, message } of [...missing, ...new Callers(intent, mesh).misspelt()])
    yield { what: `${what}.${formatPath(at.slice(1))}`, expected: ["something of the mesh"], found: [message] };
  const judgements = judgementsIn(intent, mesh);
  if (judgements.length === 0)
    yield { what: `${what}.to`, expected: ["something of the mesh"], found: ["No workload is in such a namespace"] };
  for (const judgement of judgements) {
    if (missing.length > 0 && judgement.targets.targets.length === 0) continue;
    for (const verdict of judgement.verdicts())
      if (verdict !== undefined && verdict.state !== "held") yield differenceOf(verdict, judgement);
  }
}

function judgementsIn(intent: Intent, mesh: Mesh): readonly IntentJudgement[] {
  if (!isClusterWide(intent, mesh.settings)) return mesh.get(ownJudgement, intent);
  return [...mesh.all("Namespace")]
    .flatMap((namespace) => mesh.get(clusterJudgements, namespace))
    .filter((one) => keyOf(one.intent) === keyOf(intent));
}

function differenceOf(verdict: Verdict, { intent, targets }: IntentJudgement): Difference {
  const namespace = intent.spec.to.namespaces && targets.targets[0]?.namespace.metadata.name;
  const where = namespace === undefined ? "" : `in namespace ${namespace}, `;
  // What becomes of an example says it itself.
  const undecided = verdict.outcome === undefined ? "undecided: " : "";
  return {
    what: `${intent.metadata.name}.requests[${verdict.index}]`,
    expected: [formatEntry(verdict.entry)],
    found: [`${where}${undecided}${formatVerdict(verdict, "is")}`],
  };
}
