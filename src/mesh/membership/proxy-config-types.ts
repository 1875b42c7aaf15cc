/**
 * The types of the fields of a proxy config (istio.io/api mesh/v1alpha1 proxy.proto), by the names of their messages: `text`, `flag`,
 * `duration`, numbers, values of an enum (`A|B`), another message, a list (`[]`) or a map (`{}`) of one. istiod passes over other fields.
 */
const messages: Readonly<Record<string, string>> = {
  ProxyConfig:
    "availabilityZone:text binaryPath:text caCertificatesPem:text[] concurrency:int32 configPath:text connectionSettings:ConnectionSettings controlPlaneAuthPolicy:NONE|MUTUAL_TLS|INHERIT customConfigFile:text discoveryAddress:text discoveryRefreshDelay:duration drainDuration:duration envoyAccessLogService:RemoteService envoyMetricsService:RemoteService envoyMetricsServiceAddress:text extraStatTags:text[] fileFlushInterval:duration fileFlushMinSizeKb:uint32 gatewayTopology:Topology holdApplicationUntilProxyStarts:flag image:ProxyImage interceptionMode:REDIRECT|TPROXY|NONE meshId:text privateKeyProvider:PrivateKeyProvider proxyAdminPort:port proxyBootstrapTemplatePath:text proxyHeaders:ProxyHeaders proxyMetadata:text{} proxyStatsMatcher:ProxyStatsMatcher readinessProbe:ReadinessProbe runtimeValues:text{} sds:Sds serviceCluster:text statNameLength:int32 statsCompression:flag statsdUdpAddress:text statusPort:port terminationDrainDuration:duration tracing:Tracing tracingServiceName:APP_LABEL_AND_NAMESPACE|CANONICAL_NAME_ONLY|CANONICAL_NAME_AND_NAMESPACE zipkinAddress:text",
  Tracing:
    "customTags:CustomTag{} datadog:Address enableIstioTags:flag lightstep:Lightstep maxPathTagLength:uint32 openCensusAgent:OpenCensusAgent sampling:double stackdriver:Stackdriver tlsSettings:ClientTls zipkin:Address",
  Address: "address:text",
  Lightstep: "accessToken:text address:text",
  Stackdriver: "debug:flag maxNumberOfAnnotations:int64 maxNumberOfAttributes:int64 maxNumberOfMessageEvents:int64",
  OpenCensusAgent: "address:text context:UNSPECIFIED|W3C_TRACE_CONTEXT|GRPC_BIN|CLOUD_TRACE_CONTEXT|B3[]",
  CustomTag: "environment:NamedTag header:NamedTag literal:Value",
  NamedTag: "defaultValue:text name:text",
  Value: "value:text",
  ClientTls:
    "caCertificates:text caCrl:text clientCertificate:text credentialName:text insecureSkipVerify:flag mode:DISABLE|SIMPLE|MUTUAL|ISTIO_MUTUAL privateKey:text sni:text subjectAltNames:text[]",
  Sds: "enabled:flag k8sSaJwtPath:text",
  RemoteService: "address:text tcpKeepalive:TcpKeepalive tlsSettings:ClientTls",
  TcpKeepalive: "interval:duration probes:uint32 time:duration",
  Topology:
    "forwardClientCertDetails:UNDEFINED|SANITIZE|FORWARD_ONLY|APPEND_FORWARD|SANITIZE_SET|ALWAYS_FORWARD_ONLY numTrustedProxies:uint32 proxyProtocol:Nothing",
  Nothing: "",
  ReadinessProbe:
    "exec:Exec failureThreshold:int32 grpc:Grpc httpGet:HttpGet initialDelaySeconds:int32 periodSeconds:int32 successThreshold:int32 tcpSocket:TcpSocket timeoutSeconds:int32",
  Exec: "command:text[]",
  Grpc: "port:uint32 service:text",
  HttpGet: "host:text httpHeaders:HttpHeader[] path:text port:uint32 scheme:text",
  HttpHeader: "name:text value:text",
  TcpSocket: "host:text port:uint32",
  ProxyStatsMatcher: "inclusionPrefixes:text[] inclusionRegexps:text[] inclusionSuffixes:text[]",
  ProxyImage: "imageType:text",
  PrivateKeyProvider: "cryptomb:Accelerator qat:Accelerator",
  Accelerator: "fallback:flag pollDelay:duration",
  ProxyHeaders:
    "attemptCount:Disabled envoyDebugHeaders:Disabled forwardedClientCert:UNDEFINED|SANITIZE|FORWARD_ONLY|APPEND_FORWARD|SANITIZE_SET|ALWAYS_FORWARD_ONLY metadataExchangeHeaders:MetadataExchange preserveHttp1HeaderCase:flag requestId:Disabled server:Server setCurrentClientCertDetails:CertDetails xForwardedHost:Enabled xForwardedPort:Enabled",
  Disabled: "disabled:flag",
  Enabled: "enabled:flag",
  MetadataExchange: "mode:UNDEFINED|IN_MESH",
  Server: "disabled:flag value:text",
  CertDetails: "cert:flag chain:flag dns:flag subject:flag uri:flag",
  ConnectionSettings:
    "clusterPerConnectionBufferLimitBytes:int32 globalDownstreamConnectionLimit:int32 http2InitialConnectionWindowSize:int32 http2InitialStreamWindowSize:int32 httpDrainTimeout:duration httpHeadersWithUnderscoresAction:HEADERS_WITH_UNDERSCORES_UNSPECIFIED|HEADERS_WITH_UNDERSCORES_ALLOW|HEADERS_WITH_UNDERSCORES_REJECT_REQUEST|HEADERS_WITH_UNDERSCORES_DROP_HEADER httpIdleTimeout:duration httpMaxConcurrentStreams:int32 httpMaxConnectionDuration:duration httpMaxStreamDuration:duration httpMergeSlashes:flag httpPathWithEscapedSlashesAction:PATH_WITH_ESCAPED_SLASHES_UNSPECIFIED|KEEP_UNCHANGED|REJECT_REQUEST|UNESCAPE_AND_REDIRECT|UNESCAPE_AND_FORWARD httpRequestHeadersTimeout:duration httpRequestTimeout:duration httpStreamIdleTimeout:duration listenerConnectionLimit:int32 listenerPerConnectionBufferLimitBytes:int32 profile:SIDECAR|EDGE",
};

