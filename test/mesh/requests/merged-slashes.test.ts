import assert from "node:assert/strict";
import { test } from "node:test";
import { asked, meshOf, texts } from "./asked.ts";
import { authorizationPolicy, httpRoute, shop, virtualService } from "./meshes.ts";

// With MERGE_SLASHES, every proxy makes one slash of several before its routes and policies compare a path, also in one that a route
// before it wrote (Istio pilot/pkg/networking/core/listener_builder.go; Envoy HttpConnectionManager.merge_slashes).

const meshConfig = (normalization: string): string => `---
apiVersion: v1
kind: ConfigMap
metadata: { name: istio, namespace: istio-system }
data: { mesh: "pathNormalization: { normalization: ${normalization} }" }
`;
const toX = "route: [{ destination: { host: x } }]";
const rewriting = (prefix: string, uri: string): string =>
  virtualService(
    "shop/x",
    `hosts: [x]\nhttp: [{ match: [{ uri: { prefix: ${prefix} } }], rewrite: { uri: ${uri} }, ${toX} }]`,
  );
const denying = (path: string): string =>
  authorizationPolicy("shop/deny", `action: DENY\nrules: [{ to: [{ operation: { paths: ["${path}"] } }] }]`);

const results = (more: string, path: string, normalization: string): readonly string[] => [
  ...new Set(
    asked(meshOf(shop + more + meshConfig(normalization)), "web/client", "shop/x:80", texts("path", path)).map(
      ({ result }) => result,
    ),
  ),
];

const cases: readonly (readonly [name: string, route: string, denied: string, path: string])[] = [
  ["the whole path is what follows the prefix", rewriting("/api", "/"), "/admin", "/api/admin"],
  ["the new prefix ends with a slash", rewriting("/api", "/v1/"), "/v1/admin", "/api/admin"],
  ["the new prefix has several slashes", rewriting("/api/", "/v1//"), "/v1/admin", "/api/admin"],
  [
    "the whole path is replaced by one with several",
    virtualService(
      "shop/x",
      `hosts: [x]\nhttp: [{ match: [{ uri: { exact: /a } }], rewrite: { uri: /v1//admin }, ${toX} }]`,
    ),
    "/v1/admin",
    "/a",
  ],
];
for (const [name, route, denied, path] of cases)
  test(`${name}: policies compare the merged path`, () => {
    for (const merging of ["MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"])
      assert.deepEqual(results(route + denying(denied), path, merging), ["denied"], merging);
    for (const other of ["DEFAULT", "BASE"])
      assert.deepEqual(results(route + denying(denied), path, other), ["accepted"], other);
  });

test("without merging, policies compare both slashes", () => {
  const two = rewriting("/api", "/v1/") + denying("/v1//admin");
  assert.deepEqual(results(two, "/api/admin", "DEFAULT"), ["denied"]);
  assert.deepEqual(results(two, "/api/admin", "MERGE_SLASHES"), ["accepted"]);
});

test("paths that go on without a slash are as they were", () => {
  const route = rewriting("/api", "/v1/");
  for (const normalization of ["DEFAULT", "MERGE_SLASHES"]) {
    assert.deepEqual(results(route + denying("/v1/tail"), "/apitail", normalization), ["denied"]);
    assert.deepEqual(results(route + denying("/v1/other"), "/apitail", normalization), ["accepted"]);
  }
  assert.deepEqual(results(route + denying("/admin"), "/api../admin", "MERGE_SLASHES"), ["undecided"]);
});

test("ReplacePrefixMatch makes no second slash, with or without merging", () => {
  const filter = "{ type: URLRewrite, urlRewrite: { path: { type: ReplacePrefixMatch, replacePrefixMatch: / } } }";
  const route = httpRoute(
    "shop/r",
    `rules: [{ matches: [{ path: { value: /api } }], filters: [${filter}], backendRefs: [{ name: x, port: 80 }] }]`,
  );
  for (const normalization of ["DEFAULT", "MERGE_SLASHES"])
    assert.deepEqual(results(route + denying("/admin"), "/api/admin", normalization), ["denied"]);
});
