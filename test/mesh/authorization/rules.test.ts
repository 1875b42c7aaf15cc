import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { type ObjectOf, readObject } from "../../../src/kube/object.ts";
import { type Enforcer, type Reach, ruleReach } from "../../../src/mesh/authorization/rules.ts";
import { defaultMeshSettings } from "../../../src/view/settings.ts";

type Rule = ObjectOf<"AuthorizationPolicy">["spec"]["rules"][number];

const ruleOf = (rule: object): Rule =>
  readObject("AuthorizationPolicy", { metadata: { namespace: "a", name: "p" }, spec: { rules: [rule] } }).spec
    .rules[0] as Rule;
const reach = (rule: object, enforcer: Enforcer): Reach => ruleReach(ruleOf(rule), enforcer, defaultMeshSettings);

describe("whom a rule matches, at a proxy and at ztunnel", () => {
  const from = (...sources: object[]) => ({ from: sources.map((source) => ({ source })) });
  const to = (...operations: object[]) => ({ to: operations.map((operation) => ({ operation })) });
  const when = (...conditions: object[]) => ({ when: conditions });
  const table: readonly [object, Reach, Reach][] = [
    [{}, "everyone", "everyone"],
    [{ from: [], to: [], when: [] }, "everyone", "everyone"],
    [{ from: null, to: null }, "everyone", "everyone"],
    [from({ principals: ["*"] }), "authenticated", "authenticated"],
    [from({ principals: ["cluster.local/*"] }), "authenticated", "authenticated"],
    [from({ principals: ["cluster.local/ns/*"] }), "authenticated", "authenticated"],
    [from({ principals: ["cluster.local/ns/a/*"] }), "some", "some"],
    [from({ principals: ["other.org/*"] }), "some", "some"],
    [from({ principals: ["*/ns/a/sa/b"] }), "some", "some"],
    [from({ principals: ["a", "*"] }), "authenticated", "authenticated"],
    [from({ namespaces: ["*"] }), "authenticated", "authenticated"],
    [from({ namespaces: ["*"], principals: ["a"] }), "some", "some"],
    [from({ namespaces: ["a*"] }), "some", "some"],
    [from({ serviceAccounts: ["a/b"] }), "some", "some"],
    [from({ requestPrincipals: ["*"] }), "some", "some"],
    [from({ notPrincipals: ["a"] }), "some", "some"],
    [from({ ipBlocks: ["0.0.0.0/0"] }), "everyone", "everyone"],
    [from({ ipBlocks: ["10.0.0.0/8"] }), "some", "some"],
    [from({ ipBlocks: ["0.0.0.0/0"], notIpBlocks: ["10.0.0.1"] }), "some", "some"],
    // ztunnel sees no HTTP, no trust domains, and skips a source in which nothing is left.
    [from({ remoteIpBlocks: ["::/0"] }), "everyone", "some"],
    [from({ trustDomains: ["*"] }), "authenticated", "some"],
    [from({ trustDomains: ["partner"], namespaces: ["*"] }), "some", "authenticated"],
    [from({ notTrustDomains: ["partner"], namespaces: ["*"] }), "some", "authenticated"],
    [from({}), "everyone", "some"],
    // One element is enough.
    [from({ namespaces: ["a"] }, { principals: ["*"] }), "authenticated", "authenticated"],
    [to({ paths: ["/a"] }, { paths: ["/*"] }), "everyone", "some"],
    [to({ methods: ["*"], paths: ["*"], hosts: ["*"] }), "everyone", "some"],
    [to({ paths: ["/{**}"] }), "everyone", "some"],
    [to({ paths: ["/api/*"] }), "some", "some"],
    [to({ methods: ["GET", "POST"] }), "some", "some"],
    [to({ ports: ["80"] }), "some", "some"],
    [to({ methods: ["*"], notPaths: ["/admin"] }), "some", "some"],
    // All conditions must hold.
    [when({ key: "source.ip", values: ["0.0.0.0/0"] }), "everyone", "everyone"],
    [when({ key: "source.namespace", values: ["*"] }), "authenticated", "authenticated"],
    [when({ key: "source.namespace", notValues: ["a"] }), "some", "some"],
    [when({ key: "source.principal", values: ["*"] }), "authenticated", "authenticated"],
    [when({ key: "request.headers[:path]", values: ["*"] }), "everyone", "some"],
    [when({ key: "request.headers[x]", values: ["*"] }), "some", "some"],
    [when({ key: "destination.port", values: ["80"] }), "some", "some"],
    [when({ key: "source.ip", values: ["::/0"] }, { key: "request.auth.principal", values: ["*"] }), "some", "some"],
    [{ ...from({ principals: ["*"] }), ...to({ paths: ["/a"] }) }, "some", "some"],
    [{ ...from({ principals: ["*"] }), ...to({ ports: ["80"] }) }, "some", "some"],
  ];
  for (const [rule, atProxy, atZtunnel] of table)
    test(JSON.stringify(rule), () => {
      assert.deepEqual([reach(rule, "proxy"), reach(rule, "ztunnel")], [atProxy, atZtunnel]);
    });
});

