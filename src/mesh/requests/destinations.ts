import { idOf } from "../../kube/identity.ts";
import { index, type MeshView, relation } from "../../view/view.ts";
import { type ClientTlsChoice, clientTlsOf } from "../client-tls/client-tls.ts";
import { portsOf } from "../client-tls/destinations.ts";
import { captured } from "../membership/captured.ts";
import { readers } from "../membership/control-plane.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { namespaceOfService, selectsWorkload, type Service } from "../membership/services.ts";
import { isProxy, type Workload, workloadsOfNamespace } from "../membership/workloads.ts";
import { type ControlPlane, isReadBy } from "../objects/revision.ts";
import { formatLabels, selects } from "../objects/selectors.ts";
import { type Definition, serviceEntriesBesideService } from "../traffic/definition-choice.ts";
import { destinationRuleOf, destinationRulesFor } from "../traffic/destination-rule-lookup.ts";
import type { MergedDestinationRule } from "../traffic/destination-rule-merge.ts";
import { type DestinationRule, destinationRuleByHost } from "../traffic/destination-rules.ts";
import { coveringHosts, hostOfService } from "../traffic/hosts.ts";
import type { VirtualService } from "../traffic/virtual-services.ts";
import type { WaypointBinding } from "../waypoints/bindings.ts";
import { aliased, aliasReads } from "./aliases.ts";
import { isAlias, serviceOfAlias } from "../traffic/aliased-hosts.ts";
import { ClientScope, scopeReads } from "./client-scope.ts";
import { namespaceOfEntry, portOfDefinition, sentTo, type ServiceEntry, serviceEntryByHost } from "./definitions.ts";
import { chosenEntry } from "./entry-choice.ts";
import { endpointReads, endpointsOf, haveSidecars, machinesOfService } from "./entry-endpoints.ts";
import { ingressReads, isGatewayProxy, proxiesOf } from "./ingress.ts";
import type { RouteDestination, Source } from "./outcome.ts";
import type { GatewayProxy } from "./question.ts";
import { waypointHopReads, waypointsBehind } from "./waypoint-hops.ts";

/** A Service and every DestinationRule that can match its host. */
export const destinationRulesOfService = relation(
  "destinationRulesOfService",
  index("Service", (service, { domain }) => coveringHosts(hostOfService(service, domain))),
  destinationRuleByHost,
);

/** A ServiceEntry and every DestinationRule that can match a host for which it has a name. */
export const destinationRulesOfEntry = relation("destinationRulesOfEntry", serviceEntryByHost, destinationRuleByHost);

/** What `Destinations` reads. */
export const destinationReads = [
  destinationRulesOfService,
  destinationRulesOfEntry,
  serviceEntriesBesideService,
  namespaceOfService,
  namespaceOfEntry,
  captured,
  workloadsOfNamespace,
  readers,
  ...endpointReads,
  ...scopeReads,
  ...aliasReads,
  ...ingressReads,
  ...waypointHopReads,
] as const;
type View = MeshView<(typeof destinationReads)[number]>;

/** A destination with what is behind it. */
export interface Arrival {
  readonly destination: RouteDestination;
  /** Whether nothing is known of what is behind it, so that nothing can be said about requests to it. */
  readonly isUnknown: boolean;
  /** Undefined: requests reach nothing. */
  readonly backend: Backend | undefined;
  /** The TLS that a DestinationRule sets for this client. */
  readonly tls: ClientTlsChoice;
}

/** What is behind a port of a host. */
export interface Backend {
  /** What defines the host; undefined: the requests are for addresses of pods, or of something outside the mesh. */
  readonly object: Definition | undefined;
  readonly namespace: Namespace | undefined;
  readonly protocol: "http" | "tcp";
  /** With the number of their port. */
  readonly pods: readonly { readonly workload: Workload; readonly port: number }[];
  /** Set if there are endpoints outside the mesh, beside the pods. `encryption`: what the application itself does, if the port says it. */
  readonly outside?: { readonly encryption: "none" | "tls" | undefined };
  /** The proxies of gateways, which send requests on, with the number of their port. */
  readonly gateways?: readonly { readonly proxy: GatewayProxy; readonly port: number }[];
  /** Set if the client is a gateway that sends the requests to the waypoints of the host, each a share, and not to any of these. */
  readonly waypoints?: readonly WaypointBinding[];
}

