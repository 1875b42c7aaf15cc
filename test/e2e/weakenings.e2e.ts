import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { Output } from "./control-plane.ts";
import {
  type Environment,
  environment,
  isDenied,
  isQuiet,
  isWarned,
  namespace,
  type Raw,
  seen,
  send,
  skip,
  stored,
  succeeds,
} from "./environment.ts";
import { denyAll, deployment, peerAuthentication, service } from "./workloads.ts";

// Each way to weaken a protected namespace that policies/bypasses.md calls closed, tried with kubectl by a person beside
// a twin that is let through. The API server dates what it makes itself, so two ways that need a date are not here: an
// older policy out of a backup, and two policies of one second.

const clients = "weakened-clients";
const root = "istio-system";
const sidecars = { "istio-injection": "enabled" };

const protectedNamespace = (name: string, labels: Readonly<Record<string, string>> = sidecars): Raw =>
  namespace(name, { "meshward.io/protected": "true", ...labels });
/** Chosen by policies through a label that is free to change, unlike what its own selector needs. */
const workload = (where: string, name: string, labels: Readonly<Record<string, string>> = { tier: name }): Raw => {
  const raw = deployment(where, name);
  Object.assign(raw.spec.template.metadata.labels, labels);
  return raw;
};
const tier = (name: string): Raw => ({ selector: { matchLabels: { tier: name } } });
const peer = (where: string, name: string, mode: string | undefined, rest: Raw = {}): Raw => ({
  ...peerAuthentication(where, name, ""),
  spec: { mtls: { mode }, ...rest },
});
const policy = (where: string, name: string, spec: Raw): Raw => {
  const raw = denyAll(where);
  return { ...raw, metadata: { ...raw.metadata, name }, spec };
};
const marked = (raw: Raw, metadata: Raw): Raw => ({ ...raw, metadata: { ...raw.metadata, ...metadata } });
/** What would be denied even where it has no effect yet. */
const dormant = (raw: Raw): Raw =>
  marked(raw, { annotations: { "meshward.io/break-glass": "a test prepares what lies dormant" } });
const destinationRule = (where: string, name: string, spec: Raw): Raw => ({
  apiVersion: "networking.istio.io/v1",
  kind: "DestinationRule",
  metadata: { name, namespace: where },
  spec,
});
const hostIn = (where: string): Raw => ({ host: `api.${where}.svc.cluster.local` });
const clientTls = (mode: string): Raw => ({ trafficPolicy: { tls: { mode } } });
const meshConfig = (mesh: string): Raw => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name: "istio", namespace: root },
  data: { mesh },
});

/** What kubectl is asked to do; what it applies it reads. */
interface Attempt {
  readonly args: readonly string[];
  readonly objects?: readonly Raw[];
}
const write = (object: Raw): Attempt => ({ args: ["apply", "-f", "-"], objects: [object] });
const remove = ({ kind, metadata }: Raw): Attempt => ({
  args: ["--namespace", metadata.namespace, "delete", kind, metadata.name],
});
const unlabel = (where: string, key: string): Attempt => ({ args: ["label", "namespace", where, `${key}-`] });

interface Way {
  readonly name: string;
  readonly rule: string;
  /** Besides what every namespace holds; what is in the root namespace is there for this way alone. */
  there?(here: string): readonly Raw[];
  attempt(here: string): Attempt;
  /** The same, harmless. */
  twin?(here: string): Attempt;
}

const strict = (here: string): Raw => peer(here, "default", "STRICT");
const first = (here: string): Raw => destinationRule(here, "first", { ...hostIn(here), ...clientTls("ISTIO_MUTUAL") });
const lateRule = (here: string): Raw =>
  dormant(destinationRule(here, "late", { ...hostIn(here), ...clientTls("DISABLE") }));
const latePeer = (here: string): Raw => dormant(peer(here, "late", "PERMISSIVE"));

