import type { Path } from "../kube/read.ts";
import { tlsRefusalsOf } from "../mesh/gateways/gateway-validation.ts";
import { isAddress } from "../mesh/objects/ip-address.ts";
import { isDomain, isLabel, isWildcardDomain } from "../mesh/traffic/host-syntax.ts";
import { isPartialWildcard } from "../mesh/traffic/service-entry-hosts.ts";
import { quoted } from "../text/printable.ts";
import { refusedPool } from "./connection-pool.ts";
import {
  countOf,
  type Fields,
  fieldsOf,
  isSet,
  itemsOf,
  numberOf,
  type Refused,
  textOf,
  textsOf,
  type Written,
} from "./raw.ts";
import { protocolOf, refusedPort } from "./registry.ts";
import { refusedSelector } from "./selectors.ts";
import { isSocket, refusedSocketPath } from "./unix-sockets.ts";

/** Istio pkg/config/validation/validation.go ValidateSidecar. */
export function* refuseSidecar({ spec }: Written): Refused {
  yield* refusedSelector(fieldsOf(spec["workloadSelector"])["labels"], ["spec", "workloadSelector", "labels"]);
  const isEmpty = countOf(spec["egress"]) + countOf(spec["ingress"]) === 0;
  if (isEmpty && !isSet(spec["outboundTrafficPolicy"]) && !isSet(spec["inboundConnectionPool"]))
    yield { at: ["spec"], message: "A Sidecar needs egress, ingress, outboundTrafficPolicy or inboundConnectionPool" };
  yield* refusedEgress(spec);
  const ports = new Set<number>();
  for (const { fields, at } of itemsOf(spec["ingress"], ["spec", "ingress"])) {
    if (!isSet(fields["port"])) yield { at, message: "A listener for incoming requests needs a port" };
    const number = numberOf(fieldsOf(fields["port"])["number"]);
    if (ports.has(number)) yield { at: [...at, "port"], message: `Two listeners have port ${number}` };
    ports.add(number);
    if (isSet(fields["port"])) {
      yield* refusedSidecarPort(fieldsOf(fields["port"]), [...at, "port"]);
      yield* refusedBind(textOf(fields["bind"]), [...at, "bind"]);
    }
    if (isSet(fields["tls"])) yield* refusedTls(fieldsOf(fields["tls"]), fieldsOf(fields["port"]), [...at, "tls"]);
    yield* refusedEndpoint(textOf(fields["defaultEndpoint"]), [...at, "defaultEndpoint"]);
    yield* refusedPool(fields["connectionPool"], [...at, "connectionPool"]);
  }
  yield* refusedPool(spec["inboundConnectionPool"], ["spec", "inboundConnectionPool"]);
  yield* refusedOutbound(fieldsOf(spec["outboundTrafficPolicy"]), ["spec", "outboundTrafficPolicy"]);
}

/** validateSidecarOutboundTrafficPolicy. */
function* refusedOutbound(policy: Fields, at: Path): Refused {
  const mode = textOf(policy["mode"]);
  if (mode === "ALLOW_ANY_DYNAMIC_DNS")
    yield { at: [...at, "mode"], message: "ALLOW_ANY_DYNAMIC_DNS is a mode of the mesh config alone" };
  if (!isSet(policy["egressProxy"])) return;
  const place = [...at, "egressProxy"];
  // The mode that is not written is REGISTRY_ONLY for istiod.
  if (mode !== "ALLOW_ANY") {
    yield { at: place, message: "An egressProxy needs mode ALLOW_ANY" };
    return;
  }
  const proxy = fieldsOf(policy["egressProxy"]);
  const [host, subset] = [textOf(proxy["host"]), textOf(proxy["subset"])];
  if (!isDomain(host)) yield { at: [...place, "host"], message: `Host ${quoted(host)} is no DNS name` };
  if (subset !== "" && !isLabel(subset))
    yield { at: [...place, "subset"], message: `${quoted(subset)} is no name of a subset` };
  const number = numberOf(fieldsOf(proxy["port"])["number"]);
  if (number < 1 || number > 65_535) yield { at: place, message: "An egressProxy needs the number of a port" };
}

/** What listeners of Sidecars cannot have of the TLS settings of Gateways. */
const notInSidecars = ["subjectAltNames", "httpsRedirect", "credentialName", "credentialNames", "tlsCertificates"];

function* refusedTls(tls: Fields, port: Fields, at: Path): Refused {
  for (const field of notInSidecars)
    if (textOf(tls[field]) !== "" || tls[field] === true || countOf(tls[field]) > 0)
      yield { at: [...at, field], message: `A Sidecar cannot have ${field}` };
  const mode = textOf(tls["mode"]);
  if (mode === "ISTIO_MUTUAL" || mode === "AUTO_PASSTHROUGH")
    yield { at: [...at, "mode"], message: `A Sidecar cannot have the TLS mode ${mode}` };
  if (!["HTTPS", "TLS"].includes(protocolOf(port)))
    yield { at, message: "Only a port with protocol HTTPS or TLS has TLS settings" };
  const kept = ["mode", "serverCertificate", "privateKey", "caCertificates", "caCrl"].map((field) => [
    field,
    textOf(tls[field]) || undefined,
  ]);
  for (const refusal of tlsRefusalsOf({ ...Object.fromEntries(kept), credentialNames: [], tlsCertificates: [] }))
    yield { at: [...at, ...refusal.at], message: refusal.message };
}

