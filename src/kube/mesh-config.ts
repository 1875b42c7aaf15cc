import { parseDocument, type Scalar, visit } from "yaml";
import { circuitBreaking } from "./circuit-breaking.ts";
import { resolvePlain } from "./plain-scalars.ts";
import {
  enumeration,
  fingerprint,
  flag,
  int32,
  list,
  type Malformed,
  map,
  member,
  name,
  optional,
  type Read,
  record,
  text,
  uint32,
} from "./read.ts";

/** istiod reads a number in quotes as one (golang/protobuf jsonpb/decode.go unmarshalSingularValue). */
const quoted =
  <T>(read: Read<T>): Read<T> =>
  (raw, malformed) =>
    read(typeof raw === "string" && /^-?\d+$/.test(raw) ? Number(raw) : raw, malformed);

/** What providers that are called have in common. */
const calledFields = { service: text, port: fingerprint };
/** What providers of CUSTOM policies have in common. */
const calledForChecks = {
  ...calledFields,
  statusOnError: text,
  failOpen: flag,
  includeRequestBodyInCheck: fingerprint,
};
const httpAuthorization = optional(
  record({
    ...calledForChecks,
    pathPrefix: text,
    headersToUpstreamOnAllow: list(name),
    headersToDownstreamOnAllow: list(name),
    headersToDownstreamOnDeny: list(name),
    includeRequestHeadersInCheck: list(name),
    includeHeadersInCheck: list(name),
  }),
);

/** An extension provider that is called: the field of each sort has the service. */
const calledProvider = optional(record(calledFields));

// istio.io/api mesh/v1alpha1 proxy.pb.go, config.pb.go
const interceptionMode = enumeration({ 0: "REDIRECT", 1: "TPROXY", 2: "NONE" });
const controlPlaneAuthPolicy = enumeration({ 0: "NONE", 1: "MUTUAL_TLS", 1000: "INHERIT" });
const clientCertDetails = enumeration({
  0: "UNDEFINED",
  1: "SANITIZE",
  2: "FORWARD_ONLY",
  3: "APPEND_FORWARD",
  4: "SANITIZE_SET",
  5: "ALWAYS_FORWARD_ONLY",
});
const normalization = enumeration({
  0: "DEFAULT",
  1: "NONE",
  2: "BASE",
  3: "MERGE_SLASHES",
  4: "DECODE_AND_MERGE_SLASHES",
});
const escapedSlashes = enumeration({
  0: "PATH_WITH_ESCAPED_SLASHES_UNSPECIFIED",
  1: "KEEP_UNCHANGED",
  2: "REJECT_REQUEST",
  3: "UNESCAPE_AND_REDIRECT",
  4: "UNESCAPE_AND_FORWARD",
});
const minProtocolVersion = enumeration({ 0: "TLS_AUTO", 1: "TLSV1_2", 2: "TLSV1_3" });
const ingressControllerMode = enumeration({ 0: "UNSPECIFIED", 1: "OFF", 2: "DEFAULT", 3: "STRICT" });
const outboundMode = enumeration({ 0: "REGISTRY_ONLY", 1: "ALLOW_ANY", 3: "ALLOW_ANY_DYNAMIC_DNS" });

/** The fields of a proxy config, which the mesh config and pods can contain. */
export const proxyConfigFields = {
  proxyMetadata: map(fingerprint),
  runtimeValues: map(fingerprint),
  interceptionMode,
  customConfigFile: text,
  proxyBootstrapTemplatePath: text,
  discoveryAddress: text,
  binaryPath: text,
  caCertificatesPem: fingerprint,
  controlPlaneAuthPolicy,
  gatewayTopology: optional(
    record({
      numTrustedProxies: fingerprint,
      forwardClientCertDetails: clientCertDetails,
      proxyProtocol: optional(record({})),
    }),
  ),
  proxyHeaders: optional(record({ forwardedClientCert: clientCertDetails })),
  connectionSettings: optional(record({ httpMergeSlashes: flag, httpPathWithEscapedSlashesAction: escapedSlashes })),
};

