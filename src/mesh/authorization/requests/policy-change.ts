import { type Allowed, allowedBy } from "./allowed.ts";
import { allowsAny, type Applied, listChanges, type Rules, rulesOf } from "./applied.ts";
import type { Box, Request } from "./boxes.ts";
import {
  type ChangedRules,
  changedRules,
  isReadAlike,
  matchOf,
  mayGain,
  rulesForUnnamed,
  type Unnamed,
} from "./changed-rules.ts";
import { inside, outside } from "./difference.ts";
import { knownInside, outsideLists } from "./kept-differences.ts";
import type { Match, Place } from "./matches.ts";
import type { Ruled } from "./policies.ts";
import { forCaller, requestOf, type Stranger, type StrangerIdentity, strangersTo } from "./strangers.ts";
import type { Work } from "./work.ts";

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

/** What is asked about a change: which requests it gives to whom. */
export type GainKind = "widened" | "denyLost" | "opened" | "openedToMesh";

export interface Question {
  readonly work: Work;
  readonly isAnswered: (ruled: Ruled | undefined) => boolean;
}

/** The policies for one workload, before and after a change, and the search for requests that somebody gains by it. */
export class PolicyChange {
  readonly #old: Applied;
  readonly #now: Applied;
  readonly #changed: ChangedRules;
  /** Nobody can gain anything, whether proxies read the rules for HTTP or for TCP. */
  readonly isWithoutNewRules: boolean;
  /** Nobody can gain anything. */
  readonly isEmpty: boolean;
  /** What was admitted may not be any more: rules that allowed are gone or are read otherwise, or new ones deny. */
  readonly mayClose: boolean;
  #strangersBefore: readonly Stranger[] | undefined;
  #sides: { readonly before: readonly Rules[]; readonly after: readonly Rules[] } | undefined;

  constructor(before: Applied, after: Applied) {
    this.#old = before;
    this.#now = after;
    const changes = listChanges(before, after);
    const [only] = changes;
    const policies =
      only !== undefined && changes.length === 1
        ? only
        : { gone: changes.flatMap(({ gone }) => gone), come: changes.flatMap(({ come }) => come) };
    this.#changed = changedRules(policies, before, after);
    this.isWithoutNewRules = this.#hasNoNewRule();
    this.isEmpty = this.isWithoutNewRules || !changes.some((change) => mayGain(change, before, after));
    this.mayClose = !isReadAlike(before, after) || this.#changed.mayClose(allowsAny(before));
  }

  /**
   * Whether the rules are the same or fewer: no new one allows, none that denied is gone, and where an ALLOW policy applied, one still does. By
   * the rules as they are written, because HTTP and TCP leave out different ones.
   */
  #hasNoNewRule(): boolean {
    const [before, after] = [this.#old, this.#now];
    if (!isReadAlike(before, after)) return false;
    const { hasNewAllow, hasOldDeny } = this.#changed.written;
    return !hasOldDeny && (!allowsAny(before) || (!hasNewAllow && allowsAny(after)));
  }

  /** A rule of a DENY policy may be gone, whatever proxies read of it. */
  get mayLoseDeny(): boolean {
    return this.#changed.written.hasOldDeny;
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

  /** Requests of a box that no ALLOW policy allowed before, and that are allowed now. `of`: the rules that may match some of them. */
  *#allowed(box: Box, { work, isAnswered }: Question, of = all): Generator<Allowed, undefined> {
    let refusing: readonly (readonly Ruled[])[] | undefined;
    for (const by of this.#allowing()) {
      if (isAnswered(by)) continue;
      refusing ??= this.#refusing(of);
      for (const one of by === undefined ? [box] : knownInside(box, by.match, work))
        for (const left of outsideLists(one, refusing, 0, work)) yield { by, box: left };
    }
  }

  /** The first request of a box is the example. */
  #gain(by: Ruled | undefined, { example }: Box): Gain {
    return { place: this.#now.place, request: example, by, lost: undefined };
  }

