import { type MeshView, setting } from "../../view/view.ts";
import { type ClientTlsChoice, withAutoMtls } from "../client-tls/client-tls.ts";
import { portsOf } from "../membership/target-ports.ts";
import { captured } from "../membership/captured.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { readers } from "../membership/control-plane.ts";
import { portByNumber } from "../membership/service-protocol.ts";
import { isHeadless, selectsWorkload, type Service } from "../membership/services.ts";
import { isProxy, type Workload, workloadsOfNamespace } from "../membership/workloads.ts";
import { disabledAutoMtls, peerAuthenticationsOfNamespace } from "../mtls/effective-mtls.ts";
import { formatLabels, selects } from "../objects/selectors.ts";
import type { Definition } from "../traffic/definition-choice.ts";
import { isLookedUpWhole } from "../traffic/service-entry-hosts.ts";
import { type Arrival, nowhere, outsideMesh, unknown, unsaid } from "./arrival.ts";
import { portOfDefinition, sentTo, type ServiceEntry } from "./definitions.ts";
import { endpointReads, endpointsOf, haveSidecars, machinesOfService } from "./entry-endpoints.ts";
import { ingressReads, isGatewayProxy, proxiesOf } from "./ingress.ts";
import type { RouteDestination, Source } from "./outcome.ts";
import { waypointHopReads, waypointsBefore, waypointsBehind } from "./waypoint-hops.ts";

/** What `BehindPort` reads. */
export const behindPortReads = [
  captured,
  workloadsOfNamespace,
  ...endpointReads,
  ...ingressReads,
  ...waypointHopReads,
  peerAuthenticationsOfNamespace,
  readers,
  setting("autoMtls"),
] as const;
type View = MeshView<(typeof behindPortReads)[number]>;

/** Requests to what is behind a host, or to the part of it with the labels of a subset. */
export interface Sent<D extends Definition = Definition> {
  readonly of: RouteDestination;
  readonly object: D;
  readonly namespace: Namespace;
  readonly labels: Readonly<Record<string, string>>;
  readonly tls: ClientTlsChoice;
}

/** What one client reaches behind a port of a host: pods, endpoints, gateways or waypoints. */
export class BehindPort {
  readonly #source: Source;
  readonly #isWaypoint: boolean;
  readonly #mesh: View;

  constructor(source: Source, isWaypoint: boolean, mesh: View) {
    this.#source = source;
    this.#isWaypoint = isWaypoint;
    this.#mesh = mesh;
  }

  /** `name`: by which the client has its configuration for the host. */
  arrivalAt(sent: Sent, name: string): Arrival {
    const { object, namespace } = sent;
    const tls = this.#isAutoMtlsTo(object) ? this.#withAutoMtls(sent.tls, namespace) : sent.tls;
    const next = { ...sent, tls };
    return this.#atWaypoint(next, name) ?? this.#behindPort(next, name);
  }

  /**
   * There is no auto mTLS to what is outside the mesh, and where the client chooses the address it depends on all endpoints (Istio
   * pilot/pkg/networking/core/cluster_tls.go buildUpstreamTLSSettings).
   */
  #isAutoMtlsTo(object: Definition): boolean {
    if (this.#isWaypoint) return false;
    if (object.kind === "Service") return !isHeadless(object);
    return object.spec.location === "MESH_INTERNAL" && !isByAddress(object);
  }

