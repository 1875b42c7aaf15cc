import { idOf } from "../kube/identity.ts";
import type { Namespace } from "../mesh/membership/namespaces.ts";
import type { Service } from "../mesh/membership/services.ts";
import type { Workload } from "../mesh/membership/workloads.ts";
import { attachments } from "../mesh/requests/attachments.ts";
import type { DestinationHost } from "../mesh/traffic/destination-rule-choices.ts";
import { virtualServicesOfHost, waypointVirtualServices } from "../mesh/traffic/virtual-service-choices.ts";
import {
  formatWaypoint,
  namespaceOfGateway,
  type WaypointBinding,
  type WaypointTrouble,
} from "../mesh/waypoints/bindings.ts";
import type { ExplanationLine } from "../report/explanation.ts";
import type { Mesh } from "../view/view.ts";
import { destinationRuleLines } from "./destination-rules.ts";
import { listed } from "./wording.ts";

const troubles: Readonly<Record<WaypointTrouble, string>> = {
  missing: "there is no such Gateway",
  "not a waypoint": "that Gateway is not a waypoint",
  deleting: "it is being deleted",
  "not ready": "it never had a ready pod",
  "not allowed": "its listener does not accept this namespace",
  "other traffic": "it is for other traffic",
};

/** The waypoint of an object; undefined if it is not ambient and no label names a waypoint. */
export function waypointLine(binding: WaypointBinding | undefined, isAmbient: boolean): ExplanationLine | undefined {
  if (binding === undefined)
    return isAmbient
      ? { key: "waypoint", text: "Waypoint: none, so HTTP is not processed here", value: "none" }
      : undefined;
  const name = formatWaypoint(binding.named);
  const by = binding.by === "own" ? "its own label" : "the namespace's label";
  const objects = binding.gateway === undefined ? [] : [binding.gateway];
  if (binding.trouble !== undefined)
    return {
      key: "waypoint",
      text: `Waypoint: ${name} (${by}) is not usable, and traffic bypasses it: ${troubles[binding.trouble]}`,
      value: binding.trouble,
      objects,
    };
  const unseen = binding.gateway === undefined ? "; no Gateways are known, so it is assumed to be usable" : "";
  return { key: "waypoint", text: `Waypoint: ${name} (${by})${unseen}`, value: name, objects };
}

/** A second waypoint, with its share of the connections; nothing without one. */
export function canaryLines(canary: WaypointBinding | undefined): readonly ExplanationLine[] {
  if (canary === undefined) return [];
  const { named, gateway, trouble } = canary;
  const name = formatWaypoint(named);
  const objects = gateway === undefined ? [] : [gateway];
  const text =
    trouble === undefined
      ? `Canary waypoint: ${name} gets ${percent(canary)} of the connections, of ambient clients and, with istio.io/ingress-use-waypoint, of gateways`
      : `Canary waypoint: ${name} is not usable, and gets nothing: ${troubles[trouble]}`;
  return [{ key: "waypoint.canary", text, value: trouble ?? name, objects }];
}
const percent = ({ share = 1 }: WaypointBinding): string => `${Math.round(share * 100)} %`;

/** What else a waypoint does with requests to a Service: which objects check tokens, run code or patch filters there, and whose they are. */
export function attachedLines(
  service: Service,
  namespace: Namespace,
  { named, gateway }: WaypointBinding,
  mesh: Mesh,
): readonly ExplanationLine[] {
  const [home] = gateway === undefined ? [] : mesh.related(namespaceOfGateway, gateway);
  if (home === undefined) return [];
  const [at, of] = [mesh.get(attachments, home), mesh.get(attachments, namespace)];
  const target = { ...named, isWaypoint: true };
  const objects = [
    ...at.tokenRulesAt({}, target),
    ...of.tokenRulesFor(service),
    ...at.extensionsAt({}, target),
    ...of.extensionsFor(service),
  ].filter((object, i, all) => all.indexOf(object) === i);
  if (objects.length === 0) return [];
  const text = `At the waypoint, for requests to the Service: ${listed(objects)}`;
  return [{ key: "waypoint.attached", text, value: objects.map(idOf), objects }];
}

interface AtWaypoint {
  readonly workloads: readonly Workload[] | undefined;
  /** Those of routes of the Gateway API for the Service. */
  readonly rules: readonly ExplanationLine[];
}

/** Which of two waypoints, if there is a canary. */
const whichOf = (binding: WaypointBinding): string =>
  binding.share === undefined || binding.share === 1
    ? ""
    : ` ${formatWaypoint(binding.named)}, which gets ${percent(binding)} of the connections`;

/** How a waypoint processes requests to a host. It looks DestinationRules up from its own namespace. */
export function atWaypointLine(
  binding: WaypointBinding,
  { host, namespace }: DestinationHost,
  { workloads, rules }: AtWaypoint,
  mesh: Mesh,
): ExplanationLine {
  const at = binding.named.namespace;
  const followed = waypointVirtualServices(at, { host, namespace }, virtualServicesOfHost(host, mesh), mesh.settings);
  return {
    key: "atWaypoint",
    text: `At the waypoint${whichOf(binding)}, for ambient clients (looked up from ${at}):`,
    lines: [
      {
        key: "virtualService",
        text:
          followed.length === 0 ? "No VirtualService is used" : `VirtualServices (all are used): ${listed(followed)}`,
        value: followed.map(idOf),
        objects: followed,
      },
      ...rules,
      ...destinationRuleLines({ client: at, host, namespace }, workloads, mesh),
    ],
  };
}
