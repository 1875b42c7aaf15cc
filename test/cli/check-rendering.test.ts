import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import type { Report } from "../../src/report/report.ts";
import { meshward } from "./terminal.ts";

// Charts and overlays, with tools that print what a file in their folder holds.

const root = mkdtempSync(join(tmpdir(), "meshward-rendering-"));
after(() => rmSync(root, { recursive: true }));
let folders = 0;

function folderWith(files: Readonly<Record<string, string>>): string {
  const folder = join(root, String(folders++));
  mkdirSync(folder);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return folder;
}

/** A folder with executables: scripts of sh. */
function tools(scripts: Readonly<Record<string, string>>): string {
  const folder = folderWith({});
  for (const [name, script] of Object.entries(scripts)) {
    writeFileSync(join(folder, name), `#!/bin/sh\n${script}\n`);
    chmodSync(join(folder, name), 0o755);
  }
  return folder;
}

const weights = (canary: number): string => `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart, namespace: shop }
spec:
  hosts: [cart]
  http:
    - route: [{ destination: { host: a }, weight: 80 }, { destination: { host: b }, weight: ${canary} }]
`;
const overlay = {
  "base/kustomization.yaml": "resources: [routes.yaml]\n",
  "base/routes.yaml": weights(20),
  "prod/kustomization.yaml": "resources: [../base]\npatches: [{ path: patch.yaml }]\n",
  "prod/patch.yaml": weights(30),
  "prod/rendered": weights(30),
};
const kustomize = tools({ kustomize: '/bin/cat "$2/rendered"', helm: '/bin/cat "$3/rendered"' });

async function check(argv: readonly string[], PATH = ""): Promise<{ code: number; report: Report; error: string }> {
  const { code, out, error } = await meshward(["check", ...argv, "--format", "json"], { env: { PATH } });
  return { code, report: JSON.parse(out) as Report, error };
}
const places = ({ findings }: Report): readonly string[] =>
  findings.map(({ rule, file, line }) => `${rule} ${file}:${line}`);

test("an overlay is judged as kustomize renders it, and its base is not judged by itself", async () => {
  const folder = folderWith(overlay);
  const { code, report } = await check([folder], kustomize);
  const at = join(folder, "prod/kustomization.yaml");
  assert.deepEqual([code, places(report)], [1, [`virtual-service-weights-not-100 ${at}:1`]]);
  assert.equal(report.summary.objects, 1);
});

test("--render never, or no tool: the base is judged, and the overlay is named as left out", async () => {
  const folder = folderWith(overlay);
  for (const [argv, path] of [
    [["--render", "never"], kustomize],
    [[], ""],
  ] as const) {
    const { code, report, error } = await check([folder, ...argv], path);
    assert.deepEqual([code, places(report), report.summary.objects], [0, [], 1]);
    assert.match(error, /kustomization: render it with `kubectl kustomize`/);
  }
  const { code, error } = await check([join(folder, "prod")]);
  assert.equal(code, 2);
  assert.match(error, /it contains no object to check; left out: .*kustomization\.yaml/);
});

test("a file that kustomize names as the origin of an object has the finding", async () => {
  const origin = '{ name: cart, annotations: { config.kubernetes.io/origin: "path: ../base/routes.yaml\\n" }, ';
  const folder = folderWith({ ...overlay, "prod/rendered": weights(30).replace("{ name: cart, ", origin) });
  const { report } = await check([folder], kustomize);
  assert.deepEqual(places(report), [`virtual-service-weights-not-100 ${join(folder, "base/routes.yaml")}:1`]);
});

test("a chart is judged as helm renders it, at the template that helm names", async () => {
  const folder = folderWith({
    "chart/Chart.yaml": "name: cart\n",
    "chart/templates/routes.yaml": "{{ if true }}\n",
    "chart/rendered": `---\n# Source: cart/templates/routes.yaml\n${weights(30)}`,
  });
  const { code, report } = await check([folder], kustomize);
  const at = join(folder, "chart/templates/routes.yaml");
  assert.deepEqual([code, places(report)], [1, [`virtual-service-weights-not-100 ${at}:1`]]);
});

test("a remote base is not fetched unless that is asked for", async () => {
  const remote = { ...overlay, "base/kustomization.yaml": "resources: [routes.yaml, https://example.com/x?ref=v1]\n" };
  const folder = folderWith(remote);
  const { error, report } = await check([folder], kustomize);
  assert.match(error, /it refers to https:\/\/example\.com\/x\?ref=v1, which is not in these files: render it, or use/);
  assert.equal(report.summary.objects, 1);
  assert.equal((await check([folder, "--render", "always"], kustomize)).code, 1);
});

test("a tool that fails, prints nothing or is missing", async () => {
  const folder = folderWith(overlay);
  const failing = tools({ kubectl: "echo 'Error: no such base' >&2; exit 1" });
  const silent = tools({ kubectl: "true" });
  const left = await check([folder], failing);
  assert.match(left.error, /left out: not rendered: `kubectl kustomize .*prod` failed: Error: no such base/);
  assert.deepEqual([left.code, left.report.summary.objects], [0, 1]);
  for (const [path, says] of [
    [failing, /prod was not rendered: `kubectl kustomize .*` failed: Error: no such base/],
    [silent, /prod was not rendered: `kubectl kustomize .*` printed nothing/],
    ["", /prod was not rendered: install kustomize or kubectl, or render it first/],
  ] as const) {
    const { code, report } = await check([folder, "--render", "always"], path);
    assert.equal(code, 2);
    assert.match(report.errors.map(({ message }) => message).join("\n"), says);
    assert.equal(report.summary.objects, 1);
  }
});

test("a base mesh is rendered as the files are", async () => {
  const [base, head] = [folderWith(overlay), folderWith({ ...overlay, "prod/rendered": weights(20) })];
  const { code, report } = await check([head, "--mesh", base, "--prune"], kustomize);
  assert.deepEqual([code, places(report)], [0, []]);
});
