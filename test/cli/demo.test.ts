import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { meshward } from "./terminal.ts";

function folderWith(context: TestContext, files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), "meshward-demo-test-"));
  context.after(() => rmSync(folder, { recursive: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  return folder;
}

const namespace = "# A team\napiVersion: v1\nkind: Namespace\nmetadata: { name: shop }\n";

test("where there is nothing to play, one line says why, and no webhook starts", async (context) => {
  for (const [path, expected] of [
    [join(folderWith(context, {}), "nowhere"), /^meshward: .*there is no such file or folder: correct the path\n$/],
    [folderWith(context, {}), /^meshward: .*this folder contains no \.yaml, \.yml or \.json file; .*\n$/],
    [
      folderWith(context, { "broken.yaml": "kind: Service\na: b: c\n" }),
      /^meshward: .*broken\.yaml:2:4: not valid YAML: .*\n$/,
    ],
  ] as const) {
    const { code, out, error } = await meshward(["demo", path]);
    assert.deepEqual([code, out], [2, ""]);
    assert.match(error, expected);
  }
});

test("what can be read is played, and the exit code tells that not all could", async (context) => {
  const folder = folderWith(context, { "1.yaml": namespace, "2.yaml": "kind: Service\na: b: c\n" });
  const { code, out, error } = await meshward(["demo", folder]);
  assert.equal(code, 2);
  assert.match(error, /^meshward: .*2\.yaml:2:4: /);
  assert.match(out, /\nA team\n/);
  assert.match(out, /^namespace\/shop created$/m);
});

test("a kind that the webhook is not registered for is created without a word, and what the first round denied may be applied again", async (context) => {
  const route = `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart, namespace: shop }
spec: { hosts: [cart], http: [{ route: [{ destination: { host: cart, subset: v1 } }] }] }
`;
  const folder = folderWith(context, {
    "1.yaml": `${namespace}---
apiVersion: v1
kind: Service
metadata: { name: cart, namespace: shop }
spec: { selector: { app: cart }, ports: [{ name: http, port: 80 }] }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: settings, namespace: shop }
data: { a: b }
`,
    "2.yaml": `${route}---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: cart, namespace: shop }
spec: { host: cart, subsets: [{ name: v1, labels: { version: v1 } }] }
`,
    "3.yaml": route,
  });
  const { code, out } = await meshward(["demo", folder]);
  assert.equal(code, 0);
  const [settings = ""] = out
    .split("$ ")
    .filter((text) => text.startsWith("kubectl apply -f") && text.includes("ConfigMap"));
  assert.match(settings, /^configmap\/settings created$/m);
  assert.doesNotMatch(settings, /Warning/);
  assert.match(
    out,
    /2\.yaml[^$]*VirtualService shop\/cart\n[^$]*Error from server \(Forbidden\)[^$]*virtual-service-subset-not-found/,
  );
  assert.match(out, /^destinationrule\.networking\.istio\.io\/cart created$/m);
  assert.match(out, /3\.yaml {3}#[^$]*\nvirtualservice\.networking\.istio\.io\/cart created$/m);
});

test("a chapter is shown alone, after those before it were applied", async () => {
  const { code, out } = await meshward(["demo", "--chapter", "2"]);
  assert.equal(code, 0);
  assert.deepEqual(out.match(/^Chapter .*$/gm), ["Chapter 2: The canary"]);
  assert.doesNotMatch(out, /1-enrolment/);
  // The Service of the chapter before is there, or its destination would be unknown.
  assert.match(out, /"v3" of "checkout\.shop\.svc\.cluster\.local" does not exist/);
  const named = await meshward(["demo", "--chapter", "canary"]);
  assert.equal(named.out.replaceAll(/:\d{4,5}\b/g, ""), out.replaceAll(/:\d{4,5}\b/g, ""));
});

test("the last chapter audits what is stored", async () => {
  const { code, out } = await meshward(["demo", "--chapter", "audit"]);
  assert.equal(code, 0);
  assert.match(out, /^\d+ objects checked .*: 0 deny, \d+ warn$/m);
  assert.match(out, /2 protected namespaces: ledger, payments/);
});

test("a chapter that does not exist, or of the user's own files, is one line", async (context) => {
  const unknown = await meshward(["demo", "--chapter", "canry"]);
  assert.deepEqual([unknown.code, unknown.out], [2, ""]);
  assert.equal(unknown.error, 'meshward: --chapter: the tour has no chapter "canry"; did you mean "canary"?\n');
  const own = await meshward(["demo", folderWith(context, { "1.yaml": namespace }), "--chapter", "canary"]);
  assert.equal(own.code, 2);
  assert.match(own.error, /^meshward: --chapter is for the built-in tour: .*\n$/);
});

test("at a terminal, the demo waits after each chapter, and stops when the user says so", async () => {
  const questions: string[] = [];
  const answers = ["", "q"];
  const { code, out } = await meshward(["demo"], {
    ask: (question) => {
      questions.push(question.trim());
      return Promise.resolve(answers.shift());
    },
  });
  assert.equal(code, 0);
  assert.deepEqual(out.match(/^Chapter .*$/gm), ["Chapter 1: Enrolment", "Chapter 2: The canary"]);
  assert.deepEqual(questions, [
    "Press Enter to read on: The canary, or q and Enter to stop.",
    "Press Enter to read on: STRICT, or q and Enter to stop.",
  ]);
});
