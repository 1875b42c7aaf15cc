import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { readObject } from "../../../src/kube/object.ts";
import { coverageOf, isDeniedByDefault, noCoverage, together } from "../../../src/mesh/authorization/coverage.ts";
import { actionOf, type AuthorizationPolicy } from "../../../src/mesh/authorization/policies.ts";
import { matchedBy, namesItsCallers, type Reach, reachOf } from "../../../src/mesh/authorization/reach.ts";
import { type Enforcer, enforcers } from "../../../src/mesh/authorization/rules.ts";
import { defaultMeshSettings } from "../../../src/view/settings.ts";
import { rawRules, settings } from "./requests/arbitrary.ts";
import { isAllowed, type PlainRequest } from "./requests/interpreter.ts";

const policyOf = (spec: object): AuthorizationPolicy =>
  readObject("AuthorizationPolicy", { metadata: { namespace: "a", name: "p" }, spec });
const reach = (rules: readonly object[], enforcer: Enforcer): Reach =>
  reachOf(policyOf({ rules }), enforcer, defaultMeshSettings);

const from = (...sources: object[]) => ({ from: sources.map((source) => ({ source })) });
const to = (...operations: object[]) => ({ to: operations.map((operation) => ({ operation })) });
const when = (...conditions: object[]) => ({ when: conditions });
const letters = Array.from({ length: 26 }, (_, i) => String.fromCharCode(97 + i));
const everyMethod = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

