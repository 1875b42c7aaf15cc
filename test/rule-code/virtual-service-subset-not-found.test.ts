import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, test } from "node:test";
import { judge } from "../../src/engine/evaluate.ts";
import { uncertainEvidence } from "../../src/engine/finding.ts";
import { keyOf } from "../../src/kube/identity.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import type { Problem, Rule } from "../../src/engine/rule.ts";
import { virtualServiceSubsetHiddenFromWaypoint } from "../../src/rules/virtual-service/subset-hidden-from-waypoint.ts";
import { virtualServiceSubsetNotFound } from "../../src/rules/virtual-service/subset-not-found.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import type { Knowledge } from "../../src/view/view.ts";
import { readFixture } from "./fixture.ts";
import { findingsOfFixture } from "./judge-fixture.ts";

// The one who introduces a missing subset gets the finding, whatever object he changes.

const object = (kind: string, namespace: string, spec: object, apiVersion = "networking.istio.io/v1") =>
  readAny({ apiVersion, kind, metadata: { name: "cart", namespace }, spec }) as AnyObject;
const rule = (namespace: string, ...names: string[]) =>
  object("DestinationRule", namespace, {
    host: "cart.shop.svc.cluster.local",
    subsets: names.map((name) => ({ name })),
  });
const weighted = (v1: number, v2: number) =>
  object("VirtualService", "shop", {
    hosts: ["cart"],
    http: [
      {
        route: [
          { destination: { host: "cart", subset: "v1" }, weight: v1 },
          { destination: { host: "cart", subset: "v2" }, weight: v2 },
        ],
      },
    ],
  });

function introduced(view: readonly AnyObject[], changed: AnyObject, isDeleted = false): readonly string[] {
  const mesh = new MeshStore(defaultMeshSettings);
  for (const one of view) mesh.set(one);
  const old = mesh.find(changed.kind, keyOf(changed));
  const { findings, errors } = judge([virtualServiceSubsetNotFound], mesh, [
    { old, object: isDeleted ? undefined : changed },
  ]);
  assert.deepEqual(errors, []);
  return findings
    .filter((finding) => finding.introduced)
    .map(({ message, class: kind, ...of }) => `${modeOf(of)} ${kind}: ${message}`);
}

const modeOf = ({ onlyWarns, harmsNobody }: Pick<Problem, "onlyWarns" | "harmsNobody">): string =>
  harmsNobody !== undefined ? "off" : onlyWarns === undefined ? "deny" : "warn";

test("a subset is taken from the DestinationRule while traffic goes there", () => {
  const view = [rule("shop", "v1", "v2"), weighted(90, 10)];
  const missing =
    'deny relational: Subset "v2" of "cart.shop.svc.cluster.local" does not exist: DestinationRule shop/cart defines "v1"';
  assert.deepEqual(introduced(view, rule("shop", "v1")), [missing]);
  assert.deepEqual(introduced([view[0] as AnyObject, weighted(100, 0)], rule("shop", "v1")), [], "no traffic");
});

test("the DestinationRule is deleted", () => {
  const view = [rule("shop", "v1", "v2"), weighted(100, 0)];
  const missing = 'deny relational: No DestinationRule for "cart.shop.svc.cluster.local" defines subset "v1"';
  assert.deepEqual(introduced(view, rule("shop"), true), [missing]);
  assert.deepEqual(introduced([...view, rule("istio-system", "v1")], rule("shop"), true), [], "another one takes over");
});

test("the weight of a subset that is not there rises from 0", () => {
  const view = [rule("shop", "v1"), weighted(100, 0)];
  assert.equal(introduced(view, weighted(90, 10)).length, 1);
  assert.deepEqual(introduced([rule("shop", "v1"), weighted(90, 10)], weighted(50, 50)), [], "it was missing before");
});

test("no request reaches the route: a warning, until the earlier route goes", () => {
  const route = (subset: string, ...uris: object[]) => ({
    match: uris.map((uri) => ({ uri })),
    route: [{ destination: { host: "cart", subset } }],
  });
  const routes = (...http: object[]) => object("VirtualService", "shop", { hosts: ["cart"], http });
  const view = [rule("shop", "v1")];
  const unreached = routes(route("v1", { prefix: "/" }), route("v2", { prefix: "/api" }));
  assert.deepEqual(introduced(view, unreached), [
    'warn relational: Subset "v2" of "cart.shop.svc.cluster.local" does not exist: DestinationRule shop/cart defines "v1"',
  ]);
  assert.match(introduced([...view, unreached], routes(route("v2", { prefix: "/api" })))[0] ?? "", /^deny /);
  const someReached = routes(route("v1", { prefix: "/api" }), route("v2", { prefix: "/api/x" }, { prefix: "/web" }));
  assert.match(introduced(view, someReached)[0] ?? "", /^deny /, "one of its matches is reached");
});

test("another namespace hides the rule from its own clients: a warning for them", () => {
  const hiding = object("DestinationRule", "web", { host: "*.local" });
  const hidden =
    'warn relational: Subset "v1" of "cart.shop.svc.cluster.local" does not exist for clients in "web": DestinationRule web/cart defines no subset';
  assert.deepEqual(introduced([rule("shop", "v1"), weighted(100, 0)], hiding), [hidden]);
});

