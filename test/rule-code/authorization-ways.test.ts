import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { judge } from "../../src/engine/evaluate.ts";
import { modesOf } from "../../src/engine/rule.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { rules } from "../../src/rules/index.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";

// Ways to write ALLOW policies that seem to restrict somebody, and DENY policies that seem to be there, in a protected
// namespace: beside the default deny, or instead of it. What is due is the strongest mode in which a rule reports it.

type Mode = "deny" | "warn" | "silent";
type DataPlane = "sidecar" | "ambient";

const ids = new Set([
  "authorization-policy-allows-everyone",
  "namespace-default-deny-removed",
  "namespace-authorization-opened",
  "namespace-authorization-widened",
  "namespace-deny-weakened",
]);
const judging = rules.filter(({ id }) => ids.has(id));

const read = (raw: object): AnyObject => {
  const object = readAny(raw);
  assert.ok(object !== undefined);
  return object;
};
const policy = (name: string, spec: object): AnyObject =>
  read({
    apiVersion: "security.istio.io/v1",
    kind: "AuthorizationPolicy",
    metadata: { name, namespace: "payments" },
    spec,
  });
const surroundings = (plane: DataPlane): readonly AnyObject[] => [
  read({
    apiVersion: "v1",
    kind: "Namespace",
    metadata: {
      name: "payments",
      labels: plane === "ambient" ? { "istio.io/dataplane-mode": "ambient" } : { "istio-injection": "enabled" },
    },
  }),
  ...["api", "worker"].map((app) =>
    read({
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: app, namespace: "payments" },
      spec: { template: { metadata: { labels: { app } } } },
    }),
  ),
];

interface Step {
  readonly before: readonly AnyObject[];
  readonly old?: AnyObject | undefined;
  readonly object?: AnyObject | undefined;
}

/** The strongest mode of what a change introduces. */
function modeOf({ before, old, object }: Step, plane: DataPlane): Mode {
  const mesh = new MeshStore(defaultMeshSettings);
  for (const one of [...surroundings(plane), ...before]) mesh.set(one);
  const { findings, errors } = judge(judging, mesh, [{ old, object }]);
  assert.deepEqual(errors, []);
  const modes = findings
    .filter(({ introduced }) => introduced)
    .map(({ rule, onlyWarns }) => (onlyWarns === undefined ? modesOf(rule).protected : "warn"));
  return modes.includes("deny") ? "deny" : modes.includes("warn") ? "warn" : "silent";
}

const from = (...sources: readonly object[]) => ({ from: sources.map((source) => ({ source })) });
const to = (...operations: readonly object[]) => ({ to: operations.map((operation) => ({ operation })) });
const when = (key: string, values: readonly string[], notValues: readonly string[] = []) => ({
  when: [{ key, values, notValues }],
});
const letters = Array.from({ length: 26 }, (_, i) => String.fromCharCode(97 + i));
const everyMethod = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const denyAll = policy("deny-all", {});

