import { byId, idOf } from "../kube/identity.ts";
import type { Backend } from "../mesh/client-tls/backends.ts";
import { requestsTo } from "../mesh/client-tls/requests.ts";
import { type Enrollment, enrollmentOf, isEnrolled } from "../mesh/membership/capture.ts";
import { clientsIn, proxyAmong } from "../mesh/membership/clients.ts";
import { type Namespace, namespaceIn } from "../mesh/membership/namespaces.ts";
import type { Service } from "../mesh/membership/services.ts";
import { type Host, hiddenDefinitions } from "../mesh/traffic/host-definition.ts";
import { scopeOfNamespace } from "../mesh/traffic/sidecar-scope.ts";
import type { VirtualService } from "../mesh/traffic/virtual-services.ts";
import { isUsable, type WaypointBinding, waypointBindingOfService } from "../mesh/waypoints/bindings.ts";
import { canaryBindingOf, waypointsUsed } from "../mesh/waypoints/canaries.ts";
import { type ExplanationLine, objectLine } from "../report/explanation.ts";
import type { Mesh } from "../view/view.ts";
import { waypointAuthorizationLine } from "./authorization.ts";
import { destinationRuleLines } from "./destination-rules.ts";
import { workloadsLine } from "./namespace.ts";
import { requestLine } from "./requests.ts";
import { ingressLines } from "./ingresses.ts";
import { kubernetesGatewayLines, parentRuleLines } from "./rule-lines.ts";
import { sidecarLines } from "./sidecar.ts";
import { serviceTelemetryLines } from "./telemetry.ts";
import { gatewayRouteLines, virtualServiceLine } from "./virtual-services.ts";
import { atWaypointLine, attachedLines, canaryLines, waypointLine } from "./waypoint.ts";
import { listed } from "./wording.ts";

/** The configuration that clients in a namespace use for a host. */
export function explainHost(
  host: Host,
  [backend, ...others]: readonly Backend[],
  client: string,
  mesh: Mesh,
): readonly ExplanationLine[] {
  const { service } = host;
  const binding = service && backend && waypointBindingOfService(service, backend.namespace, mesh);
  const destination = { client, host: host.host, namespace: backend?.namespace.metadata.name };
  const routing = [...routeLines(host, client, mesh), ...destinationRuleLines(destination, backend?.workloads, mesh)];
  const isRead = proxyAmong(clientsIn(namespaceIn(mesh, client), mesh).senders) !== undefined;
  return [
    definitionLine(host, client, mesh),
    clientLine(client, binding, mesh),
    ...sidecarLines(host, client, mesh),
    ...(isRead ? routing : [unreadLine(client, [...routing, ...asProxies(destination, backend, mesh)])]),
    ...(backend === undefined ? [] : servedLines(host, backend, { client, binding }, mesh)),
    ...others.map((other) => otherBackendLine(host, other, client, mesh)),
    ...gatewayRouteLines(host.host, mesh),
    ...ingressLines(host.host, mesh),
    ...kubernetesGatewayLines(host.host, mesh),
  ];
}

/** The VirtualServices for a host, and the rules of routes of the Gateway API that have its Service as their parent. */
function routeLines({ host, service, entries }: Host, client: string, mesh: Mesh): readonly ExplanationLine[] {
  const scope = mesh.get(scopeOfNamespace, namespaceIn(mesh, client));
  const isImported = scope && ((one: VirtualService) => scope.importsVirtualService(one, mesh));
  const rules = service === undefined ? [] : parentRuleLines(service, { client, isWaypoint: false, isImported }, mesh);
  const isDirect = rules.length === 0 && (service !== undefined || entries.length > 0);
  return [virtualServiceLine(client, host, mesh, isDirect), ...rules];
}

/** Another ServiceEntry defines the same host for pods of its own namespace. */
function otherBackendLine(host: Host, backend: Backend, client: string, mesh: Mesh): ExplanationLine {
  const { object, namespace } = backend;
  const by = object === undefined ? "" : `, by ${idOf(object)}`;
  const destination = { client, host: host.host, namespace: namespace.metadata.name };
  return {
    key: "backend",
    of: object === undefined ? namespace.metadata.name : idOf(object),
    text: `The host is also defined for pods of namespace ${namespace.metadata.name}${by}:`,
    lines: [
      ...destinationRuleLines(destination, backend.workloads, mesh),
      ...servedLines(host, backend, { client, binding: undefined }, mesh),
      ...asProxies(destination, backend, mesh).map((line) => ({ ...line, counts: false })),
    ],
  };
}

/** The configuration for sidecars, even if there are none or that is not known, because gateways in the namespace use it too. */
const unreadLine = (client: string, routing: readonly ExplanationLine[]): ExplanationLine => ({
  key: "unread",
  text: `Configuration for sidecars and gateways in ${client}; other clients do not use it:`,
  counts: false,
  lines: routing.map((line) => ({ ...line, counts: false })),
});

