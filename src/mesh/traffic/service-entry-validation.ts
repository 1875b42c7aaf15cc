import type { ObjectOf } from "../../kube/object.ts";
import { blockOf } from "../objects/address-blocks.ts";
import { useWaypoint } from "../objects/labels.ts";
import { refuseExportTo } from "./export-to-validation.ts";
import { isDomain, isLabel } from "./host-syntax.ts";
import { isPort } from "./http-route-validation.ts";
import { type Refusal, Refusals } from "./refusals.ts";

type ServiceEntry = ObjectOf<"ServiceEntry">;
type Endpoint = ServiceEntry["spec"]["endpoints"][number];

/**
 * The errors that istiod's validation reports for a ServiceEntry, but those of its hosts, which refusedHosts has (Istio
 * pkg/config/validation/validation.go ValidateServiceEntry). Its warnings are not checked.
 */
export function serviceEntryRefusalsOf(entry: ServiceEntry): readonly Refusal[] {
  const refusals = new Refusals();
  const { metadata, spec } = entry;
  if (spec.workloadSelector !== undefined && spec.endpoints.length > 0)
    refusals.add("A ServiceEntry has either a workloadSelector or endpoints, not both", "endpoints");
  for (const [key, value] of Object.entries(spec.workloadSelector?.labels ?? {}))
    if (key === "" || key.includes("*") || value.includes("*"))
      refusals.add(`"${key}=${value}" is not a label; a selector has no wildcards`, "workloadSelector", "labels", key);
  refuseAddresses(entry, refusals);
  refusePorts(entry, refusals);
  refuseEndpoints(entry, refusals);
  if (spec.resolution === "DYNAMIC_DNS") refuseDynamic(entry, refusals);
  refuseExportTo(spec.exportTo, { namespace: metadata.namespace, mayBeNobody: true }, refusals);
  refusals.below(0, "spec");
  return refusals.all;
}

const resolutionOf = ({ spec }: ServiceEntry): string => spec.resolution || "NONE";

/** Istio pkg/config/validation/agent/validation.go ValidateIPSubnet. */
function refuseAddresses(entry: ServiceEntry, refusals: Refusals): void {
  const mayBeBlocks = ["NONE", "STATIC"].includes(resolutionOf(entry));
  for (const [i, address] of entry.spec.addresses.entries()) {
    if (!isBlock(address)) refusals.add(`"${address}" is neither an IP address nor a CIDR block`, "addresses", i);
    else if (address.includes("/") && !mayBeBlocks)
      refusals.add(
        `The block ${address} needs resolution NONE or STATIC, and this is ${resolutionOf(entry)}`,
        "addresses",
        i,
      );
  }
}

/** Istio pkg/config/protocol/instance.go Parse. */
const httpProtocols = ["http", "http2", "http_proxy", "grpc", "grpc-web"];
const tlsProtocols = ["https", "tls"];
const toldApart = new Set([...httpProtocols, ...tlsProtocols]);
const protocols = new Set([...httpProtocols, ...tlsProtocols, "tcp", "udp", "mongo", "redis", "mysql"]);
const dynamicProtocols = new Set(["http", "http2", "grpc", "tls"]);

function refusePorts(entry: ServiceEntry, refusals: Refusals): void {
  const known: KnownPorts = { names: new Set(), numbers: new Set() };
  const { count } = refusals;
  for (const [i, port] of entry.spec.ports.entries()) {
    const start = refusals.count;
    refusePort(port, known, refusals);
    refusals.below(start, "ports", i);
  }
  if (refusals.count === count && resolutionOf(entry) !== "NONE") refuseSeveralHosts(entry, refusals);
}

interface KnownPorts {
  readonly names: Set<string>;
  readonly numbers: Set<number>;
}
type Port = ServiceEntry["spec"]["ports"][number];

function refusePort(port: Port, { names, numbers }: KnownPorts, refusals: Refusals): void {
  const { number = 0, name = "" } = port;
  if (names.has(name)) refusals.add(`The port name "${name}" is used twice`, "name");
  else if (!isLabel(name)) refusals.add(`The port name "${name}" is not a DNS label`, "name");
  if (numbers.has(number)) refusals.add(`Port ${number} is listed twice`, "number");
  else if (!isPort(number)) refusals.add(`${number} is not a port number`, "number");
  names.add(name);
  numbers.add(number);
  refuseTarget(port, refusals);
}

function refuseTarget({ protocol = "", targetPort }: Port, refusals: Refusals): void {
  if (targetPort && !isPort(targetPort)) refusals.add(`${targetPort} is not a port number`, "targetPort");
  if (protocol !== "" && !protocols.has(protocol.toLowerCase()))
    refusals.add(`"${protocol}" is not a protocol that Istio knows`, "protocol");
}

function refuseSeveralHosts({ spec: { hosts, ports } }: ServiceEntry, refusals: Refusals): void {
  if (hosts.length < 2) return;
  const alone = ports.findIndex(({ protocol = "" }) => !toldApart.has(protocol.toLowerCase()));
  if (alone >= 0)
    refusals.add(
      `With several hosts, each port needs an HTTP or TLS protocol, because nothing else tells connections to "${ports[alone]?.protocol || "TCP"}" apart`,
      "ports",
      alone,
    );
}

