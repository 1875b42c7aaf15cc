import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { judge } from "../../src/engine/evaluate.ts";
import { identityOf, keyOf } from "../../src/kube/identity.ts";
import { type AnyObject, readObject } from "../../src/kube/object.ts";
import { effectOf } from "../../src/mesh/intents/effects.ts";
import { intentBroken } from "../../src/rules/intent/broken.ts";
import { type Change } from "../../src/view/overlay.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { someObjects } from "../meshes/arbitrary.ts";

const policy = (spec: object, metadata: object = {}) =>
  readObject("AuthorizationPolicy", { metadata: { namespace: "istio-system", name: "p", ...metadata }, spec });
const [admin, debug] = ["/admin/*", "/debug/*"].map((path) => ({ to: [{ operation: { paths: [path] } }] }));
const both = { to: [{ operation: { paths: ["/debug/*", "/admin/*"] } }] };
const many = (i: number) =>
  Array.from({ length: 40 }, (_, j) => ({
    to: [{ operation: { methods: [`M${j}`], paths: Array.from({ length: 40 * i }, (_path, k) => `*/${k}/${j}`) } }],
  }));
const denying = (...rules: unknown[]) => policy({ action: "DENY", rules });
const allowing = (...rules: unknown[]) => policy({ rules });
const mtls = (mode: string, metadata: object = {}) =>
  readObject("PeerAuthentication", {
    metadata: { namespace: "istio-system", name: "default", ...metadata },
    spec: { mtls: { mode } },
  });
const synced = { annotations: { "argocd.argoproj.io/tracking-id": "mesh" }, resourceVersion: "2" };
const dryRun = { annotations: { "istio.io/dry-run": "true" } };

describe("what one change can do to requests", () => {
  const cases: readonly (readonly [is: string, change: Change, effect: string])[] = [
    ["a DENY policy is created", { object: denying(admin) }, "denies"],
    ["a DENY policy is deleted", { old: denying(admin) }, "allows"],
    ["a DENY policy has a further rule", { old: denying(admin), object: denying(debug, admin) }, "denies"],
    ["a DENY policy loses a rule", { old: denying(debug, admin), object: denying(admin) }, "allows"],
    ["a DENY policy has another rule", { old: denying(debug), object: denying(admin) }, "any"],
    ["a DENY rule has a path more", { old: denying(admin), object: denying(both) }, "denies"],
    ["a DENY rule has a path fewer", { old: denying(both), object: denying(debug) }, "allows"],
    ["two DENY rules become one", { old: denying(admin, debug), object: denying(both) }, "nothing"],
    ["an ALLOW rule has a path more", { old: allowing(admin), object: allowing(both) }, "allows"],
    ["an ALLOW rule has a path fewer", { old: allowing(both), object: allowing(admin) }, "denies"],
    [
      "a DENY rule asks for what it did not ask for, where that is not known",
      { old: denying({}), object: denying(admin, { to: [{ operation: { notPaths: ["/admin/*"] } }] }) },
      "allows",
    ],
    [
      "two DENY rules with many paths each, of which to know it takes too much work",
      { old: denying(...many(1)), object: denying(...many(2)) },
      "any",
    ],
    [
      "the rules of a policy are in another order",
      { old: denying(debug, admin), object: denying(admin, debug) },
      "nothing",
    ],
    ["an ALLOW policy is created", { object: allowing(admin) }, "any"],
    ["an ALLOW policy is deleted", { old: allowing(admin) }, "any"],
    ["an ALLOW policy has a further rule", { old: allowing(admin), object: allowing(admin, debug) }, "allows"],
    ["an ALLOW policy loses its only rule", { old: allowing(admin), object: allowing() }, "denies"],
    ["a policy has another action", { old: allowing(admin), object: denying(admin) }, "any"],
    [
      "a policy selects others",
      {
        old: denying(admin),
        object: policy({ action: "DENY", selector: { matchLabels: { app: "x" } }, rules: [admin] }),
      },
      "any",
    ],
    [
      "a CUSTOM policy is created",
      { object: policy({ action: "CUSTOM", provider: { name: "x" }, rules: [{}] }) },
      "any",
    ],
    ["an AUDIT policy is created", { object: policy({ action: "AUDIT", rules: [{}] }) }, "nothing"],
    ["a dry run is created", { object: policy({ action: "DENY", rules: [{}] }, dryRun) }, "nothing"],
    [
      "a DENY policy becomes a dry run",
      { old: denying(admin), object: policy({ action: "DENY", rules: [admin] }, dryRun) },
      "allows",
    ],
    ["a tool annotates a policy", { old: policy({}), object: policy({}, synced) }, "nothing"],
    ["a tool annotates a PeerAuthentication", { old: mtls("STRICT"), object: mtls("STRICT", synced) }, "nothing"],
    [
      "a PeerAuthentication is created again, so that another one is older",
      { old: mtls("STRICT"), object: mtls("STRICT", { creationTimestamp: "2026-01-01T00:00:00Z" }) },
      "any",
    ],
    ["a PeerAuthentication has another mode", { old: mtls("STRICT"), object: mtls("PERMISSIVE") }, "any"],
    [
      "a policy has a field of the wrong type",
      { old: denying(admin), object: policy({ action: "DENY", rules: [admin, { to: 1 }] }) },
      "any",
    ],
  ];
  for (const [is, change, effect] of cases)
    test(is, () => {
      assert.equal(effectOf(change, defaultMeshSettings), effect);
    });
});

