import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Kind } from "../../src/kube/kinds.ts";
import { type AnyObject, readObject } from "../../src/kube/object.ts";
import { oldestFirst } from "../../src/mesh/objects/creation-order.ts";
import { isServed } from "../../src/mesh/objects/revision.ts";
import { selects } from "../../src/mesh/objects/selectors.ts";
import { overlay } from "../../src/view/overlay.ts";
import {
  type AllMeshSettings,
  decidesSettings,
  defaultMeshSettings,
  meshSettingsOf,
  settingsObjects,
} from "../../src/view/settings.ts";
import { sideOf } from "../../src/view/side.ts";
import { MeshStore } from "../../src/view/store.ts";
import { index, type Mesh, relation } from "../../src/view/view.ts";

const object = (kind: Kind, namespace: string, name: string, rest: object = {}): AnyObject =>
  readObject(kind, { metadata: { namespace, name, ...rest } });
const namespaceOf = (mesh: Mesh, name: string) => mesh.find("Namespace", `/${name}`);
const storeOf = (...objects: AnyObject[]) => {
  const mesh = new MeshStore(defaultMeshSettings);
  for (const each of objects) mesh.set(each);
  return mesh;
};

describe("implied namespaces", () => {
  const service = object("Service", "shop", "api");
  const shop = object("Namespace", "", "shop");

  test("what lives somewhere implies its Namespace until someone shows it", () => {
    const mesh = storeOf(service);
    assert.equal(namespaceOf(mesh, "shop")?.implied, true);
    mesh.set(shop);
    assert.equal(namespaceOf(mesh, "shop"), shop);
    mesh.delete("Namespace", "/shop");
    assert.equal(namespaceOf(mesh, "shop")?.implied, true);
    mesh.delete("Service", "shop/api");
    assert.equal(namespaceOf(mesh, "shop"), undefined);
  });

  test("an overlay implies as the store does", () => {
    const empty = storeOf();
    const created = overlay(empty, [{ object: service }]);
    assert.equal(namespaceOf(created, "shop")?.implied, true);
    assert.equal(namespaceOf(empty, "shop"), undefined);
    assert.equal(namespaceOf(overlay(created, [{ old: service }]), "shop"), undefined);
    assert.equal(namespaceOf(overlay(created, [{ object: shop }]), "shop"), shop);
    assert.equal(namespaceOf(overlay(storeOf(service, shop), [{ old: shop }]), "shop")?.implied, true);
    assert.equal(namespaceOf(overlay(storeOf(shop), [{ old: shop }]), "shop"), undefined);
    assert.equal(namespaceOf(overlay(empty, [], ["shop"]), "shop")?.implied, true);
  });

  test("an object written twice is counted once", () => {
    const mesh = storeOf(service, object("Service", "shop", "api", { labels: { a: "b" } }));
    assert.equal(mesh.population("shop"), 1);
    mesh.delete("Service", "shop/api");
    mesh.delete("Service", "shop/api");
    assert.equal(mesh.population("shop"), 0);
  });
});

describe("relations", () => {
  const servicesByNamespace = index("Service", ({ metadata }) => [metadata.namespace]);
  const other = object("Service", "other", "web");
  const servicesOfNamespace = relation(
    "servicesOfNamespace",
    index("Namespace", ({ metadata }) => [metadata.name]),
    index("Service", ({ metadata }) => [metadata.namespace, metadata.labels.also ?? ""]),
  );
  const names = (mesh: Mesh, namespace: string) =>
    mesh
      .related(servicesOfNamespace as never, object("Namespace", "", namespace) as never)
      .map((service: AnyObject) => service.metadata.name)
      .sort();

  test("follow what is written, replaced and deleted", () => {
    const mesh = storeOf(
      object("Service", "shop", "api"),
      object("Service", "bank", "api", { labels: { also: "shop" } }),
    );
    assert.deepEqual(names(mesh, "shop"), ["api", "api"]);
    mesh.set(object("Service", "bank", "api"));
    assert.deepEqual(names(mesh, "shop"), ["api"]);
    mesh.delete("Service", "shop/api");
    assert.deepEqual(names(mesh, "shop"), []);
  });

  test("an overlay shows the new, hides the old, and leaves what is below alone", () => {
    const old = object("Service", "shop", "api");
    const mesh = storeOf(old, object("Service", "shop", "web"));
    const moved = object("Service", "shop", "api", { labels: { also: "bank" } });
    const after = overlay(mesh, [{ old, object: moved }]);
    assert.deepEqual([names(after, "shop"), names(after, "bank")], [["api", "web"], ["api"]]);
    assert.deepEqual([...after.all("Service")].length, 2);
    assert.deepEqual([names(mesh, "shop"), names(mesh, "bank")], [["api", "web"], []]);
  });

  test("one side of a change hands out one list for one key, and the next side the same one where nothing changed", () => {
    const mesh = storeOf(object("Service", "shop", "api"), object("Service", "other", "api"), other);
    const before = sideOf(mesh);
    const after = sideOf(overlay(before, [{ old: other }]));
    const keptIn = (side: Mesh, namespace: string) => side.lookup(servicesByNamespace, [namespace]);
    assert.equal(keptIn(before, "shop"), keptIn(before, "shop"));
    assert.equal(keptIn(before, "shop"), keptIn(after, "shop"));
    assert.deepEqual(keptIn(before, "other").length, 2);
    assert.deepEqual(keptIn(after, "other").length, 1);
  });

  test("workloads of different origin may share a name", () => {
    const deployment = readObject("Workload", { kind: "Deployment", metadata: { namespace: "shop", name: "api" } });
    const job = readObject("Workload", { kind: "Job", metadata: { namespace: "shop", name: "api" } });
    const mesh = storeOf(deployment, job);
    assert.equal(mesh.count("Workload"), 2);
    assert.equal(mesh.find("Workload", "shop/Job/api"), job);
  });
});

