import { isAddress } from "../objects/ip-address.ts";
import { isLabel, isWildcardDomain } from "../traffic/host-syntax.ts";
import { isPort } from "../traffic/http-route-validation.ts";
import { type Refusal, Refusals } from "../traffic/refusals.ts";
import { type Gateway, hasKnownProtocol, isOverTls, isPlainHttp, passesThrough, type Server } from "./servers.ts";

/**
 * The errors that istiod's validation reports for a Gateway (Istio pkg/config/validation/validation.go ValidateGateway).
 * Its warnings are not checked.
 */
export function gatewayRefusalsOf({ metadata, spec }: Gateway): readonly Refusal[] {
  const refusals = new Refusals();
  const isFromGatewayApi = metadata.annotations["internal.istio.io/gateway-semantics"] === "gateway";
  if (!isLabel(metadata.name) && !isFromGatewayApi)
    refusals.add(`The name "${metadata.name}" is not a DNS label, so Istio rejects the Gateway`, "metadata", "name");
  if (spec.servers.length === 0) refusals.add("A Gateway needs at least one server", "spec");
  const names = new Set<string>();
  for (const [i, server] of spec.servers.entries()) {
    const { count } = refusals;
    refuseServer(server, isFromGatewayApi, refusals);
    refusePortName(server, names, refusals);
    refusals.below(count, "servers", i);
    refusals.below(count, "spec");
  }
  return refusals.all;
}

function refusePortName({ port }: Server, names: Set<string>, refusals: Refusals): void {
  if (port === undefined) return;
  const name = port.name ?? "";
  if (name !== "" && names.has(name))
    refusals.add(`The port name "${name}" is used twice; names must be unique in a Gateway`, "port", "name");
  names.add(name);
}

/** Istio pkg/config/validation/validation.go validateServer. */
function refuseServer(server: Server, isFromGatewayApi: boolean, refusals: Refusals): void {
  if (server.hosts.length === 0) refusals.add("A server needs at least one host");
  for (const [i, host] of server.hosts.entries()) {
    const wrong = faultOfHost(host, isFromGatewayApi);
    if (wrong !== undefined) refusals.add(`Host "${host}" ${wrong}`, "hosts", i);
  }
  refuseEveryHostBeforeOthers(server, refusals);
  const { count } = refusals;
  refusePort(server, refusals);
  const isPortValid = refusals.count === count;
  refuseBind(server, refusals);
  refuseTls(server, refusals);
  if (isPortValid) refuseTlsOfProtocol(server, refusals);
}

/**
 * istiod's validation accepts it, and istiod ends with an error when it reads the Gateway: `*` twice with a slash replaces the list of
 * hosts while the list is being read (Istio pilot/pkg/model/gateway.go sanitizeServerHostNamespace).
 */
