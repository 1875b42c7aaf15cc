import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { ConnectionChanges, Connections } from "../../src/report/connections.ts";
import {
  authorizationPolicy,
  deployment,
  peerAuthentication,
  service,
  shop,
  virtualService,
} from "../mesh/requests/meshes.ts";
import { meshward } from "./terminal.ts";
import { fileWith } from "./written-files.ts";

const edge = `---
apiVersion: v1
kind: Namespace
metadata: { name: edge }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: proxy, namespace: edge }
spec:
  template:
    metadata: { labels: { istio: edge }, annotations: { inject.istio.io/templates: gateway } }
    spec: { serviceAccountName: proxy, containers: [{ name: istio-proxy, image: auto }] }
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: main, namespace: edge }
spec:
  selector: { istio: edge }
  servers: [{ port: { number: 443, name: s, protocol: HTTPS }, hosts: ["*.example.com"], tls: { mode: SIMPLE, credentialName: c } }]
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: api, namespace: edge }
spec:
  gatewayClassName: istio
  listeners: [{ name: web, port: 8080, protocol: HTTP, hostname: "*.api.org", allowedRoutes: { namespaces: { from: All } } }]
`;
const bound = (weights: readonly [number, number]) =>
  virtualService(
    "shop/front",
    `hosts: [shop.example.com, www.example.com]
gateways: [edge/main]
http:
- match: [{ uri: { prefix: /api } }]
  route: [{ destination: { host: x }, weight: ${weights[0]} }, { destination: { host: cart }, weight: ${weights[1]} }]`,
  );
const route = `---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: all, namespace: shop }
spec:
  parentRefs: [{ name: api, namespace: edge }]
  rules: [{ backendRefs: [{ name: x, port: 80 }] }]
`;
const cart = deployment("shop", "cart") + service("shop", "cart");
const getOnly = authorizationPolicy("shop/get", "rules: [{ to: [{ operation: { methods: [GET] } }] }]");
const all = shop + cart + edge + bound([90, 10]) + route + peerAuthentication("shop/strict", "STRICT");
const mesh = fileWith(all);

async function connectionsIn(text: string, ...argv: readonly string[]): Promise<string> {
  const { code, out, error } = await meshward(["connections", "--mesh", fileWith(text), ...argv]);
  assert.equal(code, 0, error);
  return out;
}

