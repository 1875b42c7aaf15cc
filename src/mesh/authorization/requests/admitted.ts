import { type Allowed, allowedBy } from "./allowed.ts";
import { allowsAny, type Applied, rulesOf } from "./applied.ts";
import { everyRequest } from "./boxes.ts";
import { workOfQuestion } from "./changed-rules.ts";
import { anyCallers, type Callers, conditionsOf, isOfClaims, workOfAll } from "./gains.ts";
import type { Clauses } from "./matches.ts";
import { Undecided, Work } from "./work.ts";

/** Whether the policies of places let anybody in. The questions about one change share a limit of work, as those about gains do. */
export class Admissions {
  readonly #visited: (values: number) => void;
  #left = workOfAll;

  constructor(visited: (values: number) => void) {
    this.#visited = visited;
  }

  /**
   * Whether they admit a request that can come: a rule that names its callers in a way that nobody has, or that a DENY policy contradicts, admits
   * none. `among`: conditions on the requests that count. Undefined: that takes too much work.
   */
  any(applied: Applied, callers: Callers = anyCallers, among: Clauses = []): boolean | undefined {
    const work = new Work(Math.min(workOfQuestion, this.#left));
    try {
      return admits(applied, callers, among, work);
    } catch (error) {
      if (!(error instanceof Undecided)) throw error;
      return undefined;
    } finally {
      this.#left -= work.spent;
      this.#visited(work.spent);
    }
  }
}

function admits(applied: Applied, callers: Callers, of: Clauses, work: Work): boolean {
  const rules = rulesOf(applied);
  if (allowsAny(applied) && rules.every(({ allow }) => allow.length === 0)) return false;
  const among = everyRequest.withAll([...conditionsOf({ callers, place: applied.place }), ...of], work);
  const isReal = ({ box }: Allowed) => !callers.haveNoToken || !isOfClaims(box.example);
  return among !== undefined && allowedBy(rules, among, work).some(isReal);
}
