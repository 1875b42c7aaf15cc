import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createGate } from "../../src/admission/gate.ts";
import type { Decision } from "../../src/admission/review.ts";
import { keyOf } from "../../src/kube/identity.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import { rules } from "../../src/rules/index.ts";
import { meshSettingsOf } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { type Raw, type RequestParts, reviewed } from "./requests.ts";

// What an object says of itself takes nothing out of the checks, in one step or in several: each series of writes to a
// protected namespace is denied where it opens something, or is let through as a whole.

const { policies } = loadPolicies([], rules);

interface Metadata {
  readonly name: string;
  readonly namespace: string;
  readonly [field: string]: unknown;
}
interface Template {
  readonly labels?: Raw;
  readonly annotations?: Raw;
  readonly ports?: readonly number[];
  readonly containers?: readonly string[];
}
const podOf = ({ labels, annotations, ports = [8080], containers = ["app"] }: Template): Raw => ({
  metadata: { labels, annotations },
  spec: { containers: containers.map((name) => ({ name, ports: ports.map((containerPort) => ({ containerPort })) })) },
});
const workload = (kind: string, metadata: Metadata, template: Template = {}): Raw => ({
  apiVersion: "apps/v1",
  kind,
  metadata,
  spec: { template: podOf(template) },
});
const deployment = (metadata: Metadata, template: Template = {}): Raw => workload("Deployment", metadata, template);
const pod = (metadata: Metadata, template: Template = {}): Raw => {
  const { metadata: labelled, spec } = podOf(template) as { readonly metadata: Raw; readonly spec: Raw };
  return { apiVersion: "v1", kind: "Pod", metadata: { ...metadata, ...labelled }, spec };
};
const namespace = (name: string, labels: Raw): Raw => ({
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name, labels: { "meshward.io/protected": "true", ...labels } },
});
const strict = (where: string): Raw => ({
  apiVersion: "security.istio.io/v1",
  kind: "PeerAuthentication",
  metadata: { name: "default", namespace: where },
  spec: { mtls: { mode: "STRICT" } },
});
const denyAll = (where: string): Raw => ({
  apiVersion: "security.istio.io/v1",
  kind: "AuthorizationPolicy",
  metadata: { name: "deny-all", namespace: where },
  spec: {},
});
const gatewayApi = "gateway.networking.k8s.io/v1";
const gateway = (metadata: Metadata, gatewayClassName = "istio"): Raw => ({
  apiVersion: gatewayApi,
  kind: "Gateway",
  metadata,
  spec: { gatewayClassName },
});
const owner = (kind: string, name: string, uid: string, apiVersion = "apps/v1"): Raw => ({
  apiVersion,
  kind,
  name,
  uid,
  controller: true,
});

const api = { name: "api", namespace: "payments", uid: "api-1" };
const ledger = { name: "ledger", namespace: "vault", uid: "ledger-1" };
const managed = { "gateway.istio.io/managed": "istio.io-gateway-controller" };
const ofGateway = (name: string, uid: string): Raw => ({ apiVersion: gatewayApi, kind: "Gateway", name, uid });
const noSidecar = { "sidecar.istio.io/inject": "false" };
const notAmbient = { "istio.io/dataplane-mode": "none" };
const exclude = "traffic.sidecar.istio.io/excludeInboundPorts";

const ingress = { name: "ingress", namespace: "payments" };
const ingressPod = {
  labels: { istio: "ingress", "sidecar.istio.io/inject": "true" },
  annotations: { "inject.istio.io/templates": "gateway" },
  containers: ["istio-proxy"],
};
const edge = { name: "edge", namespace: "payments", uid: "edge-1" };
const edgeProxy = {
  name: "edge-istio",
  namespace: "payments",
  labels: managed,
  ownerReferences: [ofGateway("edge", "edge-1")],
};
const edgePod = { labels: { ...managed, ...noSidecar, ...notAmbient }, containers: ["istio-proxy"] };

const there: readonly Raw[] = [
  namespace("payments", { "istio-injection": "enabled" }),
  namespace("vault", { "istio.io/dataplane-mode": "ambient" }),
  deployment(api, { labels: { app: "api" } }),
  deployment({ name: "web", namespace: "payments", uid: "web-1" }, { labels: { app: "web" } }),
  deployment(ledger, { labels: { app: "ledger" } }),
  deployment(ingress, ingressPod),
  gateway(edge),
  deployment(edgeProxy, edgePod),
  strict("payments"),
  denyAll("payments"),
  strict("vault"),
];

interface Series {
  readonly name: string;
  readonly writes: readonly Raw[];
  /** Who writes; a person otherwise. */
  readonly user?: string;
  /** The rule that denies the last write, if any. */
  readonly denied?: string;
}

