import { identityOf } from "../../kube/identity.ts";
import type { Entry, Intent } from "./intents.ts";

/** What an entry expects, in words: `Requests (POST; /payments/*) from serviceaccount/orders/api must be allowed`. */
export const formatEntry = (entry: Entry): string =>
  `${formatRequests(entry)} from ${entry.from.join(", ")} must be ${formatExpectation(entry)}`;

/** Identifies what an entry says. */
export const keyOfEntry = (entry: Entry): string => JSON.stringify(entry);

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

function formatRequests({ methods, notMethods, paths, notPaths, headers }: Entry): string {
  const parts = [
    methods.join(", "),
    notMethods.length > 0 ? `not ${notMethods.join(", ")}` : "",
    paths.join(", "),
    notPaths.length > 0 ? `not ${notPaths.join(", ")}` : "",
    ...Object.entries(headers).map(([name, values]) => `${name}: ${values.join(", ")}`),
  ].filter((part) => part !== "");
  return parts.length === 0 ? "Requests" : `Requests (${parts.join("; ")})`;
}

function formatExpectation({ expect, destinations }: Entry): string {
  if (expect !== "routed") return expect;
  const shown = destinations.map(({ service, subset, atLeast }) => {
    const where = [subset === undefined ? undefined : `subset ${subset}`, service].filter((part) => part !== undefined);
    return `${where.join(" of ") || "the service"}${atLeast === undefined ? "" : ` with at least ${atLeast}%`}`;
  });
  return `routed to ${shown.join(" or ")} only`;
}
