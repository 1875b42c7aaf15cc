// Manifests that the API server refuses. `check-schemas.test.ts` checks them, `schemas.e2e.ts` sends them to a real API server.

export const head = (kind: string, apiVersion: string) => `apiVersion: ${apiVersion}
kind: ${kind}
metadata: { name: shop, namespace: shop }
spec:
`;
const virtualService = head("VirtualService", "networking.istio.io/v1");
const destinationRule = head("DestinationRule", "networking.istio.io/v1");
export const peerAuthentication = head("PeerAuthentication", "security.istio.io/v1");
const authorizationPolicy = head("AuthorizationPolicy", "security.istio.io/v1");

/** A manifest with a mistake, what is said about it, and the manifest without the mistake. */
export interface Mistake {
  readonly title: string;
  readonly wrong: string;
  readonly said: readonly string[];
  readonly right: string;
}

export const inRoute = (lines: string) => `${virtualService}  hosts: [shop]
  http:
    - ${lines}
      route: [{ destination: { host: shop } }]
`;
export const inDestination = (destination: string) => `${virtualService}  hosts: [shop]
  http:
    - route: [{ destination: ${destination} }]
`;

export const mistakes: readonly Mistake[] = [
  {
    title: "an unknown field with a similar one",
    wrong: inRoute("retires: { attempts: 3 }"),
    said: ['deny 7 spec.http[0].retires: Unknown field "retires": did you mean "retries"?'],
    right: inRoute("retries: { attempts: 3 }"),
  },
  {
    title: "a required field that is misspelt is one mistake",
    wrong: inDestination("{ hots: shop }"),
    said: ['deny 7 spec.http[0].route[0].destination.hots: Unknown field "hots": did you mean "host"?'],
    right: inDestination("{ host: shop }"),
  },
  {
    title: "a field that another version may have",
    wrong: inRoute("websocketUpgrade: true"),
    said: [
      'warn 7 spec.http[0].websocketUpgrade: Unknown field "websocketUpgrade": the fields here are corsPolicy, delegate, directResponse, fault, headers, match, mirror, mirror_percent, mirrorPercent, mirrorPercentage, mirrors, name and others',
    ],
    right: inRoute("name: websocket"),
  },
  {
    title: "a duration",
    wrong: inRoute("timeout: 10 seconds"),
    said: ["deny 7 spec.http[0].timeout: The field must be a duration of at least 1ms, such as 10s or 1h30m"],
    right: inRoute("timeout: 1m10.5s"),
  },
  {
    title: "fields that exclude each other",
    wrong: inRoute("match: [{ uri: { exact: /a, prefix: /b } }]"),
    said: [
      'deny 7 spec.http[0].match[0].uri: The field must have only one of the fields "exact", "prefix" or "regex", and has "exact" and "prefix"',
    ],
    right: inRoute("match: [{ uri: { exact: /a } }, { uri: { prefix: /b } }]"),
  },
  {
    title: "a value in other letters, and a misspelt one",
    wrong: `${destinationRule}  host: shop
  trafficPolicy:
    tls: { mode: disable }
    loadBalancer: { simple: RANDOMM }
`,
    said: [
      'deny 7 spec.trafficPolicy.tls.mode: Unsupported value "disable": did you mean "DISABLE"?',
      'deny 8 spec.trafficPolicy.loadBalancer.simple: Unsupported value "RANDOMM": did you mean "RANDOM"?',
    ],
    right: `${destinationRule}  host: shop
  trafficPolicy:
    tls: { mode: DISABLE }
    loadBalancer: { simple: RANDOM }
`,
  },
  {
    title: "subset for subsets",
    wrong: `${destinationRule}  host: shop\n  subset: [{ name: v1, labels: { version: v1 } }]\n`,
    said: ['deny 6 spec.subset: Unknown field "subset": did you mean "subsets"?'],
    right: `${destinationRule}  host: shop\n  subsets: [{ name: v1, labels: { version: v1 } }]\n`,
  },
  {
    title: "an action and a source",
    wrong: `${authorizationPolicy}  action: Allow\n  rules:\n    - from: [{ source: { principal: [a] } }]\n`,
    said: [
      'deny 5 spec.action: Unsupported value "Allow": did you mean "ALLOW"?',
      'deny 7 spec.rules[0].from[0].source.principal: Unknown field "principal": did you mean "principals"?',
    ],
    right: `${authorizationPolicy}  action: ALLOW\n  rules:\n    - from: [{ source: { principals: [cluster.local/ns/a/sa/b] } }]\n`,
  },
  {
    title: "a mode",
    wrong: `${peerAuthentication}  mtls: { mode: STRIKT }\n`,
    said: ['deny 5 spec.mtls.mode: Unsupported value "STRIKT": did you mean "STRICT"?'],
    right: `${peerAuthentication}  mtls: { mode: STRICT }\n`,
  },
  {
    title: "a number that is not among the allowed ones",
    wrong: `${head("HTTPRoute", "gateway.networking.k8s.io/v1")}  parentRefs: [{ name: web }]
  rules:
    - filters: [{ type: RequestRedirect, requestRedirect: { hostname: b.example.com, statusCode: 304 } }]
`,
    said: [
      "warn 7 spec.rules[0].filters[0].requestRedirect.statusCode: Unsupported value 304: the schema allows 301, 302, 303, 307 or 308",
    ],
    right: `${head("HTTPRoute", "gateway.networking.k8s.io/v1")}  parentRefs: [{ name: web }]
  rules:
    - filters: [{ type: RequestRedirect, requestRedirect: { hostname: b.example.com, statusCode: 308 } }]
`,
  },
  {
    title: "a bound, in a kind that no rule reads",
    wrong: `${head("Telemetry", "telemetry.istio.io/v1")}  tracing: [{ randomSamplingPercentage: 200 }]\n`,
    said: ["deny 5 spec.tracing[0].randomSamplingPercentage: The field must be at most 100, not 200"],
    right: `${head("Telemetry", "telemetry.istio.io/v1")}  tracing: [{ randomSamplingPercentage: 100 }]\n`,
  },
  {
    title: "a required field and a pattern of the Gateway API",
    wrong: `${head("HTTPRoute", "gateway.networking.k8s.io/v1")}  parentRefs: [{ name: web, namespace: A_ }]
  rules: [{ backendRefs: [{ port: 80 }] }]
`,
    said: [
      "deny 5 spec.parentRefs[0].namespace: The field must match the pattern ^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
      'deny 6 spec.rules[0].backendRefs[0]: The required field "name" is missing',
    ],
    right: `${head("HTTPRoute", "gateway.networking.k8s.io/v1")}  parentRefs: [{ name: web, namespace: a }]
  rules: [{ backendRefs: [{ name: shop, port: 80 }] }]
`,
  },
  {
    title: "a version",
    wrong: peerAuthentication.replace("io/v1", "io/v1beta2").replace("spec:", "spec: {}"),
    said: [
      'deny 1 apiVersion: The API server does not serve PeerAuthentication in version "security.istio.io/v1beta2": its versions are v1 and v1beta1',
    ],
    right: peerAuthentication.replace("io/v1", "io/v1beta1").replace("spec:", "spec: {}"),
  },
  {
    title: "a kind",
    wrong: virtualService.replace("VirtualService", "VirtualServices"),
    said: ['deny 2 kind: The group networking.istio.io has no kind "VirtualServices": did you mean "VirtualService"?'],
    right: inRoute("name: right"),
  },
  {
    title: "a kind of another group",
    wrong: peerAuthentication.replace("security", "networking").replace("spec:", "spec: {}"),
    said: [
      'deny 1 apiVersion: The group networking.istio.io has no kind PeerAuthentication: did you mean "security.istio.io"?',
    ],
    right: peerAuthentication.replace("spec:", "spec: {}"),
  },
  {
    title: "a name, labels and a field of the metadata",
    wrong: peerAuthentication
      .replace("name: shop, namespace: shop", 'name: Default_X, labels: { "a b": c, d: "e f" }, anotations: {}')
      .replace("spec:", "spec: {}"),
    said: [
      'deny 3 metadata.anotations: Unknown field "anotations": did you mean "annotations"?',
      'deny 3 metadata.labels["a b"]: The label "a b" is not a qualified name: an optional DNS name and a slash, then at most 63 letters, digits, "-", "_" and "."',
      'deny 3 metadata.labels.d: The label value "e f" must have at most 63 letters, digits, "-", "_" and ".", and begin and end with a letter or digit',
      'deny 3 metadata.name: The name "Default_X" is not a DNS name: it must have at most 253 lower-case letters, digits, "-" and ".", and begin and end with a letter or digit',
    ],
    right: peerAuthentication
      .replace("name: shop, namespace: shop", "name: default-x, labels: { a.example/b: c, d: e-f }, annotations: {}")
      .replace("spec:", "spec: {}"),
  },
  {
    title: "no name",
    wrong: peerAuthentication.replace("name: shop, ", "").replace("spec:", "spec: {}"),
    said: ['deny 3 metadata.name: The required field "name" is missing'],
    right: peerAuthentication.replace("name: shop", "generateName: shop-").replace("spec:", "spec: {}"),
  },
];

