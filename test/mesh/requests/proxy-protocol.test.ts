import assert from "node:assert/strict";
import { test } from "node:test";
import { meshOf, told } from "./asked.ts";
import {
  ambientShop,
  destinationRule,
  deployment,
  gateway,
  gatewayProxy,
  namespace,
  peerAuthentication,
  service,
  shop,
  virtualService,
} from "./meshes.ts";

// A sidecar takes a connection that begins with a header of the PROXY protocol for plaintext that is no HTTP (Istio
// pilot/pkg/networking/core/cluster_traffic_policy.go applyUpstreamProxyProtocol, listener.go buildGatewayListener).

const version = "proxyProtocol: { version: V2 }";
const rule = (policy: string, more = "") =>
  destinationRule("shop/d", `host: x.shop.svc.cluster.local\ntrafficPolicy: { ${policy} }\n${more}`);
const asked = (...parts: readonly string[]) => told(meshOf(parts.join("")), "web/client", "shop/x:80");
const tcp = shop.replace("name: http,", "name: tcp,");

const get = "GET / from service account web/client";
const unread = `${get} is refused: the client sends mTLS if the server supports it, and begins with a PROXY header, which the sidecar of the server does not read [x]`;
const open = `${get} is undecided: the application itself has to read the PROXY header of the client [x]`;
const fine = `${get} is allowed, because no ALLOW policy applies [x]`;

test("a sidecar that requires mTLS refuses the connection, and so does one that reads HTTP", () => {
  assert.deepEqual(asked(shop, rule(version)), [unread]);
  assert.deepEqual(asked(tcp, rule(version), peerAuthentication("shop/strict", "STRICT")), [unread]);
});

test("what is not HTTP reaches the application, if plaintext is accepted", () => {
  assert.deepEqual(asked(tcp, rule(version)), [open.replace("GET /", "A connection")]);
});

test("an entry for the port replaces the setting, and a subset inherits it", () => {
  const entry = "portLevelSettings: [{ port: { number: 80 }, tls: { mode: ISTIO_MUTUAL } }]";
  assert.deepEqual(asked(shop, rule(`${version}, ${entry}`)), [fine]);
  const other = entry.replace("80", "81");
  assert.deepEqual(asked(shop, rule(`${version}, ${other}`)), [unread]);
  const route = virtualService(
    "shop/v",
    "hosts: [x.shop.svc.cluster.local]\nhttp: [{ route: [{ destination: { host: x.shop.svc.cluster.local, subset: s } }] }]",
  );
  const subset = (policy: string) => `subsets: [{ name: s, trafficPolicy: { ${policy} } }]`;
  assert.deepEqual(asked(shop, route, rule(version, subset("loadBalancer: { simple: RANDOM }"))), [unread]);
  assert.deepEqual(asked(shop, route, rule(version, subset(entry))), [
    unread.replace("if the server supports it", "(DestinationRule shop/d)"),
  ]);
  assert.deepEqual(asked(shop, route, rule("loadBalancer: { simple: RANDOM }", subset(version))), [unread]);
});

test("ztunnel sends no header, and pods outside the mesh read it themselves", () => {
  assert.deepEqual(asked(ambientShop, rule(version)), [fine]);
  const outside = [namespace("web", "sidecar"), "---\n", namespace("shop"), deployment("web", "client")].join("");
  const plain = asked(outside, deployment("shop", "x"), service("shop", "x"), rule(version));
  assert.equal(plain.length, 1);
  assert.match(plain[0] ?? "", /is allowed, because nothing enforces policies there/);
});

test("whether a gateway reads it is not known", () => {
  const servers = ['{ port: { number: 80, name: http, protocol: HTTP }, hosts: ["*"] }'];
  const found = told(
    meshOf(
      [shop, gatewayProxy("shop", "egress"), gateway("shop/egress", servers)].join("") +
        destinationRule("shop/d", `host: egress.shop.svc.cluster.local\ntrafficPolicy: { ${version} }`),
    ),
    "web/client",
    "shop/egress:80",
  );
  assert.match(found[0] ?? "", /is undecided: the connection begins with a PROXY header/);
});
