import { isIP } from "node:net";
import type { Invalid } from "../kube/invalid.ts";
import type { AnyObject } from "../kube/object.ts";
import type { Path } from "../kube/read.ts";

import { durationMs } from "../mesh/traffic/durations.ts";
import { isDomain, isLabel, isWildcardDomain } from "../mesh/traffic/host-syntax.ts";
import { decodedMeshConfig, notUsed, placeOfMeshConfig } from "../schemas/mesh-config.ts";
import { nanosecondsOf } from "../text/go-durations.ts";
import { quoted } from "../text/printable.ts";
import { refusedPool } from "./connection-pool.ts";
import { refusedOutliers } from "./destination-rule.ts";
import { refusedDuration } from "./durations.ts";
import { refusedBalancing } from "./load-balancing.ts";
import { type Fields, fieldsOf, isSet, itemsOf, numberOf, type Refused, textOf, textsOf } from "./raw.ts";

/**
 * The object with what istiod refuses or ignores of its mesh config, if it has one; what the reader could not read is reported by it.
 * No webhook validates a mesh config: istiod goes on with the last one that it could use, and after a restart with its defaults
 * (Istio pkg/config/mesh/meshwatcher/collection.go NewCollection).
 */
export function withMeshConfigFaults<T extends AnyObject | undefined>(object: T, raw: unknown): T {
  if (object?.kind !== "MeshConfig") return object;
  const known = new Set(object.malformed?.map(({ at }) => at.join(".")));
  const invalid = refusedMeshConfig(raw).filter(({ at }) => !known.has(at.join(".")));
  return invalid.length === 0 ? object : { ...object, invalid };
}

/** What istiod refuses or ignores of the mesh config in a ConfigMap. A value that it does not decode is not validated further. Never throws. */
export function refusedMeshConfig(raw: unknown): readonly Invalid[] {
  const decoded = decodedMeshConfig(raw);
  if (decoded === undefined) return [];
  const { fields, faults } = decoded;
  if (faults.some(({ isIgnored }) => isIgnored !== true)) return faults;
  return [...faults, ...[...refused(fields, placeOfMeshConfig)].map((one) => ({ ...one, ...notUsed }))];
}

/** Istio pkg/config/validation/agent/validation.go ValidateMeshConfig. */
function* refused(mesh: Fields, at: Path): Refused {
  yield* refusedPort(mesh["proxyListenPort"], [...at, "proxyListenPort"]);
  yield* refusedDuration(mesh["connectTimeout"], [...at, "connectTimeout"]);
  if ((durationMs(textOf(mesh["connectTimeout"])) ?? 0) > hourMs)
    yield { at: [...at, "connectTimeout"], message: "The connectTimeout is an hour at most" };
  yield* refusedProxyConfig(fieldsOf(mesh["defaultConfig"]), [...at, "defaultConfig"]);
  for (const setting of ["localityLbSetting", "zoneAwareLbSetting"])
    yield* refusedBalancing({ [setting]: mesh[setting] }, at);
  for (const { fields, at: place } of itemsOf(mesh["serviceSettings"], [...at, "serviceSettings"]))
    for (const { text, at: host } of textsOf(fields["hosts"], [...place, "hosts"]))
      if (!isWildcardDomain(text)) yield { at: host, message: `${quoted(text)} is no host` };
  yield* refusedTrustDomains(mesh, at);
  const curves = itemsOf(fieldsOf(mesh["meshMTLS"])["ecdhCurves"], []);
  if (curves.length > 0)
    yield { at: [...at, "meshMTLS", "ecdhCurves"], message: "meshMTLS has no ecdhCurves: set them in tlsDefaults" };
  const policy = fieldsOf(mesh["defaultTrafficPolicy"]);
  yield* refusedPool(withoutKeepAlive(policy["connectionPool"]), [...at, "defaultTrafficPolicy", "connectionPool"]);
  yield* refusedOutliers(fieldsOf(policy["outlierDetection"]), [...at, "defaultTrafficPolicy", "outlierDetection"]);
}

const hourMs = 3_600_000;

/** http2KeepAlive is validated in DestinationRules only. */
function withoutKeepAlive(pool: unknown): unknown {
  if (!isSet(pool)) return pool;
  const { http, ...others } = fieldsOf(pool);
  const { http2KeepAlive: _validated, ...rest } = fieldsOf(http);
  return { ...others, ...(isSet(http) ? { http: rest } : {}) };
}

