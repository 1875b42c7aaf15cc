import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, describe, test } from "node:test";
import { setTimeout as elapsed } from "node:timers/promises";
import { run } from "../../src/cli/program.ts";
import type { TestReport } from "../../src/report/test-report.ts";
import { elementsOf } from "../report/xml.ts";
import { meshward } from "./terminal.ts";

const root = mkdtempSync(join(tmpdir(), "meshward-policy-tests-"));
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

const policy = `apiVersion: meshward.io/v1alpha1
kind: MeshwardPolicy
metadata: { name: shop }
spec:
  protectedNamespaces: { names: [shop] }
  rules:
    - { id: "*", mode: "off" } # so that other rules change nothing here
    - { id: virtual-service-weights-not-100, mode: deny }
    - { id: virtual-service-subset-not-found, mode: deny }
    - { id: namespace-mtls-weakened, mode: deny }
    - { id: gateway-tls-weak, mode: deny }
  mutations: { namespaceAmbientEnrollment: { mode: create } }
  breakGlass: { groups: [on-call] }
---
apiVersion: meshward.io/v1alpha1
kind: MeshwardException
metadata: { name: legacy, namespace: shop }
spec:
  rules: [namespace-mtls-weakened]
  reason: a client that cannot use mTLS yet
  owner: shop team
  expiresAt: "2027-01-01T00:00:00Z"
---
apiVersion: meshward.io/v1alpha1
kind: MeshwardException
metadata: { name: idle, namespace: shop }
spec: { rules: [gateway-tls-weak], reason: none, owner: shop team, expiresAt: "2027-01-01T00:00:00Z" }
`;
const mesh = `apiVersion: v1
kind: Namespace
metadata: { name: shop, labels: { istio.io/dataplane-mode: ambient } }
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: default, namespace: shop }
spec: { mtls: { mode: STRICT } }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: shop, namespace: shop }
spec: { selector: { matchLabels: { app: shop } }, template: { metadata: { labels: { app: shop } }, spec: { containers: [{ name: a, image: a }] } } }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: old, namespace: shop }
spec: { hosts: [old], http: [{ route: [{ destination: { host: a }, weight: 60 }, { destination: { host: b }, weight: 60 }] }] }
`;
const wrong = `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: new, namespace: shop }
spec: { hosts: [new], http: [{ route: [{ destination: { host: a }, weight: 90 }, { destination: { host: b }, weight: 20 }] }] }
`;
const strict =
  "{ apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: { name: default, namespace: shop } }";
const files = { "policies/shop.yaml": policy, "mesh.yaml": mesh, "wrong.yaml": wrong };
const head = "policies: [policies]\nmesh: [mesh.yaml]\ncases:\n";
const suite = (...cases: string[]) =>
  folderWith({
    ...files,
    "meshward-test.yaml": head + cases.map((one) => `  - ${one.replaceAll("\n", "\n    ")}\n`).join(""),
  });

async function tested(folder: string, ...argv: string[]): Promise<{ code: number; error: string; report: TestReport }> {
  const { code, out, error } = await meshward(["test", folder, "-o", "json", ...argv]);
  return { code, error, report: JSON.parse(out) as TestReport };
}
const statuses = ({ files: all }: TestReport) => all.flatMap(({ cases }) => cases.map(({ status }) => status));

describe("coverage", () => {
  test("a setting that another policy takes over is tested where that one decides", async () => {
    const document = (name: string, spec: string) =>
      `apiVersion: meshward.io/v1alpha1\nkind: MeshwardPolicy\nmetadata: { name: ${name} }\nspec: ${spec}\n`;
    const folder = mkdtempSync(join(tmpdir(), "meshward-coverage-"));
    const rule = "virtual-service-weights-not-100";
    writeFileSync(
      join(folder, "policies.yaml"),
      `${document("shared", `{ rules: [{ id: ${rule}, mode: warn }] }`)}---\n${document("team", "{ extends: [shared], match: { namespaces: { names: [shop] } }, rules: [{ id: gateway-tls-weak, mode: deny }] }")}`,
    );
    writeFileSync(
      join(folder, "meshward-test.yaml"),
      `profile: observe
policies: [policies.yaml]
cases:
  - name: weights
    apply:
      apiVersion: networking.istio.io/v1
      kind: VirtualService
      metadata: { name: a, namespace: shop }
      spec: { hosts: [a.example.com], http: [{ route: [{ destination: { host: b.example.com }, weight: 1 }, { destination: { host: c.example.com }, weight: 2 }] }] }
    expect: { allowed: true, warnedBy: [${rule}] }
`,
    );
    const { report } = await tested(folder);
    rmSync(folder, { recursive: true });
    assert.deepEqual(
      report.coverage.settings.map(({ document: of, setting, isCovered }) => `${of} ${setting} ${isCovered}`),
      [`MeshwardPolicy shared ${rule} true`, "MeshwardPolicy team gateway-tls-weak false"],
    );
  });
});

