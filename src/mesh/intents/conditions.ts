import { type Box, everyRequest } from "../authorization/requests/boxes.ts";
import type { Clauses } from "../authorization/requests/matches.ts";
import { Undecided, Work } from "../authorization/requests/work.ts";
import { conditionsOf } from "../requests/written-requests.ts";
import type { Entry } from "./intents.ts";

/** The work for the requests of one entry, in compared values. */
export const mostWork = 200_000;

/** The requests of an entry, with further conditions; undefined: there are none. `too much`: that is not known. */
export function requestsOf(entry: Entry, more: Clauses = []): Box | "too much" | undefined {
  try {
    return everyRequest.withAll([...more, ...conditionsOf(entry)], new Work(mostWork));
  } catch (error) {
    if (error instanceof Undecided) return "too much";
    throw error;
  }
}

/** Whether some request meets the conditions of an entry; undefined: that is not known. */
export function isAboutSome(entry: Entry): boolean | undefined {
  const requests = requestsOf(entry);
  return requests === "too much" ? undefined : requests !== undefined;
}
