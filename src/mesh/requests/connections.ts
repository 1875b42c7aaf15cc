import { fact, type MeshView, setting } from "../../view/view.ts";
import type { ClientTlsChoice } from "../client-tls/client-tls.ts";
import { type Place, places } from "../authorization/requests/matches.ts";
import { acceptsHbone, fitAt } from "../client-tls/requests.ts";
import type { Sender } from "../membership/clients.ts";
import { readers } from "../membership/control-plane.ts";
import { isNeverRedirected } from "../membership/interception.ts";
import type { InjectorSettings } from "../membership/injector-selectors.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { isProxy, type Workload } from "../membership/workloads.ts";
import { disabledBy, mtlsOf, type NamespaceMtls, peerAuthenticationsOfNamespace } from "../mtls/effective-mtls.ts";
import { mtlsOfWorkload, type PortMtls, weakestOf, type WorkloadMtls } from "../mtls/workload-mtls.ts";
import { idOf } from "../../kube/identity.ts";
import { unknownCapture } from "./enforcement.ts";
import type { TransportOutcome } from "./outcome.ts";
import { type ServerProtocols, serverProtocols } from "./server-protocols.ts";

/** What `Connections` reads. */
const connectionReads = [peerAuthenticationsOfNamespace, readers, serverProtocols, setting("autoMtls")] as const;

/** Who connects. `isWaypoint`: the waypoint of what the pods are behind, which sends to them by HBONE as ztunnel does. */
export interface Connecting {
  readonly sender: Sender;
  readonly isWaypoint: boolean;
}
/** The TLS that an application terminates is inside of HBONE. */
const connectingAs = ({ sender, isWaypoint }: Connecting, { tls }: ClientTlsChoice): Sender =>
  isWaypoint && tls !== "tls" ? "ztunnel" : sender;

/** The connections to the pods of one namespace. */
export class Connections {
  readonly #namespace: Namespace;
  readonly #settings: InjectorSettings;
  readonly #mtls: NamespaceMtls;
  readonly #autoMtls: boolean;
  readonly #protocols: ServerProtocols;
  readonly #servers = new Map<Workload, WorkloadMtls>();

  constructor(namespace: Namespace, mesh: MeshView<(typeof connectionReads)[number]>) {
    this.#namespace = namespace;
    this.#settings = mesh.settings;
    this.#mtls = mtlsOf(namespace, mesh);
    this.#autoMtls = mesh.settings.autoMtls;
    this.#protocols = mesh.get(serverProtocols, namespace);
  }

  /** Whether the port of a pod bypasses the mesh for a client. HBONE is no connection to this port. */
  isBypassed(workload: Workload, port: number, client: Connecting): boolean {
    return !this.#isTunnelled(workload, client) && this.#at(workload, port).passedBy !== undefined;
  }