const ways: readonly Way[] = [
  {
    name: "the STRICT policy is deleted",
    rule: "namespace-mtls-weakened",
    there: (here) => [strict(here)],
    attempt: (here) => remove(strict(here)),
  },
  {
    // Also where one second sees both: the name then decides the same.
    name: "a younger policy wakes up",
    rule: "namespace-mtls-weakened",
    there: (here) => [strict(here), latePeer(here)],
    attempt: (here) => remove(strict(here)),
    twin: (here) => remove(latePeer(here)),
  },
  {
    name: "it is given a selector",
    rule: "namespace-mtls-weakened",
    there: (here) => [strict(here)],
    attempt: (here) => write(peer(here, "default", "STRICT", tier("web"))),
  },
  {
    name: "it is given to another revision",
    rule: "namespace-mtls-weakened",
    there: (here) => [strict(here)],
    attempt: (here) => write(marked(strict(here), { labels: { "istio.io/rev": "x" } })),
    twin: (here) => write(marked(strict(here), { labels: { team: "x" } })),
  },
  {
    name: "its mode is left out",
    rule: "namespace-mtls-weakened",
    there: (here) => [strict(here)],
    attempt: (here) => write(peer(here, "default", undefined)),
  },
  {
    name: "a port is exempted",
    rule: "peer-authentication-permissive",
    there: (here) => [strict(here)],
    attempt: (here) =>
      write(peer(here, "api", "STRICT", { ...tier("api"), portLevelMtls: { 8080: { mode: "DISABLE" } } })),
    twin: (here) => write(peer(here, "api", "STRICT", tier("api"))),
  },
  {
    name: "the mesh-wide policy goes",
    rule: "namespace-mtls-weakened",
    there: () => [strict(root)],
    attempt: () => remove(strict(root)),
  },
  {
    name: "the root namespace moves",
    rule: "namespace-mtls-weakened",
    there: () => [strict(root), meshConfig("{}")],
    attempt: () => write(meshConfig("rootNamespace: elsewhere")),
    twin: () => write(meshConfig("rootNamespace: istio-system")),
  },
  {
    name: "a workload is relabelled out of its policy",
    rule: "namespace-mtls-weakened",
    there: (here) => [peer(here, "api", "STRICT", tier("api"))],
    attempt: (here) => write(workload(here, "api", { tier: "x" })),
    twin: (here) => write(workload(here, "api", { tier: "api", version: "v2" })),
  },
  {
    name: "the namespace loses its protection",
    rule: "namespace-protection-removed",
    there: (here) => [strict(here)],
    attempt: (here) => unlabel(here, "meshward.io/protected"),
  },
  {
    name: "the namespace leaves the mesh",
    rule: "namespace-leaves-mesh",
    there: (here) => [strict(here)],
    attempt: (here) => unlabel(here, "istio-injection"),
  },
  {
    name: "the default deny is deleted",
    rule: "namespace-default-deny-removed",
    attempt: (here) => remove(denyAll(here)),
  },
  {
    name: "the default deny becomes a dry run",
    rule: "namespace-default-deny-removed",
    attempt: (here) => write(marked(denyAll(here), { annotations: { "istio.io/dry-run": "true" } })),
    twin: (here) => write(marked(denyAll(here), { annotations: { "istio.io/dry-run": "no" } })),
  },
  {
    name: "the default deny gets another action",
    rule: "namespace-default-deny-removed",
    attempt: (here) => write(policy(here, "deny-all", { action: "AUDIT" })),
  },
  {
    name: "the default deny is bound to a target",
    rule: "namespace-default-deny-removed",
    attempt: (here) => write(policy(here, "deny-all", { targetRefs: [{ kind: "Service", name: "api" }] })),
  },
  {
    name: "a mesh-wide ALLOW policy allows everyone",
    rule: "namespace-default-deny-removed",
    attempt: () => write(policy(root, "all", { rules: [{}] })),
    twin: () => write(policy(root, "some", { rules: [{ from: [{ source: { namespaces: [clients] } }] }] })),
  },
  {
    name: "a client's DestinationRule turns mTLS off",
    rule: "destination-rule-plaintext",
    there: (here) => [strict(here)],
    attempt: (here) => write(destinationRule(clients, `${here}-plain`, { ...hostIn(here), ...clientTls("DISABLE") })),
    twin: (here) =>
      write(destinationRule(clients, `${here}-mutual`, { ...hostIn(here), ...clientTls("ISTIO_MUTUAL") })),
  },
  {
    name: "a DestinationRule of everything, in the root namespace",
    rule: "destination-rule-plaintext",
    attempt: () => write(destinationRule(root, "plain", { host: "*.local", ...clientTls("DISABLE") })),
    twin: () => write(destinationRule(root, "plain", { host: "*.example.com", ...clientTls("DISABLE") })),
  },
  {
    name: "a DestinationRule that only one namespace sees turns mTLS off",
    rule: "destination-rule-plaintext",
    there: (here) => [destinationRule(here, "plain", { ...hostIn(here), exportTo: [clients] })],
    attempt: (here) =>
      write(destinationRule(here, "plain", { ...hostIn(here), exportTo: [clients], ...clientTls("DISABLE") })),
  },
  {
    // Also where one second sees both: the name then decides the same.
    name: "the rule that goes before a dormant one is deleted",
    rule: "destination-rule-plaintext",
    there: (here) => [first(here), lateRule(here)],
    attempt: (here) => remove(first(here)),
    twin: (here) => remove(lateRule(here)),
  },
];

