import { keyOfSet, noRequests, both, type RequestSet, separated, simplified } from "../authorization/requests/sets.ts";
import type { Work } from "../authorization/requests/work.ts";
import { type Accepted, type Access, type Routed, type Status, statuses, type Way } from "./access.ts";
import { byCallers, type CallersRequests, type SharedLists } from "./callers.ts";

/** Requests that some callers can send. */
export interface AcceptedRow extends CallersRequests {
  /** In which ways; empty: in every way in which these callers send. */
  readonly ways: readonly Way[];
  readonly status: Status;
  /** Those of the requests that some destination, or some pod, does not accept. */
  readonly partly: RequestSet;
}

/** What is accepted, for few groups of callers. A caller can be in several rows. Throws Undecided if that takes too much work. */
export function acceptedRows(access: Access, work: Work): readonly AcceptedRow[] {
  return layersOf(access, work, (layer) => rowsOf(layer, access.lists, work), keyOfRow);
}

const keyOfRow = ({ status, callers, requests, partly }: AcceptedRow): string =>
  JSON.stringify([status, keyOfSet(callers), keyOfSet(requests), keyOfSet(partly)]);

function rowsOf({ way, sets, partly }: Accepted, lists: SharedLists, work: Work): readonly AcceptedRow[] {
  const ways = way === undefined ? [] : [way];
  return statuses.flatMap((status) =>
    byCallers(lists.simplified(sets[status], work), work).map(({ callers, requests }) => {
      const isWhole = status === "undecided" || partly.length === 0;
      const refused = isWhole ? noRequests : both(both(requests, callers, work), partly, work);
      const own = byCallers(simplified(refused, work), work).flatMap((one) => one.requests);
      return { ways, status, callers, requests, partly: own };
    }),
  );
}

/** Where requests of some callers are routed to. Requests that are not accepted may be among them. */
export interface RouteRow extends CallersRequests {
  readonly ways: readonly Way[];
  readonly route: Routed;
}

/** The routes of what is accepted. */
export function routeRows(access: Access, work: Work): readonly RouteRow[] {
  return layersOf(access, work, (layer) => routesOf(layer, work), keyOfRouteRow);
}

const keyOfRouteRow = ({ route, callers, requests }: RouteRow): string =>
  JSON.stringify([route.key, keyOfSet(callers), keyOfSet(requests)]);

function routesOf({ way, routes }: Accepted, work: Work): readonly RouteRow[] {
  const ways = way === undefined ? [] : [way];
  return routes.flatMap((route) => {
    const others = routes.flatMap(({ key, requests }) => (key === route.key ? [] : requests));
    return byCallers(separated(route.requests, others, work), work).map((one) => ({ ...one, ways, route }));
  });
}

/** Rows for each way, if it matters, and those that several ways share only once. */
function layersOf<R extends { readonly ways: readonly Way[] }>(
  access: Access,
  work: Work,
  rowsIn: (layer: Accepted) => readonly R[],
  keyOf: (row: R) => string,
): readonly R[] {
  const whole = access.whole(work);
  if (whole !== undefined) return rowsIn(whole);
  return [...Map.groupBy(access.byWay(work).flatMap(rowsIn), keyOf).values()].flatMap((same) =>
    same.slice(0, 1).map((row) => ({ ...row, ways: same.flatMap(({ ways }) => ways) })),
  );
}