/** A field whose value istiod cannot read. */
export interface WrongType {
  /** Such as `proxyMetadata.FOO`. */
  readonly field: string;
  /** What it has to be: `a text in quotes`. */
  readonly expected: string;
}

type Fields = ReadonlyMap<string, string>;
const fieldsOf: ReadonlyMap<string, Fields> = new Map(
  Object.entries(messages).map(([name, fields]) => [
    name,
    new Map(fields.split(" ").map((field) => field.split(":") as [string, string])),
  ]),
);

/**
 * The first field of a proxy config whose value istiod cannot read; undefined: it reads all of them. `null` is nothing, and numbers may be
 * in quotes (github.com/golang/protobuf jsonpb/decode.go, which Istio pkg/util/protomarshal ApplyYAML uses). `config`: with the JSON names
 * of its fields.
 */
export const wrongTypeIn = (config: unknown): WrongType | undefined =>
  isMap(config) ? inFields(config, fieldsOf.get("ProxyConfig") ?? new Map(), "") : undefined;

function wrongIn(value: unknown, type: string, field: string): WrongType | undefined {
  if (value === null) return undefined;
  if (type.endsWith("[]")) return Array.isArray(value) ? inEach(value.entries(), type, field) : wrong(field, "a list");
  if (type.endsWith("{}")) return isMap(value) ? inEach(Object.entries(value), type, field) : wrong(field, "a map");
  const fields = fieldsOf.get(type);
  if (fields !== undefined) return isMap(value) ? inFields(value, fields, field) : wrong(field, "a map of fields");
  return isOf(type, value) ? undefined : wrong(field, inWords.get(type) ?? listed(type));
}

function inFields(value: object, fields: Fields, field: string): WrongType | undefined {
  for (const [name, one] of Object.entries(value)) {
    const of = fields.get(name);
    const found = of === undefined ? undefined : wrongIn(one, of, field === "" ? name : `${field}.${name}`);
    if (found !== undefined) return found;
  }
  return undefined;
}

function inEach(entries: Iterable<[number | string, unknown]>, type: string, field: string): WrongType | undefined {
  const item = type.slice(0, -2);
  for (const [key, value] of entries) {
    const found = wrongIn(value, item, `${field}.${key}`);
    if (found !== undefined) return found;
  }
  return undefined;
}

const wrong = (field: string, expected: string): WrongType => ({ field, expected });
const isMap = (value: unknown): value is object => typeof value === "object" && value !== null && !Array.isArray(value);

const inWords: ReadonlyMap<string, string> = new Map([
  ["text", "a text, in quotes if it looks like a number or like true or false"],
  ["flag", "true or false without quotes"],
  ["duration", "a duration such as 5s"],
  ["double", "a number"],
  ["int32", "a whole number"],
  ["int64", "a whole number"],
  ["port", "a port from 1 to 65535"],
  ["uint32", "a whole number that is not negative"],
]);
const listed = (type: string): string => `one of ${type.replaceAll("|", ", ")}`;

const ranges: ReadonlyMap<string, readonly [min: number, max: number]> = new Map([
  ["int32", [-(2 ** 31), 2 ** 31 - 1]],
  ["uint32", [0, 2 ** 32 - 1]],
  ["int64", [-(2 ** 63), 2 ** 63 - 1]],
  // Istio pkg/config/validation/agent/validation.go ValidateMeshConfigProxyConfig.
  ["port", [1, 65_535]],
]);

const scalars: ReadonlyMap<string, (value: unknown) => boolean> = new Map([
  ["text", (value) => typeof value === "string"],
  ["flag", (value) => typeof value === "boolean"],
  ["duration", (value) => typeof value === "string" && isDuration.test(value)],
  [
    "double",
    (value) => numberOf(value) !== undefined || (typeof value === "string" && /^-?Infinity$|^NaN$/.test(value)),
  ],
]);

/** The value of an enum is a name, or a number. */
function isOf(type: string, value: unknown): boolean {
  const range = ranges.get(type);
  if (range !== undefined) return isWhole(value, range);
  const scalar = scalars.get(type);
  if (scalar !== undefined) return scalar(value);
  return typeof value === "string" ? type.split("|").includes(value) : isOf("int32", value);
}

function isWhole(value: unknown, [min, max]: readonly [number, number]): boolean {
  const number = numberOf(value);
  if (number === undefined || !Number.isInteger(number) || number < min || number > max) return false;
  // A number without quotes is written anew as JSON.
  return typeof value !== "string" || !/[.e]/i.test(value);
}

/** As Go reads it (time.ParseDuration), which is more than what Istio accepts for other fields. */
const isDuration = /^[+-]?(?:0|(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|\u00b5s|\u03bcs|ms|s|m|h))+)$/;

/** A number, or a text in which JSON has one. */
function numberOf(value: unknown): number | undefined {
  if (typeof value === "number") return Number.isFinite(value) ? value : undefined;
  const isNumber = typeof value === "string" && /^\s*-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?\s*$/.test(value);
  return isNumber ? Number(value) : undefined;
}