test("nobody had the subset: whoever gets a rule of his own without it, or is named by an exportTo, is told nothing new", () => {
  const view = [rule("shop", "v1"), weighted(90, 10)];
  const named = (namespace: string, exportTo: string[], subset: string) =>
    object("DestinationRule", namespace, {
      host: "cart.shop.svc.cluster.local",
      exportTo,
      subsets: [{ name: "v1" }, { name: subset }],
    });
  assert.deepEqual(introduced(view, named("web", ["."], "v3")), []);
  assert.deepEqual(introduced(view, named("web", [".", "other"], "v3")), []);
  assert.deepEqual(introduced(view, named("web", [".", "other"], "v2")), [], "some get it");
  const shifted = [rule("shop", "v1"), weighted(0, 100)];
  assert.deepEqual(introduced(shifted, named("shop", [".", "other"], "v3")), [], "others use no rule now");
  const has = [...view, rule("web", "v1", "v2")];
  assert.match(introduced(has, rule("web", "v1")).join(), /^deny /, "those who had it lose it");
  assert.match(introduced(has, rule("web"), true).join(), /^deny /, "with their rule");
  assert.deepEqual(introduced(has, rule("third", "v1")), [
    'warn relational: Subset "v2" of "cart.shop.svc.cluster.local" does not exist for clients in "third": DestinationRule third/cart defines "v1"',
  ]);
});

test("nobody who saw the route had the subset: who sees it now is told", () => {
  const http = [{ route: [{ destination: { host: "cart", subset: "v2" } }] }];
  const routed = (...exportTo: string[]) => object("VirtualService", "shop", { hosts: ["cart"], exportTo, http });
  const view = [rule("shop", "v1"), rule("web", "v1"), routed(".")];
  assert.match(introduced(view, routed("*")).join(), /^deny /);
  const hiding = object("Sidecar", "web", { egress: [{ hosts: ["./*"] }] });
  const all = [rule("shop", "v1"), rule("web", "v1"), routed(".", "web"), hiding];
  assert.match(
    introduced(all, hiding, true).join(),
    /^warn .* clients in "web"/,
    "the Sidecar hid the route from them",
  );
  assert.deepEqual(introduced(all.slice(0, 3), hiding), [], "whoever loses sight of the route loses nothing");
});

test("pods of the gateway appear where the rule is not seen", () => {
  const isPrivate = object("DestinationRule", "shop", { host: "cart", exportTo: ["."], subsets: [{ name: "v1" }] });
  const route = { route: [{ destination: { host: "cart", subset: "v1" } }] };
  const view = [
    isPrivate,
    object("Gateway", "shop", { selector: { istio: "ingress" }, servers: [{ hosts: ["*.example.com"] }] }),
    object("VirtualService", "shop", { hosts: ["a.example.com"], gateways: ["cart"], http: [route] }),
  ];
  const pods = object("Deployment", "edge", { template: { metadata: { labels: { istio: "ingress" } } } }, "apps/v1");
  const missing =
    'deny relational: No DestinationRule that gateway pods in "edge" use for "cart.shop.svc.cluster.local" defines subset "v1"';
  assert.deepEqual(introduced(view, pods), [missing]);
});

test("a root hands requests over to a delegate whose subset is missing", () => {
  const delegate = object("VirtualService", "shop", {
    http: [{ route: [{ destination: { host: "cart", subset: "v2" } }] }],
  });
  const http = [{ delegate: { name: "cart", namespace: "shop" } }];
  const root = object("VirtualService", "web", { hosts: ["a.example.com"], http });
  const missing = 'Subset "v2" of "cart.shop.svc.cluster.local" does not exist: DestinationRule shop/cart defines "v1"';
  assert.deepEqual(
    introduced([rule("shop", "v1")], delegate),
    [`warn relational: ${missing}`],
    "nobody hands over yet",
  );
  assert.equal(introduced([rule("shop", "v1"), delegate], root)[0]?.startsWith("deny relational"), true);
  assert.deepEqual(introduced([rule("shop", "v2"), delegate], root), []);
});

test("the root namespace holds configuration: what its workloads lack stops nobody", () => {
  const exported = object("DestinationRule", "shop", { host: "cart", exportTo: ["."], subsets: [{ name: "v1" }] });
  const host = "cart.shop.svc.cluster.local";
  const http = [{ route: [{ destination: { host, subset: "v1" } }] }];
  const routed = object("VirtualService", "istio-system", { hosts: [host], http });
  assert.deepEqual(introduced([exported], routed), [
    `warn relational: No DestinationRule that clients in other namespaces use for "${host}" defines subset "v1"`,
  ]);
});

test("behind a catch-all route nobody may ever ask for the subset: a warning", () => {
  const to = (subset: string) => ({ route: [{ destination: { host: "cart", subset } }] });
  const routed = object("VirtualService", "shop", { hosts: ["cart"], http: [to("v1"), to("v9")] });
  const turned = object("VirtualService", "shop", { hosts: ["cart"], http: [to("v9"), to("v1")] });
  const modes = (changed: AnyObject) => introduced([rule("shop", "v1")], changed).map((line) => line.split(" ", 1)[0]);
  assert.deepEqual([modes(routed), modes(turned)], [["warn"], ["deny"]]);
});

test("of two roots the one whose own clients lack the subset counts", () => {
  const http = [{ delegate: { name: "cart", namespace: "shop" } }];
  const own = object("VirtualService", "web", { hosts: ["a.example.com"], exportTo: ["."], http });
  const others = object("VirtualService", "batch", { hosts: ["b.example.com"], http });
  const delegate = object("VirtualService", "shop", {
    http: [{ route: [{ destination: { host: "cart", subset: "v1" } }] }],
  });
  for (const roots of [
    [own, others],
    [others, own],
  ]) {
    const found = introduced([rule("shop", "v1"), rule("web"), ...roots], delegate);
    assert.deepEqual(
      found.map((line) => line.split(":", 1)[0]),
      ["deny relational"],
      found.join("\n"),
    );
  }
  assert.deepEqual(
    introduced([rule("shop", "v1"), rule("web"), others], delegate).map((line) => line.split(":", 1)[0]),
    ["warn relational"],
  );
});

