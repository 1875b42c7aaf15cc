import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { idOf } from "../../../src/kube/identity.ts";
import { allKinds, type Kind } from "../../../src/kube/kinds.ts";
import { type AnyObject, readObject } from "../../../src/kube/object.ts";
import { namespaceIn } from "../../../src/mesh/membership/namespaces.ts";
import { telemetryAtWaypoints } from "../../../src/mesh/waypoints/telemetry-at-waypoints.ts";
import { defaultMeshSettings } from "../../../src/view/settings.ts";
import { sideOf } from "../../../src/view/side.ts";
import { MeshStore } from "../../../src/view/store.ts";
import type { Knowledge } from "../../../src/view/view.ts";

type Labels = Readonly<Record<string, string>>;
const ofShared = { "istio.io/use-waypoint": "shared", "istio.io/use-waypoint-namespace": "infra" };

const namespace = (name: string, labels: Labels = {}) => readObject("Namespace", { metadata: { name, labels } });
const service = (at: string, name: string, labels: Labels = {}, more: object = {}) =>
  readObject("Service", { metadata: { namespace: at, name, labels }, spec: { ports: [{ port: 80 }], ...more } });
const entry = readObject("ServiceEntry", {
  metadata: { namespace: "shop", name: "card" },
  spec: { hosts: ["card.example.org"], resolution: "DNS", ports: [{ number: 80, name: "http", protocol: "HTTP" }] },
});
const waypoint = (at: string, name: string, gatewayClassName = "istio-waypoint", labels: Labels = {}) =>
  readObject("KubernetesGateway", {
    metadata: { namespace: at, name, labels },
    spec: {
      gatewayClassName,
      listeners: [{ name: "mesh", port: 15008, protocol: "HBONE", allowedRoutes: { namespaces: { from: "All" } } }],
    },
  });
const logged = { accessLogging: [{ providers: [{ name: "envoy" }] }] };
const telemetry = (at: string, name: string, spec: object = {}) =>
  readObject("Telemetry", { metadata: { namespace: at, name }, spec: { ...logged, ...spec } });
const targeting = (kind: string, name: string, group = "") => ({ targetRefs: [{ group, kind, name }] });
const ofGateway = (name: string, kind = "Gateway") => targeting(kind, name, "gateway.networking.k8s.io");

const world: readonly AnyObject[] = [
  namespace("istio-system"),
  namespace("infra"),
  namespace("shop", ofShared),
  waypoint("infra", "shared"),
  waypoint("shop", "own"),
  service("shop", "web"),
  service("shop", "api", { "istio.io/use-waypoint": "own" }),
  service("shop", "none", { "istio.io/use-waypoint": "none" }),
  service("shop", "pods", {}, { clusterIP: "None" }),
  service("infra", "tools", ofShared),
  service("istio-system", "collector", ofShared),
  entry,
  telemetry("istio-system", "root"),
  telemetry("infra", "infra"),
  telemetry("shop", "shop"),
  telemetry("shop", "second"),
];

function meshOf(objects: readonly AnyObject[], known: Knowledge = "complete", less: readonly Kind[] = allKinds) {
  const knowledge = new Map(allKinds.map((kind) => [kind, less.includes(kind) ? known : "complete"]));
  const mesh = new MeshStore(defaultMeshSettings, knowledge);
  for (const object of objects) mesh.set(object);
  return sideOf(mesh);
}
const usedFor = (kind: "Service" | "ServiceEntry", name: string, more: readonly AnyObject[] = [], at = "shop") => {
  const mesh = meshOf([...world, ...more]);
  return mesh
    .get(telemetryAtWaypoints, namespaceIn(mesh, at))
    .ofDestination(kind, name)
    .map(({ telemetries, isSure }) => [...telemetries.map(idOf), ...(isSure ? [] : ["?"])].join());
};
const all = "Telemetry istio-system/root,Telemetry infra/infra,Telemetry shop/second";