describe("what requests from outside reach by Gateways", () => {
  test("one group for the hosts of a Gateway with the same routes, with shares and the objects that say so", async () => {
    assert.match(
      await connectionsIn(all),
      /https:\/\/shop\.example\.com, https:\/\/www\.example\.com by Gateway edge\/main\n {2}mTLS {7}from outside the mesh: any method on \/api\*\n {2}routed {5}to 90 % x\.shop\.svc\.cluster\.local:80, 10 % cart\.shop\.svc\.cluster\.local:80\s+\(VirtualService shop\/front\)/,
    );
  });

  test("a wildcard stands for the names that no other host takes, and a Gateway of the Gateway API is one like others", async () => {
    assert.match(
      await connectionsIn(all),
      /http:\/\/\*\.api\.org:8080 by Gateway edge\/api\n {2}mTLS {7}from outside the mesh: all requests\n {2}routed {5}to x\.shop\.svc\.cluster\.local:80 \(HTTPRoute shop\/all\)/,
    );
  });

  test("policies of the workload limit them, and nobody gets in by a Gateway that denies everything", async () => {
    assert.match(
      await connectionsIn(all + getOnly),
      /by Gateway edge\/main\n {2}mTLS {7}from outside the mesh: GET on \/api\*/,
    );
    const closed = authorizationPolicy("edge/closed", "selector: { matchLabels: { istio: edge } }");
    assert.match(await connectionsIn(all + closed), /by Gateway edge\/main\n {2}nobody: denied because no rule/);
  });

  test("in every format", async () => {
    const { groups } = JSON.parse(await connectionsIn(all, "--format", "json")) as Connections;
    const own = groups.filter(({ ports }) => ports[0]?.kind === "Gateway");
    assert.deepEqual(
      own.map(({ ports }) => ports),
      [
        [{ kind: "Gateway", namespace: "edge", name: "api", port: 8080, url: "http://*.api.org:8080" }],
        [
          { kind: "Gateway", namespace: "edge", name: "main", port: 443, url: "https://shop.example.com" },
          { kind: "Gateway", namespace: "edge", name: "main", port: 443, url: "https://www.example.com" },
        ],
      ],
    );
    assert.match(
      await connectionsIn(all, "--format", "csv"),
      /Gateway,edge,main,443,outside the mesh,mtls,https:\/\/shop\.example\.com: any method on \/api\*,"to 90 % x\.shop/,
    );
    for (const format of ["markdown", "dot", "mermaid"])
      assert.match(
        await connectionsIn(all, "--format", format),
        /shop\.example\.com[^\n]*by Gateway edge[/\\#0-9;]+main/,
      );
  });

  test("a scope shows the hosts by which something in it is reached; another caller comes in by none", async () => {
    assert.match(await connectionsIn(all, "--service", "cart.shop"), /by Gateway edge\/main/);
    assert.doesNotMatch(await connectionsIn(all, "--service", "cart.shop"), /edge\/api/);
    assert.doesNotMatch(await connectionsIn(all, "--namespace", "edge"), /by Gateway/);
    assert.doesNotMatch(await connectionsIn(all, "--from", "namespace/shop"), /by Gateway/);
    assert.match(await connectionsIn(all, "--from", "outside"), /by Gateway/);
  });
});

describe("what a change does to them", () => {
  const changesOf = async (change: string, ...argv: readonly string[]) =>
    (await meshward(["connections", "--mesh", mesh, ...argv, fileWith(change)])).out;
  test("shares, new and removed hosts, and requests that policies let through", async () => {
    assert.match(
      await changesOf(bound([50, 50]), "--change"),
      /by Gateway edge\/main\n~ {3}from [^\n]*: 90 % x\.shop[^\n]* -> 50 % x\.shop/,
    );
    const removed = await changesOf(route, "--delete");
    assert.match(
      removed,
      /http:\/\/\*\.api\.org:8080 by Gateway edge\/api \(removed\)\n- {3}mTLS from outside the mesh: all requests/,
    );
    const limited = await changesOf(getOnly, "--change");
    assert.match(limited, /by Gateway edge\/main\n- {3}mTLS from outside the mesh: (?!GET)/);
    const added = virtualService(
      "shop/other",
      "hosts: [new.example.com]\ngateways: [edge/main]\nhttp: [{ route: [{ destination: { host: x } }] }]",
    );
    assert.match(
      await changesOf(added, "--change"),
      /https:\/\/new\.example\.com by Gateway edge\/main \(new\)\n\+ {3}mTLS/,
    );
  });
  test("check --connections tells them too", async () => {
    const { out } = await meshward([
      "check",
      fileWith(bound([50, 50])),
      "--mesh",
      mesh,
      "--connections",
      "--format",
      "json",
    ]);
    const { connections } = JSON.parse(out) as { connections: ConnectionChanges };
    assert.deepEqual(
      connections.groups.flatMap(({ ports }) => ports.map(({ url }) => url)),
      ["https://shop.example.com", "https://www.example.com"],
    );
  });
});

test("--prune deletes what the changed files do not define", async () => {
  const [, ...others] = all.split("---\n").filter((text) => !text.includes("name: front"));
  const rest = fileWith(["", ...others].join("---\n"));
  const prune = (...argv: readonly string[]) => meshward(["connections", "--mesh", mesh, "--prune", ...argv]);
  const { code, out } = await prune("--change", rest);
  assert.equal(code, 0);
  assert.match(out, /by Gateway edge\/main \(removed\)\n- {3}mTLS from outside the mesh/);
  assert.doesNotMatch(out, /edge\/api/);
  const kept = await meshward(["connections", "--mesh", mesh, "--change", rest]);
  assert.match(kept.out, /no effect/);
  assert.match((await prune()).error, /--prune deletes what the files of --change do not define; give --change/);
});
