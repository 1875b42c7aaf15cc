import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Kind } from "../../../src/kube/kinds.ts";
import { type AnyObject, readObject } from "../../../src/kube/object.ts";
import {
  authorizationOf,
  hasDefaultDeny,
  isDeniedByDefault,
} from "../../../src/mesh/authorization/effective-authorization.ts";
import {
  attachesToGateway,
  attachesToLabels,
  type AuthorizationPolicy,
  isDryRun,
  isEnforced,
  scopeOf,
} from "../../../src/mesh/authorization/policies.ts";
import { defaultMeshSettings } from "../../../src/view/settings.ts";
import { MeshStore } from "../../../src/view/store.ts";
import type { Knowledge } from "../../../src/view/view.ts";

const policy = (spec: unknown = {}, metadata: object = {}): AuthorizationPolicy =>
  readObject("AuthorizationPolicy", { metadata: { namespace: "a", name: "p", ...metadata }, spec });
const named = (name: string, spec: unknown, namespace = "a") => policy(spec, { name, namespace });
const namespace = (name: string, labels: object = {}) => readObject("Namespace", { metadata: { name, labels } });
const deployment = (name: string, labels: object, spec: object = {}, inNamespace = "a") =>
  readObject("Workload", {
    kind: "Deployment",
    metadata: { namespace: inNamespace, name },
    spec: { template: { metadata: { labels }, spec } },
  });
const ambient = { "istio.io/dataplane-mode": "ambient" };

describe("which policies are enforced", () => {
  const annotated = (value: string) => policy({}, { annotations: { "istio.io/dry-run": value } });
  for (const value of ["1", "t", "T", "true", "TRUE", "True"])
    test(`dry run: ${value}`, () => assert.equal(isDryRun(annotated(value)), true));
  for (const value of ["0", "false", "tRUE", "yes", "on", "", " true", "TrUe"])
    test(`no dry run: "${value}"`, () => assert.equal(isDryRun(annotated(value)), false));

  const table: readonly [string, AuthorizationPolicy, boolean][] = [
    ["no action is ALLOW", policy({}), true],
    ["ALLOW", policy({ action: "ALLOW" }), true],
    ["DENY", policy({ action: "DENY", rules: [{}] }), true],
    ["AUDIT only logs", policy({ action: "AUDIT", rules: [{}] }), false],
    ["CUSTOM asks somebody else", policy({ action: "CUSTOM", rules: [{}] }), false],
    ["another revision", policy({}, { labels: { "istio.io/rev": "canary" } }), false],
    ["the revision that is there", policy({}, { labels: { "istio.io/rev": "default" } }), true],
    ["dry run", annotated("true"), false],
  ];
  for (const [title, object, expected] of table)
    test(title, () => assert.equal(isEnforced(object, defaultMeshSettings), expected));
});

describe("whether a policy is for a workload", () => {
  const labels = { app: "web", version: "v1" };
  const table: readonly [string, unknown, boolean, boolean][] = [
    ["no selector", {}, true, true],
    ["selector: null", { selector: null }, true, true],
    ["selector: {}", { selector: {} }, true, false],
    ["matchLabels: {}", { selector: { matchLabels: {} } }, true, true],
    ["all labels", { selector: { matchLabels: { app: "web", version: "v1" } } }, true, true],
    ["another value", { selector: { matchLabels: { app: "web", version: "v2" } } }, false, false],
    ["another label", { selector: { matchLabels: { team: "x" } } }, false, false],
    ["targetRefs", { targetRefs: [{ kind: "Service", name: "x" }] }, false, false],
    ["targetRef", { targetRef: { kind: "Service", name: "x" } }, false, false],
    ["targetRefs: []", { targetRefs: [] }, true, true],
  ];
  for (const [title, spec, atProxy, atZtunnel] of table)
    test(title, () => {
      const found = [
        attachesToLabels(policy(spec), labels, "proxy"),
        attachesToLabels(policy(spec), labels, "ztunnel"),
      ];
      assert.deepEqual(found, [atProxy, atZtunnel]);
    });
});

