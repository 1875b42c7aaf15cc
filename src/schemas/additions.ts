import type { KindDefinition } from "./definitions.ts";
import type { Schema } from "./schema.ts";

// What the built-in schemas lack. They are those of Istio 1.29, without the validation rules.

type Fields = Readonly<Record<string, readonly string[]>>;

const text: Schema = { type: "string" };
const texts: Schema = { type: "array", items: text };
const flag: Schema = { type: "boolean" };
const duration: Schema = { type: "string", format: "duration" };
const http2KeepAlive: Schema = { type: "object", properties: { interval: duration, timeout: duration } };

/** By the field that contains them. */
type LaterFields = Readonly<Record<string, Readonly<Record<string, Schema>>>>;

/** What Istio 1.31 and Gateway API 1.7 added, by kind. */
const laterFields: Readonly<Record<string, LaterFields>> = {
  AuthorizationPolicy: { source: { trustDomains: texts, notTrustDomains: texts } },
  DestinationRule: {
    outlierDetection: { outlierDetectionHttpErrorCodes: { type: "array" } },
    http: { http2KeepAlive },
    loadBalancer: { zoneAwareLbSetting: {} },
    retryBudget: { budgetInterval: duration },
  },
  Gateway: { tls: { insecureSkipVerify: flag } },
  GatewayClass: { spec: { description: text } },
  Sidecar: { http: { http2KeepAlive }, tls: { insecureSkipVerify: flag } },
  Telemetry: { tracing: { disableContextPropagation: flag } },
  VirtualService: { redirect: { prefixRewrite: text } },
};

const connections: Fields = {
  http: ["idleTimeout"],
  tcp: ["connectTimeout", "maxConnectionDuration"],
  tcpKeepalive: ["interval", "time"],
};
/** Texts that a rule of the definition requires to be durations; istiod does not read other ones. */
const durations: Readonly<Record<string, Fields>> = {
  DestinationRule: {
    ...connections,
    loadBalancer: ["warmupDurationSecs"],
    outlierDetection: ["baseEjectionTime", "interval"],
    warmup: ["duration"],
  },
  RequestAuthentication: { jwtRules: ["timeout"] },
  Sidecar: connections,
  Telemetry: { metrics: ["reportingInterval"] },
  VirtualService: {
    corsPolicy: ["maxAge"],
    delay: ["exponentialDelay", "fixedDelay"],
    http: ["timeout"],
    retries: ["backoff", "perTryTimeout"],
  },
};

const accepted = (): undefined => undefined;
const later = (group: string, kind: string, version: string): KindDefinition => ({
  group,
  kind,
  versions: new Map([[version, accepted]]),
});

/** Kinds and versions; all their objects are accepted. */
export const laterKinds: readonly KindDefinition[] = [
  later("extensions.istio.io", "TrafficExtension", "v1alpha1"),
  later("gateway.networking.k8s.io", "TCPRoute", "v1"),
  later("gateway.networking.k8s.io", "UDPRoute", "v1"),
];

/** A built-in schema with what it lacks. */
export function withAdditions(kind: string, schema: Schema): Schema {
  const additions = { later: laterFields[kind] ?? {}, durations: durations[kind] ?? {} };
  return extended(schema, "", additions);
}

function extended(
  schema: Schema,
  name: string,
  additions: { readonly later: LaterFields; readonly durations: Fields },
): Schema {
  const { properties, items } = schema;
  if (items !== undefined) return { ...schema, items: extended(items, name, additions) };
  if (properties === undefined) return schema;
  const added = additions.later[name] ?? {};
  const known = Object.entries(properties).map(([field, one]) => {
    const isDuration = additions.durations[name]?.includes(field) === true;
    return [field, isDuration ? { ...one, format: "duration" } : extended(one, field, additions)];
  });
  return { ...schema, properties: { ...added, ...Object.fromEntries(known) } };
}