const isInRoot = ({ metadata }: Raw): boolean => metadata.namespace === root;
const placed = ways.map((way, at) => {
  const here = `weakened-${at + 1}`;
  const there = way.there?.(here) ?? [];
  return { way, here, there: there.filter((raw) => !isInRoot(raw)), inRoot: there.filter(isInRoot) };
});
const waypointed = "weakened-waypoint";
const ambient = { "istio.io/dataplane-mode": "ambient" };

describe("ways to weaken a protected namespace", { skip }, () => {
  let all: Environment;
  const doing = ({ args, objects }: Attempt): Promise<Output> =>
    send(all.plane, args, objects === undefined ? { as: "tenant" } : { as: "tenant", objects });
  const prepare = (objects: readonly Raw[]) =>
    succeeds(all.plane, ["apply", "-f", "-"], objects, { as: "security" }).then(() => seen(all));

  before(async () => {
    all = await environment();
    const namespaces = [namespace(clients, sidecars), protectedNamespace(waypointed, ambient)];
    await succeeds(
      all.plane,
      ["apply", "--server-side", "--field-manager=platform", "-f", "-"],
      [...namespaces, ...placed.map(({ here }) => protectedNamespace(here))],
    );
    const whatRuns = (here: string) => [workload(here, "api"), workload(here, "web"), service(here, "api")];
    await prepare([
      workload(clients, "client"),
      ...[waypointed, ...placed.map(({ here }) => here)].flatMap((here) => [...whatRuns(here), denyAll(here)]),
      strict(waypointed),
      ...placed.flatMap(({ there }) => there),
    ]);
  });
  after(async () => {
    const names = [clients, waypointed, ...placed.map(({ here }) => here)];
    await succeeds(all.plane, ["delete", "namespace", ...names, "--wait=false"]);
    await seen(all);
    await succeeds(all.plane, ["delete", "gatewayclass", "larger", "--ignore-not-found"]);
  });

  /** What is left in the root namespace would hold for every other test. */
  async function clearRoot(written: readonly Raw[]): Promise<void> {
    if (written.length === 0) return;
    await succeeds(all.plane, ["delete", "--ignore-not-found", "-f", "-"], written, { as: "security" });
    await seen(all);
  }

  for (const { way, here, inRoot } of placed)
    test(way.name, async () => {
      const twin = way.twin?.(here);
      const attempt = way.attempt(here);
      try {
        if (inRoot.length > 0) await prepare(inRoot);
        isDenied(await doing(attempt), new RegExp(way.rule));
        if (twin === undefined) return;
        const { code, stderr } = await doing(twin);
        assert.equal(code, 0, `its twin was not let through: ${stderr}`);
      } finally {
        const written = [attempt, twin].flatMap((one) => one?.objects ?? []);
        await clearRoot([...written.filter(isInRoot), ...inRoot]);
      }
    });

  test("a waypoint asks for its default deny; then it comes up as istiod makes it, and nothing is said", async () => {
    const gateway = {
      apiVersion: "gateway.networking.k8s.io/v1",
      kind: "Gateway",
      metadata: { name: "waypoint", namespace: waypointed, labels: { "istio.io/waypoint-for": "service" } },
      spec: { gatewayClassName: "istio-waypoint", listeners: [{ name: "mesh", port: 15008, protocol: "HBONE" }] },
    };
    const targetRefs = [{ group: "gateway.networking.k8s.io", kind: "Gateway", name: "waypoint" }];
    // ztunnel, which keeps the namespace's own default deny, sees the waypoint as the caller.
    const principals = [`cluster.local/ns/${waypointed}/sa/waypoint`];
    const through = policy(waypointed, "from-waypoint", { rules: [{ from: [{ source: { principals } }] }] });
    isWarned(
      await doing(write(through)),
      /\[namespace-authorization-widened\] .*service account weakened-waypoint\/waypoint/,
    );
    // It reads only policies that name it, and none can name it before it is there.
    isWarned(await doing(write(gateway)), /\[namespace-default-deny-missing\] .*Waypoint waypoint has no default deny/);
    await seen(all);
    isQuiet(await doing(write(policy(waypointed, "deny-all-at-waypoint", { targetRefs }))));
    await seen(all);
    const uid: string = (await stored(all.plane, "gateway.gateway.networking.k8s.io", "waypoint", waypointed))?.metadata
      .uid;
    for (const object of waypoint(uid)) {
      const args = ["apply", "--server-side", "--force-conflicts", "--field-manager=istio.io/gateway-controller"];
      isQuiet(await send(all.plane, [...args, "-f", "-"], { objects: [object], as: "istiod" }));
    }
    await seen(all);
    isQuiet(await doing({ args: ["label", "namespace", waypointed, "istio.io/use-waypoint=waypoint"] }));
  });

  test("a waypoint's Gateway that istiod's account writes draws no finding", async () => {
    const gateway = {
      apiVersion: "gateway.networking.k8s.io/v1",
      kind: "Gateway",
      metadata: { name: "waypoint-of-istiod", namespace: waypointed, labels: { "istio.io/waypoint-for": "service" } },
      spec: { gatewayClassName: "istio-waypoint", listeners: [{ name: "mesh", port: 15008, protocol: "HBONE" }] },
    };
    const args = ["apply", "--server-side", "--field-manager=istio.io/gateway-controller", "-f", "-"];
    isQuiet(await send(all.plane, args, { objects: [gateway], as: "istiod" }));
  });

  test("a GatewayClass that takes requests away from its waypoints is reported", async () => {
    const group = "gateway.networking.k8s.io";
    const larger = {
      apiVersion: `${group}/v1`,
      kind: "GatewayClass",
      metadata: { name: "larger" },
      spec: { controllerName: "istio.io/mesh-controller" },
    };
    const gateway = {
      apiVersion: `${group}/v1`,
      kind: "Gateway",
      metadata: { name: "larger", namespace: waypointed },
      spec: { gatewayClassName: "larger", listeners: [{ name: "mesh", port: 15008, protocol: "HBONE" }] },
    };
    const bound = marked(service(waypointed, "web"), {
      name: "web",
      namespace: waypointed,
      labels: { "istio.io/use-waypoint": "larger" },
    });
    const label = (text: string) =>
      send(all.plane, ["label", "gatewayclass", "larger", "--overwrite", text], { as: "security" });
    await prepare([larger, gateway]);
    const targetRefs = [{ group, kind: "Gateway", name: "larger" }];
    await prepare([bound, policy(waypointed, "deny-all-at-larger", { targetRefs })]);
    isQuiet(await label("team=platform"));
    isDenied(await label("istio.io/waypoint-for=workload"), /\[namespace-waypoint-left\] .*is for "workload"/);
    const removal = await send(all.plane, ["delete", "gatewayclass", "larger"], { as: "security" });
    isDenied(removal, /\[namespace-waypoint-left\] .*has class "larger"/);
  });
});