describe("meshward test", () => {
  test("who, when, what, and every kind of expectation", async () => {
    const folder = suite(
      "name: weights\napply: wrong.yaml\nexpect: { deniedBy: [virtual-service-weights-not-100], message: ['90 + 20 = 110', Fix] }",
      `name: the exception holds\ndelete: ${strict}\ntime: "2026-12-31T23:59:59Z"\nexpect: { allowed: true, acceptedBy: [shop/legacy], warnedBy: [] }`,
      `name: the exception has ended\ndelete: ${strict}\ntime: "2027-01-01T00:00:00Z"\nexpect: { allowed: false, deniedBy: [namespace-mtls-weakened], acceptedBy: [] }`,
      "name: a new namespace is enrolled\napply: { apiVersion: v1, kind: Namespace, metadata: { name: new } }\nexpect: { allowed: true, patchedTo: { metadata: { labels: { istio.io/dataplane-mode: ambient } } } }",
      `name: break glass\napply: { apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: { name: new, namespace: shop, annotations: { meshward.io/break-glass: incident } }, spec: { hosts: [new], http: [{ route: [{ destination: { host: a }, weight: 1 }, { destination: { host: b }, weight: 2 }] }] } }\nby: { user: ada, groups: [on-call] }\nexpect: { allowed: true, warnedBy: [virtual-service-weights-not-100] }`,
      "name: what was wrong before only warns\napply: { apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: { name: old, namespace: shop, labels: { a: b } }, spec: { hosts: [old], http: [{ route: [{ destination: { host: a }, weight: 60 }, { destination: { host: b }, weight: 60 }] }] } }\nexpect: { allowed: true, warnedBy: [virtual-service-weights-not-100] }",
    );
    const { code, report, error } = await tested(folder);
    assert.deepEqual(
      report.files.flatMap(({ cases }) => cases.filter(({ status }) => status !== "passed")),
      [],
    );
    assert.deepEqual([code, error, report.summary], [0, "", { passed: 6, failed: 0, errors: 0 }]);
    assert.deepEqual(
      report.coverage.settings.map(({ document, setting, isCovered }) =>
        `${isCovered ? "+" : "-"} ${document} ${setting}`.trim(),
      ),
      [
        "+ MeshwardPolicy shop virtual-service-weights-not-100",
        "- MeshwardPolicy shop virtual-service-subset-not-found",
        "+ MeshwardPolicy shop namespace-mtls-weakened",
        "- MeshwardPolicy shop gateway-tls-weak",
        "+ MeshwardPolicy shop protectedNamespaces",
        "+ MeshwardPolicy shop breakGlass",
        "+ MeshwardPolicy shop mutations",
        "+ MeshwardException shop/legacy",
        "- MeshwardException shop/idle",
      ],
    );
    const { out } = await meshward(["test", folder]);
    assert.match(
      out,
      /^6 passed, 0 failed in 1 file\n6 of 9 settings, exceptions and intents are tested\nnot tested: MeshwardPolicy shop \(virtual-service-subset-not-found, gateway-tls-weak\); MeshwardException shop\/idle\n/m,
    );
  });

  test("each case starts from the same mesh, and a list is applied in order", async () => {
    const destinationRule =
      "{ apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: { name: cart, namespace: shop }, spec: { host: cart, subsets: [{ name: v1, labels: { version: v1 } }] } }";
    const virtualService =
      "{ apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: { name: cart, namespace: shop }, spec: { hosts: [cart], http: [{ route: [{ destination: { host: cart, subset: v1 } }] }] } }";
    const folder = suite(
      `name: in order\napply: [${destinationRule}, ${virtualService}]\nexpect: { allowed: true }`,
      `name: without the rule\napply: ${virtualService}\nexpect: { deniedBy: [virtual-service-subset-not-found] }`,
      `name: the mesh of a case\nmesh: [more.yaml]\napply: ${virtualService}\nexpect: { allowed: true }`,
    );
    writeFileSync(join(folder, "more.yaml"), destinationRule);
    assert.deepEqual(statuses((await tested(folder)).report), ["passed", "passed", "passed"]);
  });

  test("a dry run stores nothing", async () => {
    const folder = suite(
      "name: dry\ndryRun: true\napply: { apiVersion: v1, kind: Namespace, metadata: { name: new } }\ndelete: { apiVersion: v1, kind: Namespace, metadata: { name: new } }\nexpect: { allowed: true }",
    );
    const { code, report } = await tested(folder);
    assert.equal(code, 2);
    assert.deepEqual(report.files[0]?.cases[0]?.messages, ["the mesh has no Namespace new to delete"]);
  });

  const failing = [
    "name: sums\napply: wrong.yaml\nexpect: { allowed: true, warnedBy: [virtual-service-weights-not-100], message: [nobody says this] }",
    "name: labels\napply: { apiVersion: v1, kind: Namespace, metadata: { name: new, labels: { a: c } } }\nexpect: { patchedTo: { metadata: { labels: { a: b, istio.io/dataplane-mode: ambient } } } }",
  ];

  test("a failure shows what is missing and what is there", async () => {
    const folder = suite(...failing);
    const { code, out } = await meshward(["test", folder]);
    assert.equal(code, 1);
    assert.match(
      out,
      /✗ sums \(line 4\)\n {6}Meshward: denied by virtual-service-weights-not-100\n {6}expect\.allowed:\n {6}- true\n {6}\+ false\n {6}expect\.warnedBy:\n {6}- virtual-service-weights-not-100\n {6}expect\.message:\n {6}- nobody says this\n/,
    );
    assert.match(out, / {6}expect\.patchedTo:\n {6}- metadata\.labels\.a: "b"\n {6}\+ metadata\.labels\.a: "c"\n/);
    assert.match(out, /^0 passed, 2 failed in 1 file$/m);
  });

  test("JUnit, GitHub and Markdown name the case, its line and the difference", async () => {
    const folder = suite(...failing);
    const written = async (format: string) => (await meshward(["test", folder, "--format", format])).out;
    const elements = elementsOf(await written("junit"));
    assert.equal(elements.filter(({ name }) => name === "failure").length, 2);
    assert.deepEqual(elements.find(({ name }) => name === "testcase")?.attributes.line, "4");
    assert.match(
      await written("github"),
      /^::error file=.*meshward-test\.yaml,line=4,title=sums::Meshward: denied by .*%0A- true%0A\+ false/m,
    );
    assert.match(
      await written("markdown"),
      /## Meshward: ❌ 2 policy tests failed, 0 policy tests passed\n\n### Failed\n\n\*\*sums\*\* in `/,
    );
  });

  test("--run selects cases by their names", async () => {
    const folder = suite(...failing);
    assert.deepEqual(statuses((await tested(folder, "--run", "label")).report), ["failed"]);
    const none = await meshward(["test", folder, "--run", "nothing like it"]);
    assert.deepEqual(
      [none.code, none.error],
      [2, "meshward: --run nothing like it: no case has this text in its name\n"],
    );
    // The cases of a file that cannot be read have no names.
    const broken = folderWith({ "meshward-test.yaml": "case: [{ name: label }]\n" });
    assert.match(
      (await meshward(["test", broken, "--run", "label"])).error,
      /meshward-test\.yaml:1: case: there is no/,
    );
  });

  test("who may write exceptions, of a file with nothing else", async () => {
    const folder = folderWith({
      "policies/limits.yaml":
        "apiVersion: meshward.io/v1alpha1\nkind: MeshwardPolicy\nmetadata: { name: limits }\nspec: { match: { namespaces: { names: [shop] } }, exceptions: { writers: { groups: [leads] } } }\n",
      "exception.yaml":
        'apiVersion: meshward.io/v1alpha1\nkind: MeshwardException\nmetadata: { name: e, namespace: shop }\nspec: { rules: [virtual-service-weights-not-100], reason: r, owner: o, expiresAt: "2099-01-01" }\n',
      "meshward-test.yaml": `policies: [policies]
cases:
  - { name: a lead, apply: exception.yaml, by: { user: ann, groups: [leads] }, expect: { allowed: true } }
  - name: anybody
    apply: exception.yaml
    by: { user: bob, groups: [web] }
    expect: { allowed: false, message: [MeshwardPolicy limits does not let "bob" write exceptions] }
`,
    });
    assert.deepEqual(statuses((await tested(folder)).report), ["passed", "passed"]);
  });

  test("finds tests in folders, and leaves out other files", async () => {
    const one = "cases: [{ name: a, apply: ../ns.yaml, expect: { allowed: true } }]\n";
    const folder = folderWith({
      "a/meshward-test.yaml": one,
      "b/payments.meshward-test.yml": one,
      "b/not-a-meshward-test-file.yaml": "cases: []\n",
      "ns.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: { name: a }\n",
    });
    const { report } = await tested(folder);
    assert.deepEqual(
      report.files.map(({ file }) => file),
      [join(folder, "a/meshward-test.yaml"), join(folder, "b/payments.meshward-test.yml")],
    );
    assert.equal(report.summary.passed, 2);
  });

  for (const [what, text, says] of [
    [
      "an unknown field",
      "cases: [{ name: a, aply: x.yaml, expect: { allowed: true } }]",
      /meshward-test\.yaml:1: cases\[0\]\.aply: there is no such field; did you mean "apply"\?/,
    ],
    [
      "an unknown rule",
      "cases:\n  - name: a\n    apply: ns.yaml\n    expect:\n      deniedBy:\n        - virtual-service-weights-not-10\n",
      /meshward-test\.yaml:6: expect\.deniedBy: there is no rule "virtual-service-weights-not-10"; did you mean "virtual-service-weights-not-100"\?/,
    ],
    [
      "an exception that there is not",
      "cases:\n  - name: a\n    apply: ns.yaml\n    expect: { acceptedBy: [shop/legacy] }\n",
      /:4: expect\.acceptedBy: there is no MeshwardException "shop\/legacy"; write NAMESPACE\/NAME of one in the policies/,
    ],
    [
      "a denial that is allowed",
      "cases:\n  - name: a\n    apply: ns.yaml\n    expect: { allowed: true, deniedBy: [virtual-service-weights-not-100] }\n",
      /:4: expect: allowed: true and deniedBy contradict each other; remove one/,
    ],
    [
      "policies that are not there",
      "name: x\npolicies:\n  - nothing\ncases: [{ name: a, apply: ns.yaml, expect: { allowed: true } }]\n",
      /meshward-test\.yaml:3: policies\[0\]: .*nothing: there is no such file or folder: correct the path/,
    ],
    [
      "no change",
      "cases: [{ name: a, expect: { allowed: true } }]",
      /:1: cases\[0\]: the change is missing: give apply, delete or both/,
    ],
    ["no cases", "cases: []", /:1: cases: is empty; remove it, or add an entry/],
    ["no expectation", "cases: [{ name: a, apply: ns.yaml, expect: {} }]", /cases\[0\]\.expect: is empty/],
    [
      "a change of the wrong type",
      "cases: [{ name: a, apply: 7, expect: { allowed: true } }]",
      /cases\[0\]\.apply: expected a string, a map or a list, found 7/,
    ],
    ["an empty file", "# nothing\n", /meshward-test\.yaml: the file is empty; add settings, or remove it/],
    ["two documents", "cases: []\n---\ncases: []\n", /meshward-test\.yaml:3: has a second document; keep one/],
    ["broken YAML", "cases: [\n", /meshward-test\.yaml:\d+: /],
    [
      "a mesh file that is missing",
      "mesh: [none.yaml]\ncases: [{ name: a, apply: ns.yaml, expect: { allowed: true } }]",
      /:1: .*none\.yaml: there is no such file or folder/,
    ],
    [
      "an applied file that is missing",
      "cases: [{ name: a, apply: none.yaml, expect: { allowed: true } }]",
      /:1: .*none\.yaml: there is no such file or folder/,
    ],
    [
      "a policy that is missing",
      "policies: [none]\ncases: [{ name: a, apply: ns.yaml, expect: { allowed: true } }]",
      /none: there is no such file or folder/,
    ],
    [
      "a file without objects",
      "mesh: [empty.yaml]\ncases: [{ name: a, apply: ns.yaml, expect: { allowed: true } }]",
      /empty\.yaml: the file is empty; give a file with manifests/,
    ],
    [
      "an unknown profile",
      "profile: strickt\ncases: [{ name: a, apply: ns.yaml, expect: { allowed: true } }]",
      /:1: profile: there is no profile "strickt"; did you mean "strict"\?/,
    ],
    [
      "a time without a zone",
      "time: 2026-01-01\ncases: [{ name: a, apply: ns.yaml, expect: { allowed: true } }]",
      /:1: time: found "2026-01-01"; When the requests .* such as 2027-01-31T00:00:00Z/,
    ],
  ] as const)
    test(`${what}: a line that says where and what to do, exit 2`, async () => {
      const folder = folderWith({
        "meshward-test.yaml": text,
        "ns.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: { name: a }\n",
        "empty.yaml": "# nothing\n",
      });
      const { code, error, report } = await tested(folder);
      assert.equal(code, 2);
      assert.match(error, says);
      assert.equal(error.trimEnd().split("\n").length, 1, error);
      assert.deepEqual([report.summary.passed, report.errors.length], [0, 1]);
    });

  test("no test at all is an error, and so is a path that is not there", async () => {
    const empty = await meshward(["test", folderWith({ "a.yaml": "a: b\n" })]);
    assert.deepEqual([empty.code, /there is no meshward-test\.yaml in .*--write-test/.test(empty.error)], [2, true]);
    const gone = await meshward(["test", join(root, "gone")]);
    assert.deepEqual([gone.code, /there is no such file or folder/.test(gone.error)], [2, true]);
  });

  test("a case that cannot run does not keep the others from running", async () => {
    const folder = suite(
      "name: gone\ndelete: { apiVersion: networking.istio.io/v1, kind: Gateway, metadata: { name: none, namespace: shop } }\nexpect: { allowed: true }",
      "name: typo\napply: none.yaml\nexpect: { allowed: true }",
      "name: good\napply: wrong.yaml\nexpect: { allowed: false }",
    );
    const { code, report } = await tested(folder);
    assert.deepEqual(
      [code, statuses(report), report.summary],
      [2, ["error", "passed"], { passed: 1, failed: 0, errors: 2 }],
    );
    assert.deepEqual(report.files[0]?.cases[0]?.messages, ["the mesh has no Gateway shop/none to delete"]);
  });

  test("of two cases with one name, the first runs, and the second is an error", async () => {
    const cases = [
      "{ name: a, apply: ns.yaml, expect: { allowed: true } }",
      "{ name: b, apply: ns.yaml, expect: { allowed: true } }",
    ];
    const folder = folderWith({
      "meshward-test.yaml": `cases:\n${[...cases, ...cases].map((one) => `  - ${one}\n`).join("")}`,
      "ns.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: { name: a }\n",
    });
    const { code, error, report } = await tested(folder);
    assert.deepEqual([code, report.summary.passed, report.errors.map(({ line }) => line)], [2, 2, [4, 5]]);
    assert.match(
      error,
      /meshward-test\.yaml:4: cases\[2\]\.name: the case of line 2 is named "a" too; give each case a name of its own\n.*:5: cases\[3\]\.name: the case of line 3 is named "b" too; /,
    );
  });

  test("hostile names are only text", async () => {
    const name = JSON.stringify("x\u001b[31m\r\n::error::pwned <b>&\u0000 ``` @all");
    const folder = suite(`name: ${name}\napply: wrong.yaml\nexpect: { allowed: true }`);
    for (const format of ["text", "junit", "github", "markdown"]) {
      const { out } = await meshward(["test", folder, "--format", format]);
      assert.doesNotMatch(out, /[^\P{Cc}\n]/u, format);
      assert.doesNotMatch(out, /^\s*::error::/m, format);
      if (format === "junit") elementsOf(out);
    }
  });
});

