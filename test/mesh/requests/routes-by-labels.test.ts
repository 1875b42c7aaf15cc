import assert from "node:assert/strict";
import { test } from "node:test";
import { readAny } from "../../../src/kube/object.ts";
import { httpCases } from "../../../src/mesh/requests/route-conditions.ts";
import { httpRoutesFor } from "../../../src/mesh/requests/routes-by-labels.ts";
import type { HttpRoute, VirtualService } from "../../../src/mesh/traffic/virtual-services.ts";

const apps = ["a", "b", "c"];
const matches = [
  { sourceLabels: { app: "a" } },
  { sourceLabels: { app: "b", tier: "x" } },
  { sourceLabels: { app: "c" }, sourceNamespace: "shop" },
  { sourceLabels: { tier: "y" } },
  { sourceLabels: { app: "c" }, gateways: ["shop/edge"] },
  { sourceLabels: { app: "a" }, gateways: ["mesh", "shop/edge"] },
  { uri: { prefix: "/open" } },
];
/** Every pair of matches, and routes with one match and with none. */
const routes = [
  {},
  ...matches.flatMap((one) => [{ match: [one] }, ...matches.map((other) => ({ match: [one, other] }))]),
  ...matches.map((one) => ({ match: [one] })),
];
const virtualService = readAny({
  apiVersion: "networking.istio.io/v1",
  kind: "VirtualService",
  metadata: { namespace: "shop", name: "r" },
  spec: { hosts: ["a"], http: routes.map((one) => ({ ...one, route: [{ destination: { host: "a" } }] })) },
}) as VirtualService;

const clients = [...apps, "d"].flatMap((app) =>
  [{}, { tier: "x" }, { tier: "y" }].flatMap((tier) =>
    [undefined, "shop/edge"].flatMap((gateway) =>
      ["shop", "other"].flatMap((namespace) =>
        [false, true].map((isWaypoint) => {
          const labels: Readonly<Record<string, string>> = { app, ...tier };
          return { namespace, labels, port: 80, isWaypoint, ...(gateway === undefined ? {} : { gateway }) };
        }),
      ),
    ),
  ),
);

test("what is looked up by labels has every route that a client has, in the order of the VirtualService", () => {
  const all: readonly (readonly [number, HttpRoute])[] = [...virtualService.spec.http.entries()];
  let leftOut = 0;
  for (const client of clients) {
    const looked = [...httpRoutesFor(virtualService, client.labels)];
    leftOut += all.length - looked.length;
    const had = (some: typeof all) =>
      some.filter(([, route]) => httpCases(route, virtualService, client).length > 0).map(([index]) => index);
    assert.deepEqual(had(looked), had(all));
    assert.deepEqual(
      looked.map(([index]) => index),
      looked.map(([index]) => index).toSorted((a, b) => a - b),
    );
  }
  assert.ok(leftOut > 0);
});
