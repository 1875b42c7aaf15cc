import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { readDocuments } from "../../../src/sources/manifests/documents.ts";
import { plainValue } from "../../../src/sources/manifests/plain-yaml.ts";

/** What the library reads: it is asked for every text that has a character outside of the basic plane. */
function valueOfLibrary(text: string): unknown {
  const { documents } = readDocuments(`# \u{1f600}\n${text}`);
  const [document] = documents;
  assert.ok(document !== undefined && documents.length === 1, "it is one document");
  assert.deepEqual(document.problems, []);
  return document.value;
}

/** Whether the text was read without the library, as the library reads it, in the same order. */
function isReadAlike(text: string): boolean {
  const plain = plainValue(text);
  if (plain === undefined) return false;
  const value = valueOfLibrary(text);
  assert.deepEqual(plain, value);
  assert.equal(JSON.stringify(plain), JSON.stringify(value));
  return true;
}

test("most manifests are read without the library", () => {
  const text = `# A route
apiVersion: v1
kind: Pod
metadata:
  name: "a b"   # quoted
  labels: {}
spec:
    hosts: [a.b, "c d", 'e']
    http:
    - route:
      - host: http://a:80/x#y
        weight: 100

      timeout: 10s
    -   enabled: off
        name:
  # a comment that is indented less
    ports:
      - -1
      - 0x1f
      - ~
      - --port=:80
    tls: { mode: SIMPLE, sans: [ "a # b", 'c, d}' ], port: { number: 0x50 }, none: {}, no-list: [ ], "k: l": x } # in braces
    match:
    - { uri: { prefix: /a }, __proto__: 2 }
    -   [ { a: b }, [ c ] , 'd' ]
    "@type": a
    'b c': d
    __proto__: 1`;
  assert.ok(isReadAlike(text));
  assert.deepEqual(Object.keys(plainValue(text) ?? {}), ["apiVersion", "kind", "metadata", "spec"]);
});

test("what is not plain is left to the library", () => {
  const others = [
    ...[
      "",
      "a",
      "- a",
      "  a: 1",
      "a: b: c",
      "a: 1\na: 2",
      "a:\n  b: 1\n c: 2",
      "a: 1\n  b",
      "a: 1\n- b",
      "a:\n- 1\n  - 2",
    ],
    ...["a: |\n  b", "a: &b c", "a: *b", "a: !!str b", "<<: a", "? a", "a: 'b\n  c'", 'a: "\\n"', "a: 'it''s'"],
    ...[
      "a: {b}",
      "a: {b: }",
      "a: {b: c,}",
      "a: {b:c}",
      'a: {"b":c}',
      "a: {b : c}",
      "a: {b: c d}",
      "a: {b: c: d}",
      "a: {b: c, b: d}",
      "a: {yes: c}",
      "a: {<<: c}",
      "a: {b: *c}",
      "a: {b: 'it''s'}",
      "a: {b: .inf}",
      "a: {b: [c}",
      "a: [{b: c]",
      "a: {b: c}}",
      "a: {b: c} d",
      "a: {b: c}# d",
      "a: {b: c,\n  d: e}",
      "a: {b: c}\n  d",
      "a: [b, , c]",
      "a: [http://b]",
      "- {a: b}",
      "{a: b}",
      "{a: b}: c",
      `a: ${"[".repeat(30)}${"]".repeat(30)}`,
    ],
    ...[
      "a:\tb",
      "a: b\r\n",
      "a: \u00a0b",
      "a: \u2028",
      "a: .inf",
      "yes: 1",
      "~: 1",
      "'a' : 1",
      '"a":1',
      '"a": 1\na: 2',
      "a:\n-\n",
      "a: [b,]",
    ],
    ...["a: b\n...\n", "%YAML 1.1\n", "a: @b", "a: `b", "a: %b", "a: - b", "a: -", "- - a", "a: [b: c]", "a: [b c]"],
    `${"k".repeat(300)}: 1`,
    Array.from({ length: 120 }, (_, depth) => `${" ".repeat(depth)}a:`).join("\n"),
  ];
  for (const text of others) assert.equal(plainValue(text), undefined, text.slice(0, 20));
});

const pieces = [
  ...["--x", "---x", "'k': ", '"a": ', '"q":'],
  ...["a", "b", "key", "yes", "null", "~", "1", "0x1f", "1e999", ".inf", "-1", "-.5", "0777", "1_000", "a:b", "a: b"],
  ...[
    ": ",
    ":",
    "- ",
    "-",
    "\n",
    "\n",
    "\n",
    "\n  ",
    "\n    ",
    "\n- ",
    "\n  - ",
    " ",
    "  ",
    "a: ",
    "b: ",
    "d:",
    "f:\n  ",
  ],
  ...["g:\n- ", "__proto__: ", "# c", " # c", "#", "'x'", '"y"', "'it''s'", '"a\\n"', '"open', "'open", "[a, b]", "[]"],
  ...[
    "{}",
    "[a,]",
    "[\"q: r\", 's']",
    "[a b]",
    "{a: b}",
    "{ c: d, e: [ f, { g: 1 } ] }",
    "[{ h: i }, {}]",
    "{ ",
    " }",
    ", j: ",
    "'k': ",
    '"a": ',
    "--x",
    "---x",
    "&x ",
    "*x",
    "!!str ",
    "|\n  t",
    "? ",
    "<<: ",
    "%",
    "@",
    "$",
  ],
  ...[
    "\n...\n",
    "(a)",
    "+",
    "<",
    ",",
    "]",
    "é",
    "\u2014",
    "\u00a0",
    "\u2003",
    "\t",
    "\r\n",
    "\ufeff",
    "/x",
    "on",
    "1: ",
  ],
];
const lines = fc
  .tuple(
    fc.constantFrom(0, 0, 0, 1, 2, 2, 2, 4, 4, 6),
    fc.constantFrom("", "", "", "- ", "- ", "-  "),
    fc.constantFrom(
      "",
      "a: ",
      "b: ",
      "c:",
      "d:",
      "e: ",
      "app/x.y: ",
      "yes: ",
      "a-b:",
      "# ",
      '"a": ',
      "'b c': ",
      '"d":',
      '"a": ',
      "'b c': ",
      '"d":',
    ),
    fc.constantFrom(
      ...[
        "",
        "",
        "x",
        "1",
        "true",
        "'q'",
        '"d d"',
        "[a, b]",
        "{}",
        "{ a: 1, b: [c] }",
        "[{ a: x }]",
        "a b",
        "a#b",
        "x # c",
        "no",
        "http://a:80/b",
        "~",
        "-",
        " # c",
      ],
    ),
  )
  .map(([indent, mark, key, value]) => `${" ".repeat(indent)}${mark}${key}${value}`);
