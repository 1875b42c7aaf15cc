import { forWording, type MeshView, reachedBy } from "../../view/view.ts";
import type { ChangedPlace } from "../authorization/changed-places.ts";
import { gatewaysOfNamespace } from "../membership/gateways.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { type ServedTraffic, servingWaypoints, usedWaypoints } from "./served-traffic.ts";
import { isUnusedWaypoint } from "./users.ts";

// Where no waypoint enforces policies, nobody gains anything by other ones. What the waypoint gets to serve later, or a Service that gets one
// later, is compared then. So all of this is for the wording of problems: no change reaches a rule through it.

const unused = forWording(isUnusedWaypoint);

/** What `idleReason` reads. */
export const readsIdlePlaces = [reachedBy(servingWaypoints, []), gatewaysOfNamespace, unused] as const;

export interface IdleSide {
  readonly object: Namespace;
  readonly mesh: MeshView<(typeof readsIdlePlaces)[number]>;
}

/** Why nobody gains anything yet by other policies at a place, as the rest of a sentence after "because"; undefined: somebody may. */
export function idleReason(
  { target }: Pick<ChangedPlace, "target">,
  before: IdleSide,
  after: IdleSide,
): string | undefined {
  if (target === undefined) return undefined;
  if (target.kind === "Gateway") return isUnused(target.name, after) ? "the waypoint serves nothing" : undefined;
  return [before, after].some((side) => mayBeServed(target.name, side)) ? undefined : withoutWaypoint;
}
const withoutWaypoint = "the Service has no waypoint, so nothing enforces policies for it";

function isUnused(name: string, { object, mesh }: IdleSide): boolean {
  const gateway = mesh.related(gatewaysOfNamespace, object).find(({ metadata }) => metadata.name === name);
  return gateway !== undefined && mesh.get(unused, gateway);
}

/** Whether requests to a Service go through a waypoint, or soon may. A Service that the view does not contain may have one. */
function mayBeServed(service: string, { object, mesh }: IdleSide): boolean {
  const traffic = mesh.get(servingWaypoints, object).ofNamed("Service", service);
  return traffic === undefined || usedWaypoints(traffic).length > 0 || isPassing(traffic);
}

/** A Gateway that is not ready yet, or is being deleted, may have an address again soon. */
const isPassing = ({ binding }: ServedTraffic): boolean =>
  binding?.trouble === "not ready" || binding?.trouble === "deleting";
