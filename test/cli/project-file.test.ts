import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, afterEach, describe, test } from "node:test";
import { auditCommand } from "../../src/cli/audit.ts";
import { checkCommand } from "../../src/cli/check.ts";
import { canCommand } from "../../src/cli/can.ts";
import { connectionsCommand } from "../../src/cli/connections.ts";
import { explainCommand } from "../../src/cli/explain.ts";
import { testCommand } from "../../src/cli/test.ts";
import { type ProjectCommand, projectSettings, type Setting } from "../../src/project/schema.ts";
import type { Report } from "../../src/report/report.ts";
import { meshward } from "./terminal.ts";

const root = realpathSync(mkdtempSync(join(tmpdir(), "meshward-project-")));
const here = process.cwd();
afterEach(() => process.chdir(here));
after(() => rmSync(root, { recursive: true }));
let folders = 0;

/** A repository with these files, which is the working folder from then on. */
function repositoryWith(files: Readonly<Record<string, string>>, folder = "."): string {
  const repository = join(root, String(folders++));
  mkdirSync(join(repository, ".git"), { recursive: true });
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(repository, name)), { recursive: true });
    writeFileSync(join(repository, name), text);
  }
  process.chdir(join(repository, folder));
  return repository;
}
async function checked(...argv: string[]): Promise<{ code: number; error: string; report: Report }> {
  const { code, out, error } = await meshward(["check", ...argv, "--format", "json"]);
  return { code, error, report: JSON.parse(out) as Report };
}

const wrong = `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: shop }
spec: { hosts: [shop], http: [{ route: [{ destination: { host: shop }, weight: 90 }, { destination: { host: b }, weight: 20 }] }] }
`;
const policy = `apiVersion: meshward.io/v1alpha1
kind: MeshwardPolicy
metadata: { name: ours }
spec: { rules: [{ id: virtual-service-weights-not-100, mode: warn }] }
`;
const project = `paths: [apps]
policies: [policies]
profile: strict
namespace: shop
failOn: warn
partial: [Service, Deployment]
clusterDomain: corp.example
output: [sarif=out/meshward.sarif]
docsUrl: https://docs.example
`;
const files = { "meshward.yaml": project, "apps/shop.yaml": wrong, "policies/ours.yaml": policy, "out/.keep": "" };