describe("a route for ports at which no request arrives", () => {
  const service = readAny({
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "cart", namespace: "shop" },
    spec: {
      clusterIP: "10.0.0.1",
      ports: [
        { name: "http", port: 8080 },
        { name: "tcp-data", port: 9000 },
      ],
    },
  }) as AnyObject;
  const gateway = (port: number) =>
    object("Gateway", "shop", {
      selector: { istio: "ingress" },
      servers: [{ hosts: ["*"], port: { number: port, name: "http", protocol: "HTTP" } }],
    });
  const route = [{ destination: { host: "cart", subset: "v9" } }];
  const verdict = (spec: object, ...view: AnyObject[]) =>
    introduced(
      [rule("shop", "v1"), ...view],
      object("VirtualService", "shop", { hosts: ["cart.shop.svc.cluster.local"], ...spec }),
    ).map((line) => line.split(" ", 1)[0]);
  const http = (...match: object[]) => ({ http: [{ match, route }] });

  test("is warned of, and one for a port of the host is denied", () => {
    assert.deepEqual(verdict(http({ port: 8888 }), service), ["warn"]);
    assert.deepEqual(verdict(http({ port: 8888 }, { port: 9999 }), service), ["warn"]);
    assert.deepEqual(verdict(http({ port: 8888 }, { port: 8080 }), service), ["deny"]);
    assert.deepEqual(verdict(http({ port: 8080 }), service), ["deny"]);
    assert.deepEqual(verdict(http({ uri: { prefix: "/" } }), service), ["deny"]);
  });
  test("a port uses the routes of its protocol", () => {
    assert.deepEqual(verdict(http({ port: 9000 }), service), ["warn"]);
    assert.deepEqual(verdict({ tcp: [{ match: [{ port: 9000 }], route }] }, service), ["deny"]);
    assert.deepEqual(verdict({ tcp: [{ match: [{ port: 8080 }], route }] }, service), ["warn"]);
  });
  test("every host is a name at port 80, and a host that may be created later can have any port", () => {
    assert.deepEqual(verdict(http({ port: 80 }), service), ["deny"]);
    assert.deepEqual(verdict(http({ port: 8888 })), ["deny"]);
  });
  test("gateways have the ports of their servers, and a match those of its gateways", () => {
    const both = (match: object) => ({ gateways: ["mesh", "cart"], ...http(match) });
    assert.deepEqual(verdict(both({ port: 8888 }), service, gateway(8888)), ["deny"]);
    assert.deepEqual(verdict(both({ port: 8888, gateways: ["mesh"] }), service, gateway(8888)), ["warn"]);
    assert.deepEqual(verdict(both({ port: 8080, gateways: ["cart"] }), service, gateway(8888)), ["warn"]);
    assert.deepEqual(verdict(both({ port: 8080, gateways: ["shop/cart"] }), service), ["deny"]);
  });
  test("a Service that gets the port is denied", () => {
    const routed = object("VirtualService", "shop", { hosts: ["cart"], ...http({ port: 8888 }) });
    const ports = [{ name: "http-new", port: 8888 }];
    const changed = readAny({ ...service, spec: { clusterIP: "10.0.0.1", ports } }) as AnyObject;
    const found = introduced([rule("shop", "v1"), service, routed], changed);
    assert.deepEqual(
      found.map((line) => line.split(" ", 1)[0]),
      ["deny"],
    );
  });
});

test("in files that may not be all: a rule that lacks the subset is certain, a missing or broad rule is not", () => {
  const certain = (...view: AnyObject[]) => {
    const mesh = new MeshStore(
      defaultMeshSettings,
      new Map<"DestinationRule", Knowledge>([["DestinationRule", "assumed"]]),
    );
    for (const one of view) mesh.set(one);
    return judge([virtualServiceSubsetNotFound], mesh, [{ object: weighted(100, 0) }]).findings.map(
      (finding) => uncertainEvidence(finding, mesh, false).length === 0,
    );
  };
  assert.deepEqual(certain(rule("shop", "v2")), [true]);
  assert.deepEqual(certain(), [false]);
  assert.deepEqual(certain(object("DestinationRule", "istio-system", { host: "*.local" })), [false]);
});

