import assert from "node:assert/strict";
import { test } from "node:test";
import { audit } from "../../src/engine/audit.ts";
import { judge } from "../../src/engine/evaluate.ts";
import { everyRule } from "../../src/engine/setting.ts";
import { keyOf } from "../../src/kube/identity.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { rules } from "../../src/rules/index.ts";
import { meshSettingsOf } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { deployment, objectsIn } from "./story.ts";

// Routes of the Gateway API for a Service, and routes at a waypoint, that end an intent, each beside one that does not.

const G = "gateway.networking.k8s.io/v1";
const named = (path: string) => {
  const [namespace, name] = path.split("/");
  return `name: ${name}, namespace: ${namespace}`;
};
/** A Service with port 8080, whose name says the protocol. */
const svc = (ns: string, name: string, port: string, sel = name) => `
apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: ${ns} }
spec: { selector: { app: ${sel} }, ports: [{ name: ${port}, port: 8080, targetPort: 8080 }] }
---`;
const route =
  (kind: string, path: string) =>
  (parent: string, rules: string, extra = "") =>
    `
apiVersion: ${G}
kind: ${kind}
metadata: { ${named(path)}, creationTimestamp: "2026-01-02T00:00:00Z" }
spec: { parentRefs: [${parent}], ${extra}rules: [${rules}] }
---`;
/** A Service as the parent of a route. */
const parent = (ns: string, n: string, more = "") =>
  `{ group: "", kind: Service, namespace: ${ns}, name: ${n}${more} }`;