describe("meshward.yaml", () => {
  test("check takes paths and options from it", async () => {
    const repository = repositoryWith(files);
    const { code, error, report } = await checked();
    assert.deepEqual([code, error], [1, ""]);
    assert.deepEqual(
      report.findings.map(({ rule, mode, object, file, docs }) => [rule, mode, object.namespace, file, docs]),
      [
        [
          "virtual-service-weights-not-100",
          "warn",
          "shop",
          "apps/shop.yaml",
          "https://docs.example/virtual-service-weights-not-100.md",
        ],
      ],
    );
    assert.deepEqual(
      [report.basis.profile, report.basis.policies, report.basis.settingsFile],
      ["strict", ["MeshwardPolicy ours"], "meshward.yaml"],
    );
    assert.match(
      readFileSync(join(repository, "out/meshward.sarif"), "utf8"),
      /"ruleId": "virtual-service-weights-not-100"/,
    );
    assert.match((await meshward(["check"])).out, /^profile strict, 1 policy \(settings of meshward\.yaml\); /m);
  });

  test("the command line wins", async () => {
    repositoryWith(files);
    const { code, report } = await checked(
      "policies/../apps/shop.yaml",
      "--fail-on",
      "deny",
      "--namespace",
      "other",
      "--profile",
      "baseline",
    );
    assert.deepEqual([code, report.findings[0]?.object.namespace, report.basis.profile], [0, "other", "baseline"]);
  });

  test("it is found above the working folder, up to the repository, and its paths are its own", async () => {
    repositoryWith(files, "apps");
    const { code, report } = await checked();
    assert.deepEqual([code, report.findings[0]?.file, report.basis.settingsFile], [1, "shop.yaml", "../meshward.yaml"]);
    // Another repository in the folder does not belong to it.
    mkdirSync("inner/.git", { recursive: true });
    process.chdir("inner");
    const without = await meshward(["check"]);
    assert.deepEqual(
      [without.code, /missing required argument 'path': .* list paths in meshward\.yaml/.test(without.error)],
      [2, true],
    );
  });

  test("--config names another file, and --no-config none", async () => {
    repositoryWith({ ...files, "ci.yaml": "paths: [apps]\nfailOn: never\n" });
    assert.deepEqual((await checked("--config", "ci.yaml")).report.basis.settingsFile, "ci.yaml");
    const without = await checked("apps", "--no-config");
    assert.deepEqual([without.report.basis.settingsFile, without.report.basis.policies], [undefined, []]);
    const gone = await checked("apps", "--config", "gone.yaml");
    assert.deepEqual(
      [gone.code, gone.error],
      [2, "meshward: gone.yaml: there is no such file or folder: correct the path\n"],
    );
  });

  test("audit, explain and test take what is theirs", async () => {
    repositoryWith({
      ...files,
      "meshward.yaml": `${project}tests: [checks]\n`,
      "checks/meshward-test.yaml": "cases: [{ name: a, apply: ../apps, expect: { allowed: false } }]\n",
    });
    const audited = await meshward(["audit", "--mesh", "apps", "--format", "json"]);
    const { basis } = JSON.parse(audited.out) as Report;
    assert.deepEqual([basis.profile, basis.policies, audited.code], ["strict", ["MeshwardPolicy ours"], 1]);
    const tested = await meshward(["test"]);
    assert.deepEqual([tested.code, /^1 passed/m.test(tested.out)], [0, true]);
    const explained = await meshward(["explain", "host", "shop", "--from", "default", "--mesh", "apps"]);
    assert.match(explained.out, /shop\.default\.svc\.corp\.example/);
  });

  test("a server never takes its policies from the folder where it was started", async () => {
    repositoryWith({ ...files, "meshward.yaml": "profle: strict\n" });
    const { error } = await meshward(["rules"]);
    assert.equal(error, "");
    const served = await meshward(["serve", "--mesh", "none", "--self-signed"]);
    assert.doesNotMatch(served.error, /profle/);
  });

  test("each mistake is one line with what to do; the rest is judged, and the exit code is 2", async () => {
    repositoryWith({
      ...files,
      "meshward.yaml": [
        "paths: [apps]",
        "polices: [policies]",
        "profile: strickt",
        "failOn: denny",
        "namespace: 7",
        "partial: [Servise]",
        "output: [sarf=x.sarif]",
        "clusterDomain: corp..example",
        "skipUnknown: yes please",
        "substitute: { NS: prod }",
        "",
      ].join("\n"),
    });
    const { code, error, report } = await checked("--profile", "baseline");
    assert.deepEqual([code, report.summary.deny], [2, 1]);
    const lines = error.trimEnd().split("\n");
    for (const [i, says] of [
      /^meshward: meshward\.yaml:2:1: polices: there is no such field; did you mean "policies"\?$/,
      /^meshward: meshward\.yaml:4:1: failOn: expected one of deny, warn, never, found "denny"; did you mean "deny"\?$/,
      /^meshward: meshward\.yaml:5:1: namespace: expected a string, found 7; put it in quotes as it is written, such as "7"$/,
      /^meshward: meshward\.yaml:6:1: partial: no rule reads the kind "Servise"; did you mean "Service"\?$/,
      /^meshward: meshward\.yaml:7:1: output: There is no format "sarf", did you mean sarif\?/,
      /^meshward: meshward\.yaml:8:1: clusterDomain: /,
      /^meshward: meshward\.yaml:9:1: skipUnknown: expected true or false, found "yes please"$/,
    ].entries())
      assert.match(lines[i] ?? "", says);
    assert.equal(lines.length, 7, error);
  });

  for (const [what, text, says] of [
    ["broken YAML", "paths: [\n", /^meshward: meshward\.yaml:\d+:\d+: .*\n$/],
    ["a list", "- a\n", /^meshward: meshward\.yaml:1:1: the document: expected a map, found a list\n$/],
    ["an empty file", "# nothing\n", /^meshward: meshward\.yaml: the file is empty; add settings, or remove it\n$/],
    [
      "a profile that there is not",
      "profile: strickt\n",
      /^meshward: meshward\.yaml:1:1: profile: there is no profile "strickt"; did you mean "strict"\?\n$/,
    ],
  ] as const)
    test(`${what}: one line, the rest is judged, exit 2`, async () => {
      repositoryWith({ ...files, "meshward.yaml": text });
      const { code, error, report } = await checked("apps");
      assert.deepEqual([code, report.summary.deny], [2, 1]);
      assert.match(error, says);
    });
});

