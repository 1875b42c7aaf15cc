import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type AnyObject, readObject } from "../../../src/kube/object.ts";
import { backendsOf } from "../../../src/mesh/client-tls/backends.ts";
import { requestsTo } from "../../../src/mesh/client-tls/requests.ts";
import { hostIn } from "../../../src/mesh/traffic/host-definition.ts";
import { defaultMeshSettings } from "../../../src/view/settings.ts";
import { MeshStore } from "../../../src/view/store.ts";

const host = "x.shop.svc.cluster.local";
const namespace = (name: string, labels: object) =>
  readObject("Namespace", { kind: "Namespace", metadata: { name, labels } });
const sidecars = { "istio-injection": "enabled" };
const ambient = { "istio.io/dataplane-mode": "ambient" };
const deployment = (namespace: string, name: string, labels: object = {}, annotations: object = {}) =>
  readObject("Workload", {
    kind: "Deployment",
    metadata: { name, namespace },
    spec: { template: { metadata: { labels: { app: "x", ...labels }, annotations } } },
  });
const service = readObject("Service", {
  kind: "Service",
  metadata: { name: "x", namespace: "shop" },
  spec: { selector: { app: "x" }, ports: [{ port: 80, targetPort: 8080 }] },
});
const strict = readObject("PeerAuthentication", {
  kind: "PeerAuthentication",
  metadata: { name: "strict", namespace: "shop" },
  spec: { mtls: { mode: "STRICT" } },
});
const rule = (spec: object) =>
  readObject("DestinationRule", {
    kind: "DestinationRule",
    metadata: { name: "x", namespace: "shop" },
    spec: { host: "x", ...spec },
  });
const plaintext = { trafficPolicy: { tls: { mode: "DISABLE" } } };

/** `port subset: sender tls fits`, each answer of each request. */
function told(client: string, objects: readonly AnyObject[]): readonly string[] {
  const mesh = new MeshStore(defaultMeshSettings);
  for (const object of [service, ...objects]) mesh.set(object);
  const [backend] = backendsOf(hostIn(mesh, host), client, mesh);
  assert.ok(backend !== undefined);
  return requestsTo({ host, client }, backend, mesh).flatMap(({ port, subset, answers }) =>
    answers.map(({ sender, tls, outcomes }) => {
      const fits = outcomes.map(({ fit, isTunnelled, workloads }) =>
        [...(isTunnelled ? ["tunnelled"] : []), fit, ...workloads.map(({ metadata }) => metadata.name)].join(" "),
      );
      return `${port}${subset === undefined ? "" : ` ${subset}`}: ${sender} ${tls}: ${fits.join(", ")}`;
    }),
  );
}

describe("what becomes of a request", () => {
  test("a BackendTLSPolicy sets the TLS of clients with a proxy, and hides the DestinationRule of a wildcard", () => {
    const policy = readObject("BackendTLSPolicy", {
      metadata: { name: "x", namespace: "shop" },
      spec: {
        targetRefs: [{ group: "", kind: "Service", name: "x" }],
        validation: { hostname: "x.example.com", wellKnownCACertificates: "System" },
      },
    });
    const objects = [
      namespace("shop", sidecars),
      namespace("orders", sidecars),
      deployment("shop", "x"),
      deployment("orders", "o"),
      rule({ ...plaintext, host: "*.shop.svc.cluster.local" }),
    ];
    assert.deepEqual(told("orders", objects), ["80: proxy plaintext: plaintext x"]);
    assert.deepEqual(told("orders", [...objects, policy]), ["80: proxy tls: passed on x"]);
    assert.deepEqual(told("orders", [...objects, policy, strict]), ["80: proxy tls: refused x"]);
  });

  test("with mode DISABLE for the namespace there is no auto mTLS, so a STRICT workload refuses its clients", () => {
    const policy = (name: string, mode: string, spec: object = {}) =>
      readObject("PeerAuthentication", {
        kind: "PeerAuthentication",
        metadata: { name, namespace: "shop" },
        spec: { mtls: { mode }, ...spec },
      });
    const strictX = policy("x", "STRICT", { selector: { matchLabels: { app: "x" } } });
    const mesh = [namespace("web", sidecars), deployment("web", "client"), deployment("shop", "x"), strictX];
    const inShop = (mode: string, labels = sidecars) =>
      told("web", [...mesh, namespace("shop", labels), policy("default", mode)]);
    assert.deepEqual(inShop("DISABLE"), ["80: proxy plaintext: refused x"]);
    assert.deepEqual(inShop("PERMISSIVE"), ["80: proxy auto: mtls x"]);
  });

  test("each kind of client that the namespace has is told apart", () => {
    const clients = [
      namespace("web", ambient),
      deployment("web", "ztunnel"),
      deployment("web", "sidecar", { "sidecar.istio.io/inject": "true" }),
      deployment("web", "out", { "istio.io/dataplane-mode": "none" }),
    ];
    const found = told("web", [
      ...clients,
      namespace("shop", sidecars),
      deployment("shop", "x"),
      strict,
      rule(plaintext),
    ]);
    assert.deepEqual(found, [
      "80: proxy plaintext: refused x",
      "80: ztunnel auto: mtls x",
      "80: nothing plaintext: refused x",
    ]);
  });

  test("to what ztunnel captures HBONE goes before a DestinationRule", () => {
    const objects = [
      namespace("web", sidecars),
      namespace("shop", ambient),
      deployment("shop", "x"),
      strict,
      rule(plaintext),
    ];
    assert.deepEqual(told("web", objects), ["80: proxy plaintext: tunnelled mtls x"]);
    assert.deepEqual(told("elsewhere", objects), ["80: unknown plaintext: tunnelled mtls x"]);
  });

  test("what an annotation leads past the sidecar is reached in plaintext only", () => {
    const past = deployment("shop", "x", {}, { "traffic.sidecar.istio.io/excludeInboundPorts": "8080" });
    const objects = [namespace("web", sidecars), namespace("shop", sidecars), past, strict];
    assert.deepEqual(told("web", objects), ["80: proxy auto: refused x"]);
    assert.deepEqual(told("web", [...objects, rule(plaintext)]), ["80: proxy plaintext: plaintext x"]);
  });

  test("a subset that sends something else stands apart, with the workloads that have its labels", () => {
    const subsets = [
      { name: "v1", labels: { version: "v1" }, ...plaintext },
      { name: "v2", labels: { version: "v2" } },
    ];
    const objects = [
      namespace("web", sidecars),
      namespace("shop", sidecars),
      deployment("shop", "old", { version: "v1" }),
      deployment("shop", "new", { version: "v2" }),
      strict,
      rule({ subsets }),
    ];
    assert.deepEqual(told("web", objects), ["80: proxy auto: mtls new old", "80 v1: proxy plaintext: refused old"]);
  });

  test("a proxy behind the host is not captured: its own Gateway says what it takes", () => {
    const gateway = deployment("shop", "x", {}, { "inject.istio.io/templates": "gateway" });
    assert.deepEqual(told("web", [namespace("web", sidecars), namespace("shop", sidecars), gateway]), []);
  });
});
