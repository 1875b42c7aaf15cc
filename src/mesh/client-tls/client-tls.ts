import type { Path } from "../../kube/read.ts";
import type { MergedDestinationRule } from "../traffic/destination-rule-merge.ts";
import type { DestinationRule } from "../traffic/destination-rules.ts";
import type { BackendTlsPolicy } from "../traffic/backend-tls-policies.ts";
import { policyThatSets } from "../traffic/policy-rules.ts";
import type { MtlsMode } from "../mtls/peer-authentications.ts";

/**
 * The TLS that a client's proxy uses for a port.
 * - `auto`: auto mTLS: mTLS if the server has a proxy, plaintext otherwise.
 * - `plaintext`: no TLS for any server.
 * - `tls`: TLS that the DestinationRule configures (SIMPLE, MUTUAL), which no proxy of the mesh terminates.
 * - `mtls`: mTLS with the mesh's certificates for any server.
 */
export type ClientTls = "auto" | "plaintext" | "tls" | "mtls";

/** Why the TLS setting of the DestinationRule has no effect. */
export type Lost = "no tls at this port" | "no workloadSelector";

/** The TLS that clients use, and the field of a DestinationRule that sets it. */
export interface ClientTlsChoice {
  readonly tls: ClientTls;
  /** The DestinationRule that sets it, of those that are merged for the client; undefined: none sets it. */
  readonly rule?: DestinationRule;
  /** The path in the DestinationRule: `["spec", "trafficPolicy", "tls"]`. */
  readonly at?: Path;
  readonly subset?: string | undefined;
  /** Set if the setting is for one port. */
  readonly port?: number | undefined;
  readonly lost?: Lost;
  /** The BackendTLSPolicy that sets it, or that sets what the rule makes ineffective. Without a rule, it alone decides. */
  readonly policy?: BackendTlsPolicy;
  /** The name that the setting asks for in TLS; undefined: it sets none. */
  readonly sni?: string;
  /** With `auto`: every server counts as one with a proxy that supports mTLS, whatever mode it has, or whether it has one. */
  readonly isSupportTaken?: true;
  /** Connections begin with a header of the PROXY protocol, in front of TLS, too. */
  readonly beginsWithProxyHeader?: true;
}

type TrafficPolicy = NonNullable<DestinationRule["spec"]["trafficPolicy"]>;
type Tls = NonNullable<TrafficPolicy["tls"]>;
type Subset = DestinationRule["spec"]["subsets"][number];

/** A traffic policy, and where its settings are from. */
interface Placed {
  readonly policy: TrafficPolicy | undefined;
  /** The rule, and the path in it, of the entry for a port at this position; undefined: of the policy. */
  placeOf(entry: number | undefined): { readonly rule: DestinationRule | undefined; readonly at: Path };
  readonly subset: string | undefined;
}
/** The effective tls block; `tls` undefined: there is none at this path. */
interface Said {
  readonly tls: Tls | undefined;
  readonly place: Omit<ClientTlsChoice, "tls" | "lost">;
}

const nobody: ClientTlsChoice = { tls: "auto" };

/**
 * The TLS that the sidecar of a client uses for a service port, optionally for a subset. The tls of the subset takes
 * precedence over that of the rule. An entry for the port replaces all other settings, so an entry without tls removes
 * it: the cluster is built without tls, but the endpoints still get the replaced setting (Istio
 * pilot/pkg/networking/util/util.go MergeSubsetTrafficPolicy, pilot/pkg/networking/core/cluster_tls.go
 * buildUpstreamTLSSettings, pilot/pkg/xds/endpoints/mtls_checker.go tlsModeForDestinationRule). `isGateway`: the client
 * may read credentials.
 */
export function clientTlsOf(
  merged: MergedDestinationRule | undefined,
  port: number,
  subset?: Subset,
  isGateway = false,
): ClientTlsChoice {
  if (merged === undefined) return nobody;
  const ofRule = placedRule(merged);
  const ofSubset = subset?.trafficPolicy === undefined ? undefined : placedSubset(merged, subset);
  const choice = withoutHeader({ ofRule, ofSubset }, port, merged.selector !== undefined || isGateway);
  const hasHeader = setsHeader(ofSubset, port) || setsHeader(ofRule, port);
  return hasHeader ? { ...choice, beginsWithProxyHeader: true } : choice;
}

