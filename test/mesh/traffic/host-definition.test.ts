import assert from "node:assert/strict";
import { test } from "node:test";
import { readObject } from "../../../src/kube/object.ts";
import { serviceVisibleTo } from "../../../src/mesh/traffic/definition-choice.ts";
import { hiddenDefinitions, hostIn } from "../../../src/mesh/traffic/host-definition.ts";
import { defaultMeshSettings } from "../../../src/view/settings.ts";
import { MeshStore } from "../../../src/view/store.ts";

const service = (exportTo?: string) =>
  readObject("Service", {
    kind: "Service",
    metadata: {
      name: "x",
      namespace: "shop",
      annotations: exportTo === undefined ? {} : { "networking.istio.io/exportTo": exportTo },
    },
  });
const entry = readObject("ServiceEntry", {
  kind: "ServiceEntry",
  metadata: { name: "x", namespace: "shop" },
  spec: { hosts: ["x.shop.svc.cluster.local"], exportTo: ["."] },
});

test("a Service is seen where its annotation says, else where the mesh's default says", () => {
  const settings = { ...defaultMeshSettings, defaultServiceExportTo: ["."] };
  const seen = (exportTo: string | undefined, by = defaultMeshSettings) => [...serviceVisibleTo(service(exportTo), by)];
  assert.deepEqual(seen(undefined), ["*"]);
  assert.deepEqual(seen("., web"), ["shop", "web"]);
  assert.deepEqual(seen("~"), []);
  assert.deepEqual(seen(" , "), ["*"]);
  assert.deepEqual(seen(undefined, settings), ["shop"]);
});

test("what defines a host and is not exported to a client is named", () => {
  const mesh = new MeshStore(defaultMeshSettings);
  mesh.set(service("web"));
  mesh.set(entry);
  const host = hostIn(mesh, "x.shop.svc.cluster.local");
  const hidden = (client: string) => hiddenDefinitions(host, client, mesh.settings).map(({ kind }) => kind);
  assert.deepEqual(hidden("web"), ["ServiceEntry"]);
  assert.deepEqual(hidden("shop"), ["Service"]);
  assert.deepEqual(hidden("other"), ["Service", "ServiceEntry"]);
});
