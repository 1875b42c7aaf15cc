import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { readObject } from "../../../src/kube/object.ts";
import {
  type ClientTls,
  clientTlsOf,
  fitOf,
  setsClientTls,
  withAutoMtls,
} from "../../../src/mesh/client-tls/client-tls.ts";
import type { MtlsMode } from "../../../src/mesh/mtls/peer-authentications.ts";
import { destinationRulesFor } from "../../../src/mesh/traffic/destination-rule-lookup.ts";
import { destinationRuleOf } from "../../../src/mesh/traffic/destination-rules-of-host.ts";
import { defaultMeshSettings } from "../../../src/view/settings.ts";

const host = "api.a.svc.cluster.local";
const ruleOf = (spec: object, name = "r", creationTimestamp = "2026-01-01T00:00:00Z") =>
  readObject("DestinationRule", { metadata: { name, namespace: "a", creationTimestamp }, spec: { host, ...spec } });

function sent(spec: object, port = 80, subset?: string, isGateway = false) {
  const merged = destinationRulesFor("a", { host, namespace: "a" }, [ruleOf(spec)], defaultMeshSettings);
  const used = destinationRuleOf({ app: "x" }, "a", merged);
  return clientTlsOf(
    used,
    port,
    used?.subsets.find(({ name }) => name === subset),
    isGateway,
  );
}
const tlsOf = (mode?: string, more: object = {}) => ({ tls: { ...(mode === undefined ? {} : { mode }), ...more } });
const entry = (number: number, policy: object) => ({ portLevelSettings: [{ port: { number }, ...policy }] });

