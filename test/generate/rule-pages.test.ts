import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { describe, test } from "node:test";
import { run } from "../../src/cli/program.ts";
import { root } from "../../src/generate/files.ts";
import { citationsIn, citedVersions, partialCitations } from "../../src/generate/sources.ts";
import { symptoms } from "../../src/generate/symptoms.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import { rules } from "../../src/rules/index.ts";
import { readManifests } from "../../src/sources/manifests/manifests.ts";

// What the pages of rules give to somebody who is paged works as it is.

const pages = new Map(rules.map(({ id }) => [id, readFileSync(join(root, `policies/rules/${id}.md`), "utf8")]));
const blocks = (page: string, language: string): readonly string[] =>
  [...page.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, "gm"))].map(([, code = ""]) => code);

const tomorrow = new Date(Date.now() + 86_400_000).toISOString().slice(0, 10);
const exceptionOf = (page: string): string => {
  const command = blocks(page, "sh").find((block) => block.startsWith("kubectl apply -f - <<EOF\n")) ?? "";
  const [, document = ""] = /<<EOF\n([\s\S]*)^EOF$/m.exec(command) ?? [];
  assert.ok(document.includes("$(date -u -d '+2 days' +%F)"), command);
  return document.replace(/\$\(date [^)]*\)/, tomorrow);
};

describe("the exception on each page is one that loads, and is for the object of the page", () => {
  for (const [id, page] of pages)
    test(id, async () => {
      const { manifests, errors } = await readManifests(["-"], { input: Readable.from([exceptionOf(page)]) });
      assert.deepEqual(errors, []);
      assert.equal(manifests.length, 1);
      assert.deepEqual(loadPolicies(manifests, rules).errors, []);
      const raw = manifests[0]?.raw as {
        metadata: { namespace: string };
        spec: { match: { objects: { names: string[] } } };
      };
      const [wrong = ""] = blocks(page, "yaml");
      const marked = wrong.split(/^---$/m).find((document) => document.includes("# <-")) ?? "";
      const { namespace } = raw.metadata;
      const [name = ""] = raw.spec.match.objects.names;
      assert.match(marked, new RegExp(`\\bname: ${name}\\b`));
      assert.match(marked, new RegExp(`\\bname(?:space)?: ${namespace}\\b`));
    });
});

async function checked(...argv: string[]): Promise<string> {
  let out = "";
  const terminal = { input: Readable.from([]), out: (text: string) => (out += text), error: () => undefined };
  await run(argv, { ...terminal, colour: false, env: {}, stop: new AbortController().signal });
  return out;
}

test("the commands of Meshward on the pages are commands with these options", async () => {
  const all = [...pages.values()].flatMap((page) => blocks(page, "sh")).join("\n");
  const commands = new Set(
    (all.match(/^meshward .*$/gm) ?? []).map((line) => line.replace(/--rule \S+/, "--rule RULE")),
  );
  assert.ok(commands.size >= 4);
  const given = ["host HOST --from NAMESPACE", "deployment/NAMESPACE/NAME", "namespace/NAMESPACE"];
  const meant = [
    "host checkout.shop.svc.cluster.local --from payments",
    "deployment/payments/api",
    "namespace/payments",
  ];
  for (const command of commands) {
    let line = command.replace("cluster", "policies/tour").replace("RULE", "virtual-service-subset-not-found");
    for (const [i, words] of given.entries()) line = line.replace(words, meant[i] ?? "");
    assert.notEqual(await checked(...line.split(" ").slice(1)), "", line);
  }
});

test("the cited versions are those that the tests run against", () => {
  const versions = readFileSync(join(root, "docs/versions.md"), "utf8");
  for (const version of Object.values(citedVersions)) assert.ok(versions.includes(version), version);
});

test("the files that a text cites get a link each", () => {
  const text =
    "It is so (Istio pilot/pkg/a.go New, pilot/pkg/a.go Old; ztunnel src/proxy.rs f; kubernetes pkg/b/c.go g; manifests/x/y-z.yaml).";
  const istio = `https://github.com/istio/istio/blob/${citedVersions.istio}`;
  assert.deepEqual(
    citationsIn(text).map(({ url }) => url),
    [
      `${istio}/pilot/pkg/a.go`,
      `https://github.com/istio/ztunnel/blob/${citedVersions.istio}/src/proxy.rs`,
      `https://github.com/kubernetes/kubernetes/blob/v${citedVersions.kubernetes}/pkg/b/c.go`,
      `${istio}/manifests/x/y-z.yaml`,
    ],
  );
  assert.deepEqual(partialCitations(text), []);
  assert.deepEqual(partialCitations("See inject.go and model/model.go."), ["inject.go", "model/model.go"]);
});

test("every symptom is one of some rule, and the index leads from it to the rule", () => {
  const index = readFileSync(join(root, "policies/rules/README.md"), "utf8").split("\n");
  for (const [symptom, { title }] of Object.entries(symptoms)) {
    const row = index.find((line) => line.startsWith(`| ${title} |`)) ?? "";
    const having = rules.filter(({ incident }) => (incident.symptoms as readonly string[]).includes(symptom));
    assert.ok(having.length > 0, symptom);
    for (const { id } of having) assert.ok(row.includes(`](${id}.md)`), `${symptom}: ${id}`);
  }
});

test("there is a page for each rule, and no other", () => {
  const names = globSync("*.md", { cwd: join(root, "policies/rules") }).filter((name) => name !== "README.md");
  assert.deepEqual(names.sort(), [...pages.keys()].map((id) => `${id}.md`).sort());
});