/** What istiod writes for a Gateway of class istio-waypoint (Istio manifests/charts/istio-control, files/waypoint.yaml). */
function waypoint(uid: string): readonly Raw[] {
  const named = {
    "gateway.networking.k8s.io/gateway-name": "waypoint",
    "gateway.networking.k8s.io/gateway-class-name": "istio-waypoint",
  };
  const managed = { ...named, "gateway.istio.io/managed": "istio.io-mesh-controller" };
  const metadata = (labels: Readonly<Record<string, string>>) => ({
    name: "waypoint",
    namespace: waypointed,
    labels,
    ownerReferences: [{ apiVersion: "gateway.networking.k8s.io/v1", kind: "Gateway", name: "waypoint", uid }],
  });
  const selector = { "gateway.networking.k8s.io/gateway-name": "waypoint" };
  const unmeshed = { "sidecar.istio.io/inject": "false", "istio.io/dataplane-mode": "none" };
  const containers = [{ name: "istio-proxy", image: "example.com/proxy:1", ports: [{ containerPort: 15008 }] }];
  return [
    { apiVersion: "v1", kind: "ServiceAccount", metadata: metadata(named) },
    {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: metadata(managed),
      spec: {
        selector: { matchLabels: selector },
        template: {
          metadata: { labels: { ...unmeshed, ...managed } },
          spec: { serviceAccountName: "waypoint", containers },
        },
      },
    },
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: metadata(named),
      spec: {
        selector,
        type: "ClusterIP",
        ports: [
          { name: "status-port", port: 15021, protocol: "TCP", appProtocol: "tcp" },
          { name: "mesh", port: 15008, protocol: "TCP", appProtocol: "hbone" },
        ],
      },
    },
  ];
}