const requestAuthentication = head("RequestAuthentication", "security.istio.io/v1");
const serviceEntry = head("ServiceEntry", "networking.istio.io/v1");
const httpRoute = head("HTTPRoute", "gateway.networking.k8s.io/v1");
const kubernetesGateway = head("Gateway", "gateway.networking.k8s.io/v1");

/** What only the validation rules of the definitions say, without the words of other projects. */
export const againstRules: readonly Pick<Mistake, "title" | "wrong" | "right">[] = [
  {
    title: "modes of ports without a selector",
    wrong: `${peerAuthentication}  portLevelMtls: { "80": { mode: STRICT } }\n`,
    right: `${peerAuthentication}  selector: { matchLabels: { app: a } }\n  portLevelMtls: { "80": { mode: STRICT } }\n`,
  },
  {
    title: "a port out of range",
    wrong: `${peerAuthentication}  selector: { matchLabels: { app: a } }\n  portLevelMtls: { "80000": { mode: STRICT } }\n`,
    right: `${peerAuthentication}  selector: { matchLabels: { app: a } }\n  portLevelMtls: { "8000": { mode: STRICT } }\n`,
  },
  {
    title: "a selector and a target",
    wrong: `${authorizationPolicy}  selector: { matchLabels: { app: a } }\n  targetRefs: [{ kind: Service, group: "", name: a }]\n`,
    right: `${authorizationPolicy}  targetRefs: [{ kind: Service, group: "", name: a }]\n`,
  },
  {
    title: "service accounts and principals",
    wrong: `${authorizationPolicy}  rules: [{ from: [{ source: { serviceAccounts: [a/b], principals: [c] } }] }]\n`,
    right: `${authorizationPolicy}  rules: [{ from: [{ source: { serviceAccounts: [a/b] } }] }]\n`,
  },
  {
    title: "the scheme of a URL",
    wrong: `${requestAuthentication}  jwtRules: [{ issuer: a, jwksUri: "ftp://a/b" }]\n`,
    right: `${requestAuthentication}  jwtRules: [{ issuer: a, jwksUri: "https://a/b" }]\n`,
  },
  {
    title: "a URL without a scheme",
    wrong: `${head("WasmPlugin", "extensions.istio.io/v1alpha1")}  url: "ftp://a/b"\n`,
    right: `${head("WasmPlugin", "extensions.istio.io/v1alpha1")}  url: a.example.com/b:c\n`,
  },
  {
    title: "endpoints without resolution",
    wrong: `${serviceEntry}  hosts: [a.example.com]\n  ports: [{ number: 80, name: http }]\n  resolution: NONE\n  endpoints: [{ address: 10.0.0.1 }]\n`,
    right: `${serviceEntry}  hosts: [a.example.com]\n  ports: [{ number: 80, name: http }]\n  resolution: STATIC\n  endpoints: [{ address: 10.0.0.1 }]\n`,
  },
  {
    title: "a port twice",
    wrong: `${serviceEntry}  hosts: [a.example.com]\n  ports: [{ number: 80, name: http }, { number: 80, name: web }]\n`,
    right: `${serviceEntry}  hosts: [a.example.com]\n  ports: [{ number: 80, name: http }, { number: 81, name: web }]\n`,
  },
  {
    title: "a path that is not absolute",
    wrong: `${httpRoute}  rules: [{ matches: [{ path: { type: PathPrefix, value: a } }] }]\n`,
    right: `${httpRoute}  rules: [{ matches: [{ path: { type: PathPrefix, value: /a } }] }]\n`,
  },
  {
    title: "a default that a rule reads",
    wrong: `${httpRoute}  rules: [{ backendRefs: [{ name: a }] }]\n`,
    right: `${httpRoute}  rules: [{ backendRefs: [{ name: a, port: 80 }] }]\n`,
  },
  {
    title: "a filter without its settings",
    wrong: `${httpRoute}  rules: [{ filters: [{ type: RequestRedirect }] }]\n`,
    right: `${httpRoute}  rules: [{ filters: [{ type: RequestRedirect, requestRedirect: { scheme: https } }] }]\n`,
  },
  {
    title: "listeners of one name",
    wrong: `${kubernetesGateway}  gatewayClassName: istio\n  listeners:\n    - { name: a, port: 80, protocol: HTTP }\n    - { name: a, port: 81, protocol: HTTP }\n`,
    right: `${kubernetesGateway}  gatewayClassName: istio\n  listeners:\n    - { name: a, port: 80, protocol: HTTP }\n    - { name: b, port: 81, protocol: HTTP }\n`,
  },
  {
    title: "listeners of one port",
    wrong: `${kubernetesGateway}  gatewayClassName: istio\n  listeners:\n    - { name: a, port: 80, protocol: HTTP }\n    - { name: b, port: 80, protocol: HTTP }\n`,
    right: `${kubernetesGateway}  gatewayClassName: istio\n  listeners:\n    - { name: a, port: 80, protocol: HTTP, hostname: a.example.com }\n    - { name: b, port: 80, protocol: HTTP, hostname: b.example.com }\n`,
  },
  {
    title: "a duration below the least",
    wrong: inRoute("timeout: 10ns"),
    right: inRoute("timeout: 10ms"),
  },
  {
    title: "a wildcard in a label",
    wrong: `${peerAuthentication}  selector: { matchLabels: { app: "a*" } }\n`,
    right: `${peerAuthentication}  selector: { matchLabels: { app: a } }\n`,
  },
];
