import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createGate } from "../../src/admission/gate.ts";
import { readAny } from "../../src/kube/object.ts";
import { member } from "../../src/kube/read.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import { rules } from "../../src/rules/index.ts";
import { meshSettingsOf } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { type Raw, reviewed } from "./requests.ts";

// Each way to weaken a protected namespace that policies/bypasses.md calls closed, tried by a reconciler, whom nothing
// excuses from a weakening, beside a twin that is let through.

const { policies } = loadPolicies([], rules);
const flux = "system:serviceaccount:flux-system:kustomize-controller";

const object = (
  apiVersion: string,
  kind: string,
  [namespace, name]: readonly [string, string],
  rest: Raw = {},
): Raw => {
  const { labels, annotations, at = 1, ...spec } = rest;
  return {
    apiVersion,
    kind,
    metadata: { name, namespace, labels, annotations, creationTimestamp: `2026-01-0${String(at)}T00:00:00Z` },
    ...("data" in spec ? spec : { spec }),
  };
};
const namespace = (name: string, labels: Raw = {}): Raw => ({
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name, labels, creationTimestamp: "2026-01-01T00:00:00Z" },
});
const peer = (name: string, ns: string, mode: string | undefined, rest: Raw = {}) =>
  object("security.istio.io/v1", "PeerAuthentication", [ns, name], { mtls: { mode }, ...rest });
const policy = (name: string, ns: string, rest: Raw = {}) =>
  object("security.istio.io/v1", "AuthorizationPolicy", [ns, name], rest);
const destinationRule = (name: string, ns: string, rest: Raw = {}) =>
  object("networking.istio.io/v1", "DestinationRule", [ns, name], { host: "api.payments.svc.cluster.local", ...rest });
const deployment = (name: string, ns: string, labels: Raw) =>
  object("apps/v1", "Deployment", [ns, name], { template: { metadata: { labels } } });
const meshConfig = (mesh: string) => object("v1", "ConfigMap", ["istio-system", "istio"], { data: { mesh } });
const selector = (app: string): Raw => ({ selector: { matchLabels: { app } } });

const sidecars = { "istio-injection": "enabled" };
const mesh: readonly Raw[] = [
  namespace("istio-system"),
  namespace("payments", { "meshward.io/protected": "true", ...sidecars }),
  namespace("orders", sidecars),
  deployment("api", "payments", { app: "api" }),
  deployment("web", "payments", { app: "web" }),
  deployment("orders", "orders", { app: "orders" }),
  object("v1", "Service", ["payments", "api"], { selector: { app: "api" }, ports: [{ port: 80, targetPort: 8080 }] }),
  policy("deny-all", "payments"),
  meshConfig("{}"),
];
const strict = peer("default", "payments", "STRICT", { at: 2 });
const unset = peer("default", "payments", undefined, { at: 2 });
const meshStrict = peer("default", "istio-system", "STRICT");
const clientTls = (mode: string): Raw => ({ trafficPolicy: { tls: { mode } } });

interface Way {
  readonly name: string;
  /** Besides what is always there. */
  readonly there: readonly Raw[];
  /** The object as it will be; `old` alone goes. */
  readonly change: { readonly old?: Raw; readonly object?: Raw };
  readonly rule: string;
  /** The same, harmless. */
  readonly twin?: { readonly old?: Raw; readonly object?: Raw };
}

