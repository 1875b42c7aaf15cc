import { idOf } from "../../kube/identity.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { index, type MeshView, relation } from "../../view/view.ts";
import { type ClientTlsChoice, clientTlsOf } from "../client-tls/client-tls.ts";
import { portsOf } from "../client-tls/destinations.ts";
import { captured } from "../membership/captured.ts";
import { readers } from "../membership/control-plane.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { declaredProtocol } from "../membership/service-protocol.ts";
import { namespaceOfService, selectsWorkload, type Service } from "../membership/services.ts";
import { isProxy, type Workload, workloadsOfNamespace } from "../membership/workloads.ts";
import { type ControlPlane, isReadBy } from "../objects/revision.ts";
import { formatLabels } from "../objects/selectors.ts";
import { serviceEntriesBesideService, serviceVisibleTo } from "../traffic/definition-choice.ts";
import { destinationRuleOf, destinationRulesFor } from "../traffic/destination-rule-lookup.ts";
import type { MergedDestinationRule } from "../traffic/destination-rule-merge.ts";
import { type DestinationRule, destinationRuleByHost } from "../traffic/destination-rules.ts";
import { includesNamespace } from "../traffic/export-to.ts";
import { coveringHosts, hostOfService } from "../traffic/hosts.ts";
import type { RouteDestination, Source } from "./outcome.ts";

type ServiceEntry = ObjectOf<"ServiceEntry">;

/** A Service and every DestinationRule that can match its host. */
export const destinationRulesOfService = relation(
  "destinationRulesOfService",
  index("Service", (service, { domain }) => coveringHosts(hostOfService(service, domain))),
  destinationRuleByHost,
);