/** What a route names. */
export interface Named {
  readonly host: string;
  readonly port: number;
  readonly subset: string | undefined;
  readonly share: number;
  /** What defines the host. */
  readonly objects: readonly Definition[];
  /** The name by which a ServiceEntry defines the host, if the client has chosen it: the host, or a wildcard. */
  readonly name?: string;
  /** Why the client has nothing for the host; undefined: it may have something. */
  readonly missing?: string;
  /** The VirtualService of the route. */
  readonly by?: VirtualService | undefined;
}

/** Requests to what is behind a host, or to the part of it with the labels of a subset. */
interface Sent<D extends Definition = Definition> {
  readonly of: RouteDestination;
  readonly object: D;
  readonly namespace: Namespace;
  readonly labels: Readonly<Record<string, string>>;
  readonly tls: ClientTlsChoice;
}

const noTls: ClientTlsChoice = { tls: "auto" };

/** The destinations of one client. */
export class Destinations {
  readonly scope: ClientScope;
  readonly #source: Source;
  readonly #mesh: View;
  readonly #rules = new Map<string, MergedDestinationRule | undefined>();
  #controlPlane: { readonly value: ControlPlane } | undefined;

  constructor(source: Source, isWaypoint: boolean, mesh: View) {
    this.scope = new ClientScope(source, isWaypoint, mesh);
    this.#source = source;
    this.#mesh = mesh;
  }

  arrivalAt(named: Named): Arrival {
    const service = named.objects.find((object) => object.kind === "Service");
    const entries = named.objects.filter((object) => object.kind === "ServiceEntry");
    if (named.missing !== undefined) return nowhere(this.#destinationOf(named, service), named.missing);
    if (service !== undefined) return this.#imported(this.#arrivalAtService(named, service), named);
    return entries.length === 0
      ? this.#withoutDefinition(named)
      : this.#imported(this.#arrivalAtEntry(named, entries), named);
  }

  /** An egress listener of a port imports for this port alone, so that what a route at it names may not be there. */
  #imported(arrival: Arrival, { name, by }: Named): Arrival {
    const definition = arrival.backend?.object;
    if (by === undefined || definition === undefined) return arrival;
    const { host, port } = arrival.destination;
    const withheld = this.scope.withholds({ host: name ?? host, port, definition }, by);
    if (withheld === undefined) return arrival;
    return withheld.isSure
      ? nowhere(arrival.destination, withheld.because)
      : unknown(arrival.destination, withheld.because);
  }

  /** What is sent to the address that the client looked up, which is outside the mesh as far as is known. */
  beyond(host: string, port: number): Arrival {
    const of = this.#destinationOf({ host, port, subset: undefined, share: 1, objects: [] }, undefined);
    const backend = { object: undefined, namespace: undefined, protocol: "tcp", pods: [], outside: unsaid } as const;
    return { destination: of, isUnknown: false, backend, tls: noTls };
  }

  #arrivalAtService(named: Named, service: Service): Arrival {
    const of = this.#destinationOf(named, service);
    const [namespace] = this.#mesh.related(namespaceOfService, service);
    if (isAlias(service)) return this.#throughAlias(named, service);
    const doubt = doubtAbout(service, this.#mesh.related(serviceEntriesBesideService, service));
    if (namespace === undefined || doubt !== undefined) return unknown(of, doubt ?? "its namespace is not known");
    const kept = this.scope.keeps(service);
    if (kept !== undefined) return nowhere(of, kept);
    return this.#arrivalAtPort({ of, object: service, namespace }, hostOfService(service, this.#mesh.settings.domain));
  }

  /**
   * A route to an alias leads to the host that it stands for, of one step, if the client knows the alias at the port (Istio
   * pilot/pkg/networking/core/route/route.go GetDestinationCluster).
   */
  #throughAlias(named: Named, alias: Service): Arrival {
    const { service, entries, host } = aliased(alias, this.#mesh);
    const [next] = this.#mesh.related(serviceOfAlias, alias);
    if (next !== undefined && isAlias(next))
      return nowhere(
        this.#destinationOf(named, alias),
        `${idOf(alias)} stands for another alias, which routes do not follow`,
      );
    const objects = service === undefined ? entries : [service];
    return this.arrivalAt({ ...named, host, objects, by: undefined });
  }

