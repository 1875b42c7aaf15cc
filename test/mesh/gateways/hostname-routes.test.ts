import assert from "node:assert/strict";
import { test } from "node:test";
import { type AnyObject, type ObjectOf, readObject } from "../../../src/kube/object.ts";
import { attachedRoutes } from "../../../src/mesh/gateways/attached-routes.ts";
import { routesByHostname } from "../../../src/mesh/gateways/hostname-routes.ts";
import { listenerGateways } from "../../../src/mesh/gateways/listener-gateways.ts";
import { defaultMeshSettings } from "../../../src/view/settings.ts";
import { MeshStore } from "../../../src/view/store.ts";

// The expected lists are those of istiod's controller for the same objects.

const route = (kind: string, name: string, spec: object, metadata: object = {}) =>
  readObject("KubernetesRoute", {
    kind,
    metadata: { name, namespace: "shop", creationTimestamp: "2026-01-01T00:00:00Z", ...metadata },
    spec: { parentRefs: [{ name: "public", namespace: "ingress" }], ...spec },
  });
const to = (name: string) => [{ name, port: 80 }];
const allowedRoutes = { namespaces: { from: "All" } };

function gatewayWith(...listeners: readonly object[]) {
  const gateway = readObject("KubernetesGateway", {
    metadata: { name: "public", namespace: "ingress" },
    spec: { gatewayClassName: "istio", listeners },
  });
  return listenerGateways(gateway, defaultMeshSettings);
}

function meshOf(objects: readonly AnyObject[]): MeshStore {
  const mesh = new MeshStore({ ...defaultMeshSettings, seen: true });
  for (const object of objects) mesh.set(object);
  return mesh;
}

const http = { name: "http", port: 80, protocol: "HTTP", allowedRoutes };

/** The destinations of the routes of every host, in their order, and what is dropped. */
function listed(...routes: readonly ObjectOf<"KubernetesRoute">[]) {
  const [listener] = gatewayWith(http);
  assert.ok(listener);
  const { all, dropped } = routesByHostname(listener, routes, meshOf(routes));
  const destinations = all.flatMap(({ converted: { virtualService } }) =>
    virtualService.spec.http.map((one) => one.route[0]?.destination.host.split(".")[0]),
  );
  return { destinations, dropped: dropped.map(({ because }) => because) };
}

test("a rule of an HTTPRoute without a match is for the prefix /, which comes before expressions", () => {
  const expression = { path: { type: "RegularExpression", value: "/v[0-9]" } };
  const rules = [{ matches: [expression], backendRefs: to("expression") }, { backendRefs: to("every") }];
  assert.deepEqual(listed(route("HTTPRoute", "a", { rules })).destinations, ["every", "expression"]);
});

test("a match of a GRPCRoute without a method says nothing of the path, and comes behind expressions", () => {
  const rules = [
    { backendRefs: to("every") },
    { matches: [{ headers: [{ name: "x-user", value: "1" }] }], backendRefs: to("header") },
    { matches: [{ method: { method: "Pay" } }], backendRefs: to("expression") },
  ];
  assert.deepEqual(listed(route("GRPCRoute", "a", { rules })).destinations, ["expression", "header", "every"]);
});

test("of equal rules of routes that were created in one second, that of the first namespace comes first", () => {
  const rules = (name: string) => ({
    rules: [{ matches: [{ path: { type: "Exact", value: "/a" } }], backendRefs: to(name) }],
  });
  const { destinations } = listed(
    route("HTTPRoute", "a", rules("second"), { namespace: "b" }),
    route("HTTPRoute", "b", rules("first"), { namespace: "a" }),
    route("HTTPRoute", "c", rules("oldest"), { namespace: "z", creationTimestamp: "2025-01-01T00:00:00Z" }),
  );
  assert.deepEqual(destinations, ["oldest", "first", "second"]);
});

test("a mirror that may not be used takes all rules of a GRPCRoute with it, and none of an HTTPRoute", () => {
  const mirrored = (kind: string) =>
    route(kind, "a", {
      rules: [
        {
          filters: [
            { type: "RequestMirror", requestMirror: { backendRef: { name: "copy", namespace: "b", port: 80 } } },
          ],
          backendRefs: to("cart"),
        },
      ],
    });
  const because = "it cannot mirror requests: no ReferenceGrant in namespace b lets GRPCRoute shop/a use Service copy";
  assert.deepEqual(listed(mirrored("GRPCRoute")), { destinations: [], dropped: [because] });
  assert.deepEqual(listed(mirrored("HTTPRoute")), { destinations: ["cart"], dropped: [] });
});

test("a backend that a route may not use is not what makes istiod drop all of its rules", () => {
  const of = (namespace: string) => {
    const backend = { group: "networking.istio.io", kind: "Hostname", name: "api.example.com", namespace, port: 443 };
    return listed(route("HTTPRoute", "a", { rules: [{ backendRefs: [...to("cart"), backend] }] }));
  };
  assert.deepEqual(of("other"), { destinations: ["cart"], dropped: [] });
  assert.deepEqual(of("shop").dropped, ['backend "api.example.com" is a host with a namespace']);
});

test("a more specific listener takes the hostname of an HTTPRoute from a wider one, and not that of a TLSRoute", () => {
  const used = (kind: string, more: object) => {
    const one = route(kind, "a", { hostnames: ["cart.example.com"], rules: [{ backendRefs: to("cart") }] });
    const mesh = meshOf([one]);
    return gatewayWith(
      { ...more, name: "wide", allowedRoutes },
      { ...more, name: "narrow", hostname: "cart.example.com" },
    ).map((listener) => attachedRoutes(listener, [one], mesh).length);
  };
  assert.deepEqual(used("HTTPRoute", { port: 80, protocol: "HTTP" }), [0, 0]);
  assert.deepEqual(used("TLSRoute", { port: 443, protocol: "TLS", tls: { mode: "Passthrough" } }), [1, 0]);
});
