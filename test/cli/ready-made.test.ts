import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Ajv } from "ajv";
import { parse, parseAllDocuments } from "yaml";
import { program as built } from "./program.ts";

// What users copy is run as they would run it: the example repository, the hooks, the action and the pipeline.

const project = fileURLToPath(new URL("../../", import.meta.url));
const example = join(project, "policies/examples/online-shop");
const root = realpathSync(mkdtempSync(join(tmpdir(), "meshward-ready-made-")));
after(() => rmSync(root, { recursive: true }));

/** An installation: `dist/meshward.js` starts the program of this checkout. */
const installation = join(root, "installation");
mkdirSync(join(installation, "dist"), { recursive: true });
const program = join(installation, "dist/meshward.js");
writeFileSync(program, `import(${JSON.stringify(await built())});\n`);
const bin = join(root, "bin");
mkdirSync(bin);
writeFileSync(join(bin, "meshward"), `#!/bin/sh\nexec "${process.execPath}" "${program}" "$@"\n`);
chmodSync(join(bin, "meshward"), 0o755);
writeFileSync(join(bin, "node"), `#!/bin/sh\nexec "${process.execPath}" "$@"\n`);
chmodSync(join(bin, "node"), 0o755);
/** Without kubectl and kustomize, so that the result does not depend on the machine. */
for (const tool of ["bash", "cat", "echo", "git", "head", "ls", "printf", "sh", "touch"]) {
  const found = ["/usr/bin", "/bin", "/usr/local/bin"]
    .map((folder) => join(folder, tool))
    .find((file) => existsSync(file));
  if (found !== undefined) symlinkSync(found, join(bin, tool));
}
const kubectl = (process.env.PATH ?? "")
  .split(":")
  .map((folder) => join(folder, "kubectl"))
  .find((file) => existsSync(file));

let copies = 0;
/** A clone of the example, with one commit. */
function repository(): string {
  const folder = join(root, `shop-${copies++}`);
  cpSync(example, folder, { recursive: true });
  git(folder, "init", "--quiet", "--initial-branch=main");
  commit(folder);
  return folder;
}
function git(folder: string, ...argv: string[]): string {
  const by = ["-c", "user.name=ada", "-c", "user.email=ada@shop.example", "-c", "commit.gpgsign=false"];
  return execFileSync("git", [...by, ...argv], { cwd: folder, encoding: "utf8" });
}
function commit(folder: string): void {
  git(folder, "add", "--all");
  git(folder, "commit", "--quiet", "--message=a change");
}
const typo = (folder: string) => {
  const file = join(folder, "apps/base/cart.yaml");
  writeFileSync(
    file,
    readFileSync(file, "utf8").replace("weight: 100", "weight: 90").replace("weight: 0", "weight: 20"),
  );
};

interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly error: string;
}
function run(
  command: string,
  argv: readonly string[],
  folder: string,
  env: Readonly<Record<string, string>> = {},
): Ran {
  const { status, stdout, stderr } = spawnSync(join(bin, command), argv, {
    ...{ cwd: folder, encoding: "utf8", timeout: 60_000 },
    env: { PATH: bin, HOME: root, NO_COLOR: "1", NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE, ...env },
  });
  return { code: status, out: stdout, error: stderr };
}
const meshward = (folder: string, ...argv: string[]): Ran => run("meshward", argv, folder);

