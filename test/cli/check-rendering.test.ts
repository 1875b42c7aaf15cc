import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Report } from "../../src/report/report.ts";
import { createRenderer, render, type Rendering } from "../../src/sources/manifests/render.ts";
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
  const at = join(folder, "prod/patch.yaml");
  assert.deepEqual([code, places(report)], [1, [`virtual-service-weights-not-100 ${at}:7`]]);
  assert.equal(report.findings[0]?.renderedFrom, join(folder, "prod/kustomization.yaml"));
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

/** What is found in an overlay `prod` of this kustomization, whose base has a route with wrong weights. */
async function inOverlay(kustomization: string, rendered: string, more: Readonly<Record<string, string>> = {}) {
  const files = { "prod/kustomization.yaml": kustomization, "prod/patch.yaml": "", "prod/rendered": rendered };
  const folder = folderWith({ ...overlay, "base/routes.yaml": weights(30), ...files, ...more });
  const { report } = await check([folder], kustomize);
  return places(report).map((place) => place.replace(`${folder}/`, ""));
}
const found = (place: string) => [`virtual-service-weights-not-100 ${place}`];
const named = (name: string, canary: number) => weights(canary).replace("name: cart", `name: ${name}`);

test("what a kustomization does not change is found in its base", async () => {
  assert.deepEqual(await inOverlay("resources: [../base]\n", weights(30)), found("base/routes.yaml:7"));
  assert.deepEqual(
    await inOverlay(
      "resources: [../base]\nnamespace: live\n",
      weights(30).replace("namespace: shop", "namespace: live"),
    ),
    found("base/routes.yaml:7"),
  );
  assert.deepEqual(
    await inOverlay("resources: [../base]\nnamePrefix: prod-\nnameSuffix: -v1\n", named("prod-cart-v1", 30)),
    found("base/routes.yaml:7"),
  );
});

test("an object that several resources may be, or none, is at its kustomization", async () => {
  const two = "resources: [../base, other.yaml]\nnamePrefix: x-\n";
  const other = { "prod/other.yaml": named("x-cart", 20).replace("namespace: shop", "namespace: other") };
  const moved = (name: string) => named(name, 30).replace("namespace: shop", "namespace: live");
  assert.deepEqual(await inOverlay(two, moved("x-x-cart"), other), found("prod/kustomization.yaml:1"));
  assert.deepEqual(await inOverlay("resources: [../base]\n", named("made", 30)), found("prod/kustomization.yaml:1"));
});