describe("rules that admit more than they name", () => {
  // What is due at sidecars, and at ztunnel.
  const ways: readonly [string, readonly object[], Mode, Mode][] = [
    ["no restriction", [{}], "deny", "deny"],
    ["notPrincipals", [from({ notPrincipals: ["cluster.local/ns/a/sa/b"] })], "deny", "deny"],
    ["notPrincipals with a pattern", [from({ notPrincipals: ["*/sa/nobody"] })], "deny", "deny"],
    ["notNamespaces", [from({ notNamespaces: ["nobody"] })], "deny", "deny"],
    ["notServiceAccounts", [from({ notServiceAccounts: ["a/b"] })], "deny", "deny"],
    ["notTrustDomains", [from({ notTrustDomains: ["elsewhere"] })], "deny", "silent"],
    ["notIpBlocks", [from({ notIpBlocks: ["192.0.2.1"] })], "deny", "deny"],
    ["notRemoteIpBlocks", [from({ notRemoteIpBlocks: ["192.0.2.1"] })], "deny", "silent"],
    ["notRequestPrincipals", [from({ notRequestPrincipals: ["*"] })], "deny", "silent"],
    ["two halves of IPv4", [from({ ipBlocks: ["0.0.0.0/1", "128.0.0.0/1"] })], "deny", "deny"],
    ["two halves in two sources", [from({ ipBlocks: ["0.0.0.0/1"] }, { ipBlocks: ["128.0.0.0/1"] })], "deny", "deny"],
    [
      "two halves in two rules",
      [from({ ipBlocks: ["0.0.0.0/1"] }), from({ ipBlocks: ["128.0.0.0/1"] })],
      "deny",
      "deny",
    ],
    ["almost all of IPv4", [from({ ipBlocks: ["0.0.0.0/2", "64.0.0.0/3", "128.0.0.0/1"] })], "deny", "deny"],
    ["all of IPv6", [from({ ipBlocks: ["::/1", "8000::/1"] })], "deny", "deny"],
    ["remote addresses", [from({ remoteIpBlocks: ["0.0.0.0/1", "128.0.0.0/1"] })], "deny", "silent"],
    ["all but one address", [from({ ipBlocks: ["0.0.0.0/0"], notIpBlocks: ["192.0.2.1"] })], "deny", "deny"],
    ["notPaths", [to({ notPaths: ["/x"] })], "deny", "silent"],
    ["notMethods", [to({ notMethods: ["TRACE"] })], "deny", "silent"],
    ["notMethods of a usual method", [to({ notMethods: ["DELETE"] })], "deny", "silent"],
    ["notHosts", [to({ notHosts: ["x"] })], "deny", "silent"],
    ["notPorts", [to({ notPorts: ["9"] })], "deny", "deny"],
    ["paths and notPaths", [to({ paths: ["/*"], notPaths: ["/x"] })], "deny", "silent"],
    ["all methods", [to({ methods: everyMethod })], "deny", "silent"],
    ["all methods in several rules", everyMethod.map((method) => to({ methods: [method] })), "deny", "silent"],
    ["patterns of methods", [to({ methods: ["G*", "P*", "D*", "H*", "O*"] })], "deny", "silent"],
    ["templates of paths", [to({ paths: ["/{*}", "/{*}/{**}", "/"] })], "deny", "silent"],
    ["a template and its slash", [to({ paths: ["/{**}"] })], "deny", "silent"],
    ["letters of paths", [to({ paths: letters.map((letter) => `/${letter}*`) })], "deny", "silent"],
    ["a suffix of every path", [to({ paths: letters.map((letter) => `*${letter}`) })], "deny", "silent"],
    ["all hosts", [to({ hosts: ["*"], notHosts: ["x"] })], "deny", "silent"],
    ["the port of the workload", [to({ ports: ["8080"] })], "deny", "deny"],
    ["the port as a condition", [when("destination.port", ["8080"])], "deny", "deny"],
    ["the address of the workload", [when("destination.ip", ["0.0.0.0/0"])], "deny", "deny"],
    ["notValues of a principal", [when("source.principal", [], ["x"])], "deny", "deny"],
    ["notValues of a namespace", [when("source.namespace", [], ["x"])], "deny", "deny"],
    ["notValues of an address", [when("source.ip", [], ["192.0.2.1"])], "deny", "deny"],
    ["notValues of a port", [when("destination.port", [], ["9"])], "deny", "deny"],
    ["notValues of a header", [when("request.headers[x]", [], ["x"])], "deny", "silent"],
    ["notValues of a claim", [when("request.auth.claims[x]", [], ["x"])], "deny", "silent"],
    ["notValues of an audience", [when("request.auth.audiences", [], ["x"])], "deny", "silent"],
    ["notValues of an SNI", [when("connection.sni", [], ["x"])], "deny", "silent"],
    ["notValues of a trust domain", [when("source.trustDomain", [], ["x"])], "deny", "silent"],
    ["a header that everybody sends", [when("request.headers[user-agent]", ["*"])], "deny", "silent"],
    ["a method as a header", [when("request.headers[:method]", ["*"])], "deny", "silent"],
    ["a header of one's own", [when("request.headers[x-key]", ["1"])], "deny", "silent"],
    ["one method", [to({ methods: ["GET"] })], "deny", "silent"],
    ["one path of the service", [to({ paths: ["/transfer"] })], "deny", "silent"],
    ["one source of two", [from({ namespaces: ["web"] }, { notNamespaces: ["x"] })], "deny", "deny"],
    // Whoever has an identity.
    ["every principal", [from({ principals: ["*"] })], "deny", "deny"],
    ["the start of the trust domain", [from({ principals: ["c*"] })], "deny", "deny"],
    ["every letter", [from({ namespaces: letters.map((letter) => `${letter}*`) })], "deny", "deny"],
    ["one letter", [from({ namespaces: ["a*"] })], "warn", "warn"],
    ["an end that all identities have", [from({ namespaces: ["*sa"] })], "deny", "warn"],
    ["the own trust domain", [from({ trustDomains: ["cluster.local"] })], "deny", "silent"],
    // Whoever is named.
    ["a namespace", [from({ namespaces: ["web"] })], "warn", "warn"],
    ["a small network", [from({ ipBlocks: ["10.0.0.0/16"] })], "warn", "warn"],
    ["the port of the sidecar's metrics", [to({ ports: ["15020"] })], "silent", "deny"],
    ["a health path", [to({ paths: ["/healthz"], methods: ["GET", "HEAD"] })], "warn", "silent"],
    // Nobody.
    ["a contradiction", [from({ namespaces: ["web"], notNamespaces: ["web"] })], "silent", "silent"],
    [
      "notPrincipals of everybody with an identity",
      [from({ principals: ["*"], notPrincipals: ["*"] })],
      "silent",
      "silent",
    ],
    ["nobody by address", [from({ notIpBlocks: ["0.0.0.0/0", "::/0"] })], "silent", "silent"],
  ];
  for (const [title, some, atSidecars, atZtunnel] of ways)
    for (const [plane, due] of [
      ["sidecar", atSidecars],
      ["ambient", atZtunnel],
    ] as const)
      test(`${title} (${plane})`, () => {
        const allow = policy("allow", { rules: some });
        assert.equal(modeOf({ before: [denyAll], object: allow }, plane), due, "beside the default deny");
        const rewritten = policy("deny-all", { rules: some });
        assert.equal(modeOf({ before: [denyAll], old: denyAll, object: rewritten }, plane), due, "instead of it");
        const more = policy("allow", { rules: [from({ namespaces: ["web"] }), ...some] });
        const web = policy("allow", { rules: [from({ namespaces: ["web"] })] });
        const dueBeside = title === "a namespace" ? "silent" : due;
        assert.equal(modeOf({ before: [denyAll, web], old: web, object: more }, plane), dueBeside, "beside a rule");
      });
});

