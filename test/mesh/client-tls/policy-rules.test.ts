import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type AnyObject, readObject } from "../../../src/kube/object.ts";
import { clientTlsOf } from "../../../src/mesh/client-tls/client-tls.ts";
import { policyRulesOf } from "../../../src/mesh/traffic/policy-rules.ts";
import { destinationRulesFor } from "../../../src/mesh/traffic/destination-rule-lookup.ts";
import { destinationRuleOf } from "../../../src/mesh/traffic/destination-rules-of-host.ts";
import type { DestinationRule } from "../../../src/mesh/traffic/destination-rules.ts";
import { sideOf } from "../../../src/view/side.ts";
import { defaultMeshSettings } from "../../../src/view/settings.ts";
import { MeshStore } from "../../../src/view/store.ts";

// The expected values are what Istio's own code makes of these objects.

const host = "api.a.svc.cluster.local";
const settings = defaultMeshSettings;
const service = readObject("Service", {
  metadata: { name: "api", namespace: "a" },
  spec: {
    selector: { app: "api" },
    ports: [
      { name: "http", port: 80 },
      { name: "admin", port: 81 },
    ],
  },
});
const policy = (more: object = {}, section?: string) =>
  readObject("BackendTLSPolicy", {
    metadata: { name: "p", namespace: "a" },
    spec: {
      targetRefs: [{ group: "", kind: "Service", name: "api", ...(section ? { sectionName: section } : {}) }],
      validation: { hostname: "api.example.com", wellKnownCACertificates: "System", ...more },
    },
  });
const wide = policy();
const ofPort = policy({}, "http");

interface Rule {
  readonly name?: string;
  readonly namespace?: string;
  readonly age?: number;
}
const rule = (spec: object, { name = "r", namespace = "a", age = 1 }: Rule = {}): DestinationRule =>
  readObject("DestinationRule", {
    metadata: { name, namespace, creationTimestamp: `2026-01-0${9 - age}T00:00:00Z` },
    spec: { host, ...spec },
  });

interface Client {
  readonly namespace: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly isGateway?: boolean;
}

/** The TLS of a client at a port, with the DestinationRules and BackendTLSPolicies. */
function tlsFor(
  { namespace, labels = {}, isGateway = false }: Client,
  objects: readonly AnyObject[],
  port = 80,
  subset?: string,
) {
  const store = new MeshStore(settings);
  for (const object of [service, ...objects]) store.set(object);
  const made = policyRulesOf(service, sideOf(store)).get(host);
  const users = objects.filter((object) => object.kind === "DestinationRule");
  const rules = destinationRulesFor(namespace, { host, namespace: "a" }, [...(made ? [made] : []), ...users], settings);
  const merged = destinationRuleOf(labels, namespace, rules);
  return clientTlsOf(
    merged,
    port,
    merged?.subsets.find(({ name }) => name === subset),
    isGateway,
  );
}

const plaintext = { tls: { mode: "DISABLE" } };
const portEntry = (more: object) => ({ portLevelSettings: [{ port: { number: 80 }, ...more }] });
const noTls = portEntry({ connectionPool: { tcp: { maxConnections: 1 } } });