describe("whom an ALLOW policy does not restrict, at a proxy and at ztunnel", () => {
  const table: readonly [readonly object[], Reach, Reach][] = [
    [[{}], "everyone", "everyone"],
    [[], "some", "some"],
    [[{ from: [], to: [], when: [] }], "everyone", "everyone"],
    [[{ from: null, to: null }], "everyone", "everyone"],
    // Whoever has an identity.
    [[from({ principals: ["*"] })], "authenticated", "authenticated"],
    [[from({ principals: ["cluster.local/*"] })], "authenticated", "authenticated"],
    [[from({ principals: ["cluster.local/ns/*"] })], "authenticated", "authenticated"],
    [[from({ principals: ["c*"] })], "authenticated", "authenticated"],
    [[from({ principals: ["a", "*"] })], "authenticated", "authenticated"],
    [[from({ namespaces: ["*"] })], "authenticated", "authenticated"],
    // The star of a namespace goes across slashes at a proxy.
    [[from({ namespaces: ["*sa"] })], "authenticated", "some"],
    [[from({ namespaces: ["*a"] })], "authenticated", "some"],
    [[from({ namespaces: letters.map((letter) => `${letter}*`) })], "authenticated", "authenticated"],
    [letters.map((letter) => from({ namespaces: [`${letter}*`] })), "authenticated", "authenticated"],
    [[from({ principals: letters.map((letter) => `*${letter}`) })], "authenticated", "authenticated"],
    [[from({ namespaces: ["*"], notNamespaces: ["a"] })], "authenticated", "authenticated"],
    [[from({ trustDomains: ["cluster.local"] })], "authenticated", "some"],
    [[from({ trustDomains: ["partner"], namespaces: ["*"] })], "some", "authenticated"],
    [[from({ notTrustDomains: ["partner"], namespaces: ["*"] })], "authenticated", "authenticated"],
    // Whoever is named.
    [[from({ principals: ["cluster.local/ns/a/*"] })], "some", "some"],
    [[from({ principals: ["other.org/*"] })], "some", "some"],
    [[from({ principals: ["*/ns/a/sa/b"] })], "some", "some"],
    [[from({ namespaces: ["*"], principals: ["a"] })], "some", "some"],
    [[from({ namespaces: ["a*"] })], "some", "some"],
    [[from({ serviceAccounts: ["a/b"] })], "some", "some"],
    [[from({ requestPrincipals: ["*"] })], "some", "some"],
    [[from({ ipBlocks: ["10.0.0.0/8"] })], "some", "some"],
    // A negative field names nobody.
    [[from({ notPrincipals: ["a"] })], "everyone", "everyone"],
    [[from({ notNamespaces: ["a"] })], "everyone", "everyone"],
    [[from({ notServiceAccounts: ["a/b"] })], "everyone", "everyone"],
    [[from({ notIpBlocks: ["10.0.0.0/8"] })], "everyone", "everyone"],
    [[from({ notIpBlocks: ["0.0.0.0/0"] })], "everyone", "everyone"],
    [[from({ notIpBlocks: ["0.0.0.0/0", "::/0"] })], "some", "some"],
    [[from({ notRemoteIpBlocks: ["10.0.0.0/8"] })], "everyone", "some"],
    [[from({ notRequestPrincipals: ["x/y"] })], "everyone", "some"],
    [[from({ ipBlocks: ["0.0.0.0/0"], notIpBlocks: ["10.0.0.1"] })], "everyone", "everyone"],
    [[to({ notPaths: ["/admin"] })], "everyone", "some"],
    [[to({ notPaths: ["/*"] })], "some", "some"],
    [[to({ notMethods: ["TRACE"] })], "everyone", "some"],
    [[to({ notMethods: ["GET"] })], "some", "some"],
    [[to({ notHosts: ["x"] })], "everyone", "some"],
    [[to({ notPorts: ["9999"] })], "everyone", "everyone"],
    [[when({ key: "source.namespace", notValues: ["a"] })], "everyone", "everyone"],
    [[when({ key: "request.headers[x]", notValues: ["a"] })], "everyone", "some"],
    [[when({ key: "request.auth.claims[x]", notValues: ["a"] })], "everyone", "some"],
    [[when({ key: "connection.sni", notValues: ["a"] })], "everyone", "some"],
    // Values that everybody meets.
    [[from({ ipBlocks: ["0.0.0.0/0"] })], "everyone", "everyone"],
    [[from({ ipBlocks: ["0.0.0.0/1", "128.0.0.0/1"] })], "everyone", "everyone"],
    [[from({ ipBlocks: ["0.0.0.0/1"] }), from({ ipBlocks: ["128.0.0.0/1"] })], "everyone", "everyone"],
    [[from({ remoteIpBlocks: ["::/0"] })], "everyone", "some"],
    [[from({}, { namespaces: ["a"] })], "everyone", "some"],
    [[to({ methods: everyMethod })], "everyone", "some"],
    [everyMethod.map((method) => to({ methods: [method] })), "everyone", "some"],
    [[to({ methods: ["GET", "POST"] })], "some", "some"],
    [[to({ methods: ["*"], paths: ["*"], hosts: ["*"] })], "everyone", "some"],
    [[to({ paths: ["/a"] }, { paths: ["/*"] })], "everyone", "some"],
    [[to({ paths: ["/{**}"] })], "everyone", "some"],
    [[to({ paths: ["/", "/{*}", "/{*}/{**}"] })], "everyone", "some"],
    [[to({ paths: ["/{*}"] })], "some", "some"],
    [[to({ paths: ["/api/*"] })], "some", "some"],
    [[to({ ports: ["80"] })], "some", "some"],
    [[when({ key: "source.ip", values: ["0.0.0.0/0"] })], "everyone", "everyone"],
    [[when({ key: "source.namespace", values: ["*"] })], "authenticated", "authenticated"],
    [[when({ key: "source.principal", values: ["*"] })], "authenticated", "authenticated"],
    [[when({ key: "request.headers[:path]", values: ["*"] })], "everyone", "some"],
    [[when({ key: "request.headers[User-Agent]", values: ["*"] })], "everyone", "some"],
    [[when({ key: "request.headers[x]", values: ["*"] })], "some", "some"],
    [[when({ key: "destination.port", values: ["80"] })], "some", "some"],
    // Several parts.
    [[{ ...from({ principals: ["*"] }), ...to({ paths: ["/a"] }) }], "some", "some"],
    [[{ ...from({ notNamespaces: ["a"] }), ...to({ notPaths: ["/a"] }) }], "everyone", "some"],
    [[{ ...from({ notNamespaces: ["a"], ipBlocks: ["10.0.0.1"] }) }], "some", "some"],
    // Without an identity, notPrincipals is met.
    [[from({ namespaces: ["*"], notPrincipals: ["*"] })], "some", "some"],
  ];
  for (const [rules, atProxy, atZtunnel] of table)
    test(JSON.stringify(rules).slice(0, 120), () => {
      assert.deepEqual([reach(rules, "proxy"), reach(rules, "ztunnel")], [atProxy, atZtunnel]);
    });

  test("a trust domain of the mesh, and a word that policies should not contain", () => {
    const settings = { ...defaultMeshSettings, trustDomain: "td" };
    const of = (rule: object) => reachOf(policyOf({ rules: [rule] }), "proxy", settings);
    assert.equal(of(from({ principals: ["td/*"] })), "authenticated");
    assert.equal(of(from({ principals: ["cluster.local/*"] })), "some");
    assert.equal(of(to({ notPaths: ["/\u{e000}*"] })), "everyone");
    assert.equal(of(from({ notIpBlocks: ["198.18.0.1"] })), "everyone");
    assert.equal(of(from({ namespaces: ["*"], notNamespaces: ["\u{e000}"] })), "authenticated");
  });
});