const scalar = fc.constantFrom(
  "x",
  "[a, b]",
  "{ a: b, c: [d, {}] }",
  "[{ 'e': 1 }, f/g]",
  "{}",
  '"q"',
  "5",
  "a:80",
  "'r s'",
  "yes",
);
const { block } = fc.letrec<{ block: string[] }>((tie) => ({
  block: fc.oneof(
    { maxDepth: 3 },
    scalar.map((value) => [`only: ${value}`]),
    fc
      .array(fc.tuple(tie("block"), fc.constantFrom(1, 2, 4), fc.boolean()), { minLength: 1, maxLength: 3 })
      .map((inner) =>
        inner.flatMap(([below, indent, isEmpty], i) =>
          isEmpty ? [`k${i}:`] : [`k${i}:`, ...below.map((line) => `${" ".repeat(indent)}${line}`)],
        ),
      ),
    fc
      .array(tie("block"), { minLength: 1, maxLength: 3 })
      .map((items) => [
        "list:",
        ...items.flatMap((item) => item.map((line, i) => (i === 0 ? `- ${line}` : `  ${line}`))),
      ]),
  ),
}));
const { inBrackets } = fc.letrec<{ inBrackets: string }>((tie) => ({
  inBrackets: fc.oneof(
    { maxDepth: 3 },
    fc.constantFrom("x", "'# q'", '"}"', "5", "yes", "/a.b", "0x1f", "1e3", "~", "a:80", "b c", "''"),
    fc.array(tie("inBrackets"), { maxLength: 3 }).map((items) => `[${items.join(", ")}]`),
    fc
      .array(
        fc.tuple(fc.constantFrom("a", "b", "app/x.y", "'k l'", '"m"', "__proto__", "on", "1"), tie("inBrackets")),
        { maxLength: 3 },
      )
      .map((entries) => `{ ${entries.map((entry) => entry.join(": ")).join(", ")} }`),
  ),
}));
/** Well-formed documents, of which one place was replaced. */
const nearlyPlain = fc
  .tuple(
    fc.oneof(
      block,
      inBrackets.map((value) => [`a: ${value}`, "list:", `- ${value}`]),
    ),
    fc.nat(),
    fc.constantFrom("", "", "", ...pieces),
    fc.constantFrom(0, 1),
  )
  .map(([text, place, piece, removed]) => {
    const whole = text.join("\n");
    const at = place % (whole.length + 1);
    return piece === "" ? whole : whole.slice(0, at) + piece + whole.slice(at + removed);
  });

test("documents that are read without the library have the values that it reads", () => {
  const texts = fc.oneof(
    fc.array(fc.constantFrom(...pieces), { minLength: 1, maxLength: 25 }).map((parts) => parts.join("")),
    fc.array(lines, { minLength: 1, maxLength: 8 }).map((parts) => parts.join("\n")),
    nearlyPlain,
  );
  let alike = 0;
  const property = fc.property(texts, (text) => {
    if (!/^---/m.test(text) && isReadAlike(text)) alike++;
  });
  fc.assert(property, { numRuns: 8000 });
  assert.ok(alike > 400, `only ${alike} documents were read without the library`);
});

test("no line takes more than linear time", () => {
  const size = 1_000_000;
  const hostile = [
    `${" ".repeat(size)}!`,
    `a: b${" ".repeat(size)}: c`,
    `a:${" ".repeat(size)}!`,
    `-${" ".repeat(size)}!`,
    `a: [b${", c".repeat(size / 4)}`,
    `a: [b${" ".repeat(size)}c]`,
    `a: ${"b ".repeat(size / 2)}: c`,
    `a: ${"b#".repeat(size / 2)}: c`,
    `a: "${"b".repeat(size)}`,
    `a: {${"b: c, ".repeat(size / 6)}`,
    `a: {b: c${" ".repeat(size)}!}`,
    `a: [${"] ".repeat(size / 2)}!`,
    `a: ${"[".repeat(size)}]`,
    `a: ['${"b', '".repeat(size / 5)}]`,
    `a: {b: ${"c".repeat(size)}:}`,
    `${"k".repeat(size)}: c: d`,
  ];
  const { user } = process.cpuUsage();
  for (const text of hostile) assert.equal(plainValue(text), undefined);
  assert.ok(process.cpuUsage().user - user < 5_000_000, "ten megabytes take less than five seconds");
});
