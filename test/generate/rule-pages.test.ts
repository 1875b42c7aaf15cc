import assert from "node:assert/strict";
import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { describe, test } from "node:test";
import { run } from "../../src/cli/program.ts";
import { differenceOf } from "../../src/generate/example-difference.ts";
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

describe("the difference on each page is between the two files that the page shows", () => {
  const plain = (text: string) => text.replaceAll(/ *# <-.*$/gm, "");
  for (const [id, page] of pages)
    test(id, () => {
      const [wrong = "", right = ""] = blocks(page, "yaml").map(plain);
      const [difference = "", ...others] = blocks(page, "diff").map(plain);
      assert.deepEqual(others, []);
      const [before, after] = page.includes("## From wrong to right") ? [wrong, right] : [right, wrong];
      const hunks = difference.split(/^@@ [A-Z]\w+ \S+ @@\n/m);
      assert.equal(hunks.shift(), "");
      assert.ok(hunks.length > 0);
      for (const hunk of hunks) {
        assert.match(hunk, /^[-+]/m);
        const side = (signs: RegExp) =>
          `\n${hunk
            .split("\n")
            .filter((line) => signs.test(line))
            .map((line) => line.slice(1))
            .join("\n")}\n`;
        assert.ok(`\n${before}`.includes(side(/^[ -]/)), hunk);
        assert.ok(`\n${after}`.includes(side(/^[ +]/)), hunk);
      }
    });
});

test("a difference names the object of each change, keeps marks, and does not take a mark for a change", () => {
  const object = (kind: string, name: string, spec: string) =>
    `kind: ${kind}\nmetadata: { name: ${name}, namespace: shop }\nspec:\n  one: 1\n  two: 2\n  three: 3\n  ${spec}`;
  const before = [
    object("Gateway", "edge", "port: 80 # <- Plain"),
    object("Service", "cart", "a: 1"),
    "kind: Namespace",
  ];
  const after = [object("Gateway", "edge", "port: 80"), object("Service", "cart", "a: 2"), "kind: Namespace"];
  assert.deepEqual(differenceOf(before.join("\n---\n"), after.join("\n---\n")), [
    "@@ Service shop/cart @@",
    "   one: 1",
    "   two: 2",
    "   three: 3",
    "-  a: 1",
    "+  a: 2",
    " ---",
    " kind: Namespace",
  ]);
  const added = [object("Gateway", "edge", "port: 80 # <- Plain"), object("Service", "cart", "a: 1")].join("\n---\n");
  assert.deepEqual(differenceOf(before[0] ?? "", added).slice(0, 6), [
    "@@ Service shop/cart @@",
    "   two: 2",
    "   three: 3",
    "   port: 80 # <- Plain",
    "+---",
    "+kind: Service",
  ]);
});

/** One for each kind of object that findings are about: whatever the kind, the exception of the page accepts them. */
const accepted = [
  "virtual-service-subset-not-found",
  "destination-rule-plaintext",
  "gateway-server-invalid",
  "http-route-without-backend",
  "kubernetes-service-in-use",
  "mesh-config-weakened",
  "namespace-mtls-weakened",
  "workload-leaves-mesh",
];
for (const id of accepted)
  test(`the exception of ${id} accepts what its page shows`, async (context) => {
    const folder = mkdtempSync(join(tmpdir(), "meshward-exception-"));
    context.after(() => rmSync(folder, { recursive: true }));
    const fixture = (name: string) => join(root, "test/rules", id, name);
    const policy = `apiVersion: meshward.io/v1alpha1
kind: MeshwardPolicy
metadata: { name: all }
spec: { protectedNamespaces: { names: ["*"] }, rules: [{ id: ${id}, mode: deny }] }
`;
    const findings = async (...documents: readonly string[]) => {
      writeFileSync(join(folder, "policies.yaml"), documents.join("---\n"));
      const mesh = [fixture("wrong.yaml"), "--mesh", fixture("right.yaml"), "--prune"];
      const out = await checked("check", ...mesh, "--policies", folder, "--no-config", "--format", "json");
      const all = (JSON.parse(out) as { findings: readonly { rule: string; mode: string }[] }).findings;
      return all.filter(({ rule, mode }) => rule === id && mode !== "off");
    };
    assert.ok((await findings(policy)).length > 0);
    assert.deepEqual(await findings(policy, exceptionOf(pages.get(id) ?? "")), []);
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
  const given = ["host HOST --from NAMESPACE", "deployment/NAMESPACE/NAME", "namespace/NAMESPACE", "FILE"];
  const meant = [
    "host checkout.shop.svc.cluster.local --from payments",
    "deployment/payments/api",
    "namespace/payments",
    "policies/tour/2-canary/02-subsets.yaml",
  ];
  for (const command of commands) {
    let line = command
      .replace("--policies-from-cluster ", "")
      .replace("cluster", "policies/tour")
      .replace("RULE", "virtual-service-subset-not-found");
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

test("a page has only what the proxies of its rule show", () => {
  const seenOf = (id: string): string => {
    const page = pages.get(id) ?? "";
    return page.slice(page.indexOf("## What you see"), page.indexOf("## The way out"));
  };
  assert.doesNotMatch(seenOf("authorization-policy-shuts-gateway"), /ztunnel/);
  assert.doesNotMatch(seenOf("authorization-policy-not-enforced-l7"), /rbac_access_denied/);
  assert.doesNotMatch(seenOf("injection-revision-unserved"), /ztunnel/);
  for (const part of [/rbac_access_denied/, /-l app=ztunnel/])
    assert.match(seenOf("authorization-policy-principal-malformed"), part);
});

test("there is a page for each rule, and no other", () => {
  const names = globSync("*.md", { cwd: join(root, "policies/rules") }).filter((name) => name !== "README.md");
  assert.deepEqual(names.sort(), [...pages.keys()].map((id) => `${id}.md`).sort());
});
