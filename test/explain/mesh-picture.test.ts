import assert from "node:assert/strict";
import { test } from "node:test";
import { meshPictureOf } from "../../src/explain/mesh-picture.ts";
import { readObject } from "../../src/kube/object.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import { rules } from "../../src/rules/index.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";

const { policies } = loadPolicies([], rules);
const at = (name: string) => ({ name, namespace: "shop" });
const httpRoute = (name: string, spec: object) =>
  readObject("KubernetesRoute", {
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "HTTPRoute",
    metadata: at(name),
    spec,
  });

function routesAmong(...objects: readonly ReturnType<typeof readObject>[]) {
  const mesh = new MeshStore(defaultMeshSettings);
  for (const object of objects) mesh.set(object);
  return meshPictureOf(mesh, policies).routes;
}
const service = (name: string) => ({
  host: `${name}.shop.svc.cluster.local`,
  namespace: "shop",
  subset: null,
});

test("the routes of a VirtualService have the shares of their destinations", () => {
  const destination = (subset: string, weight: number) => ({ destination: { host: "cart", subset }, weight });
  const canary = readObject("VirtualService", {
    kind: "VirtualService",
    metadata: at("canary"),
    spec: { hosts: ["cart"], http: [{ route: [destination("v1", 90), destination("v2", 10)] }] },
  });
  assert.deepEqual(routesAmong(canary), [
    {
      ...{ kind: "VirtualService", namespace: "shop", name: "canary", hosts: ["cart"], gateways: ["mesh"] },
      destinations: [
        { ...service("cart"), subset: "v1", share: 90 },
        { ...service("cart"), subset: "v2", share: 10 },
      ],
    },
  ]);
});

test("an HTTPRoute at a Gateway has the hosts of its own, or every host", () => {
  const spec = {
    parentRefs: [{ name: "public", namespace: "edge" }],
    rules: [
      {
        backendRefs: [
          { name: "cart", port: 80, weight: 3 },
          { name: "next", port: 80 },
        ],
      },
      { backendRefs: [{ name: "cart", port: 80, weight: 0 }] },
      { backendRefs: [{ kind: "InferencePool", group: "inference.networking.k8s.io", name: "pool" }] },
      { filters: [{ type: "RequestRedirect" }] },
    ],
  };
  const route = { kind: "HTTPRoute", namespace: "shop", name: "web", hosts: ["*"], gateways: ["edge/public"] };
  const expected = [
    {
      ...route,
      destinations: [
        { ...service("cart"), share: 75 },
        { ...service("next"), share: 25 },
      ],
    },
    { ...route, destinations: [{ ...service("cart"), share: 0 }] },
    { ...route, destinations: [{ host: "pool", namespace: null, subset: null, share: 100 }] },
  ];
  assert.deepEqual(routesAmong(httpRoute("web", spec)), expected);
  assert.deepEqual(
    routesAmong(httpRoute("web", { ...spec, hostnames: ["shop.example.com"] })),
    expected.map((one) => ({ ...one, hosts: ["shop.example.com"] })),
  );
});

test("an HTTPRoute at a Service is for clients in the mesh", () => {
  const route = httpRoute("split", {
    parentRefs: [{ group: "", kind: "Service", name: "cart" }],
    rules: [{ backendRefs: [{ name: "cart", port: 80 }] }],
  });
  assert.deepEqual(routesAmong(route), [
    {
      ...{ kind: "HTTPRoute", namespace: "shop", name: "split", gateways: ["mesh"] },
      hosts: ["cart.shop.svc.cluster.local"],
      destinations: [{ ...service("cart"), share: 100 }],
    },
  ]);
});