describe("a VirtualService that wakes up", () => {
  const cart = "cart.shop.svc.cluster.local";
  const routed = (name: string, created: number, subset: string, more: { metadata?: object; spec?: object } = {}) =>
    readAny({
      apiVersion: "networking.istio.io/v1",
      kind: "VirtualService",
      metadata: { name, namespace: "shop", creationTimestamp: `2026-01-0${created}T00:00:00Z`, ...more.metadata },
      spec: { hosts: [cart], http: [{ route: [{ destination: { host: cart, subset } }] }], ...more.spec },
    }) as AnyObject;
  const older = (more = {}) => routed("a", 1, "v1", more);
  const younger = (more = {}) => routed("b", 2, "v9", more);
  const missing =
    'relational: Subset "v9" of "cart.shop.svc.cluster.local" does not exist: DestinationRule shop/cart defines "v1"';
  const view = [rule("shop", "v1"), older(), younger()];

  test("hidden by an older one it is warned of", () => {
    assert.deepEqual(introduced([rule("shop", "v1"), older()], younger()), [`warn ${missing}`]);
    assert.deepEqual(introduced([rule("shop", "v1")], younger()), [`deny ${missing}`]);
  });
  const goes: readonly (readonly [string, AnyObject, boolean?])[] = [
    ["the older one is deleted", older(), true],
    ["it gets another host", older({ spec: { hosts: ["other"] } })],
    ["it is bound to a gateway", older({ spec: { gateways: ["edge"] } })],
    ["it gets another revision", older({ metadata: { labels: { "istio.io/rev": "other" } } })],
    [
      "its routes are for another namespace",
      older({
        spec: { http: [{ match: [{ sourceNamespace: "other" }], route: [{ destination: { host: cart } }] }] },
      }),
    ],
    ["it is exported to others only", older({ spec: { exportTo: ["other"] } })],
  ];
  for (const [what, changed, isDeleted] of goes)
    test(`${what}: the younger one is followed, and denied`, () => {
      assert.deepEqual(introduced(view, changed, isDeleted), [`deny ${missing}`]);
    });

  test("the younger one has good subsets: nothing", () => {
    assert.deepEqual(introduced([rule("shop", "v1", "v9"), older(), younger()], older(), true), []);
  });
  test("a third one still owns the host: nothing", () => {
    assert.deepEqual(introduced([...view, routed("c", 1, "v1")], older(), true), []);
  });
  test("the younger one is private, so it owns the host for its namespace, and its removal wakes nobody", () => {
    const own = younger({ spec: { exportTo: ["."] } });
    assert.deepEqual(
      introduced([rule("shop", "v1"), older()], own).map((line) => line.split(" ", 1)[0]),
      ["deny"],
    );
    assert.deepEqual(introduced([rule("shop", "v1"), older(), own], own, true), []);
  });
  test("of two wildcards the older one is followed, even without a route for the client", () => {
    const wide = { hosts: ["*.shop.svc.cluster.local"] };
    const elsewhere = { http: [{ match: [{ sourceNamespace: "other" }], route: [{ destination: { host: cart } }] }] };
    const found = introduced([rule("shop", "v1"), older({ spec: { ...wide, ...elsewhere } })], younger({ spec: wide }));
    assert.deepEqual(found, [`warn ${missing}`]);
  });
  test("routes of tls are merged, and routes of tcp with conditions do not hide others", () => {
    const route = [{ destination: { host: cart, subset: "v9" } }];
    const tls = { http: [], tls: [{ match: [{ sniHosts: [cart] }], route }] };
    assert.deepEqual(introduced([rule("shop", "v1"), older()], younger({ spec: tls })), [`deny ${missing}`]);
    const tcp = { http: [], tcp: [{ route }] };
    const good = [{ destination: { host: cart, subset: "v1" } }];
    const first = (match: object[]) => older({ spec: { http: [], tcp: [{ match, route: good }] } });
    const byTcp = (match: object[]) => introduced([rule("shop", "v1"), first(match)], younger({ spec: tcp }));
    assert.deepEqual(byTcp([{ port: 90 }]), [`deny ${missing}`]);
    assert.deepEqual(byTcp([]), [`warn ${missing}`]);
  });
  test("the root of a delegate wakes up", () => {
    const delegate = readAny({
      apiVersion: "networking.istio.io/v1",
      kind: "VirtualService",
      metadata: { name: "part", namespace: "shop" },
      spec: { http: [{ route: [{ destination: { host: cart, subset: "v9" } }] }] },
    }) as AnyObject;
    const root = younger({ spec: { http: [{ delegate: { name: "part", namespace: "shop" } }] } });
    assert.deepEqual(introduced([rule("shop", "v1"), older(), root, delegate], older(), true), [`deny ${missing}`]);
  });
  test("a rule that others exported takes over when another one goes", () => {
    const metadata = { name: "wide", namespace: "shop" };
    const spec = { host: "*.local", subsets: [{ name: "v9" }] };
    const wide = readAny({
      apiVersion: "networking.istio.io/v1",
      kind: "DestinationRule",
      metadata,
      spec,
    }) as AnyObject;
    const exact = rule("shop", "v9");
    assert.deepEqual(introduced([exact, wide, younger()], exact, true), []);
    assert.deepEqual(
      introduced([exact, object("DestinationRule", "istio-system", { host: "*.local" }), younger()], exact, true),
      [
        'deny relational: Subset "v9" of "cart.shop.svc.cluster.local" does not exist: DestinationRule istio-system/cart defines no subset',
      ],
    );
  });
});

describe("clients that hide the loss of others", () => {
  const exported = (...exportTo: string[]) =>
    object("DestinationRule", "shop", { host: "cart", exportTo, subsets: [{ name: "v1" }] });
  const nowhere = 'deny relational: No DestinationRule for "cart.shop.svc.cluster.local" defines subset "v1"';

  test("the last clients that had the subset lose it, although the others lacked it before", () => {
    assert.deepEqual(introduced([exported("other"), weighted(100, 0)], exported("other"), true), [nowhere]);
  });
  test("some of them lose it: a warning that names them", () => {
    const view = [exported("other", "more"), weighted(100, 0)];
    const own = object("DestinationRule", "other", { host: "cart.shop.svc.cluster.local" });
    assert.deepEqual(introduced(view, own), [
      'warn relational: Subset "v1" of "cart.shop.svc.cluster.local" does not exist for clients in "other": DestinationRule other/cart defines no subset',
    ]);
  });
  test("more clients get it, or the route is for fewer: nothing", () => {
    assert.deepEqual(introduced([weighted(100, 0)], exported("other")), []);
    assert.deepEqual(introduced([exported("other"), weighted(100, 0)], exported("*")), []);
    const only = object("VirtualService", "shop", {
      hosts: ["cart"],
      exportTo: ["."],
      http: [{ route: [{ destination: { host: "cart", subset: "v1" } }] }],
    });
    assert.deepEqual(introduced([exported("other"), weighted(100, 0)], only), []);
  });
});

