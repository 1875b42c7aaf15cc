import assert from "node:assert/strict";
import { test } from "node:test";
import type { Decision } from "../../src/admission/review.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import { rules } from "../../src/rules/index.ts";
import { Cluster } from "./cluster.ts";
import { objectsOf, type Step } from "./ways.ts";

const { policies } = loadPolicies([], rules, "baseline");

const denyAll: Step = { "create AuthorizationPolicy shop/deny-all": { spec: {} } };
const strict: Step = { "create PeerAuthentication shop/default": { spec: { mtls: { mode: "STRICT" } } } };
const namespace = (labels: object): Step => ({
  "create Namespace shop": { metadata: { labels: { "meshward.io/protected": "true", ...labels } } },
});
const deployment = (name: string, annotations: object, containers: readonly object[]): Step => ({
  [`create Deployment shop/${name}`]: {
    spec: {
      selector: { matchLabels: { app: name } },
      template: { metadata: { labels: { app: name, tier: "front" }, annotations }, spec: { containers } },
    },
  },
});
const gateway = deployment("gateway", { "inject.istio.io/templates": "gateway" }, [
  { name: "istio-proxy", image: "auto", ports: [{ containerPort: 8443 }] },
]);
const app = (name: string): Step => deployment(name, {}, [{ name: "app", image: "app" }]);
const opened = (spec: object): Step => ({
  "create AuthorizationPolicy shop/public": {
    spec: { ...spec, rules: [{ to: [{ operation: { hosts: ["shop.example.com"] } }] }] },
  },
});

/** The decision about the last step; all others are allowed. */
function last(steps: readonly Step[]): Decision {
  const cluster = new Cluster(objectsOf("sidecars"), policies);
  const decisions = steps.map((step) => cluster.request(step));
  for (const [i, { allowed, message }] of decisions.slice(0, -1).entries())
    assert.ok(allowed, `${JSON.stringify(steps[i])}: ${message ?? ""}`);
  const decision = decisions.at(-1);
  assert.ok(decision !== undefined);
  return decision;
}

const injected = namespace({ "istio-injection": "enabled" });
const ofFront = { selector: { matchLabels: { tier: "front" } } };

test("a gateway that the injector configures may serve clients from outside the mesh", () => {
  const { allowed, message, warnings } = last([injected, strict, denyAll, gateway, opened(ofFront)]);
  assert.ok(allowed, message);
  assert.match(warnings.join("\n"), /\[namespace-authorization-opened\].*Deployment shop\/gateway/);
});

test("a workload beside the gateway may not, in either order", () => {
  for (const steps of [
    [gateway, app("api")],
    [app("api"), gateway],
  ]) {
    const { allowed, message } = last([injected, strict, denyAll, ...steps, opened(ofFront)]);
    assert.ok(!allowed);
    assert.match(message ?? "", /Every workload of the mesh may send requests to Deployment shop\/api/);
  }
});

// What `istioctl install` makes: the injector has nothing to do with it.
const ownProxy = deployment("gateway", { "sidecar.istio.io/inject": "false" }, [
  { name: "istio-proxy", image: "proxyv2", args: ["proxy", "router"] },
]);
const everybody = { rules: [{}] };
for (const [name, spec] of Object.entries({ "their labels": ofFront, "the whole namespace": {} })) {
  const policy: Step = { "create AuthorizationPolicy shop/public": { spec: { ...spec, ...everybody } } };
  test(`a policy for ${name} may open gateways, if there are no other workloads`, () => {
    for (const one of [gateway, ownProxy]) {
      const { allowed, message, warnings } = last([injected, strict, denyAll, one, policy]);
      assert.ok(allowed, message);
      assert.match(warnings.join("\n"), /\[authorization-policy-allows-everyone\].*it cancels the default deny/);
    }
  });
  test(`a policy for ${name} may not open gateways with other workloads, nor workloads that do not exist`, () => {
    for (const steps of [[gateway, app("api")], [ownProxy, app("api")], [app("api")], []])
      assert.ok(!last([injected, strict, denyAll, ...steps, policy]).allowed, JSON.stringify(steps));
  });
}

test("a workload that ztunnel captures is no gateway, whatever its annotation says", () => {
  const ambient = namespace({ "istio.io/dataplane-mode": "ambient" });
  const steps = [ambient, strict, denyAll, gateway];
  const rules = [{ to: [{ operation: { ports: ["8443"] } }] }];
  const { allowed } = last([...steps, { "create AuthorizationPolicy shop/public": { spec: { ...ofFront, rules } } }]);
  assert.ok(!allowed);
});

test("the state of a namespace is told once, however many workloads are applied", () => {
  const cluster = new Cluster(objectsOf("sidecars"), policies);
  const steps = [injected, ...Array.from({ length: 10 }, (_, i) => app(`app-${i}`))];
  const decisions = steps.map((step) => cluster.request(step));
  assert.ok(decisions.every(({ allowed }) => allowed));
  // kubectl drops a line that it has printed before.
  const lines = new Set(decisions.flatMap(({ warnings }) => warnings));
  assert.ok(lines.size > 0 && lines.size <= 6, [...lines].join("\n"));
  assert.ok(decisions.every(({ warnings }) => warnings.length > 0));
});

