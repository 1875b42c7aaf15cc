import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { readObject } from "../../../src/kube/object.ts";
import type { AuthorizationPolicy } from "../../../src/mesh/authorization/policies.ts";
import { PolicySet } from "../../../src/mesh/authorization/policy-set.ts";
import { type Caller, ZtunnelAnswers } from "../../../src/mesh/authorization/ztunnel-callers.ts";
import { atZtunnel, unseenAttributesOf } from "../../../src/mesh/authorization/ztunnel-rules.ts";
import { defaultMeshSettings, type AllMeshSettings } from "../../../src/view/settings.ts";

const policy = (spec: unknown) =>
  readObject("AuthorizationPolicy", { metadata: { name: "policy", namespace: "payments" }, spec });
const allow = (...rules: readonly unknown[]) => policy({ rules });
const deny = (...rules: readonly unknown[]) => policy({ action: "DENY", rules });
const from = (source: unknown) => ({ from: [{ source }] });

function answerTo(
  caller: Caller,
  labels: Readonly<Record<string, string>>,
  policies: readonly AuthorizationPolicy[],
  settings: AllMeshSettings,
) {
  const answers = new ZtunnelAnswers([new PolicySet(policies, settings)], settings);
  return answers.to(caller, answers.attachedTo(labels));
}

describe("what ztunnel leaves of a rule", () => {
  const cases: [string, string, unknown, string][] = [
    ["nothing asked", "DENY", {}, "whole"],
    [
      "identities and ports",
      "ALLOW",
      { ...from({ namespaces: ["a"] }), to: [{ operation: { ports: ["80"] } }] },
      "whole",
    ],
    ["ALLOW by path", "ALLOW", { to: [{ operation: { paths: ["/"] } }] }, "dropped"],
    ["DENY by path", "DENY", { to: [{ operation: { notPaths: ["/"] } }] }, "never"],
    ["DENY by path and port", "DENY", { to: [{ operation: { paths: ["/"], ports: ["80"] } }] }, "part"],
    ["DENY by a port that is none", "DENY", { to: [{ operation: { paths: ["/"], ports: ["70000"] } }] }, "never"],
    [
      "DENY by identity, then by path",
      "DENY",
      { ...from({ namespaces: ["a"] }), to: [{ operation: { paths: ["/"] } }] },
      "never",
    ],
    ["DENY by token", "DENY", from({ notRequestPrincipals: ["*"] }), "never"],
    [
      "DENY by token or namespace",
      "DENY",
      { from: [{ source: { requestPrincipals: ["*"] } }, { source: { namespaces: ["a"] } }] },
      "part",
    ],
    ["DENY when a header", "DENY", { when: [{ key: "request.headers[x]", values: ["y"] }] }, "never"],
    ["a source of trust domains alone", "DENY", from({ trustDomains: ["a"] }), "never"],
    ["one beside a namespace", "DENY", from({ notTrustDomains: ["a"], namespaces: ["b"] }), "part"],
    ["an ALLOW rule for trust domains alone", "ALLOW", from({ notTrustDomains: ["a"] }), "dropped"],
    ["one beside a namespace that is allowed", "ALLOW", from({ trustDomains: ["a"], namespaces: ["b"] }), "wider"],
  ];
  for (const [what, action, rule, expected] of cases)
    test(what, () => {
      const [read] = policy({ rules: [rule] }).spec.rules;
      assert.ok(read);
      assert.equal(atZtunnel(read, action), expected);
    });

  test("what it does not see, by name and once", () => {
    const [rule] = allow({
      from: [{ source: { remoteIpBlocks: ["10.0.0.0/8"], principals: ["a"] } }],
      to: [{ operation: { methods: ["GET"], ports: ["80"] } }, { operation: { methods: ["PUT"] } }],
      when: [
        { key: "source.ip", values: ["10.0.0.1"] },
        { key: "connection.sni", values: ["x"] },
      ],
    }).spec.rules;
    assert.ok(rule);
    assert.deepEqual(unseenAttributesOf(rule), ["methods", "remoteIpBlocks", "connection.sni"]);
  });
});

