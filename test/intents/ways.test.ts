import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { kindsIn } from "../../src/engine/declared-reads.ts";
import { judge } from "../../src/engine/evaluate.ts";
import { identityOf, keyOf } from "../../src/kube/identity.ts";
import { type AnyObject, readObject } from "../../src/kube/object.ts";
import { clusterJudgements, ownJudgement } from "../../src/mesh/intents/judged.ts";
import { waysToIntents } from "../../src/mesh/intents/ways.ts";
import { intentBroken } from "../../src/rules/intent/broken.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { sideOf } from "../../src/view/side.ts";
import { MeshStore } from "../../src/view/store.ts";
import type { Mesh } from "../../src/view/view.ts";
import { anObject, someObjects } from "../meshes/arbitrary.ts";

// A change reaches intents by relations of their own (mesh/intents/ways.ts), which have to lead to every intent that it ends.

const expect = fc.constantFrom("allowed", "denied", "denied", "encrypted", "routed");
const from = fc.constantFrom(
  ["mesh"],
  ["outside"],
  ["namespace/b"],
  ["serviceaccount/b/default"],
  ["ingress"],
  ["others"],
);
const intent = (namespace: string, name: string, to: object) =>
  fc
    .array(fc.record({ from, expect, destinations: fc.constant([{ subset: "v1" }]) }), { minLength: 1, maxLength: 3 })
    .map((requests) =>
      readObject("MeshwardIntent", { kind: "MeshwardIntent", metadata: { namespace, name }, spec: { to, requests } }),
    );
const intents = fc.tuple(
  intent("a", "i", { service: "x" }),
  intent("a", "j", { workloads: { app: "x" } }),
  intent("b", "k", { service: "y" }),
  intent("a", "m", { host: "ext.example.com", ports: [80] }),
  intent("b", "n", { host: "y.example.com" }),
  intent("b", "o", { service: "alias", ports: [80] }),
  intent("istio-system", "l", { namespaces: { names: ["*"] } }),
);
/** What intents are about exists more often than not. */
const services: readonly AnyObject[] = ["a/x", "b/y"].map((key) => {
  const [namespace, name] = key.split("/");
  return readObject("Service", {
    kind: "Service",
    metadata: { namespace, name },
    spec: { selector: { app: name }, ports: [{ port: 80, targetPort: 80 }] },
  });
});
const alias = fc.constantFrom("ext.example.com", "x.a.svc.cluster.local").map((externalName) =>
  readObject("Service", {
    kind: "Service",
    metadata: { namespace: "b", name: "alias" },
    spec: { type: "ExternalName", externalName, ports: [{ port: 80, name: "http" }] },
  }),
);
const entry = (namespace: string, host: string, rest: object): AnyObject =>
  readObject("ServiceEntry", {
    kind: "ServiceEntry",
    metadata: { namespace, name: `of-${host.replace("*", "all")}` },
    spec: { hosts: [host], ports: [{ number: 80, name: "http", protocol: "HTTP" }], ...rest },
  });
const entries = fc.constantFrom<readonly AnyObject[]>(
  [],
  [entry("b", "ext.example.com", { resolution: "DNS" })],
  [
    entry("b", "ext.example.com", {
      ...{ resolution: "STATIC", location: "MESH_INTERNAL", workloadSelector: { labels: { app: "y" } } },
    }),
    entry("a", "*.example.com", {}),
  ],
);
const pods: readonly AnyObject[] = ["a/x", "b/y", "b/x"].map((key) => {
  const [namespace, name] = key.split("/");
  return readObject("Workload", {
    kind: "Deployment",
    metadata: { namespace, name: `pods-${name}` },
    spec: {
      template: {
        metadata: { labels: { app: name, version: "v1" } },
        spec: { containers: [{ ports: [{ containerPort: 80 }] }] },
      },
    },
  });
});

