import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { parse } from "yaml";
import { audit } from "../../src/engine/audit.ts";
import { judge } from "../../src/engine/evaluate.ts";
import { everyRule } from "../../src/engine/setting.ts";
import { keyOf } from "../../src/kube/identity.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import { rules } from "../../src/rules/index.ts";
import { meshSettingsOf } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { egressGateway } from "./egress.ts";
import { objectsIn, type Raw } from "./story.ts";

// The intents of policies/intents.md: each holds in a mesh that its text describes, and one change ends it.

const page = readFileSync(new URL("../../policies/intents.md", import.meta.url), "utf8");
const shown = new Map(
  [...page.matchAll(/<!-- intent: (\w+) -->\n```yaml\n([\s\S]*?)```/g)].map(([, name = "", text = ""]) => [
    name,
    parse(text) as Raw,
  ]),
);

const namespace = (name: string, labels = "istio-injection: enabled"): string => `
apiVersion: v1
kind: Namespace
metadata: { name: ${name}, labels: { ${labels} } }
---`;
const pods = (where: string, app: string, labels = "version: v1"): string => `
apiVersion: apps/v1
kind: Deployment
metadata: { name: ${app}-${labels.split(" ").at(-1)}, namespace: ${where} }
spec:
  template:
    metadata: { labels: { app: ${app}, ${labels} } }
    spec: { serviceAccountName: ${app}, containers: [{ name: app, ports: [{ containerPort: 8080 }] }] }
---`;
const service = (where: string, app: string): string => `
apiVersion: v1
kind: Service
metadata: { name: ${app}, namespace: ${where} }
spec: { selector: { app: ${app} }, ports: [{ name: http, port: 8080 }] }
---`;
const mtls = (where: string, mode: string): string => `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: default, namespace: ${where} }
spec: { mtls: { mode: ${mode} } }
---`;
const policy = (where: string, name: string, spec: string): string => `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: ${name}, namespace: ${where} }
spec: ${spec}
---`;
const canary = (share: number): string => `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: checkout, namespace: checkout }
spec:
  hosts: [checkout]
  http:
    - route:
        - { destination: { host: checkout, subset: stable }, weight: ${100 - share} }
        - { destination: { host: checkout, subset: canary }, weight: ${share} }
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: checkout, namespace: checkout }
spec:
  host: checkout
  subsets: [{ name: stable, labels: { version: v1 } }, { name: canary, labels: { version: v2 } }]
---`;

const entry = (where: string, exportTo: string): string => `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: stripe, namespace: ${where} }
spec:
  hosts: [api.stripe.com]
  exportTo: ["${exportTo}"]
  resolution: DNS
  ports: [{ number: 443, name: https, protocol: HTTPS }]
---`;

