import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { asked, meshOf, told } from "./asked.ts";
import { deployment, serviceEntry, shop, sidecar, virtualService } from "./meshes.ts";

const client = "service account web/client";
const created = (manifest: string, day: number) =>
  manifest.replace("metadata: {", `metadata: { creationTimestamp: "2026-01-0${day}T00:00:00Z",`);
const tcp = (number: number, protocol = "TCP") => `ports: [{ number: ${number}, name: db, protocol: ${protocol} }]`;
/** A database outside the mesh, for which no addresses are listed. */
const database = (name: string, day: number, rest = tcp(5432), namespaceOf = "web") =>
  created(serviceEntry(`${namespaceOf}/${name}`, `hosts: [${name}.example.com]\nresolution: DNS\n${rest}`), day);
const dnsCapture = `---
apiVersion: v1
kind: ConfigMap
metadata: { name: istio, namespace: istio-system }
data: { mesh: "defaultConfig: { proxyMetadata: { ISTIO_META_DNS_CAPTURE: 'true' } }" }
`;

/** The hosts that requests from `web/client` get to. */
const reached = (manifests: string, to: string, from = "web/client") => [
  ...new Set(asked(meshOf(shop + manifests), from, to).map(({ destination }) => destination?.host)),
];

describe("a port of TCP for which a ServiceEntry lists no addresses", () => {
  const orders = database("orders", 1);
  const ledger = database("ledger", 2);

  test("gets the connections to another such host, if it is older", () => {
    assert.deepEqual(reached(orders + ledger, "ledger.example.com:5432"), ["orders.example.com"]);
    assert.deepEqual(reached(orders + ledger, "orders.example.com:5432"), ["orders.example.com"]);
    const [outcome] = asked(meshOf(shop + orders + ledger), "web/client", "ledger.example.com:5432");
    assert.equal(outcome?.route.takenBy?.metadata.name, "orders");
  });

  test("leaves a host alone that lists addresses, and other ports", () => {
    const addressed = database("ledger", 2, `${tcp(5432)}\naddresses: [10.9.9.9]`);
    assert.deepEqual(reached(orders + addressed, "ledger.example.com:5432"), ["ledger.example.com"]);
    assert.deepEqual(reached(orders + database("ledger", 2, tcp(5433)), "ledger.example.com:5433"), [
      "ledger.example.com",
    ]);
  });

  test("takes nothing from clients that do not know it", () => {
    const private_ = database("orders", 1, `${tcp(5432)}\nexportTo: ['.']`, "shop");
    assert.deepEqual(reached(private_ + ledger, "ledger.example.com:5432"), ["ledger.example.com"]);
    assert.deepEqual(reached(private_ + ledger, "ledger.example.com:5432", "shop/x"), ["orders.example.com"]);
    const only = sidecar("web/default", "egress: [{ hosts: ['./ledger.example.com'] }]");
    assert.deepEqual(reached(orders + ledger + only, "ledger.example.com:5432"), ["ledger.example.com"]);
  });

  test("that is exported to the client alone comes before an older one", () => {
    const own = database("ledger", 2, `${tcp(5432)}\nexportTo: ['.']`);
    assert.deepEqual(reached(orders + own, "orders.example.com:5432"), ["ledger.example.com"]);
  });

  test("is one of several where proxies answer DNS queries, which give each host an address", () => {
    assert.deepEqual(reached(dnsCapture + orders + ledger, "ledger.example.com:5432"), ["ledger.example.com"]);
  });

  test("is what a pod says that overrides what the mesh config says of DNS queries", () => {
    const annotated = (value: string) =>
      deployment("web", "named").replace(
        "metadata: { labels:",
        `metadata: { annotations: { proxy.istio.io/config: "proxyMetadata: { ISTIO_META_DNS_CAPTURE: '${value}' }" }, labels:`,
      );
    const to = "ledger.example.com:5432";
    const own = orders + ledger + annotated("true");
    assert.deepEqual(reached(own, to, "web/named"), ["ledger.example.com"]);
    assert.deepEqual(reached(own, to), ["orders.example.com"]);
    assert.deepEqual(new Set(reached(own, to, "web")), new Set(["ledger.example.com", "orders.example.com"]));
    assert.deepEqual(reached(dnsCapture + orders + ledger + annotated("false"), to, "web/named"), [
      "orders.example.com",
    ]);
  });

  test("gets connections to hosts that nothing defines", () => {
    assert.deepEqual(reached(orders, "api.stripe.com:5432"), ["orders.example.com"]);
    const taken = database("orders", 1, tcp(443));
    assert.deepEqual(reached(taken, "api.stripe.com:443"), ["orders.example.com"]);
    // A client without a proxy reaches what the name stands for.
    assert.deepEqual(reached(orders, "api.stripe.com:5432", "outside"), ["api.stripe.com"]);
  });

  test("gets no requests of HTTP where the client knows something with HTTP at the port", () => {
    const atPort = database("orders", 1, tcp(8080));
    assert.deepEqual(reached(atPort, "api.stripe.com:8080"), ["orders.example.com"]);
    const http = database("web", 2, tcp(8080, "HTTP"));
    assert.deepEqual(reached(atPort + http, "api.stripe.com:8080"), ["api.stripe.com"]);
    assert.deepEqual(reached(atPort + http, "web.example.com:8080"), ["web.example.com"]);
  });

  test("of MySQL excludes whatever is younger, and is left out beside what is older", () => {
    const older = database("orders", 1, tcp(8080, "MYSQL"));
    const http = database("web", 2, tcp(8080, "HTTP"));
    assert.deepEqual(reached(older + http, "web.example.com:8080"), ["orders.example.com"]);
    const younger = database("orders", 3, tcp(8080, "MYSQL"));
    assert.deepEqual(reached(younger + http, "web.example.com:8080"), ["web.example.com"]);
    const refusing = sidecar("web/s", "outboundTrafficPolicy: { mode: REGISTRY_ONLY }\negress: [{ hosts: ['*/*'] }]");
    assert.deepEqual(told(meshOf(shop + younger + http + refusing), "web/client", "orders.example.com:8080"), [
      `GET / from ${client} reaches nothing: ServiceEntry web/orders is left out, because something older listens for every address of the port, and not for MySQL or MongoDB alone, and Sidecar web/s refuses requests to other hosts`,
    ]);
  });

  test("has its own routes of tcp and its own pods", () => {
    const inside = created(
      serviceEntry(
        "web/orders",
        `hosts: [orders.example.com]\nlocation: MESH_INTERNAL\nresolution: STATIC\nworkloadSelector: { labels: { app: db } }\n${tcp(5432)}`,
      ),
      1,
    );
    const pods = deployment("web", "db");
    assert.deepEqual(told(meshOf(shop + inside + pods + ledger), "web/client", "ledger.example.com:5432"), [
      `A connection from ${client} is allowed, because no ALLOW policy applies [db]`,
    ]);
    const routed = virtualService(
      "web/orders",
      "hosts: [orders.example.com]\ntcp: [{ route: [{ destination: { host: x.shop.svc.cluster.local, port: { number: 80 } } }] }]",
    );
    assert.deepEqual(reached(orders + ledger + routed, "ledger.example.com:5432"), ["x.shop.svc.cluster.local"]);
  });
});