test("what a patch of a kustomization sets is found in the patch", async () => {
  const inline = `resources: [../base]
patches:
  - target: { kind: VirtualService, name: "ca.*" }
    patch: |-
      - op: add
        path: /metadata/labels
        value: { a: b }
      - op: replace
        path: /spec/http/0/route
        value: []
`;
  assert.deepEqual(await inOverlay(inline, weights(31)), found("prod/kustomization.yaml:9"));
  const merged = inline.slice(0, inline.indexOf("- op")) + weights(31).trim().replaceAll("\n", "\n      ");
  assert.deepEqual(await inOverlay(`${merged}\n`, weights(31)), found("prod/kustomization.yaml:11"));
  const elsewhere = inline.replace("ca.*", "cart-v2|order.*");
  assert.deepEqual(await inOverlay(elsewhere, weights(30)), found("base/routes.yaml:7"));
  const strategic = "resources: [../base]\npatchesStrategicMerge: [more.yaml]\n";
  assert.deepEqual(
    await inOverlay(strategic, weights(31), { "prod/more.yaml": weights(31) }),
    found("prod/more.yaml:7"),
  );
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

test("a line of a template is known where the template has it once", async () => {
  const template = [
    "{{ if .Values.on }}",
    "apiVersion: networking.istio.io/v1",
    "kind: Gateway",
    "---",
    "apiVersion: networking.istio.io/v1",
    "kind: VirtualService # of the cart",
    "metadata:",
    "  name: {{ .Values.name }}",
    "spec:",
    "  http:",
    "    - route: {{ toYaml .Values.route }}",
  ];
  const chart = (lines: readonly string[]) => ({
    "chart/Chart.yaml": "name: cart\n",
    "chart/templates/routes.yaml": lines.join("\n"),
    "chart/rendered": `---\n# Source: cart/templates/routes.yaml\n${weights(30)}`,
  });
  for (const [lines, line] of [
    [template, 11],
    [template.slice(0, -1), 10],
    [[...template, "---", "kind: VirtualService", "metadata:", "  name: cart"], 13],
    [[...template, "---", "kind: VirtualService"], 1],
  ] as const) {
    const folder = folderWith(chart(lines));
    const { report } = await check([folder], kustomize);
    assert.deepEqual(places(report), found(`${join(folder, "chart/templates/routes.yaml")}:${line}`));
  }
});

test("the objects of two overlays are judged apart, and both name the line of their base", async () => {
  const folder = folderWith({
    ...overlay,
    "base/routes.yaml": weights(30),
    "prod/kustomization.yaml": "resources: [../base]\n",
    "dev/kustomization.yaml": "resources: [../base]\n",
    "dev/rendered": weights(30),
    "prod/patch.yaml": "",
  });
  const { report } = await check([folder], kustomize);
  const at = join(folder, "base/routes.yaml");
  assert.deepEqual(places(report), [...found(`${at}:7`), ...found(`${at}:7`)]);
  const from = report.findings.map(({ renderedFrom }) => renderedFrom);
  assert.deepEqual(from, [join(folder, "dev/kustomization.yaml"), join(folder, "prod/kustomization.yaml")]);
});

test("a remote base is not fetched unless that is asked for", async () => {
  const remote = {
    ...overlay,
    "base/kustomization.yaml": "resources:\n- routes.yaml\n- https://example.com/x?ref=v1\n",
  };
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

test("a tool that does not end is stopped, and gets less time from then on; what it writes elsewhere is not read", async () => {
  const folder = folderWith(overlay);
  const env = {
    PATH: tools({
      kustomize: 'case "$2" in */prod) sleep 60;; *) echo "a: 1" > "$2/out.yaml";; esac',
      helm: "sleep 60",
    }),
  };
  const renderer = createRenderer("auto", { PATH: `${env.PATH}:/usr/bin:/bin` }, 400);
  const problems: Rendering[] = [];
  for (const name of ["prod", "base", "prod"])
    problems.push(await render("kustomization", join(folder, name), renderer));
  problems.push(await render("chart", join(folder, "prod"), renderer));
  for (const [i, says] of [
    /^`kustomize build \S+prod` did not end within 0\.4 seconds$/,
    /^`kustomize build \S+base` printed nothing$/,
    /^`kustomize build \S+prod` did not end within 0\.04 seconds$/,
    /^`helm template prod \S+prod` did not end within 0\.4 seconds$/,
  ].entries())
    assert.match("problem" in problems[i]! ? problems[i].problem : "", says);
});

const noProc = existsSync("/proc/self/status") ? false : "the test looks into /proc";

/** Whoever adopts the orphan may take its time to collect it. */
async function ends(pid: number): Promise<void> {
  const state = () => {
    try {
      return /^State:\s+(\w)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    } catch {
      return undefined;
    }
  };
  const isGone = () => state() === undefined || state() === "Z";
  for (let i = 0; i < 200 && !isGone(); i++) await setTimeout(10);
  assert.ok(isGone(), `the child ${pid} is still running`);
}

test("what a stopped tool started is stopped with it, and one that prints too much as well", {
  skip: noProc,
}, async () => {
  const folder = folderWith(overlay);
  const PATH = `${tools({
    kustomize: 'sleep 60 & echo $! > "$2/pid"; wait',
    helm: 'yes & echo $! > "$3/pid"; wait',
  })}:/usr/bin:/bin`;
  const renderer = createRenderer("auto", { PATH }, 400);
  for (const [what, name, says] of [
    ["kustomization", "prod", /did not end within 0\.4 seconds$/],
    ["chart", "base", /(?:did not end within 0\.4 seconds|printed more than 64 MiB)$/],
  ] as const) {
    const rendered = await render(what, join(folder, name), renderer);
    assert.match("problem" in rendered ? rendered.problem : "", says);
    const pid = Number(readFileSync(join(folder, name, "pid"), "utf8"));
    await ends(pid);
  }
});

test("Ctrl-C ends a renderer with everything that it started", { skip: noProc }, async () => {
  const folder = folderWith(overlay);
  const PATH = `${tools({ kustomize: 'sleep 60 & echo $! > "$2/pid.new"; mv "$2/pid.new" "$2/pid"; wait' })}:/usr/bin:/bin`;
  const main = fileURLToPath(new URL("../../src/main.ts", import.meta.url));
  const child = spawn(process.execPath, [main, "check", join(folder, "prod"), "--no-config"], { env: { PATH } });
  const ended = once(child, "exit");
  const pidFile = join(folder, "prod/pid");
  for (let i = 0; i < 1000 && !existsSync(pidFile); i++) await setTimeout(10);
  const pid = Number(readFileSync(pidFile, "utf8"));
  child.kill("SIGINT");
  assert.deepEqual(await ended, [null, "SIGINT"]);
  await ends(pid);
});

test("an interrupt at the start of a renderer ends it too", { skip: noProc }, async () => {
  const folder = folderWith(overlay);
  const PATH = `${tools({ kustomize: 'sleep 60 & echo $! > "$2/pid"; kill -INT $PPID; wait' })}:/usr/bin:/bin`;
  const main = fileURLToPath(new URL("../../src/main.ts", import.meta.url));
  for (let i = 0; i < 3; i++) {
    const child = spawn(process.execPath, [main, "check", join(folder, "prod"), "--no-config"], { env: { PATH } });
    assert.deepEqual(await once(child, "exit"), [null, "SIGINT"]);
    await ends(Number(readFileSync(join(folder, "prod/pid"), "utf8")));
  }
});

test("a base mesh is rendered as the files are", async () => {
  const [base, head] = [folderWith(overlay), folderWith({ ...overlay, "prod/rendered": weights(20) })];
  const { code, report } = await check([head, "--mesh", base, "--prune"], kustomize);
  assert.deepEqual([code, places(report)], [0, []]);
});

test("policy tests render as check does", async () => {
  const folder = folderWith({
    ...overlay,
    "tests/meshward-test.yaml": `mesh: [../base]
cases:
  - name: the overlay
    apply: ../prod
    expect: { deniedBy: [virtual-service-weights-not-100] }
`,
  });
  const run = (argv: readonly string[], PATH: string) =>
    meshward(["test", join(folder, "tests"), "--no-config", ...argv], { env: { PATH } });
  assert.equal((await run([], kustomize)).code, 0);
  const never = await run(["--render", "never"], kustomize);
  assert.equal(never.code, 2);
  assert.match(never.error, /prod: it contains no object to check; left out: .*prod\/kustomization\.yaml/);
  const missing = await run(["--render", "always"], "");
  assert.equal(missing.code, 2);
  assert.match(missing.error, /prod was not rendered: install kustomize or kubectl, or render it first/);
});