const cases: Readonly<Record<string, { readonly mesh: string; readonly ends: string; readonly message: RegExp }>> = {
  payments: {
    mesh: [
      ...["payments", "orders", "web"].map((name) => namespace(name)),
      pods("payments", "payments-api"),
      service("payments", "payments-api"),
      policy(
        "payments",
        "allow-orders",
        "{ rules: [{ from: [{ source: { principals: [cluster.local/ns/orders/sa/orders-api] } }], to: [{ operation: { methods: [POST], paths: ['/payments/*'] } }] }] }",
      ),
    ].join(""),
    ends: policy(
      "payments",
      "allow-web",
      "{ rules: [{ from: [{ source: { namespaces: [web] } }], to: [{ operation: { methods: [GET] } }] }] }",
    ),
    // As the page shows it.
    message:
      /^Requests from others must be denied: GET \/ from namespace web would be allowed, by AuthorizationPolicy payments\/allow-web rule 1$/,
  },
  ledger: {
    mesh: [namespace("ledger"), pods("ledger", "journal"), mtls("ledger", "STRICT")].join(""),
    ends: mtls("ledger", "PERMISSIVE"),
    message: /outside must be denied/,
  },
  checkout: {
    mesh: [
      ...[
        namespace("checkout"),
        namespace("web"),
        pods("checkout", "checkout"),
        pods("checkout", "checkout", "version: v2"),
      ],
      ...[service("checkout", "checkout"), canary(10)],
    ].join(""),
    ends: canary(20),
    message: /with 80% of the requests, where at least 90% are expected/,
  },
  admin: {
    mesh: [
      ...[namespace("accounts"), namespace("operators"), pods("accounts", "accounts"), service("accounts", "accounts")],
      policy(
        "accounts",
        "admin",
        "{ action: DENY, rules: [{ from: [{ source: { notNamespaces: [operators] } }], to: [{ operation: { paths: ['/admin/*'] } }] }] }",
      ),
    ].join(""),
    ends: policy(
      "accounts",
      "admin",
      "{ action: DENY, rules: [{ from: [{ source: { notNamespaces: [operators] } }], to: [{ operation: { paths: ['/admin/users/*'] } }] }] }",
    ),
    message: /others must be denied: GET \/admin\/ from .* would be allowed/,
  },
  refunds: {
    mesh: [
      ...[namespace("refunds"), namespace("web"), pods("refunds", "refunds"), service("refunds", "refunds")],
      `
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: { name: users, namespace: refunds }
spec: { jwtRules: [{ issuer: "https://users.example" }] }
---`,
      policy(
        "refunds",
        "operators",
        "{ rules: [{ from: [{ source: { requestPrincipals: ['https://users.example/*'] } }], when: [{ key: 'request.auth.claims[role]', values: [operator] }] }, { to: [{ operation: { methods: [GET] } }] }] }",
      ),
    ].join(""),
    ends: policy("refunds", "support", "{ rules: [{ from: [{ source: { namespaces: [web] } }] }] }"),
    message:
      /\(POST; not token \*\) from mesh must be denied: POST \/ from namespace web would be allowed, by AuthorizationPolicy refunds\/support rule 1/,
  },
  stripe: {
    mesh: [
      ...["payments", "orders", "web"].flatMap((name) => [namespace(name), pods(name, name)]),
      `
apiVersion: v1
kind: ConfigMap
metadata: { name: istio, namespace: istio-system }
data: { mesh: "outboundTrafficPolicy: { mode: REGISTRY_ONLY }" }
---`,
      entry("payments", "."),
    ].join(""),
    ends: entry("payments", "*"),
    message:
      /^Requests from namespace\/web, namespace\/orders must be denied: GET \/ from namespace web would be allowed, because it leaves the mesh/,
  },
  egress: {
    mesh: [
      ...["builds", "web", "infra"].map((name) => namespace(name)),
      ...[pods("builds", "runner"), pods("web", "shop"), egressGateway],
    ].join(""),
    ends: policy(
      "infra",
      "allow-web",
      "{ selector: { matchLabels: { app: egress } }, rules: [{ from: [{ source: { namespaces: [web] } }] }] }",
    ),
    message:
      /^Requests from namespace\/web must be denied: GET \/ to host artifacts.example.com from namespace web would be allowed, by AuthorizationPolicy infra\/allow-web rule 1$/,
  },
  platform: {
    mesh: [
      namespace("records", "istio-injection: enabled, tier: restricted"),
      ...[pods("records", "files"), mtls("records", "STRICT"), namespace("booking"), pods("booking", "booking")],
    ].join(""),
    ends: mtls("records", "PERMISSIVE"),
    message: /^MeshwardIntent istio-system\/restricted-namespaces: Requests from outside must be denied/,
  },
};

const read = (raw: Raw): AnyObject => {
  const object = readAny(raw);
  assert.ok(object !== undefined);
  return object;
};
const ofIntents = rules.filter(({ id }) => id.includes("intent"));

describe("the intents to copy", () => {
  test("each is judged here", () => {
    assert.deepEqual([...shown.keys()].sort(), Object.keys(cases).sort());
  });
  for (const [name, { mesh: there, ends, message }] of Object.entries(cases))
    test(name, () => {
      const intent = shown.get(name) as Raw;
      const source = { raw: intent, file: "intents.md", locate: () => ({ line: 1, column: 1 }) };
      assert.deepEqual(loadPolicies([source], rules).errors, []);
      const objects = [...objectsIn(there), intent].map(read);
      const mesh = new MeshStore(meshSettingsOf(objects));
      for (const object of objects) mesh.set(object);
      const found = [...audit(ofIntents, mesh, everyRule)].map((one) => ("message" in one ? one.message : one));
      assert.deepEqual(found, [], "the intent does not hold");
      const changes = objectsIn(ends).map(read);
      const { findings } = judge(
        ofIntents,
        mesh,
        changes.map((object) => ({ old: mesh.find(object.kind, keyOf(object)), object })),
      );
      const denied = findings.filter(({ rule, onlyWarns }) => rule.id === "intent-broken" && onlyWarns === undefined);
      assert.ok(
        denied.some((one) => message.test(one.message)),
        JSON.stringify(denied.map((one) => one.message)),
      );
    });
});
