import assert from "node:assert/strict";
import test from "node:test";
import type { Requester } from "../../src/policy/match.ts";
import { exception, policiesOf, policy } from "./sources.ts";

const person: Requester = { operation: "CREATE", user: "ann", groups: ["dev"], fieldManager: "kubectl" };

test("protected namespaces of all documents add up: by name, by glob, by all labels of one selector", () => {
  const policies = policiesOf(
    policy("a", "{protectedNamespaces: {names: [payments, 'bank-*'], labels: {tier: gold, eu: 'yes'}}}") +
      policy("b", "{protectedNamespaces: {names: [ledger]}}"),
  );
  for (const name of ["payments", "bank-eu", "ledger"]) assert.equal(policies.protectsByName(name), true, name);
  for (const name of ["payments-eu", "bank", ""]) assert.equal(policies.protectsByName(name), false, name);
  assert.equal(policies.protectsByLabels({ tier: "gold", eu: "yes", other: "x" }), true);
  assert.equal(policies.protectsByLabels({ tier: "gold" }), false);
  assert.equal(policies.protectsByLabels({ "meshward.io/protected": "true" }), true);
  assert.equal(policies.protectsByLabels({ "meshward.io/protected": "false" }), false);
});

const writers: readonly [user: string, fieldManager: string, isReconciler: boolean][] = [
  ["system:serviceaccount:flux-system:kustomize-controller", "kustomize-controller", true],
  ["system:serviceaccount:team-a:deployer", "kustomize-controller", true],
  ["system:serviceaccount:argocd:argocd-application-controller", "", true],
  ["system:serviceaccount:openshift-gitops:openshift-gitops-argocd-application-controller", "", true],
  ["ann", "helm", true],
  ["system:serviceaccount:argo-rollouts:argo-rollouts", "rollouts-controller", true],
  ["system:serviceaccount:flagger-system:flagger", "", true],
  ["system:serviceaccount:knative-serving:controller", "controller", true],
  ["ann", "kubectl-client-side-apply", false],
  ["system:serviceaccount:ci:deployer", "kubectl", false],
  ["ann", "", false],
];

for (const [user, fieldManager, expected] of writers) {
  test(`${user} with field manager "${fieldManager}" is ${expected ? "a" : "no"} reconciler in baseline`, () => {
    assert.equal(policiesOf("").isReconciler({ user, fieldManager }), expected);
  });
}

test("reconcilers are added to the profile's, and a user's mode wins over it", () => {
  const policies = policiesOf(policy("a", "{reconcilers: {users: [robot], mode: deny}}"));
  assert.equal(policies.reconcilerMode, "deny");
  assert.equal(policies.isReconciler({ user: "robot", fieldManager: "" }), true);
  assert.equal(policies.isReconciler({ user: "ann", fieldManager: "helm" }), true);
  assert.equal(policiesOf("").reconcilerMode, "warn");
});

test("nobody may break glass until a policy names a group", () => {
  assert.equal(policiesOf("").mayBreakGlass(person), false);
  const policies = policiesOf(policy("a", "{breakGlass: {groups: [on-call]}}"));
  assert.equal(policies.mayBreakGlass({ groups: ["dev", "on-call"] }), true);
  assert.equal(policies.mayBreakGlass(person), false);
});

const excepted =
  "kube-system kube-public istio-system istio-ingress meshward-system cert-manager gatekeeper-system kyverno opa argocd argo-rollouts flux-system monitoring observability prometheus grafana-agent";
for (const name of excepted.split(" ")) {
  test(`baseline does not enroll ${name}`, () => {
    const { mode, exceptedBy } = policiesOf("").enrollmentOf({ name, labels: {} }, person);
    assert.equal(mode, "off");
    assert.notEqual(exceptedBy, undefined);
  });
}

test("baseline enrolls other namespaces on creation", () => {
  assert.deepEqual(policiesOf("").enrollmentOf({ name: "payments", labels: {} }, person), {
    mode: "create",
    policy: "profile baseline",
  });
});

test("an except list is added to; mode and waypoint are from the most specific document that has them", () => {
  const policies = policiesOf(
    policy("a", "{mutations: {namespaceAmbientEnrollment: {except: [vault]}}}") +
      policy(
        "b",
        "{match: {namespaces: {names: ['shop-*']}}, mutations: {namespaceAmbientEnrollment: {mode: reconcile, useWaypoint: shop}}}",
      ) +
      policy(
        "c",
        "{match: {namespaces: {labels: {mesh: none}}}, mutations: {namespaceAmbientEnrollment: {mode: 'off'}}}",
      ),
  );
  const of = (name: string, labels = {}) => policies.enrollmentOf({ name, labels }, person);
  assert.deepEqual(of("vault"), { mode: "off", exceptedBy: "vault", policy: "profile baseline" });
  assert.equal(of("kube-system").exceptedBy, "kube-*");
  assert.deepEqual(of("shop-eu"), { mode: "reconcile", useWaypoint: "shop", policy: "MeshwardPolicy b" });
  assert.deepEqual(of("payments", { mesh: "none" }), { mode: "off", policy: "MeshwardPolicy c" });
  assert.deepEqual(of("shop-eu", { mesh: "none" }), {
    mode: "reconcile",
    useWaypoint: "shop",
    policy: "MeshwardPolicy b",
  });
});

test("an exception accepts its rules on its objects in its own namespace, until it expires", () => {
  const policies = policiesOf(
    exception(
      "legacy",
      "payments",
      "{rules: [peer-authentication-permissive], match: {objects: {names: [legacy-*], labels: {app: old}}}, reason: why, owner: who, expiresAt: '2027-01-31T12:00:00+01:00'}",
    ),
  );
  const at = (
    time: string,
    changed: { namespace?: string; name?: string; labels?: object } = {},
    rule = "peer-authentication-permissive",
  ) => {
    const object = {
      kind: "PeerAuthentication",
      name: "legacy-client",
      labels: { app: "old" },
      ...(changed as object),
    };
    const namespace = changed.namespace ?? "payments";
    return policies.exceptionFor({ rule, namespace, object, fingerprint: () => "k" }, {}, new Date(time))?.name;
  };
  const before = "2027-01-31T10:59:59Z";
  assert.equal(at(before), "legacy");
  assert.equal(at("2027-01-31T11:00:00Z"), undefined);
  assert.equal(at(before, { namespace: "orders" }), undefined);
  assert.equal(at(before, { name: "client" }), undefined);
  assert.equal(at(before, { labels: {} }), undefined);
  assert.equal(at(before, {}, "virtual-service-weights-not-100"), undefined);
});