/** Only if a DestinationRule or a BackendTLSPolicy gives them another result. */
const asProxies = (
  destination: { readonly client: string; readonly host: string },
  backend: Backend | undefined,
  mesh: Mesh,
): readonly ExplanationLine[] =>
  backend === undefined
    ? []
    : requestsTo(destination, backend, mesh, true)
        .filter(({ answers }) =>
          answers.some(({ rule, policy, tls }) => (rule ?? policy) !== undefined && tls !== "auto"),
        )
        .map(requestLine);

function servedLines(
  { host, service }: Host,
  backend: Backend,
  { client, binding }: { readonly client: string; readonly binding: WaypointBinding | undefined },
  mesh: Mesh,
): readonly ExplanationLine[] {
  const { namespace, workloads } = backend;
  const lines: (ExplanationLine | undefined)[] = [];
  if (service !== undefined) lines.push(waypointLine(binding, enrollmentOf(namespace, mesh.settings) === "ambient"));
  if (service !== undefined && isUsable(binding)) {
    lines.push(...canaryLines(canaryBindingOf(service, namespace, binding, mesh)));
    for (const one of waypointsUsed(service, namespace, binding, mesh))
      lines.push(...linesAt(one, { host, service, workloads }, { client, namespace }, mesh));
    lines.push(...serviceTelemetryLines(service.metadata.name, namespace, mesh));
  }
  if (workloads !== undefined) {
    lines.push(...requestsTo({ host, client }, backend, mesh).map(requestLine));
    lines.push(workloadsLine(namespace, workloads, mesh));
  }
  return lines.filter((line) => line !== undefined);
}

/** What one waypoint of a Service does with requests. */
function linesAt(
  binding: WaypointBinding,
  { host, service, workloads }: { readonly host: string; readonly service: Service } & Pick<Backend, "workloads">,
  { client, namespace }: { readonly client: string; readonly namespace: Namespace },
  mesh: Mesh,
): readonly (ExplanationLine | undefined)[] {
  const destination = { client, host, namespace: namespace.metadata.name };
  const rules = parentRuleLines(service, { client: binding.named.namespace, isWaypoint: true }, mesh);
  return [
    atWaypointLine(binding, destination, { workloads, rules }, mesh),
    waypointAuthorizationLine(service.metadata.name, namespace, binding, mesh),
    ...attachedLines(service, namespace, binding, mesh),
  ];
}

function definitionLine(host: Host, client: string, mesh: Mesh): ExplanationLine {
  const { service, entries } = host;
  const objects = [...(service ? [service] : []), ...entries];
  const lines = hiddenDefinitions(host, client, mesh.settings).map((object) =>
    objectLine("definition.hidden", object, `${idOf(object)} is not exported to ${client}`, { counts: false }),
  );
  if (objects.length > 0) {
    const ports = service?.spec.ports.flatMap(({ port }) => port ?? []) ?? [];
    const shown = ports.length === 0 ? "" : ` (${ports.length === 1 ? "port" : "ports"} ${ports.join(", ")})`;
    return { key: "definition", text: `Defined by ${listed(objects)}${shown}`, value: "known", objects, lines };
  }
  if (mesh.knowledge("Service") === "unknown")
    return {
      key: "definition",
      text: "Defined by: not known, because the mesh contains no Services",
      value: "unknown",
    };
  return {
    key: "definition",
    text: "Not defined: there is no Service and no ServiceEntry for it",
    value: "none",
  };
}

const shownClients: Readonly<Record<Enrollment, string>> = {
  sidecar: "have sidecars, which use VirtualServices and DestinationRules",
  ambient: "are ambient: ztunnel does not use VirtualServices and DestinationRules",
  "ambient-and-sidecar": "are ambient or have sidecars; only sidecars use VirtualServices and DestinationRules",
  none: "are not in the mesh: they send plaintext",
  "opted-out": "are not in the mesh: they send plaintext",
  unknown: "may have sidecars: the labels of the namespace are not known",
};

/** The clients according to the labels of the namespace, and workloads that differ from them. */
function clientLine(client: string, binding: WaypointBinding | undefined, mesh: Mesh): ExplanationLine {
  const namespace = namespaceIn(mesh, client);
  const { enrollment, outside, proxies } = clientsIn(namespace, mesh);
  const more =
    isUsable(binding) && enrollment === "ambient" ? "; their requests go through the waypoint, which uses them" : "";
  const isUsual = ["sidecar", "ambient-and-sidecar"].includes(enrollment);
  return {
    key: "client",
    text: `Clients in ${client} ${shownClients[enrollment]}${more}`,
    value: enrollment,
    lines: [
      ...(isUsual ? [] : proxies)
        .toSorted(byId)
        .map((workload) => objectLine("client.proxy", workload, `${idOf(workload)} has a proxy, which uses them`)),
      ...(isEnrolled(namespace, mesh.settings) ? outside : [])
        .toSorted(byId)
        .map((workload) =>
          objectLine("client.outside", workload, `${idOf(workload)} is not in the mesh and sends plaintext`),
        ),
    ],
  };
}
