import { type Applied, type PolicyChange, policyChange, type Rules, rulesOf } from "./applied.ts";
import { type Box, everyRequest, type Request } from "./boxes.ts";
import { inside, outside } from "./difference.ts";
import type { Match, Place } from "./matches.ts";
import { type Ruled, rulesAt } from "./policies.ts";
import { forCaller, type Harmless, strangersTo, unnamed } from "./strangers.ts";
import { Undecided, Work } from "./work.ts";

type Policy = PolicyChange["gone"][number];

/** A request that is refused before a change and accepted after it. */
export interface Gain {
  /** Where it is accepted, or where it was denied by a DENY policy. */
  readonly place: Place;
  readonly request: Request;
  /** The rule that allows it; undefined: no ALLOW policy applies any more, or none did. */
  readonly by: Ruled | undefined;
  /** The rule that denied it, if it was denied by a DENY policy. */
  readonly lost: Ruled | undefined;
}

/** The answer to a question about a change: an example, or that there is none, or that the question takes too much work. */
export interface Answer {
  readonly gain: Gain | undefined;
  readonly isUndecided: boolean;
}

/** The work for one question, and for all questions about one change. */
const limits = { question: 60_000, all: 400_000 };

/** Questions about one change, which share a limit of work. `visited` receives the work that was done, in compared values. */
export class Questions {
  readonly #visited: (values: number) => void;
  #left = limits.all;

  constructor(visited: (values: number) => void) {
    this.#visited = visited;
  }

  /** A request that no ALLOW policy allowed before, and that is allowed now. */
  widened(before: Applied, after: Applied): Answer {
    return this.#first(before, after, (change, work) => change.allowed(everyRequest, work));
  }

  /** A request that a DENY policy denied before, and that is allowed now. */
  denyLost(before: Applied, after: Applied): Answer {
    return this.#first(before, after, (change, work) => change.noLongerDenied(work));
  }

  /** A request of an unnamed caller that is not harmless, and that no unnamed caller could send before. */
  opened(before: Applied, after: Applied, harmless: Harmless): Answer {
    return this.#first(before, after, (change, work) => change.opened(harmless, work));
  }

  #first(before: Applied, after: Applied, ask: (change: Change, work: Work) => Iterable<Gain>): Answer {
    const change = new Change(before, after);
    if (change.isEmpty) return { gain: undefined, isUndecided: false };
    const work = new Work(Math.min(limits.question, this.#left));
    try {
      const [gain] = ask(change, work);
      return { gain, isUndecided: false };
    } catch (error) {
      if (!(error instanceof Undecided)) throw error;
      return { gain: undefined, isUndecided: true };
    } finally {
      this.#left -= work.spent;
      this.#visited(work.spent);
    }
  }
}

/** The policies for one workload, before and after a change. */
class Change {
  readonly #old: Applied;
  readonly #now: Applied;
  readonly #policies: PolicyChange;
  #sides: { readonly before: readonly Rules[]; readonly after: readonly Rules[] } | undefined;

  constructor(before: Applied, after: Applied) {
    this.#old = before;
    this.#now = after;
    this.#policies = policyChange(before, after);
  }

  get isEmpty(): boolean {
    return this.#policies.gone.length + this.#policies.come.length === 0;
  }