const expect = fc.constantFrom("allowed", "allowed", "denied", "denied", "encrypted", "routed");
const from = fc.constantFrom(
  ["mesh"],
  ["outside"],
  ["namespace/b"],
  ["serviceaccount/b/default"],
  ["ingress"],
  ["others"],
);
const intent = (namespace: string, name: string, to: object) =>
  fc
    .array(fc.record({ from, expect, destinations: fc.constant([{ subset: "v1", atLeast: 10 }]) }), {
      minLength: 1,
      maxLength: 3,
    })
    .map((requests) => readObject("MeshwardIntent", { metadata: { namespace, name }, spec: { to, requests } }));
const intents = fc.tuple(
  intent("a", "i", { service: "x" }),
  intent("a", "j", { workloads: { app: "x" } }),
  intent("istio-system", "l", { namespaces: { names: ["*"] } }),
);
const targets: readonly AnyObject[] = [
  readObject("Namespace", { metadata: { name: "a", labels: { "istio-injection": "enabled" } } }),
  readObject("Namespace", { metadata: { name: "istio-system" } }),
  readObject("Service", {
    metadata: { namespace: "a", name: "x" },
    spec: { selector: { app: "x" }, ports: [{ name: "http", port: 80 }] },
  }),
  readObject("Workload", {
    kind: "Deployment",
    metadata: { namespace: "a", name: "pods-x" },
    spec: {
      template: {
        metadata: { labels: { app: "x", version: "v1" } },
        spec: { containers: [{ ports: [{ containerPort: 80 }] }] },
      },
    },
  }),
];
const rule = fc.constantFrom(
  {},
  { from: [{ source: { namespaces: ["b"] } }] },
  { from: [{ source: { notPrincipals: ["*"] } }] },
  { to: [{ operation: { methods: ["GET"] } }] },
  { to: [{ operation: { paths: ["/x"] } }] },
  { to: [{ operation: { paths: ["/x", "/y/*"] } }] },
  { to: [{ operation: { paths: ["/*"] } }] },
  { to: [{ operation: { notPaths: ["/x"] } }] },
  { to: [{ operation: { paths: ["/x"], methods: ["GET"] } }] },
  { from: [{ source: { requestPrincipals: ["*"] } }] },
);
const spec = fc.record({
  action: fc.constantFrom("ALLOW", "DENY"),
  selector: fc.constantFrom(undefined, undefined, { matchLabels: { app: "x" } }),
  targetRefs: fc.constantFrom([], [], [{ group: "gateway.networking.k8s.io", kind: "Gateway", name: "w" }]),
});
/** Two versions of a policy, of which one may not exist. */
const versions = fc
  .tuple(fc.constantFrom("a", "istio-system"), spec, fc.array(rule, { maxLength: 2 }), fc.array(rule, { maxLength: 2 }))
  .chain(([namespace, of, rules, more]) => {
    const version = (some: readonly object[]) =>
      readObject("AuthorizationPolicy", { metadata: { namespace, name: "changed" }, spec: { ...of, rules: some } });
    const [less, others, all] = [version(rules), version(more), version([...rules, ...more])];
    return fc.constantFrom<Change>(
      { object: all },
      { old: all },
      { old: less, object: all },
      { old: all, object: less },
      { old: less, object: others },
    );
  });
/** Other objects that count where requests arrive. */
const atServers = fc
  .tuple(
    fc.constantFrom("a", "istio-system"),
    fc.constantFrom(undefined, { matchLabels: { app: "x" } }),
    fc.constantFrom("STRICT", "PERMISSIVE", "DISABLE"),
    fc.constantFrom("STRICT", "PERMISSIVE", "DISABLE"),
  )
  .chain(([namespace, selector, was, is]) => {
    const metadata = { namespace, name: "changed" };
    const mode = (one: string) =>
      readObject("PeerAuthentication", { metadata, spec: { selector, mtls: { mode: one } } });
    const tokensWith = (more: object) =>
      readObject("RequestAuthentication", { metadata, spec: { selector, jwtRules: [{ issuer: "x", ...more }] } });
    const tokens = tokensWith({});
    const writing = tokensWith({ outputPayloadToHeader: "x-a" });
    const labels = selector?.matchLabels;
    const filter = readObject("EnvoyFilter", {
      metadata,
      spec: { workloadSelector: labels && { labels }, configPatches: [{ applyTo: "HTTP_FILTER" }] },
    });
    return fc.constantFrom<Change>(
      { old: mode(was), object: mode(is) },
      { object: mode(is) },
      { old: mode(was) },
      { object: tokens },
      { old: tokens },
      { old: tokens, object: writing },
      { old: writing },
      { object: filter },
    );
  });
