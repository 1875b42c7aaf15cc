import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, describe, test } from "node:test";
import type { Log } from "sarif";
import type { Report } from "../../src/report/report.ts";
import { meshward } from "./terminal.ts";

const root = mkdtempSync(join(tmpdir(), "meshward-baseline-"));
after(() => rmSync(root, { recursive: true }));
let folders = 0;
function folderWith(files: Readonly<Record<string, string>>): string {
  const folder = join(root, String(folders++));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return folder;
}
const virtualService = (
  name: string,
  weights: readonly number[],
  above = "",
) => `${above}apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: ${name}, namespace: shop }
spec:
  hosts: [${name}]
  http: [{ route: [${weights.map((weight) => `{ destination: { host: ${name} }, weight: ${weight} }`).join(", ")}] }]
`;
async function checked(...argv: string[]): Promise<{ code: number; error: string; report: Report }> {
  const { code, out, error } = await meshward(["check", ...argv, "-o", "json"]);
  return { code, error, report: JSON.parse(out) as Report };
}
interface Baseline {
  findings: { rule: string; object: string; file: string }[];
}

describe("a baseline", () => {
  const folder = folderWith({ "a.yaml": virtualService("a", [90, 20]), "b.yaml": virtualService("b", [50, 50]) });
  const file = join(root, "baseline.json");

  test("what it lists is only recorded, and what comes later fails", async () => {
    assert.equal((await checked(folder)).code, 1);
    const written = await checked(folder, "--write-baseline", file);
    assert.deepEqual(
      [written.code, written.error],
      [
        0,
        `meshward: note: ${file} has 1 known finding now: 1 denial and 0 warnings. They fail no check that is given --baseline ${file}\n`,
      ],
    );
    assert.deepEqual(
      (JSON.parse(readFileSync(file, "utf8")) as Baseline).findings.map(({ rule, object }) => [rule, object]),
      [["virtual-service-weights-not-100", "VirtualService shop/a"]],
    );
    // Lines move, another field changes, the file gets another name.
    const edited = folderWith({
      "x/new.yaml": `# a comment\n\n${virtualService("a", [90, 20]).replace("hosts: [a]", "hosts: [a, a.example]")}`,
    });
    const later = await checked(edited, "--baseline", file);
    assert.deepEqual([later.code, later.report.summary.deny, later.report.baseline?.known], [0, 0, 1]);
    assert.deepEqual(later.report.findings[0]?.lowered.at(-1), {
      ...{ step: "baseline", from: "deny", to: "audit" },
      reason: `${file} lists it as known`,
    });
    const more = folderWith({ "a.yaml": virtualService("a", [90, 20]), "c.yaml": virtualService("c", [1, 2]) });
    const found = await checked(more, "--baseline", file);
    assert.equal(found.code, 1);
    assert.deepEqual(
      found.report.findings.map(({ mode, object, baselineState }) => [mode, object.name, baselineState]),
      [
        ["audit", "a", "unchanged"],
        ["deny", "c", "new"],
      ],
    );
    const log = JSON.parse((await meshward(["check", more, "--baseline", file, "-o", "sarif"])).out) as Log;
    assert.deepEqual(
      log.runs[0]?.results?.map(({ level, baselineState }) => [level, baselineState]),
      [
        ["note", "unchanged"],
        ["error", "new"],
      ],
    );
  });

  test("another wrong sum is another problem", async () => {
    const edited = folderWith({ "a.yaml": virtualService("a", [90, 30]) });
    const { code, report, error } = await checked(edited, "--baseline", file);
    assert.deepEqual([code, report.baseline?.stale.length], [1, 1]);
    assert.match(
      error,
      /^meshward: note: 1 finding in .*baseline\.json no longer exists: virtual-service-weights-not-100 on VirtualService shop\/a; remove them with --write-baseline /m,
    );
  });

  test("an entry stands for one finding: the same object in one more folder is new", async () => {
    const two = folderWith({
      "dev/a.yaml": virtualService("a", [90, 20]),
      "prod/a.yaml": virtualService("a", [90, 20]),
    });
    const { code, report } = await checked(two, "--baseline", file);
    assert.deepEqual([code, report.findings.map(({ mode }) => mode)], [1, ["audit", "deny"]]);
    const own = join(root, "two.json");
    assert.equal((await checked(two, "--write-baseline", own)).code, 0);
    const known = JSON.parse(readFileSync(own, "utf8")) as Baseline;
    assert.equal(known.findings.length, 2);
    // The entry of the same file is taken first.
    writeFileSync(
      own,
      JSON.stringify({ ...known, findings: known.findings.filter(({ file: at }) => at.includes("prod")) }),
    );
    const left = await checked(two, "--baseline", own);
    assert.deepEqual(
      left.report.findings.map(({ file: at, mode }) => [at?.includes("prod"), mode]),
      [
        [false, "deny"],
        [true, "audit"],
      ],
    );
  });

  test("it is not written unless everything was checked", async () => {
    const broken = folderWith({
      "a.yaml": virtualService("a", [90, 20]),
      "b.yaml": "apiVersion: v1\nkind: Service\nmetadata:\n\tname: b\n",
    });
    const { code, error, report } = await checked(broken, "--write-baseline", join(root, "never.json"));
    assert.deepEqual([code, existsSync(join(root, "never.json")), report.errors.length], [2, false, 1]);
    assert.match(
      error,
      /--write-baseline .*never\.json: nothing is written, because not everything could be checked: correct the 1 error first\n/,
    );
    const unwritable = await checked(folder, "--write-baseline", join(root, "no/such/b.json"));
    assert.equal(unwritable.code, 2);
    assert.match(unwritable.error, /--write-baseline .* cannot be written: its folder does not exist/);
  });

  const entry = { fingerprint: "f", rule: "r", object: "o", message: "m", file: null };
  const of = (more: object) =>
    JSON.stringify({ apiVersion: "meshward.io/v1alpha1", kind: "Baseline", findings: [], ...more });
  for (const [what, text, says] of [
    ["no JSON", "{", /is not valid JSON \(.*\): write it again with --write-baseline/],
    ["another file", '{"kind":"Report"}', /is not a baseline of Meshward: correct the path, or write it again/],
    ["a list", "[]", /is not a baseline of Meshward/],
    [
      "another version",
      of({ apiVersion: "meshward.io/v2" }),
      /has version "meshward\.io\/v2", and this Meshward reads meshward\.io\/v1alpha1: write it again/,
    ],
    [
      "a broken entry",
      of({ findings: [entry, { ...entry, fingerprint: 7 }] }),
      /findings\[1\] needs fingerprint, rule, object and message as text/,
    ],
    ["a missing file", undefined, /: there is no such file or folder: correct the path\n$/],
  ] as const)
    test(`${what}: one line that says what to do, and nothing is checked`, async () => {
      const path = join(root, `${what}.json`);
      if (text !== undefined) writeFileSync(path, text);
      const { code, out, error } = await meshward(["check", folder, "--baseline", path]);
      assert.deepEqual([code, out], [2, ""]);
      assert.match(error, says);
      assert.equal(error.trimEnd().split("\n").length, 1);
    });
});
