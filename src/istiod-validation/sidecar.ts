import type { Path } from "../kube/read.ts";
import { isLabel, isWildcardDomain } from "../mesh/traffic/host-syntax.ts";
import { isPartialWildcard } from "../mesh/traffic/service-entry-hosts.ts";
import { quoted } from "../text/printable.ts";
import { isAddress } from "./addresses.ts";
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
      yield* refusedPort(fieldsOf(fields["port"]), [...at, "port"]);
      yield* refusedBind(textOf(fields["bind"]), [...at, "bind"]);
    }
    if (isSet(fields["tls"]) && !["HTTPS", "TLS"].includes(protocolOf(fieldsOf(fields["port"]))))
      yield { at: [...at, "tls"], message: "Only a port with protocol HTTPS or TLS has TLS settings" };
    yield* refusedEndpoint(textOf(fields["defaultEndpoint"]), [...at, "defaultEndpoint"]);
  }
}

function* refusedEgress(spec: Fields): Refused {
  const listeners = itemsOf(spec["egress"], ["spec", "egress"]);
  const ports = new Set<number>();
  for (const [i, { fields, at }] of listeners.entries()) {
    const isLast = i === listeners.length - 1;
    const number = numberOf(fieldsOf(fields["port"])["number"]);
    if (!isSet(fields["port"]) && !isLast)
      yield { at, message: "Only the last listener can be without a port, for everything that the others do not have" };
    if (number > 0 && ports.has(number)) yield { at: [...at, "port"], message: `Two listeners have port ${number}` };
    ports.add(number);
    if (isSet(fields["port"])) yield* refusedListener(fields, number, at);
    if (countOf(fields["hosts"]) === 0) yield { at, message: "A listener for outgoing requests needs hosts" };
    for (const { text, at: place } of textsOf(fields["hosts"], [...at, "hosts"])) {
      const message = hostProblem(text);
      if (message !== undefined) yield { at: place, message };
    }
  }
}

function* refusedListener(listener: Fields, number: number, at: Path): Refused {
  if (number === 0) yield* refusedSocket(listener, at);
  else {
    yield* refusedPort(fieldsOf(listener["port"]), [...at, "port"]);
    yield* refusedBind(textOf(listener["bind"]), [...at, "bind"]);
  }
}

function* refusedBind(bind: string, at: Path): Refused {
  if (bind !== "" && !isAddress(bind))
    yield { at, message: `${quoted(bind)} is no IP address, which a listener with a port number is bound to` };
}

/** validateSidecarEgressPortBindAndCaptureMode. */
function* refusedSocket({ bind, captureMode }: Fields, at: Path): Refused {
  const path = /^unix:\/\/(.*)$/.exec(textOf(bind))?.[1];
  if (path === undefined || !(path.startsWith("@") || (path.startsWith("/") && !path.endsWith("/"))))
    yield {
      at,
      message: "A listener with port number 0 is bound to a Unix socket, written as unix:///<file> or unix://@<name>",
    };
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
  if (endpoint === "" || endpoint.startsWith("unix://")) return;
  const colon = endpoint.lastIndexOf(":");
  const port = Number(endpoint.slice(colon + 1));
  const isRight = colon >= 0 && loopback.has(endpoint.slice(0, colon)) && /^[0-9]+$/.test(endpoint.slice(colon + 1));
  if (!isRight || port < 1 || port > 65_535)
    yield {
      at,
      message: `${quoted(endpoint)} is no port of the workload, written as 127.0.0.1:<port>, [::1]:<port> or unix://<file>`,
    };
}