  /** What a route names is imported with the VirtualService. */
  #arrivalAtEntry(named: Named, entries: readonly ServiceEntry[]): Arrival {
    const { host, port, name } = named;
    const [first] = entries;
    const to = { host, port, entries };
    const { settings } = this.#mesh;
    const choice =
      name !== undefined && first !== undefined
        ? ({ kind: "defined", name, entry: first } as const)
        : chosenEntry(to, this.#source, (_, entry) => this.scope.keeps(entry), settings);
    if (choice.kind === "undecided") return unknown(this.#destinationOf(named, first), choice.because);
    if (choice.kind !== "defined") return nowhere(this.#destinationOf(named, first), choice.because);
    const of = this.#destinationOf(named, choice.entry);
    const [namespace] = this.#mesh.related(namespaceOfEntry, choice.entry);
    if (namespace === undefined) return unknown(of, "its namespace is not known");
    return this.#arrivalAtPort({ of, object: choice.entry, namespace }, choice.name);
  }

  /** `name`: by which the client has its configuration for the host. */
  #arrivalAtPort(sent: Pick<Sent, "of" | "object" | "namespace">, name: string): Arrival {
    const { object } = sent;
    const merged = this.#ruleFor(name, object);
    const of = { ...sent.of, rules: merged?.from ?? [] };
    if (portOfDefinition(object, of.port) === undefined) return nowhere(of, `${idOf(object)} has no port ${of.port}`);
    const subset = merged?.subsets.find((one) => one.name === of.subset);
    if (of.subset !== undefined && subset === undefined) return this.#withoutSubset(of, of.subset, merged);
    const tls = clientTlsOf(merged, of.port, subset, this.#source.isGateway);
    const next = { ...sent, of, labels: subset?.labels ?? {}, tls };
    return this.#behindWaypoint(next, name) ?? this.#behindPort(next, name);
  }

  #behindPort({ object, ...sent }: Sent, name: string): Arrival {
    return object.kind === "Service"
      ? this.#arrivalAtPods({ ...sent, object })
      : this.#arrivalAtEndpoints({ ...sent, object }, name);
  }

  /** Undefined: the client does not send requests for the host to a waypoint, or is not a gateway. */
  #behindWaypoint({ of, object, namespace, tls }: Sent, name: string): Arrival | undefined {
    if (!this.#source.isGateway) return undefined;
    const waypoints = waypointsBehind({ definition: object, namespace, name }, this.#mesh);
    if (waypoints.length === 0) return undefined;
    const backend = { object, namespace, protocol: sentTo(object, of.port), pods: [], waypoints };
    return { destination: of, isUnknown: false, backend, tls };
  }

  #arrivalAtEndpoints({ of, object, namespace, labels, tls }: Sent<ServiceEntry>, name: string): Arrival {
    const finding = { name, port: of.port, labels, isGateway: this.#source.isGateway };
    const found = endpointsOf(object, namespace, finding, this.#mesh);
    if (found.missing !== undefined)
      return found.isUnknown ? unknown(of, `${found.missing}, as far as is known`) : nowhere(of, found.missing);
    const { pods, hasOthers } = found;
    const declared = portOfDefinition(object, of.port);
    const encryption = declared?.isTls === true ? "tls" : declared?.protocol === "HTTP" ? "none" : undefined;
    return {
      destination: { ...of, workloads: pods.map(({ workload }) => workload) },
      isUnknown: false,
      backend: {
        object,
        namespace,
        protocol: sentTo(object, of.port),
        pods,
        ...(hasOthers ? { outside: { encryption } } : {}),
      },
      tls: this.#tlsTo(object, tls, haveSidecars(pods, namespace)),
    };
  }

  /**
   * There is no auto mTLS to what is outside the mesh. Where the client chooses the address, it is used if all endpoints support it
   * (Istio pilot/pkg/model/push_context.go BestEffortInferServiceMTLSMode, pilot/pkg/networking/core/cluster_tls.go).
   */
  #tlsTo({ spec }: ServiceEntry, tls: ClientTlsChoice, isAllInMesh: boolean): ClientTlsChoice {
    // A waypoint has no certificates of the mesh for connections that leave it (cluster_waypoint.go buildWaypointTLSContext).
    if (tls.tls === "mtls" && this.scope.isWaypoint) return { ...tls, tls: "plaintext" };
    if (tls.tls !== "auto" || this.#source.sender !== "proxy") return tls;
    if (spec.location !== "MESH_INTERNAL") return { ...tls, tls: "plaintext" };
    if ((spec.resolution || "NONE") !== "NONE" || this.#source.isGateway) return tls;
    return isAllInMesh ? tls : { ...tls, tls: "plaintext" };
  }

  #arrivalAtPods({ of, object: service, namespace, labels, tls }: Sent<Service>): Arrival {
    if (!this.#mesh.knows("Workload")) return unknown(of, "the workloads of the mesh are not known");
    const selected = this.#mesh.get(captured, namespace).workloads.selected({ ...service.spec.selector, ...labels });
    const all = contradicts(service.spec.selector, labels) ? [] : selected;
    const ports = portsOf(service);
    const gateways = this.#gatewaysBehind({ object: service, namespace, labels }, all);
    if (gateways.length > 0) return this.#arrivalAtGateways({ of, object: service, namespace, labels, tls }, gateways);
    const machines = machinesOfService(service, namespace, { port: of.port, labels }, this.#mesh);
    const ofPods = all.flatMap((workload) => {
      const number = ports.workloadPort(of.port, workload);
      return number === undefined ? [] : [{ workload, port: number }];
    });
    const pods = [...ofPods, ...machines.pods];
    if (pods.length === 0 && machines.hasOthers) return { ...this.beyond(of.host, of.port), destination: of };
    if (pods.length === 0) return this.#withoutPods({ of, object: service, namespace, labels, tls }, all.length > 0);
    const workloads = pods.map(({ workload }) => workload);
    return {
      destination: { ...of, workloads },
      isUnknown: false,
      backend: {
        ...{ object: service, namespace, protocol: sentTo(service, of.port), pods },
        ...(machines.hasOthers ? { outside: unsaid } : {}),
      },
      tls,
    };
  }

  /** Gateways that run only a proxy, whether they are known as such by an annotation or by their container. */
  #gatewaysBehind(
    { object, namespace, labels }: Pick<Sent<Service>, "object" | "namespace" | "labels">,
    selected: readonly Workload[],
  ): readonly Workload[] {
    const found =
      selected.length > 0
        ? selected
        : this.#proxiesOf(object, namespace).filter(({ pod }) => selects(labels, pod.labels));
    return found.every(isGatewayProxy) ? found : [];
  }

  #arrivalAtGateways({ of, object, namespace, tls }: Sent<Service>, workloads: readonly Workload[]): Arrival {
    const { workloadPort } = portsOf(object);
    const gateways = workloads.flatMap((workload) => {
      const port = workloadPort(of.port, workload);
      return port === undefined ? [] : proxiesOf([workload], [], this.#mesh).map((proxy) => ({ proxy, port }));
    });
    if (gateways.length === 0)
      return nowhere(of, `no container of its gateways names port ${JSON.stringify(targetOf(object, of.port))}`);
    const backend = { object, namespace, protocol: sentTo(object, of.port), pods: [], gateways };
    return { destination: { ...of, workloads }, isUnknown: false, backend, tls };
  }

  /** `hasSelected`: there are pods, without the port. */
  #withoutPods({ of, object: service, namespace, labels }: Sent<Service>, hasSelected: boolean): Arrival {
    if (this.#proxiesOf(service, namespace).length > 0)
      return unknown(of, "its pods are waypoints, whose own configuration decides about requests");
    const wanted = formatLabels({ ...service.spec.selector, ...labels });
    const missing = hasSelected
      ? `no container of its workloads names port ${JSON.stringify(targetOf(service, of.port))}`
      : `no workload in namespace ${namespace.metadata.name} has the labels ${wanted}`;
    return this.#mesh.knowsAll("Workload") ? nowhere(of, missing) : unknown(of, `${missing}, as far as is known`);
  }

  #proxiesOf(service: Service, namespace: Namespace): readonly Workload[] {
    const all = this.#mesh.related(workloadsOfNamespace, namespace);
    this.#mesh.visited(all.length);
    return all.filter((workload) => isProxy(workload) && selectsWorkload(service, workload));
  }

  #destinationOf({ host, port, subset, share }: Named, object: Definition | undefined): RouteDestination {
    return { host, port, subset, share, rules: [], object, workloads: [], because: undefined };
  }

  #withoutDefinition(named: Named): Arrival {
    const of = this.#destinationOf(named, undefined);
    const isComplete = this.#mesh.knowsAll("Service") && this.#mesh.knowsAll("ServiceEntry");
    const missing = `there is no Service and no ServiceEntry for host ${named.host}`;
    return isComplete ? nowhere(of, missing) : unknown(of, `${missing}, as far as is known`);
  }

  #withoutSubset(of: RouteDestination, subset: string, merged: MergedDestinationRule | undefined): Arrival {
    const known = merged?.subsets.map(({ name }) => name).join(", ");
    const because =
      merged === undefined
        ? `subset ${JSON.stringify(subset)} is not defined: no DestinationRule applies to these clients`
        : `subset ${JSON.stringify(subset)} is not defined: ${merged.from.map(idOf).join(", ")} has ${known || "no subsets"}`;
    return this.#mesh.knowsAll("DestinationRule")
      ? nowhere(of, because)
      : unknown(of, `${because}, as far as is known`);
  }

