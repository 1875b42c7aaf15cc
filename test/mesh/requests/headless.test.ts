import assert from "node:assert/strict";
import { test } from "node:test";
import { asked, meshOf } from "./asked.ts";
import { authorizationPolicy, deployment, namespace, service, waypoint } from "./meshes.ts";

// ztunnel looks up the address that a client connects to (src/proxy/outbound.rs build_request). The DNS gives the addresses of the
// pods for a headless Service, so that only waypoints for workloads get its requests.

const clients = namespace("web", "ambient") + deployment("web", "client");
const shop =
  clients +
  `---\n${namespace("shop", "ambient", "istio.io/use-waypoint: w")}` +
  deployment("shop", "x") +
  service("shop", "x");
const headless = (yaml: string) =>
  yaml.replace("spec: { selector: { app: x }", "spec: { clusterIP: None, selector: { app: x }");
const forAll = (yaml: string) =>
  yaml.replace("name: w, namespace: shop", "name: w, namespace: shop, labels: { istio.io/waypoint-for: all }");
const denies = (kind: string, name: string, group = "") =>
  authorizationPolicy(
    `shop/of-${name}`,
    `action: DENY\ntargetRefs: [{ group: "${group}", kind: ${kind}, name: ${name} }]\nrules: [{}]`,
  );
const ofService = denies("Service", "x");
const ofWaypoint = denies("Gateway", "w", "gateway.networking.k8s.io");

const outcomes = (yaml: string) =>
  asked(meshOf(yaml), "web/client", "shop/x:80").map(({ result, transport }) => [
    result,
    ...transport.map(({ to }) => to),
  ]);

test("requests to a headless Service pass the waypoint of Services, and its policies", () => {
  const all = shop + waypoint("shop", "w") + ofService + ofWaypoint;
  assert.ok(outcomes(all).every(([result]) => result === "denied"));
  assert.deepEqual(outcomes(headless(all)), [["accepted", "workload"]]);
});

test("a waypoint for workloads gets them, without the policies that target the Service", () => {
  const both = forAll(headless(shop + waypoint("shop", "w")));
  assert.deepEqual(outcomes(both + ofService), [["accepted", "waypoint", "workload"]]);
  assert.deepEqual(outcomes(both + ofWaypoint), [["denied", "waypoint"]]);
});