describe("whether a policy is for a gateway", () => {
  const group = "gateway.networking.k8s.io";
  const ref = (kind: string, name: string, rest: object = {}) => ({ targetRefs: [{ group, kind, name, ...rest }] });
  const table: readonly [string, AuthorizationPolicy, waypoint: boolean, ingress: boolean][] = [
    ["its name", policy(ref("Gateway", "w")), true, true],
    ["targetRef", policy({ targetRef: { group, kind: "Gateway", name: "w" } }), true, true],
    ["another name", policy(ref("Gateway", "x")), false, false],
    [
      "another group",
      policy({ targetRefs: [{ group: "networking.istio.io", kind: "Gateway", name: "w" }] }),
      false,
      false,
    ],
    ["no group", policy({ targetRefs: [{ kind: "Gateway", name: "w" }] }), false, false],
    ["from another namespace", named("p", ref("Gateway", "w"), "b"), false, false],
    ["into another namespace", policy(ref("Gateway", "w", { namespace: "b" })), false, false],
    ["its own namespace by name", policy(ref("Gateway", "w", { namespace: "a" })), true, true],
    [
      "the class, from the root namespace",
      named("p", ref("GatewayClass", "istio-waypoint"), "istio-system"),
      true,
      false,
    ],
    ["the class, from its own namespace", policy(ref("GatewayClass", "istio-waypoint")), false, false],
    ["another class", named("p", ref("GatewayClass", "istio"), "istio-system"), false, false],
    ["a Service", policy({ targetRefs: [{ kind: "Service", name: "w" }] }), false, false],
    ["no selector", policy({}), false, true],
    ["the whole mesh", named("p", {}, "istio-system"), false, true],
    ["its pods", policy({ selector: { matchLabels: { [`${group}/gateway-name`]: "w" } } }), false, true],
  ];
  for (const [title, object, waypoint, ingress] of table)
    test(title, () => {
      const gateway = { name: "w", namespace: "a" };
      const found = [true, false].map((isWaypoint) =>
        attachesToGateway(object, { ...gateway, isWaypoint }, defaultMeshSettings),
      );
      assert.deepEqual(found, [waypoint, ingress]);
    });
});

test("the scope of a policy does not depend on its rules, its name or the order of labels", () => {
  const a = policy({ selector: { matchLabels: { a: "1", b: "2" } } });
  const b = named("other", { selector: { matchLabels: { b: "2", a: "1" } }, rules: [{}] });
  assert.equal(scopeOf(a), scopeOf(b));
  const scopes = [
    {},
    { selector: {} },
    { selector: { matchLabels: {} } },
    { targetRefs: [{ kind: "Service", name: "x" }] },
  ];
  assert.equal(new Set(scopes.map((spec) => scopeOf(policy(spec)))).size, scopes.length);
});

function storeOf(objects: readonly AnyObject[], knowledge: ReadonlyMap<Kind, Knowledge> = new Map()): MeshStore {
  const store = new MeshStore(defaultMeshSettings, knowledge);
  for (const object of objects) store.set(object);
  return store;
}
const inA = (objects: readonly AnyObject[], labels: object = {}) => {
  const a = namespace("a", labels);
  return authorizationOf(a, storeOf([a, ...objects]));
};

describe("what a workload without a policy of its own gets", () => {
  const allowSome = { rules: [{ from: [{ source: { namespaces: ["b"] } }] }] };
  const table: readonly [string, AuthorizationPolicy[], object, default_: boolean, denied: boolean][] = [
    ["no policy", [], {}, false, false],
    ["deny-all", [policy({})], {}, true, true],
    ["rules: []", [policy({ rules: [] })], {}, true, true],
    ["deny-all of the mesh", [named("p", {}, "istio-system")], {}, true, true],
    ["deny-all of another namespace", [named("p", {}, "b")], {}, false, false],
    ["an ALLOW for some", [policy(allowSome)], {}, true, true],
    ["an ALLOW for everyone", [policy({ rules: [{}] })], {}, false, false],
    ["deny-all and an ALLOW for everyone", [policy({}), named("q", { rules: [{}] })], {}, true, false],
    ["the same, from the root namespace", [policy({}), named("q", { rules: [{}] }, "istio-system")], {}, true, false],
    ["a DENY of everything", [policy({ action: "DENY", rules: [{}] })], {}, true, true],
    ["which no ALLOW lifts", [policy({ action: "DENY", rules: [{}] }), named("q", { rules: [{}] })], {}, true, true],
    ["a DENY of something", [policy({ action: "DENY", ...allowSome })], {}, false, false],
    ["a selector", [policy({ selector: { matchLabels: { app: "x" } } })], {}, false, false],
    ["an empty selector", [policy({ selector: {} })], {}, true, true],
    ["an empty selector in ambient", [policy({ selector: {} })], ambient, false, false],
    [
      "an ALLOW for HTTP in ambient",
      [policy({ rules: [{ to: [{ operation: { paths: ["/*"] } }] }] })],
      ambient,
      true,
      true,
    ],
    [
      "a DENY for HTTP in ambient",
      [policy({ action: "DENY", rules: [{ to: [{ operation: { paths: ["*"] } }] }] })],
      ambient,
      false,
      false,
    ],
  ];
  for (const [title, policies, labels, isDefault, isDenied] of table)
    test(title, () => {
      const coverage = inA(policies, labels).ofLabels({});
      assert.deepEqual([hasDefaultDeny(coverage), isDeniedByDefault(coverage)], [isDefault, isDenied]);
    });
});

test("a sidecar among ambient workloads is enforced as a sidecar", () => {
  const authorization = inA([policy({ selector: {} })], ambient);
  const sidecar = deployment("web", { app: "web", "sidecar.istio.io/inject": "true" });
  const other = deployment("web", { app: "web" });
  assert.equal(isDeniedByDefault(authorization.ofWorkload(sidecar)), true);
  assert.equal(isDeniedByDefault(authorization.ofWorkload(other)), false);
});

