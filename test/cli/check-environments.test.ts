import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, describe, test } from "node:test";
import type { Report } from "../../src/report/report.ts";
import { meshward } from "./terminal.ts";

// Folders that define the same objects, such as overlays for staging and production: no definition is left out.

const root = mkdtempSync(join(realpathSync(tmpdir()), "meshward-environments-"));
after(() => rmSync(root, { recursive: true }));
let folders = 0;

type Files = Readonly<Record<string, string>>;
function folderWith(files: Files): string {
  const folder = join(root, String(folders++));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return folder;
}

const namespace = `apiVersion: v1
kind: Namespace
metadata: { name: shop, labels: { istio-injection: enabled, meshward.io/protected: "true" } }
`;
const mtls = (mode: string) => `apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: default, namespace: shop }
spec: { mtls: { mode: ${mode} } }
`;
const denyAll = `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: deny-all, namespace: shop }
spec: {}
`;
const route = (...subsets: readonly string[]) => `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart, namespace: shop }
spec:
  hosts: [cart]
  http:
    - route:
${subsets.map((subset) => `        - { destination: { host: cart, subset: ${subset} }, weight: ${100 / subsets.length} }\n`).join("")}`;
const subsets = (...names: readonly string[]) => `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: cart, namespace: shop }
spec: { host: cart, subsets: [${names.map((name) => `{ name: ${name}, labels: { version: ${name} } }`).join(", ")}] }
`;

async function report(...argv: readonly string[]): Promise<Report> {
  const { out, error } = await meshward(["check", ...argv, "--format", "json"]);
  assert.notEqual(out, "", error);
  return JSON.parse(out) as Report;
}
/** `rule file`, of denials. */
const denied = ({ findings }: Report, folder: string): readonly string[] =>
  findings
    .filter(({ mode }) => mode === "deny")
    .map(({ rule, file }) => `${rule} ${file?.replace(`${folder}/`, "") ?? ""}`)
    .sort();

const twoOf = (staging: Files, prod: Files, shared: Files = { "namespace.yaml": namespace }): Files => ({
  ...shared,
  ...Object.fromEntries(Object.entries(staging).map(([name, text]) => [`overlays/staging/${name}`, text])),
  ...Object.fromEntries(Object.entries(prod).map(([name, text]) => [`overlays/prod/${name}`, text])),
});
const strict = { "mtls.yaml": mtls("STRICT") };
const permissive = { "mtls.yaml": mtls("PERMISSIVE") };
const weakened = (file: string) => `peer-authentication-permissive ${file}`;

