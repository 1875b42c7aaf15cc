import type { AnyObject } from "../../kube/object.ts";
import { fact, type MeshView } from "../../view/view.ts";
import { Memory } from "../authorization/requests/work.ts";
import { type Decide, decisionsOf } from "../requests/decisions.ts";
import type { Outcome } from "../requests/outcome.ts";
import { outcomesOf, requestReads } from "../requests/outcomes.ts";
import type { Question, Target } from "../requests/question.ts";
import { mostWork, requestsOf } from "./conditions.ts";
import { callerReads, Callers, type Known } from "./callers.ts";
import { askEntries, entryVerdictReads, expectsArrival, gatewaysFor, isJudgedAtGateways } from "./entry-verdicts.ts";
import { Expectation, type Finding } from "./expectations.ts";
import { type Entry, type Intent, mostEntries } from "./intents.ts";
import { publicHosts } from "./public-hosts.ts";
import { targetReads, type Targets } from "./targets.ts";

/** So many results take a few megabytes for as long as a review lasts. */
const mostRemembered = 50_000;
/** What the questions of all intents share, on both sides of a change: which requests meet conditions depends on no object. */
const memoryOfQuestions = fact("memoryOfQuestions", "key", [], () => new Memory(mostRemembered));

/** What `verdictsOf` reads. */
export const verdictReads = [
  ...requestReads,
  ...callerReads,
  ...targetReads,
  ...entryVerdictReads,
  memoryOfQuestions,
] as const;
export type VerdictView = MeshView<(typeof verdictReads)[number]>;

/** Whether what an entry of an intent expects is so. */
export interface Verdict extends Finding {
  readonly entry: Entry;
  /** Its position in `spec.requests`. */
  readonly index: number;
}

/** What is left out: entries as a whole, and questions that count as held. */
export interface Limits {
  isAsked(entry: Entry): boolean;
  isHeld(question: Question, entry: Entry): boolean;
}
const everything: Limits = { isAsked: () => true, isHeld: () => false };

/**
 * Whether the entries of an intent hold for these targets, each as it is computed. Entries that intent-invalid reports as wrong are
 * undecided. Yields nothing between the questions, so that a review can pause. `limits`: which of them; default: all.
 */
export function* verdictsOf(
  intent: Intent,
  targets: Targets,
  mesh: VerdictView,
  limits: Limits = everything,
): Generator<Verdict | undefined, undefined> {
  const callers = new Callers(intent, mesh);
  for (const [index, entry] of intent.spec.requests.slice(0, mostEntries).entries())
    if (limits.isAsked(entry)) yield* verdictOf({ entry, index }, { intent, targets, callers, limits }, mesh);
  const beyond = intent.spec.requests[mostEntries];
  if (beyond === undefined) return;
  const because = `an intent has at most ${mostEntries} entries, so the others are not examined`;
  yield { entry: beyond, index: mostEntries, state: "undecided", because };
}

/** The same for one entry. Yields where a review can pause. */
export function* stateOf(
  entry: Entry,
  intent: Intent,
  targets: Targets,
  mesh: VerdictView,
): Generator<undefined, Verdict["state"]> {
  const asked = { intent, targets, callers: new Callers(intent, mesh), limits: everything };
  for (const verdict of verdictOf({ entry, index: 0 }, asked, mesh)) {
    if (verdict !== undefined) return verdict.state;
    yield;
  }
  return "undecided";
}

/** Without these kinds, every answer would be a guess. What it means that others are unknown is part of the outcomes. */
const needed = ["AuthorizationPolicy", "PeerAuthentication", "VirtualService", "DestinationRule"] as const;

interface Asked {
  readonly intent: Intent;
  readonly targets: Targets;
  readonly callers: Callers;
  readonly limits: Limits;
}