describe("a BackendTLSPolicy fills the gaps of a DestinationRule", () => {
  for (const [title, spec, by, tls] of [
    ["no traffic policy", {}, wide, "tls"],
    ["tls for all ports", { trafficPolicy: plaintext }, wide, "plaintext"],
    ["tls for all ports, and the policy is for the port", { trafficPolicy: plaintext }, ofPort, "tls"],
    ["tls for the port", { trafficPolicy: portEntry(plaintext) }, ofPort, "plaintext"],
    ["an entry for the port without tls", { trafficPolicy: noTls }, ofPort, "tls"],
    ["an entry without tls, and the policy is for all ports", { trafficPolicy: noTls }, wide, "plaintext"],
    ["an entry for another port", { trafficPolicy: { portLevelSettings: [{ port: { number: 81 } }] } }, wide, "tls"],
    ["tls for the subset", { subsets: [{ name: "v1", trafficPolicy: plaintext }] }, wide, "plaintext"],
    ["a subset without tls", { subsets: [{ name: "v1" }] }, ofPort, "tls"],
  ] as const)
    test(title, () => assert.equal(tlsFor({ namespace: "b" }, [rule(spec), by], 80, "v1").tls, tls));

  test("without a DestinationRule, the name is that of the policy", () => {
    assert.deepEqual(tlsFor({ namespace: "b" }, [wide]), { tls: "tls", policy: wide, sni: "api.example.com" });
    assert.equal(tlsFor({ namespace: "b" }, [ofPort], 81).tls, "auto");
  });

  test("an entry that hides the tls of a policy is the field that makes plaintext", () => {
    const hiding = rule({ trafficPolicy: noTls });
    assert.deepEqual(tlsFor({ namespace: "b" }, [hiding, wide]), {
      tls: "plaintext",
      lost: "no tls at this port",
      rule: hiding,
      at: ["spec", "trafficPolicy", "portLevelSettings", 0],
      subset: undefined,
      port: 80,
      policy: wide,
      sni: "api.example.com",
    });
  });

  test("of several DestinationRules, the newest counts, and without the policy the oldest", () => {
    const older = rule({ trafficPolicy: { tls: { mode: "ISTIO_MUTUAL" } } }, { name: "older", age: 2 });
    const newer = rule({ trafficPolicy: plaintext }, { name: "newer" });
    const found = tlsFor({ namespace: "b" }, [older, newer, wide]);
    assert.deepEqual([found.tls, found.rule, found.at], ["plaintext", newer, ["spec", "trafficPolicy", "tls"]]);
    assert.equal(tlsFor({ namespace: "b" }, [older, newer]).rule, older);
  });

  test("an entry is named in the rule that it is from", () => {
    const older = rule({ trafficPolicy: portEntry(plaintext) }, { name: "older", age: 2 });
    const newer = rule({ trafficPolicy: { portLevelSettings: [{ port: { number: 81 }, ...plaintext }] } });
    for (const [port, by] of [
      [80, older],
      [81, newer],
    ] as const) {
      const found = tlsFor({ namespace: "b" }, [older, newer, wide], port);
      assert.deepEqual([found.rule, found.at?.slice(2)], [by, ["portLevelSettings", 0, "tls"]]);
    }
  });
});

describe("which DestinationRules count beside a BackendTLSPolicy", () => {
  const client = { namespace: "b", labels: { app: "b" } };
  for (const [title, spec, namespace, tls] of [
    ["one for a wildcard of its namespace is hidden", { host: "*.a.svc.cluster.local" }, "a", "tls"],
    ["one of the root namespace is hidden", {}, "istio-system", "tls"],
    ["one of the client's namespace hides the policy", {}, "b", "plaintext"],
    ["one for a wildcard of the client's namespace does too", { host: "*.local" }, "b", "plaintext"],
    ["one that is exported to all is not merged, and comes after it", { exportTo: ["*"] }, "a", "plaintext"],
    ["one that is exported elsewhere is not", { exportTo: ["c"] }, "a", "tls"],
    ["one for some clients of another namespace is not", { workloadSelector: {} }, "a", "tls"],
  ] as const)
    test(title, () => {
      const one = rule({ trafficPolicy: plaintext, ...spec }, { namespace });
      assert.equal(tlsFor(client, [one, wide]).tls, tls);
    });

  test("one for some clients of the own namespace is not filled", () => {
    const one = rule({ workloadSelector: { matchLabels: { app: "b" } } });
    assert.equal(tlsFor({ namespace: "a", labels: { app: "b" } }, [one, wide]).tls, "auto");
    assert.equal(tlsFor({ namespace: "a", labels: { app: "c" } }, [one, wide]).tls, "tls");
  });
});

test("of an authority that is no ConfigMap, sidecars make plaintext, and gateways TLS that fails", () => {
  const invalid = policy({ wellKnownCACertificates: undefined, caCertificateRefs: [{ kind: "Secret", name: "ca" }] });
  const found = tlsFor({ namespace: "b" }, [invalid]);
  assert.deepEqual([found.tls, found.lost, found.policy], ["plaintext", "no workloadSelector", invalid]);
  assert.equal(tlsFor({ namespace: "b", isGateway: true }, [invalid]).tls, "tls");
});

test("a ServiceEntry has a rule for each host with a dot", () => {
  const entry = readObject("ServiceEntry", {
    metadata: { name: "e", namespace: "a" },
    spec: { hosts: ["one.example.com", "two.example.com", "three"], ports: [{ number: 443, name: "tls" }] },
  });
  const by = readObject("BackendTLSPolicy", {
    metadata: { name: "p", namespace: "a", labels: { "istio.io/rev": "default" } },
    spec: {
      targetRefs: [{ group: "networking.istio.io", kind: "ServiceEntry", name: "e" }],
      validation: { hostname: "one.example.com", wellKnownCACertificates: "System" },
    },
  });
  const store = new MeshStore(settings);
  for (const object of [entry, by]) store.set(object);
  const rules = policyRulesOf(entry, sideOf(store));
  assert.deepEqual([...rules.keys()], ["one.example.com", "two.example.com"]);
  for (const { metadata } of rules.values())
    assert.deepEqual([metadata.namespace, metadata.labels["istio.io/rev"]], ["a", "default"]);
});
