import type { Change } from "../../view/overlay.ts";
import { SmallMap } from "../../view/small-map.ts";
import { fact, type MeshView } from "../../view/view.ts";
import { Callers } from "./callers.ts";
import { canEnd, type Effect } from "./effects.ts";
import { faultsOf } from "./faults.ts";
import { clusterIntentsOfNamespace, type Entry, type Intent, isAbout, isClusterWide } from "./intents.ts";
import { type Targets, targetsIn, targetsOf } from "./targets.ts";
import { isUntouched } from "./untouched.ts";
import { type Limits, stateOf, type Verdict, verdictReads, verdictsOf, type VerdictView } from "./verdicts.ts";

/** An intent, and the part of what it is about that is looked at. Nothing is computed before it is asked for. */
export class IntentJudgement {
  readonly intent: Intent;
  readonly targets: Targets;
  readonly #mesh: VerdictView;
  /** Of a mesh before several changes, each of them asks for the same entries. */
  readonly #states = new SmallMap<Entry, Verdict["state"]>();

  constructor(intent: Intent, targets: Targets, mesh: VerdictView) {
    this.intent = intent;
    this.targets = targets;
    this.#mesh = mesh;
  }

  /** See verdictsOf. */
  verdicts(limits?: Limits): Generator<Verdict | undefined, undefined> {
    return verdictsOf(this.intent, this.targets, this.#mesh, limits);
  }

  /** The entries that intent-invalid reports as wrong, by their positions. Yields where a review can pause. */
  *wrongEntries(): Generator<undefined, ReadonlySet<number>> {
    const wrong = new Set<number>();
    const { runningOf } = new Callers(this.intent, this.#mesh);
    for (const fault of faultsOf(this.intent, this.#mesh.settings, runningOf)) {
      const [, list, i] = fault === undefined || fault.isGuess === true ? [] : fault.at;
      if (list === "requests" && typeof i === "number") wrong.add(i);
      yield;
    }
    return wrong;
  }

  /** What a change can end; without `change`, there are several. `was`: the same intent before it. */
  limitsOf(effect: Effect, change: Change | undefined, was: IntentJudgement | undefined): Limits {
    const sides = change && was && { change, before: was.#mesh, after: this.#mesh };
    return {
      isAsked: (entry) => canEnd(effect, entry),
      isHeld: (question, entry) => sides !== undefined && isUntouched(question, entry, sides),
    };
  }

  /** Yields where a review can pause. */
  *stateOf(entry: Entry): Generator<undefined, Verdict["state"]> {
    let known = this.#states.get(entry);
    if (known === undefined) {
      known = yield* stateOf(entry, this.intent, this.targets, this.#mesh);
      this.#states.set(entry, known);
    }
    return known;
  }
}

/** An intent, unless it is about the workloads of other namespaces. */
export const ownJudgement = fact(
  "ownJudgement",
  "MeshwardIntent",
  [...verdictReads],
  (intent, mesh): readonly IntentJudgement[] =>
    intent.spec.to.namespaces === undefined ? [new IntentJudgement(intent, targetsOf(intent, mesh), mesh)] : [],
);

/**
 * A namespace, with the intents of the root namespace that are about it. So a change looks at one namespace, and the policies and
 * exceptions of that namespace decide.
 */
export const clusterJudgements = fact(
  "clusterJudgements",
  "Namespace",
  [...verdictReads, clusterIntentsOfNamespace],
  (namespace, mesh): readonly IntentJudgement[] =>
    mesh.related(clusterIntentsOfNamespace, namespace).flatMap((intent) => {
      const is = isAbout(intent, namespace);
      if (is === false || !isClusterWide(intent, mesh.settings)) return [];
      const targets = targetsIn(namespace, intent, mesh);
      if (targets.targets.length === 0) return [];
      const unknown = `the labels of namespace ${namespace.metadata.name} are not known`;
      return [new IntentJudgement(intent, is ? targets : { ...targets, unknown }, mesh)];
    }),
);

/** The judgements about one subject of a rule. */
export const judgementsOf = (
  object: Intent | Parameters<typeof clusterJudgements.compute>[0],
  mesh: MeshView<typeof ownJudgement | typeof clusterJudgements>,
): readonly IntentJudgement[] =>
  object.kind === "MeshwardIntent" ? mesh.get(ownJudgement, object) : mesh.get(clusterJudgements, object);
