import { KeptIn } from "../../../view/kept-in.ts";
import { allowsAny, type Applied, listChanges, readAt, type Rules, rulesOf } from "./applied.ts";
import { type Box, everyRequest, type Request } from "./boxes.ts";
import {
  type ChangedRules,
  changedRules,
  isReadAlike,
  matchOf,
  mayGain,
  rulesForUnnamed,
  type Unnamed,
  workOfQuestion,
} from "./changed-rules.ts";
import { inside, outside } from "./difference.ts";
import type { Match, Place } from "./matches.ts";
import type { Ruled } from "./policies.ts";
import {
  forCaller,
  type Harmless,
  requestOf,
  type Stranger,
  type StrangerIdentity,
  strangersTo,
  unheardOfIn,
} from "./strangers.ts";
import { type Kept, Undecided, Work } from "./work.ts";

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
const limits = { question: workOfQuestion, all: 400_000 };

/** The policies for one place, before and after a change. What several questions need of them is computed on demand and kept. */
export class Asked {
  readonly was: Applied;
  readonly is: Applied;
  /** The workload, if it is changed itself, so that its answer is about nothing else. */
  readonly workload: unknown;
  #change: Change | undefined;

  constructor(was: Applied, is: Applied, workload?: unknown) {
    this.was = was;
    this.is = is;
    this.workload = workload;
  }

  get change(): Change {
    return (this.#change ??= new Change(this.was, this.is));
  }

  /** Whether somebody may gain anything there. */
  get mayGain(): boolean {
    return !this.change.isEmpty;
  }

  /** The same, or at a port there that is not HTTP. */
  get mayGainAnywhere(): boolean {
    return !this.change.isWithoutNewRules;
  }

  /** Whether rules of ALLOW policies may end there. */
  get mayClose(): boolean {
    return this.change.mayEndRules;
  }

  /** The same policies, read as they are at another place. */
  at(place: Place): Asked {
    return new Asked(readAt(this.was, place), readAt(this.is, place), this.workload);
  }
}

type Kind = "widened" | "denyLost" | "opened" | "openedToMesh";

/**
 * Questions about the places of one change, which share a limit of work. What a rule gives away is answered for the first
 * place where it does. `visited` receives the work that was done, in compared values.
 */
export class Questions {
  readonly #visited: (values: number) => void;
  readonly #answered: Readonly<Record<Kind, Set<Ruled | undefined>>> = {
    widened: new Set(),
    denyLost: new Set(),
    opened: new Set(),
    openedToMesh: new Set(),
  };
  #left = limits.all;

  constructor(visited: (values: number) => void) {
    this.#visited = visited;
  }