function refuseEveryHostBeforeOthers({ hosts }: Server, refusals: Refusals): void {
  const every = hosts.indexOf("*/*");
  if (every < 0) return;
  const other = hosts.findIndex((host, i) => i > every && host !== "*/*" && /^[.*]\//.test(host));
  if (other >= 0) refusals.add(`istiod crashes: it cannot read host "${hosts[other]}" after "*/*"`, "hosts", other);
}

/** Istio pkg/config/validation/agent/validation.go ValidateNamespaceSlashWildcardHostname. */
function faultOfHost(text: string, isFromGatewayApi: boolean): string | undefined {
  const slash = text.indexOf("/");
  if (slash < 0) return faultOfName(text);
  const namespace = text.slice(0, slash);
  const host = text.slice(slash + 1);
  if (namespace === "" || host === "") return "needs a namespace before the slash and a name after it";
  const isNamespace = ["*", "."].includes(namespace) || (namespace === "~" && isFromGatewayApi) || isLabel(namespace);
  return isNamespace ? faultOfName(host) : `names "${namespace}", which is not a namespace name`;
}

/** Istio pkg/config/validation/agent/validation.go validateSidecarOrGatewayHostnamePart. */
function faultOfName(host: string): string | undefined {
  if (host === "*") return undefined;
  if (!host.includes(".")) return "is a short name; only full names are allowed";
  if (!isWildcardDomain(host) && !isAddress(host)) return "is neither a DNS name nor an IP address";
  return host.includes("*") && !host.startsWith("*.")
    ? "is a wildcard within a label; only `*.` at the start is allowed"
    : undefined;
}

const isSocket = ({ bind }: Server): boolean => bind?.startsWith("unix://") ?? false;

/** Istio pkg/config/validation/validation.go validateServerPort. */
function refusePort(server: Server, refusals: Refusals): void {
  const { port } = server;
  if (port === undefined) {
    refusals.add("A server needs a port");
    return;
  }
  if (!hasKnownProtocol(server))
    refusals.add(
      `"${port.protocol ?? ""}" is not a protocol of a Gateway: use HTTP, HTTPS, HTTP2, GRPC, GRPC-WEB, TLS, TCP, MONGO, MYSQL or REDIS`,
      ...pathOf(port, "protocol"),
    );
  refusePortNumber(server, port, refusals);
  if (!port.name) refusals.add("A port needs a name", "port");
}

type Port = NonNullable<Server["port"]>;

function refusePortNumber(server: Server, port: Port, refusals: Refusals): void {
  const { number = 0, targetPort = 0 } = port;
  const needsNumber = number > 0 || !isSocket(server);
  if (needsNumber && !isPort(number))
    refusals.add(`Port ${number} is not between 1 and 65535`, ...pathOf(port, "number"));
  if (targetPort > 0) refusals.add("A Gateway does not use targetPort", "port", "targetPort");
}

/** The path of a field, or of the port if it does not have the field. */
const pathOf = (port: Port, field: "number" | "protocol"): readonly string[] =>
  port[field] === undefined ? ["port"] : ["port", field];

/** Istio pkg/config/validation/validation.go validateServerBind. */
function refuseBind(server: Server, refusals: Refusals): void {
  const { bind, port } = server;
  if (!bind) return;
  if (isSocket(server)) {
    if (!/^unix:\/\/(?:@|\/.*[^/]$)/s.test(bind))
      refusals.add(`A Unix socket is written as unix:///<file> or unix://@<name>, not as "${bind}"`, "bind");
    if (port?.number) refusals.add("A Unix socket has no port: the port number must be 0", "port", "number");
  } else if (!isAddress(bind)) refusals.add(`"${bind}" is not an IP address`, "bind");
}

/** Istio pkg/config/validation/validation.go validateServer, after validateTLSOptions. */
function refuseTlsOfProtocol(server: Server, refusals: Refusals): void {
  const { tls } = server;
  const protocol = server.port?.protocol ?? "";
  if (tls === undefined) {
    if (isOverTls(server)) refusals.add(`A server for ${protocol} needs TLS settings`);
  } else if (isPlainHttp(server)) {
    if (!passesThrough(server) || hasOwnFiles(tls))
      refusals.add(`A server for plain ${protocol} cannot have TLS settings except httpsRedirect`, "tls");
  } else if (!isOverTls(server))
    refusals.add(`A server for ${protocol} cannot have TLS settings: only HTTPS and TLS can`, "tls");
}

type Tls = NonNullable<Server["tls"]>;
const hasOwnFiles = ({ caCertificates, privateKey, serverCertificate }: Tls): boolean =>
  Boolean(caCertificates) || Boolean(privateKey) || Boolean(serverCertificate);

/** The errors of istiod's validation for TLS settings that no Gateway has, as listeners of Sidecars have them; paths are below the settings. */
export function tlsRefusalsOf(tls: Tls): readonly Refusal[] {
  const refusals = new Refusals();
  refuseTlsOptions(tls, refusals);
  return refusals.all;
}

function refuseTls({ tls }: Server, refusals: Refusals): void {
  if (tls === undefined) return;
  const { count } = refusals;
  refuseTlsOptions(tls, refusals);
  refusals.below(count, "tls");
}

/** Istio pkg/config/validation/validation.go validateTLSOptions. */
function refuseTlsOptions(tls: Tls, refusals: Refusals): void {
  if (tls.mode === "ISTIO_MUTUAL") refuseCertificatesBesideIstio(tls, refusals);
  else refuseOwnCertificates(tls, refusals);
}

const ownCertificates = [
  "serverCertificate",
  "privateKey",
  "caCertificates",
  "tlsCertificates",
  "credentialName",
  "credentialNames",
] as const;

function refuseCertificatesBesideIstio(tls: Tls, refusals: Refusals): void {
  for (const field of ownCertificates)
    if ((tls[field]?.length ?? 0) > 0)
      refusals.add(`With ISTIO_MUTUAL, Istio issues the certificates: ${field} is not allowed`, field);
}

const terminating: ReadonlySet<string> = new Set(["SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL"]);

function refuseOwnCertificates(tls: Tls, refusals: Refusals): void {
  if (sourcesOf(tls) > 1)
    refusals.add(
      "The certificate has several sources: set only one of credentialName, credentialNames, serverCertificate with privateKey, and tlsCertificates",
    );
  const isTerminating = terminating.has(tls.mode ?? "");
  // istiod checks nothing else then.
  if (isTerminating && (tls.credentialName || tls.credentialNames.length > 0)) return;
  if (isTerminating) refuseFiles(tls, refusals);
  if (!tls.caCrl) return;
  if (tls.credentialName) refusals.add("caCrl is not allowed with credentialName", "caCrl");
  if (tls.mode === "SIMPLE") refusals.add("caCrl is not allowed with mode SIMPLE", "caCrl");
}

function sourcesOf({ serverCertificate, privateKey, credentialName, credentialNames, tlsCertificates }: Tls): number {
  const files = Boolean(serverCertificate) && Boolean(privateKey);
  return [files, Boolean(credentialName), credentialNames.length > 0, tlsCertificates.length > 0].filter(Boolean)
    .length;
}

function refuseFiles(tls: Tls, refusals: Refusals): void {
  if (tls.mode !== "SIMPLE" && !tls.caCertificates)
    refusals.add(`Mode ${tls.mode} needs caCertificates or credentialName`);
  for (const { serverCertificate, privateKey } of tls.tlsCertificates.length > 0 ? tls.tlsCertificates : [tls]) {
    if (!serverCertificate) refusals.add(`Mode ${tls.mode} needs a serverCertificate or credentialName`);
    if (!privateKey) refusals.add(`Mode ${tls.mode} needs a privateKey or credentialName`);
  }
}