function refuseEndpoints(entry: ServiceEntry, refusals: Refusals): void {
  const { endpoints, ports } = entry.spec;
  const resolution = resolutionOf(entry);
  const tooMany = refusedEndpoints[resolution];
  if (tooMany !== undefined && endpoints.length > tooMany.most) refusals.add(tooMany.message, "endpoints");
  if (!["STATIC", "DNS", "DNS_ROUND_ROBIN"].includes(resolution)) return;
  const refuseAddress = resolution === "STATIC" ? refuseStaticAddress : refuseDnsAddress;
  const names = new Set(ports.map(({ name }) => name ?? ""));
  for (const [i, endpoint] of endpoints.entries()) {
    const { count } = refusals;
    refuseAddress(endpoint, names, refusals);
    if (resolution !== "STATIC" || !isUnset(endpoint)) refuseEndpoint(endpoint, names, refusals);
    refusals.below(count, "endpoints", i);
  }
}

/** How many endpoints a resolution can have at most. */
const refusedEndpoints: Readonly<Record<string, { readonly most: number; readonly message: string }>> = {
  NONE: { most: 0, message: "Resolution NONE has no endpoints: requests go to the address that the client asked for" },
  DYNAMIC_DNS: { most: 0, message: "Resolution DYNAMIC_DNS has no endpoints: the host of the request is looked up" },
  DNS_ROUND_ROBIN: { most: 1, message: "Resolution DNS_ROUND_ROBIN has at most one endpoint" },
};

function refuseDnsAddress({ address = "" }: Endpoint, _names: ReadonlySet<string>, refusals: Refusals): void {
  if (!isAddress(address) && !isDomain(address))
    refusals.add(`"${address}" is neither an IP address nor a DNS name`, "address");
}

/** Go's net/netip reads no leading zeros. */
const isBlock = (text: string): boolean => blockOf(text) !== undefined && !/(?:^|\.)0\d|\/0\d/.test(text);
const isAddress = (address: string): boolean => !address.includes("/") && isBlock(address);
const isUnset = ({ address, network }: Endpoint): boolean => !address && !network;

/** Istio pkg/config/validation/validation.go validateWorkloadEntry, ValidateUnixAddress. */
function refuseStaticAddress(endpoint: Endpoint, names: ReadonlySet<string>, refusals: Refusals): void {
  const { address = "", ports } = endpoint;
  if (isUnset(endpoint)) refusals.add("An endpoint needs an address", "address");
  const isSocket = address.startsWith("unix://");
  if (!isSocket && address !== "" && !isAddress(address))
    refusals.add(`"${address}" is not an IP address, which resolution STATIC needs`, "address");
  if (!isSocket) return;
  const path = address.slice("unix://".length);
  if (!isSocketPath(path)) refusals.add(`"${path}" is not the absolute path of a socket`, "address");
  if (Object.keys(ports).length > 0) refusals.add(`The socket ${address} has no ports`, "ports");
  if (names.size !== 1) refusals.add(`The socket ${address} needs exactly one port of the ServiceEntry`, "address");
}

const isSocketPath = (path: string): boolean => path.startsWith("@") || (path.startsWith("/") && !path.endsWith("/"));

/** Istio pkg/config/labels/instance.go Validate. */
const labelKey =
  /^(?:[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?)*\/)?(?:[A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/;
const labelValue = /^(?:(?:[A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/;

function refuseEndpoint({ ports, labels }: Endpoint, names: ReadonlySet<string>, refusals: Refusals): void {
  for (const [name, port] of Object.entries(ports)) {
    if (!names.has(name)) refusals.add(`The ServiceEntry has no port with the name "${name}"`, "ports", name);
    else if (!isLabel(name)) refusals.add(`The port name "${name}" is not a DNS label`, "ports", name);
    if (!isPort(port)) refusals.add(`${port} is not a port number`, "ports", name);
  }
  for (const [key, value] of Object.entries(labels))
    if (!labelKey.test(key) || !labelValue.test(value)) refusals.add(`"${key}=${value}" is not a label`, "labels", key);
}

function refuseDynamic({ metadata, spec }: ServiceEntry, refusals: Refusals): void {
  if (spec.addresses.length > 0)
    refusals.add("Resolution DYNAMIC_DNS has no addresses: the host of the request is looked up", "addresses");
  for (const [i, { protocol = "" }] of spec.ports.entries())
    if (!dynamicProtocols.has(protocol.toLowerCase()))
      refusals.add(
        `Resolution DYNAMIC_DNS needs HTTP, HTTP2, GRPC or TLS, and port ${i} has "${protocol}"`,
        "ports",
        i,
        "protocol",
      );
  const waypoint = metadata.labels[useWaypoint] ?? "";
  if (spec.location === "MESH_INTERNAL" && waypoint !== "" && waypoint.toLowerCase() !== "none")
    refusals.add("Resolution DYNAMIC_DNS in the mesh (MESH_INTERNAL) does not work with a waypoint", "location");
}
