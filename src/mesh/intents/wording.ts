import { identityOf } from "../../kube/identity.ts";
import type { Entry, Intent } from "./intents.ts";

/** What an entry expects, in words: `Requests (POST; /payments/*) from serviceaccount/orders/api must be allowed`. */
export const formatEntry = (entry: Entry): string =>
  `${formatRequests(entry)} from ${entry.from.join(", ")} must be ${formatExpectation(entry)}`;

/** Identifies what an entry says. Fields that say nothing are no part of it, so that later ones change no key. */
export const keyOfEntry = (entry: Entry): string => {
  const said = Object.entries(entry).filter(([, value]) => Object.keys(value).length > 0);
  return JSON.stringify(Object.fromEntries(said));
};

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
  ...(values.length > 0 ? [`${what}${values.join(", ")}`] : []),
  ...(notValues.length > 0 ? [`not ${what}${notValues.join(", ")}`] : []),
];
const named = (all: Readonly<Record<string, readonly string[]>>, what = ""): readonly string[] =>
  Object.entries(all).map(([name, values]) => `${what}${name}: ${values.join(", ")}`);

function formatExpectation({ expect, destinations }: Entry): string {
  if (expect !== "routed") return expect;
  const shown = destinations.map(({ service, subset, atLeast }) => {
    const where = [subset === undefined ? undefined : `subset ${subset}`, service].filter((part) => part !== undefined);
    return `${where.join(" of ") || "the service"}${atLeast === undefined ? "" : ` with at least ${atLeast}%`}`;
  });
  return `routed to ${shown.join(" or ")} only`;
}
