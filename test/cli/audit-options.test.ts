import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import type { ReportDifference } from "../../src/report/difference.ts";
import type { Report } from "../../src/report/report.ts";
import type { WhatIf } from "../../src/report/what-if.ts";
import { rules as builtIn } from "../../src/rules/index.ts";
import { meshward } from "./terminal.ts";

const root = mkdtempSync(join(tmpdir(), "meshward-audit-options-"));
after(() => rmSync(root, { recursive: true }));

const virtualService = (namespace: string, name: string, weights: readonly number[], labels = "") =>
  `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: ${name}, namespace: ${namespace}${labels} }
spec: { hosts: [${name}], http: [{ route: [${weights.map((weight, i) => `{ destination: { host: ${name}-${i} }, weight: ${weight} }`).join(", ")}] }] }
`;
const namespace = (name: string, labels: string) =>
  `apiVersion: v1\nkind: Namespace\nmetadata: { name: ${name}, labels: { ${labels} } }\n`;

function meshFile(name: string, ...documents: readonly string[]): string {
  const file = join(root, `${name}.yaml`);
  writeFileSync(file, documents.join("---\n"));
  return file;
}

const mesh = meshFile(
  "mesh",
  namespace("pay", "team: payments"),
  virtualService("pay", "api", [90, 20]),
  virtualService("shop", "web", [10, 10], ", annotations: { owner: ada }"),
  virtualService("shop", "ok", [50, 50]),
);

async function jsonOf<T>(...argv: readonly string[]): Promise<T & { readonly code: number }> {
  const { out, error, code } = await meshward(["audit", "--format", "json", ...argv]);
  assert.notEqual(out, "", error);
  return { ...(JSON.parse(out) as T), code };
}
const shownIn = ({ findings }: Report) =>
  findings.map(({ rule, object }) => `${rule} ${object.namespace}/${object.name}`);