const ways: readonly Way[] = [
  {
    name: "the STRICT policy is deleted",
    there: [strict],
    change: { old: strict },
    rule: "namespace-mtls-weakened",
  },
  {
    name: "a younger policy wakes up",
    there: [strict, peer("late", "payments", "PERMISSIVE", { at: 3 })],
    change: { old: strict },
    rule: "namespace-mtls-weakened",
    twin: { old: peer("late", "payments", "PERMISSIVE", { at: 3 }) },
  },
  {
    name: "a younger policy wakes up where nothing runs",
    there: [
      namespace("vault", { "meshward.io/protected": "true", ...sidecars }),
      peer("default", "vault", "STRICT", { at: 2 }),
      peer("late", "vault", "PERMISSIVE", { at: 3 }),
    ],
    change: { old: peer("default", "vault", "STRICT", { at: 2 }) },
    rule: "peer-authentication-permissive",
  },
  {
    name: "a younger policy wakes up, because the older one gets a selector",
    there: [strict, peer("late", "payments", "PERMISSIVE", { at: 3 })],
    change: { old: strict, object: peer("default", "payments", "STRICT", { at: 2, ...selector("web") }) },
    rule: "peer-authentication-permissive",
  },
  {
    name: "a younger policy wakes up, because the older one, which inherits STRICT, is deleted",
    there: [meshStrict, unset, peer("late", "payments", "PERMISSIVE", { at: 3 })],
    change: { old: unset },
    rule: "peer-authentication-permissive",
  },
  {
    name: "an older policy comes back from a backup",
    there: [strict],
    change: { object: peer("older", "payments", "PERMISSIVE", { at: 1 }) },
    rule: "peer-authentication-permissive",
    twin: { object: peer("older", "payments", "STRICT", { at: 1 }) },
  },
  {
    name: "in the same second, by its name",
    there: [meshStrict],
    change: { object: peer("a", "istio-system", "PERMISSIVE") },
    rule: "namespace-mtls-weakened",
    twin: { object: peer("z", "istio-system", "PERMISSIVE") },
  },
  {
    name: "it is given a selector",
    there: [strict],
    change: { old: strict, object: peer("default", "payments", "STRICT", { at: 2, ...selector("web") }) },
    rule: "namespace-mtls-weakened",
  },
  {
    name: "it is given to another revision",
    there: [strict],
    change: { old: strict, object: peer("default", "payments", "STRICT", { at: 2, labels: { "istio.io/rev": "x" } }) },
    rule: "namespace-mtls-weakened",
    twin: { old: strict, object: peer("default", "payments", "STRICT", { at: 2, labels: { team: "x" } }) },
  },
  {
    name: "its mode is left out",
    there: [strict],
    change: { old: strict, object: peer("default", "payments", undefined, { at: 2 }) },
    rule: "namespace-mtls-weakened",
  },
  {
    name: "a port is exempted",
    there: [strict],
    change: {
      object: peer("api", "payments", "STRICT", { ...selector("api"), portLevelMtls: { 8080: { mode: "DISABLE" } } }),
    },
    rule: "peer-authentication-permissive",
    twin: { object: peer("api", "payments", "STRICT", selector("api")) },
  },
  {
    name: "the mesh-wide policy goes",
    there: [meshStrict],
    change: { old: meshStrict },
    rule: "namespace-mtls-weakened",
  },
  {
    name: "the root namespace moves",
    there: [meshStrict],
    change: { old: meshConfig("{}"), object: meshConfig("rootNamespace: elsewhere") },
    rule: "namespace-mtls-weakened",
    twin: { old: meshConfig("{}"), object: meshConfig("rootNamespace: istio-system") },
  },
  {
    name: "a workload is relabelled out of its policy",
    there: [peer("api", "payments", "STRICT", selector("api"))],
    change: { old: deployment("api", "payments", { app: "api" }), object: deployment("api", "payments", { app: "x" }) },
    rule: "namespace-mtls-weakened",
    twin: {
      old: deployment("api", "payments", { app: "api" }),
      object: deployment("api", "payments", { app: "api", version: "v2" }),
    },
  },
  {
    name: "the namespace loses its protection",
    there: [strict],
    change: {
      old: namespace("payments", { "meshward.io/protected": "true", ...sidecars }),
      object: namespace("payments", sidecars),
    },
    rule: "namespace-protection-removed",
  },
  {
    name: "the namespace leaves the mesh",
    there: [strict],
    change: {
      old: namespace("payments", { "meshward.io/protected": "true", ...sidecars }),
      object: namespace("payments", { "meshward.io/protected": "true" }),
    },
    rule: "namespace-leaves-mesh",
  },
  {
    name: "the default deny is deleted",
    there: [],
    change: { old: policy("deny-all", "payments") },
    rule: "namespace-default-deny-removed",
  },
  {
    name: "the default deny becomes a dry run",
    there: [],
    change: {
      old: policy("deny-all", "payments"),
      object: policy("deny-all", "payments", { annotations: { "istio.io/dry-run": "true" } }),
    },
    rule: "namespace-default-deny-removed",
    twin: {
      old: policy("deny-all", "payments"),
      object: policy("deny-all", "payments", { annotations: { "istio.io/dry-run": "no" } }),
    },
  },
  {
    name: "the default deny gets another action",
    there: [],
    change: { old: policy("deny-all", "payments"), object: policy("deny-all", "payments", { action: "AUDIT" }) },
    rule: "namespace-default-deny-removed",
  },
  {
    name: "the default deny is bound to a target",
    there: [],
    change: {
      old: policy("deny-all", "payments"),
      object: policy("deny-all", "payments", { targetRefs: [{ kind: "Service", name: "api" }] }),
    },
    rule: "namespace-default-deny-removed",
  },
  {
    name: "a mesh-wide ALLOW policy allows everyone",
    there: [],
    change: { object: policy("all", "istio-system", { rules: [{}] }) },
    rule: "namespace-default-deny-removed",
    twin: { object: policy("some", "istio-system", { rules: [{ from: [{ source: { namespaces: ["orders"] } }] }] }) },
  },
  {
    name: "a client's DestinationRule turns mTLS off",
    there: [strict],
    change: { object: destinationRule("plain", "orders", clientTls("DISABLE")) },
    rule: "destination-rule-plaintext",
    twin: { object: destinationRule("mutual", "orders", clientTls("ISTIO_MUTUAL")) },
  },
  {
    name: "a DestinationRule of everything, in the root namespace",
    there: [],
    change: { object: destinationRule("plain", "istio-system", { host: "*.local", ...clientTls("DISABLE") }) },
    rule: "destination-rule-plaintext",
    twin: { object: destinationRule("plain", "istio-system", { host: "*.example.com", ...clientTls("DISABLE") }) },
  },
  {
    name: "a DestinationRule that only one namespace sees turns mTLS off",
    there: [destinationRule("plain", "payments", { exportTo: ["orders"] })],
    change: {
      old: destinationRule("plain", "payments", { exportTo: ["orders"] }),
      object: destinationRule("plain", "payments", { exportTo: ["orders"], ...clientTls("DISABLE") }),
    },
    rule: "destination-rule-plaintext",
  },
  {
    name: "the rule that goes before a dormant one is deleted",
    there: [
      destinationRule("first", "payments", { at: 1, ...clientTls("ISTIO_MUTUAL") }),
      destinationRule("late", "payments", { at: 2, ...clientTls("DISABLE") }),
    ],
    change: { old: destinationRule("first", "payments", { at: 1, ...clientTls("ISTIO_MUTUAL") }) },
    rule: "destination-rule-plaintext",
    twin: { old: destinationRule("late", "payments", { at: 2, ...clientTls("DISABLE") }) },
  },
];