const h2UpgradePolicy = enumeration({ 0: "DO_NOT_UPGRADE", 1: "UPGRADE" });

/** The fields of a mesh config by their JSON names. */
export const meshConfig = record({
  rootNamespace: text,
  trustDomain: text,
  trustDomainAliases: list(name),
  enableAutoMtls: flag,
  defaultServiceExportTo: list(name),
  defaultVirtualServiceExportTo: list(name),
  defaultDestinationRuleExportTo: list(name),
  discoverySelectors: list(
    record({
      matchLabels: map(text),
      matchExpressions: list(record({ key: name, operator: name, values: list(name) })),
    }),
  ),
  pathNormalization: optional(record({ normalization })),
  meshMTLS: optional(record({ minProtocolVersion })),
  caCertificates: list(record({ pem: text, spiffeBundleUrl: text, trustDomains: list(name) })),
  extensionProviders: list(
    record({
      name,
      envoyExtAuthzHttp: httpAuthorization,
      envoyExtAuthzGrpc: optional(record(calledForChecks)),
      zipkin: calledProvider,
      datadog: calledProvider,
      skywalking: calledProvider,
      opentelemetry: optional(record({ ...calledFields, http: optional(record({})) })),
      envoyTcpAls: calledProvider,
      envoyHttpAls: calledProvider,
      envoyOtelAls: calledProvider,
      envoyFileAccessLog: optional(record({})),
      prometheus: optional(record({})),
    }),
  ),
  defaultProviders: optional(record({ accessLogging: list(name), metrics: list(name), tracing: list(name) })),
  accessLogFile: text,
  enableEnvoyAccessLogService: flag,
  ca: optional(record({ address: text })),
  configSources: list(record({ address: text })),
  outboundTrafficPolicy: optional(record({ mode: outboundMode })),
  h2UpgradePolicy,
  defaultHttpRetryPolicy: optional(record({ attempts: quoted(int32), perTryTimeout: text, retryOn: text })),
  localityLbSetting: optional(record({ enabled: flag, distribute: list(record({ from: text })) })),
  ingressControllerMode,
  ingressClass: text,
  ingressService: text,
  ingressSelector: text,
  defaultTrafficPolicy: optional(record(circuitBreaking(quoted(int32), quoted(uint32)))),
  defaultConfig: optional(record(proxyConfigFields)),
});
export type MeshConfigFields = ReturnType<typeof meshConfig>;

/** The fields of a mesh config that sets none. */
export const noMeshConfig: MeshConfigFields = meshConfig(undefined, []);

const meshNetworks = record({ networks: map(record({ endpoints: list(record({ fromRegistry: text })) })) });

/** A mesh config longer than this is not read: istiod's own are a few kilobytes. */
const maxBytes = 1 << 20;

/**
 * The mesh config inside the ConfigMap `istio`: YAML text under `data.mesh` (Istio pkg/config/mesh/mesh.go
 * ApplyMeshConfig).
 */
export const readMeshConfig: Read<{
  readonly mesh: MeshConfigFields;
  /** Whether `data.meshNetworks` names several networks or clusters (Istio pkg/config/mesh/mesh.go ParseMeshNetworks). */
  readonly joinsClusters: boolean;
}> = (raw, malformed) => {
  const data = member(member(raw, "data"), "mesh");
  const inner: Malformed[] = [];
  const mesh = meshConfig(typeof data === "string" ? parseFields(data, "mesh config", inner) : undefined, inner);
  for (const { at, expected, found } of inner) malformed.push({ at: ["data", "mesh", ...at], expected, found });
  if (data !== undefined && typeof data !== "string")
    malformed.push({ at: ["data", "mesh"], expected: "a string", found: typeof data });
  return { mesh, joinsClusters: namesSeveral(member(member(raw, "data"), "meshNetworks")) };
};

