import { type Applied, readAt } from "./applied.ts";
import type { Attribute } from "./attributes.ts";
import { type Box, type Clause, everyRequest, type Request } from "./boxes.ts";
import { isMet } from "./difference.ts";
import type { Place } from "./matches.ts";
import type { Ruled } from "./policies.ts";
import { type Gain, type GainKind, PolicyChange, type Question } from "./policy-change.ts";
import { type Harmless, pastSidecar, type StrangerIdentity, unheardOfIn } from "./strangers.ts";
import { absent, type Value } from "./values.ts";
import { SharedWork } from "./work.ts";

/** The answer to a question about a change: an example, or that there is none, or that the question takes too much work. */
export interface Answer {
  readonly gain: Gain | undefined;
  readonly isUndecided: boolean;
}

/** The policies for one place, before and after a change. What several questions need of them is computed on demand and kept. */
export class Asked {
  readonly was: Applied;
  readonly is: Applied;
  /** The workload, if it is changed itself, so that its answer is about nothing else. */
  readonly workload: unknown;
  #change: PolicyChange | undefined;

  constructor(was: Applied, is: Applied, workload?: unknown) {
    this.was = was;
    this.is = is;
    this.workload = workload;
  }

  get change(): PolicyChange {
    return (this.#change ??= new PolicyChange(this.was, this.is));
  }

  /** Whether somebody may gain anything there. */
  get mayGain(): boolean {
    return !this.change.isEmpty;
  }

  /** The same, or at a port there that is not HTTP. */
  get mayGainAnywhere(): boolean {
    return !this.change.isWithoutNewRules;
  }

  /** Whether nobody may be admitted there any more. */
  get mayClose(): boolean {
    return this.change.mayClose;
  }

  /** The same policies, read as they are at another place. */
  at(place: Place): Asked {
    return new Asked(readAt(this.was, place), readAt(this.is, place), this.workload);
  }
}

/**
 * Questions about the places of one change, which share a limit of work. What a rule gives away is answered for the first
 * place where it does. `visited` receives the work that was done, in compared values.
 */
export class Questions {
  readonly #work: SharedWork;
  readonly #answered: Readonly<Record<GainKind, Set<Ruled | undefined>>> = {
    widened: new Set(),
    denyLost: new Set(),
    opened: new Set(),
    openedToMesh: new Set(),
  };

  constructor(visited: (values: number) => void) {
    this.#work = new SharedWork(visited);
  }

  /** Whether some place gains anything. */
  get hasAnswered(): boolean {
    return Object.values(this.#answered).some(({ size }) => size > 0);
  }

  /** A request that no ALLOW policy allowed before, and that is allowed now. */
  widened(asked: Asked, callers: Callers = anyCallers): Answer {
    return this.#first("widened", asked, (change, of) =>
      coming({ callers, place: asked.is.place, of }, (among) => change.widened(of, among)),
    );
  }

  /** A request that a DENY policy denied before, and that is allowed now. */
  denyLost(asked: Asked, callers: Callers = anyCallers): Answer {
    return this.#first("denyLost", asked, (change, of) =>
      coming({ callers, place: asked.is.place, of }, (among) => change.noLongerDenied(of, among)),
    );
  }

  /** Whether some request may be admitted that was not, of HTTP or another protocol; true if that takes too much work to know. */
  mayAdmitMore({ was, is }: Asked, callers: Callers): boolean {
    if (was.place !== is.place) return true;
    const places = is.place === "http" ? (["http", "tcp"] as const) : [is.place];
    return places.some((place) => {
      const asked = new Asked(readAt(was, place), readAt(is, place), "what is answered is asked again");
      return [this.widened(asked, callers), this.denyLost(asked, callers)].some(
        ({ gain, isUndecided }) => gain !== undefined || isUndecided,
      );
    });
  }

  /** A request of an unnamed caller that is not harmless, and that no unnamed caller could send before. Where plaintext is refused, they are workloads of the mesh. */
  opened(asked: Asked, harmless: Harmless, callers: Callers = anyCallers): Answer {
    if (callers.haveIdentity) return this.openedToMesh(asked, harmless, callers);
    if (!asked.change.mayAllowUnnamed(undefined)) return nothing;
    return this.#first("opened", asked, (change, of) =>
      openedToAny([undefined], change, { asked, harmless, callers, of }),
    );
  }

  /** The same for workloads of the mesh, whatever they are called: rules that accept any identity name nobody. */
  openedToMesh(asked: Asked, harmless: Harmless, callers: Callers = anyCallers): Answer {
    const all = unheardOfIn(asked.is.settings.trustDomain);
    const identities = all.filter((identity) => asked.change.mayAllowUnnamed(identity));
    if (identities.length === 0) return nothing;
    return this.#first("openedToMesh", asked, (change, of) =>
      openedToAny(identities, change, { asked, harmless, callers, of }),
    );
  }

  #first(
    kind: GainKind,
    { change, workload }: Asked,
    ask: (change: PolicyChange, of: Question) => Iterable<Gain>,
  ): Answer {
    if (change.isEmpty) return nothing;
    const answered = this.#answered[kind];
    const isAnswered: Question["isAnswered"] = (ruled) => workload === undefined && answered.has(ruled);
    if (change.isAnswered(kind, isAnswered)) return nothing;
    const found = this.#work.answer((work) => {
      const [gain] = ask(change, { work, isAnswered });
      return { gain };
    });
    const gain = found?.gain;
    if (gain !== undefined && workload === undefined) answered.add(gain.lost ?? gain.by);
    return { gain, isUndecided: found === undefined };
  }
}