describe("changes to a mesh in files with several environments", () => {
  const before = folderWith(twoOf(strict, strict));

  for (const name of ["staging", "prod"] as const)
    test(`what weakens only ${name} is found there`, async () => {
      const head = folderWith(name === "staging" ? twoOf(permissive, strict) : twoOf(strict, permissive));
      const expected = [weakened(`overlays/${name}/mtls.yaml`)];
      assert.deepEqual(denied(await report(head, "--mesh", before), head), expected);
      const one = await report(join(head, "overlays", name), "--mesh", before);
      assert.deepEqual(denied(one, head), expected);
    });

  test("an environment is compared with itself, not with another one", async () => {
    for (const files of [twoOf(strict, permissive), twoOf(permissive, strict)]) {
      const [base, head] = [folderWith(files), folderWith(files)];
      assert.deepEqual(denied(await report(head, "--mesh", base), head), []);
      for (const name of ["staging", "prod"]) {
        const folder = join(head, "overlays", name);
        assert.deepEqual(denied(await report(folder, "--mesh", base), head), [], name);
      }
    }
  });

  test("an environment that is new has nothing before", async () => {
    const allow = denyAll.replace("spec: {}", "spec: { rules: [{ from: [{ source: { namespaces: [shop] } }] }] }");
    const wider = allow.replace("[shop]", "[shop, web]");
    const web = "apiVersion: v1\nkind: Namespace\nmetadata: { name: web }\n";
    const shared = { ...strict, "namespace.yaml": `${namespace}---\n${web}` };
    const base = folderWith(twoOf({}, { "allow.yaml": allow }, shared));
    const rules = async (head: string) => (await report(head, "--mesh", base)).findings.map(({ rule }) => rule);
    const head = folderWith(twoOf({ "allow.yaml": wider }, { "allow.yaml": allow }, shared));
    assert.deepEqual(await rules(head), []);
    const changed = folderWith(twoOf({ "allow.yaml": wider }, { "allow.yaml": wider }, shared));
    assert.deepEqual(await rules(changed), ["namespace-authorization-widened"]);
  });

  test("--prune: what one environment no longer defines is deleted from that one", async () => {
    const base = folderWith(twoOf({ ...strict, "deny.yaml": denyAll }, { ...strict, "deny.yaml": denyAll }));
    for (const name of ["staging", "prod"]) {
      const without = { ...strict };
      const all = { ...strict, "deny.yaml": denyAll };
      const head = folderWith(name === "staging" ? twoOf(without, all) : twoOf(all, without));
      const found = await report(head, "--mesh", base, "--prune");
      assert.deepEqual(denied(found, base), [`namespace-default-deny-removed overlays/${name}/deny.yaml`]);
      assert.deepEqual(denied(await report(head, "--mesh", base), base), []);
    }
    const gone = await report(folderWith(twoOf({}, { ...strict, "deny.yaml": denyAll })), "--mesh", base, "--prune");
    assert.deepEqual(denied(gone, base), [
      "namespace-default-deny-removed overlays/staging/deny.yaml",
      "namespace-mtls-weakened overlays/staging/mtls.yaml",
    ]);
    const none = await report(folderWith({ "namespace.yaml": namespace }), "--mesh", base, "--prune");
    assert.deepEqual(denied(none, base), [
      "namespace-default-deny-removed overlays/prod/deny.yaml",
      "namespace-default-deny-removed overlays/staging/deny.yaml",
      "namespace-mtls-weakened overlays/prod/mtls.yaml",
      "namespace-mtls-weakened overlays/staging/mtls.yaml",
    ]);
  });

  test("what is shared is checked with each environment, and reported once", async () => {
    const shared = { "namespace.yaml": namespace, "apps/cart.yaml": route("v1", "v2") };
    const both = { "rules.yaml": subsets("v1", "v2") };
    const one = { "rules.yaml": subsets("v1") };
    const base = folderWith(twoOf(both, both, shared));
    const expected = ["virtual-service-subset-not-found apps/cart.yaml"];
    for (const files of [twoOf(one, both, shared), twoOf(both, one, shared), twoOf(one, one, shared)]) {
      const head = folderWith(files);
      assert.deepEqual(denied(await report(head, "--mesh", base), head), expected, "as a change");
      assert.deepEqual(denied(await report(head), head), expected, "as a set");
    }
    assert.deepEqual(denied(await report(base), base), []);
  });

  test("a manifest in a folder above several environments is checked with each of them, and reported once", async () => {
    const half = route("v1", "v2").replace("weight: 50", "weight: 40");
    const service = (name: string, port: number) => `apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: shop }
spec: { selector: { app: ${name} }, ports: [{ name: http, port: ${port} }] }
`;
    const files = {
      "namespace.yaml": namespace,
      "first/web.yaml": service("web", 80),
      "second/web.yaml": service("web", 80),
      "second/cart.yaml": half,
      "second/a/api.yaml": service("api", 80),
      "second/b/api.yaml": service("api", 81),
    };
    const head = folderWith({ ...files, "rules.yaml": subsets("v1", "v2") });
    const base = folderWith({ "namespace.yaml": namespace });
    const expected = ["virtual-service-weights-not-100 second/cart.yaml"];
    assert.deepEqual(denied(await report(head), head), expected, "as a set");
    assert.deepEqual(denied(await report(head, "--mesh", base), head), expected, "as a change");
  });

  test("what only other environments define makes a finding uncertain", async () => {
    const forOwn = (text: string) => text.replace("spec: {", 'spec: { exportTo: ["."],');
    const own = {
      "route.yaml": route("v2").replace("spec:", 'spec:\n  exportTo: ["."]'),
      "rules.yaml": forOwn(subsets("v2").replace("name: cart", "name: a-cart")),
    };
    const others = {
      "one/mtls.yaml": mtls("STRICT"),
      "two/mtls.yaml": mtls("STRICT"),
      "three/mtls.yaml": mtls("STRICT"),
    };
    const three = Object.fromEntries(Object.entries(own).map(([name, text]) => [`three/${name}`, text]));
    const shared = { "namespace.yaml": namespace, ...others, ...three };
    const apart = folderWith({ ...shared, "one/rules.yaml": subsets("v1"), "two/rules.yaml": subsets("v1") });
    const together = folderWith({ ...shared, "rules.yaml": subsets("v1") });
    const base = folderWith({ "namespace.yaml": namespace });
    for (const options of [[], ["--mesh", base]]) {
      const found = await report(apart, ...options);
      assert.deepEqual(denied(found, apart), []);
      assert.match(
        found.findings.find(({ rule }) => rule === "virtual-service-subset-not-found")?.lowered.at(-1)?.reason ?? "",
        /^DestinationRule shop\/cart is defined in other environments, such as .*rules\.yaml, and not in this one/,
      );
      const expected = ["virtual-service-subset-not-found three/route.yaml"];
      assert.deepEqual(denied(await report(together, ...options), together), expected);
    }
  });

  test("a step of a tutorial that changes only routes rests on no rules of the other steps", async () => {
    const steps = folderWith({
      "start/rules.yaml": subsets("v1", "v2"),
      "start/routes.yaml": route("v1"),
      "half/routes.yaml": route("v1", "v2"),
      "then/rules.yaml": subsets("v2"),
      "then/routes.yaml": route("v2"),
    });
    const base = folderWith({ "namespace.yaml": namespace });
    for (const options of [[], ["--mesh", base]]) {
      assert.deepEqual(denied(await report(steps, ...options), steps), []);
      const wrong = folderWith({
        "routes.yaml": route("v1"),
        "rules.yaml": subsets("v2"),
        "then/rules.yaml": subsets("v2"),
      });
      assert.deepEqual(denied(await report(wrong, ...options), wrong), [
        "virtual-service-subset-not-found routes.yaml",
      ]);
    }
    // Where the files have all rules, this environment has none.
    const all = await report(steps, "--complete", "DestinationRule");
    assert.deepEqual(denied(all, steps), ["virtual-service-subset-not-found half/routes.yaml"]);
  });

  test("what moves from all environments to one place deletes nothing, and neither does the way back", async () => {
    const together = folderWith(twoOf({}, {}, { "namespace.yaml": namespace, "base/mtls.yaml": mtls("STRICT") }));
    for (const [base, head] of [
      [before, together],
      [together, before],
    ] as const)
      assert.deepEqual(denied(await report(head, "--mesh", base, "--prune"), head), []);
    const weaker = folderWith(twoOf({}, {}, { "namespace.yaml": namespace, "base/mtls.yaml": mtls("PERMISSIVE") }));
    assert.deepEqual(denied(await report(weaker, "--mesh", before, "--prune"), weaker), [weakened("base/mtls.yaml")]);
  });

  test("a file that names no environment is a change to each of them", async () => {
    for (const files of [twoOf(permissive, strict), twoOf(strict, permissive)]) {
      const head = folderWith({ "mtls.yaml": mtls("PERMISSIVE") });
      const found = await report(join(head, "mtls.yaml"), "--mesh", folderWith(files));
      assert.deepEqual(denied(found, head), [weakened("mtls.yaml")]);
    }
  });

  test("one file for each environment", async () => {
    const files = (staging: string, prod: string) => ({
      "namespace.yaml": namespace,
      "staging.yaml": mtls(staging),
      "prod.yaml": mtls(prod),
    });
    const base = folderWith(files("STRICT", "STRICT"));
    for (const name of ["staging", "prod"]) {
      const head = folderWith(name === "staging" ? files("PERMISSIVE", "STRICT") : files("STRICT", "PERMISSIVE"));
      assert.deepEqual(denied(await report(head, "--mesh", base), head), [weakened(`${name}.yaml`)]);
    }
  });

  test("--since compares each environment with its own past", async () => {
    const repository = folderWith(twoOf(strict, permissive));
    const git = (...argv: readonly string[]) =>
      execFileSync("git", ["-c", "user.name=a", "-c", "user.email=a@example.com", ...argv], {
        cwd: repository,
        stdio: "pipe",
      });
    git("init", "--quiet", "--initial-branch=main");
    git("add", "--all");
    git("commit", "--quiet", "--message=one");
    const home = process.cwd();
    process.chdir(repository);
    try {
      assert.deepEqual(denied(await report(".", "--since", "main"), "."), []);
      writeFileSync("overlays/staging/mtls.yaml", mtls("PERMISSIVE"));
      assert.deepEqual(denied(await report(".", "--since", "main"), "."), [weakened("overlays/staging/mtls.yaml")]);
      rmSync("overlays/staging/mtls.yaml");
      const removed = ["namespace-mtls-weakened overlays/staging/mtls.yaml"];
      assert.deepEqual(denied(await report(".", "--since", "main"), "."), removed);
    } finally {
      process.chdir(home);
    }
  });
});