/** Rules of the root namespace, beside those that the mesh has. */
const clientRules = fc
  .tuple(
    fc.constantFrom("a", "istio-system"),
    fc.constantFrom("x.a.svc.cluster.local", "*.local", "*.a.svc.cluster.local"),
    fc.constantFrom({}, { tls: { mode: "DISABLE" } }, { tls: { mode: "ISTIO_MUTUAL" } }),
    fc.constantFrom([], [], [{ name: "v1", labels: { version: "v1" } }]),
  )
  .chain(([namespace, host, trafficPolicy, subsets]) => {
    const rule = (name: string, spec: object) => readObject("DestinationRule", { metadata: { namespace, name }, spec });
    const changed = rule("changed", { host, trafficPolicy, subsets });
    return fc.constantFrom<Change>(
      { object: changed },
      { old: changed },
      { old: rule("changed", { host }), object: changed },
    );
  });
/** With it, the effect of another change is not looked at, because it is not the only one. */
const unrelated = readObject("Telemetry", { metadata: { namespace: "a", name: "unrelated" }, spec: {} });

const warns = (one: string): boolean => one.endsWith(" warn") && !one.includes("can no longer be decided");

test("a token that is validated from now on ends what a policy for tokens denied", () => {
  const mesh = new MeshStore({ ...defaultMeshSettings, seen: true });
  const named = { namespace: "a", name: "x" };
  const forTokens = { rules: [{ from: [{ source: { requestPrincipals: ["*"] } }] }] };
  const denied = { to: { service: "x" }, requests: [{ from: ["mesh"], expect: "denied" }] };
  for (const object of targets) mesh.set(object);
  mesh.set(readObject("AuthorizationPolicy", { metadata: named, spec: forTokens }));
  mesh.set(readObject("MeshwardIntent", { metadata: named, spec: denied }));
  const tokens = readObject("RequestAuthentication", {
    metadata: { namespace: "istio-system", name: "tokens" },
    spec: { jwtRules: [{ issuer: "https://issuer.example" }] },
  });
  assert.equal(judge([intentBroken], mesh, [{ object: tokens }]).findings.length, 1);
});

test("a policy that denied everything decided for callers of a namespace whose labels are not known, and its end is told", () => {
  const mesh = new MeshStore({ ...defaultMeshSettings, seen: true });
  for (const object of targets) mesh.set(object);
  mesh.set(mtls("STRICT"));
  // It implies its namespace, and shows no label of it.
  mesh.set(readObject("KubernetesGateway", { kind: "Gateway", metadata: { namespace: "b", name: "w" } }));
  const old = policy({ rules: [] }, { namespace: "a" });
  mesh.set(old);
  const encrypted = { to: { service: "x" }, requests: [{ from: ["serviceaccount/b/default"], expect: "encrypted" }] };
  mesh.set(readObject("MeshwardIntent", { metadata: { namespace: "a", name: "x" }, spec: encrypted }));
  const [found, ...more] = judge([intentBroken], mesh, [{ old }]).findings;
  assert.match(found?.message ?? "", /can no longer be decided.*namespace b send requests/u);
  assert.equal(typeof found?.onlyWarns, "string");
  assert.deepEqual(more, []);
});

test("entries that a change cannot end are not broken by it", (t) => {
  let denied = 0;
  const numRuns = Number(process.env["RUNS"] ?? 600);
  fc.assert(
    fc.property(someObjects(8), intents, fc.oneof(versions, atServers, clientRules), (objects, own, change) => {
      const mesh = new MeshStore({ ...defaultMeshSettings, seen: true });
      for (const object of [...targets, ...objects, ...own]) mesh.set(object);
      if (change.old !== undefined) mesh.set(change.old);
      const told = (changes: readonly Change[]) =>
        judge([intentBroken], mesh, changes).findings.map(
          ({ subject, message, onlyWarns }) =>
            `${identityOf(subject)} ${message} ${onlyWarns === undefined ? "" : "warn"}`,
        );
      const all = told([change, { old: mesh.find("Telemetry", keyOf(unrelated)), object: unrelated }]);
      const found = told([change]);
      const denying = all.filter((one) => !warns(one));
      denied += denying.length;
      assert.deepEqual(found.filter((one) => !warns(one)).sort(), denying.sort());
      // Only a warning about what was undecided before can be missing: the change makes it known, and does not end it.
      for (const one of found) assert.ok(all.includes(one), one);
    }),
    { numRuns },
  );
  t.diagnostic(`${denied} entries are ended`);
  assert.ok(denied > numRuns / 20, `only ${denied} entries are ended`);
});
