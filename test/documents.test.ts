import assert from "node:assert/strict";
import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { parse as parseYaml } from "yaml";
import packageJson from "../package.json" with { type: "json" };
import { run } from "../src/cli/program.ts";
import { loadPolicies } from "../src/policy/load.ts";
import { rules } from "../src/rules/index.ts";
import { readManifests } from "../src/sources/manifests/manifests.ts";

// What the documents show and promise is what there is.

const root = fileURLToPath(new URL("../", import.meta.url));
const readme = readFileSync(join(root, "README.md"), "utf8");
const commandsPage = readFileSync(join(root, "docs/commands.md"), "utf8");
const pages = globSync(["*.md", "{docs,src,policies,certs}/**/*.md"], { cwd: root });

async function printedBy(...argv: string[]): Promise<{ code: number; out: string }> {
  let out = "";
  const code = await run(argv, {
    input: Readable.from([]),
    out: (text) => (out += text),
    error: () => undefined,
    colour: false,
    env: {},
    stop: new AbortController().signal,
  });
  return { code, out };
}

/** The blocks of code in a language, without the indentation of a list. */
const blocksOf = (page: string, language: string): readonly string[] =>
  [...page.matchAll(new RegExp(`^( *)\`\`\`${language}\\n([\\s\\S]*?)^ *\`\`\``, "gm"))].map(
    ([, indent = "", code = ""]) => code.replaceAll(new RegExp(`^${indent}`, "gm"), ""),
  );
const read = (page: string): string => readFileSync(join(root, page), "utf8");
const section = (page: string, title: string): string => {
  const text = new RegExp(`^## ${title}[\\s\\S]*?(?=^## )`, "m").exec(page)?.[0];
  assert.ok(text !== undefined, `there is no section ${title}`);
  return text;
};

test("what the README shows of the demo is what the demo prints", async () => {
  const { code, out } = await printedBy("demo");
  assert.equal(code, 0);
  const steps = blocksOf(readme, "text")
    .filter((sample) => sample.includes("$ kubectl "))
    .flatMap((sample) => sample.trim().split("\n\n"));
  assert.ok(steps.length > 1, "the README shows less than two steps");
  for (const step of steps) assert.ok(out.includes(`\n${step}\n`), `the demo does not print:\n${step}`);
  const count = globSync("policies/tour/*/[0-9]*.yaml", { cwd: root }).length;
  assert.ok(readme.includes(`the ${count} steps of a story`), `the tour has ${count} steps`);
});

test("each decision has a number of its own, and a decision that is named exists", () => {
  const text = read("docs/decisions.md");
  const numbers = [...text.matchAll(/^\*\*D(\d+)\*\*/gm)].map(([, number]) => number);
  assert.ok(numbers.length > 100);
  assert.deepEqual(
    numbers.filter((number, i) => numbers.indexOf(number) !== i),
    [],
  );
  const named = [...text.matchAll(/\bD(\d+)\b/g)].map(([, number]) => number);
  assert.deepEqual(
    named.filter((number) => !numbers.includes(number)),
    [],
  );
});

for (const [name, command, text, fewest] of [
  ["the README", "explain", section(readme, "Ask it"), 1],
  ["docs/commands.md", "explain", section(commandsPage, "explain:"), 2],
  ["docs/commands.md", "can", section(commandsPage, "can:"), 1],
  ["docs/commands.md", "connections", section(commandsPage, "connections:"), 1],
  ["docs/guides/connections.md", "connections", read("docs/guides/connections.md"), 2],
] as const)
  test(`what ${name} shows of ${command} is what ${command} prints`, async () => {
    const samples = blocksOf(text, "text");
    const lines = text.matchAll(new RegExp(`meshward -- (${command} .*)$`, "gm"));
    const commands = [...lines].map(([, line = ""]) => line.split(" "));
    assert.ok(samples.length >= fewest);
    const printed = await Promise.all(commands.map((argv) => printedBy(...argv)));
    assert.deepEqual(
      printed.map(({ code }) => code),
      commands.map(() => 0),
    );
    for (const sample of samples)
      assert.ok(
        printed.some(({ out }) => out.startsWith(sample)),
        `${command} does not print:\n${sample}`,
      );
  });

