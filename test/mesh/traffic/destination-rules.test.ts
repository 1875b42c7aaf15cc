import assert from "node:assert/strict";
import test from "node:test";
import { readObject } from "../../../src/kube/object.ts";
import { destinationRulesFor } from "../../../src/mesh/traffic/destination-rule-lookup.ts";
import { destinationRuleOf, destinationRulesOfSome } from "../../../src/mesh/traffic/destination-rules-of-host.ts";
import type { DestinationRule } from "../../../src/mesh/traffic/destination-rules.ts";
import { defaultMeshSettings, type AllMeshSettings } from "../../../src/view/settings.ts";

const settings: AllMeshSettings = { ...defaultMeshSettings, rootNamespace: "root" };
const service = { host: "cart.shop.svc.cluster.local", namespace: "shop" };

/** `namespace/name`, in the order of their age. */
function rules(specs: Readonly<Record<string, object>>): readonly DestinationRule[] {
  return Object.entries(specs).map(([id, spec], i) => {
    const [namespace, name] = id.split("/");
    const metadata = { namespace, name, creationTimestamp: `2026-01-0${i + 1}T00:00:00Z` };
    return readObject("DestinationRule", { metadata, spec: { host: service.host, ...spec } });
  });
}

function used(client: string, candidates: readonly DestinationRule[], labels = {}, mesh = settings): string {
  const picked = destinationRuleOf(labels, client, destinationRulesFor(client, service, candidates, mesh));
  return picked?.from.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`).join(" + ") ?? "none";
}

test("client's namespace, then the service's, then the root namespace", () => {
  const all = rules({ "root/r": {}, "shop/s": {}, "web/w": {} });
  assert.equal(used("web", all), "web/w");
  assert.equal(used("other", all), "shop/s");
  assert.equal(used("other", rules({ "root/r": {}, "web/w": {} })), "root/r");
  assert.equal(used("other", rules({ "web/w": {} })), "none");
});

test("the client's own rule hides the service's, however broad it is", () => {
  const all = rules({ "shop/s": {}, "web/w": { host: "*.local" }, "batch/b": { host: "*", exportTo: ["web"] } });
  assert.equal(used("web", all), "web/w");
  assert.equal(used("batch", all), "shop/s", "exported elsewhere only");
});

test("for clients in the root namespace only its private rules come first", () => {
  assert.equal(used("root", rules({ "root/r": {}, "shop/s": {} })), "shop/s");
  assert.equal(used("root", rules({ "root/r": { exportTo: ["."] }, "shop/s": {} })), "root/r");
  const isPrivate = { ...settings, defaultDestinationRuleExportTo: ["."] };
  assert.equal(used("root", rules({ "root/r": {}, "shop/s": { exportTo: ["*"] } }), {}, isPrivate), "root/r");
});

test("the most specific host is taken before exportTo is asked", () => {
  const all = rules({
    "shop/exact": { exportTo: ["web"] },
    "shop/wide": { host: "*.shop.svc.cluster.local" },
    "root/r": {},
  });
  assert.equal(used("web", all), "shop/exact");
  assert.equal(used("other", all), "root/r");
  const isPrivate = rules({ "shop/exact": { exportTo: ["."] }, "shop/wide": { host: "*.shop.svc.cluster.local" } });
  assert.equal(used("other", isPrivate), "shop/wide", "a private rule is not in the pool of others");
});

test("the mesh default of exportTo counts where it is private", () => {
  const isPrivate = { ...settings, defaultDestinationRuleExportTo: ["."] };
  assert.equal(used("web", rules({ "shop/s": {} }), {}, isPrivate), "none");
  assert.equal(used("shop", rules({ "shop/s": {} }), {}, isPrivate), "shop/s");
  assert.equal(used("web", rules({ "shop/s": { exportTo: ["*"] } }), {}, isPrivate), "shop/s");
});

test("rules of one host and namespace are merged: subsets added, the oldest trafficPolicy stays", () => {
  const all = rules({
    "shop/a": { host: "cart", subsets: [{ name: "v1", labels: { version: "a" } }] },
    "shop/b": {
      subsets: [{ name: "v1", labels: { version: "b" } }, { name: "v2" }],
      trafficPolicy: { tls: { mode: "SIMPLE" } },
    },
    "shop/c": { trafficPolicy: { tls: { mode: "DISABLE" } } },
  });
  const [merged, ...more] = destinationRulesFor("shop", service, all.toReversed(), settings);
  assert.deepEqual(more, []);
  assert.deepEqual(
    merged?.subsets.map(({ name, labels }) => [name, labels.version]),
    [
      ["v1", "a"],
      ["v2", undefined],
    ],
  );
  assert.equal(merged?.trafficPolicy?.tls?.mode, "SIMPLE");
});

test("unset and * are different sets: the newer rule wins outright", () => {
  assert.equal(used("web", rules({ "shop/a": {}, "shop/b": { exportTo: ["*"] } })), "shop/b");
  assert.equal(used("web", rules({ "shop/a": { exportTo: ["*"] }, "shop/b": {} })), "shop/b");
});

test("a newer, wider rule is taken in and not kept", () => {
  const all = rules({ "shop/a": { exportTo: ["web"] }, "shop/b": { exportTo: ["web", "other"] } });
  assert.equal(used("web", all), "shop/a + shop/b");
  assert.equal(used("other", all), "none");
});

test("a rule with a workloadSelector is private, comes first, and is for those it selects", () => {
  const selector = { workloadSelector: { matchLabels: { app: "worker" } } };
  const all = rules({ "web/plain": { exportTo: ["*"] }, "web/worker": selector, "shop/s": {} });
  assert.equal(used("web", all, { app: "worker", version: "v1" }), "web/worker");
  assert.equal(used("web", all, { app: "web" }), "web/plain");
  assert.equal(used("web", rules({ "web/worker": selector, "shop/s": {} })), "none", "others find nothing");
  assert.equal(used("other", rules({ "shop/worker": { ...selector, exportTo: ["*"] } })), "none");
});

test("a private rule without selector disappears into one with a selector", () => {
  const selector = { workloadSelector: { matchLabels: { app: "worker" } } };
  const plain = { exportTo: ["."] };
  for (const all of [
    rules({ "web/worker": selector, "web/plain": plain }),
    rules({ "web/plain": plain, "web/worker": selector }),
  ]) {
    assert.equal(used("web", all, { app: "worker" }), "web/worker + web/plain");
    assert.equal(used("web", all), "none");
  }
});

test("what some workload of a namespace may use", () => {
  const of = (specs: Readonly<Record<string, object>>) =>
    destinationRulesOfSome("web", destinationRulesFor("web", service, rules(specs), settings)).map((merged) =>
      merged?.from.map(({ metadata }) => metadata.name).join("+"),
    );
  const selector = (app: string) => ({ workloadSelector: { matchLabels: { app } } });
  assert.deepEqual(of({ "web/a": {} }), ["a"]);
  assert.deepEqual(of({}), [undefined]);
  assert.deepEqual(of({ "web/a": selector("a"), "web/b": selector("b"), "web/c": {} }), ["a", "b", "c"]);
  assert.deepEqual(of({ "web/a": selector("a") }), ["a", undefined]);
  assert.deepEqual(of({ "web/a": selector("a"), "web/b": { workloadSelector: {} }, "web/c": {} }), ["a", "b"]);
});
