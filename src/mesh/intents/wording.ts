import { identityOf, idOf, keyOf } from "../../kube/identity.ts";
import type { AnyObject } from "../../kube/object.ts";
import { KeptIn } from "../../view/kept-in.ts";
import type { Outcome } from "../requests/outcome.ts";
import { formatExample, formatOutcome, type Tense } from "../requests/wording.ts";
import type { Finding } from "./expectations.ts";
import type { Entry, Intent } from "./intents.ts";

/** What an entry expects, in words: `Requests (POST; /payments/*) from serviceaccount/orders/api must be allowed`. */
export const formatEntry = (entry: Entry): string =>
  `${formatRequests(entry)} from ${entry.from.join(", ") || "nobody"} must be ${formatExpectation(entry)}`;

/** Why an entry does not hold, or why that is not known, as a sentence without a full stop. It names what decides. */
export function formatVerdict({ outcome, how, because }: Finding, tense: Tense): string {
  if (outcome === undefined) return because ?? "";
  const said = how === undefined ? formatOutcome(outcome, tense) : `${formatExample(outcome)} ${tense} ${how}`;
  const names = [...new Set(decidingOf(outcome, how).map((object) => idOf(object)))];
  const unsaid = names.filter((name) => !said.includes(name));
  return unsaid.length === 0 ? said : `${said} (${unsaid.join(", ")})`;
}

/** What decides where requests go, or about what nothing decides. Policies and modes are part of the sentence itself. */
function decidingOf(outcome: Outcome, how: string | undefined): readonly AnyObject[] {
  const found = how?.startsWith("routed")
    ? [routeOf(outcome) ?? outcome.destination?.object]
    : outcome.result === "nowhere"
      ? missedBy(outcome)
      : [decidesNothing(outcome) ? arrivalOf(outcome) : undefined];
  return [...found, withoutSidecar(outcome)].filter((object) => object !== undefined);
}

const routeOf = ({ route }: Pick<Outcome, "route">): AnyObject | undefined => route.httpRoute ?? route.virtualService;

/** What leads requests to nothing: the last proxy that routes them. */
function missedBy({ route, destination, hops, transport }: Outcome): readonly (AnyObject | undefined)[] {
  const last = hops.at(-1) ?? { route, destination };
  return [routeOf(last), last.destination?.object, ...(last.destination?.rules ?? []), transport.at(-1)?.rule];
}

/** Whether requests arrive, or are refused, without a policy, a rule or a mode that can be named. */
function decidesNothing({ result, transport, authorization }: Outcome): boolean {
  const last = transport.at(-1);
  if (result === "refused") return last?.rule === undefined && last?.mode?.by === undefined;
  return result === "accepted" && authorization.every(({ by }) => by === undefined);
}

const arrivalOf = ({ transport, destination, workloads }: Outcome): AnyObject | undefined =>
  transport.at(-1)?.to === "outside" ? destination?.object : firstByName(workloads);

/** The same one for each replica: the order in which a view has workloads tells nothing. */
function firstByName(workloads: readonly AnyObject[]): AnyObject | undefined {
  let first: AnyObject | undefined;
  for (const one of workloads) if (first === undefined || keyOf(one) < keyOf(first)) first = one;
  return first;
}

/** One of the callers, if they are pods of the mesh that send without a sidecar and without ztunnel. */
const withoutSidecar = ({ source }: Outcome): AnyObject | undefined =>
  source.sender === "nothing" ? source.workloads[0] : undefined;

/** Identifies what an entry says. Fields that say nothing are no part of it, so that later ones change no key. */
export function keyOfEntry(entry: Entry): string {
  let key = entryKeys.get(entry);
  if (key === undefined) {
    const said = Object.entries(entry).filter(([, value]) => Object.keys(value).length > 0);
    entryKeys.set(entry, (key = JSON.stringify(Object.fromEntries(said))));
  }
  return key;
}
const entryKeys = new KeptIn<Entry, string>();

/** Of two findings about one entry of one intent, one is enough. */
export const topicOf = (intent: Intent, entry: Entry): string =>
  `${topicPrefix}${JSON.stringify([identityOf(intent), keyOfEntry(entry)])}`;
const topicPrefix = "intent ";

/** The identity of the intent that a finding with this topic is about; undefined: none. */
export function intentOfTopic(topic: string | undefined): string | undefined {
  if (topic?.startsWith(topicPrefix) !== true) return undefined;
  const [identity] = JSON.parse(topic.slice(topicPrefix.length)) as readonly [string, string];
  return identity;
}

function formatRequests(entry: Entry): string {
  const parts = [
    ...shown(entry.methods, entry.notMethods),
    ...shown(entry.paths, entry.notPaths),
    ...shown(entry.hosts, entry.notHosts, "host "),
    ...named(entry.headers),
    ...shown(entry.requestPrincipals, entry.notRequestPrincipals, "token "),
    ...named(entry.claims, "claim "),
    ...shown(entry.ipBlocks, entry.notIpBlocks, "address "),
    ...shown(entry.remoteIpBlocks, entry.notRemoteIpBlocks, "original address "),
  ];
  return parts.length === 0 ? "Requests" : `Requests (${parts.join("; ")})`;
}

const shown = (values: readonly string[], notValues: readonly string[], what = ""): readonly string[] => [
  ...(values.length > 0 ? [`${what}${listed(values)}`] : []),
  ...(notValues.length > 0 ? [`not ${what}${listed(notValues)}`] : []),
];
/** Values can be as long as a document; `keyOfEntry` has all of them. */
const listed = (values: readonly string[]): string =>
  values.map((value) => (value.length > mostShown ? `${value.slice(0, mostShown)}...` : value)).join(", ");
const mostShown = 100;
const named = (all: Readonly<Record<string, readonly string[]>>, what = ""): readonly string[] =>
  Object.entries(all).map(([name, values]) => `${what}${name}: ${listed(values)}`);

function formatExpectation({ expect, destinations }: Entry): string {
  if (expect !== "routed") return expect;
  const shown = destinations.map(({ service, subset, atLeast }) => {
    const where = [subset === undefined ? undefined : `subset ${subset}`, service].filter((part) => part !== undefined);
    return `${where.join(" of ") || "the service"}${atLeast === undefined ? "" : ` with at least ${atLeast}%`}`;
  });
  return `routed to ${shown.join(" or ")} only`;
}