// A second opinion: what becomes of requests, one by one, by the matching rules of the API.

interface Request {
  readonly principal: string | undefined;
  readonly ip: string;
  readonly method: string;
  readonly path: string;
  readonly port: string;
}

const strangers = [undefined, "cluster.local/ns/a/sa/x", "cluster.local/ns/z/sa/y"];
const requests: readonly Request[] = strangers.flatMap((principal) =>
  ["10.1.1.1", "203.0.113.9"].flatMap((ip) =>
    ["GET", "PURGE"].flatMap((method) =>
      ["/", "/admin"].flatMap((path) => ["80", "81"].map((port) => ({ principal, ip, method, path, port }))),
    ),
  ),
);

const isLike = (value: string | undefined, pattern: string): boolean => {
  if (value === undefined) return false;
  if (pattern === "*") return value !== "";
  if (pattern.startsWith("*")) return value.endsWith(pattern.slice(1));
  return pattern.endsWith("*") ? value.startsWith(pattern.slice(0, -1)) : value === pattern;
};
const isIn = (ip: string, block: string): boolean =>
  block.endsWith("/0") || (block === "10.0.0.0/8" && ip.startsWith("10."));
const holds = (values: readonly string[], notValues: readonly string[], is: (value: string) => boolean): boolean =>
  (values.length === 0 || values.some(is)) && !notValues.some(is);

function matches(rule: Rule, { principal, ip, method, path, port }: Request): boolean {
  const namespace = principal?.split("/")[2];
  const fromOne = rule.from.map(
    ({ source }) =>
      holds(source.principals, source.notPrincipals, (value) => isLike(principal, value)) &&
      holds(source.namespaces, source.notNamespaces, (value) => isLike(namespace, value)) &&
      holds(source.ipBlocks, source.notIpBlocks, (value) => isIn(ip, value)),
  );
  const toOne = rule.to.map(
    ({ operation }) =>
      holds(operation.methods, operation.notMethods, (value) => isLike(method, value)) &&
      holds(operation.paths, operation.notPaths, (value) => isLike(path, value)) &&
      holds(operation.ports, operation.notPorts, (value) => value === port),
  );
  const whenAll = rule.when.map(({ key, values, notValues }) =>
    holds(values, notValues, (value) =>
      key === "source.ip" ? isIn(ip, value) : isLike(key === "source.principal" ? principal : namespace, value),
    ),
  );
  const isOne = (matched: readonly boolean[]) => matched.length === 0 || matched.includes(true);
  return isOne(fromOne) && isOne(toOne) && !whenAll.includes(false);
}

const some = (...values: string[]) =>
  fc.option(fc.uniqueArray(fc.constantFrom(...values), { maxLength: 2 }), { nil: undefined, freq: 1 });
const source = fc.record({
  principals: some("*", "cluster.local/ns/a/*", "*/sa/x", "cluster.local/ns/a/sa/x"),
  notPrincipals: some("cluster.local/ns/a/sa/x"),
  namespaces: some("*", "a", "a*"),
  ipBlocks: some("0.0.0.0/0", "10.0.0.0/8"),
});
const operation = fc.record({
  methods: some("*", "GET"),
  paths: some("/*", "/admin", "*"),
  notPaths: some("/admin"),
  ports: some("80"),
});
const condition = fc.oneof(
  fc.record({ key: fc.constant("source.ip"), values: some("0.0.0.0/0", "10.0.0.0/8") }),
  fc.record({ key: fc.constantFrom("source.namespace", "source.principal"), values: some("*", "a") }),
);
const aRule = (elements: number) =>
  fc.record({
    from: fc.array(fc.record({ source }), { maxLength: elements }),
    to: fc.array(fc.record({ operation }), { maxLength: elements }),
    when: fc.array(condition, { maxLength: 2 }),
  });

test("a rule for everyone matches every request, one for the authenticated every one with an identity", () => {
  fc.assert(
    fc.property(aRule(2), (raw) => {
      const rule = ruleOf(raw);
      const found = reach(raw, "proxy");
      const promised = requests.filter(
        ({ principal }) => found === "everyone" || (found === "authenticated" && principal !== undefined),
      );
      assert.ok(promised.every((request) => matches(rule, request)));
    }),
  );
});

test("a rule with one source and one operation leaves out whom it is not said to reach", () => {
  fc.assert(
    fc.property(aRule(1), (raw) => {
      const rule = ruleOf(raw);
      const found = reach(raw, "proxy");
      if (found === "everyone") return;
      const rest = requests.filter(({ principal }) => found === "some" || principal === undefined);
      assert.ok(rest.some((request) => !matches(rule, request)));
    }),
  );
});

test("ztunnel allows nobody whom a proxy would refuse, where it knows all that is asked", () => {
  const widths = ["some", "authenticated", "everyone"];
  fc.assert(
    fc.property(aRule(2), (raw) => {
      assert.ok(widths.indexOf(reach(raw, "ztunnel")) <= widths.indexOf(reach(raw, "proxy")));
    }),
  );
});
