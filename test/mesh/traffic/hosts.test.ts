import assert from "node:assert/strict";
import test from "node:test";
import { isDomain, isLabel, isWildcardDomain } from "../../../src/mesh/traffic/host-syntax.ts";
import {
  coveringHosts,
  covers,
  fullHost,
  hostKey,
  mostSpecificFirst,
  mostSpecificHost,
  namespaceOfHost,
  overlaps,
} from "../../../src/mesh/traffic/hosts.ts";

test("a name without a dot is completed, everything else stands", () => {
  const table: [host: string, full: string][] = [
    ["cart", "cart.shop.svc.corp.local"],
    ["Cart", "Cart.shop.svc.corp.local"],
    ["*-api", "*-api.shop.svc.corp.local"],
    ["cart.prod", "cart.prod"],
    ["cart.prod.svc", "cart.prod.svc"],
    ["*.example.com", "*.example.com"],
    ["*", "*"],
    ["", ""],
    ["10.0.0.1", "10.0.0.1"],
    ["::1", "::1"],
  ];
  for (const [host, full] of table) assert.equal(fullHost(host, "shop", "corp.local"), full, host);
});

test("a pattern covers a host, and overlap is covering one way or the other", () => {
  const table: [pattern: string, host: string, covered: boolean, overlapping: boolean][] = [
    ["a.com", "a.com", true, true],
    ["a.com", "A.com", false, false],
    ["*.com", "a.com", true, true],
    ["*.a.com", "a.com", false, false],
    ["*.com", "*.a.com", true, true],
    ["*.a.com", "*.com", false, true],
    ["*", "*.com", true, true],
    ["*-x.com", "b-x.com", true, true],
    ["*a.com", "*.a.com", true, true],
    ["a.com", "*.com", false, true],
    ["*.a.com", "*.b.com", false, false],
  ];
  for (const [pattern, host, covered, overlapping] of table) {
    assert.equal(covers(pattern, host), covered, `${pattern} covers ${host}`);
    assert.equal(overlaps(pattern, host), overlapping, `${pattern} overlaps ${host}`);
    assert.equal(overlaps(host, pattern), overlapping, `${host} overlaps ${pattern}`);
  }
});

test("the most specific host: itself, then the longest wildcard, then by letter", () => {
  const hosts = ["*", "*.com", "*.a.com", "*b.a.com", "b.a.com"];
  assert.deepEqual(hosts.toSorted(mostSpecificFirst), ["b.a.com", "*b.a.com", "*.a.com", "*.com", "*"]);
  assert.equal(mostSpecificHost("b.a.com", hosts), "b.a.com");
  assert.equal(mostSpecificHost("bb.a.com", hosts), "*b.a.com");
  assert.equal(mostSpecificHost("c.a.com", hosts), "*.a.com");
  assert.equal(mostSpecificHost("*.a.com", hosts), "*.a.com");
  assert.equal(mostSpecificHost("*.c.com", hosts), "*.com");
  assert.equal(mostSpecificHost("a.org", ["*.com"]), undefined);
});

test("the key of whatever covers a host is among the host's keys", () => {
  assert.deepEqual(coveringHosts("a.b.c"), ["a.b.c", "*.b.c", "*.c", "*"]);
  assert.deepEqual(coveringHosts("*.b.c"), ["*.b.c", "*.c", "*"]);
  assert.deepEqual(coveringHosts("*"), ["*"]);
  const deep = `${"a.".repeat(10_000)}com`;
  assert.equal(coveringHosts(deep).length, 18);
  assert.deepEqual(coveringHosts(deep).slice(-3), ["*.a.com", "*.com", "*"]);
  const hosts = [
    deep,
    `*.${deep}`,
    `*-x.${deep}`,
    `b-x.${deep}`,
    "a.b.c",
    "xa.b.c",
    "*.b.c",
    "*a.b.c",
    "*-a.b.c",
    "*",
    "*c",
    "b.c",
    "*.a.b.c",
    "a",
  ];
  for (const host of hosts)
    for (const pattern of hosts)
      if (covers(pattern, host)) assert.ok(coveringHosts(host).includes(hostKey(pattern)), `${pattern} over ${host}`);
});

test("the namespace of a Kubernetes service", () => {
  const table: [host: string, namespace: string | undefined][] = [
    ["cart.shop.svc.cluster.local", "shop"],
    ["cart.shop.svc.clusterset.local", "shop"],
    ["pod-0.cart.shop.svc.cluster.local", undefined],
    ["shop.svc.cluster.local", undefined],
    ["*.shop.svc.cluster.local", undefined],
    ["cart.shop.svc", undefined],
    ["api.example.com", undefined],
  ];
  for (const [host, namespace] of table) assert.equal(namespaceOfHost(host, "cluster.local"), namespace, host);
});

test("names as istiod's validation takes them", () => {
  for (const domain of ["a", "A.b", "*", "*.b", "*-x.b", "*x.b", "a.b.", "123", "a-b"])
    assert.ok(isWildcardDomain(domain), domain);
  for (const domain of [
    "",
    ".",
    "-a",
    "a..b",
    "a.*.b",
    "a.123",
    "a_b",
    "1.2.3.4",
    "::1",
    "a".repeat(64),
    "a.".repeat(128),
  ])
    assert.ok(!isWildcardDomain(domain), domain);
  assert.ok(isDomain("a.b") && !isDomain("*.b") && !isDomain("123"));
  assert.ok(isLabel("V-1") && !isLabel("v1.2") && !isLabel("v1-") && !isLabel(""));
});