/** An entry for the port has no such setting, and replaces that of its policy (Istio pilot/pkg/networking/util/util.go GetPortLevelTrafficPolicy). */
const setsHeader = (placed: Placed | undefined, port: number): boolean =>
  placed?.policy?.proxyProtocol !== undefined && entryOf(placed, port) < 0;

function withoutHeader(
  { ofRule, ofSubset }: { readonly ofRule: Placed; readonly ofSubset: Placed | undefined },
  port: number,
  mayReadCredentials: boolean,
): ClientTlsChoice {
  const { tls, place } = ofCluster(ofRule, ofSubset, port);
  if (tls !== undefined) return sentBy(tls, place, mayReadCredentials);
  const endpoint = (ofSubset && ofEndpoint(ofSubset, port)) ?? ofEndpoint(ofRule, port);
  return endpoint === undefined ? nobody : withoutCluster(sentBy(endpoint, place, true), place);
}

/**
 * The cluster has no TLS context that matches the endpoints' setting, so they get auto mTLS or plaintext. ISTIO_MUTUAL marks all endpoints
 * as such that support auto mTLS (mtls_checker.go checkMtlsEnabled).
 */
function withoutCluster(choice: ClientTlsChoice, place: Said["place"]): ClientTlsChoice {
  if (choice.tls === "auto") return choice;
  if (choice.tls === "mtls") return { ...choice, tls: "auto", isSupportTaken: true };
  return { ...place, ...choice, tls: "plaintext", lost: "no tls at this port" };
}

/** What a client that leaves it to auto mTLS sends, in words. */
export const sentByAuto = (isUsed: boolean): string =>
  isUsed ? "mTLS if the server supports it" : "plaintext, because auto mTLS is disabled";

/** What a client sends to servers for which it uses auto mTLS, or does not (disabledAutoMtls). */
export const withAutoMtls = (choice: ClientTlsChoice, isUsed: boolean): ClientTlsChoice =>
  isUsed && choice.isSupportTaken === true ? { ...choice, tls: "mtls" } : choice;

/** A block without a mode means DISABLE, the first value of the enum (Istio networking/v1alpha3 ClientTLSSettings). */
export const tlsModeOf = ({ mode }: Pick<Tls, "mode">): string => mode || "DISABLE";

/** The API server rejects unknown modes. */
function sentBy(said: Tls, placed: Said["place"], mayReadCredentials: boolean): ClientTlsChoice {
  const { mode, credentialName, sni } = said;
  const policy = policyThatSets(said);
  const { port } = placed;
  const place = policy === undefined ? placed : { policy, ...(port === undefined ? {} : { port }) };
  const tls = sentFor.get(tlsModeOf({ mode })) ?? "auto";
  const isKept = tls !== "tls" || mayReadCredentials || !isPrivileged(credentialName ?? "");
  return isKept
    ? { tls, ...place, ...(sni ? { sni } : {}) }
    : { tls: "plaintext", ...place, lost: "no workloadSelector" };
}

const sentFor: ReadonlyMap<string, ClientTls> = new Map([
  ["DISABLE", "plaintext"],
  ["ISTIO_MUTUAL", "mtls"],
  ["SIMPLE", "tls"],
  ["MUTUAL", "tls"],
]);

/** Every proxy may read a ConfigMap (cluster_tls.go buildUpstreamClusterTLSContext). */
const isPrivileged = (credentialName: string): boolean =>
  credentialName !== "" && !credentialName.startsWith("configmap://");

const placedRule = (merged: MergedDestinationRule): Placed => ({
  policy: merged.trafficPolicy,
  placeOf(i) {
    const { rule, entry } = merged.settingAt(i);
    return { rule, at: ["spec", "trafficPolicy", ...pathOf(entry)] };
  },
  subset: undefined,
});
const pathOf = (entry: number | undefined): Path => (entry === undefined ? [] : ["portLevelSettings", entry]);

function placedSubset(merged: MergedDestinationRule, subset: Subset): Placed {
  const { rule, i = 0 } = merged.placeOf(subset) ?? {};
  const at: Path = ["spec", "subsets", i, "trafficPolicy"];
  const placeOf = (entry: number | undefined) => ({ rule, at: [...at, ...pathOf(entry)] });
  return { policy: subset.trafficPolicy, placeOf, subset: subset.name };
}

/** The setting that the cluster is built from. */
function ofCluster(ofRule: Placed, ofSubset: Placed | undefined, port: number): Said {
  const wide = atPort(ofRule, port);
  if (ofSubset === undefined) return wide;
  const own = atPort(ofSubset, port);
  return own.tls !== undefined || own.place.port !== undefined ? own : wide;
}