describe("policies together", () => {
  const table: readonly [string, readonly AnyObject[], AnyObject | undefined, AnyObject | undefined, Mode][] = [
    [
      "two policies that open everything together",
      [denyAll, policy("reads", { rules: [{ ...from({ namespaces: ["web"] }), ...to({ methods: ["GET"] }) }] })],
      undefined,
      policy("writes", { rules: [to({ methods: ["POST", "PUT", "PATCH", "DELETE"] })] }),
      "deny",
    ],
    [
      "a DENY of everybody but one goes",
      [policy("gate", gate(["web"]))],
      policy("gate", gate(["web"])),
      undefined,
      "deny",
    ],
    [
      "a gate that gets an exception",
      [policy("gate", gate(["web"]))],
      policy("gate", gate(["web"])),
      policy("gate", gate(["web", "x"])),
      "deny",
    ],
    [
      "a gate that is written as a condition",
      [policy("gate", gate(["web"]))],
      policy("gate", gate(["web"])),
      policy("gate", { action: "DENY", rules: [when("source.namespace", [], ["web"])] }),
      "silent",
    ],
    [
      "a gate that becomes an ALLOW",
      [policy("gate", gate(["web"]))],
      policy("gate", gate(["web"])),
      policy("gate", { rules: [from({ namespaces: ["web"] })] }),
      "silent",
    ],
    [
      "a gate that is emptied",
      [policy("gate", gate(["web"]))],
      policy("gate", gate(["web"])),
      policy("gate", { action: "DENY" }),
      "deny",
    ],
    [
      "a gate that gets a selector of nobody",
      [policy("gate", gate(["web"]))],
      policy("gate", gate(["web"])),
      policy("gate", { ...gate(["web"]), selector: { matchLabels: { app: "x" } } }),
      "deny",
    ],
    [
      "an ALLOW that names fewer",
      [policy("allow", { rules: [from({ namespaces: ["web", "x"] })] })],
      policy("allow", { rules: [from({ namespaces: ["web", "x"] })] }),
      policy("allow", { rules: [from({ namespaces: ["x"] })] }),
      "silent",
    ],
    [
      "an ALLOW in another order",
      [policy("allow", { rules: [from({ namespaces: ["web", "x"] }), to({ paths: ["/healthz"] })] })],
      policy("allow", { rules: [from({ namespaces: ["web", "x"] }), to({ paths: ["/healthz"] })] }),
      policy("allow", { rules: [to({ paths: ["/healthz"] }), from({ namespaces: ["x"] }, { namespaces: ["web"] })] }),
      "silent",
    ],
  ];
  for (const [title, before, old, object, due] of table)
    test(title, () => assert.equal(modeOf({ before, old, object }, "sidecar"), due));
});

function gate(namespaces: readonly string[]): object {
  return { action: "DENY", rules: [from({ notNamespaces: namespaces })] };
}
