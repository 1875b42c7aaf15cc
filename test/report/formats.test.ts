import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { Ajv } from "ajv";
import type { Log } from "sarif";
import type { Destination } from "../../src/report/format.ts";
import { reportFormats } from "../../src/report/formats.ts";
import { annotationsPerLevel } from "../../src/report/github.ts";
import { longestComment } from "../../src/report/markdown-comment.ts";
import { type AcceptedFinding, type Report, type ReportedFinding, reportOf } from "../../src/report/report.ts";
import { elementsOf } from "./xml.ts";

const rule = {
  id: "virtual-service-weights-not-100",
  summary: "The weights do not sum to 100.",
  why: "Istio divides by the sum.",
  fix: "Change the weights.",
  docs: "https://docs.example/rules/virtual-service-weights-not-100.md",
  tags: ["canary"],
};

const finding = (more: Partial<ReportedFinding> = {}): ReportedFinding => ({
  rule: rule.id,
  fingerprint: "0123456789abcdef0123456789abcdef",
  mode: "deny",
  lowered: [],
  introduced: true,
  object: { apiVersion: "networking.istio.io/v1", kind: "VirtualService", namespace: "shop", name: "shop" },
  file: "apps/shop.yaml",
  line: 9,
  column: 7,
  path: "spec.http[0].route",
  message: "Weights sum to 110",
  fix: rule.fix,
  docs: rule.docs,
  policy: "the rule's default",
  related: [],
  ...more,
});

const accepted = (more: Partial<AcceptedFinding> = {}): AcceptedFinding => ({
  ...finding(more),
  exception: {
    namespace: "shop",
    name: "old",
    reason: "a client",
    owner: "team",
    expiresAt: "2027-01-01",
    ...more.exception,
  },
});

const reportWith = (
  findings: readonly ReportedFinding[],
  { errors = [], exceptions = [] }: { errors?: Report["errors"]; exceptions?: readonly AcceptedFinding[] } = {},
): Report =>
  reportOf({
    basis: {
      version: "0.1.0",
      time: "2026-11-26T08:00:00.000Z",
      profile: "baseline",
      policies: ["MeshwardPolicy ours"],
      exceptions: exceptions.length,
      protectedNamespaces: ["shop"],
      objects: { VirtualService: 3 },
      idle: [],
    },
    findings,
    accepted: exceptions,
    rules: [rule],
    skipped: [{ rule: "routes-need-waypoint", reason: "needs objects of kind Service, and none are known" }],
    errors,
    objects: 3,
  });

const to: Destination = { page: { colour: false }, repositoryPath: (file) => file };
type Name = keyof typeof reportFormats;
const written = (name: Name, report: Report): string => reportFormats[name](report, to);

/** Every text that a user controls, in the shape that would do harm in one of the formats. */
const hostile =
  "x\u0000\ufffe\u001b[31m\u202e\ud800\r\n::error::pwned ##[add-mask]x ]]></failure><script>alert(1)</script> \"&'%0A `` ``` ```` | [a](http://evil.example) ![i](x) <!-- @everyone #12 ${{ secrets.X }} {0}";
const hostileReport = reportWith(
  [
    finding({
      file: `a,b:c/${hostile}.yaml`,
      message: `Value ${JSON.stringify(hostile)} and ${hostile}`,
      path: hostile,
      fix: hostile,
      object: { apiVersion: "v1", kind: "Service", namespace: hostile, name: hostile },
      related: [{ apiVersion: "v1", kind: "Service", name: hostile, file: hostile, line: 1, column: 1 }],
    }),
    finding({ mode: "warn", message: hostile, file: null, line: null, column: null }),
  ],
  {
    errors: [{ file: hostile, line: 3, message: hostile }],
    exceptions: [
      accepted({
        message: hostile,
        exception: { ...accepted().exception, reason: hostile, owner: hostile, name: hostile },
      }),
    ],
  },
);

describe("text, json, markdown, github, gitlab, junit and sarif", () => {
  for (const name of Object.keys(reportFormats) as Name[]) {
    test(`${name}: no findings is a report too, and ends with one line feed`, () => {
      const text = written(name, reportWith([]));
      assert.match(text, /[^\n]\n$/);
    });

    test(`${name}: names and values of users are only text`, () => {
      const text = written(name, hostileReport);
      // JSON escapes characters; no other format may contain them at all.
      if (name !== "json") assert.doesNotMatch(text, /[^\P{Cc}\n]|\p{Bidi_Control}|\p{Cs}/u);
      assert.ok(text.isWellFormed());
    });
  }
});