describe("an alias of a host that only a wildcard defines", () => {
  const alias = `---
apiVersion: v1
kind: Service
metadata: { name: bank, namespace: web }
spec: { type: ExternalName, externalName: db.example.com, ports: [{ name: any, port: 5432 }, { name: http, port: 80 }] }
`;
  const wildcard = (rest = "") =>
    serviceEntry(
      "web/all",
      `hosts: ["*.example.com"]\nresolution: NONE\nports: [{ number: 5432, name: db, protocol: TCP }, { number: 80, name: http, protocol: HTTP }]\n${rest}`,
    );
  const routed = virtualService(
    "web/all",
    `hosts: ["*.example.com"]\ntcp: [{ route: [{ destination: { host: x.shop.svc.cluster.local, port: { number: 80 } } }] }]`,
  );

  test("is told by the addresses of the wildcard at ports of TCP", () => {
    const addressed = alias + wildcard("addresses: [10.9.9.9]") + routed;
    assert.deepEqual(reached(addressed, "web/bank:5432"), ["x.shop.svc.cluster.local"]);
    assert.deepEqual(reached(addressed, "web/bank:80"), ["db.example.com"]);
  });

  test("gets to it at every address of a port of TCP for which it lists none", () => {
    assert.deepEqual(reached(alias + wildcard() + routed, "web/bank:5432"), ["x.shop.svc.cluster.local"]);
  });

  test("that a client does not know is no name for its requests", () => {
    const refusing = sidecar(
      "web/s",
      "egress: [{ hosts: ['shop/*'] }]\noutboundTrafficPolicy: { mode: REGISTRY_ONLY }",
    );
    const toShop = alias.replace("db.example.com", "x.shop.svc.cluster.local");
    assert.deepEqual(told(meshOf(shop + toShop + refusing), "web/client", "web/bank:80"), [
      `GET / from ${client} reaches nothing: Sidecar web/s does not import the host, and Sidecar web/s refuses requests to other hosts`,
    ]);
  });
});
