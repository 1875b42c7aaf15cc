import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import {
  anyText,
  oneSegment,
  Pattern,
  pathPatternOf,
  restsAfter,
  someText,
  withinSegment,
} from "../../../src/mesh/authorization/requests/patterns.ts";
import { Texts } from "../../../src/mesh/authorization/requests/texts.ts";
import { writtenValues } from "../../../src/mesh/authorization/requests/written.ts";
import { PathChange } from "../../../src/mesh/requests/path-change.ts";

const paths = (values: readonly string[]): Texts => new Texts(values.map((value) => [pathPatternOf(value)]));
const clause = (values: Texts, not = false) => ({ attribute: "path", values, not }) as const;
const written = (values: unknown): readonly string[] => {
  assert.ok(values instanceof Texts);
  return writtenValues(values, "path");
};

describe("a policy's paths behind a route that replaces /v1/ by /", () => {
  const cases: readonly (readonly [string, readonly string[], readonly string[]])[] = [
    ["one path", ["/admin"], ["/v1/admin"]],
    ["a prefix", ["/admin/*"], ["/v1/admin/*"]],
    ["a suffix", ["*.js"], ["/v1/{**}.js"]],
    ["a template", ["/{*}/edit"], ["/v1/{*}/edit"]],
    ["everything", ["*"], ["/v1/*"]],
    ["several", ["/a", "/b*"], ["/v1/a", "/v1/b*"]],
  ];
  for (const [name, asked, sent] of cases)
    test(name, () => {
      const [own] = new PathChange("/v1/", "/").sent([clause(paths(asked))]);
      assert.deepEqual(written(own?.values), sent);
    });

  test("paths that nothing becomes", () => {
    const [own] = new PathChange("/v1/", "/internal/").sent([clause(paths(["/public/*"]))]);
    assert.deepEqual(written(own?.values), []);
  });
});

const letters = fc.constantFrom("/", "a", "b");
const text = (maxLength: number) => fc.array(letters, { maxLength }).map((all) => all.join(""));
const pattern = fc
  .array(fc.oneof(text(3), fc.constantFrom(anyText, someText, oneSegment, withinSegment)), { maxLength: 4 })
  .map((tokens) => new Pattern(tokens));

describe("properties", () => {
  test("what follows a beginning matches, if and only if the whole does", () => {
    fc.assert(
      fc.property(pattern, text(4), text(5), (one, beginning, rest) => {
        const matched = restsAfter(one, beginning).some((left) => left.matches(rest));
        assert.equal(matched, one.matches(beginning + rest));
      }),
      { numRuns: 3000 },
    );
  });

  test("a path that is sent meets a condition, if and only if what it becomes meets the condition on what it becomes", () => {
    const sets = fc.array(pattern, { maxLength: 3 }).map((all) => new Texts(all.map((one) => [one])));
    fc.assert(
      fc.property(sets, fc.boolean(), fc.tuple(text(3), text(3), text(4)), (values, not, [from, to, rest]) => {
        const change = new PathChange(from, to);
        const isIn = (set: Texts, path: string) => set.has([path]) !== not;
        const [, become] = change.seen([clause(values, not)]);
        assert.ok(become?.values instanceof Texts);
        assert.equal(isIn(become.values, to + rest), isIn(values, from + rest));
        const [back] = change.sent([become]);
        assert.equal(back?.values, values, "the condition itself comes back");
        const [sent] = change.sent([clause(values, not)]);
        assert.ok(sent?.values instanceof Texts);
        assert.equal(isIn(sent.values, from + rest), isIn(values, to + rest));
      }),
      { numRuns: 2000 },
    );
  });

  test("two changes are one", () => {
    fc.assert(
      fc.property(
        fc.tuple(text(3), text(4), text(4), text(3)),
        text(4),
        pattern,
        ([from, to, next, last], rest, one) => {
          const both = new PathChange(from, to).followedBy(next, last);
          const second = to + rest;
          if (!second.startsWith(next)) return;
          assert.ok(both !== undefined, "some path has this way");
          const becomes = last + second.slice(next.length);
          const [sent] = both.sent([clause(new Texts([[one]]))]);
          assert.ok(sent?.values instanceof Texts);
          assert.equal(sent.values.has([from + rest]), one.matches(becomes));
        },
      ),
      { numRuns: 2000 },
    );
  });

  test("the number of patterns is bounded by the length of one, whatever the beginning is", () => {
    const one = new Pattern(Array.from({ length: 200 }, (_, i) => (i % 2 === 0 ? "a" : anyText)));
    assert.ok(restsAfter(one, "a".repeat(5000)).length <= 400);
  });
});