describe("a path that there is not is told with its line, once", () => {
  test("of several, the others are used", async () => {
    const more = "policies:\n  - nope\n  - policies\npaths: [apps, gone]\n";
    repositoryWith({ ...files, "meshward.yaml": more });
    const { code, error, report } = await checked();
    assert.deepEqual([code, report.summary.warn, report.basis.policies], [2, 1, ["MeshwardPolicy ours"]]);
    assert.equal(
      error,
      "meshward: meshward.yaml:2:5: policies: nope: there is no such file or folder: correct the path\n" +
        "meshward: meshward.yaml:4:15: paths: gone: there is no such file or folder: correct the path\n",
    );
  });

  for (const [name, text, command] of [
    ["mesh", "paths: [apps]\nmesh: none\n", "check"],
    ["mesh", "# nothing else\nmesh: none\n", "connections"],
    ["crds", "paths: [apps]\ncrds: none\n", "check"],
    ["baseline", "paths: [apps]\nbaseline: none\n", "check"],
    ["substituteFrom", "paths: [apps]\nsubstituteFrom: none\n", "check"],
    ["paths", "# nothing else\npaths: [none]\n", "check"],
    ["tests", "# nothing else\ntests: [none]\n", "test"],
  ] as const)
    test(`${command} does not run without its ${name}`, async () => {
      repositoryWith({ ...files, "meshward.yaml": text });
      const { code, error, out } = await meshward([command]);
      assert.deepEqual([code, out], [2, ""]);
      const column = name === "paths" || name === "tests" ? 9 : 1;
      assert.equal(
        error,
        `meshward: meshward.yaml:2:${column}: ${name}: none: there is no such file or folder: correct the path\n`,
      );
    });

  test("the command line wins", async () => {
    repositoryWith({ ...files, "meshward.yaml": "paths: [gone]\npolicies: [nope]\nmesh: none\n" });
    const { code, error } = await checked("apps", "--policies", "policies", "--mesh", "apps", "--policies", "policies");
    assert.deepEqual([code, error], [0, ""]);
  });
});

describe("paths that the project file leaves open are no second error", () => {
  for (const [what, text, says] of [
    ["broken YAML", "paths: [\n", /^meshward: meshward\.yaml:\d+:\d+: not valid YAML.*\n$/],
    [
      "a wrong type",
      "paths: 3\ntests: 3\n",
      /^(meshward: meshward\.yaml:\d:1: (paths|tests): expected a list, found 3\n){2}$/,
    ],
    [
      "a misspelt name",
      "path: [apps]\ntest: [apps]\n",
      /^(meshward: meshward\.yaml:\d:1: (path|test): there is no such field; did you mean "(paths|tests)"\?\n){2}$/,
    ],
  ] as const)
    for (const command of ["check", "test"])
      test(`${command}, ${what}`, async () => {
        repositoryWith({ ...files, "meshward.yaml": text });
        const { code, error, out } = await meshward([command]);
        assert.deepEqual([code, out], [2, ""]);
        assert.match(error, says);
      });

  test("a mistake that is not about paths hides nothing", async () => {
    repositoryWith({ ...files, "meshward.yaml": "failOn: denny\n" });
    const { code, error } = await meshward(["check"]);
    assert.equal(code, 2);
    assert.match(error, /^meshward: meshward\.yaml:1:1: failOn: .*\nmeshward: missing required argument 'path': .*\n$/);
  });
});

test("can and connections take the mesh from it", async () => {
  const workload = `apiVersion: apps/v1
kind: Deployment
metadata: { name: shop, namespace: shop }
spec: { template: { metadata: { labels: { app: shop } }, spec: { containers: [{ name: c, image: i, ports: [{ containerPort: 80 }] }] } } }
---
apiVersion: v1
kind: Service
metadata: { name: shop, namespace: shop }
spec: { selector: { app: shop }, ports: [{ port: 80 }] }
`;
  repositoryWith({ "meshward.yaml": "mesh: mesh\nnamespace: shop\n", "mesh/shop.yaml": workload });
  const listed = await meshward(["connections"]);
  assert.equal(listed.code, 0, listed.error);
  assert.match(listed.out, /^shop\.shop:80/);
  const asked = await meshward(["can", "--from", "outside", "--to", "shop"]);
  assert.match(asked.out, /^Requests from outside the mesh to shop\.shop:80: /, asked.error);
  const without = await meshward(["connections", "--no-config"]);
  assert.deepEqual([without.code, /required option '--mesh <path>' not specified/.test(without.error)], [2, true]);
});

test("each setting is an option of its commands, with the same choices", () => {
  const terminal = {} as Parameters<typeof checkCommand>[0];
  const done = () => undefined;
  const commands = {
    check: checkCommand(terminal, done),
    audit: auditCommand(terminal, done),
    explain: explainCommand(terminal, done),
    can: canCommand(terminal, done),
    connections: connectionsCommand(terminal, done),
    test: testCommand(terminal, done),
  } satisfies Record<ProjectCommand, unknown>;
  for (const [name, setting] of Object.entries(projectSettings) as [string, Setting][]) {
    const own = (setting.commands ?? ["check"]).map((command) => commands[command]);
    if (setting.option === undefined) continue;
    const options = own.flatMap(({ options: all }) => all.filter((one) => one.attributeName() === setting.option));
    assert.equal(options.length, own.length, `a command of ${name} lacks the option`);
    for (const option of options) if (setting.choices) assert.deepEqual(option.argChoices, setting.choices, name);
  }
});