// Each as in Istio pilot/pkg/model/telemetry.go applicableTelemetries with the waypoint and the Service.
suite("a waypoint uses", () => {
  test("that of the root namespace, of its own and of the Service's namespace, the first by name of each", () => {
    assert.deepEqual(usedFor("Service", "web"), [all]);
    assert.deepEqual(usedFor("ServiceEntry", "card"), [all]);
  });

  test("that of its own namespace once for Services there, and that of the root namespace twice for those there", () => {
    const own = "Telemetry istio-system/root,Telemetry shop/second";
    assert.deepEqual(usedFor("Service", "api"), [own]);
    const root = "Telemetry istio-system/root,Telemetry infra/infra,Telemetry istio-system/root";
    assert.deepEqual(usedFor("Service", "collector", [], "istio-system"), [root]);
  });

  test("those that target the Service, in its namespace", () => {
    const ofWeb = telemetry("shop", "of-web", targeting("Service", "web"));
    const elsewhere = telemetry("infra", "of-web", targeting("Service", "web"));
    const ofCard = telemetry("shop", "of-card", targeting("ServiceEntry", "card", "networking.istio.io"));
    assert.deepEqual(usedFor("Service", "web", [ofWeb, elsewhere, ofCard]), [`${all},Telemetry shop/of-web`]);
    assert.deepEqual(usedFor("ServiceEntry", "card", [ofWeb, ofCard]), [`${all},Telemetry shop/of-card`]);
    assert.deepEqual(usedFor("Service", "web", [telemetry("shop", "core", targeting("Service", "web", "core"))]), [
      `${all},Telemetry shop/core`,
    ]);
  });

  test("those that target it only for Services of its own namespace", () => {
    const ofShared = telemetry("infra", "of-shared", ofGateway("shared"));
    assert.deepEqual(usedFor("Service", "web", [ofShared]), [all]);
    assert.deepEqual(usedFor("Service", "web", [telemetry("shop", "of-shared", ofGateway("shared"))]), [all]);
    assert.deepEqual(usedFor("Service", "tools", [ofShared], "infra"), [
      "Telemetry istio-system/root,Telemetry infra/infra,Telemetry infra/of-shared",
    ]);
    const ofOwn = telemetry("shop", "of-own", ofGateway("own"));
    const ofApi = telemetry("shop", "of-api", targeting("Service", "api"));
    assert.deepEqual(usedFor("Service", "api", [ofOwn, ofApi]), [
      "Telemetry istio-system/root,Telemetry shop/second,Telemetry shop/of-api,Telemetry shop/of-own",
    ]);
  });

  test("those that target the class of waypoints only for Services of the root namespace, and no selector", () => {
    const ofClass = (at: string) => telemetry(at, "of-class", ofGateway("istio-waypoint", "GatewayClass"));
    assert.deepEqual(usedFor("Service", "web", [ofClass("istio-system"), ofClass("shop")]), [all]);
    assert.match(
      String(usedFor("Service", "collector", [ofClass("istio-system")], "istio-system")),
      /,Telemetry istio-system\/of-class$/,
    );
    const selector = { matchLabels: { app: "web" } };
    assert.deepEqual(usedFor("Service", "web", [telemetry("shop", "selecting", { selector })]), [all]);
  });

  test("none for a Service without a waypoint, and not for certain those of a waypoint of an unknown class", () => {
    for (const name of ["none", "pods", "gone"]) assert.deepEqual(usedFor("Service", name), []);
    const ofOther = service("shop", "other", { "istio.io/use-waypoint": "vendor" });
    assert.deepEqual(usedFor("Service", "other", [ofOther, waypoint("shop", "vendor", "vendor")]), [
      "Telemetry istio-system/root,Telemetry shop/second,?",
    ]);
  });
});

test("Services that are not known may have another waypoint, and waypoints that are not known may be anywhere", () => {
  const services = meshOf(world, "partial", ["Service"]);
  const [found] = services.get(telemetryAtWaypoints, namespaceIn(services, "shop")).ofDestination("Service", "gone");
  assert.deepEqual([found?.isSure, found?.telemetries.map(idOf).join()], [false, all]);
  const gateways = meshOf(
    world.filter(({ kind }) => kind !== "KubernetesGateway"),
    "unknown",
    ["KubernetesGateway"],
  );
  const [unseen] = gateways.get(telemetryAtWaypoints, namespaceIn(gateways, "shop")).ofDestination("Service", "web");
  assert.equal(unseen?.isSure, false);
});

test("Services that all have a label or a Telemetry of their own leave none for the waypoint of the namespace", () => {
  const isHere = (object: AnyObject) => !(object.metadata.namespace === "shop" && object.metadata.name === "card");
  const ofWeb = telemetry("shop", "of-web", targeting("Service", "web"));
  const counted = (more: readonly AnyObject[]) => {
    const mesh = meshOf([...world.filter(isHere), ...more]);
    return mesh.get(telemetryAtWaypoints, namespaceIn(mesh, "shop")).ofOthers().length;
  };
  assert.deepEqual([counted([]), counted([ofWeb]), counted([ofWeb, service("shop", "more")])], [1, 0, 1]);
});
