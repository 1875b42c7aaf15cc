import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Kind } from "../../src/kube/kinds.ts";
import { type AnyObject, readObject } from "../../src/kube/object.ts";
import { overlay, withSettings } from "../../src/view/overlay.ts";
import { changedSettings, defaultMeshSettings } from "../../src/view/settings.ts";
import { sideBeside, sideOf } from "../../src/view/side.ts";
import { MeshStore } from "../../src/view/store.ts";
import { fact, forWording, index, reachedBy, relation, setting } from "../../src/view/view.ts";

const named = (kind: Kind, name: string): AnyObject => readObject(kind, { metadata: { namespace: "shop", name } });
const byNamespace = index("Service", ({ metadata }) => [metadata.namespace]);
const gatewaysBeside = relation(
  "gatewaysBeside",
  byNamespace,
  index("Gateway", ({ metadata }) => [metadata.namespace]),
);
const sidecarsBeside = relation(
  "sidecarsBeside",
  byNamespace,
  index("Sidecar", ({ metadata }) => [metadata.namespace]),
);

describe("two sides of a change", () => {
  let computed: string[] = [];
  const gateways = fact("gateways", "Service", [gatewaysBeside], (service, mesh) => {
    computed.push("gateways");
    return mesh.related(gatewaysBeside, service).length;
  });
  const all = fact("all", "Service", [gateways, sidecarsBeside], (service, mesh) => {
    computed.push("all");
    return mesh.get(gateways, service) + mesh.related(sidecarsBeside, service).length;
  });
  const isRegistryOnly = fact("isRegistryOnly", "Service", [setting("outboundTrafficPolicy")], (_, { settings }) => {
    computed.push("isRegistryOnly");
    return settings.outboundTrafficPolicy === "REGISTRY_ONLY";
  });
  const sidesAfter = (added: AnyObject) => {
    computed = [];
    const store = new MeshStore(defaultMeshSettings);
    store.set(named("Service", "api"));
    const service = store.find("Service", "shop/api");
    assert.ok(service?.kind === "Service");
    const before = sideOf(store);
    const after = sideBeside(before, overlay(before, [{ object: added }]), {
      kinds: new Set([added.kind]),
      settings: new Set(),
    });
    return { service, before, after };
  };

  test("compute a fact once if it reads nothing that changed", () => {
    const { service, before, after } = sidesAfter(named("Sidecar", "s"));
    assert.deepEqual([before.get(all, service), after.get(all, service)], [0, 1]);
    assert.deepEqual(computed, ["all", "gateways", "all"]);
  });

  test("compute a fact once, however changes reach it", () => {
    const { service, before, after } = sidesAfter(named("Sidecar", "s"));
    const others = [reachedBy(all, [sidecarsBeside]), forWording(all)];
    for (const mesh of [before, after]) for (const one of [all, ...others]) mesh.get(one, service);
    assert.deepEqual(computed, ["all", "gateways", "all"]);
  });

  test("compute a fact twice if it reads a setting that is different, and others once", () => {
    const { service, before } = sidesAfter(named("Sidecar", "s"));
    const settings = { ...before.settings, outboundTrafficPolicy: "REGISTRY_ONLY" };
    const difference = { kinds: new Set<Kind>(), settings: changedSettings(before.settings, settings) };
    const step = withSettings(before, settings, { entered: [], indexes: [] }).next();
    assert.ok(step.done === true);
    const after = sideBeside(before, step.value, difference);
    assert.deepEqual([before.get(isRegistryOnly, service), after.get(isRegistryOnly, service)], [false, true]);
    assert.deepEqual([before.get(gateways, service), after.get(gateways, service)], [0, 0]);
    assert.deepEqual(computed, ["isRegistryOnly", "isRegistryOnly", "gateways"]);
  });

  test("compute a fact of a key once if only objects from which its relations lead changed", () => {
    let times = 0;
    const under = fact("under", "key", [gatewaysBeside], (key, mesh) => {
      times++;
      return mesh.under(gatewaysBeside, [key]).length;
    });
    const { before, after } = sidesAfter(named("Service", "other"));
    assert.deepEqual([before.get(under, "shop"), after.get(under, "shop"), times], [0, 0, 1]);
    const changed = sidesAfter(named("Gateway", "g"));
    assert.deepEqual([changed.before.get(under, "shop"), changed.after.get(under, "shop"), times], [0, 1, 3]);
  });

  test("know undefined as the value of a fact", () => {
    let times = 0;
    const nothing = fact("nothing", "Service", [gatewaysBeside], (): undefined => {
      times++;
    });
    const { service, before } = sidesAfter(named("Sidecar", "s"));
    assert.deepEqual([before.get(nothing, service), before.get(nothing, service), times], [undefined, undefined, 1]);
  });

  test("compute a fact twice if a fact that it reads depends on what changed", () => {
    const { service, before, after } = sidesAfter(named("Gateway", "g"));
    assert.deepEqual([after.get(all, service), before.get(all, service)], [1, 0]);
    assert.deepEqual(computed, ["all", "gateways", "all", "gateways"]);
  });
});
