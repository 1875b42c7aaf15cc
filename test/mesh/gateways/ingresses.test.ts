import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type AnyObject, readObject } from "../../../src/kube/object.ts";
import { ingressHost, isServedByIstio, serversOfIngress } from "../../../src/mesh/gateways/ingresses.ts";
import { meshSettingsOf } from "../../../src/view/settings.ts";
import { sideOf } from "../../../src/view/side.ts";
import { MeshStore } from "../../../src/view/store.ts";

const meshConfig = (mesh: object) =>
  readObject("MeshConfig", {
    kind: "ConfigMap",
    metadata: { name: "istio", namespace: "istio-system" },
    data: { mesh: JSON.stringify(mesh) },
  });
const classOf = (name: string, controller: string, isDefault = false) =>
  readObject("IngressClass", {
    kind: "IngressClass",
    metadata: {
      name,
      annotations: isDefault ? { "ingressclass.kubernetes.io/is-default-class": "true" } : {},
    },
    spec: { controller },
  });
const istio = classOf("istio", "istio.io/ingress-controller");
const nginx = classOf("nginx", "k8s.io/ingress-nginx");
const ingressOf = (metadata: object, spec: object = {}) =>
  readObject("Ingress", { kind: "Ingress", metadata: { name: "x", namespace: "a", ...metadata }, spec });
const old = { creationTimestamp: "2026-01-01T00:00:00Z" };
const annotated = (name: string) => ({ ...old, annotations: { "kubernetes.io/ingress.class": name } });

function viewOf(objects: readonly AnyObject[]) {
  const mesh = new MeshStore(meshSettingsOf(objects));
  for (const object of objects) mesh.set(object);
  return sideOf(mesh);
}

describe("which Ingresses istiod serves (virtualservices.go shouldProcessIngressWithClass)", () => {
  const cases: readonly [title: string, mode: string | undefined, ingress: AnyObject, served: boolean][] = [
    ["its class", undefined, ingressOf(old, { ingressClassName: "istio" }), true],
    ["a class of others", undefined, ingressOf(old, { ingressClassName: "nginx" }), false],
    ["a class that does not exist", undefined, ingressOf(old, { ingressClassName: "none" }), false],
    ["no class", undefined, ingressOf(old), false],
    ["the annotation", undefined, ingressOf(annotated("istio")), true],
    [
      "the annotation of others before its class",
      "DEFAULT",
      ingressOf(annotated("nginx"), { ingressClassName: "istio" }),
      false,
    ],
    ["no class", "DEFAULT", ingressOf(old), true],
    ["a class that does not exist", "DEFAULT", ingressOf(old, { ingressClassName: "none" }), true],
    ["a class of others", "DEFAULT", ingressOf(old, { ingressClassName: "nginx" }), false],
    ["its class", "OFF", ingressOf(old, { ingressClassName: "istio" }), false],
    ["the annotation", "OFF", ingressOf(annotated("istio")), false],
    ["the annotation", "UNSPECIFIED", ingressOf(annotated("istio")), false],
    ["its class", "UNSPECIFIED", ingressOf(old, { ingressClassName: "istio" }), true],
  ];
  for (const [title, mode, ingress, served] of cases)
    test(`${title} in the mode ${mode ?? "that is not set"}: ${served}`, () => {
      const config = meshConfig(mode === undefined ? {} : { ingressControllerMode: mode });
      assert.equal(viewOf([config, istio, nginx, ingress]).get(isServedByIstio, ingress as never), served);
    });

  test("one that is about to be created gets the default class, and of two that differ it is not known which", () => {
    const config = meshConfig({ ingressControllerMode: "DEFAULT" });
    const ingress = ingressOf({});
    const served = (...classes: readonly AnyObject[]) =>
      viewOf([config, ingress, ...classes]).get(isServedByIstio, ingress);
    assert.equal(served(nginx, istio), true);
    const ofOthers = classOf("nginx", "k8s.io/ingress-nginx", true);
    assert.equal(served(ofOthers, istio), false);
    assert.equal(served(ofOthers, classOf("istio", "istio.io/ingress-controller", true)), undefined);
  });
});

test("longer paths come first, then exact ones, then older Ingresses, and paths without a port are left out", () => {
  const path = (path: string, pathType: string, port: object = { number: 80 }) => ({
    ...{ path, pathType },
    backend: { service: { name: "s", port } },
  });
  const of = (name: string, day: number, paths: readonly object[]) =>
    ingressOf(
      { name, creationTimestamp: `2026-01-0${day}T00:00:00Z` },
      { ingressClassName: "istio", rules: [{ host: "h.example.com", http: { paths } }] },
    );
  const younger = of("a", 2, [path("/a", "Prefix"), path("/long", "Exact"), path("/b/*", "ImplementationSpecific")]);
  const older = of("b", 1, [path("/a", "Exact"), path("/c", "Prefix"), path("/", "Prefix", { name: "none" })]);
  const found = viewOf([istio, younger, older]).get(ingressHost, "h.example.com");
  assert.equal(found?.first, older);
  assert.deepEqual(
    found?.routes.map((one) => [one.ingress.metadata.name, one.path]),
    [
      ["a", { exact: "/long" }],
      ["b", { exact: "/a" }],
      ["b", { prefix: "/c" }],
      ["a", { prefix: "/a" }],
      ["a", { prefix: "/b" }],
    ],
  );
});

test("a server of HTTPS needs a Secret, and there is always one of plain HTTP for every host", () => {
  const tls = [{ hosts: ["h.example.com"], secretName: "c" }, { secretName: "d" }, { hosts: ["i.example.com"] }];
  assert.deepEqual(serversOfIngress(ingressOf({}, { tls })), [
    { port: 443, hosts: ["h.example.com"], secret: "c", tls: 0 },
    { port: 443, hosts: ["*"], secret: "d", tls: 1 },
    { port: 80, hosts: ["*"] },
  ]);
});