test("policies on workloads mean no proxies, nothing outside the mesh and nothing that does not listen", () => {
  const group = "gateway.networking.k8s.io";
  const job = (name: string, containers: unknown[]) =>
    readObject("Workload", {
      kind: "Job",
      metadata: { namespace: "a", name },
      spec: { template: { spec: { containers } } },
    });
  const gateway = { apiVersion: `${group}/v1`, kind: "Gateway", name: "waypoint" };
  const waypoint = readObject("Workload", {
    kind: "Deployment",
    metadata: {
      namespace: "a",
      name: "waypoint",
      labels: { "gateway.istio.io/managed": "istio.io-mesh-controller" },
      ownerReferences: [gateway],
    },
    spec: { template: { metadata: { labels: { [`${group}/gateway-name`]: "waypoint" } } } },
  });
  const objects = [
    waypoint,
    deployment("web", { app: "web" }),
    deployment("agent", {}, { hostNetwork: true }),
    deployment("database", { "sidecar.istio.io/inject": "false" }),
    deployment("called-a-waypoint", { [`${group}/gateway-name`]: "waypoint" }),
    deployment("elsewhere", {}, {}, "b"),
    job("migrate", []),
    job("serve", [{ name: "c", ports: [{ containerPort: 80 }] }]),
  ];
  const names = (labels: object) =>
    inA(objects, labels)
      .workloads.map(({ metadata }) => metadata.name)
      .sort();
  assert.deepEqual(names({ "istio-injection": "enabled" }), ["called-a-waypoint", "serve", "web"]);
  // Without injection, ambient takes what only refuses the sidecar.
  assert.deepEqual(names(ambient), ["called-a-waypoint", "database", "serve", "web"]);
});

describe("guarded one by one", () => {
  const web = deployment("web", { app: "web" });
  const cart = deployment("cart", { app: "cart" });
  const forApp = (app: string, rest: object = {}) => named(app, { selector: { matchLabels: { app } }, ...rest });
  const table: readonly [string, AnyObject[], Knowledge, boolean][] = [
    ["every workload by its own", [web, cart, forApp("web"), forApp("cart")], "complete", true],
    ["a workload without", [web, cart, deployment("x", {}), forApp("web"), forApp("cart")], "complete", false],
    ["one policy", [web, forApp("web")], "complete", false],
    ["not all workloads are known", [web, cart, forApp("web"), forApp("cart")], "partial", false],
    ["no workload", [forApp("web"), forApp("cart")], "complete", false],
    ["one allows everyone", [web, cart, forApp("web"), forApp("cart", { rules: [{}] })], "complete", false],
    [
      "by one of the root namespace",
      [web, cart, forApp("web"), named("r", { selector: {} }, "istio-system")],
      "complete",
      false,
    ],
  ];
  for (const [title, objects, knowledge, expected] of table)
    test(title, () => {
      const a = namespace("a");
      const store = storeOf([a, ...objects], new Map([["Workload", knowledge]]));
      assert.equal(authorizationOf(a, store).isGuardedOneByOne, expected);
    });
});

test("a Service at its waypoint is guarded by its own policies and by those of the waypoint", () => {
  const waypoint = readObject("KubernetesGateway", {
    kind: "Gateway",
    metadata: { namespace: "a", name: "w" },
    spec: { gatewayClassName: "istio-waypoint" },
  });
  const forService = named("s", { targetRefs: [{ kind: "Service", name: "api" }] });
  const forWaypoint = named("w", {
    targetRefs: [{ group: "gateway.networking.k8s.io", kind: "Gateway", name: "w" }],
  });
  const isDenied = (policies: AnyObject[], service: string) =>
    isDeniedByDefault(inA([waypoint, ...policies]).ofService(service));
  assert.equal(isDenied([], "api"), false);
  assert.equal(isDenied([policy({})], "api"), false);
  assert.equal(isDenied([forService], "api"), true);
  assert.equal(isDenied([forService], "web"), false);
  assert.equal(isDenied([forWaypoint], "web"), true);
});

test("the policies of a namespace are its own and the mesh-wide ones, wherever the root namespace is", () => {
  const policies = ["a", "b", "istio-system"].map((where) => named("p", {}, where));
  const found = (rootNamespace: string) => {
    const store = new MeshStore({ ...defaultMeshSettings, rootNamespace });
    for (const each of policies) store.set(each);
    return authorizationOf(namespace("a"), store)
      .policies.map(({ metadata }) => metadata.namespace)
      .sort();
  };
  assert.deepEqual(found("istio-system"), ["a", "istio-system"]);
  assert.deepEqual(found("b"), ["a", "b"]);
  assert.deepEqual(found("a"), ["a"]);
});
