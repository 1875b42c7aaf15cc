import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { audit } from "../../src/engine/audit.ts";
import { judge } from "../../src/engine/evaluate.ts";
import { everyRule } from "../../src/engine/setting.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import { rules } from "../../src/rules/index.ts";
import { meshSettingsOf } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { objectsIn, type Raw } from "./story.ts";

// Every attribute of a request that an entry of an intent can name, against policies that name the same.

const ofIntents = rules.filter(({ id }) => id.startsWith("intent-"));
const mesh = `
apiVersion: v1
kind: Namespace
metadata: { name: shop, labels: { istio-injection: enabled } }
---
apiVersion: v1
kind: Namespace
metadata: { name: web, labels: { istio-injection: enabled } }
---
apiVersion: v1
kind: Service
metadata: { name: api, namespace: shop }
spec: { selector: { app: api }, ports: [{ name: http, port: 80, targetPort: 8080 }] }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: api, namespace: shop }
spec:
  template:
    metadata: { labels: { app: api } }
    spec: { serviceAccountName: api, containers: [{ name: app, ports: [{ containerPort: 8080 }] }] }
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: { name: users, namespace: shop }
spec: { jwtRules: [{ issuer: "https://users.example" }] }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: api, namespace: shop }
spec:
  rules:
    - to: [{ operation: { paths: [/public*] } }]
    - from: [{ source: { requestPrincipals: ["https://users.example/*"] } }]
      when: [{ key: "request.auth.claims[role]", values: [admin, operator] }]
    - from: [{ source: { remoteIpBlocks: [10.0.0.0/8] } }]
      to: [{ operation: { paths: [/internal*], hosts: [api.shop, api.shop.svc.cluster.local] } }]
    - to: [{ operation: { paths: [/beta*] } }]
      when: [{ key: "request.headers[x-beta]", values: [yes] }]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: not-from-the-lab, namespace: shop }
spec: { action: DENY, rules: [{ from: [{ source: { ipBlocks: [192.168.7.0/24] } }] }] }
---
`;

/** What the rules of intents say of an intent with one entry. */
function saidOf(entry: Raw): readonly string[] {
  const intent = {
    ...{ apiVersion: "meshward.io/v1alpha1", kind: "MeshwardIntent", metadata: { name: "i", namespace: "shop" } },
    spec: { to: { service: "api" }, requests: [{ from: ["namespace/web"], ...entry }] },
  };
  const source = { raw: intent, file: "a", locate: () => ({ line: 1, column: 1 }) };
  const { errors } = loadPolicies([source], rules);
  if (errors.length > 0) return errors.map(({ message }) => message);
  const objects = [...objectsIn(mesh), intent].flatMap((raw): readonly AnyObject[] => {
    const object = readAny(raw);
    return object === undefined ? [] : [object];
  });
  const store = new MeshStore(meshSettingsOf(objects));
  for (const object of objects) store.set(object);
  return [...audit(ofIntents, store, everyRule)].map((one) => ("message" in one ? one.message : JSON.stringify(one)));
}

const admin = { requestPrincipals: ["https://users.example/*"], claims: { role: ["admin"] } };
const lab = { notIpBlocks: ["192.168.7.0/24"] };

describe("an entry that names", () => {
  for (const [what, entry, said] of [
    ["a claim", { ...admin, ...lab, expect: "allowed" }, undefined],
    [
      "another claim",
      { ...admin, ...lab, claims: { role: ["user"] }, expect: "allowed" },
      /Requests \(token https:\/\/users\.example\/\*; claim role: user; not address 192\.168\.7\.0\/24\) from namespace\/web must be allowed: GET \/ .*with claim role: user is denied/,
    ],
    [
      "a claim of any token",
      { ...lab, claims: { role: ["admin"] }, expect: "allowed" },
      /must be allowed: GET \/ .* with claim role: admin is denied/,
    ],
    [
      "no token",
      { notRequestPrincipals: ["*"], notPaths: ["/public*", "/internal*", "/beta*"], expect: "denied" },
      undefined,
    ],
    [
      "no token, of all requests",
      { notRequestPrincipals: ["*"], expect: "denied" },
      /\(not token \*\) .* must be denied: GET \/public from namespace web .*is allowed, by AuthorizationPolicy shop\/api rule 1/,
    ],
    [
      "a host and the original client",
      { hosts: ["api.shop"], paths: ["/internal/x"], remoteIpBlocks: ["10.1.0.0/16"], ...lab, expect: "allowed" },
      undefined,
    ],
    [
      "another host",
      {
        ...{
          hosts: ["*.example"],
          paths: ["/internal/x"],
          notRequestPrincipals: ["*"],
          remoteIpBlocks: ["10.1.0.0/16"],
        },
        expect: "denied",
      },
      undefined,
    ],
    [
      "all hosts but one",
      { notHosts: ["api.shop"], paths: ["/internal/x"], notRequestPrincipals: ["*"], expect: "denied" },
      /\/internal\/x; not host api\.shop; not token \*\).* to host api\.shop\.svc\.cluster\.local .* is allowed, by AuthorizationPolicy shop\/api rule 3/,
    ],
    [
      "other original clients",
      { notRemoteIpBlocks: ["10.0.0.0/8"], paths: ["/internal/x"], notRequestPrincipals: ["*"], expect: "denied" },
      undefined,
    ],
    ["a header", { headers: { "x-beta": ["yes"] }, paths: ["/beta"], ...lab, expect: "allowed" }, undefined],
    ["an address", { ipBlocks: ["192.168.7.0/25"], expect: "denied" }, undefined],
    [
      "an address in part",
      { ipBlocks: ["192.168.0.0/16"], paths: ["/public"], expect: "denied" },
      /address 192\.168\.0\.0\/16\).* from namespace web at 192\.168\.\d+\.\d+ is allowed, by AuthorizationPolicy shop\/api rule 1/,
    ],
  ] as const)
    test(what, () => {
      const found = saidOf(entry);
      if (said === undefined) assert.deepEqual(found, []);
      else {
        assert.equal(found.length, 1, JSON.stringify(found));
        assert.match(found[0] ?? "", said);
      }
    });
});

