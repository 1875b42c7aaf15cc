import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { readObject } from "../../src/kube/object.ts";
import { differenceOf } from "../../src/report/explanation-difference.ts";
import { jsonDifference, jsonExplanation, type ReportedExplanation } from "../../src/report/explanation-json.ts";
import { textDifference, textExplanation } from "../../src/report/explanation-text.ts";
import { type Explanation, type ExplanationLine, objectLine } from "../../src/report/explanation.ts";

const policy = readObject("PeerAuthentication", {
  apiVersion: "security.istio.io/v1",
  kind: "PeerAuthentication",
  metadata: { namespace: "shop", name: "default" },
});
const explanation = (lines: readonly ExplanationLine[]): Explanation => ({
  target: { kind: "Namespace", name: "shop" },
  title: "Namespace shop",
  lines,
  unknown: ["Service"],
});
const plain = { colour: false };

const before: readonly ExplanationLine[] = [
  {
    key: "mtls",
    text: "mTLS: PERMISSIVE",
    value: "PERMISSIVE",
    lines: [objectLine("mtls.policy", policy, "PeerAuthentication shop/default does not count", { counts: false })],
  },
  { key: "port", of: "80", text: "port 80" },
  { key: "port", of: "81", text: "port 81", lines: [{ key: "note", text: "a note" }] },
];

describe("an explanation", () => {
  test("is a tree", () => {
    assert.equal(
      textExplanation(explanation(before), plain),
      [
        "Namespace shop",
        "├─ mTLS: PERMISSIVE",
        "│  └─ PeerAuthentication shop/default does not count",
        "├─ port 80",
        "└─ port 81",
        "   └─ a note",
        "",
      ].join("\n"),
    );
  });

  test("dims what does not count, on a terminal only", () => {
    assert.match(textExplanation(explanation(before), { colour: true }), /\u001b\[2mPeerAuthentication/);
  });

  test("prints names as text in their line", () => {
    const hostile = explanation([{ key: "k", text: "one\n\u001b[31mtwo\u202e" }]);
    assert.equal(textExplanation(hostile, plain), "Namespace shop\n└─ one two\n");
  });

  test("as JSON has every field, always", () => {
    const { lines, unknown, target } = JSON.parse(jsonExplanation(explanation(before))) as ReportedExplanation;
    assert.deepEqual([target, unknown], [{ kind: "Namespace", name: "shop" }, ["Service"]]);
    assert.deepEqual(lines[1], {
      key: "port",
      of: "80",
      text: "port 80",
      value: null,
      counts: true,
      objects: [],
      lines: [],
    });
    assert.deepEqual(lines[0]?.lines[0], {
      key: "mtls.policy",
      of: "PeerAuthentication shop/default",
      text: "PeerAuthentication shop/default does not count",
      value: null,
      counts: false,
      objects: [{ apiVersion: "security.istio.io/v1", kind: "PeerAuthentication", namespace: "shop", name: "default" }],
      lines: [],
    });
  });
});

describe("the difference of two explanations", () => {
  const after: readonly ExplanationLine[] = [
    { ...(before[0] as ExplanationLine), text: "mTLS: STRICT", value: "STRICT" },
    { key: "port", of: "81", text: "port 81", lines: [{ key: "note", text: "another note" }] },
    { key: "port", of: "82", text: "port 82", lines: [{ key: "note", text: "a note" }] },
  ];
  const differing = differenceOf(before, after);

  test("is what goes and what comes, with the lines above it", () => {
    assert.equal(
      textDifference("Namespace shop", differing, plain),
      [
        "  Namespace shop",
        "- ├─ mTLS: PERMISSIVE",
        "+ ├─ mTLS: STRICT",
        "- ├─ port 80",
        "  ├─ port 81",
        "- │  ├─ a note",
        "+ │  └─ another note",
        "+ └─ port 82",
        "+    └─ a note",
        "",
      ].join("\n"),
    );
  });

  test("is empty where nothing differs, and says so", () => {
    assert.deepEqual(differenceOf(before, before), []);
    assert.match(textDifference("Namespace shop", [], plain), /the change has no effect here/);
  });

  test("does not mind another order", () => {
    assert.deepEqual(differenceOf(before, before.toReversed()), []);
  });

  test("of lines with one name compares them one by one", () => {
    const twice = (text: string) => [
      { key: "k", text: "same" },
      { key: "k", text },
    ];
    const marks = differenceOf(twice("a"), twice("b")).map(({ mark, line }) => `${mark}${line.text}`);
    assert.deepEqual(marks, ["-a", "+b"]);
  });

  test("as JSON says under which lines each stands", () => {
    const { differences } = JSON.parse(jsonDifference(explanation(before), explanation(after), differing)) as {
      differences: { mark: string; under: string[]; line: { text: string; lines: unknown[] } }[];
    };
    assert.deepEqual(
      differences.map(({ mark, under, line }) => [mark, under.join(" > "), line.text]),
      [
        ["-", "", "mTLS: PERMISSIVE"],
        ["+", "", "mTLS: STRICT"],
        ["-", "", "port 80"],
        ["-", "port 81", "a note"],
        ["+", "port 81", "another note"],
        ["+", "", "port 82"],
      ],
    );
    assert.equal(differences.at(-1)?.line.lines.length, 1);
  });
});