/** What is certain about all callers of a place. */
export interface Callers {
  /** Plaintext is refused. */
  readonly haveIdentity: boolean;
  /** No RequestAuthentication accepts tokens, without which there are no claims either (Istio pilot/pkg/security/authz/model/generator.go requestClaimGenerator). */
  readonly haveNoToken: boolean;
  /** They come to a sidecar or a gateway, past which its own ports are reached. At a waypoint, these are ports of a Service. */
  readonly passSidecar: boolean;
  /** The ports that are asked about; undefined: all. */
  readonly toPorts?: Clause;
  /** What else is true of all requests that are asked about; undefined: nothing. */
  readonly among?: Clause;
}
export const anyCallers: Callers = { haveIdentity: false, haveNoToken: false, passSidecar: false };

interface Coming {
  readonly callers: Callers;
  readonly place: Place;
  readonly of: Question;
}

/**
 * Gains by requests that can come. Most often the first one can, so a condition is added only if an example does not meet it. It
 * is added to what is asked, because a set of requests has others than its example.
 */
function* coming(
  where: Coming,
  gainsAmong: (among: Box) => Iterable<Gain>,
  known: readonly Clause[] = where.callers.among === undefined ? [] : [where.callers.among],
): Generator<Gain, undefined> {
  const among = everyRequest.withAll(known, where.of.work);
  for (const gain of among === undefined ? [] : gainsAmong(among)) {
    const unmet = conditionsOf(where).filter((one) => !known.includes(one) && !isMet([one], gain.request));
    if (unmet.length > 0) {
      yield* coming(where, gainsAmong, [...known, ...unmet]);
      return;
    }
    if (!where.callers.haveNoToken || !isOfClaims(gain.request)) yield gain;
  }
}

const withIdentity: Clause = { attribute: "identity", values: absent, not: true };
const withoutToken: Clause = { attribute: "token", values: absent, not: false };

export const conditionsOf = ({ callers, place }: Omit<Coming, "of">): readonly Clause[] => [
  ...(callers.haveIdentity ? [withIdentity] : []),
  ...(callers.haveNoToken ? [withoutToken] : []),
  ...(callers.passSidecar && place !== "ztunnel" ? [pastSidecar] : []),
  ...(callers.toPorts === undefined ? [] : [callers.toPorts]),
  ...(callers.among === undefined ? [] : [callers.among]),
];
/** Whether a request has claims. */
export const isOfClaims = (request: Request): boolean => request.entries().some(isClaim);
const isClaim = ([attribute, value]: readonly [Attribute, Value]): boolean =>
  attribute.startsWith("claim ") && Array.isArray(value) && value.length > 0;

const nothing: Answer = { gain: undefined, isUndecided: false };

interface OfUnnamed {
  readonly asked: Asked;
  readonly harmless: Harmless;
  readonly callers: Callers;
  readonly of: Question;
}

function* openedToAny(
  identities: readonly StrangerIdentity[],
  change: PolicyChange,
  { asked, harmless, callers: { passSidecar, toPorts }, of }: OfUnnamed,
): Generator<Gain, undefined> {
  const ports = toPorts === undefined ? {} : { toPorts };
  const where = { callers: { ...anyCallers, passSidecar, ...ports }, place: asked.is.place, of };
  for (const identity of identities) yield* coming(where, (among) => change.opened({ harmless, identity }, of, among));
}
