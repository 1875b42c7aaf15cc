import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { parseAllDocuments } from "yaml";
import { defaultInstallation, installation } from "../../src/deploy/installation.ts";
import { rules } from "../../src/rules/index.ts";
import { meshward } from "./terminal.ts";

// oxlint-disable-next-line no-explicit-any -- objects are looked into field by field
type Raw = Record<string, any>;

const folder = mkdtempSync(join(tmpdir(), "meshward-manifests-"));
after(() => rmSync(folder, { recursive: true }));
const file = (name: string, content: string): string => {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
};
const authority = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

async function printed(...argv: string[]): Promise<readonly Raw[]> {
  const { code, out, error } = await meshward(["manifests", ...argv]);
  assert.equal(error, "");
  assert.equal(code, 0);
  const documents = parseAllDocuments(out);
  assert.ok(Array.isArray(documents));
  return documents.map((document) => document.toJS() as Raw);
}

async function refused(...argv: string[]): Promise<string> {
  const { code, out, error } = await meshward(["manifests", ...argv]);
  assert.equal(code, 2);
  assert.equal(out, "");
  assert.match(error, /^meshward: /);
  return error;
}

describe("manifests prints", () => {
  test("the objects of the installation, as YAML without anchors", async () => {
    assert.deepEqual(await printed(), JSON.parse(JSON.stringify(installation(rules, defaultInstallation))));
    const { out } = await meshward(["manifests"]);
    assert.doesNotMatch(out, /[&*]a\d/);
  });

  test("policies in a ConfigMap, and fails closed where they protect", async () => {
    const policy = `
apiVersion: meshward.io/v1alpha1
kind: MeshwardPolicy
metadata: { name: payments }
spec:
  protectedNamespaces:
    names: [payments, "team-*"]
    labels: { tier: gold }
---
apiVersion: v1
kind: Namespace
metadata: { name: not-a-policy }
`;
    const objects = await printed("--policies", file("policy.yaml", policy), "--profile", "strict");
    const { data } = objects.find(({ kind }) => kind === "ConfigMap") as Raw;
    const kept = parseAllDocuments(data["policies.yaml"]).map((document) => document.toJS() as Raw);
    assert.deepEqual(
      kept.map(({ kind, metadata }) => `${kind} ${metadata.name}`),
      ["MeshwardPolicy payments"],
    );
    const { webhooks } = objects.find(({ kind }) => kind === "ValidatingWebhookConfiguration") as Raw;
    const closed = webhooks.filter((webhook: Raw) => webhook["failurePolicy"] === "Fail");
    const values = closed.flatMap((webhook: Raw) =>
      (webhook["namespaceSelector"].matchExpressions ?? []).flatMap(({ values }: Raw) => values),
    );
    assert.ok(values.includes("payments"));
    assert.ok(values.includes("gold"));
    assert.ok(!values.includes("team-*"));
    const { args } = (objects.find(({ kind }) => kind === "Deployment") as Raw)["spec"].template.spec.containers[0];
    assert.ok(args.includes("--profile=strict"));
  });

  test("an authority that is given as caBundle", async () => {
    const objects = await printed("--url", "https://gate.example.com/team", "--ca-file", file("ca.crt", authority));
    const { webhooks } = objects.find(({ kind }) => kind === "ValidatingWebhookConfiguration") as Raw;
    assert.equal(webhooks[0].clientConfig.url, "https://gate.example.com/team/validate");
    assert.equal(Buffer.from(webhooks[0].clientConfig.caBundle, "base64").toString(), authority);
  });

  test("a certificate of somebody else without an authority is told, and nothing else is", async () => {
    const { code, out, error } = await meshward(["manifests", "--certificates", "secret"]);
    assert.equal(code, 0);
    assert.match(error, /^meshward: note: without --ca-file, the API server accepts no certificate .*caBundle\n$/);
    assert.match(out, /^kind: ValidatingWebhookConfiguration$/m);
    await printed("--certificates", "secret", "--ca-file", file("given.crt", authority));
  });

  test("other names, numbers and images", async () => {
    const objects = await printed(
      ...["--namespace", "gate", "--istio-namespace", "mesh", "--replicas", "5", "--spread", "required"],
      ...[
        "--image",
        `registry.example.com/gate@sha256:${"0123".repeat(16)}`,
        "--failure-policy",
        "Fail",
        "--no-network-policy",
      ],
    );
    const { spec, metadata } = objects.find(({ kind }) => kind === "Deployment") as Raw;
    assert.equal(metadata.namespace, "gate");
    assert.equal(spec.replicas, 5);
    assert.equal(spec.template.spec.topologySpreadConstraints[0].whenUnsatisfiable, "DoNotSchedule");
    assert.equal(spec.template.spec.containers[0].image, `registry.example.com/gate@sha256:${"0123".repeat(16)}`);
    const roles = objects.filter(({ kind }) => kind === "Role").map(({ metadata }) => metadata.namespace as string);
    assert.deepEqual(new Set(roles), new Set(["mesh", "gate"]));
    assert.ok(!objects.some(({ kind }) => kind === "NetworkPolicy"));
    const { webhooks } = objects.find(({ kind }) => kind === "ValidatingWebhookConfiguration") as Raw;
    assert.equal(webhooks.find(({ name }: Raw) => name === "mesh.validate.meshward.io").failurePolicy, "Fail");
  });
});