  /** Whether some place gains anything. */
  get hasAnswered(): boolean {
    return Object.values(this.#answered).some(({ size }) => size > 0);
  }

  /** A request that no ALLOW policy allowed before, and that is allowed now. */
  widened(asked: Asked): Answer {
    return this.#first("widened", asked, (change, of) => change.widened(of));
  }

  /** A request that a DENY policy denied before, and that is allowed now. */
  denyLost(asked: Asked): Answer {
    return this.#first("denyLost", asked, (change, of) => change.noLongerDenied(of));
  }

  /** A request of an unnamed caller that is not harmless, and that no unnamed caller could send before. */
  opened(asked: Asked, harmless: Harmless): Answer {
    if (!asked.change.mayAllowUnnamed(undefined)) return nothing;
    return this.#first("opened", asked, (change, of) => change.opened({ harmless, identity: undefined }, of));
  }

  /** The same for workloads of the mesh, whatever they are called: rules that accept any identity name nobody. */
  openedToMesh(asked: Asked, harmless: Harmless): Answer {
    const all = unheardOfIn(asked.is.settings.trustDomain);
    const identities = all.filter((identity) => asked.change.mayAllowUnnamed(identity));
    if (identities.length === 0) return nothing;
    return this.#first("openedToMesh", asked, (change, of) => openedToAny(identities, change, { harmless, of }));
  }

  #first(kind: Kind, { change, workload }: Asked, ask: (change: Change, of: Question) => Iterable<Gain>): Answer {
    if (change.isEmpty) return nothing;
    const answered = this.#answered[kind];
    const isAnswered: Question["isAnswered"] = (ruled) => workload === undefined && answered.has(ruled);
    if (change.isAnswered(kind, isAnswered)) return nothing;
    const work = new Work(Math.min(limits.question, this.#left));
    try {
      const [gain] = ask(change, { work, isAnswered });
      if (gain !== undefined && workload === undefined) answered.add(gain.lost ?? gain.by);
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

const nothing: Answer = { gain: undefined, isUndecided: false };

function* openedToAny(
  identities: readonly StrangerIdentity[],
  change: Change,
  { harmless, of }: { readonly harmless: Harmless; readonly of: Question },
): Generator<Gain, undefined> {
  for (const identity of identities) yield* change.opened({ harmless, identity }, of);
}

/** Requests that a rule allows; undefined: no ALLOW policy applies. */
interface Found extends Pick<Gain, "by"> {
  readonly box: Box;
}

interface Question {
  readonly work: Work;
  readonly isAnswered: (ruled: Ruled | undefined) => boolean;
}

/** The policies for one workload, before and after a change. */
class Change {
  readonly #old: Applied;
  readonly #now: Applied;
  readonly #changed: ChangedRules;
  /** Nobody can gain anything, whether proxies read the rules for HTTP or for TCP. */
  readonly isWithoutNewRules: boolean;
  /** Nobody can gain anything. */
  readonly isEmpty: boolean;
  /** An ALLOW policy with rules may be gone, or its rules be read otherwise. */
  readonly mayEndRules: boolean;
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
    this.mayEndRules = !isReadAlike(before, after) || this.#changed.endsRules;
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
  *#allowed(box: Box, { work, isAnswered }: Question, of = all): Generator<Found, undefined> {
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
  *widened(question: Question): Generator<Gain, undefined> {
    for (const { by, box } of this.#allowed(everyRequest, question)) yield this.#gain(by, box);
  }

  /** The lists of rules that keep a request from being gained: those that deny it now, and those that allowed it before. */
  #refusing(of: Part): readonly (readonly Ruled[])[] {
    const lists = [...this.#after.map(({ deny }) => of(deny)), ...this.#before.map(({ allow }) => of(allow))];
    return lists.filter(({ length }) => length > 0);
  }

  /** Whether a question was answered for every rule that it is about. */
  isAnswered(kind: Kind, isAnswered: Question["isAnswered"]): boolean {
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
  *noLongerDenied({ work, isAnswered }: Question): Generator<Gain, undefined> {
    for (const lost of this.#changed.oldDeny.filter((ruled) => !isAnswered(ruled)))
      for (const denied of inside(everyRequest, lost.match, work))
        for (const { box, by } of this.#allowedNow(denied, work))
          yield { place: this.#old.place, request: box.example, by, lost };
  }

  /** The requests of a box that are allowed now, whatever was before. */
  *#allowedNow(box: Box, work: Work): Generator<Found, undefined> {
    const refusing = this.#after.map(({ deny }) => deny);
    const allowing = hasAllow(this.#after) ? this.#after.flatMap(({ allow }) => allow) : [undefined];
    for (const by of allowing)
      for (const one of by === undefined ? [box] : inside(box, by.match, work))
        for (const left of outsideLists(one, refusing, 0, work)) yield { box: left, by };
  }

  /** Requests of unnamed callers that no unnamed caller could send before. */
  *opened(who: Unnamed, question: Question): Generator<Gain, undefined> {
    const { work } = question;
    const start = this.#changed.fromUnnamed(who, this.#now.place, work);
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

/** The requests that no rule of any list matches, from one of the lists on. */
function* outsideLists(
  box: Box,
  lists: readonly (readonly Ruled[])[],
  next: number,
  work: Work,
): Generator<Box, undefined> {
  const first = lists[next];
  if (first === undefined) yield box;
  else for (const left of outsideList(box, first, work)) yield* outsideLists(left, lists, next + 1, work);
}

/** The lists with so many rules are compared once with each set of requests: a mesh-wide policy is the same in all namespaces. */
const manyRules = 8;
/** The work to find that no rule of a list matches any request of a set. */
const apart = new KeptIn<readonly Ruled[], WeakMap<Box, number>>();

/** The requests that no rule of a list matches. */
function* outsideList(box: Box, list: readonly Ruled[], work: Work): Generator<Box, undefined> {
  const known = apart.get(list)?.get(box);
  if (known !== undefined) {
    work.spend(known);
    yield box;
    return;
  }
  const before = work.spent;
  for (const left of outside(box, matchesOf(list), work)) {
    if (left === box && list.length >= manyRules) {
      const boxes = apart.get(list) ?? new WeakMap<Box, number>();
      apart.set(list, boxes.set(box, work.spent - before));
    }
    yield left;
  }
}

const insideAny = new KeptIn<Match, Kept>();

/** As `inside`. Of all requests, those that a rule of one box matches depend on the rule alone, and are found once for all places. */
function knownInside(box: Box, match: Match, work: Work): Iterable<Box> {
  if (box !== everyRequest || match.sources.length !== 1 || match.operations.length !== 1)
    return inside(box, match, work);
  let known = insideAny.get(match);
  if (known === undefined) {
    const before = work.spent;
    const result = [...inside(box, match, work)];
    insideAny.set(match, (known = { result, spent: work.spent - before }));
  } else work.spend(known.spent);
  return known.result as readonly Box[];
}

const matches = new KeptIn<readonly Ruled[], readonly Match[]>();

/** Thousands of workloads can share a list of rules. */
function matchesOf(rules: readonly Ruled[]): readonly Match[] {
  let found = matches.get(rules);
  if (found === undefined) matches.set(rules, (found = rules.map(matchOf)));
  return found;
}