function atPort(placed: Placed, port: number): Said {
  const i = entryOf(placed, port);
  return i < 0 ? everyPort(placed) : onePort(placed, i);
}

const entryOf = ({ policy }: Placed, port: number): number =>
  policy === undefined ? -1 : (entriesOf(policy).first.get(port) ?? -1);

interface PortEntries {
  /** By port: the position of the first entry, and the first tls setting. */
  readonly first: ReadonlyMap<number | undefined, number>;
  readonly withTls: ReadonlyMap<number | undefined, Tls>;
}
const portEntries = new WeakMap<TrafficPolicy, PortEntries>();

/** The result is stored, because it is used for each port of each service. */
function entriesOf(policy: TrafficPolicy): PortEntries {
  const known = portEntries.get(policy);
  if (known !== undefined) return known;
  const first = new Map<number | undefined, number>();
  const withTls = new Map<number | undefined, Tls>();
  for (const [i, { port, tls }] of policy.portLevelSettings.entries()) {
    if (!first.has(port?.number)) first.set(port?.number, i);
    if (tls !== undefined && !withTls.has(port?.number)) withTls.set(port?.number, tls);
  }
  portEntries.set(policy, { first, withTls });
  return { first, withTls };
}

/** The entry of a traffic policy for a port, of several the first. */
export const entryAt = (
  policy: TrafficPolicy | undefined,
  port: number,
): TrafficPolicy["portLevelSettings"][number] | undefined =>
  policy?.portLevelSettings[entriesOf(policy).first.get(port) ?? -1];

/** The ports for which a traffic policy has entries. */
export const portsApart = (policy: TrafficPolicy | undefined): ReadonlySet<number | undefined> =>
  new Set(policy === undefined ? [] : entriesOf(policy).first.keys());

function everyPort({ policy, placeOf, subset }: Placed): Said {
  const { rule, at } = placeOf(undefined);
  return { tls: policy?.tls, place: { ...(rule ? { rule } : {}), at: [...at, "tls"], subset } };
}

function onePort({ policy, placeOf, subset }: Placed, i: number): Said {
  const entry = policy?.portLevelSettings[i];
  const { rule, at } = placeOf(i);
  const here = [...at, ...(entry?.tls === undefined ? [] : ["tls"])];
  return { tls: entry?.tls, place: { ...(rule ? { rule } : {}), at: here, subset, port: entry?.port?.number } };
}

/** The setting for the endpoints: a port entry without tls does not hide the surrounding setting. */
const ofEndpoint = ({ policy }: Placed, port: number): Tls | undefined =>
  (policy && entriesOf(policy).withTls.get(port)) ?? policy?.tls;

/** Whether any field of the rule can make clients use something other than the mesh's mTLS. */
export function setsClientTls(rule: DestinationRule): boolean {
  let known = foreign.get(rule);
  if (known === undefined) foreign.set(rule, (known = setsForeignTls(rule)));
  return known;
}
const foreign = new WeakMap<DestinationRule, boolean>();

const setsForeignTls = ({ spec }: DestinationRule): boolean =>
  isForeignPolicy(spec.trafficPolicy) || spec.subsets.some(({ trafficPolicy }) => isForeignPolicy(trafficPolicy));
const isForeignPolicy = (policy: TrafficPolicy | undefined): boolean =>
  isForeign(policy?.tls) || policy?.portLevelSettings.some(({ tls }) => isForeign(tls)) === true;
const isForeign = (tls: Tls | undefined): boolean => tls !== undefined && tls.mode !== "ISTIO_MUTUAL";

/**
 * The result for the client's TLS and the mTLS mode of the server's proxy (`undefined`: the server has no proxy).
 * - `mtls`, `plaintext`: the connection works in this way.
 * - `passed on`: the client's TLS is passed through to the application, which must terminate it.
 * - `refused`: the proxy resets the connection.
 */
export type Fit = "mtls" | "plaintext" | "passed on" | "refused";

export function fitOf(client: ClientTls, server: MtlsMode | undefined, autoMtls = true): Fit {
  const takesMtls = server === "STRICT" || server === "PERMISSIVE";
  if (client === "mtls" || (client === "auto" && autoMtls && takesMtls)) return takesMtls ? "mtls" : "refused";
  if (server === "STRICT") return "refused";
  return client === "tls" ? "passed on" : "plaintext";
}
