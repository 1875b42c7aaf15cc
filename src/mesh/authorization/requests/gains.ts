import { type Applied, listChanges, type PolicyChange, type Rules, rulesOf } from "./applied.ts";
import { type Box, everyRequest, type Request } from "./boxes.ts";
import { inside, outside } from "./difference.ts";
import type { Clauses, Match, Place } from "./matches.ts";
import { isSameTrust, type Ruled, rulesAt } from "./policies.ts";
import { forCaller, type Harmless, type StrangerIdentity, strangersTo, unheardOfIn, unnamed } from "./strangers.ts";
import { Undecided, Work } from "./work.ts";

type Policy = PolicyChange["gone"][number];
/** How rules are read. */
type Reading = Omit<Applied, "lists">;

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

/** The policies for one place, before and after a change. */
export interface Asked {
  readonly was: Applied;
  readonly is: Applied;
  /** The workload, if it is changed itself, so that its answer is about nothing else. */
  readonly workload: unknown;
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
  /** The last change for each way to read rules, because several questions are asked about one place. */
  readonly #changes = new Map<Place, Change>();
  #left = limits.all;

  constructor(visited: (values: number) => void) {
    this.#visited = visited;
  }

  /** Whether somebody may gain anything at a place. */
  mayGain({ was, is }: Asked): boolean {
    return !this.#changeBetween(was, is).isEmpty;
  }

