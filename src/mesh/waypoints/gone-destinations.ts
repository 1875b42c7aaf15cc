import type { ObjectOf } from "../../kube/object.ts";
import type { MeshView } from "../../view/view.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { type ServedTraffic, servingWaypoints } from "./served-traffic.ts";

// Without its ServiceEntry or its WorkloadEntry, ztunnel does not know an address, and passes connections to it on as they are. What is
// behind it is outside the cluster and stays there, unlike the pods of a Service, whose own addresses the Service never hid.

type Entry = ObjectOf<"ServiceEntry" | "WorkloadEntry">;

interface Side {
  readonly object: Namespace;
  readonly mesh: MeshView<typeof servingWaypoints>;
}

/** What a change takes away from the destinations that have a waypoint. */
export interface GoneDestination {
  readonly was: ServedTraffic;
  readonly name: string;
  /** The hosts of a ServiceEntry that stays; undefined: the whole object is gone. */
  readonly hosts: readonly string[] | undefined;
}

/** istiod creates and deletes the WorkloadEntries of machines that come and go (Istio pilot/pkg/autoregistration/controller.go). */
const autoRegistration = "istio.io/autoRegistrationGroup";

/**
 * The ServiceEntries and WorkloadEntries of a namespace that istiod reads no longer, and the hosts that ServiceEntries no longer have, unless
 * others of the namespace have the same hosts or the same address.
 */
export function* goneDestinations(before: Side, after: Side): Generator<GoneDestination, undefined> {
  const old = before.mesh.get(servingWaypoints, before.object);
  const now = after.mesh.get(servingWaypoints, after.object);
  for (const kind of ["ServiceEntry", "WorkloadEntry"] as const) {
    const [was, is] = [old.entries(kind), now.entries(kind)];
    if (was === is) continue;
    after.mesh.visited(was.length + is.length);
    const there = new Set<Entry>(is);
    const changed = was.filter((entry) => !there.has(entry));
    if (changed.length === 0) continue;
    const names = new Set(is.map(({ metadata }) => metadata.name));
    const places = new Set(is.flatMap(placesOf));
    for (const entry of changed) {
      const { name } = entry.metadata;
      const left = placesOf(entry).filter((place) => !places.has(place));
      const isThere = names.has(name);
      const traffic = left.length === 0 || (isThere && kind === "WorkloadEntry") ? undefined : old.ofNamed(kind, name);
      if (traffic !== undefined) yield { was: traffic, name, hosts: isThere ? left : undefined };
    }
  }
}

/** The hosts, or the address, by which clients reach it. */
function placesOf(entry: Entry): readonly string[] {
  if (entry.kind === "ServiceEntry") return entry.spec.hosts;
  return entry.metadata.annotations[autoRegistration] === undefined ? [entry.spec.address ?? ""] : [];
}