const series: readonly Series[] = [
  {
    name: "a label of gateways, then no sidecar",
    writes: [
      deployment({ ...api, labels: { ...managed, "gateway.networking.k8s.io/gateway-name": "edge" } }),
      deployment({ ...api, labels: managed }, { labels: noSidecar }),
    ],
    denied: "workload-leaves-mesh",
  },
  {
    name: "a Gateway of one's own, and a workload that says that it is its proxy",
    writes: [
      gateway({ ...edge, name: "mine", uid: "mine-1", annotations: { "gateway.istio.io/name-override": "api" } }),
      deployment({ ...api, labels: managed, ownerReferences: [ofGateway("mine", "mine-1")] }),
    ],
    denied: "workload-leaves-mesh",
  },
  {
    name: "a new workload that says that it is the proxy of a Gateway that does not exist",
    writes: [deployment({ ...api, name: "new", labels: managed, ownerReferences: [ofGateway("gone", "gone-1")] })],
    denied: "workload-owner-not-found",
  },
  {
    name: "the templates of a gateway over those of a sidecar",
    writes: [deployment(api, { annotations: { "inject.istio.io/templates": "sidecar,gateway" } })],
    denied: "workload-leaves-mesh",
  },
  {
    name: "templates for an injector that is not asked, which then is",
    writes: [
      deployment(ledger, { annotations: { "inject.istio.io/templates": "grpc-simple" } }),
      deployment(ledger, {
        labels: { "sidecar.istio.io/inject": "true" },
        annotations: { "inject.istio.io/templates": "grpc-simple" },
      }),
    ],
    denied: "workload-leaves-mesh",
  },
  {
    name: "a Deployment that another one owns, in the change that opens it",
    writes: [deployment({ ...api, ownerReferences: [owner("Deployment", "web", "web-1")] }, { labels: noSidecar })],
    denied: "workload-leaves-mesh",
  },
  {
    name: "workloads that own one another, and then no STRICT",
    writes: [
      deployment({ ...api, ownerReferences: [owner("Deployment", "web", "web-1")] }),
      deployment({ ...api, name: "web", uid: "web-1", ownerReferences: [owner("Deployment", "api", "api-1")] }),
      { ...strict("payments"), spec: {} },
    ],
    denied: "namespace-mtls-weakened",
  },
  {
    name: "a ReplicaSet of a Deployment that does not exist",
    writes: [workload("ReplicaSet", { ...api, name: "gone-1", ownerReferences: [owner("Deployment", "gone", "g-1")] })],
    denied: "workload-owner-not-found",
  },
  {
    name: "a ReplicaSet of a Deployment that was another one",
    writes: [
      workload("ReplicaSet", { ...api, name: "web-7d4", ownerReferences: [owner("Deployment", "web", "web-0")] }),
    ],
    denied: "workload-owner-not-found",
  },
  {
    name: "a pod that a controller ignores",
    writes: [pod({ ...api, name: "db", ownerReferences: [owner("ReplicaSet", "web-7d4", "rs-1")] })],
    denied: "workload-owner-not-found",
  },
  {
    name: "a ReplicaSet with other labels gets an owner",
    writes: [
      workload("ReplicaSet", { ...api, name: "web-7d4" }, { labels: { app: "secret" } }),
      workload(
        "ReplicaSet",
        { ...api, name: "web-7d4", ownerReferences: [owner("Deployment", "web", "web-1")] },
        { labels: { app: "secret" } },
      ),
    ],
    denied: "workload-owner-differs",
  },
  {
    name: "the template of a ReplicaSet, while its Deployment is paused",
    writes: [
      workload(
        "ReplicaSet",
        { ...api, name: "web-7d4", ownerReferences: [owner("Deployment", "web", "web-1")] },
        { labels: { app: "web" } },
      ),
      workload(
        "ReplicaSet",
        { ...api, name: "web-7d4", ownerReferences: [owner("Deployment", "web", "web-1")] },
        { labels: { app: "web", ...noSidecar } },
      ),
    ],
    denied: "workload-leaves-mesh",
  },
  {
    name: "a sidecar that the template only claims, in an ambient namespace",
    writes: [deployment(ledger, { annotations: { "sidecar.istio.io/status": "{}" } })],
    denied: "workload-leaves-mesh",
  },
  {
    name: "a sidecar that a template claims and refuses",
    writes: [
      deployment(api, { annotations: { "sidecar.istio.io/status": "{}" } }),
      deployment(api, { annotations: { "sidecar.istio.io/status": "{}" }, labels: noSidecar }),
    ],
    denied: "workload-leaves-mesh",
  },
  {
    name: "another port is declared, and then the one that listens is excluded",
    writes: [
      deployment(api, { ports: [9999] }),
      deployment(api, { ports: [9999], annotations: { [exclude]: "8080" } }),
    ],
    denied: "workload-leaves-mesh",
  },
  {
    name: "a port as iptables reads it",
    writes: [deployment(api, { annotations: { [exclude]: "0017620" } })],
    denied: "workload-leaves-mesh",
  },
  {
    name: "the port of the application as the status port",
    writes: [deployment(api, { annotations: { "status.sidecar.istio.io/port": "8080" } })],
    denied: "workload-leaves-mesh",
  },
  {
    name: "from ambient to sidecars that running pods do not have",
    writes: [namespace("vault", { "istio-injection": "enabled" })],
    denied: "namespace-leaves-mesh",
  },
  {
    name: "a running pod is taken out of ambient",
    writes: [
      pod({
        ...ledger,
        name: "ledger-7d4-x",
        uid: "p-1",
        ownerReferences: [owner("ReplicaSet", "ledger-7d4", "rs-2")],
      }),
      pod(
        { ...ledger, name: "ledger-7d4-x", uid: "p-1", ownerReferences: [owner("ReplicaSet", "ledger-7d4", "rs-2")] },
        { labels: notAmbient },
      ),
    ],
    denied: "workload-leaves-mesh",
  },

  {
    name: "a gateway that the injector makes is changed",
    writes: [deployment(ingress, { ...ingressPod, ports: [8443] })],
  },
  {
    name: "another gateway that the injector makes",
    writes: [deployment({ ...ingress, name: "egress" }, ingressPod)],
  },
  {
    name: "istiod writes the proxy of a Gateway",
    writes: [
      gateway({ ...edge, name: "waypoint", uid: "waypoint-1" }, "istio-waypoint"),
      deployment({ ...edgeProxy, name: "waypoint", ownerReferences: [ofGateway("waypoint", "waypoint-1")] }, edgePod),
    ],
    user: "system:serviceaccount:istio-system:istiod",
  },
  {
    name: "a person restarts the proxy of a Gateway",
    writes: [deployment(edgeProxy, { ...edgePod, annotations: { "kubectl.kubernetes.io/restartedAt": "now" } })],
  },
  {
    name: "a Deployment and its ReplicaSet, from a controller that Meshward does not know",
    writes: [
      workload(
        "ReplicaSet",
        { ...api, name: "web-7d4", ownerReferences: [owner("Deployment", "web", "web-1")] },
        { labels: { app: "web" } },
      ),
    ],
    user: "system:serviceaccount:rollouts:rollouts",
  },
  {
    name: "from sidecars to ambient",
    writes: [namespace("payments", { "istio.io/dataplane-mode": "ambient" })],
  },
  {
    name: "from ambient to both, and then the restarted workloads to sidecars",
    writes: [
      namespace("vault", { "istio.io/dataplane-mode": "ambient", "istio-injection": "enabled" }),
      deployment(ledger, { labels: { app: "ledger", ...notAmbient } }),
      namespace("vault", { "istio-injection": "enabled" }),
    ],
  },
  { name: "the port of the sidecar's own status", writes: [deployment(api, { annotations: { [exclude]: "15020" } })] },
  { name: "another port is declared", writes: [deployment(api, { ports: [9999] })] },
];