function* refusedSidecarPort(port: Fields, at: Path): Refused {
  yield* refusedPort(port, at);
  if (numberOf(port["targetPort"]) > 0)
    yield { at: [...at, "targetPort"], message: "targetPort has no effect in a Sidecar" };
}

function* refusedEgress(spec: Fields): Refused {
  const listeners = itemsOf(spec["egress"], ["spec", "egress"]);
  const places = new Set<number | string>();
  for (const [i, { fields, at }] of listeners.entries()) {
    if (isSet(fields["port"])) yield* refusedListener(fields, places, at);
    else if (i < listeners.length - 1)
      yield { at, message: "Only the last listener can be without a port, for everything that the others do not have" };
    if (countOf(fields["hosts"]) === 0) yield { at, message: "A listener for outgoing requests needs hosts" };
    for (const { text, at: place } of textsOf(fields["hosts"], [...at, "hosts"])) {
      const message = hostProblem(text);
      if (message !== undefined) yield { at: place, message };
    }
  }
}

/** `places` are the ports and sockets of the listeners before it. With port number 0 a listener is at a Unix socket. */
function* refusedListener(listener: Fields, places: Set<number | string>, at: Path): Refused {
  const port = fieldsOf(listener["port"]);
  const [number, bind] = [numberOf(port["number"]), textOf(listener["bind"])];
  if (number > 0 && places.has(number)) yield { at: [...at, "port"], message: `Two listeners have port ${number}` };
  if (number === 0 && places.has(bind))
    yield { at: [...at, "bind"], message: `Two listeners have the socket ${quoted(bind)}` };
  places.add(number === 0 ? bind : number);
  yield* refusedSidecarPort(number === 0 ? { ...port, number: 1 } : port, [...at, "port"]);
  if (number === 0) yield* refusedSocket(listener, at);
  else yield* refusedBind(bind, [...at, "bind"]);
}

function* refusedBind(bind: string, at: Path): Refused {
  if (bind !== "" && !isAddress(bind))
    yield { at, message: `${quoted(bind)} is no IP address, which a listener with a port number is bound to` };
}

/** validateSidecarEgressPortBindAndCaptureMode. */
function* refusedSocket({ bind, captureMode }: Fields, at: Path): Refused {
  const address = textOf(bind);
  if (!isSocket(address))
    yield {
      at,
      message: "A listener with port number 0 is bound to a Unix socket, written as unix:///<file> or unix://@<name>",
    };
  else yield* refusedSocketPath(address, [...at, "bind"]);
  if (textOf(captureMode) === "IPTABLES")
    yield { at: [...at, "captureMode"], message: "A listener at a Unix socket has captureMode DEFAULT or NONE" };
}

/** agent/validation.go ValidateNamespaceSlashWildcardHostname. */
function hostProblem(text: string): string | undefined {
  const slash = text.indexOf("/");
  const shown = quoted(text);
  if (slash < 0) return `A host of a Sidecar is written as "namespace/host", and ${shown} has no namespace`;
  const [namespace, host] = [text.slice(0, slash).replace(/^~/, ""), text.slice(slash + 1)];
  if (slash === 0 || host === "") return `A host of a Sidecar is written as "namespace/host", not as ${shown}`;
  if (!["", "*", "."].includes(namespace) && !isLabel(namespace))
    return `Host ${shown} begins with no name of a namespace`;
  return host === "*" ? undefined : nameProblem(host, shown);
}

/** agent/validation.go validateSidecarOrGatewayHostnamePart. */
function nameProblem(host: string, shown: string): string | undefined {
  if (!host.includes(".")) return `Host ${shown} needs a full name, such as reviews.prod.svc.cluster.local`;
  return isWildcardDomain(host) && !isPartialWildcard(host)
    ? undefined
    : `Host ${shown} is no DNS name, and no wildcard that starts with "*."`;
}

const loopback: ReadonlySet<string> = new Set(["", "127.0.0.1", "0.0.0.0", "[::1]", "[::]"]);

function* refusedEndpoint(endpoint: string, at: Path): Refused {
  if (isSocket(endpoint)) yield* refusedSocketPath(endpoint, at);
  if (endpoint === "" || isSocket(endpoint)) return;
  const colon = endpoint.lastIndexOf(":");
  const port = Number(endpoint.slice(colon + 1));
  const isRight = colon >= 0 && loopback.has(endpoint.slice(0, colon)) && /^[0-9]+$/.test(endpoint.slice(colon + 1));
  if (!isRight || port < 1 || port > 65_535)
    yield {
      at,
      message: `${quoted(endpoint)} is no port of the workload, written as 127.0.0.1:<port>, [::1]:<port> or unix://<file>`,
    };
}
