import { idOf, keyFor } from "../kube/identity.ts";
import type { ObjectOf } from "../kube/object.ts";
import { captureOf, type Enrollment, enrollmentOf } from "../mesh/membership/capture.ts";
import type { Namespace } from "../mesh/membership/namespaces.ts";
import type { Service } from "../mesh/membership/services.ts";
import { isProxy, type Workload, workloadsOfNamespace } from "../mesh/membership/workloads.ts";
import type { DestinationHost } from "../mesh/traffic/destination-rule-choices.ts";
import { serviceEntriesOfVirtualService, serviceNamespaces } from "../mesh/traffic/destination-rules.ts";
import { includesNamespace, visibleTo } from "../mesh/traffic/export-to.ts";
import { coveringHosts, covers, namespaceOfHost } from "../mesh/traffic/hosts.ts";
import { isUsable, type WaypointBinding, waypointBindingOfService } from "../mesh/waypoints/bindings.ts";
import { type ExplanationLine, objectLine } from "../report/explanation.ts";
import type { Mesh } from "../view/view.ts";
import { atWaypointLine } from "./at-waypoint.ts";
import { waypointAuthorizationLine } from "./authorization.ts";
import { destinationRuleLines, destinationRulesOfHost } from "./destination-rules.ts";
import { waypointLine } from "./enrollment.ts";
import { byName, type Inquiry, listed, namespaceIn } from "./inquiry.ts";
import { workloadsLine } from "./namespace.ts";
import { protectionLine } from "./protection.ts";
import { isOutside, requestLines } from "./requests.ts";
import { virtualServiceLine, virtualServicesOfHost } from "./virtual-services.ts";
import { selectsWorkload } from "./workload.ts";

type ServiceEntry = ObjectOf<"ServiceEntry">;

/** A host, and what the mesh shows of it. */
export interface Host {
  readonly host: string;
  readonly service: Service | undefined;
  readonly entries: readonly ServiceEntry[];
}

/** Looks a full host up: the Service of its name, and the ServiceEntries that cover it. */
export function hostIn(mesh: Mesh, host: string): Host {
  const namespace = namespaceOfHost(host, mesh.settings.domain);
  const found =
    namespace === undefined
      ? undefined
      : mesh.find("Service", keyFor("Service", { originKind: "Service", namespace, name: host.split(".")[0] ?? "" }));
  const entries = mesh.lookup(serviceEntriesOfVirtualService.to, coveringHosts(host)) as readonly ServiceEntry[];
  return {
    host,
    service: found?.kind === "Service" ? found : undefined,
    entries: entries.filter(({ spec }) => spec.hosts.some((own) => covers(own, host))).sort(byName),
  };
}

/** Whether anything at all speaks of a host: what defines it, or what is configured for it by its own name. */
export function isSpokenOf({ host, service, entries }: Host, mesh: Mesh): boolean {
  if (service !== undefined || entries.length > 0) return true;
  return [...destinationRulesOfHost(host, mesh), ...virtualServicesOfHost(host, mesh)].some(({ spec }) =>
    ("host" in spec ? [spec.host] : spec.hosts).every((own) => !own.startsWith("*")),
  );
}

/** What clients in a namespace get when they call a host. */
export function explainHost(host: Host, client: string, inquiry: Inquiry): readonly ExplanationLine[] {
  const { mesh } = inquiry;
  const served = servedBy(host, mesh);
  const destination = { client, host: host.host, namespace: served?.namespace.metadata.name };
  const routing = [
    virtualServiceLine(client, host.host, inquiry),
    ...destinationRuleLines(destination, served?.workloads, inquiry),
  ];
  return [
    definitionLine(host, client, mesh),
    clientLine(client, served?.binding, mesh),
    ...(hasProxies(client, mesh) ? routing : [unread(client, routing)]),
    ...(served === undefined ? [] : servedLines(served, destination, inquiry)),
  ];
}

const hasProxies = (client: string, mesh: Mesh): boolean =>
  !isOutside(client, mesh) && enrollmentOf(namespaceIn(mesh, client)) !== "ambient";

/** What sidecars would make of it, where there are none: gateways in the namespace still do. */
const unread = (client: string, routing: readonly ExplanationLine[]): ExplanationLine => ({
  key: "unread",
  text: `What sidecars and gateways in ${client} would use, and others do not:`,
  counts: false,
  lines: routing.map((line) => ({ ...line, counts: false })),
});

/** Who answers for a host: its namespace, and where a Service defines it, its pods and waypoint. */
interface Served {
  readonly namespace: Namespace;
  readonly service: Service | undefined;
  /** Undefined: nobody has shown them. */
  readonly workloads: readonly Workload[] | undefined;
  readonly binding: WaypointBinding | undefined;
}

