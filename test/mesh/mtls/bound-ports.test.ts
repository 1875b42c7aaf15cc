import assert from "node:assert/strict";
import { test } from "node:test";
import { mtlsOf } from "../../../src/mesh/mtls/effective-mtls.ts";
import { mtlsOfWorkload } from "../../../src/mesh/mtls/workload-mtls.ts";
import { namespaceIn } from "../../../src/mesh/membership/namespaces.ts";
import { boundPorts } from "../../../src/mesh/traffic/bound-ports.ts";
import { meshOf } from "../requests/asked.ts";
import { namespace, peerAuthentication, sidecar } from "../requests/meshes.ts";

// What `explain` shows and rules on annotations use.

const excluding = (ports: string) => `---
apiVersion: apps/v1
kind: Deployment
metadata: { name: x, namespace: shop }
spec: { template: { metadata: { labels: { app: x }, annotations: { traffic.sidecar.istio.io/excludeInboundPorts: "${ports}" } } } }
`;
const listening = (name: string, selector: string, listener: string) =>
  sidecar(name, `${selector}ingress: [{ port: { number: 8080, protocol: HTTP, name: h }, ${listener} }]`);

function modesAt(ports: readonly number[], ...sidecars: readonly string[]) {
  const mesh = meshOf(
    namespace("shop", "sidecar") +
      excluding("8080,8081") +
      peerAuthentication("shop/strict", "STRICT") +
      sidecars.join(""),
  );
  const home = namespaceIn(mesh, "shop");
  const [workload] = [...mesh.all("Workload")];
  assert.ok(workload);
  const of = mtlsOfWorkload(workload, home, mtlsOf(home, mesh), {
    settings: mesh.settings,
    bound: boundPorts(workload, mesh),
  });
  return ports.map((port) => of.at(port).mode?.mode ?? "past");
}

test("a port at which the sidecar listens itself has its mode, whatever annotations leave out", () => {
  const none = "captureMode: NONE";
  assert.deepEqual(modesAt([8080, 8081]), ["past", "past"]);
  assert.deepEqual(modesAt([8080, 8081], listening("shop/s", "", none)), ["STRICT", "past"]);
  assert.deepEqual(modesAt([8080], listening("shop/s", "", "captureMode: IPTABLES")), ["past"]);
  assert.deepEqual(modesAt([8080], listening("istio-system/s", "", none)), ["STRICT"]);
  const other = listening("shop/s", "workloadSelector: { labels: { app: y } }\n", none);
  assert.deepEqual(modesAt([8080], other), ["past"]);
  const own = listening("shop/t", "workloadSelector: { labels: { app: x } }\n", "captureMode: IPTABLES");
  assert.deepEqual(modesAt([8080], listening("shop/s", "", none), own), ["past"]);
});
