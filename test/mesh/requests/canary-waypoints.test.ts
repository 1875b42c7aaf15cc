import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { everyRequest } from "../../../src/mesh/authorization/requests/boxes.ts";
import { outcomesOfEntry } from "../../../src/mesh/requests/entry.ts";
import { frontOf } from "../../../src/mesh/requests/front.ts";
import { type Outcome, reasonOfWay } from "../../../src/mesh/requests/outcome.ts";
import { meshSettingsOf } from "../../../src/view/settings.ts";
import { sideOf } from "../../../src/view/side.ts";
import { MeshStore } from "../../../src/view/store.ts";
import { allKinds } from "../../../src/kube/kinds.ts";
import type { Mesh } from "../../../src/view/view.ts";
import { asked, meshOf } from "./asked.ts";
import {
  authorizationPolicy,
  deployment,
  destinationRule,
  gateway,
  gatewayProxy,
  namespace,
  service,
  virtualService,
  waypoint,
} from "./meshes.ts";

// A Service can have two waypoints, each with a share of the connections: of ztunnel, and of gateways that send requests there (Istio
// pilot/pkg/serviceregistry/ambient/waypoints.go buildWeightedWaypoints, pilot/pkg/xds/endpoints/endpoint_builder.go
// weightedWaypointEndpoints).

const host = "shop.example.com";
const server = "x.shop.svc.cluster.local";

interface World {
  /** Labels and annotations of the namespace, and of the Service. */
  readonly labels?: string;
  readonly weight?: string;
  readonly own?: string;
  readonly ownWeight?: string;
  readonly more?: string;
}

/** The waypoint `shop/old`, and the canary `infra/next`. */
function world({
  labels = "istio.io/use-waypoint-canary: next, istio.io/use-waypoint-canary-namespace: infra",
  weight = "30",
  own = "",
  ownWeight,
  more = "",
}: World = {}): string {
  const annotations = (value: string | undefined) =>
    value === undefined ? "" : `, annotations: { istio.io/use-waypoint-canary-weight: '${value}' }`;
  const usual = "istio.io/dataplane-mode: ambient, istio.io/use-waypoint: old, istio.io/ingress-use-waypoint: 'true'";
  return [
    `{ apiVersion: v1, kind: Namespace, metadata: { name: shop, labels: { ${usual}, ${labels} }${annotations(weight)} } }\n`,
    deployment("shop", "x"),
    service("shop", "x", { labels: own }).replace(/(labels: \{[^}]*\}) \}/, `$1${annotations(ownWeight)} }`),
    waypoint("shop", "old"),
    `---\n${namespace("infra")}`,
    waypoint("infra", "next"),
    `---\n${namespace("web", "ambient")}`,
    deployment("web", "client"),
    `---\n${namespace("edge", "sidecar")}`,
    gatewayProxy("edge", "main"),
    gateway("edge/main", [`{ port: { number: 80, name: h, protocol: HTTP }, hosts: [${host}] }`]),
    virtualService(
      "edge/in",
      `hosts: [${host}]\ngateways: [main]\nhttp: [{ route: [{ destination: { host: ${server} } }] }]`,
    ),
    more,
  ].join("");
}

/** Each result, with the waypoint on the way and the percentage of its share. */
const shown = (outcomes: readonly Outcome[]): readonly string[] =>
  outcomes.map(({ result, transport }) => {
    const used = transport.find(({ to }) => to === "waypoint")?.waypoint;
    const share = used?.share === undefined ? "" : ` ${Math.round(used.share * 100)}`;
    return `${result}${used === undefined ? "" : ` ${used.named.name}${share}`}`;
  });
function entering(mesh: Mesh): readonly Outcome[] {
  const of = { to: { kind: "entry", host, port: 80, scheme: "http" }, front: frontOf(host, mesh) } as const;
  return [...outcomesOfEntry(of, everyRequest, mesh)];
}
const byGateway = (of?: World): readonly string[] => shown(entering(meshOf(world(of))));
const byZtunnel = (of?: World): readonly string[] => shown(asked(meshOf(world(of)), "web/client", "shop/x:80"));

