import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import type { TestReport } from "../../src/report/test-report.ts";
import { meshward } from "../cli/terminal.ts";
import { first, intents, later, pairs, start } from "./steps.ts";
import type { Raw } from "./story.ts";

// The steps of payments through the code that answers the API server: with `meshward test`, whose cases state the intents too.

const root = mkdtempSync(join(tmpdir(), "meshward-steps-"));
after(() => rmSync(root, { recursive: true }));
const written = (name: string, items: readonly Raw[]): string => {
  writeFileSync(join(root, name), JSON.stringify({ apiVersion: "v1", kind: "List", items }));
  return name;
};
const holds = intents.map(({ metadata, spec }) => ({ namespace: metadata.namespace, ...spec }));

async function tested(objects: readonly Raw[], one: Raw) {
  const mesh = [written("mesh.json", objects)];
  writeFileSync(join(root, "meshward-test.json"), JSON.stringify({ mesh, cases: [{ name: "it", ...one }] }));
  const { out, error } = await meshward(["test", join(root, "meshward-test.json"), "--format", "json"]);
  const [found] = (JSON.parse(out) as TestReport).files[0]?.cases ?? [];
  assert.ok(found !== undefined, error);
  return found;
}

const objectsOf = (steps: readonly { readonly objects: readonly Raw[] }[]) => steps.flatMap(({ objects }) => objects);
const built = [...start, ...objectsOf(first), ...intents];
const whole = [...built, ...objectsOf(later)];

describe("the steps of payments", () => {
  for (const [i, { name, objects }] of first.entries())
    test(`before the intents: ${name}`, async () => {
      const there = [...start, ...objectsOf(first.slice(0, i))];
      const { status, differences, messages } = await tested(there, { apply: objects, expect: { allowed: true } });
      assert.deepEqual([status, differences], ["passed", []], messages.join("\n"));
    });

  test("the intents are written without a warning as soon as they hold", async () => {
    const there = [...start, ...objectsOf(first)];
    const expect = { allowed: true, warnedBy: [], holds, heldBefore: holds };
    const { status, differences } = await tested(there, { apply: intents, expect });
    assert.deepEqual([status, differences], ["passed", []]);
  });

  test("written before, they warn", async () => {
    const expect = { allowed: true, warnedBy: ["intent-not-held"] };
    const { status, differences } = await tested([...start, ...objectsOf(first.slice(0, 3))], {
      apply: intents,
      expect,
    });
    assert.deepEqual([status, differences], ["passed", []]);
  });

  for (const [i, { name, objects }] of later.entries())
    test(`kept: ${name}`, async () => {
      const there = [...built, ...objectsOf(later.slice(0, i))];
      const found = await tested(there, { apply: objects, expect: { allowed: true, heldBefore: holds, holds } });
      assert.deepEqual([found.status, found.differences], ["passed", []], found.messages.join("\n"));
      assert.doesNotMatch(found.messages.join("\n"), /\[intent-/);
    });
});

describe("after all steps, a change ends an intent and its twin does not", () => {
  for (const { kind, breaking, isDeletion, harmless, message } of pairs)
    test(kind, async () => {
      const change = isDeletion ? { delete: [breaking] } : { apply: [breaking] };
      const denied = await tested(whole, { ...change, expect: { allowed: false, holds } });
      assert.deepEqual([denied.status, denied.differences], ["passed", []], denied.messages.join("\n"));
      const said = denied.messages
        .flatMap((text) => text.split("\n"))
        .filter((line) => line.includes("[intent-broken]"));
      assert.ok(
        said.some((line) => message.test(line)),
        denied.messages.join("\n"),
      );
      const twin = await tested(whole, { apply: [harmless], expect: { allowed: true, heldBefore: holds, holds } });
      assert.deepEqual([twin.status, twin.differences], ["passed", []], twin.messages.join("\n"));
      assert.doesNotMatch(twin.messages.join("\n"), /\[intent-/);
    });

  test("a filter that nobody can judge warns, and ends nothing", async () => {
    const filter = {
      ...{ apiVersion: "networking.istio.io/v1alpha3", kind: "EnvoyFilter" },
      metadata: { name: "own-filter", namespace: "payments" },
      spec: {
        targetRefs: [{ group: "gateway.networking.k8s.io", kind: "Gateway", name: "waypoint" }],
        configPatches: [
          {
            applyTo: "HTTP_FILTER",
            match: { context: "SIDECAR_INBOUND" },
            patch: { operation: "INSERT_FIRST", value: {} },
          },
        ],
      },
    };
    const found = await tested(whole, { apply: filter, expect: { allowed: true } });
    assert.equal(found.status, "passed", found.messages.join("\n"));
    assert.match(found.messages.join("\n"), /\[intent-broken\] .*that can no longer be decided/);
  });
});