describe("order of creation", () => {
  const at = (namespace: string, name: string, creationTimestamp?: string) =>
    object("PeerAuthentication", namespace, name, { creationTimestamp });
  const order = (...objects: AnyObject[]) =>
    objects.sort(oldestFirst).map(({ metadata }) => `${metadata.namespace}/${metadata.name}`);

  test("time, then name, then namespace; what has no time yet is the youngest", () => {
    assert.deepEqual(
      order(
        at("b", "new"),
        at("b", "same", "2026-01-02T00:00:00Z"),
        at("a", "same", "2026-01-02T00:00:00Z"),
        at("a", "first", "2026-01-02T00:00:00Z"),
        at("z", "zzz", "2026-01-01T00:00:00Z"),
      ),
      ["z/zzz", "a/first", "a/same", "b/same", "b/new"],
    );
  });
});

test("a selector wants all its labels; an empty one selects everything", () => {
  assert.equal(selects({ a: "1", b: "2" }, { a: "1", b: "2", c: "3" }), true);
  assert.equal(selects({ a: "1", b: "2" }, { a: "1" }), false);
  assert.equal(selects({}, {}), true);
});

describe("mesh settings", () => {
  const config = (name: string, mesh: string, namespace = "istio-system") =>
    readObject("MeshConfig", { metadata: { name, namespace }, data: { mesh } });

  test("are Istio's defaults where no mesh config says otherwise", () => {
    assert.deepEqual(meshSettingsOf([]), defaultMeshSettings);
    const settings = meshSettingsOf([config("istio", "rootNamespace: mesh-root\nenableAutoMtls: false")]);
    assert.deepEqual([settings.rootNamespace, settings.autoMtls, settings.seen], ["mesh-root", false, true]);
    assert.deepEqual(settings.defaultServiceExportTo, ["*"]);
    assert.equal(meshSettingsOf([config("istio", "rootNamespace: elsewhere", "shop")]).rootNamespace, "istio-system");
  });

  const networks = (meshNetworks: unknown, namespace = "istio-system") =>
    readObject("MeshConfig", { metadata: { name: "istio", namespace }, data: { mesh: "", meshNetworks } });
  const crossNetwork = (mode: string, name = "cross-network-gateway") =>
    readObject("Gateway", {
      metadata: { name, namespace: "istio-system" },
      spec: { servers: [{ port: { number: 15443 }, tls: { mode }, hosts: ["*.local"] }] },
    });
  const ofNetwork = (name: string) =>
    object("Namespace", "", name, { labels: { "topology.istio.io/network": "network1" } });
  const clusters: [string, AnyObject, boolean][] = [
    ["several networks", networks("networks: {n1: {}, n2: {}}"), true],
    ["several clusters in one", networks("networks: {n1: {endpoints: [{fromRegistry: a}, {from_registry: b}]}}"), true],
    ["one cluster in one", networks("networks: {n1: {endpoints: [{fromRegistry: a}, {fromCidr: 10.0.0.0/8}]}}"), false],
    ["no networks", networks("networks: {}"), false],
    ["a text that istiod cannot read", networks("networks: {n1: ["), false],
    ["no text", networks({}), false],
    ["the ConfigMap of somebody else", networks("networks: {n1: {}, n2: {}}", "shop"), false],
    ["the network of the cluster", ofNetwork("istio-system"), true],
    ["a network of another namespace", ofNetwork("shop"), false],
    ["the Gateway between networks", crossNetwork("AUTO_PASSTHROUGH"), true],
    ["the Gateway with another mode", crossNetwork("PASSTHROUGH"), false],
    ["a Gateway with another name", crossNetwork("AUTO_PASSTHROUGH", "main"), false],
  ];
  for (const [what, one, expected] of clusters) {
    test(`whether there are other clusters: ${what}`, () => {
      assert.equal(meshSettingsOf(settingsObjects(storeOf(one))).hasOtherClusters, expected);
      assert.ok(!expected || decidesSettings(one));
    });
  }

  const injector = (name: string, labels: Record<string, string>, kind = "MutatingWebhookConfiguration") =>
    readObject("AdmissionWebhook", { kind, metadata: { name, labels } });
  const rev = (revision: string) => ({ "istio.io/rev": revision });

  test("the mesh config of a revision says that it is served", () => {
    const settings = meshSettingsOf([config("istio", ""), config("istio-canary", "rootNamespace: other")]);
    assert.deepEqual([settings.revisions, settings.rootNamespace], [["canary", "default"], "istio-system"]);
    const labelled = (revision: string) => object("DestinationRule", "a", "b", { labels: rev(revision) });
    assert.deepEqual(
      ["canary", "default", "prod"].map((revision) => isServed(labelled(revision), settings)),
      [true, true, false],
    );
    assert.equal(isServed(object("DestinationRule", "a", "b"), settings), true);
  });

  const controlPlanes: [string, AnyObject[], Partial<AllMeshSettings>][] = [
    ["nothing: the default revision is assumed", [], { revisions: ["default"], configured: [] }],
    [
      "only a revision: there is no default one, and its mesh config is that of the mesh",
      [config("istio-1-30", "rootNamespace: other")],
      { revisions: ["1-30"], configured: ["1-30"], rootNamespace: "other", seen: true },
    ],
    [
      "two revisions, of which the default tag stands for one",
      [
        config("istio-1-30", "rootNamespace: a"),
        config("istio-1-31", "rootNamespace: b"),
        injector("istio-revision-tag-default", { ...rev("1-31"), "istio.io/tag": "default" }),
      ],
      { revisions: ["1-30", "1-31"], tags: { default: "1-31" }, rootNamespace: "b" },
    ],
    [
      "two revisions and nothing that says which one is the default: the first version counts",
      [config("istio-1-31", "rootNamespace: b"), config("istio-1-9", "rootNamespace: a")],
      { revisions: ["1-31", "1-9"], rootNamespace: "a", seen: true },
    ],
    [
      "two revisions with their times: the one that was there first counts",
      [
        readObject("MeshConfig", {
          metadata: { name: "istio-1-30", namespace: "istio-system", creationTimestamp: "2026-02-01T00:00:00Z" },
          data: { mesh: "rootNamespace: a" },
        }),
        readObject("MeshConfig", {
          metadata: { name: "istio-1-31", namespace: "istio-system", creationTimestamp: "2026-01-01T00:00:00Z" },
          data: { mesh: "rootNamespace: b" },
        }),
      ],
      { revisions: ["1-30", "1-31"], rootNamespace: "b", seen: true },
    ],
    [
      "an injector without a mesh config: an external control plane",
      [config("istio", ""), injector("istio-sidecar-injector-external", rev("external"))],
      { revisions: ["default", "external"], configured: ["default"], injectors: ["external"] },
    ],
    [
      "webhooks that are no injectors",
      [
        config("istio", ""),
        injector("istio-validator-1-30", rev("1-30")),
        injector("istio-sidecar-injector", rev("1-30"), "ValidatingWebhookConfiguration"),
        injector("istio-revision-tag-prod", { "istio.io/tag": "prod" }),
      ],
      { revisions: ["default"], tags: {} },
    ],
    [
      "discoverySelectors of one of two",
      [config("istio", ""), config("istio-a", "discoverySelectors: [{ matchLabels: { mesh: a } }]")],
      { discovery: { a: [{ matchLabels: { mesh: "a" }, matchExpressions: [] }] } },
    ],
    [
      "ztunnel of a revision",
      [
        config("istio", ""),
        readObject("Workload", {
          kind: "DaemonSet",
          metadata: { name: "ztunnel", namespace: "istio-system" },
          spec: { template: { metadata: { annotations: rev("canary") } } },
        }),
      ],
      { ztunnelRevision: "canary" },
    ],
    ["ConfigMaps of other namespaces", [config("istio-1-30", "", "shop")], { revisions: ["default"], seen: false }],
  ];
  for (const [what, objects, expected] of controlPlanes)
    test(what, () => {
      for (const order of [objects, objects.toReversed()]) {
        const settings = meshSettingsOf(order);
        for (const [name, value] of Object.entries(expected))
          assert.deepEqual(settings[name as keyof AllMeshSettings], value);
      }
    });
});