describe("what ztunnel answers the caller payments/waypoint", () => {
  const denyAll = allow();
  const cases: [string, readonly ReturnType<typeof policy>[], string][] = [
    ["no policy", [], "open"],
    ["only a DENY for others", [deny(from({ namespaces: ["visitors"] }))], "open"],
    ["deny-all", [denyAll], "refused"],
    ["its principal", [denyAll, allow(from({ principals: ["cluster.local/ns/payments/sa/waypoint"] }))], "let in"],
    ["its principal, by prefix", [allow(from({ principals: ["cluster.local/ns/payments/*"] }))], "let in"],
    ["another principal", [allow(from({ principals: ["cluster.local/ns/payments/sa/api"] }))], "refused"],
    ["its namespace", [allow(from({ namespaces: ["pay*"] }))], "let in"],
    ["its account", [allow(from({ serviceAccounts: ["waypoint"] }))], "let in"],
    ["its account in another namespace", [allow(from({ serviceAccounts: ["orders/waypoint"] }))], "refused"],
    ["not its namespace", [allow(from({ notNamespaces: ["payments"] }))], "refused"],
    ["both must match", [allow(from({ namespaces: ["payments"], principals: ["x"] }))], "refused"],
    [
      "at some port",
      [allow({ ...from({ namespaces: ["payments"] }), to: [{ operation: { ports: ["80"] } }] })],
      "let in",
    ],
    ["at some address", [allow(from({ ipBlocks: ["10.0.0.0/8"] }))], "let in"],
    [
      "by path: dropped",
      [allow({ ...from({ namespaces: ["payments"] }), to: [{ operation: { paths: ["/"] } }] })],
      "refused",
    ],
    ["when its principal", [allow({ when: [{ key: "source.principal", values: ["*/sa/waypoint"] }] })], "let in"],
    ["when not its namespace", [allow({ when: [{ key: "source.namespace", notValues: ["payments"] }] })], "refused"],
    ["nothing that ztunnel looks at", [allow(from({ trustDomains: ["cluster.local"] }))], "refused"],
    ["anyone of the mesh", [denyAll, allow(from({ principals: ["*"] }))], "open"],
    ["everyone", [denyAll, allow({})], "open"],
    ["denied by namespace", [allow({}), deny(from({ namespaces: ["payments"] }))], "refused"],
    [
      "denied at a port",
      [allow(from({ namespaces: ["payments"] })), deny({ to: [{ operation: { ports: ["9090"] } }] })],
      "let in",
    ],
    [
      "denied by path: not at all",
      [allow(from({ namespaces: ["payments"] })), deny({ to: [{ operation: { paths: ["/"] } }] })],
      "let in",
    ],
    ["for other labels", [policy({ selector: { matchLabels: { app: "other" } } })], "open"],
    ["at the waypoint", [policy({ targetRefs: [{ kind: "Service", name: "api" }] })], "open"],
    ["with an empty selector", [policy({ selector: {} })], "open"],
  ];
  const caller = { namespace: "payments", serviceAccount: "waypoint" };
  for (const [what, policies, expected] of cases)
    test(what, () => assert.equal(answerTo(caller, { app: "api" }, policies, defaultMeshSettings), expected));

  test("under the mesh's own trust domain; ztunnel knows no aliases", () => {
    const settings = {
      ...defaultMeshSettings,
      trustDomain: "corp.example.com",
      trustDomainAliases: ["old.example.com"],
    };
    const answers = ["corp.example.com", "cluster.local", "old.example.com"].map((domain) =>
      answerTo(caller, {}, [allow(from({ principals: [`${domain}/ns/payments/sa/waypoint`] }))], settings),
    );
    assert.deepEqual(answers, ["let in", "refused", "refused"]);
  });
});
