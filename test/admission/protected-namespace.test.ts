import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createGate } from "../../src/admission/gate.ts";
import { readAny } from "../../src/kube/object.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import { rules } from "../../src/rules/index.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { type Raw, type RequestParts, reviewed } from "./requests.ts";

// Everyday changes of a protected namespace, by a person where nothing else is said: what stops them, and every other
// word that is said about them.

const security = "security.istio.io/v1";
const namespace: Raw = {
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name: "payments", labels: { "meshward.io/protected": "true", "istio.io/dataplane-mode": "ambient" } },
};
/** Where the policies' callers are. */
const callers: Raw = { apiVersion: "v1", kind: "Namespace", metadata: { name: "orders" } };
const deployment = (name: string, app = name): Raw => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name, namespace: "payments" },
  spec: { template: { metadata: { labels: { app } } } },
});
const authorization = (name: string, spec: Raw = {}, where = "payments"): Raw => ({
  apiVersion: security,
  kind: "AuthorizationPolicy",
  metadata: { name, namespace: where },
  spec,
});
const guard = (app: string): Raw =>
  authorization(`allow-${app}`, {
    selector: { matchLabels: { app } },
    rules: [{ from: [{ source: { namespaces: ["orders"] } }] }],
  });
const peer = (name: string, spec: Raw, { labels = {}, day = 1 } = {}): Raw => ({
  apiVersion: security,
  kind: "PeerAuthentication",
  metadata: { name, namespace: "payments", labels, creationTimestamp: `2026-01-0${day}T00:00:00Z` },
  spec,
});
const strict = { mtls: { mode: "STRICT" } };
const permissive = { mtls: { mode: "PERMISSIVE" } };
const denyAll = authorization("deny-all");
const allowAll = authorization("allow-all", { rules: [{}] }, "istio-system");
const workloads = [deployment("api"), deployment("ledger")];

const accepted: Raw = {
  apiVersion: "meshward.io/v1alpha1",
  kind: "MeshwardException",
  metadata: { name: "legacy", namespace: "payments" },
  spec: {
    rules: ["peer-authentication-permissive"],
    match: { objects: { names: ["legacy"] } },
    reason: "It speaks no TLS.",
    owner: "team-payments",
    expiresAt: "2027-01-01T00:00:00Z",
  },
};

interface Case {
  readonly says: string;
  readonly there: readonly Raw[];
  readonly change: RequestParts;
  readonly exceptions?: readonly Raw[];
  readonly denied?: readonly string[];
  readonly warned?: readonly string[];
}

const removed = "namespace-default-deny-removed";
const missing = "namespace-default-deny-missing";
const without = "authorization-policy-without-default-deny";
const unselected = "selector-matches-nothing";
const open = "peer-authentication-permissive";