// The API server asks after the injector, also about Pods that an operator or kubectl makes itself.
for (const proxyIn of ["containers", "initContainers"] as const)
  test(`a Pod that was injected is allowed by the profile strict, with the proxy in ${proxyIn}`, () => {
    const strictPolicies = loadPolicies([], rules, "strict").policies;
    const cluster = new Cluster(objectsOf("sidecars"), strictPolicies);
    const proxy = { name: "istio-proxy", image: "proxyv2", args: ["proxy"], securityContext: { runAsUser: 1337 } };
    const init = {
      name: "istio-init",
      image: "proxyv2",
      args: ["istio-iptables"],
      securityContext: { runAsUser: 0, capabilities: { add: ["NET_ADMIN", "NET_RAW"] } },
    };
    const status = { "sidecar.istio.io/status": '{"initContainers":["istio-init"],"containers":["istio-proxy"]}' };
    const containers = [{ name: "kafka", image: "kafka" }, ...(proxyIn === "containers" ? [proxy] : [])];
    const initContainers = [init, ...(proxyIn === "initContainers" ? [proxy] : [])];
    const metadata = { labels: { app: "kafka" }, annotations: status };
    const made = cluster.request({ "create Pod payments/kafka-0": { metadata, spec: { initContainers, containers } } });
    assert.ok(made.allowed, made.message);
    const labelled = cluster.request({ "patch Pod payments/kafka-0": { metadata: { labels: { role: "leader" } } } });
    assert.ok(labelled.allowed, labelled.message);
  });

test("with the profile strict, a policy gets another name, and a route a delegate", () => {
  const cluster = new Cluster(objectsOf("sidecars"), loadPolicies([], rules, "strict").policies);
  const route = { route: [{ destination: { host: "api" } }] };
  const steps: readonly Step[] = [
    { "create PeerAuthentication payments/strict": { spec: { mtls: { mode: "STRICT" } } } },
    { "delete PeerAuthentication payments/default": null },
    { "create VirtualService payments/routes": { spec: { http: [route] } } },
    { "create VirtualService payments/api": { spec: { hosts: ["a.example.com"], gateways: ["edge"], http: [route] } } },
    { "patch VirtualService payments/api": { spec: { http: [{ delegate: { name: "routes" } }] } } },
  ];
  for (const step of steps) {
    const { allowed, message } = cluster.request(step);
    assert.ok(allowed, `${JSON.stringify(step)}: ${message ?? ""}`);
  }
  const { allowed } = cluster.request({ "create PeerAuthentication payments/other": { spec: {} } });
  assert.ok(!allowed, "a second policy that says something else is denied");
});

test("a policy that allows everyone may be narrowed to some workloads, and not be moved to others", () => {
  const open: Step = { "create AuthorizationPolicy shop/public": { spec: everybody } };
  const only = (name: string): Step => ({
    "patch AuthorizationPolicy shop/public": { spec: { selector: { matchLabels: { app: name } } } },
  });
  const steps = [injected, strict, app("api"), app("web"), open, denyAll, only("api")];
  const narrowed = last(steps);
  assert.ok(narrowed.allowed, narrowed.message);
  assert.match(narrowed.warnings.join("\n"), /\[authorization-policy-allows-everyone\]/);
  const moved = last([...steps, only("web")]);
  assert.ok(!moved.allowed);
  assert.match(moved.message ?? "", /\[authorization-policy-allows-everyone\]/);
  const everywhere = last([...steps, { "patch AuthorizationPolicy shop/public": { spec: { selector: null } } }]);
  assert.ok(!everywhere.allowed);
});

test("a port of the sidecar is a port of the Service at a waypoint, and may not be opened there in silence", () => {
  const metadata = { labels: { "istio.io/use-waypoint": "waypoint" } };
  const waypoint: Step = {
    "create Gateway shop/waypoint": {
      spec: { gatewayClassName: "istio-waypoint", listeners: [{ name: "mesh", port: 15008, protocol: "HBONE" }] },
    },
  };
  const service: Step = {
    "create Service shop/api": {
      metadata,
      spec: { selector: { app: "api" }, ports: [{ name: "http", port: 15021, targetPort: 8080 }] },
    },
  };
  const targetRefs = [{ group: "", kind: "Service", name: "api" }];
  const rulesFor = (port: string) => [
    { from: [{ source: { namespaces: ["web"] } }], to: [{ operation: { ports: [port] } }] },
  ];
  const policy = (port: string): Step => ({
    "create AuthorizationPolicy shop/web": { spec: { targetRefs, rules: rulesFor(port) } },
  });
  const none: Step = { "create AuthorizationPolicy shop/none": { spec: { targetRefs } } };
  const ambient = namespace({ "istio.io/dataplane-mode": "ambient" });
  for (const port of ["15021", "8080"]) {
    const { warnings } = last([ambient, strict, denyAll, waypoint, app("api"), service, none, policy(port)]);
    assert.match(warnings.join("\n"), /\[namespace-authorization-widened\].*Service api, at its waypoint/, port);
  }
});
