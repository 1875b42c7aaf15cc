import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type ObjectOf, readObject } from "../../../src/kube/object.ts";
import { delegatedRoutes } from "../../../src/mesh/traffic/delegate-routes.ts";
import { defaultMeshSettings } from "../../../src/view/settings.ts";

const virtualService = (path: string, spec: object): ObjectOf<"VirtualService"> => {
  const [namespace, name] = path.split("/");
  return readObject("VirtualService", { metadata: { namespace, name }, spec });
};

function throughRoot(outer: object, inner: object) {
  const root = virtualService("shop/root", { hosts: ["cart"], http: [{ delegate: { name: "part" }, ...outer }] });
  const [route] = root.spec.http;
  assert.ok(route);
  return delegatedRoutes(root, route, virtualService("parts/part", { http: [inner] }), defaultMeshSettings);
}

// The expectations are those of Istio pilot/pkg/model/virtualservice.go mergeHTTPMatchRequests.
describe("the matches of a delegate are within those of the route that names it", () => {
  const cases: readonly [what: string, outer: object[], inner: object[], merged: number | undefined][] = [
    ["without matches of the root", [], [{ uri: { exact: "/a" } }], 1],
    ["without matches of its own", [{ uri: { exact: "/a" } }, { port: 80 }], [], 2],
    ["a prefix within a prefix", [{ uri: { prefix: "/a" } }], [{ uri: { prefix: "/ab" } }], 1],
    ["an exact path within a prefix", [{ uri: { prefix: "/a" } }], [{ uri: { exact: "/a" } }], 1],
    ["a prefix outside of a prefix", [{ uri: { prefix: "/a/b" } }], [{ uri: { prefix: "/a" } }], undefined],
    ["a prefix within an exact path", [{ uri: { exact: "/a" } }], [{ uri: { prefix: "/a" } }], undefined],
    ["an expression within the same one", [{ uri: { regex: "/a.*" } }], [{ uri: { regex: "/a.*" } }], undefined],
    ["an expression, where the root asks for a method", [{ method: { exact: "GET" } }], [{ uri: { regex: "/a" } }], 1],
    [
      "one of two that is outside",
      [{ uri: { prefix: "/a" } }],
      [{ uri: { prefix: "/a" } }, { uri: { prefix: "/b" } }],
      undefined,
    ],
    ["in two of the root", [{ uri: { prefix: "/a" } }, { uri: { prefix: "/" } }], [{ uri: { prefix: "/ab" } }], 2],
    ["another header", [{ headers: { a: { exact: "1" } } }], [{ headers: { b: { exact: "1" } } }], 1],
    [
      "another value of a header",
      [{ headers: { a: { exact: "1" } } }],
      [{ headers: { a: { exact: "2" } } }],
      undefined,
    ],
    ["another port", [{ port: 80 }], [{ port: 81 }], undefined],
    ["no namespace where the root names one", [{ sourceNamespace: "web" }], [{ uri: { exact: "/" } }], undefined],
    ["another value of a label", [{ sourceLabels: { a: "1" } }], [{ sourceLabels: { a: "2" } }], undefined],
    [
      "a gateway of the root, named from another namespace",
      [{ gateways: ["g", "mesh"] }],
      [{ gateways: ["shop/g"] }],
      1,
    ],
    ["a gateway that the root does not name", [{ gateways: ["g"] }], [{ gateways: ["g"] }], undefined],
    [
      "case ignored by one only",
      [{ uri: { prefix: "/" } }],
      [{ uri: { prefix: "/" }, ignoreUriCase: true }],
      undefined,
    ],
  ];
  for (const [what, outer, inner, merged] of cases)
    test(what, () => {
      const [route, ...more] = throughRoot({ match: outer }, { match: inner, route: [{ destination: { host: "x" } }] });
      assert.equal(more.length, 0);
      assert.equal(route?.route.match.length, merged);
    });
});

test("a delegate gets what only the route of the root sets, with hosts of the root's namespace", () => {
  const [found] = throughRoot(
    { timeout: "5s", retries: { attempts: 1 }, mirror: { host: "copy" }, headers: { request: { set: { a: "1" } } } },
    { route: [{ destination: { host: "x" } }], retries: { attempts: 0 } },
  );
  assert.ok(found);
  const { timeout, retries, mirror, headers, route } = found.route;
  assert.deepEqual([timeout, retries?.attempts, headers?.request?.set], ["5s", 0, { a: "1" }]);
  assert.equal(mirror?.host, "copy.shop.svc.cluster.local");
  assert.deepEqual(
    route.map(({ destination }) => destination.host),
    ["x"],
  );
});
