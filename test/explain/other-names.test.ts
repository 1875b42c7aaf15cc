import assert from "node:assert/strict";
import { test } from "node:test";
import { findServer } from "../../src/explain/asked.ts";
import { everyRequest } from "../../src/mesh/authorization/requests/boxes.ts";
import { outcomesOf } from "../../src/mesh/requests/outcomes.ts";
import { callerIn, meshOf } from "../mesh/requests/asked.ts";
import { service, shop, virtualService } from "../mesh/requests/meshes.ts";

// Compared with istiod's own routes for 2,928 names in random meshes (httproute.go dedupeDomains).

/** The VirtualService that the requests of the namespace `web` follow. */
function routesOf(to: string, text: string): readonly string[] {
  const mesh = meshOf(shop + service("shop", "y") + text);
  const found = findServer(to, "web", mesh);
  assert.ok("target" in found);
  const outcomes = outcomesOf({ caller: callerIn(mesh, "web"), to: found.target, requests: everyRequest }, mesh);
  return [...new Set([...outcomes].map(({ route }) => route.virtualService?.metadata.name ?? "-"))];
}

const of = (name: string, host: string, date: string, more = "") =>
  virtualService(
    `shop/${name}`,
    `hosts: ["${host}"]\n${more}http: [{ route: [{ destination: { host: y } }] }]`,
  ).replace(`name: ${name}`, `name: ${name}, creationTimestamp: "2026-0${date}-01T00:00:00Z"`);
const full = "x.shop.svc.cluster.local";

test("a VirtualService for another name of a Service has the requests to that name, if it comes first", () => {
  const named = of("named", "x.shop", "2");
  assert.deepEqual(routesOf("x.shop:80", named), ["named"]);
  assert.deepEqual(routesOf("x.shop.svc:80", named), ["-"]);
  assert.deepEqual(routesOf(`${full}:80`, named), ["-"]);
  assert.deepEqual(routesOf("x.shop:80", named + of("whole", full, "1")), ["whole"]);
  assert.deepEqual(routesOf("x.shop:80", named + of("whole", full, "3")), ["named"]);
  assert.deepEqual(routesOf(`${full}:80`, named + of("whole", full, "3")), ["whole"]);
  assert.deepEqual(routesOf("x.shop:80", named + of("whole", full, "3", 'exportTo: ["web"]\n')), ["whole"]);
});
