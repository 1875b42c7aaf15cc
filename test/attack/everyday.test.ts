import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { parse } from "yaml";
import { loadPolicies } from "../../src/policy/load.ts";
import { rules } from "../../src/rules/index.ts";
import { Cluster } from "./cluster.ts";
import { type LargeWorld, objectsOf, type Step } from "./ways.ts";

// What teams and their tools do on ordinary days. The profile `baseline` denies nothing of it, and only the rules in `warns` say
// something. `strict` denies only what it says about that operation. A file of operations/ is named like its world, with what its
// operations are about behind a dot; a step is written as in ways.ts.

interface Operation {
  readonly operation: string;
  readonly do: readonly Step[];
  /** The ids of the rules that warn, in alphabetical order. */
  readonly warns?: readonly string[];
  /** The rule by which the profile `strict` denies a step, and why that is what the profile is for. */
  readonly strict?: { readonly denies: string; readonly because: string };
}

const { policies } = loadPolicies([], rules, "baseline");
const strictPolicies = loadPolicies([], rules, "strict").policies;
const folder = new URL("operations/", import.meta.url);

for (const file of readdirSync(folder).sort()) {
  const world = file.replace(/\..*$/, "") as LargeWorld;
  const objects = objectsOf(world);
  const operations = parse(readFileSync(new URL(file, folder), "utf8")) as readonly Operation[];

  describe(`everyday operations (${file.replace(".yaml", "")})`, () => {
    for (const { operation, do: steps, warns = [], strict } of operations) {
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
      test(`${operation}, profile strict`, () => {
        const message = denialOf(new Cluster(objects, strictPolicies), steps);
        if (strict === undefined) return assert.equal(message, undefined);
        assert.ok(message?.includes(`[${strict.denies}]`), message ?? "nothing is denied");
        assert.ok(strict.because.length > 0);
      });
    }
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

/** The message of the first denial. What comes after a denied step may need it. */
function denialOf(cluster: Cluster, steps: readonly Step[]): string | undefined {
  for (const step of steps) {
    const { allowed, message } = cluster.request(step);
    if (!allowed) return message ?? "";
  }
  return undefined;
}