test("a host that names nothing is the mistake, not the DestinationRule", () => {
  const to = (host: string) =>
    object("VirtualService", "shop", { hosts: ["cart"], http: [{ route: [{ destination: { host, subset: "v3" } }] }] });
  assert.deepEqual(introduced([], to("reviews.prod")), [
    'deny relational: Host "reviews.prod" names no Service and no ServiceEntry, so it has no subset "v3"',
  ]);
  const entry = object("ServiceEntry", "shop", { hosts: ["reviews.prod"], ports: [{ number: 80, name: "http" }] });
  assert.deepEqual(introduced([entry], to("reviews.prod")), [
    'deny relational: No DestinationRule for "reviews.prod" defines subset "v3"',
  ]);
});

test("the namespace of an egress gateway has no sidecars that could miss a subset", () => {
  const host = "egress.egress.svc.cluster.local";
  const namespace = { name: "egress", labels: { "istio-injection": "enabled" } };
  const view = [
    readAny({ apiVersion: "v1", kind: "Namespace", metadata: namespace }) as AnyObject,
    object("DestinationRule", "shop", { host, subsets: [{ name: "partner" }] }),
  ];
  const through = object("VirtualService", "shop", {
    hosts: ["partner.example.com"],
    http: [{ route: [{ destination: { host, subset: "partner" } }] }],
  });
  const ofPods = (annotations: object) => {
    const spec = { containers: [{ name: "istio-proxy", image: "auto" }] };
    const pods = object("Deployment", "egress", { template: { metadata: { annotations }, spec } }, "apps/v1");
    return introduced([...view, pods], through).filter((one) => one.includes('clients in "egress"'));
  };
  const missing = `No DestinationRule that clients in "egress" use for "${host}" defines subset "partner"`;
  assert.deepEqual(ofPods({ "inject.istio.io/templates": "gateway" }), [`off relational: ${missing}`]);
  assert.deepEqual(ofPods({}), [`deny relational: ${missing}`]);
});

test("a namespace outside the mesh has no sidecars that could miss a subset", () => {
  const host = "bridge.legacy.svc.cluster.local";
  const rule = object("DestinationRule", "shop", { host, subsets: [{ name: "v1" }] });
  const routed = (namespace: string, subset: string) =>
    object("VirtualService", namespace, { hosts: [host], http: [{ route: [{ destination: { host, subset } }] }] });
  const found = (labels: object, virtualService: AnyObject, ...pods: AnyObject[]) => {
    const namespace = readAny({
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name: "legacy", labels },
    }) as AnyObject;
    const sidecars = object("Deployment", "shop", { template: { metadata: { labels: { app: "web" } } } }, "apps/v1");
    return introduced([namespace, rule, sidecars, ...pods], virtualService)
      .filter((one) => one.includes("defines subset") && !one.includes("other namespaces"))
      .map((one) => one.split(" ")[0]);
  };
  const pods = object("Deployment", "legacy", { template: { metadata: { labels: { app: "bridge" } } } }, "apps/v1");
  const spec = { containers: [{ name: "istio-proxy", image: "proxyv2", args: ["proxy", "router"] }] };
  const metadata = { labels: { "sidecar.istio.io/inject": "false" } };
  const gateway = object("Deployment", "legacy", { template: { metadata, spec } }, "apps/v1");
  const injected = { "istio-injection": "enabled" };
  assert.deepEqual(found({}, routed("shop", "v1"), pods), ["off"]);
  assert.deepEqual(found({ "istio-injection": "disabled" }, routed("shop", "v1"), pods), ["off"]);
  assert.deepEqual(found({}, routed("shop", "v1"), gateway), ["off"], "a gateway of the chart gateways/istio-egress");
  assert.deepEqual(found({}, routed("shop", "v1")), ["deny"], "no workload yet");
  assert.deepEqual(found(injected, routed("shop", "v1")), ["deny"], "the next one gets a sidecar");
  assert.deepEqual(found(injected, routed("shop", "v1"), pods), ["deny"]);
  assert.deepEqual(found({}, routed("shop", "v2"), pods), ["deny"], "the sidecars of shop fail");
  assert.deepEqual(found({}, routed("legacy", "v2"), pods), ["deny"], "the sidecars of all other namespaces fail");
});

test("a VirtualService that only its own namespace without sidecars sees has no clients", () => {
  const host = "cart.shop.svc.cluster.local";
  const named = (labels: object) =>
    readAny({ apiVersion: "v1", kind: "Namespace", metadata: { name: "legacy", labels } }) as AnyObject;
  const pods = object("Deployment", "legacy", { template: { metadata: { labels: { app: "web" } } } }, "apps/v1");
  const http = [{ route: [{ destination: { host, subset: "v1" } }] }];
  const found = (labels: object, exportTo: readonly string[]) =>
    introduced([named(labels), pods], object("VirtualService", "legacy", { hosts: [host], exportTo, http })).map(
      (one) => one.split(" ")[0],
    );
  assert.deepEqual(found({}, ["."]), ["warn"]);
  assert.deepEqual(found({ "istio-injection": "enabled" }, ["."]), ["deny"]);
  assert.deepEqual(found({}, ["*"]), ["deny", "deny"], "the sidecars of shop and of all other namespaces fail");
});