function servedBy({ host, service, entries }: Host, mesh: Mesh): Served | undefined {
  const [first] = serviceNamespaces(host, entries, mesh.settings);
  const owner = service?.metadata.namespace ?? first;
  if (owner === undefined) return undefined;
  const namespace = namespaceIn(mesh, owner);
  return {
    namespace,
    service,
    workloads: service && workloadsBehind(service, namespace, mesh),
    binding: service && waypointBindingOfService(service, namespace, mesh),
  };
}

function servedLines(
  { namespace, service, workloads, binding }: Served,
  destination: DestinationHost,
  inquiry: Inquiry,
): readonly ExplanationLine[] {
  const isAmbient = enrollmentOf(namespace) === "ambient";
  const { client, host } = destination;
  const lines: (ExplanationLine | undefined)[] = [];
  if (service !== undefined) lines.push(waypointLine(binding, isAmbient));
  if (service !== undefined && isUsable(binding)) {
    lines.push(atWaypointLine(binding, destination, workloads, inquiry));
    lines.push(waypointAuthorizationLine(service.metadata.name, namespace, inquiry));
  }
  if (service !== undefined && workloads !== undefined) {
    lines.push(...requestLines(service, workloads, { client, host, namespace }, inquiry.mesh));
    lines.push(workloadsLine(namespace, workloads, inquiry));
  }
  lines.push(protectionLine(service ?? namespace, namespace, inquiry));
  return lines.filter((line) => line !== undefined);
}

function workloadsBehind(service: Service, namespace: Namespace, mesh: Mesh): readonly Workload[] | undefined {
  if (!mesh.knows("Workload")) return undefined;
  return mesh
    .related(workloadsOfNamespace, namespace)
    .filter((workload) => selectsWorkload(service, workload))
    .sort(byName);
}

function definitionLine({ service, entries }: Host, client: string, mesh: Mesh): ExplanationLine {
  const objects = [...(service ? [service] : []), ...entries];
  const lines = objects.flatMap((object) => {
    const hidden = hiddenFrom(object, client, mesh);
    return hidden
      ? [objectLine("definition.hidden", object, `${idOf(object)} is not exported to ${client}`, { counts: false })]
      : [];
  });
  if (objects.length > 0) {
    const ports = service?.spec.ports.flatMap(({ port }) => port ?? []) ?? [];
    const shown = ports.length === 0 ? "" : ` (${ports.length === 1 ? "port" : "ports"} ${ports.join(", ")})`;
    return { key: "definition", text: `Defined by ${listed(objects)}${shown}`, value: "known", objects, lines };
  }
  if (mesh.knowledge("Service") === "unknown")
    return { key: "definition", text: "Defined by: not known, because the mesh shows no Services", value: "unknown" };
  return {
    key: "definition",
    text: "Defined by nothing: there is no Service and no ServiceEntry for it",
    value: "none",
  };
}

function hiddenFrom({ kind, metadata, ...object }: Service | ServiceEntry, client: string, mesh: Mesh): boolean {
  const said =
    kind === "Service"
      ? (metadata.annotations["networking.istio.io/exportTo"] ?? "").split(",").map((name) => name.trim())
      : (object as ServiceEntry).spec.exportTo;
  const exportTo = said.filter((name) => name !== "");
  return !includesNamespace(visibleTo(exportTo, metadata.namespace, mesh.settings.defaultServiceExportTo), client);
}

const shownClients: Readonly<Record<Enrollment, string>> = {
  sidecar: "have sidecars, which follow VirtualServices and DestinationRules",
  ambient: "are ambient: ztunnel reads no VirtualService and no DestinationRule",
  "ambient-and-sidecar": "are ambient or have sidecars; only sidecars follow VirtualServices and DestinationRules",
  none: "are not in the mesh: they send plaintext",
  "opted-out": "are not in the mesh: they send plaintext",
  unknown: "may have sidecars: nobody has shown the labels of the namespace",
};

function clientLine(client: string, binding: WaypointBinding | undefined, mesh: Mesh): ExplanationLine {
  const namespace = namespaceIn(mesh, client);
  const enrollment = enrollmentOf(namespace);
  const usual = mesh
    .related(workloadsOfNamespace, namespace)
    .filter((workload) => !isProxy(workload))
    .sort(byName);
  const others = usual.filter((workload) => captureOf(workload, namespace) === "none");
  const isEnrolled = !["none", "opted-out", "unknown"].includes(enrollment);
  const more =
    isUsable(binding) && enrollment === "ambient" ? "; their requests go through the waypoint, which does" : "";
  return {
    key: "client",
    text: `Clients in ${client} ${shownClients[enrollment]}${more}`,
    value: enrollment,
    lines: isEnrolled
      ? others.map((workload) =>
          objectLine("client.outside", workload, `${idOf(workload)} is not in the mesh and sends plaintext`),
        )
      : [],
  };
}
