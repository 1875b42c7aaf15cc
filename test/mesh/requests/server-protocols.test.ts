import assert from "node:assert/strict";
import { test } from "node:test";
import { asked, meshOf } from "./asked.ts";
import { authorizationPolicy, shop } from "./meshes.ts";

const entry = (spec: string): string => `
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: db, namespace: shop, creationTimestamp: "2026-01-01T00:00:00Z" }
spec: { hosts: [db.example.com], location: MESH_INTERNAL, resolution: STATIC, addresses: [10.97.0.1], ${spec} }
`;
const port = (protocol: string): string => `ports: [{ number: 81, name: db, protocol: ${protocol}, targetPort: 8080 }]`;
const listed = (ports = "{}"): string =>
  `endpoints: [{ address: 10.0.0.12, labels: { app: vm }, serviceAccount: vm, ports: ${ports} }]`;
// Over TCP there is no method to compare, so that a DENY policy denies every connection to the port.
const deny = (at: number): string =>
  authorizationPolicy(
    "shop/p",
    `action: DENY\nrules: [{ to: [{ operation: { methods: [DELETE], ports: ["${at}"] } }] }]`,
  );
const resultOf = (text: string): readonly string[] => [
  ...new Set(asked(meshOf(shop + text), "outside", "db.example.com:81").map(({ result }) => result)),
];

test("a machine that a ServiceEntry lists reads the port as the entry declares it", () => {
  assert.deepEqual(resultOf(entry(`${port("TCP")}, ${listed()}`) + deny(8080)), ["denied"]);
  assert.deepEqual(resultOf(entry(`${port("TCP")}, ${listed()}`) + deny(9090)), ["accepted"]);
  assert.ok(!resultOf(entry(`${port("HTTP")}, ${listed()}`) + deny(8080)).every((result) => result === "denied"));
});

test("the own port of an endpoint, or of a WorkloadEntry, takes precedence over that of the ServiceEntry", () => {
  const machine = `
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: { name: vm, namespace: shop }
spec: { address: 10.0.0.12, labels: { app: vm }, serviceAccount: vm, ports: { db: 9090 } }
`;
  const selecting = entry(`${port("TCP")}, workloadSelector: { labels: { app: vm } }`) + machine;
  for (const mesh of [entry(`${port("TCP")}, ${listed("{ db: 9090 }")}`), selecting]) {
    assert.deepEqual(resultOf(mesh + deny(9090)), ["denied"]);
    assert.deepEqual(resultOf(mesh + deny(8080)), ["accepted"]);
  }
});

test("the own port of a WorkloadEntry takes precedence over the number of a Service's port, and a name needs it", () => {
  const machine = (ports: string) => `
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: { name: vm, namespace: shop }
spec: { address: 10.0.0.12, labels: { app: vm }, serviceAccount: vm, ports: ${ports} }
`;
  const service = (targetPort: string) => `
---
apiVersion: v1
kind: Service
metadata: { name: vm, namespace: shop }
spec: { selector: { app: vm }, ports: [{ name: db, port: 81, targetPort: ${targetPort} }] }
`;
  const results = (text: string) =>
    asked(meshOf(shop + text + deny(9090)), "web/client", "shop/vm:81").map(({ result }) => result);
  const [named, unnamed] = ["{ db: 9090 }", "{ other: 9090 }"];
  assert.ok(results(service("8080") + machine(named)).includes("denied"));
  assert.ok(!results(service("8080") + machine(unnamed)).includes("denied"));
  assert.ok(results(service("other") + machine(unnamed)).includes("denied"));
  assert.deepEqual(results(service("missing") + machine(named)), ["nowhere"]);
});

test("of Services that were created in one second, the first by its host decides, which is not the first by its name", () => {
  const service = (name: string, protocol: string) => `
---
apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: shop, creationTimestamp: "2026-01-01T00:00:00Z" }
spec: { selector: { app: x }, ports: [{ name: ${protocol}, port: 81, targetPort: 8080 }] }
`;
  const pods = `
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: x, namespace: shop }
spec: { template: { metadata: { labels: { app: x } } } }
`;
  const resultFor = (text: string) => [
    ...new Set(
      asked(meshOf(shop + pods + text + deny(8080)), "outside", "shop/cache-headless:81").map(({ result }) => result),
    ),
  ];
  // "cache-headless.shop.svc" comes before "cache.shop.svc" (Istio pilot/pkg/model/context.go SetServiceTargets).
  assert.deepEqual(resultFor(service("cache", "http") + service("cache-headless", "tcp")), ["denied"]);
  assert.ok(!resultFor(service("cache", "tcp") + service("cache-headless", "http")).every((one) => one === "denied"));
});