test("of many rules that are skipped for one reason, text and markdown name those of policies, and the first others", () => {
  const reason = "needs objects of kind Service, and none are known";
  const ids = [...Array.from({ length: 20 }, (_, i) => `rule-${String.fromCharCode(97 + i)}`), "shop/replicas"];
  const report = { ...reportWith([]), skipped: ids.map((rule) => ({ rule, reason })) };
  const line = `skipped: shop/replicas, rule-a, rule-b, rule-c, rule-d and 16 more (${reason})\n`;
  assert.ok(written("text", report).includes(line));
  assert.ok(written("markdown", report).includes(`- ${line}`));
  const json = JSON.parse(written("json", report)) as { skipped: readonly { rule: string }[] };
  assert.equal(json.skipped.length, ids.length);
});

describe("sarif", () => {
  const validate = (() => {
    const path = new URL(
      "../../node_modules/@microsoft/jest-sarif/lib/schemas/sarif-2.1.0-rtm.5.json",
      import.meta.url,
    );
    const { id: _, $schema: __, ...schema } = JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
    // Its formats are `uri` and `date-time`, which are checked below, and one of its patterns is none with the flag `u`.
    return new Ajv({ strict: false, validateFormats: false, unicodeRegExp: false, allErrors: true }).compile(schema);
  })();

  for (const [what, report] of [
    ["no findings", reportWith([])],
    [
      "a finding of each kind",
      reportWith([finding(), finding({ mode: "warn", file: null, line: null })], { exceptions: [accepted()] }),
    ],
    ["hostile text", hostileReport],
    [
      "a known finding",
      reportWith([
        finding({
          ...{ mode: "audit", baselineState: "unchanged" },
          lowered: [{ step: "baseline", from: "deny", to: "audit", reason: "x lists it" }],
        }),
      ]),
    ],
    ["an error", reportWith([], { errors: [{ file: null, line: null, message: "no" }] })],
  ] as const)
    test(`${what}: valid against the schema of SARIF 2.1.0`, () => {
      const log = JSON.parse(written("sarif", report)) as unknown;
      assert.ok(validate(log), JSON.stringify(validate.errors, null, 2));
    });

  test("the schema would find a mistake", () => {
    const log = JSON.parse(written("sarif", reportWith([finding()]))) as { runs: { results: { level: string }[] }[] };
    const [result] = log.runs[0]?.results ?? [];
    assert.ok(result);
    result.level = "fatal";
    assert.equal(validate(log), false);
  });

  const resultsOf = (report: Report) => {
    const { results = [], ...run } = (JSON.parse(written("sarif", report)) as Log).runs[0] ?? assert.fail();
    return { run, results };
  };

  test("places, addresses, rules and suppressions", () => {
    const report = reportWith([finding({ file: "apps/a b#1.yaml" })], {
      exceptions: [accepted({ file: "/tmp/x.yaml" })],
    });
    const { run, results } = resultsOf(report);
    const placesOf = (i: number) => results[i]?.locations?.map(({ physicalLocation }) => physicalLocation);
    assert.deepEqual(placesOf(0), [
      {
        artifactLocation: { uri: "apps/a%20b%231.yaml", uriBaseId: "%SRCROOT%" },
        region: { startLine: 9, startColumn: 7 },
      },
    ]);
    assert.deepEqual(
      placesOf(1)?.map((place) => place?.artifactLocation),
      [{ uri: "file:///tmp/x.yaml" }],
    );
    assert.deepEqual(
      results.map(({ suppressions = [] }) => suppressions.map(({ status, kind }) => [status, kind])),
      [[], [["accepted", "external"]]],
    );
    const step = { step: "baseline", from: "deny", to: "audit", reason: "known.json lists it as known" } as const;
    assert.deepEqual(
      resultsOf(reportWith([finding({ mode: "audit", lowered: [step] })])).results.map((one) => [
        one.level,
        one.suppressions,
      ]),
      [["note", [{ kind: "external", status: "accepted", justification: "known.json lists it as known" }]]],
    );
    assert.deepEqual(
      results.map(({ baselineState }) => baselineState),
      [undefined, undefined],
    );
    assert.deepEqual(
      resultsOf(reportWith([finding({ baselineState: "unchanged" }), finding({ baselineState: "new" })])).results.map(
        ({ baselineState }) => baselineState,
      ),
      ["unchanged", "new"],
    );
    assert.deepEqual(
      [run.tool.driver.rules?.map(({ id, helpUri }) => [id, helpUri]), results.map(({ ruleIndex }) => ruleIndex)],
      [[[rule.id, rule.docs]], [0, 0]],
    );
    assert.deepEqual(results[0]?.fingerprints, { "meshward/v1": finding().fingerprint });
    assert.match(run.invocations?.[0]?.endTimeUtc ?? "", /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  });
});

describe("junit", () => {
  test("denials and errors fail, accepted findings are skipped, warnings pass with output", () => {
    const report = reportWith([finding(), finding({ mode: "warn" })], {
      errors: [{ file: "bad.yaml", line: 2, message: "tabs" }],
      exceptions: [accepted()],
    });
    const [suites, suite, ...rest] = elementsOf(written("junit", report));
    assert.deepEqual([suites?.name, suite?.name], ["testsuites", "testsuite"]);
    for (const { attributes } of [suites, suite].flatMap((one) => one ?? []))
      assert.deepEqual(
        ["tests", "failures", "errors", "skipped"].map((name) => attributes[name]),
        ["5", "1", "1", "1"],
      );
    assert.deepEqual(
      rest.filter(({ name }) => name !== "testcase").map(({ name }) => name),
      ["system-out", "error", "failure", "system-out", "skipped"],
    );
    const failure = rest.find(({ name }) => name === "failure");
    assert.match(failure?.text ?? "", /apps\/shop\.yaml:9:7 VirtualService shop\/shop spec\.http\[0\]\.route\nWeights/);
  });

  test("hostile text stays inside of its element", () => {
    const all = elementsOf(written("junit", hostileReport));
    const known = ["testsuites", "testsuite", "testcase", "failure", "error", "skipped", "system-out"];
    assert.deepEqual(
      all.filter(({ name }) => !known.includes(name)),
      [],
    );
    const failure = all.find(({ name }) => name === "failure");
    assert.match(failure?.text ?? "", /\]\]><\/failure><script>alert\(1\)<\/script> "&'%0A/);
  });
});