describe("what a client sends", () => {
  const cases: readonly [name: string, spec: object, tls: ClientTls, port?: number, subset?: string][] = [
    ["no traffic policy", {}, "auto"],
    ["a policy without tls", { trafficPolicy: { connectionPool: {} } }, "auto"],
    ["DISABLE", { trafficPolicy: tlsOf("DISABLE") }, "plaintext"],
    ["no mode", { trafficPolicy: tlsOf() }, "plaintext"],
    ["SIMPLE", { trafficPolicy: tlsOf("SIMPLE") }, "tls"],
    ["MUTUAL", { trafficPolicy: tlsOf("MUTUAL") }, "tls"],
    ["ISTIO_MUTUAL", { trafficPolicy: tlsOf("ISTIO_MUTUAL") }, "mtls"],
    ["a mode that there is not", { trafficPolicy: tlsOf("STRICT") }, "auto"],
    ["SIMPLE with a credential", { trafficPolicy: tlsOf("SIMPLE", { credentialName: "c" }) }, "plaintext"],
    [
      "a credential that everyone may read",
      { trafficPolicy: tlsOf("SIMPLE", { credentialName: "configmap://c" }) },
      "tls",
    ],
    ["ISTIO_MUTUAL with a credential", { trafficPolicy: tlsOf("ISTIO_MUTUAL", { credentialName: "c" }) }, "mtls"],
    [
      "a credential and a workloadSelector",
      {
        workloadSelector: { matchLabels: { app: "x" } },
        trafficPolicy: tlsOf("SIMPLE", { credentialName: "c" }),
      },
      "tls",
    ],
    ["the port's own", { trafficPolicy: { ...tlsOf("DISABLE"), ...entry(80, tlsOf("ISTIO_MUTUAL")) } }, "mtls"],
    ["another port's", { trafficPolicy: { ...tlsOf("DISABLE"), ...entry(81, tlsOf("ISTIO_MUTUAL")) } }, "plaintext"],
    ["SIMPLE lost at the port", { trafficPolicy: { ...tlsOf("SIMPLE"), ...entry(80, {}) } }, "plaintext"],
    ["SIMPLE kept at other ports", { trafficPolicy: { ...tlsOf("SIMPLE"), ...entry(81, {}) } }, "tls"],
    ["DISABLE keeps its effect", { trafficPolicy: { ...tlsOf("DISABLE"), ...entry(80, {}) } }, "plaintext"],
    ["ISTIO_MUTUAL becomes auto", { trafficPolicy: { ...tlsOf("ISTIO_MUTUAL"), ...entry(80, {}) } }, "auto"],
    [
      "the subset before the rule",
      { trafficPolicy: tlsOf("DISABLE"), subsets: [{ name: "v1", trafficPolicy: tlsOf("ISTIO_MUTUAL") }] },
      "mtls",
      80,
      "v1",
    ],
    [
      "the rule where the subset says nothing",
      { trafficPolicy: tlsOf("DISABLE"), subsets: [{ name: "v1", trafficPolicy: { connectionPool: {} } }] },
      "plaintext",
      80,
      "v1",
    ],
    [
      "the port's entry of the rule, under a subset without tls",
      { trafficPolicy: entry(80, tlsOf("DISABLE")), subsets: [{ name: "v1", trafficPolicy: { connectionPool: {} } }] },
      "plaintext",
      80,
      "v1",
    ],
    [
      "the subset's tls before the port's entry of the rule",
      { trafficPolicy: entry(80, tlsOf("DISABLE")), subsets: [{ name: "v1", trafficPolicy: tlsOf("ISTIO_MUTUAL") }] },
      "mtls",
      80,
      "v1",
    ],
    [
      "the subset's entry of the port takes the rule's SIMPLE away",
      { trafficPolicy: tlsOf("SIMPLE"), subsets: [{ name: "v1", trafficPolicy: entry(80, {}) }] },
      "plaintext",
      80,
      "v1",
    ],
  ];
  for (const [name, spec, tls, port, subset] of cases)
    test(name, () => assert.equal(sent(spec, port, subset).tls, tls));

  test("an entry without tls under ISTIO_MUTUAL takes every server for one that supports auto mTLS", () => {
    const whole = { ...tlsOf("ISTIO_MUTUAL"), ...entry(80, {}) };
    const found = sent({ trafficPolicy: whole });
    assert.equal(found.isSupportTaken, true);
    assert.deepEqual([withAutoMtls(found, true).tls, withAutoMtls(found, false).tls], ["mtls", "auto"]);
    const ofSubset = sent(
      { trafficPolicy: tlsOf("ISTIO_MUTUAL"), subsets: [{ name: "v1", trafficPolicy: entry(80, {}) }] },
      80,
      "v1",
    );
    assert.equal(ofSubset.isSupportTaken, true);
    assert.equal(sent({ trafficPolicy: entry(80, {}) }).isSupportTaken, undefined);
  });

  test("a gateway may read credentials", () => {
    const spec = { trafficPolicy: tlsOf("SIMPLE", { credentialName: "c" }) };
    assert.equal(sent(spec, 80, undefined, true).tls, "tls");
    assert.equal(sent(spec).lost, "no workloadSelector");
  });

  test("the place is that of the rule which says it", () => {
    const subsets = [{ name: "v1" }, { name: "v2", trafficPolicy: entry(80, tlsOf("DISABLE")) }];
    const merged = destinationRulesFor(
      "a",
      { host, namespace: "a" },
      [ruleOf({ trafficPolicy: tlsOf("SIMPLE") }, "old"), ruleOf({ subsets }, "young", "2026-01-02T00:00:00Z")],
      defaultMeshSettings,
    );
    const used = destinationRuleOf({}, "a", merged);
    assert.deepEqual(clientTlsOf(used, 80).rule?.metadata.name, "old");
    const choice = clientTlsOf(used, 80, used?.subsets[1]);
    assert.equal(choice.rule?.metadata.name, "young");
    assert.deepEqual(choice.at, ["spec", "subsets", 1, "trafficPolicy", "portLevelSettings", 0, "tls"]);
    assert.deepEqual([choice.subset, choice.port], ["v2", 80]);
  });

  test("a rule that sets nothing foreign sends nothing foreign", () => {
    const tls = fc.constantFrom(undefined, {}, { mode: "DISABLE" }, { mode: "SIMPLE" }, { mode: "ISTIO_MUTUAL" });
    const policy = fc.option(
      fc.record({
        tls,
        portLevelSettings: fc.array(fc.record({ port: fc.record({ number: fc.constantFrom(80, 81) }), tls })),
      }),
      { nil: undefined },
    );
    fc.assert(
      fc.property(policy, policy, fc.constantFrom(80, 81, 82), (ofRule, ofSubset, port) => {
        const spec = { trafficPolicy: ofRule, subsets: [{ name: "v1", trafficPolicy: ofSubset }] };
        const found = [sent(spec, port).tls, sent(spec, port, "v1").tls];
        if (!setsClientTls(ruleOf(spec))) assert.ok(found.every((one) => one === "auto" || one === "mtls"));
      }),
    );
  });
});

test("the conflict matrix", () => {
  const servers: readonly (MtlsMode | undefined)[] = ["STRICT", "PERMISSIVE", "DISABLE", undefined];
  const row = (client: ClientTls, autoMtls = true) => servers.map((server) => fitOf(client, server, autoMtls));
  assert.deepEqual(row("auto"), ["mtls", "mtls", "plaintext", "plaintext"]);
  assert.deepEqual(row("auto", false), ["refused", "plaintext", "plaintext", "plaintext"]);
  assert.deepEqual(row("plaintext"), ["refused", "plaintext", "plaintext", "plaintext"]);
  assert.deepEqual(row("tls"), ["refused", "passed on", "passed on", "passed on"]);
  assert.deepEqual(row("mtls"), ["mtls", "mtls", "refused", "refused"]);
});