const read = (raw: Raw): AnyObject => {
  const object = readAny(raw);
  assert.ok(object !== undefined);
  return object;
};

/** Stores what is allowed, as the API server does, and returns the decisions. */
function written(writes: readonly Raw[], user: string | undefined): readonly Decision[] {
  const store = new MeshStore(meshSettingsOf([]));
  const raws = new Map<string, Raw>();
  const keep = (raw: Raw): void => {
    const object = read(raw);
    store.set(object);
    raws.set(`${object.kind} ${keyOf(object)}`, raw);
  };
  for (const raw of there) keep(raw);
  const gate = createGate({ mesh: () => store, rules, policies: () => policies });
  return writes.map((object) => {
    const known = read(object);
    const parts: RequestParts = { object, oldObject: raws.get(`${known.kind} ${keyOf(known)}`) };
    const decision = gate.validate(reviewed(user === undefined ? parts : { ...parts, user }));
    if (decision.allowed) keep(object);
    return decision;
  });
}

describe("what objects say of themselves", () => {
  for (const { name, writes, user, denied } of series)
    test(name, () => {
      const decisions = written(writes, user);
      const last = decisions.at(-1);
      for (const one of decisions) if (one !== last || denied === undefined) assert.equal(one.message, undefined);
      if (denied === undefined) return;
      assert.equal(last?.allowed, false);
      assert.match(last.message ?? "", new RegExp(`\\[${denied}\\]`));
    });
});