describe("the example repository", () => {
  const folder = repository();

  test("its tests pass, and test everything that its policies set", () => {
    const { code, out, error } = meshward(folder, "test");
    assert.deepEqual([code, error], [0, ""], out);
    assert.match(out, /^15 passed, 0 failed in 1 file\n8 of 8 settings, exceptions and intents are tested\n/m);
  });

  test("nothing in its manifests is denied", () => {
    const { code, out, error } = meshward(folder, "check");
    assert.equal(code, 0, error);
    assert.match(out, /^9 objects checked \(.*\): 0 deny, /m);
    assert.match(
      out,
      /^profile baseline, 4 policies, 1 exception \(settings of meshward\.yaml\); 1 protected namespace: shop$/m,
    );
  });

  test("a mistake, and a file that is removed, are denied", () => {
    const changed = repository();
    typo(changed);
    rmSync(join(changed, "apps/base/security.yaml"));
    commit(changed);
    const { code, out } = meshward(changed, "check", "--since", "HEAD~1", "-o", "json");
    assert.equal(code, 1);
    const { findings } = JSON.parse(out) as { findings: { mode: string; rule: string }[] };
    const denied = findings.filter(({ mode }) => mode === "deny").map(({ rule }) => rule);
    for (const rule of ["virtual-service-weights-not-100", "namespace-mtls-weakened", "namespace-default-deny-removed"])
      assert.ok(denied.includes(rule), `${rule} is not among ${denied.join(", ")}`);
  });

  test("with kubectl, the overlays are rendered", {
    skip: kubectl === undefined && "kubectl is not installed here",
  }, () => {
    const changed = repository();
    const env = { PATH: `${bin}:${dirname(kubectl ?? "")}` };
    const clean = run("meshward", ["check"], changed, env);
    assert.deepEqual(
      [clean.code, /^18 objects checked .*: 0 deny, /m.test(clean.out)],
      [0, true],
      clean.out + clean.error,
    );
    const rendered = parseAllDocuments(run("sh", ["-c", "kubectl kustomize apps/overlays/prod"], changed, env).out);
    const tested: unknown = parse(readFileSync(join(changed, "apps/overlays/prod/canary.yaml"), "utf8"));
    assert.deepEqual(
      rendered.map((one) => one.toJS() as { kind: string }).filter(({ kind }) => kind === "VirtualService"),
      [tested],
      "the tests apply what is rendered",
    );
    typo(changed);
    const { code, out } = run("meshward", ["check", "--since", "HEAD"], changed, env);
    // Production replaces the route, and development does not.
    assert.equal(code, 1);
    assert.match(out, /VirtualService shop-dev\/cart: Weights sum to 110/);
    assert.doesNotMatch(out, /VirtualService shop\/cart: Weights/);
  });

  test("the commands of its page work", () => {
    const page = readFileSync(join(folder, "README.md"), "utf8");
    const commands = [...page.matchAll(/^meshward (.*?)(?: +#.*)?$/gm)].map(([, words = ""]) => words);
    assert.ok(commands.length >= 5);
    const fresh = repository();
    git(fresh, "remote", "add", "origin", fresh);
    git(fresh, "fetch", "--quiet", "origin");
    for (const words of commands.filter((one) => !one.includes("--watch"))) {
      const { code, error } = run("sh", ["-c", `meshward ${words}`], fresh);
      assert.equal(code, words.includes("canary-typo") ? 1 : 0, `${words}: ${error}`);
    }
    assert.match(meshward(fresh, "test").out, /^16 passed, 0 failed in 2 files$/m);
  });

  test("editors find the schema of each file, and the file matches it", () => {
    const schemas = new Map<string, ReturnType<Ajv["compile"]>>();
    const files = globSync("**/*.yaml", { cwd: example, exclude: ["apps/**"] });
    let compared = 0;
    for (const file of files) {
      const text = readFileSync(join(example, file), "utf8");
      const [, url] = /^# yaml-language-server: \$schema=(\S+)$/m.exec(text) ?? [];
      if (url === undefined) continue;
      assert.ok(url.startsWith("https://raw.githubusercontent.com/meshward/meshward/main/policies/"), url);
      const name = basename(url);
      const schema = JSON.parse(readFileSync(join(project, "policies", name), "utf8")) as object;
      const validate = schemas.get(name) ?? new Ajv({ strict: false, validateFormats: false }).compile(schema);
      schemas.set(name, validate);
      for (const document of parseAllDocuments(text)) {
        assert.ok(validate(document.toJS()), `${file}: ${JSON.stringify(validate.errors)}`);
        compared++;
      }
    }
    assert.deepEqual([...schemas.keys()].sort(), ["policy.schema.json", "project.schema.json", "test.schema.json"]);
    assert.ok(compared >= 5);
  });
});

describe(".pre-commit-hooks.yaml", () => {
  interface Hook {
    id: string;
    entry: string;
    pass_filenames?: boolean;
  }
  const hooks = parse(readFileSync(join(project, ".pre-commit-hooks.yaml"), "utf8")) as Hook[];
  const hook = (id: string, folder: string, ...files: string[]): Ran => {
    const found = hooks.find((one) => one.id === id);
    assert.ok(found, id);
    const [command = "", ...argv] = found.entry.split(" ");
    return run(command, [...argv, ...(found.pass_filenames === false ? [] : files)], folder);
  };

  test("the example uses hooks that there are", () => {
    const config = parse(readFileSync(join(example, ".pre-commit-config.yaml"), "utf8")) as {
      repos: { hooks: Hook[] }[];
    };
    for (const { id } of config.repos.flatMap((one) => one.hooks))
      assert.ok(
        hooks.some((one) => one.id === id),
        id,
      );
  });

  test("they pass without a mistake, and fail with one", () => {
    const folder = repository();
    const files = ["apps/base/cart.yaml", "meshward.yaml", ".gitlab-ci.yml", "apps/base/kustomization.yaml"];
    for (const { id } of hooks) assert.equal(hook(id, folder, ...files).code, 0, id);
    typo(folder);
    for (const id of ["meshward-check", "meshward-check-files"]) {
      const { code, out } = hook(id, folder, ...files);
      assert.deepEqual([code, /Weights sum to 110/.test(out)], [1, true], id);
    }
    rmSync(join(folder, "policies/shop.yaml"));
    assert.equal(hook("meshward-test", folder).code, 1);
  });
});

describe("action.yml", () => {
  interface Step {
    name?: string;
    run?: string;
    env?: Record<string, string>;
  }
  const action = parse(readFileSync(join(project, "action.yml"), "utf8")) as {
    inputs: Record<string, { default?: string }>;
    runs: { steps: Step[] };
  };

  /** Runs the script of a step with these inputs, as the runner does: bash stops at the first error. */
  function step(
    name: string,
    folder: string,
    inputs: Readonly<Record<string, string>> = {},
    env: Readonly<Record<string, string>> = {},
  ): Ran {
    const found = action.runs.steps.find((one) => one.name === name);
    assert.ok(found?.run, name);
    const values: Readonly<Record<string, string>> = {
      "github.action_path": installation,
      "runner.temp": root,
      "github.repository": "shop/apps",
      "github.event.pull_request.number": "7",
      "github.token": "none",
    };
    const filled = Object.entries(found.env ?? {}).map(([key, text]) => [
      key,
      text.replaceAll(/\$\{\{ ([\w.]+) \}\}/g, (_, expression: string) => {
        const input = expression.replace(/^inputs\./, "");
        return inputs[input] ?? values[expression] ?? action.inputs[input]?.default ?? assert.fail(expression);
      }),
    ]);
    assert.doesNotMatch(found.run, /\$\{\{/, "an expression in a script lets a pull request run commands");
    return run("bash", ["--noprofile", "--norc", "-eo", "pipefail", "-c", found.run], folder, {
      ...(Object.fromEntries(filled) as Record<string, string>),
      ...env,
    });
  }
  const comment = join(root, "meshward-comment.md");

  test("a pull request without a mistake passes, with a comment and a report", () => {
    const folder = repository();
    assert.equal(step("Install Meshward", folder).code, 0);
    const tested = step("Test policies", folder);
    assert.equal(tested.code, 0, tested.error);
    const checked = step("Check manifests", folder, { sarif: "meshward.sarif" });
    assert.deepEqual([checked.code, existsSync(join(folder, "meshward.sarif"))], [0, true], checked.error);
    assert.match(
      readFileSync(comment, "utf8"),
      /^<!-- meshward -->\n## Meshward: (?:✅ no problems|⚠️ \d+ warnings?) in 9 objects/,
    );
  });

  test("a mistake is annotated, and the comment says what changes", () => {
    const folder = repository();
    typo(folder);
    rmSync(join(folder, "apps/base/security.yaml"));
    commit(folder);
    const { code, out } = step("Check manifests", folder, {
      since: "HEAD~1",
      paths: "apps/base\n",
      args: "--profile=strict\n--verbose\n",
    });
    assert.equal(code, 1);
    assert.match(out, /^::error file=apps\/base\/cart\.yaml,line=\d+,col=\d+,title=virtual-service-weights-not-100::/m);
    assert.match(readFileSync(comment, "utf8"), /What changes in the mesh[\s\S]*- mTLS: STRICT[\s\S]*Denied/);
  });

  test("inputs are arguments, never commands", () => {
    const folder = repository();
    const hostile = `$(touch ${root}/pwned)\n; touch ${root}/pwned\n--help\n`;
    const { code } = step("Check manifests", folder, { paths: hostile, args: hostile, since: hostile });
    assert.notEqual(code, 1);
    assert.equal(existsSync(join(root, "pwned")), false);
  });

  test("the comment of an earlier run is replaced", () => {
    const calls = join(root, "gh-calls");
    writeFileSync(
      join(bin, "gh"),
      `#!/bin/sh\necho "$@" >> "${calls}"\ncase "$*" in *--jq*) printf '%s' "$KNOWN" ;; esac\n`,
    );
    chmodSync(join(bin, "gh"), 0o755);
    for (const [known, says] of [
      ["", /api --method POST repos\/shop\/apps\/issues\/7\/comments -F body=@.*meshward-comment\.md --silent/],
      ["42\n43\n", /api --method PATCH repos\/shop\/apps\/issues\/comments\/42 -F body=@/],
    ] as const) {
      rmSync(calls, { force: true });
      writeFileSync(comment, "<!-- meshward -->\n");
      const { code, error } = step("Comment on the pull request", root, {}, { KNOWN: known });
      assert.equal(code, 0, error);
      assert.match(readFileSync(calls, "utf8"), says);
    }
  });

  test("the workflow of the example gives inputs that there are", () => {
    const workflow = parse(readFileSync(join(example, ".github/workflows/meshward.yaml"), "utf8")) as {
      jobs: Record<string, { steps: { uses?: string; with?: Record<string, unknown> }[] }>;
    };
    const uses = workflow.jobs.meshward?.steps.find((one) => one.uses?.startsWith("meshward/meshward@"));
    assert.ok(uses?.with);
    for (const name of Object.keys(uses.with)) assert.ok(name in action.inputs, name);
  });
});

describe("the job for GitLab", () => {
  const { script, artifacts } = (
    parse(readFileSync(join(project, "deploy/gitlab-ci.yml"), "utf8")) as {
      meshward: { script: string[]; artifacts: { reports: { codequality: string; junit: string[] } } };
    }
  ).meshward;
  const { codequality, junit } = artifacts.reports;
  const codesIn = (folder: string, base: string) =>
    script.map((line) => {
      const command = line.replaceAll("/opt/meshward", installation);
      return run("bash", ["-c", command], folder, { CI_MERGE_REQUEST_DIFF_BASE_SHA: base, CI_PROJECT_DIR: folder })
        .code;
    });

  test("writes the reports that it names", () => {
    const folder = repository();
    // The tests start from a mesh that is right.
    writeFileSync(
      join(folder, "apps/base/new.yaml"),
      readFileSync(join(folder, "tests/canary-typo.yaml"), "utf8").replaceAll("cart", "new"),
    );
    commit(folder);
    assert.deepEqual(codesIn(folder, "HEAD~1"), [0, 1]);
    const [issue] = JSON.parse(readFileSync(join(folder, codequality), "utf8")) as { location: { path: string } }[];
    assert.equal(issue?.location.path, "apps/base/new.yaml");
    for (const file of junit) assert.match(readFileSync(join(folder, file), "utf8"), /<testsuites name="meshward"/);
  });

  test("checks a repository without tests of policies, and all of it for the default branch", () => {
    const folder = repository();
    rmSync(join(folder, "tests"), { recursive: true });
    writeFileSync(join(folder, "meshward.yaml"), "paths: [apps/base]\npolicies: [policies]\n");
    commit(folder);
    assert.deepEqual(codesIn(folder, ""), [0, 0]);
    assert.deepEqual(
      junit.map((file) => existsSync(join(folder, file))),
      [true, false],
    );
  });
});