function* verdictOf(
  { entry, index }: Pick<Verdict, "entry" | "index">,
  asked: Asked,
  mesh: VerdictView,
): Generator<Verdict | undefined, undefined> {
  const { intent, targets, callers } = asked;
  const expectation = new Expectation(entry, intent, mesh.settings);
  const unread = needed.find((kind) => !mesh.knows(kind));
  if (unread !== undefined) {
    expectation.unknown(`nothing is known of any ${unread}`);
    yield { entry, index, ...expectation.finding };
    return;
  }
  const unknown = unknownOf(targets, entry);
  if (unknown !== undefined) expectation.unknown(unknown);
  const sendings = callers.of(entry, (one) => gatewaysFor(one, intent, mesh));
  if (sendings.length === 0) expectation.unknown("nobody is left whom the entry is about");
  for (const sending of sendings) {
    if (expectation.isBroken) break;
    if ("unknown" in sending) expectation.unknown(sending.unknown);
    else yield* askAll(expectation, sending, asked, mesh);
  }
  if (expectation.isUnasked) expectation.unknown("no request meets all conditions of the entry");
  yield { entry, index, ...expectation.finding };
}

/** What is not known of the targets, or makes what is known of them worth nothing. */
function unknownOf({ targets, unknown, missing }: Targets, entry: Entry): string | undefined {
  if (targets.length === 0) return unknown ?? "nothing receives the requests";
  return unknown ?? (expectsArrival(entry) ? undefined : missing);
}

function* askAll(
  expectation: Expectation,
  sending: Known,
  { intent, targets, limits }: Asked,
  mesh: VerdictView,
): Generator<undefined, undefined> {
  const { entry } = expectation;
  if (!isJudgedAtGateways(entry, sending.caller, publicHosts(entry, intent, mesh.settings)))
    for (const to of targets.targets) yield* ask(expectation, questionOf(entry, sending, to), limits, mesh);
  if (targets.targets.length > 0) yield* askEntries(expectation, sending, { intent, targets: targets.targets }, mesh);
}

function* ask(
  expectation: Expectation,
  question: Question | string | undefined,
  limits: Limits,
  mesh: VerdictView,
): Generator<undefined, undefined> {
  if (expectation.isBroken || question === undefined) return;
  if (typeof question === "string") {
    expectation.unknown(question);
    return;
  }
  if (limits.isHeld(question, expectation.entry) || isHeldOnTheWay(expectation, question, mesh)) {
    expectation.held();
    return;
  }
  const memory = mesh.get(memoryOfQuestions, "");
  for (const outcome of outcomesOf(question, mesh, { limit: mostWork, memory })) {
    expectation.add(outcome);
    if (expectation.isBroken) return;
    yield;
  }
  yield;
}

/** Whether requests are routed and encrypted as expected, whatever the policies decide where they arrive. */
function isHeldOnTheWay(expectation: Expectation, question: Question, mesh: VerdictView): boolean {
  if (!expectation.isOfWay) return false;
  const alone = expectation.again();
  const memory = mesh.get(memoryOfQuestions, "");
  for (const outcome of outcomesOf(question, mesh, { limit: mostWork, decide: decideOnTheWay, memory })) {
    alone.add(outcome);
    if (alone.finding.state !== "held") return false;
  }
  return !alone.isUnasked;
}

const decideOnTheWay: Decide = (box, enforcement, work) => {
  const { at, applied } = enforcement;
  if (at === "waypoint") return decisionsOf(box, enforcement, work);
  const allowed = { result: "allowed", by: undefined, policies: [], close: [], because: undefined } as const;
  return [{ box, outcome: { at, place: applied.place, ...allowed } }];
};

/** Undefined: no request meets the conditions. A string says why that is not known. */
function questionOf(entry: Entry, { caller, identity }: Known, to: Target): Question | string | undefined {
  const requests = requestsOf(entry, identity);
  if (requests === "too much") return "the conditions of the entry take too much work";
  return requests && { caller, to, requests };
}

/** The few objects that a message about an outcome points to: policies, routes and settings. */
export function relatedObjects({ route, destination, transport, authorization, hops }: Outcome): readonly AnyObject[] {
  const last = authorization.at(-1);
  const of = [
    last?.by?.policy,
    ...(last?.by === undefined ? (last?.policies.slice(0, mostNamed) ?? []) : []),
    ...transport.flatMap(({ rule, mode }) => [rule, mode?.by]),
    route.virtualService,
    route.httpRoute,
    route.gateway,
    ...(destination?.rules ?? []),
    ...hops.flatMap((hop) => [
      hop.route.gateway,
      hop.route.virtualService,
      hop.route.httpRoute,
      ...(hop.destination?.rules ?? []),
    ]),
  ];
  return [...new Set(of.filter((object) => object !== undefined))];
}
const mostNamed = 3;
