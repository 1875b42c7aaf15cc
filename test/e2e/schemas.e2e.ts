import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Report } from "../../src/report/report.ts";
import { againstRules, mistakes } from "../cli/schema-mistakes.ts";
import { meshward } from "../cli/terminal.ts";
import { type ControlPlane, startControlPlane } from "./control-plane.ts";
import { binaries, namespace, skip, succeeds } from "./environment.ts";

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
