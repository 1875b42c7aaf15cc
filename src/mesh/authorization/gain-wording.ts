import { idOf } from "../../kube/identity.ts";
import type { AuthorizationPolicy } from "./policies.ts";
import { formatAddress } from "./requests/addresses.ts";
import type { Attribute } from "./requests/attributes.ts";
import type { Request } from "./requests/boxes.ts";
import type { Gain } from "./requests/policy-change.ts";
import type { Place } from "./requests/matches.ts";
import { unheardOf } from "./requests/ordinary.ts";
import type { Ruled } from "./requests/policies.ts";

/** An example of what callers gain: `GET /x from namespace web would be allowed, by AuthorizationPolicy a/p rule 1`. */
export function formatGain({ request, by, place }: Gain): string {
  const reason = by === undefined ? "because no ALLOW policy applies" : `by ${formatRule(by)}`;
  return `${formatRequest(request, place === "http" && mayBeTcp(request) ? "tcp" : place)} would be allowed, ${reason}`;
}

/** A rule by its number, counted from 1. */
export const formatRule = ({ policy, index }: Ruled): string => `${idOf(policy)} rule ${index + 1}`;

/** The policies that an example depends on. */
export const policiesOfGain = ({ by, lost }: Gain): readonly AuthorizationPolicy[] =>
  [by?.policy, lost?.policy].filter((policy) => policy !== undefined);

/** A request in words. Attributes that may have any value are left out. */
export function formatRequest(request: Request, place: Place): string {
  const text = (attribute: Attribute): string | undefined => textsOf(request, attribute)?.[0];
  const what = place === "http" ? `${text("method") ?? "GET"} ${text("path") ?? "/"}` : "A connection";
  const parts = [what];
  const [host, port, sni] = [text("host"), text("port"), text("sni")];
  if (host !== undefined && place === "http") parts.push(`to host ${host}`);
  if (port !== undefined) parts.push(`to port ${port}`);
  const destination = request.get("destination.ip");
  if (typeof destination === "bigint") parts.push(`to ${formatAddress(destination)}`);
  if (sni) parts.push(`with SNI ${sni}`);
  pushLists(request, "header ", parts);
  parts.push(`from ${formatCaller(request)}`);
  pushLists(request, "claim ", parts);
  return parts.join(" ");
}

/** At a port that an example names, and where it says nothing of HTTP, a proxy allows connections, too, whatever the port declares. */
const mayBeTcp = (request: Request): boolean => request.has("port") && ![...request.keys()].some(isOfHttp);
const isOfHttp = (attribute: Attribute): boolean =>
  ["method", "path", "host", "token"].includes(attribute) || /^(?:header|claim) /.test(attribute);

const textsOf = (request: Request, attribute: Attribute): readonly string[] | undefined => {
  const value = request.get(attribute);
  return typeof value === "object" ? value : undefined;
};

/** The values of all headers or claims. A change of the whole mesh has tens of thousands of examples, most without any. */
function pushLists(request: Request, kind: "header " | "claim ", parts: string[]): void {
  for (const [attribute, value] of request)
    if (attribute.startsWith(kind) && typeof value === "object")
      for (const one of value) parts.push(`with ${attribute}: ${one || '""'}`);
}

function formatCaller(request: Request): string {
  const [issuer, subject] = textsOf(request, "token") ?? [];
  // Behind a gateway, the address of the peer is that of the gateway.
  const [peer, client] = (["source.ip", "remote.ip"] as const)
    .map((attribute) => request.get(attribute))
    .map((address) => (typeof address === "bigint" ? formatAddress(address) : undefined));
  const at = peer ?? client;
  const forClient = client === undefined || client === at ? "" : ` for a client at ${client}`;
  const address = at === undefined ? "" : ` at ${at}${forClient}`;
  const token = issuer === undefined ? "" : ` with a token ${issuer}/${subject}`;
  return formatIdentity(request) + address + token;
}

/** Examples call a namespace or a service account `other` if it may be any. */
function formatIdentity(request: Request): string {
  const [trustDomain, namespace, account] = textsOf(request, "identity") ?? [];
  if (trustDomain === undefined) return "callers without an identity";
  const foreign = trustDomain === "cluster.local" ? "" : ` of trust domain ${trustDomain}`;
  if (namespace === unheardOf) return `other workloads of the mesh${foreign}`;
  if (account !== "other") return `service account ${namespace}/${account}${foreign}`;
  return namespace === "other" ? `other workloads of the mesh${foreign}` : `namespace ${namespace}${foreign}`;
}