/** What `Destinations` reads. */
export const destinationReads = [
  destinationRulesOfService,
  serviceEntriesBesideService,
  namespaceOfService,
  captured,
  workloadsOfNamespace,
  readers,
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

/** The pods of a port of a Service. */
export interface Backend {
  /** Undefined: the requests are for addresses of pods. */
  readonly service: Service | undefined;
  readonly namespace: Namespace;
  readonly protocol: "http" | "tcp";
  /** With the number of their port. */
  readonly pods: readonly { readonly workload: Workload; readonly port: number }[];
}

/** What a route names. */
export interface Named {
  readonly host: string;
  readonly port: number;
  readonly subset: string | undefined;
  readonly share: number;
  /** What defines the host. */
  readonly objects: readonly (Service | ServiceEntry)[];
}

/** Requests to the pods of a Service, or to those with the labels of a subset. */
interface Sent {
  readonly of: RouteDestination;
  readonly service: Service;
  readonly namespace: Namespace;
  readonly port: Service["spec"]["ports"][number];
  readonly labels: Readonly<Record<string, string>>;
  readonly tls: ClientTlsChoice;
}

const noTls: ClientTlsChoice = { tls: "auto" };

/** The destinations of one client. */
export class Destinations {
  readonly #source: Source;
  readonly #isWaypoint: boolean;
  readonly #mesh: View;
  readonly #rules = new Map<Service, MergedDestinationRule | undefined>();
  #controlPlane: { readonly value: ControlPlane } | undefined;

  constructor(source: Source, isWaypoint: boolean, mesh: View) {
    this.#source = source;
    this.#isWaypoint = isWaypoint;
    this.#mesh = mesh;
  }

  arrivalAt(named: Named): Arrival {
    const service = named.objects.find((object) => object.kind === "Service");
    if (service === undefined) return this.#withoutService(named);
    const merged = this.#source.sender === "proxy" ? this.#ruleFor(service) : undefined;
    const of = { ...this.#destinationOf(named, service), rules: merged?.from ?? [] };
    const [namespace] = this.#mesh.related(namespaceOfService, service);
    const doubt = doubtAbout(service, this.#mesh.related(serviceEntriesBesideService, service));
    if (namespace === undefined || doubt !== undefined) return unknown(of, doubt ?? "its namespace is not known");
    if (!this.sees(service)) return nowhere(of, `${idOf(service)} is not exported to the namespace of these clients`);
    return this.#arrivalAtPort({ of, service, namespace }, merged);
  }

  /** Whether the proxy of the client knows a Service. Clients without a proxy look it up in DNS, and waypoints know more. */
  sees(service: Service): boolean {
    const { sender, namespace } = this.#source;
    if (sender !== "proxy" || this.#isWaypoint) return true;
    return includesNamespace(serviceVisibleTo(service, this.#mesh.settings), namespace?.metadata.name ?? "");
  }

  #arrivalAtPort(sent: Pick<Sent, "of" | "service" | "namespace">, merged: MergedDestinationRule | undefined): Arrival {
    const { of, service } = sent;
    const port = service.spec.ports.find((one) => one.port === of.port);
    if (port === undefined) return nowhere(of, `${idOf(service)} has no port ${of.port}`);
    const subset = merged?.subsets.find(({ name }) => name === of.subset);
    if (of.subset !== undefined && subset === undefined) return this.#withoutSubset(of, of.subset, merged);
    const tls = merged === undefined ? noTls : clientTlsOf(merged, of.port, subset, this.#source.isGateway);
    return this.#arrivalAtPods({ ...sent, port, labels: subset?.labels ?? {}, tls });
  }

  #arrivalAtPods({ of, service, namespace, port, labels, tls }: Sent): Arrival {
    if (!this.#mesh.knows("Workload")) return unknown(of, "the workloads of the mesh are not known");
    const selected = this.#mesh.get(captured, namespace).workloads.selected({ ...service.spec.selector, ...labels });
    const all = contradicts(service.spec.selector, labels) ? [] : selected;
    const ports = portsOf(service);
    const pods = all.flatMap((workload) => {
      const number = ports.workloadPort(of.port, workload);
      return number === undefined ? [] : [{ workload, port: number }];
    });
    if (pods.length === 0 && this.#hasProxies(service, namespace))
      return unknown(of, "its pods are gateways, whose own configuration decides about requests");
    if (pods.length === 0) {
      const wanted = formatLabels({ ...service.spec.selector, ...labels });
      const missing =
        all.length === 0
          ? `no workload in namespace ${namespace.metadata.name} has the labels ${wanted}`
          : `no container of its workloads names port ${JSON.stringify(port.targetPort)}`;
      return this.#mesh.knowsAll("Workload") ? nowhere(of, missing) : unknown(of, `${missing}, as far as is known`);
    }
    const protocol = declaredProtocol(port) === "TCP" ? "tcp" : "http";
    const workloads = pods.map(({ workload }) => workload);
    return {
      destination: { ...of, workloads },
      isUnknown: false,
      backend: { service, namespace, protocol, pods },
      tls,
    };
  }

  #hasProxies(service: Service, namespace: Namespace): boolean {
    const all = this.#mesh.related(workloadsOfNamespace, namespace);
    this.#mesh.visited(all.length);
    return all.some((workload) => isProxy(workload) && selectsWorkload(service, workload));
  }

  #destinationOf({ host, port, subset, share }: Named, object: Service | ServiceEntry | undefined): RouteDestination {
    return { host, port, subset, share, rules: [], object, workloads: [], because: undefined };
  }

  #withoutService(named: Named): Arrival {
    const [entry] = named.objects;
    const of = this.#destinationOf(named, entry);
    if (entry !== undefined) return unknown(of, `${idOf(entry)} defines it, whose endpoints are not examined`);
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
  #ruleFor(service: Service): MergedDestinationRule | undefined {
    if (!this.#rules.has(service)) this.#rules.set(service, this.#findRule(service));
    return this.#rules.get(service);
  }

  #findRule(service: Service): MergedDestinationRule | undefined {
    const { settings } = this.#mesh;
    const client = this.#source.namespace?.metadata.name ?? "";
    const controlPlane = this.controlPlane;
    const read = this.#mesh
      .related(destinationRulesOfService, service)
      .filter((rule: DestinationRule) => isReadBy(rule, controlPlane, settings));
    if (read.length === 0) return undefined;
    const destination = { host: hostOfService(service, settings.domain), namespace: service.metadata.namespace };
    return destinationRuleOf(this.#source.labels, client, destinationRulesFor(client, destination, read, settings));
  }

  /** Undefined: any of them may configure the client. */
  get controlPlane(): ControlPlane {
    this.#controlPlane ??= { value: this.#findControlPlane() };
    return this.#controlPlane.value;
  }

  #findControlPlane(): ControlPlane {
    const { namespace, labels } = this.#source;
    return namespace && this.#mesh.get(readers, namespace).ofSidecar(labels);
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

/** Why the pods behind a Service are not known; undefined: they are. */
function doubtAbout(service: Service, entries: readonly ServiceEntry[]): string | undefined {
  const { type, selector } = service.spec;
  if (type === "ExternalName") return `${idOf(service)} is an alias for another name`;
  if (Object.keys(selector).length === 0)
    return `${idOf(service)} selects no pods, so that its endpoints are written by hand`;
  const [entry] = entries;
  return entry && `${idOf(entry)} defines the same host, and may add endpoints`;
}

/** Whether no pod can have the labels of both. */
const contradicts = (a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean =>
  Object.keys(b).some((key) => a[key] !== undefined && a[key] !== b[key]);
