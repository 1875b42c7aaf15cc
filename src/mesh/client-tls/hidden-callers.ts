import type { MeshSettings } from "../../view/settings.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";
import { callersNamed, type NamedCaller } from "../authorization/named-callers.ts";
import { actionOf, type AuthorizationPolicy, isEnforced, targetRefsOf } from "../authorization/policies.ts";
import { enrollmentOf } from "../membership/capture.ts";
import { gatewaysOfNamespace } from "../membership/gateways.ts";
import { isTerminating, type Namespace } from "../membership/namespaces.ts";
import { isExternalName, type Service, servicesOfNamespace } from "../membership/services.ts";
import { selectingEntriesOfNamespace } from "../membership/workload-entries.ts";
import { hasInjectedGateway, isProxy } from "../membership/workloads.ts";
import { namespaceByName } from "../objects/indexes.ts";
import { isServed } from "../objects/revision.ts";
import { matchLabelsOf } from "../objects/selectors.ts";
import { serviceVisibleTo } from "../traffic/definition-choice.ts";
import { includesNamespace } from "../traffic/export-to.ts";
import { hostOfService, namespaceOfHost } from "../traffic/hosts.ts";
import { scopeOfNamespace } from "../traffic/sidecar-scope.ts";
import { gatewaysOf, isDelegate, meshGateway } from "../traffic/virtual-service-clients.ts";
import type { VirtualService } from "../traffic/virtual-services.ts";
import { destinationsOf, isImportedBy } from "./hidden-clients.ts";

// A sidecar has clusters only for the services that are exported to its namespace and that its Sidecar imports (Istio
// pilot/pkg/model/push_context.go servicesExportedToNamespace, sidecar.go collectImportedServices). What an application sends elsewhere goes
// through PassthroughCluster as it is, without mTLS, or is refused with REGISTRY_ONLY (pilot/pkg/networking/core/cluster.go
// buildOutboundPassthroughClusters).

/** The callers in other namespaces that a policy for workloads allows, each by the name of its namespace. */
function* callersAllowed(policy: AuthorizationPolicy, settings: MeshSettings): Iterable<NamedCaller> {
  if (actionOf(policy) !== "ALLOW" || targetRefsOf(policy).length > 0 || !isEnforced(policy, settings)) return;
  for (const caller of callersNamed(policy, settings))
    if (!caller.isHere && !caller.namespace.includes("*") && !caller.at.some(isExcluding)) yield caller;
}
const isExcluding = (part: string | number): boolean => typeof part === "string" && part.startsWith("not");

/** An ALLOW policy for workloads that names callers, and its namespace. */
const namespaceOfAllowing = relation(
  "namespaceOfAllowing",
  index("AuthorizationPolicy", (policy, settings) => {
    for (const { namespace } of callersAllowed(policy, settings))
      if (namespace !== policy.metadata.namespace) return [policy.metadata.namespace];
    return [];
  }),
  namespaceByName,
);
/** The same policy, and the namespaces of the callers. */
const namespacesOfAllowed = relation(
  "namespacesOfAllowed",
  index(
    "AuthorizationPolicy",
    (policy, settings) => new Set([...callersAllowed(policy, settings)].map(({ namespace }) => namespace)),
  ),
  namespaceByName,
);
/** The same policy, and the VirtualServices for sidecars that send requests to hosts of its namespace. */
const virtualServicesToNamespaceOfAllowing = relation(
  "virtualServicesToNamespaceOfAllowing",
  namespaceOfAllowing.from,
  index("VirtualService", (virtualService, settings) =>
    isServed(virtualService, settings) && (isDelegate(virtualService) || gatewaysOf(virtualService).has(meshGateway))
      ? new Set(
          destinationsOf(virtualService, settings).flatMap((host) => namespaceOfHost(host, settings.domain) ?? []),
        )
      : [],
  ),
);
/** A namespace and the workloads in it that run gateways, which use no Sidecar. */
const gatewayWorkloadsOfNamespace = relation(
  "gatewayWorkloadsOfNamespace",
  namespaceByName,
  index("Workload", (workload) =>
    isProxy(workload) || hasInjectedGateway(workload) ? [workload.metadata.namespace] : [],
  ),
);

const reads = [
  gatewaysOfNamespace,
  gatewayWorkloadsOfNamespace,
  namespaceOfAllowing,
  namespacesOfAllowed,
  scopeOfNamespace,
  selectingEntriesOfNamespace,
  servicesOfNamespace,
  virtualServicesToNamespaceOfAllowing,
] as const;
type View = MeshView<(typeof reads)[number]>;

