import { KeptIn } from "../../../view/kept-in.ts";
import { type Allowed, allowedBy } from "./allowed.ts";
import { allowsAny, type Applied, type Rules, rulesOf } from "./applied.ts";
import { everyRequest } from "./boxes.ts";
import { anyCallers, type Callers, conditionsOf, isOfClaims } from "./gains.ts";
import type { Clauses, Place } from "./matches.ts";
import type { Ruled } from "./policies.ts";
import { SharedWork, type Work } from "./work.ts";

/** Whether the policies of places let anybody in. The questions about one change share a limit of work, as those about gains do. */
export class Admissions {
  readonly #work: SharedWork;

  constructor(visited: (values: number) => void) {
    this.#work = new SharedWork(visited);
  }

  /**
   * Whether they admit a request that can come: a rule that names its callers in a way that nobody has, or that a DENY policy contradicts, admits
   * none. `among`: conditions on the requests that count. Undefined: that takes too much work.
   */
  any(applied: Applied, callers: Callers = anyCallers, among: Clauses = []): boolean | undefined {
    return this.#work.answer((work) => admits(applied, callers, among, work));
  }
}

function admits(applied: Applied, callers: Callers, of: Clauses, work: Work): boolean {
  const rules = rulesOf(applied);
  const isRestricted = allowsAny(applied);
  if (isRestricted && rules.every(({ allow }) => allow.length === 0)) return false;
  // What no DENY policy contradicts, each list decides alone. The mesh-wide ones come last, and their answers are known most often.
  if (isRestricted && of.length === 0 && rules.every(({ deny }) => deny.length === 0))
    return rules.toReversed().some(({ allow }) => admitsAlone(allow, { callers, place: applied.place }, work));
  return admitsTogether(rules, [...conditionsOf({ callers, place: applied.place }), ...of], callers, work);
}

function admitsTogether(rules: readonly Rules[], conditions: Clauses, callers: Callers, work: Work): boolean {
  const among = everyRequest.withAll(conditions, work);
  const isReal = ({ box }: Allowed) => !callers.haveNoToken || !isOfClaims(box.example);
  return among !== undefined && allowedBy(rules, among, work).some(isReal);
}

interface Answer {
  readonly isAdmitted: boolean;
  readonly spent: number;
}
const answers = new KeptIn<readonly Ruled[], Map<string, Answer>>();

/** Whether the ALLOW rules of one list admit some request. Lists are shared by many places, in which the same is certain about the callers. */
function admitsAlone(
  allow: readonly Ruled[],
  { callers, place }: { readonly callers: Callers; readonly place: Place },
  work: Work,
): boolean {
  const ask = () =>
    admitsTogether([{ allow, deny: [], hasAllow: true }], conditionsOf({ callers, place }), callers, work);
  if (allow.length === 0 || callers.toPorts !== undefined || callers.among !== undefined)
    return allow.length > 0 && ask();
  let known = answers.get(allow);
  if (known === undefined) answers.set(allow, (known = new Map()));
  const { haveIdentity, haveNoToken, passSidecar } = callers;
  const key = `${place} ${haveIdentity} ${haveNoToken} ${passSidecar}`;
  let answer = known.get(key);
  if (answer === undefined) {
    const before = work.spent;
    known.set(key, (answer = { isAdmitted: ask(), spent: work.spent - before }));
  } else work.spend(answer.spent);
  return answer.isAdmitted;
}
