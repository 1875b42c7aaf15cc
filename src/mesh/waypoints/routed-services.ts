import { type KubernetesRoute, parentOf, servicesOfRoute } from "../gateways/routes.ts";
import { actionOf, type AuthorizationPolicy, isEnforced, targetRefsOf } from "../authorization/policies.ts";
import { namespaceOfService, type Service } from "../membership/services.ts";
import { serviceByName } from "../objects/indexes.ts";
import { isServed } from "../objects/revision.ts";
import { entryByHost } from "../traffic/definition-choice.ts";
import { fullHost, hostOfService } from "../traffic/hosts.ts";
import type { VirtualService } from "../traffic/virtual-services.ts";
import { index, type MeshView, relation } from "../../view/view.ts";
import { isUsable, waypointBinding, waypointBindingOfService, waypointOfService } from "./bindings.ts";

/** A VirtualService and the Services of this cluster among its hosts, by full name. */
export const servicesOfHosts = relation(
  "servicesOfHosts",
  index("VirtualService", ({ metadata, spec }, { domain }) =>
    spec.hosts.map((host) => fullHost(host, metadata.namespace, domain)),
  ),
  index("Service", (service, { domain }) => [hostOfService(service, domain)]),
);

/** A VirtualService and the ServiceEntries that define its hosts, each exactly as written. */
export const entriesOfHosts = relation("entriesOfHosts", servicesOfHosts.from, entryByHost);

/** A Service and the policies that target it and can deny requests to it. */
export const policiesOfService = relation(
  "policiesOfService",
  serviceByName,
  index("AuthorizationPolicy", (policy, settings) =>
    isEnforced(policy, settings) && actionOf(policy) !== "AUDIT"
      ? [...servicesTargeted(policy)].map((name) => `${policy.metadata.namespace}/${name}`)
      : [],
  ),
);

/** The names of the Services in targetRefs. */
export function servicesTargeted(policy: AuthorizationPolicy): ReadonlySet<string> {
  let found = targeted.get(policy);
  if (found === undefined) {
    const names = targetRefsOf(policy).flatMap(({ group, kind, name }) =>
      kind === "Service" && (group === "" || group === "core") ? [name] : [],
    );
    targeted.set(policy, (found = new Set(names)));
  }
  return found;
}
/** Policies never change, and one can be that of many Services. */
const targeted = new WeakMap<AuthorizationPolicy, ReadonlySet<string>>();

/** What `servicesRoutedBy` reads. */
export const routedReads = [
  servicesOfRoute,
  servicesOfHosts,
  namespaceOfService,
  waypointBinding,
  waypointOfService,
] as const;
type View = MeshView<(typeof routedReads)[number]>;

/** The Services whose requests a waypoint routes by this route. */
export const servicesRoutedBy = (route: KubernetesRoute | VirtualService, mesh: View): readonly Service[] =>
  route.kind === "VirtualService" ? calledBy(route, mesh) : calledOf(route, mesh);

/** Those of its own namespace among its parents. */
function calledOf(route: KubernetesRoute, mesh: View): readonly Service[] {
  if (!isServed(route, mesh.settings)) return [];
  const names = new Set(
    route.spec.parentRefs
      .map((ref) => parentOf(ref, route))
      .filter(({ kind, namespace }) => kind === "Service" && namespace === route.metadata.namespace)
      .map(({ name }) => name),
  );
  const isParent = ({ metadata }: Service) =>
    metadata.namespace === route.metadata.namespace && names.has(metadata.name);
  return mesh.related(servicesOfRoute, route).filter((one) => isParent(one) && isBehindWaypoint(one, mesh));
}

/** A waypoint uses VirtualServices of the namespace of the Service (or of its own, which is left out here). */
function calledBy(virtualService: VirtualService, mesh: View): readonly Service[] {
  if (!isServed(virtualService, mesh.settings) || !isForMesh(virtualService)) return [];
  return mesh
    .related(servicesOfHosts, virtualService)
    .filter((one) => one.metadata.namespace === virtualService.metadata.namespace && isBehindWaypoint(one, mesh));
}

export function isBehindWaypoint(service: Service, mesh: View): boolean {
  const [namespace] = mesh.related(namespaceOfService, service);
  return isUsable(waypointBindingOfService(service, namespace, mesh));
}

export const isForMesh = ({ spec }: VirtualService): boolean =>
  spec.hosts.length > 0 && (spec.gateways.length === 0 || spec.gateways.includes("mesh"));