const cases: readonly Case[] = [
  {
    says: "the default deny goes: one loss, said once",
    there: [...workloads, denyAll, guard("api")],
    change: { oldObject: denyAll },
    denied: [removed],
  },
  {
    says: "it goes where every workload has a policy of its own: worth a word",
    there: [...workloads, denyAll, guard("api"), guard("ledger")],
    change: { oldObject: denyAll },
    warned: [removed],
  },
  {
    says: "it goes after the workloads, and before the policies that allow",
    there: [denyAll, guard("api"), guard("ledger")],
    change: { oldObject: denyAll },
    warned: [missing],
  },
  {
    says: "another takes its place, by name",
    there: [...workloads, denyAll, authorization("default-deny")],
    change: { oldObject: denyAll },
  },
  {
    says: "a policy of one workload goes, and the default deny stays",
    there: [...workloads, denyAll, guard("api")],
    change: { oldObject: guard("api") },
    warned: ["namespace-nobody-allowed"],
  },
  {
    says: "a policy of one workload comes before any default deny",
    there: workloads,
    change: { object: guard("api") },
    denied: [without],
  },
  {
    says: "a new workload where each has a policy of its own is no fault of theirs",
    there: [...workloads, guard("api"), guard("ledger")],
    change: { object: deployment("report") },
    warned: [missing, "namespace-mtls-not-strict"],
  },
  {
    says: "a workload goes where each has a policy of its own, and then its policy",
    there: [deployment("api"), guard("api"), guard("ledger")],
    change: { oldObject: guard("ledger") },
    warned: [missing],
  },
  {
    says: "the last workload goes",
    there: [deployment("api"), guard("api"), guard("ledger")],
    change: { oldObject: deployment("api") },
    warned: [missing, unselected],
  },
  {
    says: "a workload leaves its policy",
    there: [...workloads, guard("api"), guard("ledger")],
    change: { oldObject: deployment("api"), object: deployment("api", "api-v2") },
    denied: [removed],
    warned: [unselected],
  },
  {
    says: "a default deny that the whole mesh lifts",
    there: [...workloads, allowAll],
    change: { object: denyAll },
    warned: [missing],
  },
  {
    says: "the mesh lifts a default deny",
    there: [...workloads, denyAll],
    change: { object: allowAll },
    denied: [removed],
  },
  {
    says: "STRICT becomes PERMISSIVE: one mistake, said where it is",
    there: [...workloads, peer("default", strict)],
    change: { oldObject: peer("default", strict), object: peer("default", permissive) },
    denied: [open],
  },
  {
    says: "a new PERMISSIVE policy that an exception accepts needs no second one",
    there: [...workloads, deployment("legacy"), peer("default", strict)],
    change: { object: peer("legacy", { ...permissive, selector: { matchLabels: { app: "legacy" } } }) },
    exceptions: [accepted],
  },
  {
    says: "a PERMISSIVE policy that was there wakes up",
    there: [
      ...workloads,
      peer("a", { ...strict, selector: { matchLabels: { app: "api" } } }),
      peer("b", { ...permissive, selector: { matchLabels: { app: "api" } } }, { day: 2 }),
      peer("default", strict),
    ],
    change: { oldObject: peer("a", { ...strict, selector: { matchLabels: { app: "api" } } }) },
    denied: ["namespace-mtls-weakened", open],
  },
  {
    says: "a PERMISSIVE policy that an older one replaces has no effect",
    there: [...workloads, peer("default", strict)],
    change: { object: peer("late", permissive, { day: 2 }) },
    warned: [open, "peer-authentication-without-effect"],
  },
  {
    says: "a PERMISSIVE policy goes that replaced another one",
    there: [...workloads, peer("default", permissive), peer("late", permissive, { day: 2 })],
    change: { oldObject: peer("default", permissive) },
  },
  {
    says: "a PERMISSIVE policy that was there is labelled",
    there: [...workloads, peer("default", permissive)],
    change: { oldObject: peer("default", permissive), object: peer("default", permissive, { labels: { team: "a" } }) },
    warned: [open],
  },
];

describe("protected namespaces", () => {
  for (const { says, there, change, exceptions = [], denied = [], warned = [] } of cases)
    test(says, () => {
      const mesh = new MeshStore(defaultMeshSettings);
      for (const raw of [namespace, callers, ...there]) {
        const object = readAny(raw);
        assert.ok(object);
        mesh.set(object);
      }
      const sources = exceptions.map((raw) => ({
        raw,
        file: "exceptions.yaml",
        locate: () => ({ line: 1, column: 1 }),
      }));
      const { policies, errors } = loadPolicies(sources, rules);
      assert.deepEqual(errors, []);
      const now = () => new Date("2026-06-01T00:00:00Z");
      const decision = createGate({ mesh: () => mesh, rules, policies: () => policies, now }).validate(
        reviewed(change),
      );
      const ids = [...(decision.message ?? "").matchAll(/^- \[([a-z0-9-]+)\]/gm)].map(([, id]) => id);
      assert.deepEqual(ids, denied, decision.message);
      assert.deepEqual(
        [...new Set(decision.warnings.map((line) => /\[([a-z0-9-]+)\]/.exec(line)?.[1]))],
        warned,
        decision.warnings.join("\n"),
      );
      assert.equal(decision.allowed, denied.length === 0);
    });
});
