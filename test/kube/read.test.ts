import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { formatPath } from "../../src/kube/field-path.ts";
import { idOf, keyOf } from "../../src/kube/identity.ts";
import { kindOf } from "../../src/kube/kinds.ts";
import { readAny, readObject } from "../../src/kube/object.ts";
import { describe as shown } from "../../src/kube/read.ts";

const malformedOf = (kind: Parameters<typeof readObject>[0], raw: unknown) =>
  (readObject(kind, raw).malformed ?? []).map(({ at, expected, found }) => `${formatPath(at)}: ${expected}: ${found}`);

describe("the door", () => {
  test("absent is read as empty, and paths are those of the raw object", () => {
    const { spec, malformed } = readObject("VirtualService", {});
    assert.equal(malformed, undefined);
    assert.deepEqual([spec.http, spec.hosts, spec.exportTo], [[], [], []]);
    assert.deepEqual(malformedOf("VirtualService", { spec: { http: [{ route: [{ weight: "90" }, 7] }], tcp: "x" } }), [
      'spec.http[0].route[0].weight: a 32-bit integer: "90"',
      "spec.http[0].route[1]: an object: 7",
      'spec.tcp: a list: "x"',
    ]);
  });

  test("weights are 32-bit integers", () => {
    const weight = (value: unknown) =>
      malformedOf("VirtualService", { spec: { tcp: [{ route: [{ weight: value }] }] } });
    for (const fine of [0, -1, 100.0, 2 ** 31 - 1, null, undefined]) assert.deepEqual(weight(fine), []);
    for (const wrong of ["90", Number.NaN, Infinity, 33.5, 2 ** 31, -(2 ** 31) - 1, true, [], {}])
      assert.equal(weight(wrong).length, 1, JSON.stringify(wrong));
  });

  test("specs of another type are reported, never thrown at", () => {
    for (const spec of [[], "x", 7, true]) assert.equal(malformedOf("PeerAuthentication", { spec }).length, 1);
    for (const raw of [null, [], "x", 7, undefined]) assert.doesNotThrow(() => readObject("AuthorizationPolicy", raw));
    assert.deepEqual(malformedOf("PeerAuthentication", { spec: null }), []);
  });

  test("keys named like parts of the language stay data", () => {
    const raw: unknown = JSON.parse(
      '{"metadata":{"labels":{"__proto__":"x","constructor":"y"}},"__proto__":{"kind":"z"}}',
    );
    const { metadata } = readObject("Namespace", raw);
    assert.equal(Object.getPrototypeOf(metadata.labels), Object.prototype);
    assert.deepEqual(Object.entries(metadata.labels), [
      ["__proto__", "x"],
      ["constructor", "y"],
    ]);
  });

  test("a hostile object reports a bounded number of wrong values", () => {
    const route = Array.from({ length: 10_000 }, () => 7);
    assert.equal(malformedOf("VirtualService", { spec: { http: [{ route }] } }).length, 50);
  });

  test("all served versions of a kind are one kind, and kinds of other groups are not", () => {
    for (const version of ["v1", "v1beta1", "v1alpha3"])
      assert.equal(kindOf(`networking.istio.io/${version}`, "VirtualService"), "VirtualService");
    assert.equal(kindOf("networking.istio.io/v1", "Gateway"), "Gateway");
    assert.equal(kindOf("gateway.networking.k8s.io/v1", "Gateway"), "KubernetesGateway");
    assert.equal(kindOf("v1", "Pod"), "Workload");
    assert.equal(kindOf("apps/v1", "Deployment"), "Workload");
    assert.equal(kindOf("example.com/v1", "Gateway"), undefined);
    assert.equal(kindOf("v1", "Secret"), undefined);
  });

  test("whatever makes pods is a Workload, and what counts of it is the pod", () => {
    const pod = {
      metadata: { labels: { app: "a" } },
      spec: { containers: [{ ports: [{ containerPort: 80, name: "web" }] }] },
    };
    const raws = [
      { apiVersion: "v1", kind: "Pod", ...pod, metadata: { name: "x", namespace: "n", labels: { app: "a" } } },
      { apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "x", namespace: "n" }, spec: { template: pod } },
      {
        apiVersion: "batch/v1",
        kind: "CronJob",
        metadata: { name: "x", namespace: "n" },
        spec: { jobTemplate: { spec: { template: pod } } },
      },
    ];
    const objects = raws.map((raw) => readAny(raw));
    for (const object of objects) {
      assert.equal(object?.kind, "Workload");
      if (object?.kind !== "Workload") continue;
      assert.deepEqual(object.pod.labels, { app: "a" });
      assert.deepEqual(object.pod.ports, [{ number: 80, name: "web" }]);
      assert.equal(object.pod.serviceAccountName, "default");
    }
    assert.deepEqual(
      objects.map((object) => object && keyOf(object)),
      ["n/Pod/x", "n/Deployment/x", "n/CronJob/x"],
    );
    assert.deepEqual(
      objects.map((object) => object && idOf(object)),
      ["Pod n/x", "Deployment n/x", "CronJob n/x"],
    );
  });

  test("only the ConfigMaps that istiod reads are mesh config", () => {
    const configMap = (name: string, data: unknown) =>
      readAny({ apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data });
    assert.equal(configMap("other", { mesh: "{}" }), undefined);
    assert.equal(configMap("istio", {}), undefined);
    const object = configMap("istio", { mesh: "rootNamespace: mesh-root\ntrustDomainAliases: [old.example]" });
    assert.ok(object?.kind === "MeshConfig");
    assert.equal(object.mesh.rootNamespace, "mesh-root");
    const broken = configMap("istio", { mesh: "rootNamespace: [unclosed" });
    assert.deepEqual(
      broken?.malformed?.map(({ at }) => formatPath(at)),
      ["data.mesh"],
    );
  });

  test("an object without a namespace goes where kubectl would put it; cluster-scoped ones nowhere", () => {
    const raw = { apiVersion: "networking.istio.io/v1", kind: "VirtualService", metadata: { name: "x" } };
    assert.equal(readAny(raw, "default")?.metadata.namespace, "default");
    const namespace = { apiVersion: "v1", kind: "Namespace", metadata: { name: "x", namespace: "y" } };
    assert.equal(readAny(namespace, "default")?.metadata.namespace, "");
  });
});

