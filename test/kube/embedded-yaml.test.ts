import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { readInjectorConfig } from "../../src/kube/injector-config.ts";
import { parseYaml, readMeshConfig } from "../../src/kube/mesh-config.ts";
import { readObject } from "../../src/kube/object.ts";
import type { Malformed } from "../../src/kube/read.ts";
import { meshConfigOf, someMeshConfigFields } from "../meshes/arbitrary.ts";

// What sigs.k8s.io/yaml v1.6.0 makes of the same texts, which istiod and the injector read ConfigMaps with.

function parsed(yaml: string): unknown {
  const malformed: Malformed[] = [];
  const value = parseYaml(yaml, "a test", malformed);
  assert.deepEqual(malformed, []);
  return value;
}

describe("YAML inside of an object", () => {
  test("has the scalars of YAML 1.1", () => {
    assert.deepEqual(parsed("{a: no, b: Yes, c: on, d: 0x10, e: 0777, f: ~, g: , h: 1_000}"), {
      a: false,
      b: true,
      c: true,
      d: 16,
      e: 511,
      f: null,
      g: null,
      h: 1000,
    });
  });

  test("keeps what is quoted, tagged or written in a block", () => {
    assert.deepEqual(parsed("a: 'no'\nb: !!str no\nc: |-\n  no\n"), { a: "no", b: "no", c: "no" });
  });

  test("merges maps", () => {
    assert.deepEqual(parsed("a: &a { c: no, d: 1 }\nb:\n  <<: *a\n  d: 2\n"), {
      a: { c: false, d: 1 },
      b: { c: false, d: 2 },
    });
  });

  test("a boolean of the mesh config may be written as a word", () => {
    const malformed: Malformed[] = [];
    const { mesh } = readMeshConfig({ data: { mesh: "enableAutoMtls: no\nrootNamespace: mesh-root\n" } }, malformed);
    assert.deepEqual(malformed, []);
    assert.equal(mesh.enableAutoMtls, false);
  });

  test("a mesh config has what its fields have that are read without YAML, as property tests of whole meshes read them", () => {
    const name = { kind: "ConfigMap", metadata: { name: "istio", namespace: "istio-system" } };
    fc.assert(
      fc.property(someMeshConfigFields, (fields) => {
        const object = readObject("MeshConfig", { ...name, data: { mesh: JSON.stringify(fields) } });
        assert.deepEqual(meshConfigOf("istio", fields), object);
      }),
    );
  });

  test("the injector reads numbers and booleans as text, and nothing else", () => {
    const read = (config: string) => {
      const malformed: Malformed[] = [];
      const found = readInjectorConfig({ data: { config } }, malformed).config;
      return { ...found, malformed: malformed.map(({ at }) => at.join(".")) };
    };
    assert.equal(read("policy: true").policy, "true");
    assert.equal(read("policy: off").policy, "false");
    assert.equal(read("policy: 1").policy, "1");
    assert.deepEqual(read("policy: 1").malformed, []);
    assert.deepEqual(read("injectedAnnotations: {a: true, b: 3}").injectedAnnotations, { a: "true", b: "3" });
    assert.deepEqual(read("neverInjectSelector: [{matchLabels: {a: 1}}]").neverInjectSelector[0]?.matchLabels, {
      a: "1",
    });
    assert.deepEqual(read("policy: [a]").malformed, ["data.config.policy"]);
    assert.deepEqual(read("defaultTemplates: sidecar").malformed, ["data.config.defaultTemplates"]);
  });
});