describe("manifests refuses, and says what to do", () => {
  test("options that contradict each other", async () => {
    assert.match(await refused("--url", "https://a.example", "--certificates", "secret"), /remove one of them/);
    assert.match(await refused("--url", "https://a.example", "--monitoring"), /remove one of them/);
    assert.match(await refused("--ca-file", file("ca.crt", authority)), /add --certificates secret/);
    assert.match(await refused("--client-name", "kube-apiserver"), /needs --client-ca-config-map/);
    assert.match(
      await refused("--client-ca-config-map", "callers", "--url", "https://gate.example.com"),
      /--client-ca-config-map is about a Meshward in the cluster/,
    );
    assert.match(await refused("--client-ca-config-map", "Callers"), /expected the name of an object/);
  });

  test("values that the API server would refuse", async () => {
    for (const url of [
      "http://a.example",
      "https://a.example/?q=1",
      "https://user:p@a.example",
      "a.example",
      "https://a#b",
    ])
      assert.match(await refused("--url", url), /expected https:\/\/HOST/, url);
    for (const namespace of ["Meshward", "a.b", "-a", ""])
      assert.match(await refused("--namespace", namespace), /name of a namespace/, namespace);
    for (const replicas of ["0", "-1", "many", "1.5"])
      assert.match(await refused("--replicas", replicas), /at least 1/, replicas);
    assert.match(await refused("--failure-policy", "fail"), /Fail, Ignore/);
    assert.match(await refused("--image", "two words"), /"two words" is no part of a name: .*; expected a reference/);
    assert.match(await refused("--image", "a:b:c"), /"b:c" is no tag: .*; expected a reference/);
  });

  test("files that are no certificates", async () => {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const key = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
    const at = ["--certificates", "secret", "--ca-file"];
    assert.match(await refused(...at, join(folder, "missing.crt")), /missing\.crt cannot be read/);
    assert.match(await refused(...at, file("key.pem", key)), /no private key/);
    assert.match(await refused(...at, file("both.pem", authority + key)), /no private key/);
  });

  test("policies with errors, and more of them than a ConfigMap contains", async () => {
    const policy = (name: string, comment: string) =>
      `apiVersion: meshward.io/v1alpha1\nkind: MeshwardPolicy\nmetadata: {name: ${name}, annotations: {comment: ${comment}}}\nspec: {protectedNamespaces: {names: [a]}}\n`;
    const broken = "apiVersion: meshward.io/v1alpha1\nkind: MeshwardPolicy\nmetadata: {name: a}\nspec: {rule: []}\n";
    assert.match(await refused("--policies", file("broken.yaml", broken)), /has errors, correct them first/);
    const large = file("large.yaml", policy("large", "x".repeat(1_100_000)));
    assert.match(await refused("--policies", large), /at most 1000000/);
  });
});