test("--watch runs again when a file changes, until it is stopped", { timeout: 60_000 }, async () => {
  const folder = suite("name: good\napply: wrong.yaml\nexpect: { allowed: true }");
  const stop = new AbortController();
  let out = "";
  const notes: string[] = [];
  const seen = async (text: string, count: number) => {
    const isSeen = () => out.includes(text) && notes.length >= count;
    while (!isSeen()) await elapsed(20);
  };
  const mended = wrong.replace("20", "10");
  const done = run(["test", folder, "--watch", "--output", "text", "--output", `junit=${join(folder, "report.xml")}`], {
    input: process.stdin,
    out(text) {
      out += text;
      // Before anything watches the files. The report, which is written afterwards, starts nothing.
      if (out.includes("0 passed, 1 failed") && notes.length === 0) writeFileSync(join(folder, "wrong.yaml"), mended);
    },
    error: (text) => {
      if (text.includes("run again when a file changes")) notes.push(text);
    },
    colour: false,
    env: {},
    stop: stop.signal,
  });
  await seen("1 passed, 0 failed", 2);
  const first = out;
  writeFileSync(join(folder, "wrong.yaml"), wrong);
  await seen("0 passed, 1 failed", 3);
  assert.ok(out.length > first.length);
  await elapsed(500);
  assert.equal(notes.length, 3, "it runs again although nothing has changed");
  rmSync(join(folder, "meshward-test.yaml"));
  await seen("", 4);
  stop.abort();
  assert.equal(await done, 0);
});

