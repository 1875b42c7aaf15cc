import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { repositoryRoot, writeOutputs } from "../../src/cli/outputs.ts";
import type { Report } from "../../src/report/report.ts";
import type { Terminal } from "../../src/cli/terminal.ts";
import { elementsOf } from "../report/xml.ts";
import { meshward } from "./terminal.ts";

const root = mkdtempSync(join(tmpdir(), "meshward-outputs-"));
after(() => rmSync(root, { recursive: true }));
const manifest = join(root, "shop.yaml");
writeFileSync(
  manifest,
  `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: shop, namespace: shop }
spec: { hosts: [shop], http: [{ route: [{ destination: { host: shop }, weight: 90 }, { destination: { host: b }, weight: 20 }] }] }
`,
);
const at = (name: string) => join(root, name);
const check = (...argv: string[]) => meshward(["check", manifest, ...argv]);

describe("--output", () => {
  test("several formats at once; standard output is still text", async () => {
    const { code, out, error } = await check("--output", `sarif=${at("a.sarif")}`, "-o", `junit=${at("a.xml")}`);
    assert.deepEqual([code, error], [1, ""]);
    assert.match(out, /Weights sum to 110/);
    assert.match(out, /1 object checked/);
    const log = JSON.parse(readFileSync(at("a.sarif"), "utf8")) as { runs: { results: unknown[] }[] };
    assert.equal(log.runs[0]?.results.length, 1);
    assert.ok(elementsOf(readFileSync(at("a.xml"), "utf8")).some(({ name }) => name === "failure"));
  });

  test("a format without a file is that of standard output", async () => {
    const { out } = await check("-o", "json");
    assert.equal((JSON.parse(out) as Report).summary.deny, 1);
    assert.equal((JSON.parse((await check("-o", "json", "--format", "json")).out) as Report).summary.deny, 1);
    const both = await check("--format", "json", "-o", `markdown=${at("a.md")}`);
    assert.equal((JSON.parse(both.out) as Report).summary.deny, 1);
    assert.match(readFileSync(at("a.md"), "utf8"), /^<!-- meshward -->\n## Meshward: ❌ 1 problem/);
  });

  test("a file alone gets the report instead of standard output", async () => {
    const { out } = await check("-o", at("b.json"), "--format", "json", "-o", `github=${at("b.txt")}`);
    assert.equal(out, "");
    assert.equal((JSON.parse(readFileSync(at("b.json"), "utf8")) as Report).summary.deny, 1);
    assert.match(readFileSync(at("b.txt"), "utf8"), /^::error file=/);
  });

  test("the audit has the same formats", async () => {
    const { code, out } = await meshward(["audit", "--mesh", manifest, "-o", "gitlab"]);
    assert.deepEqual([code, (JSON.parse(out) as unknown[]).length], [1, 1]);
  });

  test("nothing is written if two reports go to one place", async () => {
    for (const argv of [
      ["-o", "json", "-o", "sarif"],
      ["--format", "json", "-o", "sarif", "-o", `junit=${at("never")}`],
      ["-o", `json=${at("never")}`, "-o", `sarif=${root}/./never`],
    ]) {
      const { code, out, error } = await check(...argv);
      assert.deepEqual([code, out, existsSync(at("never"))], [2, "", false], error);
      assert.match(
        error,
        /^meshward: two reports \(json and sarif\) would go to .*: give one of them another file, --output sarif=FILE\n$/,
      );
    }
  });

  test("a file that cannot be written does not keep the others from being written", async () => {
    const { code, out, error } = await check("-o", `json=${at("no/such/r.json")}`, "-o", `sarif=${at("c.sarif")}`);
    assert.equal(code, 2);
    assert.match(out, /Weights sum to 110/);
    assert.match(
      error,
      /^meshward: --output .*r\.json cannot be written: its folder does not exist: create it, or correct the path\n$/,
    );
    assert.ok(existsSync(at("c.sarif")));
  });

  for (const [value, says] of [
    [
      "sarf=x.sarif",
      /There is no format "sarf", did you mean sarif\? Formats are text, json, .*, markdown and html; a file of that name is \.\/sarf=x\.sarif/,
    ],
    ["nonsense=x", /There is no format "nonsense"\. Formats are text, json/],
    ["jsn", /There is no format "jsn", did you mean json\?/],
    ["json=", /The file is missing after json=/],
  ] as const)
    test(`${value}: one line that says what to do, exit 2`, async () => {
      const { code, error } = await check("-o", value);
      assert.equal(code, 2);
      assert.match(error, says);
    });
});

test("a report that is longer than a string can be is an error that says what to do", () => {
  const formats = {
    text: () =>
      Array<string>(64)
        .fill("x".repeat(2 ** 24))
        .join(""),
  };
  const terminal = { out: () => assert.fail("nothing is written"), env: {}, colour: false } as unknown as Terminal;
  const outputs = [{ format: "text", file: undefined }];
  assert.throws(() => writeOutputs({}, { formats, outputs }, terminal), {
    name: "UsageError",
    message: /^the report as text would have more than \d+ million characters: check fewer files at once/,
  });
});

test("paths start at the checkout of the CI system, else at the git repository, else at the working folder", () => {
  const folder = at("repo/apps/shop");
  mkdirSync(folder, { recursive: true });
  assert.equal(repositoryRoot(folder, {}), folder);
  mkdirSync(at("repo/.git"));
  assert.equal(repositoryRoot(folder, {}), at("repo"));
  assert.equal(repositoryRoot(folder, { GITHUB_WORKSPACE: root }), root);
  assert.equal(repositoryRoot(folder, { CI_PROJECT_DIR: at("repo/apps") }), at("repo/apps"));
  assert.equal(repositoryRoot(folder, { GITHUB_WORKSPACE: at("elsewhere") }), at("repo"));
});

describe("what changes in the mesh", () => {
  const base = at("base");
  const head = at("head");
  mkdirSync(base);
  mkdirSync(head);
  const namespace = "apiVersion: v1\nkind: Namespace\nmetadata: { name: shop }\n";
  const strict = `apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: default, namespace: istio-system }
spec: { mtls: { mode: STRICT } }
`;
  const virtualService = (weights: readonly [number, number]) => `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: shop, namespace: shop }
spec:
  hosts: [shop]
  http: [{ route: [{ destination: { host: shop }, weight: ${weights[0]} }, { destination: { host: cart }, weight: ${weights[1]} }] }]
`;
  writeFileSync(join(base, "a.yaml"), [namespace, strict, virtualService([90, 10])].join("---\n"));
  writeFileSync(join(head, "a.yaml"), [namespace, virtualService([50, 50])].join("---\n"));

  test("a comment shows namespaces and hosts before and after", async () => {
    const { out } = await meshward(["check", head, "--mesh", base, "--prune", "-o", "markdown"]);
    const changes = /### What changes in the mesh\n([\s\S]*?)\n### /.exec(out)?.[1] ?? "";
    assert.match(
      changes,
      /\*\*Namespace shop\*\*\n\n```diff\n- mTLS.*STRICT, by PeerAuthentication istio-system\/default\n\+ mTLS.*PERMISSIVE/,
    );
    assert.match(
      changes,
      /\*\*Host shop\.shop\.svc\.cluster\.local, for clients in shop\*\*\n\n```diff\n[\s\S]*- .*90%[\s\S]*\+ .*50%/,
    );
    assert.doesNotMatch((await meshward(["check", head, "-o", "markdown"])).out, /What changes/);
    assert.match(
      (await meshward(["check", base, "--mesh", base, "-o", "markdown"])).out,
      /### What changes in the mesh\n\nNo effective setting of a namespace or host changes\./,
    );
  });

  test("JSON has the same", async () => {
    const { out } = await meshward(["check", head, "--mesh", base, "--prune", "-o", "json"]);
    const { changes } = JSON.parse(out) as Report;
    assert.deepEqual(
      changes?.effects.map(({ target: { kind, name } }) => `${kind} ${name}`),
      ["Namespace istio-system", "Namespace shop", "Host shop.shop.svc.cluster.local"],
    );
    const shop = changes.effects.find(({ target: { name } }) => name === "shop");
    assert.deepEqual(
      shop?.lines.filter(({ key }) => key === "mtls").map(({ mark }) => mark),
      ["-", "+"],
    );
    assert.equal(changes.unexplained, 0);
  });
});