/** A text that istiod cannot read names none. */
function namesSeveral(data: unknown): boolean {
  if (typeof data !== "string" || data === "") return false;
  const parsed = parseYaml(data, "mesh networks", []);
  const networks = Object.values(meshNetworks(camelCased(parsed), []).networks);
  const clusters = new Set(networks.flatMap(({ endpoints }) => endpoints.map(({ fromRegistry }) => fromRegistry)));
  return networks.length > 1 || [...clusters].filter(Boolean).length > 1;
}

/**
 * Parses YAML or JSON inside of an object as Istio's library does (sigs.k8s.io/yaml YAMLToJSON): `no` is false, merge keys are read, the
 * first document counts, and of keys that stand twice the last one. A text that is none is reported and read as absent.
 */
export function parseYaml(yaml: string, what: string, malformed: Malformed[]): unknown {
  const wrong = (found: string) => malformed.push({ at: [], expected: `${what} as YAML`, found });
  if (yaml.length > maxBytes) {
    wrong(`${yaml.length} bytes`);
    return undefined;
  }
  try {
    const document = parseDocument(yaml, { merge: true, uniqueKeys: false });
    const error = document.errors.find(({ code }) => code !== "MULTIPLE_DOCS");
    if (error === undefined) {
      visit(document, { Scalar: (_key, node) => readAsInGo(node) });
      return document.toJS({ maxAliasCount: 100 }) as unknown;
    }
    wrong(textWith(error));
  } catch (error) {
    wrong(textWith(error));
  }
  return undefined;
}

function readAsInGo(node: Scalar): void {
  // The value of a merge key is a symbol.
  const isPlain = node.type === "PLAIN" && node.tag === undefined && typeof node.value !== "symbol";
  if (isPlain && node.source !== undefined) node.value = resolvePlain(node.source);
}

/** The message of a parser ends with a colon where the text of the line follows. */
function textWith(error: unknown): string {
  const [first = ""] = (error instanceof Error ? error.message : "").split("\n");
  return first === "" ? "a text with an error" : `a text with an error (${first.replace(/:$/, "")})`;
}

/** Parses the YAML of a configuration of Istio, whose fields then have their JSON names. */
export const parseFields = (yaml: string, what: string, malformed: Malformed[]): unknown =>
  camelCased(parseYaml(yaml, what, malformed));

/**
 * The fields of a mesh config or proxy config under their JSON names. istiod reads the names of the proto too: `trust_domain` is
 * `trustDomain`, which counts if both stand there (Istio pkg/util/protomarshal ApplyYAML). Keys of maps, such as environment variables, are upper case and
 * stay as they are.
 */
function camelCased(raw: unknown, done = new Map<unknown, unknown>()): unknown {
  if (typeof raw !== "object" || raw === null) return raw;
  // Aliases share one value, which is not copied again for each of them.
  let known = done.get(raw);
  if (known === undefined) {
    known = Array.isArray(raw)
      ? raw.map((item) => camelCased(item, done))
      : Object.fromEntries(namedInJson(raw).map(([key, value]) => [key, camelCased(value, done)]));
    done.set(raw, known);
  }
  return known;
}
/** The entries under their JSON names; those that are written with them are the last. */
function namedInJson(raw: object): readonly (readonly [string, unknown])[] {
  const entries = Object.entries(raw);
  const renamed = entries.flatMap(([key, value]) => (jsonName(key) === key ? [] : [[jsonName(key), value] as const]));
  return renamed.length === 0 ? entries : [...renamed, ...entries.filter(([key]) => jsonName(key) === key)];
}
/** What istiod takes from the text by these names alone. */
const onlyInJson: ReadonlySet<string> = new Set([
  ...["default_config", "default_providers"],
  // The names of the proto are these in JSON.
  ...["match_labels", "match_expressions"],
]);
const jsonName = (key: string): string => {
  if (key === "mesh_mTLS") return "meshMTLS";
  if (onlyInJson.has(key)) return key;
  return /^[a-z][a-z0-9]*(_[a-z0-9]+)+$/.test(key)
    ? key.replaceAll(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())
    : key;
};