/** A gateway of `c`, to which clients send requests for a host or a Service, and what it makes of them. */
const egress = fc
  .record({
    host: fc.constantFrom("ext.example.com", "x.a.svc.cluster.local"),
    other: fc.constantFrom(undefined, "y.example.com"),
    offered: fc.constantFrom("*", "*.example.com", "ext.example.com", "x.a.svc.cluster.local"),
    policy: fc.constantFrom("ALLOW", "DENY"),
    isMtls: fc.boolean(),
    isRoute: fc.boolean(),
  })
  .map(({ host, other, offered, policy, isMtls, isRoute }): readonly AnyObject[] => {
    const of = (namespace: string, name: string) => ({ metadata: { namespace, name } });
    const port = { number: isMtls ? 443 : 80, name: "p", protocol: isMtls ? "HTTPS" : "HTTP" };
    const tls = isMtls ? { tls: { mode: "ISTIO_MUTUAL" } } : {};
    const to = (name: string) => [{ destination: { host: name, port: { number: port.number } } }];
    const rewrite = other === undefined ? {} : { rewrite: { authority: other } };
    const proxy = "egress.c.svc.cluster.local";
    return [
      readObject("Namespace", { kind: "Namespace", metadata: { name: "c" } }),
      isRoute && host === "ext.example.com"
        ? readObject("KubernetesRoute", {
            ...{ kind: "HTTPRoute", ...of("b", "out") },
            spec: {
              parentRefs: [{ group: "networking.istio.io", kind: "ServiceEntry", name: "ext" }],
              rules: [
                {
                  filters: other === undefined ? [] : [{ type: "URLRewrite", urlRewrite: { hostname: other } }],
                  backendRefs: [{ group: "networking.istio.io", kind: "Hostname", name: proxy, port: port.number }],
                },
              ],
            },
          })
        : readObject("VirtualService", {
            ...{ kind: "VirtualService", ...of("a", "out") },
            spec: { hosts: [host], http: [{ ...rewrite, route: to(proxy) }] },
          }),
      readObject("Gateway", {
        ...{ kind: "Gateway", ...of("c", "egress") },
        spec: { selector: { app: "egress" }, servers: [{ port, hosts: [offered], ...tls }] },
      }),
      readObject("VirtualService", {
        ...{ kind: "VirtualService", ...of("c", "beyond") },
        spec: { hosts: [other ?? host], gateways: ["egress"], http: [{ route: [{ destination: { host } }] }] },
      }),
      readObject("DestinationRule", {
        ...{ kind: "DestinationRule", ...of("c", "egress") },
        spec: { host: proxy, trafficPolicy: { tls: { mode: "ISTIO_MUTUAL", sni: other ?? host } } },
      }),
      readObject("AuthorizationPolicy", {
        ...{ kind: "AuthorizationPolicy", ...of("c", "egress") },
        spec: { action: policy, rules: [{ from: [{ source: { namespaces: ["b"] } }] }] },
      }),
      readObject("Service", {
        ...{ kind: "Service", ...of("c", "egress") },
        spec: { selector: { app: "egress" }, ports: [{ port: 80 }, { port: 443 }] },
      }),
      readObject("Workload", {
        ...{ kind: "Deployment", ...of("c", "egress") },
        spec: {
          template: {
            metadata: { labels: { app: "egress" }, annotations: { "inject.istio.io/templates": "gateway" } },
            spec: { containers: [{ name: "istio-proxy" }] },
          },
        },
      }),
    ];
  });

const defined = fc.tuple(alias, entries).map(([one, others]) => [one, ...others]);
const owned = fc.record({ own: intents, there: defined });

const told = (
  isScan: boolean,
  mesh: Mesh,
  change: { readonly old?: AnyObject | undefined; readonly object?: AnyObject },
) =>
  judge([intentBroken], mesh, [change], { isScan })
    .findings.map(
      ({ subject, message, onlyWarns }) => `${identityOf(subject)} ${message} ${onlyWarns === undefined ? "" : "warn"}`,
    )
    .sort();

// Most random changes are of other kinds than the one that has no way yet.
test("every kind that decides about an intent leads to intents", () => {
  const read = kindsIn([ownJudgement, clusterJudgements]);
  const ways = new Set(kindsIn(waysToIntents));
  assert.ok(read.length > 10);
  assert.deepEqual(
    read.filter((kind) => !ways.has(kind)),
    [],
  );
});

test("a change reaches every intent that it ends", (t) => {
  let found = 0;
  const numRuns = Number(process.env["RUNS"] ?? 400);
  fc.assert(
    fc.property(someObjects(20), owned, anObject, fc.boolean(), (objects, { own, there }, changed, isDeletion) => {
      const mesh = new MeshStore({ ...defaultMeshSettings, seen: true });
      for (const object of [...services, ...there, ...pods, ...objects, ...own]) mesh.set(object);
      const old = mesh.find(changed.kind, keyOf(changed));
      const victim = [...there.slice(1), ...objects][0];
      const change =
        isDeletion && victim !== undefined ? { old: victim } : { old: old?.implied ? undefined : old, object: changed };
      const ended = told(true, mesh, change);
      found += ended.length;
      assert.deepEqual(told(false, mesh, change), ended);
    }),
    { numRuns },
  );
  t.diagnostic(`${found} findings`);
  assert.ok(found > numRuns / 100, `only ${found} findings`);
});

const stripe = readObject("ServiceEntry", {
  kind: "ServiceEntry",
  metadata: { namespace: "b", name: "ext" },
  spec: {
    hosts: ["ext.example.com"],
    resolution: "DNS",
    ports: [80, 443].map((number) => ({ number, name: `p${number}`, protocol: "HTTP" })),
  },
});
/** What each of two worlds has of an object that both have. */
const changesBetween = (before: readonly AnyObject[], after: readonly AnyObject[]) =>
  before.flatMap((old) => {
    const object = after.find((one) => one.kind === old.kind && keyOf(one) === keyOf(old));
    return [{ old }, ...(object === undefined ? [] : [{ old, object }])];
  });

test("a change of what makes an egress gateway reaches every intent that it ends", (t) => {
  let found = 0;
  const numRuns = Number(process.env["RUNS"] ?? 100);
  fc.assert(
    fc.property(egress, egress, intents, (own, other, all) => {
      const mesh = new MeshStore({ ...defaultMeshSettings, seen: true });
      for (const object of [...services, stripe, ...pods, ...own, ...all]) mesh.set(object);
      // What holds before is computed once for all changes. The two ways to ask share nothing.
      const [scanned, followed] = [sideOf(mesh), sideOf(mesh)];
      for (const change of changesBetween(own, other)) {
        const ended = told(true, scanned, change);
        found += ended.length;
        assert.deepEqual(told(false, followed, change), ended);
      }
    }),
    { numRuns },
  );
  t.diagnostic(`${found} findings`);
  assert.ok(found > numRuns / 10, `only ${found} findings`);
});