describe("the connections of gateways and of ztunnel are divided", () => {
  const [both, primary, canary] = [["accepted old 70", "accepted next 30"], ["accepted old"], ["accepted next 100"]];
  for (const [name, of, is] of [
    ["as the namespace says", {}, both],
    [
      "as the Service itself says",
      {
        labels: "",
        weight: "",
        own: "istio.io/use-waypoint-canary: next, istio.io/use-waypoint-canary-namespace: infra",
        ownWeight: "30",
      },
      both,
    ],
    ["by a share that the Service itself has, and a canary of the namespace", { weight: "5", ownWeight: "30" }, both],
    ["until the canary gets all", { weight: "100" }, canary],
    ["not yet, with 0", { weight: "0" }, primary],
    ["not at all by a share that is no percentage", { weight: "101" }, primary],
    ["not at all by a share that is no number", { weight: "half" }, primary],
    ["not if the Service names a waypoint of its own", { own: "istio.io/use-waypoint: old" }, primary],
    ["not if the canary is the waypoint itself", { labels: "istio.io/use-waypoint-canary: old" }, primary],
    ["not if there is no such canary, which istiod ignores", { labels: "istio.io/use-waypoint-canary: next" }, primary],
  ] as const)
    test(name, () => {
      assert.deepEqual(byGateway(of), is);
      assert.deepEqual(byZtunnel(of), is);
    });

  test("to nothing if the waypoint itself is not usable, whatever the canary is", () => {
    const of = {
      own: "istio.io/use-waypoint: gone, istio.io/use-waypoint-canary: next, istio.io/use-waypoint-canary-namespace: infra",
      ownWeight: "50",
    };
    assert.deepEqual(byGateway(of), ["accepted"]);
    assert.deepEqual(byZtunnel(of), ["accepted"]);
  });
});

describe("each of the two decides with its own policies", () => {
  const closed = (at: string, name: string) =>
    authorizationPolicy(
      `${at}/p`,
      `{ targetRefs: [{ group: gateway.networking.k8s.io, kind: Gateway, name: ${name} }], action: DENY, rules: [{}] }`,
    );

  test("those of the namespace in which it is", () => {
    assert.deepEqual(byGateway({ more: closed("shop", "old") }), ["denied old 70", "accepted next 30"]);
    assert.deepEqual(byZtunnel({ more: closed("infra", "next") }), ["accepted old 70", "denied next 30"]);
    assert.deepEqual(byZtunnel({ more: closed("shop", "next") }), ["accepted old 70", "accepted next 30"]);
  });

  test("and both with those for the Service", () => {
    const more = authorizationPolicy(
      "shop/p",
      "{ targetRefs: [{ group: '', kind: Service, name: x }], action: DENY, rules: [{}] }",
    );
    assert.deepEqual(byGateway({ more }), ["denied old 70", "denied next 30"]);
  });

  test("and the pods see the identity of the one through which a request came", () => {
    const more = authorizationPolicy(
      "shop/p",
      "rules: [{ from: [{ source: { principals: [cluster.local/ns/shop/sa/old] } }] }]",
    );
    assert.deepEqual(byZtunnel({ more }), ["accepted old 70", "denied next 30"]);
    assert.deepEqual(byGateway({ more }), ["accepted old 70", "denied next 30"]);
  });
});

