import { type Document, parseDocument, visit } from "yaml";
import {
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
} from "./read.ts";

const authorizationProvider = optional(
  record({
    service: text,
    port: fingerprint,
    pathPrefix: text,
    statusOnError: text,
    failOpen: flag,
    headersToUpstreamOnAllow: list(name),
    headersToDownstreamOnAllow: list(name),
    headersToDownstreamOnDeny: list(name),
    includeRequestHeadersInCheck: list(name),
    includeHeadersInCheck: list(name),
    includeRequestBodyInCheck: fingerprint,
  }),
);

/** An extension provider that is called: the field of each sort has the service. */
const calledProvider = optional(record({ service: text }));

/** The fields of a proxy config, which the mesh config and pods can contain. */
export const proxyConfigFields = {
  proxyMetadata: map(fingerprint),
  runtimeValues: map(fingerprint),
  interceptionMode: text,
  customConfigFile: text,
  proxyBootstrapTemplatePath: text,
  discoveryAddress: text,
  binaryPath: text,
  caCertificatesPem: fingerprint,
  controlPlaneAuthPolicy: text,
  gatewayTopology: optional(
    record({ numTrustedProxies: fingerprint, forwardClientCertDetails: text, proxyProtocol: optional(record({})) }),
  ),
  proxyHeaders: optional(record({ forwardedClientCert: text })),
};

const meshConfig = record({
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
  pathNormalization: optional(record({ normalization: text })),
  meshMTLS: optional(record({ minProtocolVersion: text })),
  caCertificates: list(record({ pem: text, spiffeBundleUrl: text, trustDomains: list(name) })),
  extensionProviders: list(
    record({
      name,
      envoyExtAuthzHttp: authorizationProvider,
      envoyExtAuthzGrpc: authorizationProvider,
      zipkin: calledProvider,
      datadog: calledProvider,
      skywalking: calledProvider,
      opentelemetry: calledProvider,
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
  outboundTrafficPolicy: optional(record({ mode: text })),
  defaultHttpRetryPolicy: optional(record({ attempts: int32, perTryTimeout: text, retryOn: text })),
  localityLbSetting: optional(record({ enabled: flag, distribute: list(record({ from: text })) })),
  defaultConfig: optional(record(proxyConfigFields)),
});
export type MeshConfigFields = ReturnType<typeof meshConfig>;

/** The fields of a mesh config that sets none. */
export const noMeshConfig: MeshConfigFields = meshConfig(undefined, []);

/** A mesh config longer than this is not read: istiod's own are a few kilobytes. */
const maxBytes = 1 << 20;

/**
 * The mesh config inside the ConfigMap `istio`: YAML text under `data.mesh` (Istio pkg/config/mesh/mesh.go
 * ApplyMeshConfig).
 */
export const readMeshConfig: Read<{ readonly mesh: MeshConfigFields }> = (raw, malformed) => {
  const data = member(member(raw, "data"), "mesh");
  const inner: Malformed[] = [];
  const mesh = meshConfig(typeof data === "string" ? parseFields(data, "mesh config", inner) : undefined, inner);
  for (const { at, expected, found } of inner) malformed.push({ at: ["data", "mesh", ...at], expected, found });
  if (data !== undefined && typeof data !== "string")
    malformed.push({ at: ["data", "mesh"], expected: "a string", found: typeof data });
  return { mesh };
};

/** Parses YAML or JSON inside of an object. A text that is none is reported and read as absent. */
export const parseYaml = (yaml: string, what: string, malformed: Malformed[]): unknown =>
  documentIn(yaml, what, malformed, (document) => document);

function documentIn(
  yaml: string,
  what: string,
  malformed: Malformed[],
  resolved: (document: Document) => Document,
): unknown {
  const wrong = (found: string) => malformed.push({ at: [], expected: `${what} as YAML`, found });
  if (yaml.length > maxBytes) {
    wrong(`${yaml.length} bytes`);
    return undefined;
  }
  try {
    const document = parseDocument(yaml);
    const [error] = document.errors;
    if (error === undefined) return resolved(document).toJS({ maxAliasCount: 100 }) as unknown;
    wrong(textWith(error));
  } catch (error) {
    wrong(textWith(error));
  }
  return undefined;
}

/** A configuration in proto is read as YAML 1.1, in which these words without quotes are booleans, and numbers can have `_` (sigs.k8s.io/yaml goyaml.v2 resolve.go). */
const booleans = /^(?:(y|Y|yes|Yes|YES|on|On|ON)|n|N|no|No|NO|off|Off|OFF)$/;

function withOldScalars(document: Document): Document {
  visit(document, {
    Scalar(key, node) {
      if (key === "key" || node.type !== "PLAIN" || node.tag !== undefined || typeof node.value !== "string") return;
      const word = booleans.exec(node.value);
      if (word !== null) node.value = word[1] !== undefined;
      else if (/^[-+]?\d[\d_]*$/.test(node.value)) node.value = Number(node.value.replaceAll("_", ""));
    },
  });
  return document;
}

/** The message of a parser ends with a colon where the text of the line follows. */
function textWith(error: unknown): string {
  const [first = ""] = (error instanceof Error ? error.message : "").split("\n");
  return first === "" ? "a text with an error" : `a text with an error (${first.replace(/:$/, "")})`;
}

/** Parses the YAML of a configuration of Istio, whose fields then have their JSON names. */
export const parseFields = (yaml: string, what: string, malformed: Malformed[]): unknown =>
  camelCased(documentIn(yaml, what, malformed, withOldScalars));

/**
 * The fields of a mesh config or proxy config under their JSON names. istiod reads the names of the proto too: `trust_domain` is
 * `trustDomain` (Istio pkg/util/protomarshal ApplyYAML). Keys of maps, such as environment variables, are upper case and
 * stay as they are.
 */
function camelCased(raw: unknown, done = new Map<unknown, unknown>()): unknown {
  if (typeof raw !== "object" || raw === null) return raw;
  // Aliases share one value, which is not copied again for each of them.
  let known = done.get(raw);
  if (known === undefined) {
    known = Array.isArray(raw)
      ? raw.map((item) => camelCased(item, done))
      : Object.fromEntries(Object.entries(raw).map(([key, value]) => [jsonName(key), camelCased(value, done)]));
    done.set(raw, known);
  }
  return known;
}
const jsonName = (key: string): string => {
  if (key === "mesh_mTLS") return "meshMTLS";
  return /^[a-z][a-z0-9]*(_[a-z0-9]+)+$/.test(key)
    ? key.replaceAll(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())
    : key;
};
