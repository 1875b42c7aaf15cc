import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { covers, mostSpecificFirst, overlaps } from "../../../src/mesh/traffic/hosts.ts";
import { globs } from "../../../src/text/globs.ts";
import { HostOwnership, ownershipOf } from "../../../src/mesh/traffic/host-ownership.ts";

const entries = [
  { hosts: ["*.example.com", "example.com"], namespaces: ["web"] },
  { hosts: ["shop.example.com", "*.shop.example.com"], namespaces: ["shop", "shop-*"] },
  { hosts: ["shop.example.com"], namespaces: ["checkout"] },
];
const ownership = new HostOwnership(entries);

const table: readonly (readonly [namespace: string, host: string, against: readonly string[]])[] = [
  ["web", "example.com", []],
  ["web", "www.example.com", []],
  ["shop", "www.example.com", ["*.example.com"]],
  ["shop", "WWW.Example.com", ["*.example.com"]],
  ["shop", "shop.example.com", []],
  ["checkout", "shop.example.com", []],
  ["shop-eu", "cart.shop.example.com", []],
  ["checkout", "cart.shop.example.com", ["*.shop.example.com"]],
  ["web", "shop.example.com", ["shop.example.com"]],
  ["web", "*.example.com", ["*.shop.example.com", "shop.example.com"]],
  ["web", "*", ["*.shop.example.com", "shop.example.com"]],
  ["shop", "*", ["*.example.com", "example.com"]],
  ["shop", "*-cart.shop.example.com", []],
  ["web", "*-cart.shop.example.com", ["*.shop.example.com"]],
  ["other", "example.org", []],
  ["other", "notexample.com", []],
  ["other", "*.example.org", []],
];

describe("who may use a host", () => {
  for (const [namespace, host, against] of table)
    test(`${host} in ${namespace}: ${against.join(" and ") || "nothing"} is against it`, () => {
      assert.deepEqual(
        ownership
          .against(namespace, host)
          .map((owned) => owned.host)
          .sort(),
        [...against].sort(),
      );
    });
  test("the entries of one host are combined, whichever document they are from", () => {
    assert.deepEqual(ownership.of("shop.example.com")?.namespaces, ["shop", "shop-*", "checkout"]);
    assert.equal(ownership.of("example.org"), undefined);
  });
  test("without entries, everybody may use every host", () => {
    assert.deepEqual(new HostOwnership([]).against("web", "*"), []);
  });
});

test("look-ups find what a comparison with every entry finds", () => {
  const host = fc
    .tuple(
      fc.constantFrom("", "*.", "*.", "*-"),
      fc.array(fc.constantFrom("a", "b", "ab"), { minLength: 1, maxLength: 4 }),
    )
    .map(([start, labels]) => `${start}${labels.join(".")}`);
  const hosts = fc.oneof(host, fc.constant("*"));
  const entry = fc.record({
    hosts: fc.array(
      hosts.filter((one) => !one.startsWith("*-")),
      { minLength: 1, maxLength: 12 },
    ),
    namespaces: fc.array(fc.constantFrom("x", "y", "z*"), { minLength: 1, maxLength: 2 }),
  });
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 6 }), hosts, fc.constantFrom("x", "y", "zz"), (all, wanted, namespace) => {
      const patterns = [...new Set(all.flatMap((one) => one.hosts))];
      const decides = patterns.filter((pattern) => covers(pattern, wanted)).sort(mostSpecificFirst)[0];
      const concerned = patterns.filter(
        (pattern) => pattern === decides || (overlaps(pattern, wanted) && !covers(pattern, wanted)),
      );
      const expected = concerned.filter(
        (pattern) => !all.some((one) => one.hosts.includes(pattern) && globs(one.namespaces).matches(namespace)),
      );
      const found = new HostOwnership(all).against(namespace, wanted).map((owned) => owned.host);
      assert.deepEqual([...found].sort(), expected.sort());
    }),
    { numRuns: 500 },
  );
});

test("a list of hosts is compiled once", () => {
  assert.equal(ownershipOf(entries), ownershipOf(entries));
});
