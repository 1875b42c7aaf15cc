import type { Path } from "../../kube/read.ts";
import type { DestinationRule, MergedDestinationRule } from "../traffic/destination-rules.ts";
import type { MtlsMode } from "../mtls/peer-authentications.ts";

/**
 * What a client's proxy sends to a port.
 * - `auto`: mTLS where the other side has a proxy that takes it, plaintext elsewhere.
 * - `plaintext`: no TLS, whoever listens.
 * - `tls`: TLS of the client's own (SIMPLE, MUTUAL), which no proxy of the mesh ends.
 * - `mtls`: the mesh's certificates, whoever listens.
 */
export type ClientTls = "auto" | "plaintext" | "tls" | "mtls";

/** Why what is sent is not what the rule says. */
export type Lost = "no tls at this port" | "no workloadSelector";

/** What clients send, and the place in a DestinationRule that says so. */
export interface ClientTlsChoice {
  readonly tls: ClientTls;
  /** The rule that is merged into what clients use and says it; undefined: none does. */
  readonly rule?: DestinationRule;
  /** In the rule: `["spec", "trafficPolicy", "tls"]`. */
  readonly at?: Path;
  readonly subset?: string | undefined;
  /** Only where one port is told apart. */
  readonly port?: number | undefined;
  readonly lost?: Lost;
}

type TrafficPolicy = NonNullable<DestinationRule["spec"]["trafficPolicy"]>;
type Tls = NonNullable<TrafficPolicy["tls"]>;
type Subset = DestinationRule["spec"]["subsets"][number];

/** A traffic policy and where it stands. */
interface Placed {
  readonly policy: TrafficPolicy | undefined;
  readonly rule: DestinationRule | undefined;
  readonly at: Path;
  readonly subset: string | undefined;
}
/** A tls block that counts, `tls` undefined: the place has none. */
interface Said {
  readonly tls: Tls | undefined;
  readonly place: Omit<ClientTlsChoice, "tls" | "lost">;
}

const nobody: ClientTlsChoice = { tls: "auto" };

/**
 * What the sidecar of a client sends to a service port, with what it uses of a subset. The subset's tls goes before the
 * rule's; an entry for the port replaces all around it, so that one without tls loses it: the cluster is built as if
 * there were none, and yet each endpoint still gets what stood there (Istio pilot/pkg/networking/util/util.go
 * MergeSubsetTrafficPolicy, pilot/pkg/networking/core/cluster_tls.go buildUpstreamTLSSettings,
 * pilot/pkg/xds/endpoints/mtls_checker.go tlsModeForDestinationRule). `isGateway`: it may read credentials.
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
  const { tls, place } = ofCluster(ofRule, ofSubset, port);
  if (tls !== undefined) return sentBy(tls, place, merged.selector !== undefined || isGateway);
  const endpoint = (ofSubset && ofEndpoint(ofSubset, port)) ?? ofEndpoint(ofRule, port);
  return endpoint === undefined ? nobody : withoutCluster(sentBy(endpoint, place, true));
}

/** Nothing is set up for what the endpoints are told: they get what auto mTLS gives, or nothing at all. */
const withoutCluster = (choice: ClientTlsChoice): ClientTlsChoice =>
  choice.tls === "auto" || choice.tls === "mtls"
    ? { ...choice, tls: "auto" }
    : { ...choice, tls: "plaintext", lost: "no tls at this port" };

/** A block without a mode is DISABLE, the first of the enum (Istio networking/v1alpha3 ClientTLSSettings). */
export const tlsModeOf = ({ mode }: Pick<Tls, "mode">): string => mode || "DISABLE";

/** A mode that there is not is refused by the API server. */
function sentBy({ mode, credentialName }: Tls, place: Said["place"], mayReadCredentials: boolean): ClientTlsChoice {
  const tls = sentFor.get(tlsModeOf({ mode })) ?? "auto";
  const isKept = tls !== "tls" || mayReadCredentials || !isPrivileged(credentialName ?? "");
  return isKept ? { tls, ...place } : { tls: "plaintext", ...place, lost: "no workloadSelector" };
}

const sentFor: ReadonlyMap<string, ClientTls> = new Map([
  ["DISABLE", "plaintext"],
  ["ISTIO_MUTUAL", "mtls"],
  ["SIMPLE", "tls"],
  ["MUTUAL", "tls"],
]);

/** Everyone may read a ConfigMap (cluster_tls.go buildUpstreamClusterTLSContext). */
const isPrivileged = (credentialName: string): boolean =>
  credentialName !== "" && !credentialName.startsWith("configmap://");

/** The oldest of the merged rules that has a policy says it for all. */
function placedRule({ trafficPolicy, from }: MergedDestinationRule): Placed {
  const rule = from.find(({ spec }) => spec.trafficPolicy === trafficPolicy);
  return { policy: trafficPolicy, rule, at: ["spec", "trafficPolicy"], subset: undefined };
}

function placedSubset({ from }: MergedDestinationRule, subset: Subset): Placed {
  const rule = from.find(({ spec }) => spec.subsets.includes(subset));
  const i = rule?.spec.subsets.indexOf(subset) ?? 0;
  return { policy: subset.trafficPolicy, rule, at: ["spec", "subsets", i, "trafficPolicy"], subset: subset.name };
}

/** What the cluster is built from. */
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
  policy?.portLevelSettings.findIndex((entry) => entry.port?.number === port) ?? -1;

function everyPort({ policy, rule, at, subset }: Placed): Said {
  return { tls: policy?.tls, place: { ...(rule ? { rule } : {}), at: [...at, "tls"], subset } };
}

function onePort({ policy, rule, at, subset }: Placed, i: number): Said {
  const entry = policy?.portLevelSettings[i];
  const here = [...at, "portLevelSettings", i, ...(entry?.tls === undefined ? [] : ["tls"])];
  return { tls: entry?.tls, place: { ...(rule ? { rule } : {}), at: here, subset, port: entry?.port?.number } };
}

/** What the endpoints are told: an entry without tls does not hide what stands around it. */
const ofEndpoint = ({ policy }: Placed, port: number): Tls | undefined =>
  policy?.portLevelSettings.find((entry) => entry.port?.number === port && entry.tls !== undefined)?.tls ?? policy?.tls;

/** Whether a rule may make its clients send anything but the mesh's own mTLS, wherever in it. */
export function setsClientTls({ spec }: DestinationRule): boolean {
  const policies = [spec.trafficPolicy, ...spec.subsets.map(({ trafficPolicy }) => trafficPolicy)];
  return policies.some(
    (policy) => isForeign(policy?.tls) || policy?.portLevelSettings.some(({ tls }) => isForeign(tls)) === true,
  );
}
const isForeign = (tls: Tls | undefined): boolean => tls !== undefined && tls.mode !== "ISTIO_MUTUAL";

/**
 * What comes of what a client sends and what the server's proxy takes; `undefined`: it has no proxy.
 * - `mtls`, `plaintext`: it works, so.
 * - `passed on`: the client's own TLS goes through to the application; it works where that serves TLS.
 * - `refused`: the connection is reset.
 */
export type Fit = "mtls" | "plaintext" | "passed on" | "refused";

export function fitOf(client: ClientTls, server: MtlsMode | undefined, autoMtls = true): Fit {
  const takesMtls = server === "STRICT" || server === "PERMISSIVE";
  if (client === "mtls" || (client === "auto" && autoMtls && takesMtls)) return takesMtls ? "mtls" : "refused";
  if (server === "STRICT") return "refused";
  return client === "tls" ? "passed on" : "plaintext";
}