describe("the policies and exceptions of the documents are ones that load", () => {
  const shown = pages
    .filter((page) => !page.startsWith("policies/"))
    .map((page) => ({
      page,
      documents: blocksOf(read(page), "yaml").filter((block) => block.startsWith("apiVersion: meshward.io/")),
    }))
    .filter(({ documents }) => documents.length > 0);
  test("the README has a policy, an exception and an intent", () => {
    const documents = shown.find(({ page }) => page === "README.md")?.documents.join("") ?? "";
    assert.deepEqual(documents.match(/^kind: .*$/gm), [
      "kind: MeshwardIntent",
      "kind: MeshwardPolicy",
      "kind: MeshwardException",
    ]);
  });
  for (const { page, documents } of shown)
    test(page, async () => {
      for (const yaml of documents) {
        const { manifests, errors } = await readManifests(["-"], { input: Readable.from([yaml]) });
        assert.deepEqual(errors, []);
        assert.equal(manifests.length, yaml.split(/^---$/m).length);
        assert.deepEqual(loadPolicies(manifests, rules).errors, [], yaml);
      }
    });
});

describe("what there is to paste into CI", () => {
  // One block has the parts of three files, each below a comment that names it.
  const [block = "", ...blocks] = blocksOf(section(readme, "Install it"), "yaml");
  const [before, github = "", gitlab = "", preCommit = "", ...others] = block.split(/^# .*\n/m);

  test("is the same in the README and docs/ci.md", () => {
    assert.deepEqual([blocks, before, others], [[], "", []]);
    const ci = read("docs/ci.md");
    for (const [title, pasted] of Object.entries({ GitHub: github, GitLab: gitlab, "pre-commit": preCommit }))
      assert.ok(blocksOf(section(ci, title), "yaml").includes(pasted), title);
  });

  test("has inputs of the action", () => {
    const { inputs } = parseYaml(read("action.yml")) as { inputs: object };
    const { steps } = parseYaml(github) as { steps: readonly { uses: string; with: object }[] };
    const given = steps.find(({ uses }) => uses.startsWith("meshward/meshward@"))?.with ?? {};
    assert.ok(Object.keys(given).length > 0);
    for (const input of Object.keys(given)) assert.ok(input in inputs, input);
  });

  test("includes the job for GitLab in this version, as the example does", () => {
    assert.equal(read("policies/examples/online-shop/.gitlab-ci.yml"), gitlab);
    const [, version, file = ""] = /meshward\/meshward\/v([\d.]+)\/(\S+)$/m.exec(gitlab) ?? [];
    assert.equal(version, packageJson.version);
    assert.ok("meshward" in (parseYaml(read(file)) as object));
  });

  test("has hooks of this repository", () => {
    const hooks = (parseYaml(read(".pre-commit-hooks.yaml")) as readonly { id: string }[]).map(({ id }) => id);
    const used = [...preCommit.matchAll(/\bid: ([\w-]+)/g)].map(([, id = ""]) => id);
    assert.ok(used.length > 0 && used.every((id) => hooks.includes(id)));
  });
});

test("the README installs Meshward as docs/install.md does", () => {
  const [install = ""] = blocksOf(section(readme, "Install it"), "sh");
  assert.match(install, /helm install/);
  assert.ok(blocksOf(read("docs/install.md"), "sh").includes(install));
});

test("the versions in the README are those of docs/versions.md", () => {
  const tested = /^- Tested with [\s\S]*?(?=^- )/m.exec(readme)?.[0] ?? "";
  const versions = tested.match(/\d+\.\d+(?:\.\d+)?/g) ?? [];
  assert.ok(versions.length >= 5);
  const known: readonly string[] = read("docs/versions.md").match(/\d+\.\d+(?:\.\d+)?/g) ?? [];
  assert.deepEqual(
    versions.filter((version) => !known.includes(version)),
    [],
  );
});

describe("what the guides show of commands is what these print", () => {
  for (const guide of ["permissive-to-strict", "sidecar-to-ambient", "gateway-api"])
    test(guide, async () => {
      const page = read(`docs/guides/${guide}.md`);
      const commands = blocksOf(page, "sh").flatMap((block) => block.trim().split("\n"));
      const argvs = commands.map((command) => command.replace("npm run -s meshward -- ", "").split(" "));
      assert.ok(commands.length > 1 && commands.every((command) => command.startsWith("npm run -s meshward -- ")));
      const printed = await Promise.all(argvs.map((argv) => printedBy(...argv)));
      assert.deepEqual(
        printed.map(({ code }) => code),
        argvs.map(() => 0),
      );
      const samples = blocksOf(page, "text");
      assert.ok(samples.length > 0);
      for (const sample of samples)
        assert.ok(
          printed.some(({ out }) => out.startsWith(sample)),
          `no command prints:\n${sample}`,
        );
    });
});

test("the README leads to the index of the documentation, and the index to every page", () => {
  assert.ok(readme.includes("](docs/README.md)"));
  const index = read("docs/README.md");
  const missing = globSync("docs/{*,guides/*}.md", { cwd: root })
    .map((page) => page.slice("docs/".length))
    .filter((page) => page !== "README.md" && !index.includes(`](${page})`));
  assert.deepEqual(missing, [], "docs/README.md has no link to these pages");
});

describe("docs/options.md names the options of each command as its help does, all of them and no other", () => {
  const page = read("docs/options.md");
  for (const command of [...page.matchAll(/^## ([a-z ]+)$/gm)].map(([, name = ""]) => name))
    test(command, async () => {
      const text = section(page, command);
      const documented = text
        .split("\n")
        .filter((line) => line.startsWith("| `-"))
        .flatMap((row) => optionsIn(row.split("|")[1] ?? ""));
      const { out } = await printedBy(...command.split(" "), "--help");
      const lines = out.split("\n").filter((line) => /^ {2}-/.test(line));
      const existing = lines.flatMap((line) => optionsIn(line.trimStart().split(/ {2,}/)[0] ?? ""));
      assert.deepEqual(documented.sort(), existing.filter((option) => option !== "--help").sort());
    });
});

test("the options of other commands are on the pages to which docs/commands.md leads", async () => {
  const rows = [...commandsPage.matchAll(/^\| \[([a-z ]+)\]\(([^)#]*)(?:#[^)]*)?\)/gm)];
  const elsewhere = rows.map(([, command = "", page = ""]) => ({ command, page: page === "" ? "options.md" : page }));
  assert.ok(elsewhere.length > 15);
  for (const { command, page } of elsewhere) {
    const text = read(join("docs", page));
    const { out } = await printedBy(...command.split(" "), "--help");
    const subcommands = /^Commands:\n((?: {2}.*\n)+)/m.exec(out)?.[1]?.matchAll(/^ {2}([a-z]+)/gm) ?? [];
    const helps = await Promise.all(
      [...subcommands].map(([, name = ""]) => printedBy(...command.split(" "), name, "--help")),
    );
    const options = [out, ...helps.map((help) => help.out)].flatMap((help) =>
      optionsIn((help.match(/^ {2}-.*$/gm) ?? []).map((line) => line.slice(0, 34)).join("\n")),
    );
    // What the program reads from the cluster, or is the same everywhere, is described once.
    const common = ["--help", "--kubeconfig", "--context", "--version", "--policies", "--profile"];
    const missing = [...new Set(options)].filter((option) => !common.includes(option) && !text.includes(option));
    assert.deepEqual(missing, [], `${command}: ${page}`);
  }
});

test("src/README.md names files, folders and values that there are", () => {
  const map = read("src/README.md");
  const code = globSync("src/**/*.{ts,tsx}", { cwd: root }).map(read).join("\n");
  const words = new Set(code.match(/\w+/g));
  const named = [...map.matchAll(/`([^`\n]+)`/g)].map(([, name = ""]) => name);
  const isFile = (path: string) =>
    ["", "src", "src/mesh", "src/sources"].some((folder) => existsSync(join(root, folder, path)));
  assert.ok(named.length > 150);
  assert.deepEqual(
    [...new Set(named)].filter((name) =>
      /^[\w.-]+\/[\w./-]*$/.test(name) ? !isFile(name) : /^\w+$/.test(name) && !words.has(name),
    ),
    [],
  );
});

test("docs/commands.md lists every command", async () => {
  const { out } = await printedBy("--help");
  const listed = [...out.replace(/^Examples:[\s\S]*/m, "").matchAll(/^ {2}([a-z]+)/gm)].map(
    ([, command = ""]) => command,
  );
  const documented = [...commandsPage.matchAll(/^\| \[([a-z]+)[^\]]*\]\(/gm)].map(([, command = ""]) => command);
  assert.deepEqual(documented.sort(), listed.filter((command) => command !== "help").sort());
});

const optionsIn = (text: string): string[] => text.match(/--[a-z-]+/g) ?? [];

test("no page has what is left of a merge", () => {
  const left = pages.filter((page) => /^(?:<{7}|={7}|>{7})(?: |$)/m.test(read(page)));
  assert.deepEqual(left, []);
});

test("links between documents lead somewhere", () => {
  assert.ok(pages.length > 5);
  const broken = pages.flatMap((page) =>
    [...readFileSync(join(root, page), "utf8").matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)]
      .map(([, target = ""]) => target)
      .filter((target) => !/^[a-z]+:/.test(target) && !existsSync(join(root, dirname(page), target)))
      .map((target) => `${page}: ${target}`),
  );
  assert.deepEqual(broken, []);
});

/** The anchors of a page's headings, as GitHub makes them. */
function anchorsOf(page: string): ReadonlySet<string> {
  const anchors = new Set<string>();
  for (const [, heading = ""] of page.replaceAll(/^ *```[\s\S]*?^ *```/gm, "").matchAll(/^#{1,6} +(.*)$/gm)) {
    const plain = heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1").trim();
    const anchor = plain
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}_ -]/gu, "")
      .replaceAll(" ", "-");
    let unique = anchor;
    for (let count = 1; anchors.has(unique); count++) unique = `${anchor}-${count}`;
    anchors.add(unique);
  }
  return anchors;
}

test("links to a heading find it", () => {
  const links = pages.flatMap((page) =>
    [...read(page).matchAll(/\]\(([^)#:]*)#([^)]+)\)/g)].map(([, path = "", anchor = ""]) => ({
      page,
      target: path === "" ? page : join(dirname(page), path),
      anchor,
    })),
  );
  assert.ok(links.length > 10);
  const broken = links.filter(
    ({ target, anchor }) =>
      target.endsWith(".md") && existsSync(join(root, target)) && !anchorsOf(read(target)).has(anchor),
  );
  assert.deepEqual(broken, []);
});

test("every step of the tour says first what somebody tries", () => {
  const steps = globSync("policies/tour/*/[0-9]*.yaml", { cwd: root });
  assert.ok(steps.length > 0);
  assert.deepEqual(
    steps.filter((step) => !/^# \S.{10,}\n(?!#)/.test(readFileSync(join(root, step), "utf8"))),
    [],
  );
});

test("the tour is denied and warned where it means to be", async () => {
  const { out } = await printedBy("demo");
  const denied = new Set<string>();
  const warned = new Set<string>();
  for (const step of out.split(/^\$ kubectl /m).slice(1)) {
    const number = /-f (\d)-[\w-]+\/(\d\d)-/.exec(step)?.slice(1).join(".") ?? "";
    if (/^Error from server/m.test(step)) denied.add(number);
    else if (/^Warning: /m.test(step)) warned.add(number);
  }
  assert.deepEqual(
    [...denied].join(" "),
    "2.01 2.04 2.06 2.07 2.10 3.02 3.04 3.07 4.03 4.04 4.05 4.06 5.01 5.06 6.01 6.04 7.02 7.03",
  );
  assert.deepEqual([...warned].join(" "), "1.01 1.03 3.06 4.02 4.07 5.02 5.03 5.04 5.05 6.05");
});