describe("environments as changes to one mesh", () => {
  const mesh = folderWith({ "all.yaml": `${namespace}---\n${mtls("STRICT")}---\n${denyAll}` });

  test("each environment is a change of its own", async () => {
    const weaker = { ...permissive, "deny.yaml": denyAll };
    const same = { ...strict, "deny.yaml": denyAll };
    for (const name of ["staging", "prod"]) {
      const head = folderWith(name === "staging" ? twoOf(weaker, same) : twoOf(same, weaker));
      assert.deepEqual(denied(await report(head, "--mesh", mesh), head), [weakened(`overlays/${name}/mtls.yaml`)]);
    }
    const head = folderWith(twoOf(weaker, weaker));
    assert.deepEqual(denied(await report(head, "--mesh", mesh), head), [
      weakened("overlays/prod/mtls.yaml"),
      weakened("overlays/staging/mtls.yaml"),
    ]);
  });

  test("of several manifests in one file, each is applied", async () => {
    for (const mesh2 of [[], ["--mesh", mesh]]) {
      const wrong = folderWith({
        "all.yaml": [namespace, route("v1", "v9"), route("v1"), subsets("v1")].join("---\n"),
      });
      const found = await report(wrong, ...mesh2);
      assert.deepEqual(denied(found, wrong), ["virtual-service-subset-not-found all.yaml"], mesh2.join(" "));
      const within = folderWith({
        "prod/all.yaml": [namespace, route("v1", "v9"), route("v1"), subsets("v1")].join("---\n"),
        "staging/all.yaml": [namespace, route("v1"), subsets("v1")].join("---\n"),
      });
      const inOne = await report(within, ...mesh2);
      assert.deepEqual(denied(inOne, within), ["virtual-service-subset-not-found prod/all.yaml"], mesh2.join(" "));
    }
  });

  test("the comment for a pull request says in which environment something changes", async () => {
    const head = folderWith(twoOf(permissive, { "mtls.yaml": mtls("DISABLE") }));
    const { out } = await meshward(["check", head, "--mesh", mesh, "--format", "markdown"]);
    const titles = out.match(/^\*\*.*\*\*$/gm) ?? [];
    assert.deepEqual(titles, [
      `**Namespace shop in ${head}/overlays/prod**`,
      `**Namespace shop in ${head}/overlays/staging**`,
    ]);
    const same = folderWith(twoOf(permissive, permissive));
    const once = await meshward(["check", same, "--mesh", mesh, "--format", "markdown"]);
    assert.deepEqual(once.out.match(/^\*\*.*\*\*$/gm), ["**Namespace shop**"]);
  });
});

