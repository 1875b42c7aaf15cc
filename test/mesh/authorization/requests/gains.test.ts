import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type ObjectOf, readObject } from "../../../../src/kube/object.ts";
import { applied, compare, type Gains, gainsOf } from "./compared.ts";

type AuthorizationPolicy = ObjectOf<"AuthorizationPolicy">;

let count = 0;
const policy = (spec: object): AuthorizationPolicy =>
  readObject("AuthorizationPolicy", { metadata: { namespace: "a", name: `p-${count++}` }, spec });
const allow = (...rules: readonly object[]) => policy({ rules });
const deny = (...rules: readonly object[]) => policy({ action: "DENY", rules });
const from = (...sources: readonly object[]) => ({ from: sources.map((source) => ({ source })) });
const to = (...operations: readonly object[]) => ({ to: operations.map((operation) => ({ operation })) });
const when = (key: string, values: readonly string[], notValues: readonly string[] = []) => ({
  when: [{ key, values, notValues }],
});
const kindOf = ({ opened, denyLost, widened, isUndecided }: Gains): string => {
  if (isUndecided) return "undecided";
  if (denyLost !== undefined) return "deny lost";
  if (opened !== undefined) return "opened";
  return widened === undefined ? "nothing" : "widened";
};

describe("what a rule adds to a default deny", () => {
  const web = from({ namespaces: ["web"] });
  const table: readonly [string, object, string, string][] = [
    // rule, at a proxy, at ztunnel
    ["nothing restricts it", {}, "opened", "opened"],
    ["notPrincipals", from({ notPrincipals: ["cluster.local/ns/a/sa/b"] }), "opened", "opened"],
    ["notNamespaces", from({ notNamespaces: ["web"] }), "opened", "opened"],
    ["notServiceAccounts", from({ notServiceAccounts: ["web/web"] }), "opened", "opened"],
    ["notTrustDomains", from({ notTrustDomains: ["other.org"] }), "opened", "nothing"],
    ["notIpBlocks", from({ notIpBlocks: ["10.0.0.0/8"] }), "opened", "opened"],
    ["notRemoteIpBlocks", from({ notRemoteIpBlocks: ["10.0.0.0/8"] }), "opened", "nothing"],
    ["notRequestPrincipals", from({ notRequestPrincipals: ["*"] }), "opened", "nothing"],
    ["two halves", from({ ipBlocks: ["0.0.0.0/1", "128.0.0.0/1"] }), "opened", "opened"],
    ["half of all addresses", from({ ipBlocks: ["0.0.0.0/1"] }), "opened", "opened"],
    ["256 blocks", from({ ipBlocks: Array.from({ length: 256 }, (_, i) => `${i}.0.0.0/8`) }), "opened", "opened"],
    [
      "128 blocks that do not touch",
      from({ ipBlocks: Array.from({ length: 128 }, (_, i) => `${2 * i}.0.0.0/8`) }),
      "opened",
      "opened",
    ],
    ["all of IPv6", from({ ipBlocks: ["::/0"] }), "opened", "opened"],
    ["a small network", from({ ipBlocks: ["10.0.0.0/8"] }), "widened", "widened"],
    ["private networks", from({ ipBlocks: ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"] }), "widened", "widened"],
    ["notPaths", to({ notPaths: ["/x"] }), "opened", "nothing"],
    ["notMethods", to({ notMethods: ["DELETE"] }), "opened", "nothing"],
    ["notHosts", to({ notHosts: ["x"] }), "opened", "nothing"],
    ["notPorts", to({ notPorts: ["9999"] }), "opened", "opened"],
    ["a port", to({ ports: ["8080"] }), "opened", "opened"],
    ["a method", to({ methods: ["GET"] }), "opened", "nothing"],
    ["a path", to({ paths: ["/api/*"] }), "opened", "nothing"],
    ["a host", to({ hosts: ["api.example"] }), "opened", "nothing"],
    ["templates", to({ paths: ["/{*}", "/{*}/{**}", "/"] }), "opened", "nothing"],
    ["a header that everybody sends", when("request.headers[user-agent]", ["*"]), "opened", "nothing"],
    ["a header that anybody can send", when("request.headers[x-token]", ["secret"]), "opened", "nothing"],
    ["a condition with notValues", when("source.principal", [], ["x"]), "opened", "opened"],
    ["claims that must not be there", when("request.auth.claims[groups]", [], ["x"]), "opened", "nothing"],
    ["a health path", to({ paths: ["/healthz"] }), "widened", "nothing"],
    ["a health path and another one", to({ paths: ["/healthz", "/x"] }), "opened", "nothing"],
    ["preflight requests", to({ methods: ["OPTIONS"] }), "widened", "nothing"],
    ["a namespace", web, "widened", "widened"],
    ["a principal", from({ principals: ["cluster.local/ns/web/sa/web"] }), "widened", "widened"],
    ["every identity", from({ principals: ["*"] }), "widened", "widened"],
    [
      "every letter",
      from({ namespaces: "abcdefghijklmnopqrstuvwxyz".split("").map((a) => `${a}*`) }),
      "widened",
      "widened",
    ],
    ["every token", from({ requestPrincipals: ["*"] }), "widened", "nothing"],
    ["a claim", when("request.auth.claims[groups]", ["x"]), "widened", "nothing"],
    ["nobody", from({ namespaces: ["web"], notNamespaces: ["web"] }), "nothing", "nothing"],
  ];
  for (const [title, rule, atProxy, atZtunnel] of table)
    test(title, () => {
      const denyAll = allow();
      const found = (["http", "ztunnel"] as const).map((place) =>
        kindOf(compare([denyAll], [denyAll, allow(rule)], place)),
      );
      assert.deepEqual(found, [atProxy, atZtunnel]);
    });
});

describe("what a change of policies gives away", () => {
  const web = from({ namespaces: ["web"] });
  const denyAll = allow();
  const gate = deny(from({ notPrincipals: ["cluster.local/ns/web/sa/web"] }));
  const admin = deny(to({ paths: ["/admin*"] }));
  const all = allow({});
  const table: readonly [string, readonly AuthorizationPolicy[], readonly AuthorizationPolicy[], string][] = [
    [
      "an ALLOW divided into two",
      [allow(from({ namespaces: ["a", "b"] }))],
      [allow(from({ namespaces: ["a"] })), allow(from({ namespaces: ["b"] }))],
      "nothing",
    ],
    [
      "two rules in one",
      [allow(from({ namespaces: ["a"] }), from({ namespaces: ["b"] }))],
      [allow(from({ namespaces: ["b", "a"] }))],
      "nothing",
    ],
    ["sources as a condition", [allow(web)], [allow(when("source.namespace", ["web"]))], "nothing"],
    ["a narrower path", [allow(to({ paths: ["/a*"] }))], [allow(to({ paths: ["/ab*"] }))], "nothing"],
    ["a wider path for unnamed callers", [allow(to({ paths: ["/ab*"] }))], [allow(to({ paths: ["/a*"] }))], "opened"],
    [
      "a wider path for a named caller",
      [allow({ ...web, ...to({ paths: ["/ab*"] }) })],
      [allow({ ...web, ...to({ paths: ["/a*"] }) })],
      "widened",
    ],
    ["the last ALLOW policy goes", [denyAll], [], "opened"],
    ["an ALLOW policy where there was none", [], [allow(web)], "nothing"],
    ["everybody but one, and then everybody", [allow(from({ notNamespaces: ["web"] }))], [all], "widened"],
    ["all of IPv4, and then everybody", [allow(from({ ipBlocks: ["0.0.0.0/0"] }))], [all], "widened"],
    ["a DENY goes", [admin], [], "deny lost"],
    ["a DENY goes beside an ALLOW of everything", [admin, all], [all], "deny lost"],
    ["a DENY goes beside a default deny that admits nobody", [admin, denyAll], [denyAll], "nothing"],
    [
      "a DENY goes beside an ALLOW of other requests",
      [admin, allow(to({ paths: ["/x"] }))],
      [allow(to({ paths: ["/x"] }))],
      "nothing",
    ],
    ["a narrower DENY", [admin], [deny(to({ paths: ["/admin"] }))], "deny lost"],
    ["a wider DENY", [admin], [deny(to({ paths: ["/a*"] }))], "nothing"],
    [
      "a DENY divided into two",
      [deny(to({ methods: ["GET", "PUT"] }))],
      [deny(to({ methods: ["PUT"] })), deny(to({ methods: ["GET"] }))],
      "nothing",
    ],
    ["a DENY that is the gate", [gate], [], "deny lost"],
    [
      "a gate with one more exception",
      [gate],
      [deny(from({ notPrincipals: ["cluster.local/ns/web/sa/web", "cluster.local/ns/b/sa/b"] }))],
      "deny lost",
    ],
    ["a gate replaced by an ALLOW", [gate], [allow(from({ principals: ["cluster.local/ns/web/sa/web"] }))], "nothing"],
    ["a DENY of plaintext callers", [deny(from({ notPrincipals: ["*"] })), all], [all], "deny lost"],
  ];
  for (const [title, before, after, expected] of table)
    test(title, () => assert.equal(kindOf(compare(before, after)), expected));

  test("patterns that would take too much work are undecided", () => {
    const stars = (i: number) => `${"a*".repeat(12)}${i}`;
    const list = (start: number) => Array.from({ length: 60 }, (_, i) => stars(start + i));
    const before = allow(...list(0).map((namespace) => from({ notNamespaces: [namespace] })));
    const after = allow(...list(30).map((namespace) => from({ namespaces: [namespace], notNamespaces: ["a*b*c*d"] })));
    let visited = 0;
    const gains = gainsOf(applied([denyAll], "http"), applied([before], "http"), (values) => (visited += values));
    assert.notEqual(gains.opened, undefined);
    const more = gainsOf(applied([after], "http"), applied([before], "http"), (values) => (visited += values));
    assert.ok(visited < 200_000 && kindOf(more) !== "nothing", `${visited} ${kindOf(more)}`);
  });
});