describe("audit shows", () => {
  test("only what is asked for, and says how much else there is", async () => {
    const all = await jsonOf<Report>("--mesh", mesh);
    const weights = ["virtual-service-weights-not-100 pay/api", "virtual-service-weights-not-100 shop/web"];
    assert.deepEqual(
      shownIn(all).filter((one) => one.includes("weights")),
      weights,
    );
    assert.equal(all.basis.filter, undefined);

    const ofShop = await jsonOf<Report>("--mesh", mesh, "--namespace", "sh*", "--rule", "*weights-not-*");
    assert.deepEqual(shownIn(ofShop), [weights[1]]);
    assert.equal(ofShop.basis.filter?.hidden, all.findings.length - 1);
    assert.deepEqual([ofShop.summary.deny, ofShop.summary.warn], [1, 0]);

    const denying = await jsonOf<Report>("--mesh", mesh, "--min-mode", "deny");
    assert.ok(denying.findings.every(({ mode }) => mode === "deny"));
    const tagged = await jsonOf<Report>("--mesh", mesh, "--tag", "canary");
    assert.deepEqual(new Set(tagged.rules.flatMap(({ tags }) => tags.includes("canary"))), new Set([true]));
    const canary = new Set(builtIn.filter(({ tags }) => tags.includes("canary")).map(({ id }) => id));
    const [named, whole] = [tagged, all].map(({ basis, skipped }) =>
      [...basis.idle, ...skipped].map(({ rule }) => rule),
    );
    assert.ok(named !== undefined && named.length > 0 && whole !== undefined && whole.length > named.length);
    assert.deepEqual(
      named,
      whole.filter((rule) => canary.has(rule)),
    );
    const text = await meshward(["audit", "--mesh", mesh, "-n", "shop"]);
    assert.match(text.out, /shown are only findings in namespace shop; \d+ other findings? not shown/);
  });

  test("what policies say of namespaces that there are not, as notes that fail nothing", async () => {
    const file = join(root, "absent.yaml");
    const document = (name: string, spec: string) =>
      `apiVersion: meshward.io/v1alpha1\nkind: MeshwardPolicy\nmetadata: { name: ${name} }\nspec: ${spec}\n`;
    const ours = '{ protectedNamespaces: { names: [pya, shop, "bank-*"] } }';
    const team = "{ match: { namespaces: { labels: { team: payments } } }, rules: [{ tag: mtls, mode: warn }] }";
    writeFileSync(file, [document("ours", ours), document("team", team)].join("---\n"));
    const whole = meshFile("whole", namespace("pay", "team: other"), namespace("shop", "team: shop"));
    const { code, error } = await meshward(["audit", "--mesh", whole, "--policies", file, "--min-mode", "deny"]);
    assert.equal(code, 0);
    assert.equal(
      error,
      'meshward: note: MeshwardPolicy ours: spec.protectedNamespaces.names[0]: this mesh has no namespace "pya"; did you mean "pay"?\n' +
        'meshward: note: MeshwardPolicy ours: spec.protectedNamespaces.names[2]: no namespace of this mesh matches "bank-*"\n' +
        "meshward: note: MeshwardPolicy team: spec.match.namespaces.labels: no namespace of this mesh has team=payments\n",
    );
    // Of a namespace that only other objects name, nobody knows the labels.
    const part = await meshward(["audit", "--mesh", mesh, "--policies", file]);
    assert.doesNotMatch(part.error, /labels|"shop"/);
    const none = meshFile("none", virtualService("shop", "ok", [50, 50]));
    const unknown = await meshward(["check", none, "--policies", file]);
    assert.doesNotMatch(unknown.error, /no namespace/);
  });

  test("nothing for a namespace without findings, which decides the exit code too", async () => {
    const withOther = meshFile("with-other", readFileSync(mesh, "utf8"), namespace("other", "team: none"));
    assert.equal((await jsonOf<Report>("--mesh", withOther, "--namespace", "other", "--min-mode", "deny")).code, 0);
    assert.equal((await jsonOf<Report>("--mesh", mesh, "--namespace", "pay")).code, 1);
  });

  test("an error for a namespace that the mesh does not have", async () => {
    for (const options of [[], ["--what-if", "baseline"]]) {
      const { error, out, code } = await meshward(["audit", "--mesh", mesh, "--namespace", "shop", "shp", ...options]);
      assert.match(error, /^meshward: --namespace: there is no namespace "shp" in this mesh; did you mean "shop"\?\n/);
      assert.deepEqual([out, code], ["", 2]);
    }
    const { error, code } = await meshward(["audit", "--mesh", mesh, "--namespace", "x*"]);
    assert.deepEqual([error, code], ['meshward: --namespace: there is no namespace "x*" in this mesh\n', 2]);
  });

  test("an error for a rule or a tag that does not exist", async () => {
    const wrong = await meshward(["audit", "--mesh", mesh, "--rule", "virtual-service-weight-not-100"]);
    assert.equal(wrong.code, 2);
    assert.match(wrong.error, /there is no rule .* did you mean "virtual-service-weights-not-100"/);
    const tag = await meshward(["audit", "--mesh", mesh, "--tag", "nothing"]);
    assert.match(tag.error, /no rule has the tag "nothing"; tags are /);
    const nearly = await meshward(["audit", "--mesh", mesh, "--tag", "canarry"]);
    assert.match(nearly.error, /no rule has the tag "canarry"; did you mean "canary"\?; tags are /);
    assert.match(
      (await meshward(["audit"])).error,
      /give the mesh to check with --mesh, as a file or folder of manifests, a capture, or the word cluster/,
    );
  });

  test("how many objects it has read, on a terminal", async () => {
    const many = join(root, "many.capture");
    const items = Array.from({ length: 500 }, (_, i) => ({
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name: `n${i}` },
    }));
    writeFileSync(
      many,
      `{"apiVersion":"meshward.io/v1alpha1","kind":"Capture","version":1,"server":"x","at":"2026-01-01T00:00:00Z","items":[\n${items.map((item) => JSON.stringify(item)).join(",\n")}\n],"knowledge":{"Namespace":"complete"},"count":500}\n`,
    );
    let told = "";
    const hint = (text: string) => void (told += text);
    const { code } = await meshward(["audit", "--mesh", many, "--fail-on", "never"], { hint });
    assert.equal(code, 0);
    assert.match(told, /\r500 objects read\n$/);
  });
});

