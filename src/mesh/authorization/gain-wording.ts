import { idOf } from "../../kube/identity.ts";
import type { AuthorizationPolicy } from "./policies.ts";
import { formatAddress } from "./requests/addresses.ts";
import type { Attribute } from "./requests/attributes.ts";
import type { Request } from "./requests/boxes.ts";
import type { Gain } from "./requests/gains.ts";
import type { Place } from "./requests/matches.ts";
import { unheardOf } from "./requests/ordinary.ts";
import type { Ruled } from "./requests/policies.ts";

/** An example of what callers gain: `GET /x from namespace web would be allowed, by AuthorizationPolicy a/p rule 1`. */
export function formatGain({ request, by, place }: Gain): string {
  const reason = by === undefined ? "because no ALLOW policy applies" : `by ${formatRule(by)}`;
  return `${formatRequest(request, place)} would be allowed, ${reason}`;
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
  const [host, port, sni] = [text("host"), text("port"), text("sni")];
  const destination = request.get("destination.ip");
  return [
    what,
    host === undefined || place !== "http" ? "" : `to host ${host}`,
    port === undefined ? "" : `to port ${port}`,
    typeof destination === "bigint" ? `to ${formatAddress(destination)}` : "",
    sni === undefined || sni === "" ? "" : `with SNI ${sni}`,
    ...lists(request, "header"),
    `from ${formatCaller(request)}`,
    ...lists(request, "claim"),
  ]
    .filter((part) => part !== "")
    .join(" ");
}

const textsOf = (request: Request, attribute: Attribute): readonly string[] | undefined => {
  const value = request.get(attribute);
  return typeof value === "object" ? value : undefined;
};

const lists = (request: Request, kind: "header" | "claim"): readonly string[] =>
  [...request.keys()]
    .filter((attribute) => attribute.startsWith(`${kind} `))
    .flatMap((attribute) => (textsOf(request, attribute) ?? []).map((value) => `with ${attribute}: ${value || '""'}`));

function formatCaller(request: Request): string {
  const [issuer, subject] = textsOf(request, "token") ?? [];
  const addresses = (["source.ip", "remote.ip"] as const)
    .map((attribute) => request.get(attribute))
    .filter((address) => typeof address === "bigint")
    .map((address) => ` at ${formatAddress(address)}`);
  const token = issuer === undefined ? "" : ` with a token ${issuer}/${subject}`;
  return formatIdentity(request) + [...new Set(addresses)].join("") + token;
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
