import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { readObject } from "../../../src/kube/object.ts";
import { besidePolicies, clientTlsWithPolicies } from "../../../src/mesh/client-tls/filled-gaps.ts";
import { destinationRulesFor } from "../../../src/mesh/traffic/destination-rule-lookup.ts";
import { destinationRuleOf } from "../../../src/mesh/traffic/destination-rules-of-host.ts";
import { defaultMeshSettings } from "../../../src/view/settings.ts";

const host = "api.a.svc.cluster.local";
const policy = readObject("BackendTLSPolicy", {
  metadata: { name: "p", namespace: "a" },
  spec: {
    targetRefs: [{ group: "", kind: "Service", name: "api" }],
    validation: { hostname: "api.example.com", wellKnownCACertificates: "System" },
  },
});
const wide = { wide: policy, byPort: new Map() };
const ofPort = { wide: undefined, byPort: new Map([[80, policy]]) };

function mergedOf(spec: object, namespace = "a", client = "a") {
  const rule = readObject("DestinationRule", { metadata: { name: "r", namespace }, spec: { host, ...spec } });
  const rules = destinationRulesFor(client, { host, namespace: "a" }, [rule], defaultMeshSettings);
  return destinationRuleOf({}, client, rules);
}
const plaintext = { tls: { mode: "DISABLE" } };
const portEntry = (more: object) => ({ portLevelSettings: [{ port: { number: 80 }, ...more }] });

describe("a BackendTLSPolicy fills the gaps of a DestinationRule", () => {
  for (const [title, spec, policies, tls] of [
    ["no traffic policy", {}, wide, "tls"],
    ["tls for all ports", { trafficPolicy: plaintext }, wide, "plaintext"],
    ["tls for all ports, and the policy is for the port", { trafficPolicy: plaintext }, ofPort, "tls"],
    ["tls for the port", { trafficPolicy: portEntry(plaintext) }, ofPort, "plaintext"],
    ["an entry for the port without tls", { trafficPolicy: portEntry({}) }, ofPort, "tls"],
    ["an entry without tls, and the policy is for all ports", { trafficPolicy: portEntry({}) }, wide, "plaintext"],
    ["an entry for another port", { trafficPolicy: { portLevelSettings: [{ port: { number: 81 } }] } }, wide, "tls"],
    ["tls for the subset", { subsets: [{ name: "v1", trafficPolicy: plaintext }] }, wide, "plaintext"],
    ["a subset without tls", { subsets: [{ name: "v1" }] }, ofPort, "tls"],
  ] as const)
    test(title, () => {
      const merged = mergedOf(spec);
      const at = { port: 80, subset: merged?.subsets[0], isGateway: false };
      assert.equal(clientTlsWithPolicies(merged, policies, at).tls, tls);
    });

  test("without a DestinationRule, the name is that of the policy", () => {
    const at = { port: 80, subset: undefined, isGateway: false };
    assert.deepEqual(clientTlsWithPolicies(undefined, wide, at), { tls: "tls", policy, sni: "api.example.com" });
    assert.equal(clientTlsWithPolicies(undefined, ofPort, { ...at, port: 81 }).tls, "auto");
  });
});

test("of an authority that is no ConfigMap, sidecars make plaintext, and gateways TLS that fails", () => {
  const { metadata, spec } = policy;
  const caCertificateRefs = [{ group: "", kind: "Secret", name: "ca" }];
  const validation = { hostname: "api.example.com", caCertificateRefs };
  const invalid = readObject("BackendTLSPolicy", { metadata, spec: { ...spec, validation } });
  const at = { port: 80, subset: undefined, isGateway: false };
  const policies = { wide: invalid, byPort: new Map() };
  assert.equal(clientTlsWithPolicies(undefined, policies, at).tls, "plaintext");
  assert.equal(clientTlsWithPolicies(undefined, policies, { ...at, isGateway: true }).tls, "tls");
});

describe("which DestinationRule counts beside BackendTLSPolicies", () => {
  test("one of the namespace of the host, for the host itself", () => {
    const merged = mergedOf({});
    assert.equal(besidePolicies(merged, { host, namespace: "a", client: "b" }).rule, merged);
  });
  test("one for a wildcard is hidden", () => {
    const merged = mergedOf({ host: "*.a.svc.cluster.local" });
    assert.notEqual(merged, undefined);
    assert.equal(besidePolicies(merged, { host, namespace: "a", client: "a" }).rule, undefined);
  });
  test("one of the client's own namespace hides the policies", () => {
    const merged = mergedOf({}, "b", "b");
    const found = besidePolicies(merged, { host, namespace: "a", client: "b" });
    assert.deepEqual(found, { rule: merged, arePoliciesHidden: true });
  });
  test("one of the root namespace is hidden", () => {
    const merged = mergedOf({}, "istio-system", "b");
    assert.notEqual(merged, undefined);
    const found = besidePolicies(merged, { host, namespace: "a", client: "b" });
    assert.deepEqual(found, { rule: undefined, arePoliciesHidden: false });
  });
});