function* refusedTrustDomains(mesh: Fields, at: Path): Refused {
  const aliases = textsOf(mesh["trustDomainAliases"], [...at, "trustDomainAliases"]);
  const own = isSet(mesh["trustDomain"]) ? [{ text: textOf(mesh["trustDomain"]), at: [...at, "trustDomain"] }] : [];
  for (const { text, at: place } of [...own, ...aliases])
    if (!isTrustDomain(text)) yield { at: place, message: `${quoted(text)} is no trust domain, such as cluster.local` };
}

/** ValidateTrustDomain. */
function isTrustDomain(text: string): boolean {
  const labels = text.split(".");
  if (labels.length > 1 && labels.at(-1) === "") labels.pop();
  return labels.every(isLabel);
}

/** Addresses of ProxyConfigs that istiod refuses unless they have a host and a port. */
const addresses: readonly (readonly string[])[] = [
  ["discoveryAddress"],
  ["statsdUdpAddress"],
  ["envoyMetricsServiceAddress"],
  ["envoyMetricsService", "address"],
  ["envoyAccessLogService", "address"],
  ["tracing", "zipkin", "address"],
  ["tracing", "datadog", "address"],
];
/** Fields that may be absent and not empty, of which some are addresses. */
const neverEmpty: ReadonlySet<string> = new Set(["binaryPath", "configPath", "discoveryAddress"]);

/** ValidateMeshConfigProxyConfig. */
function* refusedProxyConfig(config: Fields, at: Path): Refused {
  for (const field of neverEmpty)
    if (config[field] === "") yield { at: [...at, field], message: `The ${field} cannot be empty` };
  for (const path of addresses) {
    const text = textOf(path.reduce<unknown>((from, step) => fieldsOf(from)[step], config));
    if (text !== "" && !isProxyAddress(text.replace("$(HOST_IP)", "127.0.0.1")))
      yield { at: [...at, ...path], message: `${quoted(text)} is no address, such as istiod.istio-system.svc:15012` };
  }
  for (const field of ["proxyAdminPort", "statusPort"]) yield* refusedPort(config[field], [...at, field]);
  if (config["controlPlaneAuthPolicy"] === "INHERIT")
    yield { at: [...at, "controlPlaneAuthPolicy"], message: "The controlPlaneAuthPolicy is NONE or MUTUAL_TLS" };
  yield* refusedKeyProvider(config["privateKeyProvider"], [...at, "privateKeyProvider"]);
  yield* refusedDrain(config["drainDuration"], [...at, "drainDuration"]);
}

/** ValidateDrainDuration. */
function* refusedDrain(value: unknown, at: Path): Refused {
  yield* refusedDuration(value, at);
  if ((nanosecondsOf(textOf(value)) ?? 0n) % 1_000_000_000n !== 0n)
    yield { at, message: "The drainDuration has whole seconds" };
}

/** validatePrivateKeyProvider. */
function* refusedKeyProvider(provider: unknown, at: Path): Refused {
  if (!isSet(provider)) return;
  const [name] = ["cryptomb", "qat"].filter((one) => isSet(fieldsOf(provider)[one]));
  const delay = name === undefined ? undefined : fieldsOf(fieldsOf(provider)[name])["pollDelay"];
  if (name === undefined) yield { at, message: "A privateKeyProvider needs cryptomb or qat" };
  else if ((nanosecondsOf(textOf(delay)) ?? 0n) === 0n)
    yield { at: [...at, name], message: `${name} needs a pollDelay above 0` };
}

function* refusedPort(value: unknown, at: Path): Refused {
  if (isSet(value) && (numberOf(value) < 1 || numberOf(value) > 65_535))
    yield { at, message: "A port is a number from 1 to 65535" };
}

/** ValidateProxyAddress. */
function isProxyAddress(text: string): boolean {
  const [, bracketed, plain, port] = /^(?:\[([^\]]*)\]|([^:]*)):(\d+)$/.exec(text) ?? [];
  const host = bracketed ?? plain ?? "";
  return Number(port) >= 1 && Number(port) <= 65_535 && (isDomain(host) || isIP(host) > 0);
}