  /** A request that no ALLOW policy allowed before, and that is allowed now. */
  *widened(question: Question, among: Box): Generator<Gain, undefined> {
    for (const { by, box } of this.#allowed(among, question)) yield this.#gain(by, box);
  }

  /** The lists of rules that keep a request from being gained: those that deny it now, and those that allowed it before. */
  #refusing(of: Part): readonly (readonly Ruled[])[] {
    const lists = [...this.#after.map(({ deny }) => of(deny)), ...this.#before.map(({ allow }) => of(allow))];
    return lists.filter(({ length }) => length > 0);
  }

  /** Whether a question was answered for every rule that it is about. */
  isAnswered(kind: GainKind, isAnswered: Question["isAnswered"]): boolean {
    return (kind === "denyLost" ? this.#changed.oldDeny : this.#allowing()).every(isAnswered);
  }

  /** What allows more than before: new rules, or undefined where no ALLOW policy applies any more. */
  #allowing(): readonly (Ruled | undefined)[] {
    if (!allowsAny(this.#old)) return [];
    return allowsAny(this.#now) ? this.#changed.newAllow : [undefined];
  }

  /** Whether unnamed callers with this identity may gain something that they are allowed. */
  mayAllowUnnamed(identity: StrangerIdentity): boolean {
    return !allowsAny(this.#now) || this.#changed.mayAllowUnnamed(identity);
  }

  /** Requests that a DENY policy denied before, and that are allowed now. */
  *noLongerDenied({ work, isAnswered }: Question, among: Box): Generator<Gain, undefined> {
    for (const lost of this.#changed.oldDeny.filter((ruled) => !isAnswered(ruled)))
      for (const denied of inside(among, lost.match, work))
        for (const { box, by } of allowedBy(this.#after, denied, work))
          yield { place: this.#old.place, request: box.example, by, lost };
  }

  /** Requests of unnamed callers that no unnamed caller could send before. */
  *opened(who: Unnamed, question: Question, among: Box): Generator<Gain, undefined> {
    const { work } = question;
    const start = this.#changed.fromUnnamed(who, this.#now.place, work)?.withAll(among.clauses, work);
    if (start === undefined) return;
    const ofUnnamed: Part = (rules) => rulesForUnnamed(rules, who.identity);
    let strangers: readonly Request[] | undefined;
    for (const { by, box } of this.#allowed(start, question, ofUnnamed)) {
      strangers ??= this.#strangers.map((one) => requestOf(one, who.identity));
      for (const left of this.#refusedBefore(box, { callers: strangers, of: ofUnnamed }, work))
        yield this.#gain(by, left);
    }
  }

  /** Unnamed callers before the change, with any identity. */
  get #strangers(): readonly Stranger[] {
    return (this.#strangersBefore ??= strangersTo(
      this.#before.flatMap(({ allow, deny }) => [...allow, ...deny]).map(matchOf),
    ));
  }

  /** Requests of a box that all of these callers could not send before. */
  *#refusedBefore(box: Box, { callers, of }: Callers, work: Work): Generator<Box, undefined> {
    const [caller, ...others] = callers;
    if (caller === undefined) {
      yield box;
      return;
    }
    for (const refused of this.#refusedFor(box, { caller, of }, work))
      yield* this.#refusedBefore(refused, { callers: others, of }, work);
  }

  *#refusedFor(
    box: Box,
    { caller, of }: { readonly caller: Request; readonly of: Part },
    work: Work,
  ): Generator<Box, undefined> {
    const matching = (rules: readonly Ruled[]): readonly Match[] =>
      of(rules).flatMap(({ match }) => forCaller(match, caller) ?? []);
    work.spend(this.#before.reduce((sum, { allow, deny }) => sum + of(allow).length + of(deny).length, 0));
    for (const { deny } of this.#before) for (const match of matching(deny)) yield* inside(box, match, work);
    if (hasAllow(this.#before))
      yield* outside(
        box,
        this.#before.flatMap(({ allow }) => matching(allow)),
        work,
      );
  }
}

/** Those of some rules that may match the callers of a question. */
type Part = (rules: readonly Ruled[]) => readonly Ruled[];
const all: Part = (rules) => rules;

interface Callers {
  readonly callers: readonly Request[];
  readonly of: Part;
}

const hasAllow = (rules: readonly Rules[]): boolean => rules.some((one) => one.hasAllow);
