import type { Service } from "./services.ts";

export type ServicePort = Service["spec"]["ports"][number];

/** How proxies treat the connections of a port: as HTTP, as bytes, or as what they turn out to be. */
export type DeclaredProtocol = "HTTP" | "TCP" | "undeclared";

const http: ReadonlySet<string> = new Set([
  "http",
  "http2",
  "http_proxy",
  "grpc",
  "kubernetes.io/h2c",
  "kubernetes.io/ws",
]);
const tcp: ReadonlySet<string> = new Set([
  "tcp",
  "udp",
  "tls",
  "https",
  "mongo",
  "redis",
  "mysql",
  "kubernetes.io/wss",
]);
/** SMTP, DNS, MySQL and MongoDB are TCP if nothing else is declared (Istio pkg/config/kube/conversion.go wellKnownPorts). */
const wellKnown: ReadonlySet<number> = new Set([25, 53, 3306, 27017]);

/**
 * The protocol of a Service's port by its appProtocol, else by the start of its name (Istio pkg/config/kube/conversion.go
 * ConvertProtocol). HTTPS and TLS are bytes for a sidecar.
 */
export function declaredProtocol({ port, name, protocol, appProtocol }: ServicePort): DeclaredProtocol {
  if (protocol === "UDP") return "TCP";
  const said = appProtocol ?? name ?? "";
  const known = /^grpc-web/i.test(said) ? "HTTP" : (protocolNamed(said) ?? protocolNamed(prefixOf(said)));
  return known ?? (wellKnown.has(port ?? 0) ? "TCP" : "undeclared");
}

/** Whether clients route the connections of a port by the name that TLS asks for (Istio pkg/config/protocol/instance.go IsTLS). */
export function isTlsPort({ name, appProtocol }: ServicePort): boolean {
  const said = appProtocol ?? name ?? "";
  return [said, prefixOf(said)].some((one) => one === "https" || one === "tls" || one === "kubernetes.io/wss");
}

/** The protocol of a listener in a Sidecar or of a port of a ServiceEntry (Istio pkg/config/protocol/instance.go Parse). */
export function parsedProtocol(text: string): DeclaredProtocol {
  const said = text.toLowerCase();
  return said === "grpc-web" ? "HTTP" : (protocolNamed(said) ?? "undeclared");
}

const prefixOf = (said: string): string => (said.split("-", 1)[0] ?? "").toLowerCase();

function protocolNamed(said: string): DeclaredProtocol | undefined {
  if (http.has(said)) return "HTTP";
  return tcp.has(said) ? "TCP" : undefined;
}
