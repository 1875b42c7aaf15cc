import { type Box, everyRequest } from "../authorization/requests/boxes.ts";
import type { Clauses } from "../authorization/requests/matches.ts";
import { Undecided, Work } from "../authorization/requests/work.ts";
import { conditionsOf } from "../requests/written-requests.ts";
import type { Entry } from "./intents.ts";

/** The work for the requests of one entry, in compared values: it has to fit into one step of a review. */
export const mostWork = 40_000;

/** The requests of an entry, with further conditions; undefined: there are none. `too much`: that is not known. */
export function requestsOf(entry: Entry, more: Clauses = [], work = new Work(mostWork)): Box | "too much" | undefined {
  try {
    return everyRequest.withAll([...more, ...conditionsOf(entry)], work);
  } catch (error) {
    if (error instanceof Undecided) return "too much";
    throw error;
  }
}
