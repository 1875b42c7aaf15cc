import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Report } from "../../src/report/report.ts";
import { againstRules, mistakes } from "../cli/schema-mistakes.ts";
import { meshward } from "../cli/terminal.ts";
import { randomObjects } from "../schemas/random-objects.ts";
import { Schemas } from "../../src/schemas/schemas.ts";
import { brokenRules } from "../../src/schemas/validation-rules.ts";
import { findPublished } from "./binaries.ts";
import { type ControlPlane, startControlPlane } from "./control-plane.ts";
import { binaries, namespace, type Raw, skip, succeeds } from "./environment.ts";
import { committedText, expectedText, publishedDocuments } from "./published.ts";

// check refuses what a real API server refuses, with the definitions of that server and with the built-in schemas.

describe("the schemas of check and of an API server", { skip }, () => {
  let plane: ControlPlane;
  before(async () => {
    plane = await startControlPlane({ binaries: binaries(), definitions: true });
    await succeeds(plane, ["apply", "-f", "-"], [namespace("shop")]);
  });
  after(async () => plane?.close());

  /** What check denies; what only warns is accepted. */
  async function checked(text: string, ...options: readonly string[]): Promise<{ isRefused: boolean; said: string }> {
    const file = join(plane.folder, "manifest.yaml");
    writeFileSync(file, text);
    const { code, out, error } = await meshward(["check", file, "--format", "json", ...options]);
    assert.ok(code < 2, error);
    const { findings } = JSON.parse(out) as Report;
    const own = findings.filter(({ rule, mode }) => /^object-(?:invalid|malformed)$/.test(rule) && mode === "deny");
    return { isRefused: own.length > 0, said: own.map(({ path, message }) => `${path}: ${message}`).join("\n") };
  }

  const cases = [...mistakes, ...againstRules].flatMap(({ title, wrong, right }) => [
    { title: `${title}: wrong`, text: wrong },
    { title: `${title}: right`, text: right },
  ]);
  for (const { title, text } of cases)
    test(title, async () => {
      const verb = text.includes("generateName") ? "create" : "apply";
      const { code, stderr } = await plane.kubectl(
        [verb, "--dry-run=server", "--validate=strict", "--namespace=shop", "-f", "-"],
        { input: text },
      );
      const { isRefused, said } = await checked(text, "--mesh", "cluster", "--kubeconfig", plane.kubeconfig("admin"));
      assert.equal(isRefused, code !== 0, `${stderr}\n${said}`);
    });

  for (const { title, right } of mistakes)
    test(`built-in schemas: ${title}`, async () => assert.equal((await checked(right)).isRefused, false));
});

const published = findPublished();

describe("the built-in schemas", { skip: skip || ("missing" in published ? published.missing : false) }, () => {
  test("are those of the pinned modules", () => {
    assert.equal(committedText(), expectedText(), "npm run schemas writes them");
  });

  describe("and an API server with the definitions of these modules", () => {
    const definitions = (): readonly Raw[] =>
      publishedDocuments().filter((one): one is Raw => (one as Raw | null)?.["kind"] === "CustomResourceDefinition");
    const schemas = new Schemas([], brokenRules);
    let plane: ControlPlane;
    before(async () => {
      plane = await startControlPlane({ binaries: binaries() });
      await succeeds(plane, ["apply", "--server-side", "-f", "-"], definitions());
      await succeeds(plane, ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]);
      await succeeds(plane, ["apply", "-f", "-"], [namespace("shop")]);
    });
    after(async () => plane?.close());

    test("accept and refuse the same random objects", async (t) => {
      const paths = new Map(definitions().map(({ spec }) => [`${spec.group}/${spec.names.kind}`, spec]));
      const counts = { accepted: 0, refused: 0, byRules: 0 };
      for (const random of randomObjects(40, 11)) {
        const [group = "", version = ""] = random.apiVersion.split("/");
        const { scope, names } = paths.get(`${group}/${random.kind}`) as Raw;
        const isNamed = scope === "Cluster";
        const object = isNamed ? { ...random, metadata: { name: "a" } } : random;
        const path = `/apis/${group}/${version}/${isNamed ? "" : "namespaces/shop/"}${names.plural}`;
        const { status, body } = await plane.post(`${path}?dryRun=All&fieldValidation=Strict`, object);
        assert.ok([201, 400, 422].includes(status), body);
        const faults = schemas.faultsOf(object);
        assert.equal(faults.length > 0, status !== 201, JSON.stringify({ object, faults, body }));
        counts[status === 201 ? "accepted" : "refused"]++;
        if (faults.length > 0 && faults.every(({ message }) => message.startsWith("The definition of the kind")))
          counts.byRules++;
      }
      t.diagnostic(JSON.stringify(counts));
      assert.ok(Math.min(counts.accepted, counts.refused) > 500 && counts.byRules > 50, JSON.stringify(counts));
    });
  });
});
