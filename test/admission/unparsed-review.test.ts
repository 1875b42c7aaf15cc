import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { readReview } from "../../src/admission/review.ts";
import { hasMoreValues, uidInHead } from "../../src/admission/unparsed-review.ts";

const space = " ".repeat(512 * 1_024);
const counted = (json: string): number => {
  for (let most = 0; ; most++) if (!hasMoreValues(space + json, most)) return most;
};

describe("a review before it is parsed", () => {
  test("has as many values as it has commas and opening brackets outside strings", () => {
    for (const [json, count] of [
      ["", 0],
      ["{}", 1],
      ["[1,2,3]", 3],
      ['{"a":[{},{"b":","}],"c":"[{,"}', 6],
      [String.raw`["\"[,","\\",",","{"]`, 4],
      ['["cut off, [', 1],
      [String.raw`["cut off \\`, 1],
    ] as const)
      assert.equal(counted(json), count, json);
  });

  test("is not counted if it is small", () => {
    assert.equal(hasMoreValues("[".repeat(1_000), 10), false);
  });

  test("with too many values is denied by its uid, in text and in bytes", () => {
    const body = `{"kind":"AdmissionReview","request":{"uid":"u-1","object":[${"{},".repeat(1_000_000)}{}]}}`;
    const denied = { uid: "u-1", problem: "it contains more than 1000000 values" };
    assert.deepEqual(readReview(body), denied);
    assert.deepEqual(readReview(Buffer.from(body)), denied);
  });

  test("has no uid if there is none at its beginning", () => {
    assert.equal(uidInHead(`{"request":{"uid":"a\\"b"}}`), "");
    assert.equal(uidInHead(`${space}{"request":{"uid":"a"}}`), "");
  });
});
