import assert from "node:assert/strict";
import test from "node:test";
import { judge } from "../../src/engine/evaluate.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { authorizationPolicyNotEnforcedL7 } from "../../src/rules/authorization-policy/not-enforced-l7.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";

// Whether a DENY policy that stays behind at ztunnel is missed there depends on who gets past the waypoint, and on what that denies.

const inBank = (apiVersion: string, kind: string, name: string, body: object): AnyObject =>
  readAny({ apiVersion, kind, metadata: { namespace: "bank", name }, ...body }) as AnyObject;
const policy = (name: string, spec: object) => inBank("security.istio.io/v1", "AuthorizationPolicy", name, { spec });
const workload = (name: string) =>
  inBank("apps/v1", "Deployment", name, { spec: { template: { metadata: { labels: { app: name } } } } });
const service = (name: string, app = name) =>
  inBank("v1", "Service", name, { spec: { selector: { app }, ports: [{ name: "http", port: 80 }] } });
const namespace = (labels: object) =>
  readAny({ apiVersion: "v1", kind: "Namespace", metadata: { name: "bank", labels } }) as AnyObject;

const [sidecars, ambient] = [
  namespace({ "istio-injection": "enabled" }),
  namespace({ "istio.io/dataplane-mode": "ambient", "istio.io/use-waypoint": "waypoint" }),
];
const noAdmin = { action: "DENY", rules: [{ to: [{ operation: { paths: ["/admin*"] } }] }] };
const from = (...principals: string[]) => ({ rules: [{ from: [{ source: { principals } }] }] });
const atGateway = { targetRefs: [{ group: "gateway.networking.k8s.io", kind: "Gateway", name: "waypoint" }] };
const atService = (name: string) => ({ targetRefs: [{ kind: "Service", name }] });
const onlyWaypoint = policy("only-waypoint", from("cluster.local/ns/bank/sa/waypoint"));

const mesh = [
  inBank("gateway.networking.k8s.io/v1", "Gateway", "waypoint", { spec: { gatewayClassName: "istio-waypoint" } }),
  workload("ledger"),
  service("ledger"),
];

/** The mode for the policy `left`, where its namespace moves to ambient. */
function judged(left: object, ...others: readonly AnyObject[]): string {
  const store = new MeshStore(defaultMeshSettings);
  for (const object of [...mesh, sidecars, policy("left", left), ...others]) store.set(object);
  const { findings, errors } = judge([authorizationPolicyNotEnforcedL7], store, [{ old: sidecars, object: ambient }]);
  assert.deepEqual(errors, []);
  return findings
    .filter(({ subject, introduced }) => introduced && subject.metadata.name === "left")
    .map(({ onlyWarns }) => (onlyWarns === undefined ? "deny" : "warn"))
    .join();
}

test("ztunnel lets in only the waypoint, which denies the same: a warning", () => {
  assert.equal(judged(noAdmin, onlyWaypoint, policy("moved", { ...atGateway, ...noAdmin })), "warn");
  assert.equal(judged(noAdmin, onlyWaypoint, policy("moved", { ...atService("ledger"), ...noAdmin })), "warn");
  const ofLedger = { ...noAdmin, selector: { matchLabels: { app: "ledger" } } };
  assert.equal(judged(ofLedger, onlyWaypoint, policy("moved", { ...atService("ledger"), ...noAdmin })), "warn");
});

test("the waypoint refuses the same in another way: a warning", () => {
  const wider = { action: "DENY", rules: [{ to: [{ operation: { paths: ["/a*"] } }] }] };
  assert.equal(judged(noAdmin, onlyWaypoint, policy("wider", { ...atGateway, ...wider })), "warn");
  const noOthers = { rules: [{ to: [{ operation: { paths: ["/v1/*"] } }] }] };
  assert.equal(judged(noAdmin, onlyWaypoint, policy("allow", { ...atGateway, ...noOthers })), "warn");
});

test("the waypoint denies less: denied", () => {
  assert.equal(judged(noAdmin, onlyWaypoint), "deny");
  const narrower = { action: "DENY", rules: [{ to: [{ operation: { paths: ["/admin"] } }] }] };
  assert.equal(judged(noAdmin, onlyWaypoint, policy("narrower", { ...atGateway, ...narrower })), "deny");
  const dryRun = readAny({
    apiVersion: "security.istio.io/v1",
    kind: "AuthorizationPolicy",
    metadata: { namespace: "bank", name: "dry", annotations: { "istio.io/dry-run": "true" } },
    spec: { ...atGateway, ...noAdmin },
  }) as AnyObject;
  assert.equal(judged(noAdmin, onlyWaypoint, dryRun), "deny");
});

test("some requests get to the pods without it: denied", () => {
  const moved = policy("moved", { ...atService("ledger"), ...noAdmin });
  assert.equal(judged(noAdmin, moved), "deny", "ztunnel lets everybody in");
  assert.equal(judged(noAdmin, moved, onlyWaypoint, policy("web", from("cluster.local/ns/web/sa/web"))), "deny");
  assert.equal(judged(noAdmin, moved, onlyWaypoint, service("other", "ledger")), "deny", "another Service of the pods");
  assert.equal(judged(noAdmin, moved, onlyWaypoint, workload("teller"), service("teller")), "deny", "other pods");
  const none = readAny({
    apiVersion: "v1",
    kind: "Service",
    metadata: { namespace: "bank", name: "ledger", labels: { "istio.io/use-waypoint": "none" } },
    spec: { selector: { app: "ledger" }, ports: [{ name: "http", port: 80 }] },
  }) as AnyObject;
  assert.equal(judged(noAdmin, moved, onlyWaypoint, none), "deny", "the Service has no waypoint");
});