  /** The DestinationRules that the proxy of the client uses for a host, merged. */
  #ruleFor(name: string, object: Definition): MergedDestinationRule | undefined {
    if (this.#source.sender !== "proxy") return undefined;
    const key = `${object.metadata.namespace}/${name}`;
    if (!this.#rules.has(key)) this.#rules.set(key, this.#findRule(name, object));
    return this.#rules.get(key);
  }

  #findRule(name: string, object: Definition): MergedDestinationRule | undefined {
    const { settings } = this.#mesh;
    const controlPlane = this.controlPlane;
    const all =
      object.kind === "Service"
        ? this.#mesh.related(destinationRulesOfService, object)
        : this.#mesh.under(destinationRulesOfEntry, coveringHosts(name));
    const read = all.filter((rule: DestinationRule) => isReadBy(rule, controlPlane, settings));
    if (read.length === 0) return undefined;
    const { client } = this.scope;
    const destination = { host: name, namespace: object.metadata.namespace };
    return destinationRuleOf(this.#source.labels, client, destinationRulesFor(client, destination, read, settings));
  }

  /** Undefined: any of them may configure the client. */
  get controlPlane(): ControlPlane {
    this.#controlPlane ??= { value: this.#findControlPlane() };
    return this.#controlPlane.value;
  }

  #findControlPlane(): ControlPlane {
    const { namespace, labels, waypoint } = this.#source;
    const found = namespace && this.#mesh.get(readers, namespace);
    return waypoint === undefined ? found?.ofSidecar(labels) : found?.ofGateway(waypoint);
  }
}

