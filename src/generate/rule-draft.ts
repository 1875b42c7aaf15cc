import { allKinds, type Kind, servedAs, kinds as tableOfKinds } from "../kube/kinds.ts";
import { suggestion } from "../text/nearest.ts";
import { UsageError } from "../text/usage-error.ts";
import { exportNameOf, type RuleFile } from "./rule-files.ts";
import type { GeneratedFile } from "./rule-pages.ts";

/** The texts of a new rule, which its author must replace: `generate` rejects a rule that still has them. */
export const draftTexts = {
  summary: "The defect in one sentence.",
  why: "The effect on requests, with the Istio source (file and function).",
  fix: "What to do.",
  incident: {
    seen: "What somebody sees who is paged because of it.",
    wayOut: "The fast and safe way out.",
    silentWhen: "When the rule reports nothing, although somebody may expect it.",
  },
} as const;

/** The finding that the fixture of a new rule expects. */
export const draftMark = /# expect: The name is "[a-z-]*wrong"/;

export interface DraftRequest {
  readonly id: string;
  /** The names as typed. */
  readonly kinds: readonly string[];
  /** The version in which the rule first appears. */
  readonly since: string;
}

/**
 * A new rule and its fixture, which pass as they are; the rule is in its trial stage. Throws a UsageError for an id that
 * exists or has the wrong form, and for unknown kinds, with a suggestion.
 */
export function draftRule({ id, kinds, since }: DraftRequest, found: readonly RuleFile[]): readonly GeneratedFile[] {
  const subject = kinds.map(kindNamed);
  const [first] = subject;
  if (first === undefined) throw new UsageError("give the kind that the rule checks: --subject VirtualService");
  const folder = folderOf(id, subject, found);
  const taken = found.find(({ rule }) => rule.id === id);
  if (taken) throw new UsageError(`the rule "${id}" exists already, in ${taken.file}`);
  return [
    { path: `test/rules/${id}/wrong.yaml`, content: fixtureOf(subject, true) },
    { path: `test/rules/${id}/right.yaml`, content: fixtureOf(subject, false) },
    { path: `src/rules/${folder}/${id.slice(folder.length + 1)}.ts`, content: sourceOf(id, subject, since) },
  ];
}

function kindNamed(name: string): Kind {
  const kind = allKinds.find((kind) => kind === name);
  if (kind !== undefined) return kind;
  const meant = suggestion(name, allKinds) || `; they are ${allKinds.join(", ")}`;
  throw new UsageError(`"${name}" is not a kind in src/kube/kinds.ts${meant}`);
}

/** The folder, which is the id's first part: the kind, or what several kinds have in common, as in `policy-selector-empty`. */
function folderOf(id: string, subject: readonly Kind[], found: readonly RuleFile[]): string {
  const words = kebab(id);
  const own = subject.map(kebab);
  const folders = [...own, ...found.map(({ file }) => file.split("/")[2] ?? "")];
  const [longest] = folders
    .filter((folder) => words.startsWith(`${folder}-`))
    .sort((one, other) => other.length - one.length);
  const [word = "", ...others] = words.split("-");
  const folder = longest ?? (subject.length > 1 && others.length > 0 ? word : undefined);
  if (folder !== undefined && words === id) return folder;
  const meant = folder === undefined ? `${own[0]}-${words}` : words;
  throw new UsageError(
    `the id "${id}" does not have the form <subject>-<what is wrong> in lower-case words; did you mean "${meant}"?`,
  );
}

/** `virtual-service` for `VirtualService`, `Virtual Service` and `virtual_service`. */
const kebab = (text: string): string =>
  text
    .replaceAll(/([a-z0-9])([A-Z])/g, "$1-$2")
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replaceAll(/^-+|-+$/g, "");

function sourceOf(id: string, subject: readonly Kind[], since: string): string {
  const [only, ...others] = subject;
  const object = others.length > 0 || only === undefined ? "object" : exportNameOf(kebab(only));
  const judged = subject.map((kind) => `"${kind}"`).join(", ");
  return `import { defineRule } from "../../engine/rule.ts";

export const ${exportNameOf(id)} = defineRule({
  id: "${id}",
  subject: ${others.length > 0 ? `[${judged}]` : judged},
  reads: [],
  mode: "warn",
  since: "${since}",
  stage: "trial",
  summary: "${draftTexts.summary}",
  why: "${draftTexts.why}",
  fix: "${draftTexts.fix}",
  incident: {
    symptoms: ["no-effect"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "${draftTexts.incident.seen}",
    wayOut: "${draftTexts.incident.wayOut}",
    silentWhen: "${draftTexts.incident.silentWhen}",
    page: "https://istio.io/latest/docs/",
  },

  // Finds the marked object of the fixture, so that the test passes before the rule is written.
  *check(${object}) {
    const { name } = ${object}.metadata;
    if (name.endsWith("wrong")) yield { at: ["metadata", "name"], message: \`The name is "\${name}"\` };
  },
});
`;
}

