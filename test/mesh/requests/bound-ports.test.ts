import assert from "node:assert/strict";
import { test } from "node:test";
import { asked, meshOf } from "./asked.ts";
import { namespace, peerAuthentication, service, sidecar } from "./meshes.ts";

// What istiod builds for these Sidecars was compared with its own generator (listener_inbound.go buildInboundListeners).

const pods = (annotations: string) => `---
apiVersion: apps/v1
kind: Deployment
metadata: { name: x, namespace: shop }
spec:
  template:
    metadata: { labels: { app: x }, annotations: { ${annotations} } }
    spec: { containers: [{ name: main, ports: [{ containerPort: 8080 }] }] }
`;
const none = "sidecar.istio.io/interceptionMode: NONE";
const excluded = 'traffic.sidecar.istio.io/excludeInboundPorts: "8080"';

function outcome(annotations: string, listener: string): string | undefined {
  const ingress =
    listener === ""
      ? ""
      : sidecar("shop/s", `ingress: [{ port: { number: 8080, protocol: HTTP, name: h }, ${listener} }]`);
  const strict = peerAuthentication("shop/strict", "STRICT");
  const all = namespace("shop", "sidecar") + pods(annotations) + service("shop", "x") + strict + ingress;
  const [first] = asked(meshOf(all), "outside", "shop/x:80");
  return first?.result;
}

test("where the proxy listens itself, its mode of mTLS counts though nothing is redirected", () => {
  const endpoint = "defaultEndpoint: '127.0.0.1:9090'";
  assert.equal(outcome(none, ""), "accepted");
  assert.equal(outcome(none, endpoint), "refused");
  assert.equal(outcome(none, `captureMode: IPTABLES, ${endpoint}`), "accepted");
  assert.equal(outcome(excluded, endpoint), "accepted");
  assert.equal(outcome(excluded, `captureMode: NONE, ${endpoint}`), "refused");
  assert.equal(outcome(excluded, `captureMode: NONE, bind: 127.0.0.1, ${endpoint}`), "accepted");
});

test("a connection that is redirected to such a listener is met twice", () => {
  assert.equal(outcome("", "captureMode: NONE, defaultEndpoint: '127.0.0.1:9090'"), "undecided");
});