describe("whom a DENY policy denies by default", () => {
  const isDefaultDeny = (enforcer: Enforcer, ...rules: readonly object[]): boolean => {
    const policy = policyOf({ action: "DENY", rules });
    return isDeniedByDefault(coverageOf(policy, false, matchedBy(policy, enforcer, defaultMeshSettings)));
  };
  const table: readonly [readonly object[], boolean, boolean][] = [
    [[{}], true, true],
    [[from({ notPrincipals: ["cluster.local/ns/a/sa/b"] })], true, true],
    [[from({ notPrincipals: ["*"] })], true, true],
    [[from({ notNamespaces: ["a"] })], true, true],
    [[from({ notRequestPrincipals: ["*"] })], true, false],
    [[to({ notPaths: ["/healthz"] })], true, false],
    // GET stays open to everybody.
    [[to({ notMethods: ["GET"] })], false, false],
    [[to({ notMethods: ["OPTIONS"] })], true, false],
    [[to({ notPorts: ["8080"] })], true, true],
    [[to({ paths: ["/admin"] })], false, false],
    [[from({ namespaces: ["a"] })], false, false],
    [[from({ principals: ["*"] })], false, false],
    [[from({ notIpBlocks: ["10.0.0.0/8"] })], true, true],
    [[from({ ipBlocks: ["0.0.0.0/0", "::/0"] })], true, true],
    // IPv6 stays open.
    [[from({ ipBlocks: ["0.0.0.0/0"] })], false, false],
  ];
  for (const [rules, atProxy, atZtunnel] of table)
    test(JSON.stringify(rules), () => {
      assert.deepEqual([isDefaultDeny("proxy", ...rules), isDefaultDeny("ztunnel", ...rules)], [atProxy, atZtunnel]);
    });
});

describe("policies together", () => {
  const request = (ip: string, method: string, path: string): PlainRequest => ({
    identity: undefined,
    sourceIp: ip,
    remoteIp: ip,
    destinationIp: "198.18.0.9",
    port: 7777,
    host: "stranger.example",
    method,
    path,
    sni: "",
    headers: { "user-agent": ["stranger"] },
    token: undefined,
    claims: {},
  });
  const ordinary = ["198.18.0.1", "2001:db8:ffff::1"].map((ip) =>
    ["GET", "POST", "PUT", "PATCH", "DELETE"].flatMap((method) =>
      ["/stranger", "/stranger/stranger"].map((path) => request(ip, method, path)),
    ),
  );

  test("refuse unnamed callers by default if they refuse some of their ordinary requests", () => {
    let open = 0;
    const policies = fc.array(
      fc
        .record({ action: fc.constantFrom("ALLOW", "ALLOW", "DENY"), rules: fc.array(rawRules, { maxLength: 2 }) })
        .map(policyOf),
      { minLength: 1, maxLength: 3 },
    );
    fc.assert(
      fc.property(policies, (all) => {
        const coverage = all
          .map((one) => coverageOf(one, actionOf(one) === "ALLOW", matchedBy(one, "proxy", defaultMeshSettings)))
          .reduce(together, noCoverage);
        const isOpen = ordinary.some((some) => some.every((one) => isAllowed(one, all, "http", defaultMeshSettings)));
        if (isOpen) open++;
        // A request that is accepted shows that the policies are open; another caller of the family may be accepted too.
        if (isOpen) assert.equal(isDeniedByDefault(coverage), false);
      }),
      { numRuns: 2_000 },
    );
    assert.ok(open > 50, `${open}`);
  });
});

describe("policies of which each rule names its callers", () => {
  test("restrict everybody else, at every data plane", () => {
    let [naming, open] = [0, 0];
    const policies = fc.array(rawRules, { minLength: 1, maxLength: 2 }).map((rules) => policyOf({ rules }));
    fc.assert(
      fc.property(policies, settings, (policy, ofMesh) => {
        const reaches = enforcers.map((enforcer) => reachOf(policy, enforcer, ofMesh));
        if (reaches.some((one) => one !== "some")) open++;
        if (!namesItsCallers(policy)) return;
        naming++;
        assert.deepEqual(
          reaches,
          enforcers.map(() => "some"),
        );
      }),
      { numRuns: 3_000 },
    );
    assert.ok(naming > 30 && open > 100, `${naming} name their callers, and ${open} are open`);
  });

  test("an empty name and a wildcard are no names", () => {
    const isNaming = (...rules: readonly object[]) => namesItsCallers(policyOf({ rules }));
    assert.ok(
      isNaming(from({ principals: ["cluster.local/ns/a/sa/b"] }), from({ namespaces: ["a"] }, { principals: ["c"] })),
    );
    for (const source of [
      { principals: [""] },
      { principals: ["a", "*"] },
      { namespaces: ["a*"] },
      { notPrincipals: ["a"] },
    ])
      assert.equal(isNaming(from({ principals: ["a"] }, source)), false, JSON.stringify(source));
    assert.deepEqual([isNaming({}), isNaming(from({ principals: ["a"] }), {})], [false, false]);
  });
});
