import type { Service } from "./services.ts";

export type ServicePort = Service["spec"]["ports"][number];

/** How proxies treat the connections of a port: as HTTP, as bytes, or as what they turn out to be. */
export type DeclaredProtocol = "HTTP" | "TCP" | "undeclared";

const http: ReadonlySet<string> = new Set(["http", "http2", "http_proxy", "grpc", "grpc-web"]);
const tcp: ReadonlySet<string> = new Set(["tcp", "udp", "tls", "https", "mongo", "redis", "mysql"]);
/** What Kubernetes calls protocols in an appProtocol, and only there, word for word. */
const ofKubernetes: ReadonlyMap<string | undefined, string> = new Map([
  ["kubernetes.io/h2c", "http2"],
  ["kubernetes.io/ws", "http"],
  ["kubernetes.io/wss", "https"],
]);
/** SMTP, DNS, MySQL and MongoDB are TCP if nothing else is declared (Istio pkg/config/kube/conversion.go wellKnownPorts). */
const wellKnown: ReadonlySet<number> = new Set([25, 53, 3306, 27017]);

/**
 * The protocol of a Service's port by its appProtocol, else by the start of its name (Istio pkg/config/kube/conversion.go
 * ConvertProtocol). HTTPS and TLS are bytes for a sidecar.
 */
export const declaredProtocol = (port: ServicePort): DeclaredProtocol =>
  protocolNamed(nameOfProtocol(port)) ?? (wellKnown.has(port.port ?? 0) ? "TCP" : "undeclared");

/** Whether clients route the connections of a port by the name that TLS asks for (Istio pkg/config/protocol/instance.go IsTLS). */
export const isTlsPort = (port: ServicePort): boolean => ["https", "tls"].includes(nameOfProtocol(port));

/** Whether proxies talk HTTP/2 to a port, whatever their clients do (Istio pkg/config/protocol/instance.go IsHTTP2). */
export const isHttp2Port = (port: ServicePort): boolean => isHttp2(nameOfProtocol(port));
export const isHttp2 = (protocol: string): boolean => ["http2", "grpc", "grpc-web"].includes(protocol.toLowerCase());

/** The protocol of a listener in a Sidecar or of a port of a ServiceEntry (Istio pkg/config/protocol/instance.go Parse). */
export const parsedProtocol = (text: string): DeclaredProtocol => protocolNamed(text.toLowerCase()) ?? "undeclared";

/** The port with a number as proxies look it up: they pass over those of UDP (Istio pilot/pkg/model/service.go GetByPort). */
export const portByNumber = ({ spec }: Service, number: number | undefined): ServicePort | undefined =>
  spec.ports.find(({ port, protocol }) => port === number && protocol !== "UDP");

/** In small letters; it need not be one that Istio knows. */
function nameOfProtocol({ name, protocol, appProtocol }: ServicePort): string {
  if (protocol === "UDP") return "udp";
  const said = (appProtocol ?? name ?? "").toLowerCase();
  if (said.startsWith("grpc-web")) return "grpc-web";
  return ofKubernetes.get(appProtocol) ?? said.split("-", 1)[0] ?? "";
}

function protocolNamed(name: string): DeclaredProtocol | undefined {
  if (http.has(name)) return "HTTP";
  return tcp.has(name) ? "TCP" : undefined;
}
