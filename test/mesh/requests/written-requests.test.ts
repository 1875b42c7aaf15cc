import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { blockOf } from "../../../src/mesh/authorization/requests/addresses.ts";
import type { Attribute } from "../../../src/mesh/authorization/requests/attributes.ts";
import { isMet } from "../../../src/mesh/authorization/requests/difference.ts";
import type { Value } from "../../../src/mesh/authorization/requests/values.ts";
import { formatConditions } from "../../../src/mesh/requests/box-wording.ts";
import { patternsOfExpression } from "../../../src/mesh/requests/regular-expressions.ts";
import { conditionsOf, type WrittenRequests } from "../../../src/mesh/requests/written-requests.ts";
import { boxOf } from "./asked.ts";

const address = (text: string): Value => blockOf(text)?.first;

describe("requests as users write them", () => {
  const cases: readonly (readonly [
    WrittenRequests,
    Attribute,
    is: readonly Value[],
    isNot: readonly Value[],
    string,
  ])[] = [
    [{ methods: ["GET"] }, "method", [["GET"]], [["POST"]], "GET"],
    [{ notMethods: ["GET", "HEAD"] }, "method", [["POST"]], [["HEAD"]], "any method but GET, HEAD"],
    [{ paths: ["/a*"] }, "path", [["/a"], ["/a/b"]], [["/b"]], "/a*"],
    [{ paths: ["/a/{*}"] }, "path", [["/a/b"]], [["/a/"], ["/a/b/c"]], "/a/{*}"],
    [{ paths: ["/a*"], notPaths: ["/a/b"] }, "path", [["/a/c"]], [["/a/b"]], "/a* but not /a/b"],
    [{ hosts: ["API.example"] }, "host", [["api.example"]], [["other"]], "to host api.example"],
    [{ headers: { "X-A": ["v", "w*"] } }, "header x-a", [["v"], ["x", "wx"]], [["x"], []], "with header x-a: v, w*"],
    [
      { headers: { "x-a": ["v"] }, hasOnlyTheseHeaders: true },
      "header x-a",
      [["v"]],
      [["v", "w"], ["w"], []],
      "with header x-a: v",
    ],
    [{ notHosts: ["*.example"] }, "host", [["other"]], [["a.example"]], "to another host than *.example"],
    [{ requestPrincipals: ["i/s"] }, "token", [["i", "s"]], [["i", "t"], undefined], "with a token i/s"],
    [{ requestPrincipals: ["*"] }, "token", [["i", "s"]], [undefined], "with a token"],
    [{ notRequestPrincipals: ["*"] }, "token", [undefined], [["i", "s"]], "without a token"],
    [
      { remoteIpBlocks: ["10.0.0.0/8"], notRemoteIpBlocks: ["10.1.0.0/16"] },
      "remote.ip",
      [address("10.2.2.3")],
      [address("10.1.2.3"), address("11.0.0.1")],
      "forwarded for 10.0.0.0/8 not forwarded for 10.1.0.0/16",
    ],
    [
      { ipBlocks: ["10.0.0.0/8"] },
      "source.ip",
      [address("10.1.2.3")],
      [address("11.0.0.1")],
      "from address 10.0.0.0/8",
    ],
  ];
  for (const [written, attribute, is, isNot, text] of cases)
    test(JSON.stringify(written), () => {
      const clauses = conditionsOf(written);
      const met = (value: Value) => isMet(clauses, new Map([[attribute, value]]));
      assert.deepEqual([is.map(met), isNot.map(met)], [is.map(() => true), isNot.map(() => false)]);
      assert.equal(formatConditions(clauses), text);
      assert.ok(met(boxOf(...clauses).example.get(attribute)), "the example of the set is in it");
    });

  test("whoever has claims has a token", () => {
    const { example } = boxOf(...conditionsOf({ claims: { role: ["admin"] } }));
    assert.deepEqual([example.get("claim role"), example.get("token") === undefined], [["admin"], false]);
    // As in request.auth.claims[realm_access][roles].
    const nested = boxOf(...conditionsOf({ claims: { "[realm_access][roles]": ["admin"] } })).example;
    assert.deepEqual(nested.get("claim realm_access][roles"), ["admin"]);
  });

  test("nothing written is every request", () => {
    assert.deepEqual(conditionsOf({ methods: [], paths: [] }), []);
    assert.equal(formatConditions([]), "");
  });
});

describe("regular expressions of routes", () => {
  const matching: readonly (readonly [string, readonly string[], readonly string[]])[] = [
    ["/a/.*", ["/a/", "/a/b/c"], ["/a", "x/a/"]],
    ["^/a/.+$", ["/a/b"], ["/a/"]],
    ["/a/[^/]+/b", ["/a/x/b"], ["/a//b", "/a/x/y/b"]],
    ["/a/[^/]*", ["/a/", "/a/b"], ["/a/b/c"]],
    ["/v1\\.0/x", ["/v1.0/x"], ["/v1a0/x"]],
    ["/a-b_c~%41", ["/a-b_c~%41"], ["/a"]],
    ["GET|PUT", ["GET", "PUT"], ["GETPUT", "POST"]],
    ["/a|^/b$|", ["/a", "/b", ""], ["/ab", "/c"]],
    ["/a(b|c)", ["/ab", "/ac"], ["/a", "/abc"]],
    ["/a?", ["/", "/a"], ["/aa"]],
    ["/api(/.*)?", ["/api", "/api/", "/api/x/y"], ["/apix"]],
    ["/(?:v1|v2(?:beta[^/]*)?)/x", ["/v1/x", "/v2/x", "/v2beta7/x"], ["/v1beta/x", "/v2"]],
    ["(a|b)(c|d)?.+?", ["ax", "bdx", "acd"], ["a", "cx"]],
    ["/a()b", ["/ab"], ["/a"]],
  ];
  for (const [expression, is, isNot] of matching)
    test(expression, () => {
      const patterns = patternsOfExpression(expression);
      const whole = new RegExp(`^(?:${expression})$`, "s");
      for (const text of [...is, ...isNot])
        assert.equal(
          patterns?.some((one) => one.matches(text)),
          whole.test(text),
          text,
        );
      assert.deepEqual([is.every((text) => whole.test(text)), isNot.some((text) => whole.test(text))], [true, false]);
    });

  const many = "(a|b)".repeat(6);
  const deep = `${"(".repeat(1000)}a${")".repeat(1000)}`;
  for (const expression of [
    "/a{2}",
    "/[ab]",
    "/a.b",
    "(?i)/a",
    "/a*",
    "/\\d+",
    "(/a",
    "/a)",
    "(a|b)+",
    "?",
    "/(a$|b)",
    many,
    deep,
  ])
    test(`${expression.slice(0, 40)} cannot be expressed`, () => {
      assert.equal(patternsOfExpression(expression), undefined);
    });

  test("an expression of any length is read in one pass", () => {
    const long = "/a.*".repeat(20_000);
    assert.equal(patternsOfExpression(long)?.length, 1);
  });
});
