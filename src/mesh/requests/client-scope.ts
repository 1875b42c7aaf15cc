import { idOf } from "../../kube/identity.ts";
import { type MeshView, setting } from "../../view/view.ts";
import { type Definition, isRoutedFrom, serviceVisibleTo } from "../traffic/definition-choice.ts";
import { includesNamespace } from "../traffic/export-to.ts";
import { isTrueText } from "../objects/parse-bool.ts";
import {
  definitionsOfEgressProxy,
  type EgressProxy,
  egressProxyOf,
  egressProxyReads,
} from "../traffic/egress-proxy.ts";
import { Egress, isRegistryOnly, type Sidecar, sidecarFor, sidecarsOfNamespace } from "../traffic/sidecar-egress.ts";
import type { VirtualService } from "../traffic/virtual-services.ts";
import { dnsCaptureOf } from "./clients-alike.ts";
import type { Source } from "./outcome.ts";

/** What `ClientScope` reads. */
export const scopeReads = [
  sidecarsOfNamespace,
  ...egressProxyReads,
  setting("outboundTrafficPolicy"),
  setting("dnsCapture"),
] as const;
type View = MeshView<(typeof scopeReads)[number]>;

/** The `egressProxy` of the Sidecar of a client. */
interface ClientEgressProxy extends EgressProxy {
  readonly sidecar: Sidecar;
  /** What defines its host; undefined: that is not known. */
  readonly objects: readonly Definition[] | undefined;
}

/** Which hosts the proxy of a client knows, and what it does with requests to others. */
export class ClientScope {
  readonly isWaypoint: boolean;
  readonly #source: Source;
  readonly #mesh: View;
  #sidecar: { readonly value: Sidecar | undefined } | undefined;
  #egress: Egress | undefined;

  constructor(source: Source, isWaypoint: boolean, mesh: View) {
    this.#source = source;
    this.isWaypoint = isWaypoint;
    this.#mesh = mesh;
  }

  /** The namespace of the client; empty: one that no object names, or none. */
  get client(): string {
    return this.#source.namespace?.metadata.name ?? "";
  }

  /** What the Sidecar of the client imports; undefined: it has none, and imports everything. */
  get egress(): Egress | undefined {
    const sidecar = this.#sidecarOfClient();
    if (sidecar !== undefined) this.#egress ??= new Egress(sidecar, this.client);
    return this.#egress;
  }

  /** Whether something is exported to the client. Clients without a proxy look hosts up in DNS, and waypoints know more. */
  sees(definition: Definition): boolean {
    if (this.#source.sender !== "proxy" || this.isWaypoint) return true;
    return includesNamespace(serviceVisibleTo(definition, this.#mesh.settings), this.client);
  }

  /** Why something is not visible to the client; undefined: it is. */
  keeps(definition: Definition): string | undefined {
    return this.sees(definition) ? undefined : `${idOf(definition)} is not exported to the namespace of these clients`;
  }

  /**
   * Why a waypoint has no endpoints of what it sends requests to, although it has the cluster; undefined: it has them, or looks the
   * addresses up itself (Istio pilot/pkg/xds/endpoints/endpoint_builder.go NewEndpointBuilder, pilot/pkg/networking/core/cluster.go
   * convertResolution).
   */
  withoutEndpoints(definition: Definition): string | undefined {
    const { waypoint } = this.#source;
    if (!this.isWaypoint || waypoint === undefined) return undefined;
    if (definition.kind === "ServiceEntry" && definition.spec.resolution !== "STATIC") return undefined;
    const visible = serviceVisibleTo(definition, this.#mesh.settings);
    if (includesNamespace(visible, waypoint.metadata.namespace)) return undefined;
    return `${idOf(definition)} is not exported to the namespace of the waypoint, which has no endpoints of it`;
  }

  /** The same as `keeps` of something to which a VirtualService routes. */
  keepsRouted(definition: Definition): string | undefined {
    const isOfSidecar = !this.#source.isGateway && isRoutedFrom(this.client, definition, this.#mesh.settings);
    return isOfSidecar ? undefined : this.keeps(definition);
  }

  /** Why the proxy of the client does not know a host that is defined so, at a port or at all; undefined: it knows it. */
  hides(host: string, definition: Definition, port?: number): string | undefined {
    const kept = this.keeps(definition);
    if (kept !== undefined) return kept;
    const sidecar = this.#sidecarOfClient();
    const { namespace } = definition.metadata;
    if (sidecar === undefined || this.egress?.importsService(host, namespace, port) !== false) return undefined;
    const isOfOthers = port !== undefined && this.egress.importsService(host, namespace);
    return `${idOf(sidecar)} does not import ${isOfOthers ? `port ${port} of ` : ""}the host`;
  }

  /**
   * Why the proxy of the client does not have a port to which a VirtualService routes, which it uses at another port; undefined: it
   * has it. What a delegate routes to is taken to be there.
   */
  withholds(
    { host, port, definition }: { readonly host: string; readonly port: number; readonly definition: Definition },
    by: VirtualService,
  ): { readonly because: string; readonly isSure: boolean } | undefined {
    const [sidecar, { egress }] = [this.#sidecarOfClient(), this];
    if (sidecar === undefined || egress === undefined || by.spec.hosts.length === 0) return undefined;
    if (egress.importsService(host, definition.metadata.namespace, port)) return undefined;
    const isImported = egress.importsDestination(by, this.#mesh, port);
    if (isImported === true) return undefined;
    const because = `${idOf(sidecar)} imports port ${port} of ${host} neither itself nor with ${idOf(by)}`;
    if (isImported === false) return { because, isSure: true };
    return { because: `${because}, and whether it does with another VirtualService is not examined`, isSure: false };
  }

  /** Whether the proxy answers DNS queries of the client, as its pods say, or the mesh config for all of them. */
  get answersDns(): boolean {
    const [workload] = this.#source.workloads;
    return isTrueText((workload && dnsCaptureOf(workload)) ?? this.#mesh.settings.dnsCapture);
  }

  /** What refuses requests to hosts that the proxy does not know; undefined: they are passed on. */
  get refusing(): string | undefined {
    const sidecar = this.#sidecarOfClient();
    if (!isRegistryOnly(sidecar, this.#mesh.settings)) return undefined;
    return sidecar?.spec.outboundTrafficPolicy === undefined ? "the mesh config" : idOf(sidecar);
  }

  /** Where requests to hosts that the proxy does not know are sent; undefined: to their address, or they are refused. */
  get egressProxy(): ClientEgressProxy | undefined {
    const sidecar = this.#sidecarOfClient();
    const proxy = sidecar && egressProxyOf(sidecar);
    return proxy && { ...proxy, sidecar, objects: definitionsOfEgressProxy(sidecar, this.#mesh) };
  }

  /** Gateways and waypoints have none. A namespace that no object names may have none, but that of the root namespace counts there too. */
  #sidecarOfClient(): Sidecar | undefined {
    this.#sidecar ??= { value: this.#findSidecar() };
    return this.#sidecar.value;
  }

  #findSidecar(): Sidecar | undefined {
    const { namespace, labels, sender, isGateway } = this.#source;
    if (this.isWaypoint || isGateway || sender !== "proxy") return undefined;
    const own = namespace === undefined ? [] : this.#mesh.related(sidecarsOfNamespace, namespace);
    const ofRoot = this.#mesh.under(sidecarsOfNamespace, [this.#mesh.settings.rootNamespace]);
    return sidecarFor(own, ofRoot, labels);
  }
}
