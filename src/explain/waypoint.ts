import { idOf } from "../kube/identity.ts";
import type { Workload } from "../mesh/membership/workloads.ts";
import type { DestinationHost } from "../mesh/traffic/destination-rule-choices.ts";
import { virtualServicesOfHost, waypointVirtualServices } from "../mesh/traffic/virtual-service-choices.ts";
import { formatWaypoint, type WaypointBinding, type WaypointTrouble } from "../mesh/waypoints/bindings.ts";
import type { ExplanationLine } from "../report/explanation.ts";
import type { Mesh } from "../view/view.ts";
import { destinationRuleLines } from "./destination-rules.ts";
import { listed } from "./wording.ts";

const troubles: Readonly<Record<WaypointTrouble, string>> = {
  missing: "there is no such Gateway",
  "no waypoint": "that Gateway is none",
  going: "it is being deleted",
  "not ready": "it never had a ready pod",
  "not allowed": "its listener takes nothing from this namespace",
  "other traffic": "it is for other traffic",
};

/** Which waypoint serves something; undefined where ambient plays no part and nothing names one. */
export function waypointLine(binding: WaypointBinding | undefined, isAmbient: boolean): ExplanationLine | undefined {
  if (binding === undefined)
    return isAmbient
      ? { key: "waypoint", text: "Waypoint: none, so that nothing here looks at HTTP", value: "none" }
      : undefined;
  const name = formatWaypoint(binding.named);
  const by = binding.by === "own" ? "its own label" : "the namespace's label";
  const objects = binding.gateway === undefined ? [] : [binding.gateway];
  if (binding.trouble !== undefined)
    return {
      key: "waypoint",
      text: `Waypoint: ${name} (${by}) is not usable, and traffic goes past it: ${troubles[binding.trouble]}`,
      value: binding.trouble,
      objects,
    };
  const unseen = binding.gateway === undefined ? "; no Gateways are known, so that it is taken for usable" : "";
  return { key: "waypoint", text: `Waypoint: ${name} (${by})${unseen}`, value: name, objects };
}

/** What a waypoint does with requests to a host: it looks DestinationRules up from its own namespace. */
export function atWaypointLine(
  binding: WaypointBinding,
  { host, namespace }: DestinationHost,
  workloads: readonly Workload[] | undefined,
  mesh: Mesh,
): ExplanationLine {
  const at = binding.named.namespace;
  const followed = waypointVirtualServices(at, { host, namespace }, virtualServicesOfHost(host, mesh), mesh.settings);
  return {
    key: "atWaypoint",
    text: `At the waypoint, for ambient clients (looked up from ${at}):`,
    lines: [
      {
        key: "virtualService",
        text:
          followed.length === 0 ? "No VirtualService is followed" : `VirtualServices, all of them: ${listed(followed)}`,
        value: followed.map(idOf),
        objects: followed,
      },
      ...destinationRuleLines({ client: at, host, namespace }, workloads, mesh),
    ],
  };
}