/** Nothing is sent to a destination, whatever defines its host. */
export const noArrival = ({ host, port, subset, share }: Named, because: string): Arrival =>
  nowhere({ host, port, subset, share, rules: [], object: undefined, workloads: [], because: undefined }, because);

const nowhere = (of: RouteDestination, because: string): Arrival => ({
  destination: { ...of, because },
  isUnknown: false,
  backend: undefined,
  tls: noTls,
});
const unknown = (of: RouteDestination, because: string): Arrival => ({ ...nowhere(of, because), isUnknown: true });

const unsaid = { encryption: undefined } as const;
const targetOf = ({ spec }: Service, number: number): unknown =>
  spec.ports.find(({ port }) => port === number)?.targetPort;

/** Why the pods behind a Service are not known; undefined: they are. */
function doubtAbout(service: Service, entries: readonly ServiceEntry[]): string | undefined {
  const { type, selector } = service.spec;
  if (type === "ExternalName") return `${idOf(service)} is an alias without a name`;
  if (Object.keys(selector).length === 0)
    return `${idOf(service)} selects no pods, so that its endpoints are written by hand`;
  const [entry] = entries;
  return entry && `${idOf(entry)} defines the same host, and may add endpoints`;
}

/** Whether no pod can have the labels of both. */
const contradicts = (a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean =>
  Object.keys(b).some((key) => a[key] !== undefined && a[key] !== b[key]);
