import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { judge } from "../../../src/engine/evaluate.ts";
import { type AnyObject, impliedNamespace, type ObjectOf, readObject } from "../../../src/kube/object.ts";
import { atPort, mtlsOf, planes } from "../../../src/mesh/mtls/effective-mtls.ts";
import { weakenings } from "../../../src/mesh/mtls/weakenings.ts";
import { namespaceMtlsWeakened } from "../../../src/rules/namespace/mtls-weakened.ts";
import { peerAuthenticationPermissive } from "../../../src/rules/peer-authentication/permissive.ts";
import { defaultMeshSettings } from "../../../src/view/settings.ts";
import { MeshStore } from "../../../src/view/store.ts";
import type { Knowledge } from "../../../src/view/view.ts";

const namespace = impliedNamespace("payments");
const ports = [80, 81, 8080];

function meshOf(objects: readonly AnyObject[], workloads: Knowledge = "complete"): MeshStore {
  const mesh = new MeshStore(defaultMeshSettings, new Map([["Workload", workloads]]));
  for (const object of objects) mesh.set(object);
  return mesh;
}

const labels = fc.record(
  { app: fc.constantFrom("x", "y"), tier: fc.constantFrom("front", "back") },
  { requiredKeys: [] },
);
const mode = fc.constantFrom(undefined, "UNSET", "STRICT", "STRICT", "PERMISSIVE", "DISABLE");
const aPolicy = fc
  .record({
    namespace: fc.constantFrom("istio-system", "payments", "payments"),
    name: fc.constantFrom("a", "b", "c"),
    // Which of one age counts is not defined for ambient pods: that is tested with the modes.
    second: fc.integer({ min: 10, max: 59 }),
    spec: fc.record({
      selector: fc.option(labels.map((matchLabels) => ({ matchLabels }))),
      mtls: mode.map((each) => ({ mode: each })),
      portLevelMtls: fc.option(
        fc.dictionary(
          fc.constantFrom("80", "81"),
          mode.map((each) => ({ mode: each })),
        ),
      ),
    }),
  })
  .map(({ second, spec, ...metadata }) =>
    readObject("PeerAuthentication", {
      metadata: { ...metadata, creationTimestamp: `2026-01-01T00:00:${second}Z` },
      spec,
    }),
  );
const byIdentity = {
  selector: ({ metadata }: AnyObject) => `${metadata.namespace}/${metadata.name}`,
};
const somePolicies = fc.uniqueArray(aPolicy, { ...byIdentity, maxLength: 6 });
const someWorkloads = fc
  .uniqueArray(fc.record({ name: fc.constantFrom("p", "q", "r"), labels }), { selector: ({ name }) => name })
  .map((all) =>
    all.map(({ name, labels }) =>
      readObject("Workload", { kind: "Pod", metadata: { name, namespace: "payments", labels } }),
    ),
  );

/** One change of the policies: one goes, comes, or turns into another. */
const aChange = fc.tuple(somePolicies, fc.option(aPolicy)).map(([policies, next]) => {
  const isSame = (policy: AnyObject) => next !== null && byIdentity.selector(policy) === byIdentity.selector(next);
  const after = next === null ? policies.slice(1) : [...policies.filter((policy) => !isSame(policy)), next];
  return { before: policies, after };
});

/** Whether any port of a workload with these labels went from refusing to accepting, on any data plane. */
function isWeakened(before: MeshStore, after: MeshStore, old: Record<string, string>, now = old): boolean {
  const [was, is] = [mtlsOf(namespace, before), mtlsOf(namespace, after)];
  return planes.some((plane) =>
    ports.some(
      (port) => atPort(was.of(old, plane), port).mode === "STRICT" && atPort(is.of(now, plane), port).mode !== "STRICT",
    ),
  );
}
const sideOf = (mesh: MeshStore) => ({ object: namespace, mesh });

