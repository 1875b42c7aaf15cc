import { identityOf, idOf } from "../kube/identity.ts";
import type { AnyObject } from "../kube/object.ts";
import { counted } from "../text/phrases.ts";
import { type Evidence, isAbsenceOf } from "./evidence.ts";
import { type Finding, type FoundBy, findingOf } from "./finding.ts";
import type { Problem } from "./rule.ts";

/** The first finding of a kind that is not reported alone, and the number of those after it. */
interface Rest {
  readonly first: Finding;
  others: number;
}

interface ListOptions {
  readonly most?: number | undefined;
  readonly deleted?: AnyObject | undefined;
}

/**
 * The findings of one rule for one object, of which the first `most` are reported one by one. An object can have tens of
 * thousands, and no message lists them, so one finding stands for all others that get the same ruling. Findings that differ
 * in what ruling.ts reads never stand for each other.
 */
export class FindingList {
  readonly #by: FoundBy;
  readonly #most: number;
  readonly #deleted: AnyObject | undefined;
  readonly #found: Finding[] = [];
  /** Most objects have few findings. */
  #rest: Map<string, Rest> | undefined;

  /** `deleted` is the object that the change deletes, if that is all that it does and the rule checks a state: others know both sides. */
  constructor(by: FoundBy, { most = Number.POSITIVE_INFINITY, deleted }: ListOptions = {}) {
    this.#by = by;
    this.#most = most;
    this.#deleted = deleted;
  }

  add(problem: Problem, introduced: boolean): void {
    if (this.#found.length < this.#most) {
      this.#found.push(this.#findingOf(problem, introduced));
      return;
    }
    const kind = `${introduced} ${rulingKeyOf(problem)}`;
    this.#rest ??= new Map();
    const rest = this.#rest.get(kind);
    if (rest === undefined) this.#rest.set(kind, { first: this.#findingOf(problem, introduced), others: 0 });
    else rest.others++;
  }

  /** The fix of a rule is for a reference that is wrong, and not for one whose object the change deletes. */
  #findingOf(problem: Problem, introduced: boolean): Finding {
    const deleted = introduced ? this.#deleted : undefined;
    const isTaken = deleted !== undefined && problem.evidence?.some((one) => isAbsenceOf(one, deleted)) === true;
    if (!isTaken) return findingOf(problem, this.#by, introduced);
    const fix = `Keep ${idOf(deleted)}, or first change ${idOf(this.#by.subject)}, which refers to it.`;
    return findingOf({ ...problem, fix }, this.#by, introduced);
  }

  all(): readonly Finding[] {
    if (this.#rest === undefined) return this.#found;
    return [...this.#found, ...[...this.#rest.values()].map(({ first, others }) => standingFor(first, others))];
  }
}

const standingFor = (finding: Finding, others: number): Finding =>
  others === 0
    ? finding
    : {
        ...finding,
        standsFor: others,
        message: `${finding.message}; and ${counted(others, "more problem")} of this kind`,
      };

/** Problems of one rule and object with the same key get the same ruling, if both or none of them are introduced. */
function rulingKeyOf({ onlyWarns, harmsNobody, topic, evidence, acceptedWith }: Problem): string {
  const accepted = acceptedWith?.map(({ rule, object }) => `${rule} ${identityOf(object)}`).join();
  // Findings about one topic include each other by the objects of their evidence.
  const of = topic === undefined ? evidence && kindsOf(evidence) : evidence?.map(identityOfEvidence).join();
  return `${onlyWarns} ${harmsNobody} ${topic} ${accepted} ${of}`;
}

const identityOfEvidence = (one: Evidence): string =>
  "absent" in one ? `${kindOf(one)} ${one.namespace}/${one.name ?? ""}` : identityOf(one);

const known = new WeakMap<readonly Evidence[], string>();
/** The kinds of a short list are not stored. */
const short = 8;

function kindsOf(evidence: readonly Evidence[]): string {
  if (evidence.length <= short) return evidence.map(kindOf).join();
  // Many problems have the same evidence, which can be long.
  let kinds = known.get(evidence);
  if (kinds === undefined) known.set(evidence, (kinds = [...new Set(evidence.map(kindOf))].sort().join()));
  return kinds;
}

const kindOf = (one: Evidence): string =>
  "absent" in one ? `no ${one.absent}${one.isJoined === true ? " in any cluster" : ""}` : one.kind;