  #isTunnelled(workload: Workload, client: Connecting): boolean {
    return acceptsHbone(this.serverOf(workload), client.isWaypoint ? "ztunnel" : client.sender);
  }

  #at(workload: Workload, port: number): PortMtls {
    const server = this.serverOf(workload);
    const at = server.at(port);
    const isCaptured = server.capture !== "sidecar" || !isNeverRedirected(workload.pod, port);
    if (isCaptured && at.passedBy === undefined) return at;
    if (this.#isBound(workload, port))
      return { ...at, passedBy: undefined, mode: weakestOf(at.byPlane.map((one) => one.mode)) };
    return { ...at, passedBy: at.passedBy ?? "the port itself", mode: undefined };
  }

  #isBound(workload: Workload, port: number): boolean {
    return this.serverOf(workload).capture === "sidecar" && this.#protocols.isBound(workload, port);
  }

  /**
   * Whether the proxy receives the connections to a port twice: what is redirected to it, it passes on to the port of the pod, where it
   * listens itself.
   */
  #isMetTwice(workload: Workload, port: number): boolean {
    if (!this.#isBound(workload, port) || isNeverRedirected(workload.pod, port)) return false;
    return this.serverOf(workload).at(port).passedBy === undefined;
  }

  /** The TLS of a connection from a client to a port of a pod. */
  to(workload: Workload, port: number, client: Connecting, choice: ClientTlsChoice): TransportOutcome {
    const server = this.serverOf(workload);
    const at = this.#at(workload, port);
    const sender = connectingAs(client, choice);
    const sent = this.#sentBy(sender, choice);
    const mode = at.passedBy === undefined ? weakestOf(at.byPlane.map((one) => one.mode)) : undefined;
    const of = { to: "workload", tls: sent.tls, mode, rule: sent.rule, waypoint: undefined } as const;
    if (isProxy(workload)) return { ...of, result: "undecided", because: "the Gateway of the proxy sets its TLS" };
    if (server.capture === "unknown") return { ...of, result: "undecided", because: unknownCapture(this.#namespace) };
    if (this.#isMetTwice(workload, port)) return { ...of, result: "undecided", because: metTwice };
    const header = this.#withHeader(workload, port, client.sender, choice);
    if (header !== undefined) return { ...of, ...header };
    const { fit } = fitAt({ sender, tls: sent.tls }, server, at, this.#autoMtls);
    if (fit !== "passed on") return { ...of, result: fit, because: fit === "refused" ? undefined : sent.because };
    if (at.passedBy === undefined && this.#isReadAsHttp(workload, port))
      return { ...of, result: "refused", because: "the sidecar reads this port as HTTP, and terminates only mTLS" };
    return { ...of, result: "undecided", because: "the application itself has to terminate the TLS of the client" };
  }

  /**
   * What becomes of a connection that begins with a header of the PROXY protocol, which stands before TLS (Istio
   * pilot/pkg/networking/core/cluster_traffic_policy.go applyUpstreamProxyProtocol). Listeners of gateways alone can read it
   * (listener.go buildGatewayListener): a sidecar takes the connection for plaintext that is no HTTP. Undefined: no proxy is there.
   */
  #withHeader(
    workload: Workload,
    port: number,
    sender: Sender,
    { beginsWithProxyHeader }: ClientTlsChoice,
  ): Pick<TransportOutcome, "result" | "because"> | undefined {
    if (sender !== "proxy" || beginsWithProxyHeader !== true) return undefined;
    const { capture } = this.serverOf(workload);
    const { passedBy, byPlane } = this.#at(workload, port);
    if (capture === "none" || passedBy !== undefined) return undefined;
    const isStrict = weakestOf(byPlane.map(({ mode }) => mode))?.mode === "STRICT";
    return this.#isReadAsHttp(workload, port) || (capture === "sidecar" && isStrict)
      ? { result: "refused", because: "begins with a PROXY header, which the sidecar of the server does not read" }
      : { result: "undecided", because: "the application itself has to read the PROXY header of the client" };
  }

  #isReadAsHttp(workload: Workload, port: number): boolean {
    return this.serverOf(workload).capture === "sidecar" && this.#protocols.at(workload, port) === "HTTP";
  }

  /**
   * How a proxy reads the requests of a connection. TLS that it passes on hides what it contains, and where nothing declares the
   * protocol, mTLS says what the client takes it for (Istio pilot/pkg/networking/core/filterchain_options.go).
   */
  protocolOf(
    workload: Workload,
    port: number,
    { result, tls }: TransportOutcome,
    sentAs: "http" | "tcp",
  ): "http" | "tcp" {
    if (result === "undecided" && tls === "tls") return "tcp";
    if (isProxy(workload)) return sentAs;
    const declared = this.#protocols.at(workload, port);
    if (declared === "undeclared") return result === "mtls" ? sentAs : "http";
    return declared === "TCP" ? "tcp" : "http";
  }

  /** How requests to a port of a pod can be read where policies are enforced. */
  placesAt(workload: Workload, port: number): readonly Place[] {
    const { capture } = this.serverOf(workload);
    if (capture === "unknown") return places;
    if (capture === "none") return [];
    if (capture === "ambient") return ["ztunnel"];
    const declared = this.#protocols.at(workload, port);
    if (declared === "undeclared") return ["http", "tcp"];
    return declared === "TCP" ? ["tcp"] : ["http"];
  }

  /** Whether proxies send no mTLS of their own to the pods of the namespace. */
  get isAutoMtlsDisabled(): boolean {
    return disabledBy(this.#mtls) !== undefined;
  }

  /** A client without a proxy sends plaintext, and one of ztunnel HBONE. */
  #sentBy(sender: Sender, { tls, rule }: ClientTlsChoice): Pick<TransportOutcome, "tls" | "rule" | "because"> {
    if (sender === "nothing") return { tls: "plaintext", rule: undefined, because: undefined };
    if (sender === "ztunnel") return { tls: "auto", rule: undefined, because: undefined };
    const disabled = tls === "auto" ? disabledBy(this.#mtls) : undefined;
    if (disabled === undefined) return { tls, rule, because: undefined };
    return {
      tls: "plaintext",
      rule: undefined,
      because: `${idOf(disabled)} sets mode DISABLE for the namespace, so that there is no auto mTLS`,
    };
  }

  /** The mTLS of a pod. */
  serverOf(workload: Workload): WorkloadMtls {
    let server = this.#servers.get(workload);
    if (server === undefined) {
      server = mtlsOfWorkload(workload, this.#namespace, this.#mtls, { settings: this.#settings });
      this.#servers.set(workload, server);
    }
    return server;
  }
}

const metTwice =
  "the Sidecar has the proxy listen at the port itself, though connections to it are redirected: the proxy meets each of them twice, the second time as plaintext of its own pod";

/** The connections to the pods of a namespace, which all requests to them share. */
export const connections = fact(
  "connections",
  "Namespace",
  connectionReads,
  (namespace, mesh) => new Connections(namespace, mesh),
);