describe("what if", () => {
  test("a profile denied more: which objects, of whom, and what is denied already", async () => {
    const whatIf = await jsonOf<WhatIf>("--mesh", mesh, "--profile", "observe", "--what-if", "baseline");
    assert.equal(whatIf.code, 1);
    assert.equal(whatIf.with, "profile baseline");
    assert.deepEqual(whatIf.inForce, { findings: 0, objects: 0, namespaces: 0, owners: 0, unowned: 0 });
    assert.deepEqual(
      whatIf.denied.map(({ object, namespace, owner, rules }) => [
        object.name,
        namespace,
        owner,
        rules[0]?.isDeniedNow,
      ]),
      [
        ["api", "pay", "payments", false],
        ["web", "shop", "ada", false],
      ],
    );
    assert.deepEqual([whatIf.asked.objects, whatIf.asked.namespaces, whatIf.asked.owners], [2, 2, 2]);
    assert.deepEqual(whatIf.byRule, [{ rule: "virtual-service-weights-not-100", objects: 2, namespaces: 2 }]);
    assert.ok(whatIf.skipped.length > 0);
    const now = await jsonOf<WhatIf>("--mesh", mesh, "--what-if", "baseline");
    assert.ok(now.denied.every(({ rules }) => rules.every(({ isDeniedNow }) => isDeniedNow)));
  });

  test("a policy of a file came in addition, or instead of one of its name", async () => {
    const policy = (name: string, mode: string) =>
      `apiVersion: meshward.io/v1alpha1\nkind: MeshwardPolicy\nmetadata: { name: ${name} }\nspec: { rules: [{ id: virtual-service-weights-not-100, mode: ${mode} }] }\n`;
    const inForce = meshFile("in-force", policy("weights", "warn"));
    const next = meshFile("next", policy("weights", "deny"));
    const whatIf = await jsonOf<WhatIf>("--mesh", mesh, "--policies", inForce, "--what-if", next, "--namespace", "pay");
    assert.deepEqual([whatIf.inForce.objects, whatIf.asked.objects], [0, 1]);
    const text = await meshward(["audit", "--mesh", mesh, "--policies", inForce, "--what-if", next]);
    assert.match(
      text.out,
      /^namespace pay, owner payments\n  VirtualService pay\/api\n    virtual-service-weights-not-100: /m,
    );
    assert.match(text.out, /2 objects of 5 in 2 namespaces of 2 owners would be denied/);
    const none = await meshward(["audit", "--mesh", mesh, "--what-if", "observe"]);
    assert.match(none.out, /^With profile observe, none of 5 objects would be denied; /m);
    const unowned = await meshward(["audit", "--mesh", mesh, "--what-if", next, "--owner-label", "nobody"]);
    assert.match(unowned.out, /2 objects of 5 in 2 namespaces, none of them with a named owner, would be denied \(/);
    const markdown = await meshward(["audit", "--mesh", mesh, "--what-if", next, "--format", "markdown"]);
    assert.match(markdown.out, /VirtualService pay\/api/);
  });

  test("is refused for what is no profile and no policies, and in formats for findings", async () => {
    const wrong = await meshward(["audit", "--mesh", mesh, "--what-if", "strct"]);
    assert.equal(wrong.code, 2);
    assert.match(wrong.error, /neither a profile .*did you mean "strict"\?/);
    const format = await meshward(["audit", "--mesh", mesh, "--what-if", "strict", "--format", "sarif"]);
    assert.match(format.error, /--what-if is written as text, json or markdown, not as sarif/);
  });
});

describe("audit --diff", () => {
  const later = meshFile(
    "later",
    namespace("pay", "team: payments"),
    virtualService("pay", "api", [90, 10]),
    virtualService("shop", "web", [10, 10]),
    virtualService("shop", "ok", [50, 51]),
  );

  test("says what appeared and what was fixed, between meshes and reports alike", async () => {
    const ofMeshes = await jsonOf<ReportDifference>("--diff", mesh, later);
    const named = (findings: ReportDifference["fixed"]) => findings.map(({ object }) => object.name);
    assert.deepEqual([named(ofMeshes.appeared), named(ofMeshes.fixed)], [["ok"], ["api"]]);
    assert.equal(ofMeshes.code, 1);
    const [old, now] = [join(root, "old.json"), join(root, "new.json")];
    for (const [path, file] of [
      [mesh, old],
      [later, now],
    ] as const)
      await meshward(["audit", "--mesh", path, "--output", `json=${file}`]);
    const ofReports = await jsonOf<ReportDifference>("--diff", old, now);
    assert.deepEqual([named(ofReports.appeared), named(ofReports.fixed)], [["ok"], ["api"]]);
    assert.equal(ofReports.unchanged, ofMeshes.unchanged);
    assert.ok(ofReports.unchanged >= 1);
    const same = await jsonOf<ReportDifference>("--diff", mesh, old);
    assert.deepEqual([same.appeared, same.fixed, same.code], [[], [], 0]);
  });

  test("shows other modes, and rules that could not run on one side as unknown instead of fixed", async () => {
    const milder = join(root, "milder.json");
    await meshward(["audit", "--mesh", mesh, "--profile", "observe", "--output", `json=${milder}`]);
    const report = JSON.parse(readFileSync(milder, "utf8")) as Report;
    const unable = {
      ...report,
      findings: [],
      skipped: [...report.skipped, { rule: "virtual-service-weights-not-100", reason: "needs objects" }],
    };
    const difference = await jsonOf<ReportDifference>("--diff", mesh, milder);
    assert.ok(difference.changed.some(({ from, finding }) => from === "deny" && finding.mode === "audit"));
    assert.match(difference.notes.join(), /different profiles: baseline, then observe/);
    writeFileSync(milder, JSON.stringify(unable, null, 2));
    const unknown = await jsonOf<ReportDifference>("--diff", mesh, milder);
    assert.ok(!unknown.fixed.some(({ rule }) => rule === "virtual-service-weights-not-100"));
    assert.deepEqual(
      unknown.notCompared.map((one) => [one.rule, one.in]),
      [["virtual-service-weights-not-100", "new"]],
    );
  });

  test("in text and in Markdown, in which names format nothing", async () => {
    const hostile = meshFile("hostile", virtualService("shop", "_bold_", [1, 2]));
    const text = await meshward(["audit", "--diff", mesh, later]);
    assert.match(text.out, /^appeared:\n  \+ deny  VirtualService shop\/ok: /m);
    assert.match(text.out, /^fixed:\n  - deny  VirtualService pay\/api: /m);
    assert.match(text.out, /1 finding appeared, 1 fixed/);
    const markdown = await meshward(["audit", "--diff", mesh, hostile, "--format", "markdown"]);
    assert.match(markdown.out, /\*\*VirtualService shop\/\\_bold\\_\*\*/);
  });

  test("refuses what it cannot compare", async () => {
    const one = await meshward(["audit", "--diff", mesh]);
    assert.match(one.error, /--diff compares two meshes or reports, the older one first; 1 given/);
    const both = await meshward(["audit", "--mesh", mesh, "--diff", mesh, later]);
    assert.match(both.error, /leave out --mesh and --what-if/);
    const cut = join(root, "cut.json");
    writeFileSync(cut, '{ "apiVersion": "meshward.io/v1alpha1", "kind": "Report", "findings": [');
    assert.match((await meshward(["audit", "--diff", cut, later])).error, /ends too early or is no JSON/);
    writeFileSync(cut, '{ "apiVersion": "meshward.io/v1alpha1", "kind": "Report", "findings": [{}] }');
    assert.match((await meshward(["audit", "--diff", cut, later])).error, /wrote no fingerprints/);
    mkdirSync(join(root, "empty"));
    const nowhere = await meshward(["audit", "--diff", join(root, "nowhere"), later]);
    assert.equal(nowhere.code, 2);
    assert.match(nowhere.error, /^meshward: --diff .*nowhere cannot be read completely:\n.*there is no such file/);
    assert.match((await meshward(["audit", "--diff", mesh, later, "-n", "shp"])).error, /there is no namespace "shp"/);
    const sarif = join(root, "audit.sarif");
    await meshward(["audit", "--mesh", mesh, "--output", `sarif=${sarif}`]);
    const { error } = await meshward(["audit", "--diff", sarif, later]);
    assert.match(error, /^meshward: --diff \S*audit\.sarif cannot be read completely:/);
    assert.match(error, /--diff compares meshes, and reports that audit wrote with --format json/);
  });
});