test("paths are shown as users write them", () => {
  assert.equal(formatPath(["spec", "http", 0, "route", 1, "weight"]), "spec.http[0].route[1].weight");
  assert.equal(formatPath(["spec", "portLevelMtls", "8080", "mode"]), 'spec.portLevelMtls["8080"].mode');
  assert.equal(formatPath(["metadata", "labels", "istio.io/rev"]), 'metadata.labels["istio.io/rev"]');
  assert.equal(formatPath([]), "");
});

test("a value found is shown short", () => {
  assert.equal(shown("x".repeat(100)), `"${"x".repeat(40)}…"`);
  assert.equal(shown({ secret: 1 }), "an object");
});

test("a field has the name of its protobuf definition where the definition of the kind lists both", () => {
  const rule = (fields: object) =>
    readObject("RequestAuthentication", { spec: { jwtRules: [fields] } }).spec.jwtRules[0]?.jwksUri;
  assert.equal(rule({ jwks_uri: "https://a/keys" }), "https://a/keys");
  assert.equal(rule({ jwksUri: "https://b/keys", jwks_uri: "https://a/keys" }), "https://b/keys");
  const route = (fields: object) => readObject("VirtualService", { spec: { http: [fields] } }).spec.http[0];
  assert.equal(route({ mirror_percent: 0 })?.mirrorPercent, 0);
  assert.equal(route({ mirror_percentage: { value: 0 } })?.mirrorPercentage, undefined);
  assert.deepEqual(malformedOf("VirtualService", { spec: { http: [{ mirror_percent: "0" }, 7] } }), [
    'spec.http[0].mirrorPercent: a 32-bit integer: "0"',
    "spec.http[1]: an object: 7",
  ]);
});