test("a Gateway whose servers for HTTP offer another host sends no request to an http route", () => {
  const port = (number: number, protocol: string) => ({ number, name: protocol.toLowerCase(), protocol });
  const gateway = (...hosts: string[]) =>
    object("Gateway", "shop", {
      selector: { istio: "ingress" },
      servers: [
        { port: port(80, "HTTP"), hosts },
        { port: port(9000, "TCP"), hosts: ["*"] },
      ],
    });
  const http = [{ route: [{ destination: { host: "cart", subset: "v2" } }] }];
  const bound = object("VirtualService", "shop", { hosts: ["shop.example.com"], gateways: ["cart"], http });
  const decision = (...hosts: string[]) =>
    introduced([gateway(...hosts), rule("shop", "v1")], bound).map((one) => one.split(" ")[0]);
  assert.deepEqual(decision("shop.example.com"), ["deny"]);
  assert.deepEqual(decision("other.example.com"), ["warn"]);
});

test("exporting a DestinationRule helps only if clients look for one in its namespace", () => {
  const host = "cart.shop.svc.cluster.local";
  const view = [object("Service", "shop", { ports: [{ name: "http", port: 80 }] }, "v1")];
  const through = object("VirtualService", "web", {
    hosts: [host],
    http: [{ route: [{ destination: { host, subset: "v1" } }] }],
  });
  const fixes = (namespace: string) => {
    const rule = object("DestinationRule", namespace, { host, exportTo: ["."], subsets: [{ name: "v1" }] });
    const mesh = new MeshStore(defaultMeshSettings);
    for (const one of [...view, rule]) mesh.set(one);
    const { findings } = judge([virtualServiceSubsetNotFound], mesh, [{ old: undefined, object: through }]);
    return findings.map(({ fix }) => fix);
  };
  assert.match(fixes("shop")[0] ?? "", /Export it to them/);
  assert.match(fixes("istio-system")[0] ?? "", /Export it to them/);
  assert.match(fixes("web")[0] ?? "", /Define the subset in namespace "shop", or export the VirtualService only/);
});

test("a waypoint elsewhere applies the routes for ambient clients: one rule denies, if it does not have the subset", async () => {
  const file = join(import.meta.dirname, "../rules/virtual-service-subset-not-found/ambient.yaml");
  const denials = async (rule: Rule) =>
    (await findingsOfFixture(rule, file))
      .filter(({ onlyWarns, message }) => onlyWarns === undefined && !message.includes("other namespaces"))
      .map(({ subject }) => subject.metadata.namespace);
  assert.deepEqual(await denials(virtualServiceSubsetNotFound), ["tram"], "a sidecar follows the route itself");
  assert.deepEqual(await denials(virtualServiceSubsetHiddenFromWaypoint), ["bus"]);
});

test("what a waypoint elsewhere has changes step by step: the one who takes the subset from it is denied, a pod never", async () => {
  const { objects } = await readFixture(
    join(import.meta.dirname, "../rules/virtual-service-subset-not-found/ambient.yaml"),
  );
  const all = objects.map(({ object: one }) => one);
  const of = (kind: string, namespace: string, name: string) =>
    all.find(({ kind: its, metadata }) => its === kind && metadata.namespace === namespace && metadata.name === name);
  const rules = [virtualServiceSubsetNotFound, virtualServiceSubsetHiddenFromWaypoint];
  const denied = (
    view: readonly AnyObject[],
    change: { readonly old?: AnyObject | undefined; readonly object?: AnyObject },
  ) => {
    const mesh = new MeshStore(defaultMeshSettings);
    for (const one of view) mesh.set(one);
    const { findings, errors } = judge(rules, mesh, [{ old: change.old, object: change.object }]);
    assert.deepEqual(errors, []);
    return findings
      .filter(({ introduced: isNew, onlyWarns }) => isNew && onlyWarns === undefined)
      .map(({ rule: { id }, subject }) => `${id} ${subject.metadata.namespace}`);
  };
  const railwayRule = of("DestinationRule", "infra", "timetable-railway");
  assert.deepEqual(denied(all, { old: railwayRule }), ["virtual-service-subset-hidden-from-waypoint railway"]);
  const kiosk = of("Workload", "tram", "kiosk") as AnyObject;
  const inRailway = { ...kiosk, metadata: { ...kiosk.metadata, namespace: "railway" } };
  assert.deepEqual(denied(all, { object: inRailway }), [], "the first pod with a sidecar");
  assert.deepEqual(denied(all, { old: kiosk }), [], "the last pod with a sidecar goes");
  const otherRules = all.filter((one) => one !== railwayRule);
  assert.deepEqual(denied(otherRules, { object: inRailway }), [], "which rule denies is wording");
});

