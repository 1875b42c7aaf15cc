import assert from "node:assert/strict";
import { test } from "node:test";
import { audit } from "../../../src/engine/audit.ts";
import { intentNotHeld } from "../../../src/rules/intent/not-held.ts";
import { asked, meshOf } from "./asked.ts";

const namespaces = `
apiVersion: v1
kind: Namespace
metadata: { name: b, labels: { istio-injection: enabled } }
---
apiVersion: v1
kind: Namespace
metadata: { name: a }
`;
const deployment = (name: string, pod: string): string => `
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: ${name}, namespace: b }
spec:
  selector: { matchLabels: { app: ${name} } }
  template:
    metadata: { labels: { app: ${name} } }
    spec: { ${pod}containers: [{ name: app, ports: [{ containerPort: 80 }] }] }
`;
const [inMesh, onHost] = [deployment("w", ""), deployment("x", "hostNetwork: true, ")] as const;

test("the first request that is named does not depend on the order of workloads", () => {
  for (const account of ["default", "x"]) {
    const sendersIn = (...workloads: readonly string[]): readonly string[] =>
      asked(meshOf(namespaces + workloads.join("")), `b/sa/${account}`, "y.example.com:80").map(
        ({ source }) => source.sender,
      );
    assert.deepEqual([...new Set(sendersIn(inMesh, onHost))], ["proxy", "nothing"]);
    assert.deepEqual(sendersIn(onHost, inMesh), sendersIn(inMesh, onHost));
  }
});

test("of workloads that send alike, the first by name is named", () => {
  const other = deployment("v", "hostNetwork: true, ");
  for (const caller of ["default", "x"].map((account) => `b/sa/${account}`).concat("b")) {
    const namedIn = (...workloads: readonly string[]): readonly (string | undefined)[] =>
      asked(meshOf(namespaces + workloads.join("")), caller, "y.example.com:80").map(
        ({ source }) => source.workloads[0]?.metadata.name,
      );
    assert.deepEqual(namedIn(onHost, other), namedIn(other, onHost));
  }
});

test("of callers whom ServiceEntries of several namespaces tell apart, those of the first namespace by name are named", () => {
  const entry = (namespace: string, port: string, addresses = "[]"): string => `
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: x, namespace: ${namespace} }
spec:
  hosts: ["*.example.com"]
  addresses: ${addresses}
  exportTo: ["."]
  ports: [{ number: 80, ${port} }]
  workloadSelector: { labels: { app: x } }
`;
  const intent = `
apiVersion: meshward.io/v1alpha1
kind: MeshwardIntent
metadata: { name: x, namespace: first }
spec: { to: { host: y.example.com, ports: [80] }, requests: [{ from: [mesh], expect: allowed }] }
`;
  const namedIn = (...entries: readonly string[]): readonly string[] =>
    [...audit([intentNotHeld], meshOf(intent + entries.join("")))].flatMap((found) =>
      "message" in found ? [found.message] : [],
    );
  const both = [
    entry("first", "name: tls, protocol: TLS"),
    entry("second", "name: http, protocol: HTTP", "[10.0.0.0/24]"),
  ] as const;
  const [found = ""] = namedIn(...both);
  assert.match(found, /GET \/ from namespace first reaches nothing/);
  assert.deepEqual(namedIn(...both.toReversed()), [found]);
});
