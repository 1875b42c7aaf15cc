import assert from "node:assert/strict";
import { test } from "node:test";
import { audit } from "../../src/engine/audit.ts";
import { judge } from "../../src/engine/evaluate.ts";
import { everyRule } from "../../src/engine/setting.ts";
import { keyOf } from "../../src/kube/identity.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { rules } from "../../src/rules/index.ts";
import { meshSettingsOf } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { changedIn, deployment, objectsIn, type Raw, service } from "./story.ts";

// Paths that a route replaces before the policies of the server see them, and a Service whose waypoint may be another controller's.

const world = objectsIn(`
apiVersion: v1
kind: Namespace
metadata: { name: api, labels: { istio-injection: enabled } }
---
apiVersion: v1
kind: Namespace
metadata: { name: web, labels: { istio-injection: enabled } }
---${deployment("api", "api")}${service("api", "api")}${deployment("api", "list")}${service("api", "list").replace("namespace: api", "namespace: api, labels: { istio.io/use-waypoint: waypoint }")}${deployment("web", "front")}
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: api, namespace: api }
spec:
  hosts: [api]
  http:
    - match: [{ uri: { prefix: /v1/ } }]
      rewrite: { uri: / }
      route: [{ destination: { host: api } }]
    - route: [{ destination: { host: api } }]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: no-admin, namespace: api }
spec: { selector: { matchLabels: { app: api } }, action: DENY, rules: [{ to: [{ operation: { paths: ["/admin*"] } }] }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: waypoint, namespace: api }
spec: { gatewayClassName: istio-waypoint, listeners: [{ name: mesh, port: 15008, protocol: HBONE }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: list, namespace: api }
spec:
  parentRefs: [{ group: "", kind: Service, name: list }]
  rules:
    - matches: [{ path: { type: PathPrefix, value: /v1 } }]
      filters: [{ type: URLRewrite, urlRewrite: { path: { type: ReplacePrefixMatch, replacePrefixMatch: /public } } }]
      backendRefs: [{ name: list, port: 8080 }]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: public, namespace: api }
spec: { selector: { matchLabels: { app: list } }, rules: [{ to: [{ operation: { paths: [/public, "/public/*"] } }] }] }
---
apiVersion: meshward.io/v1alpha1
kind: MeshwardIntent
metadata: { name: no-administration, namespace: api }
spec:
  to: { service: api }
  requests:
    - { from: [namespace/web], paths: ["/v1/admin*", "/admin*"], expect: denied }
    - { from: [namespace/web], paths: ["/v1/items/*"], expect: allowed }
---
apiVersion: meshward.io/v1alpha1
kind: MeshwardIntent
metadata: { name: the-list-is-public, namespace: api }
spec:
  to: { service: list }
  requests: [{ from: [namespace/web], paths: [/v1, "/v1/*"], expect: allowed }]
`);
const read = (raw: Raw): AnyObject => {
  const object = readAny(raw);
  assert.ok(object !== undefined);
  return object;
};
const objects = world.map(read);
const mesh = new MeshStore(meshSettingsOf(objects));
for (const object of objects) mesh.set(object);
const ofIntents = rules.filter(({ id }) => id.startsWith("intent"));

/** What breaks an intent, and with a question mark what can no longer be decided. */
function said(raw: Raw): readonly string[] {
  const object = read(raw);
  const { findings, errors } = judge(ofIntents, mesh, [{ old: mesh.find(object.kind, keyOf(object)), object }]);
  assert.deepEqual(errors, []);
  return findings.map(({ subject, message, onlyWarns }) => {
    const doubt = onlyWarns === undefined ? "" : "? ";
    return `${doubt}${subject.metadata.name}: ${message}`;
  });
}
const changed = (kind: string, name: string, change: (raw: Raw) => void): Raw =>
  changedIn(world, { kind, name, change });

test("the intents hold", () => {
  const found = [...audit(ofIntents, mesh, everyRule)].map((one) => ("message" in one ? one.message : one));
  assert.deepEqual(found, []);
});

const changes: readonly (readonly [name: string, breaking: Raw, says: RegExp, harmless: Raw])[] = [
  [
    "another prefix in its place, behind which the policy does not match",
    changed("VirtualService", "api", ({ spec }) => {
      spec.http[0].rewrite.uri = "/internal/";
    }),
    /^no-administration: .*must be denied: GET \/v1\/admin from namespace web would be allowed/,
    changed("VirtualService", "api", ({ spec }) => {
      spec.http[0].timeout = "5s";
    }),
  ],
  [
    "a policy for the path that callers send, and not for that which the server sees",
    changed("AuthorizationPolicy", "no-admin", ({ spec }) => {
      spec.rules[0].to[0].operation.paths = ["/v1/admin*"];
    }),
    /^no-administration: .*must be denied: GET \/(v1\/)?admin from namespace web would be allowed/,
    changed("AuthorizationPolicy", "no-admin", ({ spec }) => {
      spec.rules[0].to[0].operation.paths.push("/v1/admin*");
    }),
  ],
  [
    "a denial of what a path becomes",
    changed("AuthorizationPolicy", "no-admin", ({ spec }) => {
      spec.rules[0].to[0].operation.paths.push("/items/{*}/price");
    }),
    /^no-administration: .*must be allowed: GET \/v1\/items\/[^/]+\/price from namespace web would be denied, by AuthorizationPolicy api\/no-admin rule 1/,
    changed("AuthorizationPolicy", "no-admin", ({ spec }) => {
      spec.rules[0].to[0].operation.paths.push("/prices/{*}");
    }),
  ],
  [
    "a regular expression with wildcards at both ends takes requests",
    changed("VirtualService", "api", ({ spec }) => {
      spec.http.unshift({ match: [{ uri: { regex: ".*items.*" } }], route: [{ destination: { host: "nothing" } }] });
    }),
    /^no-administration: .*must be allowed: GET \/v1\/items\/ from namespace web would reach nothing/,
    changed("VirtualService", "api", ({ spec }) => {
      spec.http.unshift({
        match: [{ uri: { regex: "/v2/.*items.*" } }],
        route: [{ destination: { host: "nothing" } }],
      });
    }),
  ],
  [
    "another prefix by the Gateway API",
    changed("HTTPRoute", "list", ({ spec }) => {
      spec.rules[0].filters[0].urlRewrite.path.replacePrefixMatch = "/v2";
    }),
    /^the-list-is-public: .*must be allowed: GET \/v1\S* from namespace web.* would be denied, because no rule .*AuthorizationPolicy api\/public/,
    changed("HTTPRoute", "list", ({ spec }) => {
      spec.rules[0].filters[0].urlRewrite.path.replacePrefixMatch = "/public/";
    }),
  ],
  [
    "a waypoint that the Service names, of a class that is none of Istio's",
    changed("Gateway", "waypoint", ({ spec }) => {
      spec.gatewayClassName = "vendor";
    }),
    /^\? the-list-is-public: .*can no longer be decided: .*HTTPRoute api\/list counts if istiod reads it: waypoint api\/waypoint of Service api\/list has class "vendor"/,
    changed("Gateway", "waypoint", ({ metadata }) => {
      metadata.labels = { team: "api" };
    }),
  ],
];

for (const [name, breaking, says, harmless] of changes)
  test(name, () => {
    const found = said(breaking);
    assert.ok(
      found.some((one) => says.test(one)),
      found.join("\n"),
    );
    assert.deepEqual(said(harmless), []);
  });