describe("github", () => {
  const commands = (text: string) => text.split("\n").filter((line) => line.trimStart().startsWith("::"));

  test("an annotation has a file, a place and a title", () => {
    const [command] = commands(written("github", reportWith([finding({ file: "a,b:c%.yaml" })])));
    assert.equal(
      command,
      "::error file=a%2Cb%3Ac%25.yaml,line=9,col=7,title=virtual-service-weights-not-100::VirtualService shop/shop: Weights sum to 110%0AFix: Change the weights.%0Ahttps://docs.example/rules/virtual-service-weights-not-100.md",
    );
  });

  test("no text of users is a command", () => {
    const text = written("github", hostileReport);
    assert.equal(commands(text).length, 3);
    assert.doesNotMatch(
      text
        .split("\n")
        .filter((line) => !line.startsWith("::"))
        .join("\n"),
      /##\[/,
    );
    const many = Array.from({ length: 30 }, () => finding({ message: hostile, file: "::error::x" }));
    assert.equal(commands(written("github", reportWith(many))).length, annotationsPerLevel);
  });

  test("what GitHub would drop is in the log, and denials come before warnings", () => {
    const findings = [
      ...Array.from({ length: 12 }, (_, i) => finding({ mode: "warn", message: `warning ${i}` })),
      ...Array.from({ length: 13 }, (_, i) => finding({ message: `denial ${i}` })),
    ];
    const lines = written("github", reportWith(findings)).split("\n");
    assert.equal(lines.filter((line) => line.startsWith("::error")).length, annotationsPerLevel);
    assert.equal(lines.filter((line) => line.startsWith("::warning")).length, annotationsPerLevel);
    assert.ok(lines[0]?.startsWith("::error"));
    assert.ok(lines.includes("GitHub shows 10 annotations of each level; 5 more:"));
    assert.equal(lines.filter((line) => /^(?:error|warning) apps\/shop\.yaml:9 \[/.test(line)).length, 5);
  });
});

describe("gitlab", () => {
  interface Issue {
    description: string;
    check_name: string;
    fingerprint: string;
    severity: string;
    location: { path: string; lines: { begin: number } };
  }
  const issues = (report: Report) => JSON.parse(written("gitlab", report)) as Issue[];

  test("has the required fields, known severities, and no fingerprint twice", () => {
    const found = issues(
      reportWith([finding(), finding({ file: "other.yaml" }), finding({ mode: "warn", fingerprint: "f" })], {
        errors: [{ file: null, line: null, message: "no" }],
      }),
    );
    assert.equal(new Set(found.map(({ fingerprint }) => fingerprint)).size, 4);
    assert.deepEqual(
      found.map(({ severity, location: { path, lines } }) => `${severity} ${path}:${lines.begin}`),
      ["blocker meshward:1", "critical apps/shop.yaml:9", "minor apps/shop.yaml:9", "critical other.yaml:9"],
    );
    assert.match(found[1]?.description ?? "", /^VirtualService shop\/shop: Weights sum to 110$/);
  });

  test("no problem is an empty list", () => assert.deepEqual(issues(reportWith([])), []));
});

describe("markdown", () => {
  test("says the outcome first, then what to do", () => {
    const text = written("markdown", reportWith([finding(), finding({ mode: "warn" })]));
    assert.match(
      text,
      /^<!-- meshward -->\n## Meshward: ❌ 1 problem, ⚠️ 1 warning in 3 objects\n\n### Denied\n\n- \*\*VirtualService shop\/shop\*\*/,
    );
    assert.match(
      text,
      /\(\[virtual-service-weights-not-100\]\(<https:\/\/docs\.example\/rules\/virtual-service-weights-not-100\.md>\)\)/,
    );
    assert.match(written("markdown", reportWith([])), /## Meshward: ✅ no problems in 3 objects/);
  });

  test("text of users cannot format, link or notify", () => {
    const text = written("markdown", hostileReport);
    const outside = text
      .replaceAll(/(`+)(?!`).*?[^`]\1(?!`)/g, "CODE")
      .replaceAll(/\\[\\`*_{}[\]<>|~$#+=-]/g, "")
      .replaceAll("<!-- -->", "\u2060");
    assert.doesNotMatch(outside, /<script|<\/failure|\]\(http|@everyone|#12|:\/\/evil|<!-- @/);
    assert.equal(
      outside
        .match(/<[^>]*>/g)
        ?.every((tag) => /^<\/?(?:details|summary)>$|^<!-- meshward -->$|^<https:\/\/docs\.example/.test(tag)),
      true,
    );
  });

  test("a comment is never longer than GitHub accepts, and says what it leaves out", () => {
    const many = Array.from({ length: 3000 }, (_, i) =>
      finding({ mode: i % 2 ? "warn" : "deny", message: `problem ${i}` }),
    );
    const text = written("markdown", reportWith(many));
    assert.ok(text.length <= longestComment, String(text.length));
    assert.match(text, /_\d+ more denials: a comment has no room for them, other formats do\._/);
    assert.match(text, /_1500 more warnings: a comment has no room for them, other formats do\._/);
    assert.match(text, /^## Meshward: ❌ 1500 problems, ⚠️ 1500 warnings/m);
  });

  test("what changes in the mesh takes no room from the findings", () => {
    const line = { mark: "+", key: "mtls", of: null, text: "x".repeat(200), lines: [] } as const;
    const effects = Array.from({ length: 1000 }, (_, i) => ({
      ...{ target: { kind: "Namespace", name: `n${i}` }, title: `Namespace n${i}`, lines: [line] },
    }));
    const report = { ...reportWith([finding({ message: "the only problem" })]), changes: { effects, unexplained: 7 } };
    const text = written("markdown", report);
    assert.ok(text.length <= longestComment, String(text.length));
    assert.match(text, /### What changes in the mesh \(7 more namespaces and hosts not compared\)/);
    assert.match(text, /_\d{3} more changes: a comment has no room for them/);
    assert.match(text, /the only problem/);
    assert.match(text, /- Meshward 0\.1\.0/);
  });
});
