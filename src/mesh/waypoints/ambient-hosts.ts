import { idOf } from "../../kube/identity.ts";
import type { MeshView } from "../../view/view.ts";
import { enrollmentOf } from "../membership/capture.ts";
import { isTerminating, type Namespace } from "../membership/namespaces.ts";
import { isExternalName, isHeadless, namespaceOfService } from "../membership/services.ts";
import { useWaypoint } from "../objects/labels.ts";
import { type Definition, namespaceOfDefinition, namespaceOfEntry } from "../traffic/definition-choice.ts";
import {
  formatWaypoint,
  type WaypointBinding,
  waypointBinding,
  waypointBindingOfDefinition,
  waypointOfService,
  waypointOfServiceEntry,
} from "./bindings.ts";

/** What `ambientHost` reads. */
export const ambientHostReads = [
  namespaceOfService,
  namespaceOfEntry,
  waypointBinding,
  waypointOfService,
  waypointOfServiceEntry,
] as const;

/** A host of an ambient namespace, as ambient clients reach it. */
export interface AmbientHost {
  readonly namespace: Namespace;
  /** Undefined: no waypoint is asked for. */
  readonly binding: WaypointBinding | undefined;
}

/** Undefined: the namespace is not known to be ambient, or is being deleted. */
export function ambientHost(
  definition: Definition,
  mesh: MeshView<(typeof ambientHostReads)[number]>,
): AmbientHost | undefined {
  const namespace = namespaceOfDefinition(definition, mesh);
  if (namespace === undefined || isTerminating(namespace)) return undefined;
  if (enrollmentOf(namespace, mesh.settings) !== "ambient") return undefined;
  return { namespace, binding: waypointBindingOfDefinition(definition, namespace, mesh) };
}

/** What one can do about a host without a waypoint, where the host itself is the reason. */
export interface Remedies {
  /** No waypoint receives requests to the addresses of pods. */
  readonly headless: string;
  /** The host is another name for one, which can have a waypoint. Undefined: that is reported otherwise. */
  readonly alias?: string;
}

/** Why no waypoint receives the requests to what defines a host in an ambient namespace, after "Namespace ... is ambient and". */
export function lackOfWaypoint(binding: WaypointBinding | undefined, definition: Definition): string {
  const { name } = definition.metadata;
  if (binding !== undefined) return `its waypoint ${formatWaypoint(binding.named)} is not usable`;
  if (isHeadlessService(definition)) return `Service ${name} is headless, so no waypoint receives its requests`;
  if (isAlias(definition)) return `Service ${name} is another name for a host, so it has no waypoint`;
  return isOptedOut(definition) ? `its ${definition.kind} ${name} opts out of waypoints` : "has no waypoint";
}

/** The fix for this very reason; undefined: the namespace has no waypoint. */
export function fixForLack(
  binding: WaypointBinding | undefined,
  definition: Definition,
  remedies: Remedies,
): string | undefined {
  if (binding !== undefined)
    return `Make waypoint ${formatWaypoint(binding.named)} usable (waypoint-not-found reports why it is not), or use another one.`;
  if (isHeadlessService(definition)) return remedies.headless;
  if (isAlias(definition)) return remedies.alias;
  if (!isOptedOut(definition)) return undefined;
  return `Remove the label ${useWaypoint} from ${idOf(definition)}, or set it to the name of a waypoint.`;
}

const isHeadlessService = (one: Definition): boolean => one.kind === "Service" && isHeadless(one);
const isAlias = (one: Definition): boolean => one.kind === "Service" && isExternalName(one);
const isOptedOut = ({ metadata }: Definition): boolean => metadata.labels[useWaypoint] === "none";