describe("where a waypoint routes to another Service", () => {
  const routed = (labels: string) => ({
    more: [
      deployment("shop", "y"),
      service("shop", "y", { labels }),
      virtualService(
        "shop/v",
        `hosts: ["*.shop.svc.cluster.local"]\nhttp: [{ route: [{ destination: { host: y.shop.svc.cluster.local } }] }]`,
      ),
    ].join(""),
  });

  test("it has that Service if it is its waypoint or its canary", () => {
    assert.deepEqual(byZtunnel(routed("")), ["accepted old 70", "accepted next 30"]);
    assert.deepEqual(byZtunnel(routed("istio.io/use-waypoint: old")), ["accepted old 70", "undecided next 30"]);
  });

  test("also if it is a canary that gets no connections yet", () => {
    const more = routed(
      "istio.io/use-waypoint: old, istio.io/use-waypoint-canary: next, istio.io/use-waypoint-canary-namespace: infra",
    );
    assert.deepEqual(byZtunnel(more), ["accepted old 70", "accepted next 30"]);
  });
});

describe("a waypoint is a client with labels of its own", () => {
  const subset = `subset: v1`;
  const route = virtualService(
    "shop/v",
    `hosts: [${server}]\nhttp: [{ route: [{ destination: { host: ${server}, ${subset} } }] }]`,
  );
  const rule = (labels: string, at = "shop") =>
    destinationRule(
      `${at}/d`,
      `host: ${server}\nworkloadSelector: { matchLabels: { ${labels} } }\nsubsets: [{ name: v1 }]`,
    );
  const reached = (more: string) => byZtunnel({ weight: "0", more: route + more });

  test("so that a DestinationRule can select it, in its own namespace", () => {
    assert.deepEqual(reached(rule("gateway.networking.k8s.io/gateway-name: old")), ["accepted old"]);
    assert.deepEqual(reached(rule("service.istio.io/canonical-name: old")), ["accepted old"]);
    assert.deepEqual(reached(rule("gateway.networking.k8s.io/gateway-name: other")), ["nowhere old"]);
    assert.deepEqual(reached(rule("gateway.networking.k8s.io/gateway-name: old", "infra")), ["nowhere old"]);
  });

  test("and those that its Gateway gives its pods", () => {
    const labelled = world({ weight: "0", more: route + rule("team: a") });
    const of = (text: string) => shown(asked(meshOf(text), "web/client", "shop/x:80"));
    assert.deepEqual(of(labelled), ["nowhere old"]);
    assert.deepEqual(
      of(labelled.replace("name: old, namespace: shop", "name: old, namespace: shop, labels: { team: a }")),
      ["accepted old"],
    );
    const set = "spec:\n  infrastructure: { labels: { team: a } }\n  gatewayClassName: istio-waypoint";
    assert.deepEqual(of(labelled.replace("spec:\n  gatewayClassName: istio-waypoint", set)), ["accepted old"]);
  });

  test("and with the control plane that its Gateway names, whatever that of the namespace is", () => {
    const revised = "istio.io/rev: next";
    const more =
      route +
      rule("gateway.networking.k8s.io/gateway-name: old").replace(
        "namespace: shop",
        `namespace: shop, labels: { ${revised} }`,
      );
    const of = (text: string) => {
      const { all, settings } = objectsOf(text);
      const store = new MeshStore(
        { ...settings, revisions: ["default", "next"], seen: true },
        new Map(allKinds.map((kind) => [kind, "complete" as const])),
      );
      for (const object of all) store.set(object);
      return asked(sideOf(store), "web/client", "shop/x:80");
    };
    const [byDefault] = of(world({ weight: "0", more }));
    assert.equal(byDefault?.result, "nowhere");
    assert.match(reasonOfWay(byDefault) ?? "", /no DestinationRule applies to these clients/);
    const [byNext] = of(
      world({ weight: "0", more }).replace(
        "name: old, namespace: shop",
        `name: old, namespace: shop, labels: { ${revised} }`,
      ),
    );
    assert.equal(byNext?.result, "accepted");
  });

  function objectsOf(text: string) {
    const mesh = meshOf(text);
    const all = allKinds.flatMap((kind) => [...mesh.all(kind)]).filter(({ implied }) => implied !== true);
    return { all, settings: meshSettingsOf(all) };
  }
});
