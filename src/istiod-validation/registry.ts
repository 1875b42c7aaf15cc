import type { Path } from "../kube/read.ts";
import { isAddress } from "../mesh/objects/ip-address.ts";
import { isDomain, isLabel } from "../mesh/traffic/host-syntax.ts";
import { quoted } from "../text/printable.ts";
import { isAddressOrBlock } from "./addresses.ts";
import { refusedLabels } from "./labels.ts";
import {
  countOf,
  entriesOf,
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
import { refusedExportTo, refusedSelector } from "./selectors.ts";
import { isSocket, refusedSocketPath } from "./unix-sockets.ts";

const protocols: ReadonlySet<string> = new Set([
  "",
  "TCP",
  "UDP",
  "GRPC",
  "GRPC-WEB",
  "HTTP",
  "HTTP_PROXY",
  "HTTP2",
  "HTTPS",
  "TLS",
  "MONGO",
  "REDIS",
  "MYSQL",
]);
export const protocolOf = (port: Fields): string => textOf(port["protocol"]).toUpperCase();
/** Protocols with hosts in their requests or handshakes. */
const withHosts: ReadonlySet<string> = new Set(["GRPC", "GRPC-WEB", "HTTP", "HTTP_PROXY", "HTTP2", "HTTPS", "TLS"]);

/** Istio pkg/config/validation/validation.go ValidateServiceEntry, without the hosts, for which there is a rule. */
export function* refuseServiceEntry({ spec, labels, namespace }: Written): Refused {
  const resolution = textOf(spec["resolution"]) || "NONE";
  yield* refusedSelector(fieldsOf(spec["workloadSelector"])["labels"], ["spec", "workloadSelector", "labels"]);
  if (isSet(spec["workloadSelector"]) && countOf(spec["endpoints"]) > 0)
    yield { at: ["spec", "endpoints"], message: "A ServiceEntry has a workloadSelector or endpoints, not both" };
  yield* refusedAddresses(spec, resolution);
  yield* refusedPorts(spec, resolution);
  if (resolution === "DYNAMIC_DNS" && textOf(spec["location"]) === "MESH_INTERNAL" && namesWaypoint(labels))
    yield {
      at: ["spec", "location"],
      message: "With resolution DYNAMIC_DNS and a waypoint, the location is MESH_EXTERNAL",
    };
  yield* refusedEndpoints(spec, resolution);
  if (resolution !== "NONE" && countOf(spec["hosts"]) > 1) yield* withoutHosts(spec);
  yield* refusedExportTo(spec, namespace, true);
}

/** Istio pkg/config/validation/validation.go usesWaypoint. */
function namesWaypoint(labels: Fields): boolean {
  const name = textOf(labels["istio.io/use-waypoint"]);
  return name !== "" && name.toLowerCase() !== "none";
}

function* refusedAddresses(spec: Fields, resolution: string): Refused {
  if (resolution === "DYNAMIC_DNS" && countOf(spec["addresses"]) > 0)
    yield { at: ["spec", "addresses"], message: "With resolution DYNAMIC_DNS there are no addresses" };
  for (const { text, at } of textsOf(spec["addresses"], ["spec", "addresses"])) {
    if (!isAddressOrBlock(text)) yield { at, message: `${quoted(text)} is no IP address and no CIDR block` };
    else if (text.includes("/") && resolution !== "NONE" && resolution !== "STATIC")
      yield { at, message: `A CIDR block needs resolution NONE or STATIC, not ${resolution}` };
  }
}

function* refusedPorts(spec: Fields, resolution: string): Refused {
  const names = new Set<string>();
  const numbers = new Set<number>();
  for (const { fields, at } of itemsOf(spec["ports"], ["spec", "ports"])) {
    const [name, number] = [textOf(fields["name"]), numberOf(fields["number"])];
    if (name === "") yield { at, message: "A port needs a name" };
    if (names.has(name)) yield { at: [...at, "name"], message: `Two ports have the name ${quoted(name)}` };
    if (numbers.has(number)) yield { at: [...at, "number"], message: `Two ports have the number ${number}` };
    names.add(name);
    numbers.add(number);
    yield* refusedPort(fields, at);
    if (resolution === "DYNAMIC_DNS" && !["HTTP", "TLS", "GRPC", "HTTP2"].includes(protocolOf(fields)))
      yield {
        at: [...at, "protocol"],
        message: "Resolution DYNAMIC_DNS is for ports with protocol HTTP, HTTP2, GRPC and TLS",
      };
  }
}

export function* refusedPort(port: Fields, at: Path): Refused {
  if (textOf(port["name"]) !== "" && !isLabel(textOf(port["name"])))
    yield { at: [...at, "name"], message: `${quoted(textOf(port["name"]))} is no name of a port` };
  if (!protocols.has(protocolOf(port)))
    yield { at: [...at, "protocol"], message: `${quoted(textOf(port["protocol"]))} is no protocol that Istio knows` };
  for (const field of isSet(port["targetPort"]) ? ["number", "targetPort"] : ["number"])
    if (!isPortNumber(port[field]) && !(field === "targetPort" && port[field] === 0))
      yield { at: [...at, field], message: "The number of a port is from 1 to 65535" };
}

const isPortNumber = (value: unknown): boolean => typeof value === "number" && value >= 1 && value <= 65_535;

function* refusedEndpoints(spec: Fields, resolution: string): Refused {
  const endpoints = itemsOf(spec["endpoints"], ["spec", "endpoints"]);
  const ports = new Set(itemsOf(spec["ports"], []).map(({ fields }) => textOf(fields["name"])));
  yield* refusedCount(endpoints.length, resolution);
  if (resolution !== "STATIC" && !resolution.startsWith("DNS")) return;
  for (const { fields, at } of endpoints) {
    yield* refusedEndpoint(fields, at, resolution !== "STATIC", resolution !== "STATIC");
    yield* refusedSocket(textOf(fields["address"]), [...at, "address"], { resolution, ports: ports.size });
    for (const { key, at: place } of entriesOf(fields["ports"], [...at, "ports"]))
      if (!ports.has(key)) yield { at: place, message: `The ServiceEntry has no port ${quoted(key)}` };
  }
}

function* refusedCount(count: number, resolution: string): Refused {
  const at = ["spec", "endpoints"];
  if (count > 0 && (resolution === "NONE" || resolution === "DYNAMIC_DNS"))
    yield { at, message: `With resolution ${resolution} there are no endpoints` };
  if (count > 1 && resolution === "DNS_ROUND_ROBIN")
    yield { at, message: "With resolution DNS_ROUND_ROBIN there is one endpoint at most" };
}

/** validateWorkloadEntry. */
function* refusedEndpoint(endpoint: Fields, at: Path, mayBeName: boolean, isForDns = false): Refused {
  const address = textOf(endpoint["address"]);
  if (address !== "") yield* refusedAddress(address, [...at, "address"], mayBeName);
  else if (textOf(endpoint["network"]) === "" || isForDns) yield { at, message: "An endpoint needs an address" };
  for (const { key, value, at: place } of entriesOf(endpoint["ports"], [...at, "ports"])) {
    if (isSocket(address)) yield { at: place, message: "An endpoint with a Unix socket has no ports" };
    if (!isLabel(key)) yield { at: place, message: `${quoted(key)} is no name of a port` };
    if (!isPortNumber(value)) yield { at: place, message: "The number of a port is from 1 to 65535" };
  }
  yield* refusedLabels(endpoint["labels"], [...at, "labels"]);
}

/** Only resolution STATIC has Unix sockets, each for the only port of the ServiceEntry. */
function* refusedSocket(
  address: string,
  at: Path,
  { resolution, ports }: { readonly resolution: string; readonly ports: number },
): Refused {
  if (!isSocket(address)) return;
  if (resolution !== "STATIC")
    yield { at, message: `${quoted(address)} is a Unix socket, which needs resolution STATIC` };
  else if (ports !== 1)
    yield { at, message: "An endpoint with a Unix socket needs a ServiceEntry with exactly one port" };
}

function* refusedAddress(address: string, at: Path, mayBeName: boolean): Refused {
  if (isSocket(address)) yield* refusedSocketPath(address, at);
  if (isSocket(address) || isAddress(address) || (mayBeName && isDomain(address))) return;
  const also = mayBeName ? " and no DNS name" : "; names need resolution DNS";
  yield { at, message: `${quoted(address)} is no IP address${also}` };
}

/** Connections to ports without hosts in their requests cannot be told apart. */
function* withoutHosts(spec: Fields): Refused {
  const port = itemsOf(spec["ports"], ["spec", "ports"]).find(({ fields }) => !withHosts.has(protocolOf(fields)));
  if (port !== undefined)
    yield {
      at: port.at,
      message: "A ServiceEntry with several hosts has only ports of HTTP and TLS, because others do not show the host",
    };
}

/** ValidateWorkloadEntry. */
export const refuseWorkloadEntry = ({ spec }: Written): Refused => refusedEndpoint(spec, ["spec"], true);
