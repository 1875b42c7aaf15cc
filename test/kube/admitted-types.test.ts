import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { allKinds, kinds } from "../../src/kube/kinds.ts";
import { isObject } from "../../src/kube/read.ts";
import { readAny } from "../../src/kube/object.ts";
import { kubernetesKinds } from "../../src/schemas/kubernetes-kinds.ts";
import type { Schema } from "../../src/schemas/schema.ts";
import { Schemas } from "../../src/schemas/schemas.ts";

// An object that the API server stores must never be refused because a reader expects another type: for each kind, two
// objects have every field that the schema knows, the one with the first of the types that a field may have, the other with the last.

const deepest = 30;
const ofIntOrString = [1, "50%"];
const ofInteger = [1, 2 ** 31 - 1];
const ofNumber = [1, 33.5];
const ofBoolean = [false, true];

/** Values of schemas with every field; bounds and combinations do not matter, since readers read types alone. */
class Values {
  readonly #isLast: boolean;

  constructor(isLast: boolean) {
    this.#isLast = isLast;
  }

  of(schema: Schema, depth = 0): unknown {
    if (schema["x-kubernetes-int-or-string"]) return this.#pick(ofIntOrString);
    if (schema.enum !== undefined) return this.#pick(schema.enum);
    const choices = [...(schema.anyOf ?? []), ...(schema.oneOf ?? [])].filter(({ type }) => type !== undefined);
    const choice = this.#pick(choices);
    return schema.type === undefined && choice !== undefined ? this.of(choice, depth) : this.#ofType(schema, depth);
  }

  #ofType(schema: Schema, depth: number): unknown {
    if (schema.type === "array") return schema.items && depth < deepest ? [this.of(schema.items, depth + 1)] : [];
    if (schema.type === "integer") return this.#pick(ofInteger);
    if (schema.type === "number") return this.#pick(ofNumber);
    if (schema.type === "boolean") return this.#pick(ofBoolean);
    if (schema.type === "string") return schema.format === "date-time" ? "2026-01-02T03:04:05Z" : "a";
    return this.#withFields(schema, depth);
  }

  #withFields({ properties = {}, additionalProperties }: Schema, depth: number): unknown {
    // Keys of ports must be numbers.
    const entry = isObject(additionalProperties) ? { "1": additionalProperties as Schema } : {};
    const fields = Object.entries({ ...properties, ...entry });
    return Object.fromEntries(fields.map(([key, value]) => [key, depth < deepest ? this.of(value, depth + 1) : null]));
  }

  #pick<T>(choices: readonly T[]): T | undefined {
    return choices.at(this.#isLast ? -1 : 0);
  }
}

const builtIn = new Schemas();
const ofKubernetes = kubernetesKinds();

const servedKinds = allKinds.flatMap((kind) =>
  kinds[kind].served.flatMap(({ group, versions, kind: served }) =>
    versions.map((version) => {
      const apiVersion = group === "" ? version : `${group}/${version}`;
      const own = ofKubernetes.find((one) => one.apiVersion === apiVersion && one.kind === served);
      const schema = builtIn.find(group, version, served) ?? own?.schema();
      return { apiVersion, kind: served, schema };
    }),
  ),
);

describe("what the API server admits is not malformed", () => {
  for (const { apiVersion, kind, schema } of servedKinds)
    if (schema !== undefined)
      test(`${kind} ${apiVersion}`, () => {
        for (const values of [new Values(false), new Values(true)]) {
          const raw = values.of(schema) as Record<string, unknown>;
          const object = readAny({ ...raw, apiVersion, kind, metadata: { name: "a", namespace: "b" } });
          assert.ok(object !== undefined);
          assert.deepEqual(object.malformed ?? [], []);
        }
      });

  test("kinds whose schema no package contains", () => {
    const without = servedKinds.filter(({ schema }) => schema === undefined);
    assert.deepEqual(
      without.map(({ apiVersion, kind }) => `${apiVersion} ${kind}`),
      [
        // Removed from the definitions with v1.2 of the Gateway API.
        "gateway.networking.k8s.io/v1alpha2 GRPCRoute",
        "argoproj.io/v1alpha1 Rollout",
        "admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration",
        "admissionregistration.k8s.io/v1 MutatingWebhookConfiguration",
        "apiregistration.k8s.io/v1 APIService",
        "apiextensions.k8s.io/v1 CustomResourceDefinition",
        "meshward.io/v1alpha1 MeshwardIntent",
        "v1 ConfigMap",
        "v1 ConfigMap",
      ],
    );
  });
});