describe("a Gateway that goes gives a VirtualService no request", () => {
  const gateway = (...hosts: string[]) =>
    object("Gateway", "shop", {
      selector: { istio: "ingress" },
      servers: [{ hosts, port: { number: 80, name: "http", protocol: "HTTP" } }],
    });
  const pods = object("Deployment", "edge", { template: { metadata: { labels: { istio: "ingress" } } } }, "apps/v1");
  const bound = (...http: object[]) =>
    object("VirtualService", "shop", { hosts: ["shop.example.com"], gateways: ["cart"], http });
  const route = [{ destination: { host: "cart", subset: "v2" } }];
  const broken = bound({ route });
  const missing =
    'deny relational: Subset "v2" of "cart.shop.svc.cluster.local" does not exist: DestinationRule shop/cart defines "v1"';
  const some = rule("shop", "v1");
  const [offers, closed] = [gateway("shop.example.com"), gateway("shop/other.example.com")];

  test("one that offered nothing, one with pods and one without them is deleted: nothing", () => {
    for (const view of [
      [some, broken, closed],
      [some, broken, closed, pods],
      [some, broken, offers],
      [some, broken, offers, pods],
    ])
      assert.deepEqual(introduced(view, view[2] as AnyObject, true), []);
    assert.deepEqual(introduced([some, bound({ match: [{ port: 8888 }], route }), offers, pods], offers, true), []);
  });
  test("the last of its pods goes, or it comes where it was missing: nothing", () => {
    assert.deepEqual(introduced([some, broken, offers, pods], pods, true), []);
    assert.deepEqual(introduced([some, broken], offers), []);
  });
  test("it offers the host from now on, gets pods, or the subset goes: denied", () => {
    assert.deepEqual(introduced([some, broken, closed], offers), [missing]);
    assert.deepEqual(introduced([some, broken, closed, pods], offers), [missing]);
    assert.deepEqual(introduced([some, broken, offers], pods), [missing]);
    assert.deepEqual(introduced([some, offers], broken), [missing]);
    assert.deepEqual(introduced([some], broken), [missing], "the Gateway may follow");
    const both = rule("shop", "v1", "v2");
    assert.deepEqual(introduced([both, broken, offers], some), [missing]);
    assert.deepEqual(introduced([both, broken], some), [missing]);
    assert.deepEqual(introduced([both, broken, closed], some), []);
  });
  test("the route of a VirtualService without a Gateway is reached from now on: denied", () => {
    const first = { match: [{ uri: { prefix: "/" } }], route: [{ destination: { host: "cart", subset: "v1" } }] };
    assert.deepEqual(introduced([some, bound(first, { route })], broken), [missing]);
  });
});

test("a subset that only clients had whom Sidecars keep from the route is taken from nobody", () => {
  const host = "cart.shop.svc.cluster.local";
  const own = object("DestinationRule", "web", { host, subsets: [{ name: "v1" }] });
  const routed = object("VirtualService", "shop", {
    hosts: ["cart", "web.web.svc.cluster.local"],
    http: [{ route: [{ destination: { host: "cart", subset: "v1" } }] }],
  });
  const hiding = (namespace: string) => object("Sidecar", namespace, { egress: [{ hosts: ["./*"] }] });
  for (const namespace of ["web", "istio-system"])
    assert.deepEqual(introduced([own, routed, hiding(namespace)], own, true), []);
  assert.deepEqual(introduced([own, routed], own, true), [
    `deny relational: No DestinationRule for "${host}" defines subset "v1"`,
  ]);
});

test("a subset that only clients without sidecars had is taken from nobody", () => {
  const host = "cart.shop.svc.cluster.local";
  const own = object("DestinationRule", "legacy", { host, subsets: [{ name: "v1" }] });
  const routes = [{ route: [{ destination: { host, subset: "v1" } }] }];
  const legacy = (labels: object) =>
    readAny({ apiVersion: "v1", kind: "Namespace", metadata: { name: "legacy", labels } }) as AnyObject;
  const pods = object("Deployment", "legacy", { template: { metadata: { labels: { app: "web" } } } }, "apps/v1");
  for (const namespace of ["shop", "web", "legacy"]) {
    const view = [own, object("VirtualService", namespace, { hosts: [host], http: routes }), pods];
    assert.deepEqual(introduced([...view, legacy({})], own, true), [], namespace);
    assert.match(introduced([...view, legacy({ "istio-injection": "enabled" })], own, true).join(), /^deny /);
  }
});

describe("a Sidecar shows or hides a route whose subset nobody has", () => {
  const host = "cart.shop.svc.cluster.local";
  const server = { port: { number: 80, name: "http", protocol: "HTTP" }, hosts: ["*"] };
  const gateway = object("Gateway", "edge", { selector: { app: "edge" }, servers: [server] });
  const pods = object("Deployment", "edge", { template: { metadata: { labels: { app: "edge" } } } }, "apps/v1");
  const http = [{ route: [{ destination: { host, subset: "v1" } }] }];
  const routed = object("VirtualService", "shop", { hosts: [host], gateways: ["mesh", "edge/cart"], http });
  const hiding = object("Sidecar", "shop", { egress: [{ hosts: ["edge/*"] }] });
  const other = object("DestinationRule", "web", { host });

  test("clients who get the route lose the subset, and no gateway does", () => {
    const [found, ...more] = introduced([gateway, pods, routed, hiding], hiding, true);
    assert.match(String(found), /^deny .* clients in "shop"/);
    assert.deepEqual(more, []);
  });
  test("the others, who are the only clients then, lose nothing", () => {
    const alone = object("VirtualService", "shop", { hosts: [host], http });
    assert.deepEqual(introduced([alone], hiding), []);
    assert.deepEqual(introduced([alone, other], hiding), []);
  });
});