/** What keeps all Services of some workloads from the sidecars of a namespace. */
export type HiddenBy = "exportTo" | "Sidecar";
/** A caller that a rule allows, and whose sidecars have none of the Services in front of the workloads of the policy. */
export interface HiddenCaller extends NamedCaller {
  readonly by: HiddenBy;
}

/** More Services than these are not compared with each namespace that a policy names. */
const fewServices = 50;

/** The callers that an ALLOW policy names in vain, because their sidecars do not know the Services of its workloads. */
export const hiddenCallers = fact(
  "hiddenCallers",
  "AuthorizationPolicy",
  reads,
  (policy, mesh): readonly HiddenCaller[] => {
    const [namespace] = mesh.related(namespaceOfAllowing, policy);
    if (namespace === undefined || namespace.metadata.name === mesh.settings.rootNamespace) return [];
    const services = servicesBefore(policy, namespace, mesh);
    if (services.length === 0 || services.length > fewServices) return [];
    const hidden = new Map<string, HiddenBy>();
    for (const client of mesh.related(namespacesOfAllowed, policy)) {
      mesh.visited(services.length);
      const by = isOfSidecars(client, mesh) ? hiddenBy(client, services, policy, mesh) : undefined;
      if (by !== undefined) hidden.set(client.metadata.name, by);
    }
    if (hidden.size === 0) return [];
    return [...callersAllowed(policy, mesh.settings)].flatMap((caller) => {
      const by = hidden.get(caller.namespace);
      return by === undefined ? [] : [{ ...caller, by }];
    });
  },
);

/** The Services that may lead to the workloads of a policy; none: one of them is not known, or nothing leads there. */
function servicesBefore(policy: AuthorizationPolicy, namespace: Namespace, mesh: View): readonly Service[] {
  const labels = matchLabelsOf(policy);
  const mayLead = (selector: Readonly<Record<string, string>>) =>
    Object.entries(selector).every(([key, value]) => (labels[key] ?? value) === value);
  const entries = mesh.related(selectingEntriesOfNamespace, namespace);
  const services = mesh.related(servicesOfNamespace, namespace).filter((service) => !isExternalName(service));
  mesh.visited(entries.length + services.length);
  if (entries.some(({ spec }) => mayLead(spec.workloadSelector?.labels ?? {}))) return [];
  const leading = services.filter(({ spec }) => mayLead(spec.selector));
  // Without a selector, the endpoints can be any pods, and a Service that only may lead there shows nothing.
  const isUnknown = leading.some(({ spec }) => Object.keys(spec.selector).length === 0);
  const isFor = ({ spec }: Service) =>
    Object.keys(labels).length === 0 || Object.keys(spec.selector).some((key) => labels[key] !== undefined);
  return !isUnknown && leading.some(isFor) ? leading : [];
}

/**
 * Whether the callers in a namespace have sidecars. ztunnel knows all workloads of the mesh, whoever exports what, and gateways use no Sidecar
 * and pass nothing on that they have no route for.
 */
const isOfSidecars = (client: Namespace, mesh: View): boolean =>
  enrollmentOf(client, mesh.settings) === "sidecar" &&
  !isTerminating(client) &&
  mesh.knowsAll("Workload") &&
  mesh.related(gatewayWorkloadsOfNamespace, client).length === 0 &&
  mesh.related(gatewaysOfNamespace, client).length === 0;

function hiddenBy(
  client: Namespace,
  services: readonly Service[],
  policy: AuthorizationPolicy,
  mesh: View,
): HiddenBy | undefined {
  const { name } = client.metadata;
  const exported = services.filter((service) => includesNamespace(serviceVisibleTo(service, mesh.settings), name));
  if (exported.length === 0) return "exportTo";
  const scope = mesh.get(scopeOfNamespace, client);
  if (scope === undefined || !mesh.knows("VirtualService")) return undefined;
  const routing = mesh.related(virtualServicesToNamespaceOfAllowing, policy);
  const isImported = exported.some((service) => {
    const host = hostOfService(service, mesh.settings.domain);
    const toHost = routing.filter((one: VirtualService) => destinationsOf(one, mesh.settings).includes(host));
    mesh.visited(routing.length);
    return isImportedBy(scope, { client: name, host, owner: service.metadata.namespace }, toHost, mesh);
  });
  return isImported ? undefined : "Sidecar";
}
