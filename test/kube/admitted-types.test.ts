import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { allKinds, kinds } from "../../src/kube/kinds.ts";
import { isObject } from "../../src/kube/read.ts";
import { readAny } from "../../src/kube/object.ts";
import { builtInKinds } from "../../src/schemas/built-in.ts";
import type { Schema } from "../../src/schemas/schema.ts";

// An object that the API server stores must never be refused because a reader expects another type: for each kind, two
// objects have every field that the schema knows, the one with the first of the types that a field may have, the other with the last.

/** A value of a schema with every field; bounds and combinations do not matter, since readers read types alone. */
function valueOf(schema: Schema, isLast: boolean, depth = 0): unknown {
  const pick = <T>(choices: readonly T[]): T | undefined => choices.at(isLast ? -1 : 0);
  if (schema["x-kubernetes-int-or-string"]) return pick([1, "50%"]);
  if (schema.enum !== undefined) return pick(schema.enum);
  const choice = pick([...(schema.anyOf ?? []), ...(schema.oneOf ?? [])].filter(({ type }) => type !== undefined));
  if (schema.type === undefined && choice !== undefined) return valueOf(choice, isLast, depth);
  if (schema.type === "array") return schema.items && depth < 30 ? [valueOf(schema.items, isLast, depth + 1)] : [];
  if (schema.type === "integer") return pick([1, 2 ** 31 - 1]);
  if (schema.type === "number") return pick([1, 33.5]);
  if (schema.type === "boolean") return isLast;
  if (schema.type === "string") return schema.format === "date-time" ? "2026-01-02T03:04:05Z" : "a";
  const entries = Object.entries(schema.properties ?? {}).map(([key, value]) => [
    key,
    depth < 30 ? valueOf(value, isLast, depth + 1) : null,
  ]);
  if (isObject(schema.additionalProperties))
    entries.push(["a", valueOf(schema.additionalProperties, isLast, depth + 1)]);
  return Object.fromEntries(entries);
}

const builtIn = builtInKinds();

describe("what the API server admits is not malformed", () => {
  const without: string[] = [];
  for (const kind of allKinds)
    for (const { group, versions, kind: served } of kinds[kind].served)
      for (const version of versions) {
        const apiVersion = group === "" ? version : `${group}/${version}`;
        const schema = builtIn.find((one) => one.apiVersion === apiVersion && one.kind === served)?.schema();
        if (schema === undefined) {
          without.push(`${apiVersion} ${served}`);
          continue;
        }
        test(`${served} ${apiVersion}`, () => {
          for (const isLast of [false, true]) {
            const raw = valueOf(schema, isLast) as Record<string, unknown>;
            const object = readAny({ ...raw, apiVersion, kind: served, metadata: { name: "a", namespace: "b" } });
            assert.ok(object !== undefined);
            assert.deepEqual(object.malformed ?? [], []);
          }
        });
      }

  test("kinds whose schema no package contains", () => {
    assert.deepEqual(without, [
      "gateway.networking.k8s.io/v1 TCPRoute",
      "extensions.istio.io/v1alpha1 TrafficExtension",
      "argoproj.io/v1alpha1 Rollout",
      "admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration",
      "admissionregistration.k8s.io/v1 MutatingWebhookConfiguration",
      "apiregistration.k8s.io/v1 APIService",
      "apiextensions.k8s.io/v1 CustomResourceDefinition",
      "meshward.io/v1alpha1 MeshwardIntent",
      "v1 ConfigMap",
      "v1 ConfigMap",
    ]);
  });
});