describe("check --write-test", () => {
  test("writes the decision as a test that passes, and fails when the policy changes", async () => {
    const folder = folderWith({ ...files, "ns.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: { name: new }\n" });
    const file = join(folder, "tests/meshward-test.yaml");
    mkdirSync(dirname(file));
    const argv = [
      join(folder, "wrong.yaml"),
      join(folder, "ns.yaml"),
      "--mesh",
      join(folder, "mesh.yaml"),
      "--policies",
      join(folder, "policies"),
    ];
    const { code } = await meshward(["check", ...argv, "--group", "developers", "--write-test", file]);
    assert.equal(code, 1);
    const text = readFileSync(file, "utf8");
    assert.match(
      text,
      /^# yaml-language-server: \$schema=https:\/\/raw\.githubusercontent\.com\/meshward\/meshward\/main\/policies\/test\.schema\.json\n/,
    );
    assert.match(
      text,
      /name: "VirtualService shop\/new: denied by virtual-service-weights-not-100"\n {4}apply: \.\.\/wrong\.yaml\n/,
    );
    assert.match(text, /istio\.io\/dataplane-mode: ambient/);
    const { report } = await tested(join(folder, "tests"));
    assert.deepEqual(
      [statuses(report), report.files[0]?.cases[0]?.outcome],
      [["passed", "passed"], "denied by virtual-service-weights-not-100"],
    );
    writeFileSync(join(folder, "policies/shop.yaml"), policy.replace("not-100, mode: deny", "not-100, mode: warn"));
    assert.deepEqual(statuses((await tested(join(folder, "tests"))).report), ["failed", "passed"]);
  });

  test("without a mesh, one case applies everything; with --delete, one case deletes", async () => {
    const folder = folderWith(files);
    const file = join(folder, "meshward-test.yaml");
    assert.equal(
      (await meshward(["check", join(folder, "mesh.yaml"), join(folder, "wrong.yaml"), "--write-test", file])).code,
      1,
    );
    const { report } = await tested(folder);
    assert.deepEqual(
      [statuses(report), report.files[0]?.cases[0]?.outcome.split("; ", 1)[0]],
      [["passed"], "denied by virtual-service-weights-not-100"],
    );
    const deleted = join(folder, "deleted.meshward-test.yaml");
    writeFileSync(join(folder, "strict.yaml"), strict);
    const argv = [
      "--mesh",
      join(folder, "mesh.yaml"),
      "--delete",
      join(folder, "strict.yaml"),
      "--policies",
      join(folder, "policies"),
      "--profile",
      "strict",
    ];
    await meshward(["check", join(folder, "wrong.yaml"), ...argv, "--write-test", deleted]);
    assert.deepEqual(statuses((await tested(deleted)).report), ["passed", "passed"]);
    assert.match(readFileSync(deleted, "utf8"), /delete: strict\.yaml/);
    // Two paths with the same object have cases of their own.
    const twice = join(folder, "twice.meshward-test.yaml");
    const both = [join(folder, "wrong.yaml"), join(folder, "wrong.yaml")];
    await meshward(["check", ...both, "--mesh", join(folder, "mesh.yaml"), "--write-test", twice]);
    const { report: ofBoth } = await tested(twice);
    assert.deepEqual(statuses(ofBoth), ["passed", "passed"]);
    const names = ofBoth.files[0]?.cases.map(({ name }) => name) ?? [];
    assert.equal(names[1], `${names[0]} (2)`);
  });

  test("a ConfigMap of the mesh config that loses its key is denied by both, and known to connections", async () => {
    const configMap = (data: string) =>
      `---\napiVersion: v1\nkind: ConfigMap\nmetadata: { name: istio, namespace: istio-system }\ndata: { ${data} }\n`;
    const folder = folderWith({
      "mesh.yaml": `apiVersion: v1\nkind: Namespace\nmetadata: { name: shop, labels: { istio-injection: enabled, meshward.io/protected: "true" } }\n---\napiVersion: v1\nkind: Service\nmetadata: { name: cart, namespace: shop }\nspec: { ports: [{ port: 80 }] }\n${configMap('mesh: "defaultConfig: {}"')}`,
      "change.yaml": configMap('Mesh: "{}"'),
    });
    const [base, change, file] = ["mesh.yaml", "change.yaml", "t.meshward-test.yaml"].map((name) => join(folder, name));
    const checked = await meshward(["check", `${change}`, "--mesh", `${base}`, "--write-test", `${file}`]);
    assert.equal(checked.code, 1, checked.out);
    assert.doesNotMatch(checked.error, /not checked/);
    assert.match(
      readFileSync(`${file}`, "utf8"),
      /name: "ConfigMap istio-system\/istio: denied by .*\n(.*\n)*.*allowed: false/,
    );
    assert.deepEqual(statuses((await tested(`${file}`)).report), ["passed"]);
    const { code, error } = await meshward(["connections", "--mesh", `${base}`, "--change", `${change}`]);
    assert.equal(code, 0, error);
  });

  test("says that a test has nothing of what the API server or istiod refuses", async () => {
    const folder = folderWith({
      ...files,
      "bad.yaml":
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: { name: bad, namespace: shop }\nspec: { rules: [{ from: [{ source: { ipBlocks: [10.0.0.300] } }] }] }\n",
    });
    const bad = await meshward([
      ...["check", join(folder, "bad.yaml"), "--mesh", join(folder, "mesh.yaml")],
      ...["--write-test", join(folder, "bad.meshward-test.yaml")],
    ]);
    assert.match(bad.out, /object-invalid/);
    assert.match(bad.error, /bad\.meshward-test\.yaml says nothing of object-invalid/);
  });

  test("what a test could not repeat is refused", async () => {
    const folder = folderWith({ ...files, "there.yaml": "" });
    const wrongFile = join(folder, "wrong.yaml");
    for (const [argv, says] of [
      [
        [wrongFile, "--write-test", join(folder, "there.yaml")],
        /the file exists: add a case to it, or give another path/,
      ],
      [[wrongFile, "--since", "HEAD", "--write-test", join(folder, "t.yaml")], /a test cannot read a git revision/],
      [[wrongFile, "--mesh", "cluster", "--write-test", join(folder, "t.yaml")], /save it with meshward capture/],
      [["-", "--write-test", join(folder, "t.yaml")], /a test cannot read standard input/],
      [[wrongFile, "--write-test", join(folder, "no/such/t.yaml")], /cannot be written: its folder does not exist/],
    ] as const) {
      const { code, error } = await meshward(["check", ...argv]);
      assert.equal(code, 2);
      assert.match(error, says);
    }
    assert.equal(existsSync(join(folder, "t.yaml")), false);
  });
});