const nameOf = (raw: Raw): string => String(member(raw.metadata, "name"));
const kindOf = (raw: Raw): string => `${String(raw.kind)} ${String(member(raw.metadata, "namespace"))}/${nameOf(raw)}`;

function judged(there: readonly Raw[], { old, object }: Way["change"]) {
  const changed = (object ?? old) as Raw;
  const raws = [...mesh.filter((raw) => there.every((own) => kindOf(own) !== kindOf(raw))), ...there];
  const before = [...raws.filter((raw) => kindOf(raw) !== kindOf(changed)), ...(old ? [old] : [])];
  const objects = before.map((raw) => readAny(raw)).filter((one) => one !== undefined);
  const store = new MeshStore(meshSettingsOf(objects.filter((one) => one.kind === "MeshConfig")));
  for (const one of objects) store.set(one);
  const request = reviewed({ object, oldObject: old, user: flux });
  return createGate({ mesh: () => store, rules, policies: () => policies }).validate(request);
}

describe("ways to weaken a protected namespace", () => {
  for (const { name, there, change, twin, rule } of ways) {
    test(name, () => {
      const { allowed, message } = judged(there, change);
      assert.equal(allowed, false);
      assert.match(message ?? "", new RegExp(rule));
    });
    if (twin)
      test(`${name}: not by its twin`, () => {
        const { allowed, message } = judged(there, twin);
        assert.equal(message, undefined);
        assert.equal(allowed, true);
      });
  }

  test("an older policy without a mode goes, where plaintext is accepted anyway", () => {
    const late = peer("late", "payments", "PERMISSIVE", { at: 3 });
    for (const open of [[], [peer("default", "istio-system", "PERMISSIVE")]]) {
      const { allowed, message } = judged([...open, unset, late], { old: unset });
      assert.equal(message, undefined);
      assert.equal(allowed, true);
    }
    const ofApi = [undefined, "PERMISSIVE"].map((mode, i) =>
      peer(`api-${String(i)}`, "payments", mode, { at: 2 + i, ...selector("api") }),
    );
    const wide = peer("default", "payments", "PERMISSIVE");
    assert.equal(judged([meshStrict, wide, ...ofApi], { old: ofApi[0] as Raw }).allowed, true);
    assert.equal(judged([meshStrict, ...ofApi], { old: ofApi[0] as Raw }).allowed, false);
  });
});
