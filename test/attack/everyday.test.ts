import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { parse } from "yaml";
import { loadPolicies } from "../../src/policy/load.ts";
import { rules } from "../../src/rules/index.ts";
import { Cluster } from "./cluster.ts";
import { type LargeWorld, objectsOf, type Step } from "./ways.ts";

// What teams and their tools do on ordinary days. Nothing of it is denied, and only the rules in `warns` say something. A file
// of operations/ has those in one world; a step is written as in ways.ts.

interface Operation {
  readonly operation: string;
  readonly do: readonly Step[];
  /** The ids of the rules that warn, in alphabetical order. */
  readonly warns?: readonly string[];
}

const { policies } = loadPolicies([], rules, "baseline");
const folder = new URL("operations/", import.meta.url);

for (const file of readdirSync(folder).sort()) {
  const world = file.replace(".yaml", "") as LargeWorld;
  const objects = objectsOf(world);
  const operations = parse(readFileSync(new URL(file, folder), "utf8")) as readonly Operation[];

  describe(`everyday operations (${world})`, () => {
    for (const { operation, do: steps, warns = [] } of operations)
      test(operation, () => {
        const cluster = new Cluster(objects, policies);
        const said = new Set<string>();
        for (const step of steps) {
          const { allowed, message, warnings } = cluster.request(step);
          assert.ok(allowed, `${JSON.stringify(step)}: ${message ?? ""}`);
          for (const warning of warnings) said.add(/\[([a-z0-9-]+)\]/.exec(warning)?.[1] ?? warning);
        }
        assert.deepEqual([...said].sort(), warns);
      });
  });
}

test("the objects of each world can be created in the order of the file", () => {
  for (const world of ["shop", "bank"] as const) {
    const cluster = new Cluster([], policies);
    for (const { apiVersion, kind, metadata, ...body } of objectsOf(world)) {
      const { name, namespace, ...rest } = metadata as { readonly name: string; readonly namespace?: string };
      const isIstio = String(apiVersion).startsWith("networking.istio.io") && kind === "Gateway";
      const target = namespace === undefined ? name : `${namespace}/${name}`;
      const step = { [`create ${isIstio ? "Istio " : ""}${String(kind)} ${target}`]: { metadata: rest, ...body } };
      const { allowed, message } = cluster.request(step);
      assert.ok(allowed, `${world}: ${String(kind)} ${target}: ${message ?? ""}`);
    }
  }
});