const intent = (ns: string, name: string, to: string, req: string) => `
apiVersion: meshward.io/v1alpha1
kind: MeshwardIntent
metadata: { name: ${name}, namespace: ${ns} }
spec: { to: { service: ${to} }, requests: [${req}] }
---`;
const vs = (path: string, hosts: string, rest: string, day = 3) => `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { ${named(path)}, creationTimestamp: "2026-01-0${day}T00:00:00Z" }
spec: { hosts: ["${hosts}"], ${rest} }
---`;
/** Servers with sidecars in `db`, and behind a waypoint in `amb`; clients with sidecars in `web`, and with ztunnel in `cli`. */
const base = `
apiVersion: v1
kind: Namespace
metadata: { name: db, labels: { istio-injection: enabled } }
---
apiVersion: v1
kind: Namespace
metadata: { name: web, labels: { istio-injection: enabled } }
---
apiVersion: v1
kind: Namespace
metadata: { name: amb, labels: { istio.io/dataplane-mode: ambient, istio.io/use-waypoint: wp } }
---
apiVersion: v1
kind: Namespace
metadata: { name: cli, labels: { istio.io/dataplane-mode: ambient } }
---
apiVersion: ${G}
kind: Gateway
metadata: { name: wp, namespace: amb }
spec: { gatewayClassName: istio-waypoint, listeners: [{ name: mesh, port: 15008, protocol: HBONE, allowedRoutes: { namespaces: { from: All } } }] }
---${["a", "b"].map((n) => deployment("db", n) + deployment("amb", n)).join("")}${deployment("web", "client")}${deployment("cli", "client")}${svc("db", "a", "tcp")}${svc("db", "b", "tcp")}${svc("db", "t", "tls", "a")}${svc("db", "h", "http", "a")}${svc("db", "g", "grpc", "a")}${svc("db", "m", "grpc", "b")}${svc("amb", "a", "http")}${svc("amb", "b", "tcp")}
${route("GRPCRoute", "db/g")(parent("db", "g"), "{ filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: m, port: 8080 } } }], backendRefs: [{ name: b, port: 8080 }] }")}
${route("TCPRoute", "amb/b")(parent("amb", "b"), "{ backendRefs: [{ name: b, port: 8080 }] }")}
${intent("db", "tcp", "a", "{ from: [deployment/web/client], expect: routed, destinations: [{ service: a }] }")}
${intent("db", "tls", "t", "{ from: [deployment/web/client], expect: allowed }")}
${intent("db", "http", "h", "{ from: [namespace/web], expect: allowed }, { from: [namespace/web], expect: routed, destinations: [{ service: h }] }")}
${intent("db", "grpc", "g", "{ from: [namespace/web], expect: routed, destinations: [{ service: b }] }")}
${intent("amb", "http", "a", "{ from: [namespace/cli], expect: routed, destinations: [{ service: a }] }")}
${intent("amb", "tcp", "b", "{ from: [namespace/cli], expect: allowed }, { from: [namespace/cli], expect: routed, destinations: [{ service: b }] }")}`;
/** What is changed, whether it ends an intent, and the object; the last one: it is deleted. */
const changes: readonly (readonly [string, boolean, string, boolean?])[] = [
  [
    "TCPRoute to another service",
    true,
    route("TCPRoute", "db/r")(parent("db", "a"), "{ backendRefs: [{ name: b, port: 8080 }] }"),
  ],
  [
    "TCPRoute of another namespace",
    true,
    route("TCPRoute", "web/r")(parent("db", "a"), "{ backendRefs: [{ name: b, namespace: db, port: 8080 }] }"),
  ],
  [
    "TCPRoute for another port",
    false,
    route("TCPRoute", "db/r")(parent("db", "a", ", port: 9"), "{ backendRefs: [{ name: b, port: 8080 }] }"),
  ],
  [
    "TCPRoute to itself",
    false,
    route("TCPRoute", "db/r")(parent("db", "a"), "{ backendRefs: [{ name: a, port: 8080 }] }"),
  ],
  [
    "TLSRoute to nothing",
    true,
    route("TLSRoute", "db/r")(parent("db", "t"), "{ backendRefs: [{ name: gone, port: 8080 }] }"),
  ],
  [
    "TLSRoute for another name",
    false,
    route("TLSRoute", "db/r")(
      parent("db", "t"),
      "{ backendRefs: [{ name: a, port: 8080 }] }",
      "hostnames: [t.db.svc.cluster.local], ",
    ),
  ],
  [
    "TLSRoute without a backend that has a weight, which sidecars ignore",
    false,
    route("TLSRoute", "db/r")(parent("db", "t"), "{ backendRefs: [{ name: a, port: 8080, weight: 0 }] }"),
  ],
  [
    "HTTPRoute in the client's namespace",
    true,
    route("HTTPRoute", "web/r")(parent("db", "h"), "{ backendRefs: [{ name: g, namespace: db, port: 8080 }] }"),
  ],
  [
    "HTTPRoute in a third namespace",
    false,
    route("HTTPRoute", "amb/r")(parent("db", "h"), "{ backendRefs: [{ name: g, namespace: db, port: 8080 }] }"),
  ],
  [
    "HTTPRoute that redirects",
    true,
    route("HTTPRoute", "db/r")(
      parent("db", "h"),
      "{ filters: [{ type: RequestRedirect, requestRedirect: { statusCode: 301 } }] }",
    ),
  ],
  [
    "HTTPRoute for a path only",
    true,
    route("HTTPRoute", "db/r")(
      parent("db", "h"),
      "{ matches: [{ path: { value: /x } }], backendRefs: [{ name: h, port: 8080 }] }",
    ),
  ],
  ["Service of a mirror", true, svc("db", "m", "grpc", "b"), true],
  [
    "GRPCRoute",
    true,
    route("GRPCRoute", "db/g")(
      parent("db", "g"),
      "{ filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: m, port: 8080 } } }], backendRefs: [{ name: b, port: 8080 }] }",
    ),
    true,
  ],
  [
    "wildcard VirtualService at the waypoint, own namespace",
    true,
    vs("amb/w", "*.amb.svc.cluster.local", "http: [{ route: [{ destination: { host: gone } }] }]"),
  ],
  [
    "VirtualService of the client's namespace, at the waypoint",
    false,
    vs("cli/w", "a.amb.svc.cluster.local", "http: [{ route: [{ destination: { host: gone } }] }]"),
  ],
  [
    "tls rule at the waypoint, for a tcp port",
    true,
    vs(
      "amb/t",
      "b.amb.svc.cluster.local",
      "tls: [{ match: [{ sniHosts: [b.amb.svc.cluster.local] }], route: [{ destination: { host: gone } }] }]",
    ),
  ],
  [
    "tls rule at the waypoint, other name",
    false,
    vs(
      "amb/t",
      "*.amb.svc.cluster.local",
      "tls: [{ match: [{ sniHosts: ['*.amb.svc.cluster.local'] }], route: [{ destination: { host: gone } }] }]",
    ),
  ],
  [
    "tcp rule older than the TCPRoute in the namespace of the waypoint",
    false,
    vs("amb/t", "b.amb.svc.cluster.local", "tcp: [{ route: [{ destination: { host: gone } }] }]", 1),
  ],
  [
    "tcp rule for a client label at the waypoint",
    false,
    vs(
      "amb/t",
      "b.amb.svc.cluster.local",
      "tcp: [{ match: [{ sourceLabels: { app: client } }], route: [{ destination: { host: gone } }] }]",
      1,
    ),
  ],
  [
    "TCPRoute at the waypoint to weight 0",
    true,
    route("TCPRoute", "amb/b")(parent("amb", "b"), "{ backendRefs: [{ name: b, port: 8080, weight: 0 }] }"),
  ],
  [
    "TCPRoute at the waypoint",
    false,
    route("TCPRoute", "amb/b")(parent("amb", "b"), "{ backendRefs: [{ name: b, port: 8080 }] }"),
    true,
  ],
];

const read = (text: string): readonly AnyObject[] =>
  objectsIn(text).map((raw) => {
    const object = readAny(raw);
    assert.ok(object !== undefined);
    return object;
  });
const ofIntents = rules.filter(({ id }) => id.includes("intent"));
const mesh = (() => {
  const objects = read(base);
  const store = new MeshStore(meshSettingsOf(objects));
  for (const object of objects) store.set(object);
  return store;
})();

test("all intents hold before", () => {
  assert.deepEqual([...audit(ofIntents, mesh, everyRule)], []);
});

for (const [name, isBreaking, text, isDeletion] of changes)
  test(`${name}${isDeletion ? ", deleted" : ""}: ${isBreaking ? "ends an intent" : "keeps them"}`, () => {
    const [object] = read(text);
    assert.ok(object !== undefined);
    const old = mesh.find(object.kind, keyOf(object));
    const { findings, errors } = judge(ofIntents, mesh, [isDeletion ? { old } : { old, object }]);
    assert.deepEqual(errors, []);
    const denying = findings.filter(({ onlyWarns }) => onlyWarns === undefined);
    assert.equal(denying.length > 0, isBreaking, JSON.stringify(findings.map(({ message }) => message)));
  });