test("clients whom Sidecars keep from the route get the subset: nobody else loses it", () => {
  const host = "cart.shop.svc.cluster.local";
  const routed = object("VirtualService", "shop", {
    hosts: ["cart", "web.web.svc.cluster.local"],
    http: [{ route: [{ destination: { host: "cart", subset: "v1" } }] }],
  });
  const hiding = object("Sidecar", "web", { egress: [{ hosts: ["./*"] }] });
  const without = object("DestinationRule", "web", { host });
  const withSubset = object("DestinationRule", "web", { host, subsets: [{ name: "v1" }] });
  assert.deepEqual(
    introduced([without, routed, hiding], { ...withSubset, metadata: { ...withSubset.metadata, name: "more" } }),
    [],
  );
  assert.match(introduced([without, routed, hiding], hiding, true).join(), /^deny /);
});

describe("clients of whom another failure says that they lack the subset, as all others do", () => {
  const host = "cart.shop.svc.cluster.local";
  const routed = (namespace: string) =>
    object("VirtualService", namespace, {
      hosts: [host],
      http: [{ route: [{ destination: { host, subset: "v1" } }] }],
    });
  const namespaces = (labels: object) =>
    ["legacy", "shop"].map(
      (name) =>
        readAny({
          apiVersion: "v1",
          kind: "Namespace",
          metadata: { name, labels: name === "shop" ? { "istio-injection": "enabled" } : labels },
        }) as AnyObject,
    );
  const pods = object("Deployment", "legacy", { template: { metadata: { labels: { app: "web" } } } }, "apps/v1");
  const modes = (found: readonly string[]) => found.map((line) => line.split(" ", 1)[0]);

  test("the Sidecar of a namespace without sidecars goes: nothing", () => {
    const sidecar = object("Sidecar", "legacy", { egress: [{ hosts: ["shop/*"] }] });
    const view = (labels: object) => [...namespaces(labels), pods, routed("legacy"), sidecar];
    assert.deepEqual(introduced(view({}), sidecar, true), []);
    assert.deepEqual(modes(introduced(view({ "istio-injection": "enabled" }), sidecar, true)), ["deny"]);
  });
  test("a ServiceEntry goes from which the namespace of the route had no subset: others lose it alone", () => {
    const entryOf = (namespace: string) =>
      object("ServiceEntry", namespace, { hosts: ["x.example.com"], ports: [{ number: 80, name: "http" }] });
    const route = { destination: { host: "x.example.com", subset: "v1" } };
    const outside = object("VirtualService", "shop", { hosts: ["x.example.com"], http: [{ route: [route] }] });
    const rule = object("DestinationRule", "third", { host: "x.example.com", subsets: [{ name: "v1" }] });
    const view = [entryOf("third"), entryOf("shop"), rule, outside];
    assert.deepEqual(modes(introduced(view, entryOf("third"), true)), ["warn"]);
    assert.deepEqual(modes(introduced(view, entryOf("shop"), true)), []);
  });
  test("a ServiceEntry defines the host too: those of its namespace lacked the subset before", () => {
    const entry = object("ServiceEntry", "third", { hosts: [host], ports: [{ number: 80, name: "http" }] });
    const exported = object("DestinationRule", "shop", { host, exportTo: ["third"], subsets: [{ name: "v1" }] });
    assert.deepEqual(introduced([routed("legacy")], entry), []);
    assert.match(introduced([routed("legacy"), exported], entry).join(), /^deny .* clients in "third"/);
    // With the ServiceEntry, the host is of their own namespace, and no DestinationRule of another one is for it.
    const other = object("DestinationRule", "third", { host });
    assert.deepEqual(introduced([routed("legacy"), exported, entry], other), []);
  });
});

test("a DestinationRule goes that had the subset for nobody", () => {
  const only = (exportTo: readonly string[]) =>
    object("VirtualService", "shop", {
      hosts: ["cart"],
      exportTo,
      http: [{ route: [{ destination: { host: "cart", subset: "v1" } }] }],
    });
  const apart = object("DestinationRule", "shop", {
    host: "cart",
    workloadSelector: { matchLabels: { app: "api" } },
    subsets: [{ name: "v3" }],
  });
  const namespaces = ["shop", "front"].map((name) => {
    const metadata = { name, labels: { "istio-injection": "enabled" } };
    return readAny({ apiVersion: "v1", kind: "Namespace", metadata }) as AnyObject;
  });
  assert.deepEqual(introduced([...namespaces, only(["*"]), apart], apart, true), [], "nobody had it");
  assert.equal(introduced([...namespaces, only(["."]), apart], only(["*"])).length, 1, "others follow the route now");
  const view = [...namespaces, only(["*"]), rule("shop", "v1")];
  assert.equal(introduced(view, rule("shop", "v1"), true).length, 1, "some had it");
});

test("a VirtualService goes from sidecars to gateways through which no request comes: a subset that nobody had is no loss", () => {
  const routed = (gateways: readonly string[]) =>
    object("VirtualService", "shop", {
      hosts: ["cart"],
      gateways,
      http: [{ route: [{ destination: { host: "cart", subset: "v1" } }] }],
    });
  const servers = [{ port: { number: 80, name: "http", protocol: "HTTP" }, hosts: ["*"] }];
  const gateway = object("Gateway", "shop", { selector: { istio: "ingress" }, servers });
  const pods = { template: { metadata: { labels: { istio: "ingress" } } } };
  const ingress = object("Deployment", "edge", pods, "apps/v1");
  assert.deepEqual(introduced([routed(["mesh"])], routed(["cart"])), []);
  assert.deepEqual(introduced([routed(["mesh"]), gateway], routed(["cart"])), [], "the Gateway has no pods");
  assert.equal(
    introduced([routed(["mesh"]), gateway, ingress], routed(["cart"])).length,
    1,
    "requests come through it",
  );
  assert.equal(introduced([], routed(["cart"])).length, 1, "nobody had the route");
});
