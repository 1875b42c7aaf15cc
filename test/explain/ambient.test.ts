import assert from "node:assert/strict";
import { test } from "node:test";
import { selectionOf } from "../../src/engine/setting.ts";
import { explanationOf } from "../../src/explain/explanation.ts";
import { type AnyObject, readObject } from "../../src/kube/object.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import type { ExplanationLine } from "../../src/report/explanation.ts";
import { rules } from "../../src/rules/index.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";

const { policies } = loadPolicies([], rules);

/** The lines of the explanation of what would happen if namespace shop became ambient, indented. */
function ambient(...objects: readonly AnyObject[]): readonly string[] {
  const mesh = new MeshStore({ ...defaultMeshSettings, seen: true });
  for (const object of objects) mesh.set(object);
  const input = { mesh, policies, selection: selectionOf(policies), rules };
  const flat = (lines: readonly ExplanationLine[], indent: string): readonly string[] =>
    lines.flatMap((line) => [`${indent}${line.text}`, ...flat(line.lines ?? [], `${indent}  `)]);
  return flat(explanationOf({ kind: "namespace", name: "shop" }, input, "ambient").lines, "");
}

const namespace = (labels: Readonly<Record<string, string>>) =>
  readObject("Namespace", { metadata: { name: "shop", labels } });
const injected = namespace({ "istio-injection": "enabled" });
const workload = (name: string, labels: Readonly<Record<string, string>> = {}) =>
  readObject("Workload", {
    kind: "Deployment",
    metadata: { name, namespace: "shop" },
    spec: { template: { metadata: { labels: { app: name, ...labels } } } },
  });
const service = readObject("Service", {
  metadata: { name: "cart", namespace: "shop" },
  spec: { selector: { app: "cart" }, ports: [{ name: "http", port: 80 }] },
});
const now =
  "Now its pods get sidecars. Compared with the label istio.io/dataplane-mode=ambient, and without istio-injection and istio.io/rev";

test("without configuration for HTTP, nothing would stop working", () => {
  assert.deepEqual(ambient(injected, service, workload("cart")), [
    now,
    "No waypoint: the namespace names none; ztunnel does not process HTTP. If policies or routes need it: istioctl waypoint apply --namespace shop --enroll-namespace",
    "Nothing in this mesh would stop working",
  ]);
  assert.deepEqual(ambient(namespace({ "istio.io/dataplane-mode": "ambient" })), [
    "It is ambient already",
    "Waypoint: none, so HTTP is not processed here",
  ]);
});

const route = (name: string, hosts: readonly string[], more: object = {}) =>
  readObject("VirtualService", {
    metadata: { name, namespace: "shop" },
    spec: { hosts, http: [{ route: [{ destination: { host: "cart" } }] }], ...more },
  });
const httpPolicy = readObject("AuthorizationPolicy", {
  metadata: { name: "reads", namespace: "shop" },
  spec: { action: "ALLOW", rules: [{ to: [{ operation: { methods: ["GET"] } }] }] },
});

test("routes, policies and configuration of sidecars that would have no effect, and who keeps a sidecar", () => {
  const lines = ambient(
    injected,
    service,
    workload("cart"),
    workload("kept", { "sidecar.istio.io/inject": "true" }),
    workload("apart", { "istio.io/dataplane-mode": "none" }),
    route("cart", ["cart"]),
    route("elsewhere", ["pay.example.com"]),
    route("at-a-gateway", ["cart"], { gateways: ["ingress/public"] }),
    readObject("DestinationRule", {
      metadata: { name: "cart", namespace: "web" },
      spec: { host: "cart.shop.svc.cluster.local" },
    }),
    readObject("Sidecar", { metadata: { name: "default", namespace: "shop" }, spec: { egress: [{ hosts: ["./*"] }] } }),
    readObject("Telemetry", {
      metadata: { name: "logs", namespace: "shop" },
      spec: { targetRefs: [{ kind: "Service", name: "cart" }] },
    }),
    httpPolicy,
  );
  assert.equal(
    lines[1],
    "A waypoint is needed, and the namespace names none: istioctl waypoint apply --namespace shop --enroll-namespace",
  );
  const reported = lines.filter((line) => /\([a-z0-9-]+\)$/.test(line)).map((line) => line.split("(").at(-1));
  assert.deepEqual(
    new Set(reported),
    new Set(["authorization-policy-not-enforced-l7)", "namespace-nobody-allowed)", "routes-need-waypoint)"]),
  );
  const rest = lines.slice(lines.findIndex((line) => line.startsWith("Routes and traffic policies for its Services")));
  assert.deepEqual(rest, [
    "Routes and traffic policies for its Services without effect, because only a waypoint uses them:",
    "  DestinationRule web/cart",
    "  VirtualService shop/cart",
    "Routes and traffic policies for other hosts that clients in shop no longer use: waypoints of the destinations use only those of their own and the Service's namespace:",
    "  VirtualService shop/elsewhere",
    "Configuration of sidecars without effect: ztunnel reads none of it, and a waypoint only what names it or a Service in targetRefs:",
    "  Sidecar shop/default",
    "Workloads that keep their sidecar, because of a label of their own:",
    "  Deployment shop/kept",
    "Workloads that stay outside the mesh:",
    "  Deployment shop/apart",
  ]);
});

test("with a waypoint, routes for the Services of the namespace keep their effect", () => {
  const lines = ambient(
    namespace({ "istio-injection": "enabled", "istio.io/use-waypoint": "waypoint" }),
    readObject("KubernetesGateway", {
      metadata: { name: "waypoint", namespace: "shop", labels: { "istio.io/waypoint-for": "service" } },
      spec: { gatewayClassName: "istio-waypoint", listeners: [{ name: "mesh", port: 15008, protocol: "HBONE" }] },
      status: { addresses: [{ value: "10.0.0.1" }], conditions: [{ type: "Programmed", status: "True" }] },
    }),
    service,
    workload("cart"),
    route("cart", ["cart"]),
  );
  assert.deepEqual(lines, [
    now,
    "Waypoint: shop/waypoint (the namespace's label)",
    "Nothing in this mesh would stop working",
  ]);
});