const fixtureOf = (subject: readonly Kind[], isWrong: boolean): string =>
  subject.map((kind) => manifestOf(kind, isWrong)).join("---\n");

function manifestOf(kind: Kind, isWrong: boolean): string {
  const origin = tableOfKinds[kind].served[0]?.kind ?? kind;
  const served = servedAs(kind, origin);
  // Istio reads only its own ConfigMaps: `istio`, `istio-sidecar-injector`, and one of each for each revision.
  const own = configMaps[kind];
  const right = own ?? "right";
  const wrong = own === undefined ? "wrong" : `${own}-wrong`;
  const name = isWrong ? `${wrong} # expect: The name is "${wrong}"` : right;
  return [
    `apiVersion: ${served.group === "" ? "" : `${served.group}/`}${served.versions[0]}`,
    `kind: ${served.kind}`,
    "metadata:",
    `  name: ${name}`,
    ...(served.namespaced ? [`  namespace: ${own === undefined ? "shop" : "istio-system"}`] : []),
    ...(bodies[kind] ?? "spec: {}").split("\n"),
    "",
  ].join("\n");
}

const configMaps: Partial<Record<Kind, string>> = { MeshConfig: "istio", InjectorConfig: "istio-sidecar-injector" };

/** A minimal example of each kind. Other kinds start with an empty spec. */
const bodies: Partial<Record<Kind, string>> = {
  VirtualService: `spec:
  hosts: [cart]
  http:
    - route:
        - destination: { host: cart }`,
  DestinationRule: `spec:
  host: cart
  subsets:
    - name: v1
      labels: { version: v1 }`,
  ServiceEntry: `spec:
  hosts: [api.example.com]
  location: MESH_EXTERNAL
  resolution: DNS
  ports:
    - { number: 443, name: tls, protocol: TLS }`,
  Gateway: `spec:
  selector: { istio: ingressgateway }
  servers:
    - hosts: [shop.example.com]
      port: { number: 80, name: http, protocol: HTTP }`,
  KubernetesGateway: `spec:
  gatewayClassName: istio
  listeners:
    - { name: http, port: 80, protocol: HTTP }`,
  ListenerSet: `spec:
  parentRef: { name: public }
  listeners:
    - { name: http, port: 80, protocol: HTTP, hostname: shop.example.com }`,
  BackendTLSPolicy: `spec:
  targetRefs:
    - { group: "", kind: Service, name: cart }
  validation:
    hostname: cart.example.com
    wellKnownCACertificates: System`,
  KubernetesRoute: `spec:
  parentRefs:
    - { name: public }
  rules:
    - backendRefs:
        - { name: cart, port: 80 }`,
  ReferenceGrant: `spec:
  from:
    - { group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: web }
  to:
    - { group: "", kind: Service }`,
  PeerAuthentication: `spec:
  mtls: { mode: STRICT }`,
  AuthorizationPolicy: `spec:
  selector:
    matchLabels: { app: cart }
  rules:
    - from:
        - source:
            principals: [cluster.local/ns/shop/sa/web]`,
  RequestAuthentication: `spec:
  selector:
    matchLabels: { app: cart }
  jwtRules:
    - issuer: https://issuer.example.com`,
  EnvoyFilter: `spec:
  workloadSelector:
    labels: { app: cart }
  configPatches: []`,
  Service: `spec:
  selector: { app: cart }
  ports:
    - { name: http, port: 80, targetPort: 8080 }`,
  Workload: `spec:
  selector:
    matchLabels: { app: cart }
  template:
    metadata:
      labels: { app: cart }
    spec:
      containers:
        - { name: cart, image: example.com/cart:1 }`,
  MeshwardIntent: `spec:
  to: { service: cart }
  requests:
    - from: [mesh]
      expect: allowed`,
  AdmissionWebhook: `webhooks:
  - name: admission.example.com
    clientConfig:
      service: { namespace: shop, name: admission, port: 443 }`,
  Namespace: `status: { phase: Active }`,
  MeshConfig: `data:
  mesh: "{}"`,
  InjectorConfig: `data:
  config: "policy: enabled"
  values: "{}"`,
  WasmPlugin: `spec:
  selector:
    matchLabels: { app: cart }
  url: oci://example.com/filter:1`,
  Telemetry: `spec:
  accessLogging:
    - providers: [{ name: envoy }]`,
  NetworkPolicy: `spec:
  podSelector:
    matchLabels: { app: cart }
  ingress:
    - ports: [{ port: 8080 }]`,
  Ingress: `spec:
  ingressClassName: istio
  rules:
    - host: shop.example.com
      http:
        paths:
          - path: /
            pathType: Prefix
            backend: { service: { name: cart, port: { number: 80 } } }`,
  GatewayClass: `spec:
  controllerName: istio.io/gateway-controller`,
  IngressClass: `spec:
  controller: istio.io/ingress-controller`,
  WorkloadEntry: `spec:
  address: 192.0.2.1
  labels: { app: cart }`,
  WorkloadGroup: `spec:
  metadata: { labels: { app: cart } }
  template: { serviceAccount: cart }`,
};