  get #before(): readonly Rules[] {
    return this.#rules().before;
  }
  get #after(): readonly Rules[] {
    return this.#rules().after;
  }
  #rules() {
    return (this.#sides ??= { before: rulesOf(this.#old), after: rulesOf(this.#now) });
  }

  /** ALLOW rules that are new. */
  get #newAllow(): readonly Ruled[] {
    const [gone, come] = [this.#policies.gone.filter(isAllow), this.#policies.come.filter(isAllow)];
    return without(rulesIn(come, this.#now), this.#isSamePlace ? rulesIn(gone, this.#old) : []);
  }
  /** DENY rules that are gone. */
  get #oldDeny(): readonly Ruled[] {
    const [gone, come] = [this.#policies.gone.filter(isDeny), this.#policies.come.filter(isDeny)];
    return without(rulesIn(gone, this.#old), this.#isSamePlace ? rulesIn(come, this.#now) : []);
  }
  get #isSamePlace(): boolean {
    return this.#old.place === this.#now.place;
  }

  /** Requests of a box that no ALLOW policy allowed before, and that are allowed now. */
  *allowed(box: Box, work: Work): Generator<Gain & { readonly box: Box }, undefined> {
    if (!hasAllow(this.#before)) return;
    const refusing = [...this.#after.map(({ deny }) => deny), ...this.#before.map(({ allow }) => allow)];
    for (const by of hasAllow(this.#after) ? this.#newAllow : [undefined])
      for (const one of by === undefined ? [box] : inside(box, by.match, work))
        for (const left of outsideLists(one, refusing, work))
          yield { place: this.#now.place, request: left.example, by, lost: undefined, box: left };
  }

  /** Requests that a DENY policy denied before, and that are allowed now. */
  *noLongerDenied(work: Work): Generator<Gain, undefined> {
    for (const lost of this.#oldDeny)
      for (const denied of inside(everyRequest, lost.match, work))
        for (const { box, by } of this.#allowedNow(denied, work))
          yield { place: this.#old.place, request: box.example, by, lost };
  }

  /** The requests of a box that are allowed now, whatever was before. */
  *#allowedNow(box: Box, work: Work): Generator<Pick<Gain, "by"> & { readonly box: Box }, undefined> {
    const refusing = this.#after.map(({ deny }) => deny);
    const allowing = hasAllow(this.#after) ? this.#after.flatMap(({ allow }) => allow) : [undefined];
    for (const by of allowing)
      for (const one of by === undefined ? [box] : inside(box, by.match, work))
        for (const left of outsideLists(one, refusing, work)) yield { box: left, by };
  }

  /** Requests of unnamed callers that no unnamed caller could send before. */
  *opened(harmless: Harmless, work: Work): Generator<Gain, undefined> {
    const rules = this.#newAllow.map(matchOf);
    const start = everyRequest.withAll(unnamed(rules, this.#now.place, harmless), work);
    if (start === undefined) return;
    const strangers = strangersTo(this.#before.flatMap(({ allow, deny }) => [...allow, ...deny]).map(matchOf));
    for (const gain of this.allowed(start, work))
      for (const left of this.#refusedBefore(gain.box, strangers, work)) yield { ...gain, request: left.example };
  }

  /** Requests of a box that all of these callers could not send before. */
  *#refusedBefore(box: Box, callers: readonly Request[], work: Work): Generator<Box, undefined> {
    const [caller, ...others] = callers;
    if (caller === undefined) {
      yield box;
      return;
    }
    for (const refused of this.#refusedFor(box, caller, work)) yield* this.#refusedBefore(refused, others, work);
  }

  *#refusedFor(box: Box, caller: Request, work: Work): Generator<Box, undefined> {
    const of = (rules: readonly Ruled[]): readonly Match[] =>
      rules.flatMap(({ match }) => forCaller(match, caller) ?? []);
    work.spend(this.#before.reduce((sum, { allow, deny }) => sum + allow.length + deny.length, 0));
    for (const { deny } of this.#before) for (const match of of(deny)) yield* inside(box, match, work);
    if (hasAllow(this.#before))
      yield* outside(
        box,
        this.#before.flatMap(({ allow }) => of(allow)),
        work,
      );
  }
}

const isAllow = ({ spec }: Policy): boolean => (spec.action ?? "ALLOW") === "ALLOW";
const isDeny = (policy: Policy): boolean => !isAllow(policy);
const rulesIn = (policies: readonly Policy[], { place, settings }: Applied): readonly Ruled[] =>
  policies.flatMap((policy) => rulesAt(policy, place, settings));
const matchOf = ({ match }: Ruled): Match => match;
const hasAllow = (rules: readonly Rules[]): boolean => rules.some((one) => one.hasAllow);

/** The rules that the others do not contain literally. */
function without(rules: readonly Ruled[], others: readonly Ruled[]): readonly Ruled[] {
  if (rules.length === 0 || others.length === 0) return rules;
  const known = new Set(others.map(textOf));
  return rules.filter((ruled) => !known.has(textOf(ruled)));
}

/** Two rules with the same text in one namespace match the same. */
const textOf = ({ policy, index }: Ruled): string =>
  policy.metadata.namespace + JSON.stringify(policy.spec.rules[index]);

/** The requests that no rule of any list matches. */
function* outsideLists(box: Box, lists: readonly (readonly Ruled[])[], work: Work): Generator<Box, undefined> {
  const [first, ...others] = lists;
  if (first === undefined) yield box;
  else for (const left of outside(box, first.map(matchOf), work)) yield* outsideLists(left, others, work);
}