describe("a route that changes a header ends what depends on it", () => {
  const beta = { from: ["namespace/web"], ...lab, headers: { "x-beta": ["yes"] }, paths: ["/beta"], expect: "allowed" };
  const intent = readAny({
    ...{ apiVersion: "meshward.io/v1alpha1", kind: "MeshwardIntent", metadata: { name: "i", namespace: "shop" } },
    spec: { to: { service: "api" }, requests: [beta] },
  });
  const brokenBy = (http: Raw): readonly string[] => {
    const objects = [...objectsIn(mesh).map((raw) => readAny(raw)), intent].filter((one) => one !== undefined);
    const store = new MeshStore(meshSettingsOf(objects));
    for (const object of objects) store.set(object);
    const object = readAny({
      ...{ apiVersion: "networking.istio.io/v1", kind: "VirtualService", metadata: { name: "api", namespace: "shop" } },
      spec: { hosts: ["api"], http: [{ ...http, route: [{ destination: { host: "api" } }] }] },
    });
    const { findings, errors } = judge(ofIntents, store, [{ object }]);
    assert.deepEqual(errors, []);
    return findings.map(({ rule }) => rule.id);
  };
  for (const [what, http, broken] of [
    ["the header is removed", { headers: { request: { remove: ["X-Beta"] } } }, ["intent-broken"]],
    ["it has another value", { headers: { request: { set: { "x-beta": "no" } } } }, ["intent-broken"]],
    ["the same value is set", { headers: { request: { set: { "x-beta": "yes" } } } }, []],
    ["another header is removed", { headers: { request: { remove: ["x-other"] } } }, []],
    ["a response has another header", { headers: { response: { set: { "x-beta": "no" } } } }, []],
  ] as const)
    test(what, () => assert.deepEqual(brokenBy(http), broken));
});

describe("a value that means nothing is named", () => {
  for (const [entry, said] of [
    [
      { hosts: ["https://shop.example/"] },
      /The host "https:\/\/shop\.example\/" matches no request .* no scheme and no path/,
    ],
    [{ methods: ["{*}"] }, /The method "\{\*\}" matches no request .* no spaces, braces or slashes/],
    [{ notMethods: ["GET /"] }, /The method "GET \/" matches no request/],
    [{ requestPrincipals: ["admin"] }, /The token "admin" matches no request .* issuer\/subject/],
    [
      { ipBlocks: ["10.0.0.0/33"] },
      /The address "10\.0\.0\.0\/33" matches no request .* a block such as 10\.0\.0\.0\/8/,
    ],
    [{ notRemoteIpBlocks: ["localhost"] }, /The address "localhost" matches no request/],
    [{ methods: ["GET"], notMethods: ["GET"] }, /No request meets all conditions of the entry, so it expects nothing/],
    [{ ipBlocks: ["10.1.0.0/16"], notIpBlocks: ["10.0.0.0/8"] }, /No request meets all conditions/],
    [{ claims: { role: ["admin"] }, notRequestPrincipals: ["*"] }, /No request meets all conditions/],
  ] as const)
    test(JSON.stringify(entry), () => {
      const found = saidOf({ ...entry, expect: "denied" });
      assert.ok(
        found.some((message) => said.test(message)),
        JSON.stringify(found),
      );
    });
});