  /** Whether some place gains anything. */
  get hasAnswered(): boolean {
    return Object.values(this.#answered).some(({ size }) => size > 0);
  }

  /** A request that no ALLOW policy allowed before, and that is allowed now. */
  widened(asked: Asked): Answer {
    return this.#first("widened", asked, (change, of) => change.allowed(everyRequest, of));
  }

  /** A request that a DENY policy denied before, and that is allowed now. */
  denyLost(asked: Asked): Answer {
    return this.#first("denyLost", asked, (change, of) => change.noLongerDenied(of));
  }

  /** A request of an unnamed caller that is not harmless, and that no unnamed caller could send before. */
  opened(asked: Asked, harmless: Harmless): Answer {
    return this.#first("opened", asked, (change, of) => change.opened({ harmless, identity: undefined }, of));
  }

  /** The same for workloads of the mesh, whatever they are called: rules that accept any identity name nobody. */
  openedToMesh(asked: Asked, harmless: Harmless): Answer {
    const identities = unheardOfIn(asked.is.settings.trustDomain);
    return this.#first("openedToMesh", asked, function* (change, of) {
      for (const identity of identities) yield* change.opened({ harmless, identity }, of);
    });
  }

  #first(kind: Kind, { was, is, workload }: Asked, ask: (change: Change, of: Question) => Iterable<Gain>): Answer {
    const change = this.#changeBetween(was, is);
    if (change.isEmpty) return nothing;
    const answered = this.#answered[kind];
    const work = new Work(Math.min(limits.question, this.#left));
    try {
      const [gain] = ask(change, { work, isAnswered: (ruled) => workload === undefined && answered.has(ruled) });
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

  #changeBetween(was: Applied, is: Applied): Change {
    let change = this.#changes.get(is.place);
    if (change?.isBetween(was, is) !== true) this.#changes.set(is.place, (change = new Change(was, is)));
    return change;
  }
}

const nothing: Answer = { gain: undefined, isUndecided: false };

interface Question {
  readonly work: Work;
  readonly isAnswered: (ruled: Ruled | undefined) => boolean;
}

/** The policies for one workload, before and after a change. */
class Change {
  readonly #old: Applied;
  readonly #now: Applied;
  readonly #changed: ChangedRules;
  /** Nobody can gain anything. */
  readonly isEmpty: boolean;
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
    this.isEmpty = !changes.some((change) => mayGain(change, before, after));
  }

  isBetween(before: Applied, after: Applied): boolean {
    return this.#old === before && this.#now === after;
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

  /** Requests of a box that no ALLOW policy allowed before, and that are allowed now. */
  *allowed(box: Box, { work, isAnswered }: Question): Generator<Gain & { readonly box: Box }, undefined> {
    if (!hasAllow(this.#before)) return;
    const allowing = (hasAllow(this.#after) ? this.#changed.newAllow : [undefined]).filter(
      (ruled) => !isAnswered(ruled),
    );
    if (allowing.length === 0) return;
    const refusing = [...this.#after.map(({ deny }) => deny), ...this.#before.map(({ allow }) => allow)];
    for (const by of allowing)
      for (const one of by === undefined ? [box] : inside(box, by.match, work))
        for (const left of outsideLists(one, refusing, work))
          yield { place: this.#now.place, request: left.example, by, lost: undefined, box: left };
  }

  /** Requests that a DENY policy denied before, and that are allowed now. */
  *noLongerDenied({ work, isAnswered }: Question): Generator<Gain, undefined> {
    for (const lost of this.#changed.oldDeny.filter((ruled) => !isAnswered(ruled)))
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
  *opened(
    who: { readonly harmless: Harmless; readonly identity: StrangerIdentity },
    question: Question,
  ): Generator<Gain, undefined> {
    const { work } = question;
    if (hasAllow(this.#after) && !this.#changed.mayAllowUnnamed(who.identity)) return;
    const rules = this.#changed.newAllow.map(matchOf);
    const start = everyRequest.withAll(unnamed(rules, this.#now.place, who), work);
    if (start === undefined) return;
    let strangers: readonly Request[] | undefined;
    for (const gain of this.allowed(start, question)) {
      const before = this.#before.flatMap(({ allow, deny }) => [...allow, ...deny]).map(matchOf);
      strangers ??= strangersTo(before, who.identity);
      for (const left of this.#refusedBefore(gain.box, strangers, work)) yield { ...gain, request: left.example };
    }
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

/**
 * Whether a rule may match callers with this identity and without a token, as far as its own conditions about these tell:
 * most rules name their callers, which is decided without other rules.
 */
const mayMatchUnnamed =
  (identity: StrangerIdentity) =>
  ({ match: { sources, conditions } }: Ruled): boolean => {
    const isMet = ({ attribute, values, not }: Clauses[number]): boolean => {
      if (attribute === "identity") return values.has(identity) !== not;
      return attribute !== "token" || values.has(undefined) !== not;
    };
    return conditions.every(isMet) && sources.some((clauses) => clauses.every(isMet));
  };

/** The rules by which the policies of a change differ, whatever other policies there are. Results are computed on demand and kept. */
class ChangedRules {
  readonly #policies: PolicyChange;
  readonly #before: Reading;
  readonly #after: Reading;
  readonly #mayAllowUnnamed = new Map<string | undefined, boolean>();
  #newAllow: readonly Ruled[] | undefined;
  #oldDeny: readonly Ruled[] | undefined;
  #mayGain: boolean | undefined;

  constructor(policies: PolicyChange, before: Reading, after: Reading) {
    this.#policies = policies;
    this.#before = before;
    this.#after = after;
  }

  /** ALLOW rules that are new. */
  get newAllow(): readonly Ruled[] {
    const { gone, come } = this.#policies;
    return (this.#newAllow ??= this.#without(isAllow, [come, this.#after], [gone, this.#before]));
  }
  /** DENY rules that are gone. */
  get oldDeny(): readonly Ruled[] {
    const { gone, come } = this.#policies;
    return (this.#oldDeny ??= this.#without(isDeny, [gone, this.#before], [come, this.#after]));
  }
  #without(
    isOfAction: (policy: Policy) => boolean,
    [some, reading]: readonly [readonly Policy[], Reading],
    [others, otherwise]: readonly [readonly Policy[], Reading],
  ): readonly Ruled[] {
    const rules = rulesIn(some.filter(isOfAction), reading);
    return reading.place === otherwise.place ? without(rules, rulesIn(others.filter(isOfAction), otherwise)) : rules;
  }

  /** Whether a new ALLOW rule may match unnamed callers with this identity. */
  mayAllowUnnamed(identity: StrangerIdentity): boolean {
    const key = identity?.join("/");
    let found = this.#mayAllowUnnamed.get(key);
    if (found === undefined) this.#mayAllowUnnamed.set(key, (found = this.newAllow.some(mayMatchUnnamed(identity))));
    return found;
  }

  /** Whether somebody can gain anything. */
  get mayGain(): boolean {
    return (this.#mayGain ??= mayGainBy(this.#policies, this.#before, this.#after));
  }
}

const known = new WeakMap<PolicyChange, Map<Place, ChangedRules>>();
const isReadAlike = (a: Reading, b: Reading): boolean => a.place === b.place && isSameTrust(a.settings, b.settings);

/** A mesh-wide list is the same for all namespaces, so that its rules are compared once for each place. */
function changedRules(policies: PolicyChange, before: Reading, after: Reading): ChangedRules {
  if (!isReadAlike(before, after)) return new ChangedRules(policies, before, after);
  let places = known.get(policies);
  if (places === undefined) known.set(policies, (places = new Map()));
  let found = places.get(after.place);
  if (found === undefined) {
    const reading = { place: after.place, settings: after.settings };
    places.set(after.place, (found = new ChangedRules(policies, reading, reading)));
  }
  return found;
}

/** Whether somebody can gain anything by the change of one list, whatever other policies there are. */
export const mayGain = (policies: PolicyChange, before: Reading, after: Reading): boolean =>
  !isReadAlike(before, after) || changedRules(policies, before, after).mayGain;

function mayGainBy({ gone, come }: PolicyChange, before: Reading, after: Reading): boolean {
  if (gone.some(isAllow) && !come.some(isAllow)) return true;
  const [old, now] = [rulesIn(gone, before), rulesIn(come, after)];
  const work = new Work(limits.question);
  const isLeft = (rules: readonly Ruled[], others: readonly Ruled[]) =>
    without(rules, others).some(({ match }) =>
      inside(everyRequest, match, work).some((box) => outside(box, others.map(matchOf), work).next().done !== true),
    );
  try {
    return isLeft(now.filter(isOfAllow), old.filter(isOfAllow)) || isLeft(old.filter(isOfDeny), now.filter(isOfDeny));
  } catch (error) {
    if (error instanceof Undecided) return true;
    throw error;
  }
}

const isOfAllow = ({ policy }: Ruled): boolean => isAllow(policy);
const isOfDeny = ({ policy }: Ruled): boolean => isDeny(policy);
const isAllow = ({ spec }: Policy): boolean => (spec.action ?? "ALLOW") === "ALLOW";
const isDeny = (policy: Policy): boolean => !isAllow(policy);
const rulesIn = (policies: readonly Policy[], { place, settings }: Reading): readonly Ruled[] =>
  policies.flatMap((policy) => rulesAt(policy, place, settings));
const matchOf = ({ match }: Ruled): Match => match;
const hasAllow = (rules: readonly Rules[]): boolean => rules.some((one) => one.hasAllow);

/** The rules that the others do not contain literally. */
function without(rules: readonly Ruled[], others: readonly Ruled[]): readonly Ruled[] {
  if (rules.length === 0 || others.length === 0) return rules;
  const known = new Set(others.map(textOf));
  return rules.filter((ruled) => !known.has(textOf(ruled)));
}

const texts = new WeakMap<Ruled, string>();

/** Two rules with the same text in one namespace match the same. */
function textOf(ruled: Ruled): string {
  let text = texts.get(ruled);
  if (text === undefined) {
    const { policy, index } = ruled;
    texts.set(ruled, (text = policy.metadata.namespace + JSON.stringify(policy.spec.rules[index])));
  }
  return text;
}

/** The requests that no rule of any list matches. */
function* outsideLists(box: Box, lists: readonly (readonly Ruled[])[], work: Work): Generator<Box, undefined> {
  const [first, ...others] = lists;
  if (first === undefined) yield box;
  else for (const left of outside(box, first.map(matchOf), work)) yield* outsideLists(left, others, work);
}