describe("other commands", () => {
  const mesh = folderWith(
    twoOf(
      { "cart.yaml": route("v9") },
      { "cart.yaml": route("v1") },
      {
        "namespace.yaml": namespace,
        "rules.yaml": subsets("v1"),
      },
    ),
  );

  test("audit and audit --what-if find what is wrong in either", async () => {
    const audit = await meshward(["audit", "--mesh", mesh, "--format", "json"]);
    const { findings } = JSON.parse(audit.out) as Report;
    const rule = "virtual-service-subset-not-found";
    assert.deepEqual(
      findings.filter((one) => one.rule === rule).map(({ file }) => file),
      [join(mesh, "overlays/staging/cart.yaml")],
    );
    const whatIf = await meshward(["audit", "--mesh", mesh, "--what-if", "strict", "--format", "json"]);
    assert.match(whatIf.out, /virtual-service-subset-not-found/);
  });

  test("explain says which definition it shows", async () => {
    for (const argv of [
      ["explain", "namespace/shop"],
      ["explain", "VirtualService/shop/cart", "--policy"],
    ]) {
      const { code, error } = await meshward([...argv, "--mesh", mesh]);
      assert.equal(code, 0, error);
      assert.match(
        error,
        /note: --mesh .*VirtualService shop\/cart is defined in .*prod\/cart.yaml and in .*staging\/cart/,
      );
    }
    const { code, error } = await meshward(["explain", "namespace/shop", "--mesh", mesh, "--change", mesh]);
    assert.equal(code, 2);
    assert.match(
      error,
      /--change .*: VirtualService shop\/cart is defined in .* and in .*; give the path of one environment/,
    );
    assert.doesNotMatch((await meshward(["audit", "--mesh", mesh])).error, /is defined in/);
  });

  test("a policy test has one mesh: several definitions are an error with its line", async () => {
    const folder = folderWith({
      "meshward-test.yaml": `mesh: [mesh]
cases:
  - { name: one, apply: cart.yaml, expect: { allowed: true } }
`,
      "cart.yaml": route("v1"),
    });
    cpSync(mesh, join(folder, "mesh"), { recursive: true });
    const { code, error } = await meshward(["test", folder]);
    assert.equal(code, 2);
    assert.match(
      error,
      /meshward-test\.yaml:1: .*VirtualService shop\/cart is defined in .*give the path of one environment/,
    );
  });
});
