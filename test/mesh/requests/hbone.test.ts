import assert from "node:assert/strict";
import { test } from "node:test";
import type { Mesh } from "../../../src/view/view.ts";
import { asked, meshOf } from "./asked.ts";
import {
  authorizationPolicy,
  deployment,
  namespace,
  peerAuthentication,
  service,
  virtualService,
  waypoint,
} from "./meshes.ts";

// Sidecars accept HBONE beside mTLS where the mesh is installed for ambient, and ztunnel and waypoints send it to them (Istio
// pilot/pkg/serviceregistry/ambient/workloads.go setTunnelProtocol). The answers are those of istiod's own configuration of such meshes.

/** What becomes of the requests, and how they are sent at each connection. */
const answers = (mesh: Mesh, from: string, to: string): readonly string[] => [
  ...new Set(
    asked(mesh, from, to).map(({ result, transport }) => [result, ...transport.map((one) => one.result)].join(" ")),
  ),
];

const excluded = "annotations: { traffic.sidecar.istio.io/excludeInboundPorts: '8080' }, labels";

test("HBONE reaches a sidecar whatever its mode is, and although the port bypasses it", () => {
  for (const [mode, pod] of [
    ["DISABLE", "labels"],
    ["STRICT", "labels"],
    ["DISABLE", excluded],
    ["STRICT", excluded],
  ] as const) {
    const mesh = meshOf(
      namespace("web", "ambient") +
        deployment("web", "client") +
        `---\n${namespace("shop", "sidecar")}` +
        deployment("shop", "x").replace("metadata: { labels", `metadata: { ${pod}`) +
        service("shop", "x") +
        peerAuthentication("shop/default", mode) +
        authorizationPolicy("shop/callers", "rules: [{ from: [{ source: { namespaces: [web] } }] }]"),
    );
    assert.deepEqual(answers(mesh, "web/client", "shop/x:80"), ["accepted mtls"]);
    const plaintext =
      pod === excluded ? "accepted plaintext" : mode === "STRICT" ? "refused refused" : "denied plaintext";
    assert.deepEqual(answers(mesh, "outside", "shop/x:80"), [plaintext]);
  }
});

test("a waypoint sends HBONE to the sidecars of what it serves, and as other proxies to those of its other routes", () => {
  const mesh = meshOf(
    namespace("web", "ambient") +
      deployment("web", "client") +
      `---\n${namespace("shop", "sidecar", "istio.io/use-waypoint: wp")}` +
      waypoint("shop", "wp") +
      ["x", "y"].map((name) => deployment("shop", name) + service("shop", name)).join("") +
      `---\n${namespace("other", "sidecar")}` +
      deployment("other", "z") +
      service("other", "z") +
      peerAuthentication("istio-system/default", "DISABLE") +
      virtualService("shop/y", "hosts: [y]\nhttp: [{ route: [{ destination: { host: z.other.svc.cluster.local } }] }]"),
  );
  assert.deepEqual(answers(mesh, "web/client", "shop/x:80"), ["accepted mtls mtls"]);
  assert.deepEqual(answers(mesh, "web/client", "shop/y:80"), ["accepted mtls plaintext"]);
});