  #withAutoMtls(tls: ClientTlsChoice, namespace: Namespace): ClientTlsChoice {
    if (tls.isSupportTaken !== true || !this.#mesh.settings.autoMtls) return tls;
    return withAutoMtls(tls, disabledAutoMtls(namespace, this.#mesh) === undefined);
  }

  #behindPort({ object, ...sent }: Sent, name: string): Arrival {
    return object.kind === "Service"
      ? this.#arrivalAtPods({ ...sent, object })
      : this.#arrivalAtEndpoints({ ...sent, object }, name);
  }

  /** Undefined: the client does not send requests for the host to a waypoint, or is not a gateway. */
  #atWaypoint({ of, object, namespace, tls }: Sent, name: string): Arrival | undefined {
    if (!this.#source.isGateway) return undefined;
    const waypoints = waypointsBehind({ definition: object, namespace, name }, this.#mesh);
    if (waypoints.length === 0) return undefined;
    const backend = { object, namespace, protocol: sentTo(object, of.port), pods: [], waypoints };
    return { destination: of, isUnknown: false, backend, tls };
  }

  #arrivalAtEndpoints({ of, object, namespace, labels, tls }: Sent<ServiceEntry>, name: string): Arrival {
    if (this.#isLookedUpWhole(object, name))
      return unknown(of, `ztunnel has no waypoint for ${name}, and would ask DNS for this name itself`);
    const finding = { name, port: of.port, labels, isGateway: this.#source.isGateway, isProxy: this.#isProxy };
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
      tls: this.#tlsTo(object, tls, haveSidecars(pods, namespace, this.#mesh.settings)),
    };
  }

  /** Whether it is a wildcard with DYNAMIC_DNS that has an address, and no waypoint (mesh/traffic/service-entry-hosts.ts). */
  #isLookedUpWhole(entry: ServiceEntry, name: string): boolean {
    if (this.#source.sender !== "ztunnel" || !isLookedUpWhole(name, entry)) return false;
    return waypointsBefore(this.#source, { definition: entry, name }, this.#mesh).bindings.length === 0;
  }

  /**
   * There is no auto mTLS to what is outside the mesh. Where the client chooses the address, it is used if all endpoints support it
   * (Istio pilot/pkg/model/push_context.go BestEffortInferServiceMTLSMode, pilot/pkg/networking/core/cluster_tls.go).
   */
  #tlsTo({ spec }: ServiceEntry, tls: ClientTlsChoice, isAllInMesh: boolean): ClientTlsChoice {
    // A waypoint has no certificates of the mesh for connections that leave it (cluster_waypoint.go buildWaypointTLSContext).
    if (tls.tls === "mtls" && this.#isWaypoint) return { ...tls, tls: "plaintext" };
    if (tls.tls !== "auto" || this.#source.sender !== "proxy") return tls;
    if (spec.location !== "MESH_INTERNAL") return { ...tls, tls: "plaintext" };
    if (!isByAddress({ spec }) || this.#source.isGateway) return tls;
    return isAllInMesh ? tls : { ...tls, tls: "plaintext" };
  }

  #arrivalAtPods({ of, object: service, namespace, labels, tls }: Sent<Service>): Arrival {
    if (!this.#mesh.knows("Workload")) return unknown(of, "the workloads of the mesh are not known");
    // Most destinations name no subset. What is known of a selector is kept with it.
    const selector = Object.keys(labels).length === 0 ? service.spec.selector : { ...service.spec.selector, ...labels };
    const selected = this.#mesh.get(captured, namespace).workloads.selected(selector);
    const all = contradicts(service.spec.selector, labels) ? [] : selected;
    const ports = portsOf(service);
    const gateways = this.#gatewaysBehind({ object: service, namespace, labels }, all);
    if (gateways.length > 0) return this.#arrivalAtGateways({ of, object: service, namespace, labels, tls }, gateways);
    const machines = this.#machinesOf(service, namespace, { port: of.port, labels });
    const ofPods = all.flatMap((workload) => {
      const number = ports.workloadPort(of.port, workload);
      return number === undefined ? [] : [{ workload, port: number }];
    });
    const pods = [...ofPods, ...machines.pods];
    if (pods.length === 0 && machines.hasOthers) return outsideMesh(of);
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

  /**
   * Proxies send what is for a headless Service to the address that the client got from DNS, which has no machines (Istio
   * pilot/pkg/serviceregistry/kube/controller/controller.go collectWorkloadInstanceEndpoints).
   */
  #machinesOf(
    service: Service,
    namespace: Namespace,
    of: Pick<Parameters<typeof machinesOfService>[2], "port" | "labels">,
  ) {
    const isProxy = this.#isProxy;
    if (isHeadless(service) && isProxy) return { pods: [], hasOthers: false };
    return machinesOfService(service, namespace, { ...of, isProxy }, this.#mesh);
  }

  get #isProxy(): boolean {
    return this.#source.sender === "proxy";
  }

  #proxiesOf(service: Service, namespace: Namespace): readonly Workload[] {
    const all = this.#mesh.related(workloadsOfNamespace, namespace);
    this.#mesh.visited(all.length);
    return all.filter((workload) => isProxy(workload) && selectsWorkload(service, workload));
  }
}

const targetOf = (service: Service, number: number): unknown => portByNumber(service, number)?.targetPort;

/** Whether no pod can have the labels of both. */
const contradicts = (a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean =>
  Object.keys(b).some((key) => a[key] !== undefined && a[key] !== b[key]);

/** Whether the client chooses the address of the endpoint. */
const isByAddress = ({ spec }: Pick<ServiceEntry, "spec">): boolean => (spec.resolution || "NONE") === "NONE";