describe("weakenings", () => {
  test("known workloads: something is said exactly where a workload was weakened", () => {
    fc.assert(
      fc.property(aChange, someWorkloads, someWorkloads, (change, old, now) => {
        const before = meshOf([...change.before, ...old]);
        const after = meshOf([...change.after, ...now]);
        const kept = old.flatMap((workload) => {
          const same = now.find(({ metadata }) => metadata.name === workload.metadata.name);
          return same === undefined ? [] : [[workload.pod.labels, same.pod.labels] as const];
        });
        const expected = kept.some(([was, is]) => isWeakened(before, after, was, is));
        assert.equal([...weakenings(sideOf(before), sideOf(after))].length > 0, expected);
      }),
      { numRuns: 2000 },
    );
  });

  test("unknown workloads: something is said exactly where some labels make a workload that was weakened", () => {
    const everyLabels = [undefined, "x", "y"].flatMap((app) =>
      [undefined, "front", "back"].map((tier) => ({ ...(app ? { app } : {}), ...(tier ? { tier } : {}) })),
    );
    fc.assert(
      fc.property(aChange, (change) => {
        const before = meshOf(change.before, "unknown");
        const after = meshOf(change.after, "unknown");
        const expected = everyLabels.some((each) => isWeakened(before, after, each));
        assert.equal([...weakenings(sideOf(before), sideOf(after))].length > 0, expected);
      }),
      { numRuns: 2000 },
    );
  });

  test("what stays as it is, is not weakened, and no change is weaker both ways", () => {
    fc.assert(
      fc.property(aChange, someWorkloads, (change, workloads) => {
        const before = meshOf([...change.before, ...workloads]);
        const after = meshOf([...change.after, ...workloads]);
        assert.deepEqual([...weakenings(sideOf(before), sideOf(before))], []);
        for (const { of, port, was, is } of weakenings(sideOf(before), sideOf(after))) {
          assert.equal(was.mode, "STRICT");
          assert.notEqual(is.mode, "STRICT");
          assert.ok(of === "namespace" || "pod" in of, `a workload is named, port ${port}`);
        }
      }),
    );
  });

  test("what is weakened is said, of the namespace or of the policy that says so itself", () => {
    let weakened = 0;
    fc.assert(
      fc.property(somePolicies, aPolicy, fc.boolean(), someWorkloads, (policies, next, isDeletion, workloads) => {
        const isSame = (policy: AnyObject) => byIdentity.selector(policy) === byIdentity.selector(next);
        const old = isDeletion ? policies[0] : policies.find(isSame);
        const object = isDeletion ? undefined : next;
        if (old === undefined && object === undefined) return;
        const { findings, before, after } = judge(
          [peerAuthenticationPermissive, namespaceMtlsWeakened],
          meshOf([...policies, ...workloads]),
          [{ old, object }],
        );
        const [was, is] = [before, after].map(
          (mesh) => mesh.find("Namespace", "/payments") as typeof namespace | undefined,
        );
        if (was === undefined || is === undefined) return;
        const expected = [...weakenings({ object: was, mesh: before }, { object: is, mesh: after })].length > 0;
        if (expected) weakened++;
        const said = findings.filter(
          ({ introduced, subject }) => introduced && subject.metadata.namespace !== "istio-system",
        );
        if (expected) assert.ok(said.length > 0);
      }),
      { numRuns: 3000 },
    );
    assert.ok(weakened > 100, `only ${weakened} changes weakened anything`);
  });

  test("what follows the namespace is said once", () => {
    const strict = readObject("PeerAuthentication", {
      metadata: { name: "a", namespace: "payments" },
      spec: { mtls: { mode: "STRICT" } },
    });
    const pods = ["p", "q", "r"].map((name) =>
      readObject("Workload", { kind: "Pod", metadata: { name, namespace: "payments" } }),
    );
    const found = [...weakenings(sideOf(meshOf([strict, ...pods])), sideOf(meshOf(pods)))];
    assert.deepEqual(
      found.map(({ of }) => of),
      ["namespace"],
    );
  });
});

test("the root namespace moves, and what the mesh demanded stays behind", () => {
  const meshConfig = (rootNamespace: string): ObjectOf<"MeshConfig"> =>
    readObject("MeshConfig", {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "istio", namespace: "istio-system" },
      data: { mesh: `rootNamespace: ${rootNamespace}\n` },
    });
  const strict = (namespace: string) =>
    readObject("PeerAuthentication", { metadata: { name: "a", namespace }, spec: { mtls: { mode: "STRICT" } } });
  const pod = (namespace: string) => readObject("Workload", { kind: "Pod", metadata: { name: "p", namespace } });
  const old = meshConfig("istio-system");
  const mesh = meshOf([old, strict("istio-system"), strict("orders"), pod("payments"), pod("orders")]);
  const { findings } = judge([namespaceMtlsWeakened], mesh, [{ old, object: meshConfig("mesh-root") }]);
  assert.deepEqual(
    findings.map(({ subject, message }) => `${subject.metadata.name}: ${message}`),
    ["payments: Workloads accept plaintext: no PeerAuthentication requires mTLS"],
  );
});
