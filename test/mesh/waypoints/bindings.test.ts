import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type AnyObject, readObject } from "../../../src/kube/object.ts";
import {
  identityOfWaypoint,
  isUsable,
  waypointBindingOfNamespace,
  waypointBindingOfService,
  waypointBindingOfWorkload,
  waypointNamed,
} from "../../../src/mesh/waypoints/bindings.ts";
import { defaultMeshSettings } from "../../../src/view/settings.ts";
import { MeshStore } from "../../../src/view/store.ts";

type Labels = Record<string, string>;
const namespace = (labels: Labels = {}) => readObject("Namespace", { metadata: { name: "payments", labels } });
const service = (labels: Labels = {}) =>
  readObject("Service", { metadata: { name: "api", namespace: "payments", labels } });
const workload = (labels: Labels = {}) =>
  readObject("Workload", {
    kind: "Deployment",
    metadata: { name: "api", namespace: "payments" },
    spec: { template: { metadata: { labels } } },
  });
interface Gateway {
  readonly name?: string;
  readonly in?: string;
  readonly labels?: Labels;
  readonly annotations?: Labels;
  readonly from?: string;
}
const gateway = ({ name = "waypoint", in: where = "payments", labels = {}, annotations = {}, from }: Gateway) =>
  readObject("KubernetesGateway", {
    metadata: { name, namespace: where, labels, annotations },
    spec: {
      gatewayClassName: "istio-waypoint",
      listeners: [
        { name: "mesh", port: 15008, protocol: "HBONE", ...(from ? { allowedRoutes: { namespaces: { from } } } : {}) },
      ],
    },
  });
const meshOf = (...objects: readonly AnyObject[]) => {
  const mesh = new MeshStore(defaultMeshSettings);
  for (const object of objects) mesh.set(object);
  return mesh;
};

const uses = { "istio.io/use-waypoint": "waypoint" };
const usesOther = { "istio.io/use-waypoint": "other" };
const none = { "istio.io/use-waypoint": "none" };
const managed = (by: string): Labels => ({ "gateway.istio.io/managed": by });
const forWorkloads = { "istio.io/waypoint-for": "workload" };
const forAll = { "istio.io/waypoint-for": "all" };

test("what labels name", () => {
  assert.equal(waypointNamed({}, "payments"), undefined);
  assert.equal(waypointNamed(none, "payments"), "none");
  assert.deepEqual(waypointNamed(uses, "payments"), { name: "waypoint", namespace: "payments" });
  assert.deepEqual(waypointNamed({ ...uses, "istio.io/use-waypoint-namespace": "infra" }, "payments"), {
    name: "waypoint",
    namespace: "infra",
  });
});

describe("the waypoint of a Service", () => {
  const cases: [string, Labels, Labels, readonly AnyObject[], string][] = [
    ["nobody names one", {}, {}, [gateway({})], "nothing"],
    ["its namespace names one", uses, {}, [gateway({})], "payments/waypoint, by namespace"],
    ["its own label goes first", usesOther, uses, [gateway({})], "payments/waypoint, by own"],
    ["it opts out", uses, none, [gateway({})], "nothing"],
    ["its namespace opts out", none, {}, [gateway({})], "nothing"],
    ["no fallback to the namespace", uses, usesOther, [gateway({})], "payments/other, by own: missing"],
    ["for pods alone", uses, {}, [gateway({ labels: forWorkloads })], "payments/waypoint, by namespace: other traffic"],
    ["for everything", uses, {}, [gateway({ labels: forAll })], "payments/waypoint, by namespace"],
    ["a waypoint itself", uses, managed("istio.io-mesh-controller"), [gateway({})], "nothing"],
    ["an east-west gateway", uses, managed("istio.io-eastwest-controller"), [gateway({})], "nothing"],
    [
      "an ingress gateway",
      uses,
      managed("istio.io-gateway-controller"),
      [gateway({})],
      "payments/waypoint, by namespace",
    ],
    ["called managed", uses, managed("x"), [gateway({})], "payments/waypoint, by namespace"],
  ];
  for (const [what, ofNamespace, own, others, expected] of cases)
    test(what, () => {
      const [in_, of] = [namespace(ofNamespace), service(own)];
      assert.equal(shown(waypointBindingOfService(of, in_, meshOf(in_, of, ...others))), expected);
    });
});

describe("the waypoint of a pod's own address", () => {
  const cases: [string, Labels, Labels, readonly AnyObject[], string][] = [
    ["that of its namespace is for Services", uses, {}, [gateway({})], "nothing"],
    [
      "that of its namespace is for pods",
      uses,
      {},
      [gateway({ labels: forWorkloads })],
      "payments/waypoint, by namespace",
    ],
    ["its own is for Services", {}, uses, [gateway({})], "payments/waypoint, by own: other traffic"],
    ["it opts out", uses, none, [gateway({ labels: forAll })], "nothing"],
  ];
  for (const [what, ofNamespace, own, others, expected] of cases)
    test(what, () => {
      const [in_, of] = [namespace(ofNamespace), workload(own)];
      assert.equal(shown(waypointBindingOfWorkload(of, in_, meshOf(in_, of, ...others))), expected);
    });
});

describe("a waypoint in another namespace", () => {
  const elsewhere = { ...uses, "istio.io/use-waypoint-namespace": "infra" };
  const cases: [string, Gateway, string][] = [
    ["takes its own namespace alone", {}, "infra/waypoint, by namespace: not allowed"],
    ["takes every namespace", { from: "All" }, "infra/waypoint, by namespace"],
    ["takes none", { from: "None" }, "infra/waypoint, by namespace: not allowed"],
    ["a selector that is missing", { from: "Selector" }, "infra/waypoint, by namespace: not allowed"],
    [
      "an annotation names a listener that is not there",
      { annotations: { "ambient.istio.io/waypoint-inbound-binding": "PROXY/15088" } },
      "infra/waypoint, by namespace: not allowed",
    ],
    [
      "an annotation names a listener that is not there, and the other one takes every namespace",
      { annotations: { "ambient.istio.io/waypoint-inbound-binding": "PROXY/15088" }, from: "All" },
      "infra/waypoint, by namespace",
    ],
  ];
  for (const [what, fields, expected] of cases)
    test(what, () => {
      const in_ = namespace(elsewhere);
      assert.equal(shown(waypointBindingOfNamespace(in_, meshOf(in_, gateway({ ...fields, in: "infra" })))), expected);
    });
});

test("where no gateways are known, what is named is taken for usable", () => {
  const in_ = namespace(uses);
  const mesh = new MeshStore(defaultMeshSettings, new Map([["KubernetesGateway", "unknown"]]));
  mesh.set(in_);
  const binding = waypointBindingOfNamespace(in_, mesh);
  assert.equal(shown(binding), "payments/waypoint, by namespace");
  assert.equal(isUsable(binding), true);
});

test("who a waypoint is", () => {
  const named = { name: "waypoint", namespace: "payments" };
  assert.deepEqual(identityOfWaypoint(named, undefined), { namespace: "payments", serviceAccount: "waypoint" });
  const renamed = gateway({ annotations: { "gateway.istio.io/service-account": "proxy" } });
  assert.deepEqual(identityOfWaypoint(named, renamed), { namespace: "payments", serviceAccount: "proxy" });
});

function shown(binding: ReturnType<typeof waypointBindingOfNamespace>): string {
  if (binding === undefined) return "nothing";
  const { named, by, trouble } = binding;
  return `${named.namespace}/${named.name}, by ${by}${trouble === undefined ? "" : `: ${trouble}`}`;
}
