import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { judge } from "../../src/engine/evaluate.ts";
import { identityOf, keyOf } from "../../src/kube/identity.ts";
import { type AnyObject, readObject } from "../../src/kube/object.ts";
import { rules } from "../../src/rules/index.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { anObject, someObjects } from "../meshes/arbitrary.ts";

// The law of narrowing where what a DestinationRule sends meets workloads: too much must be there at once for worlds
// that are arbitrary throughout.

const numRuns = 6000;
const judged = rules.filter(({ id }) => /^(?:destination-rule|envoy-filter|request-authentication)-/.test(id));

const namespace = (name: string) =>
  readObject("Namespace", { kind: "Namespace", metadata: { name, labels: { "istio-injection": "enabled" } } });
const detecting = (ns: string, trafficPolicy: object) =>
  readObject("DestinationRule", {
    metadata: { name: "detecting", namespace: ns },
    spec: { host: "far", trafficPolicy },
  });
/** A workload that accepts plaintext, which its clients use. */
const openTo = (namespace: string): readonly AnyObject[] => [
  readObject("Service", {
    metadata: { name: "open", namespace },
    spec: { selector: { app: "open" }, ports: [{ port: 80 }] },
  }),
  readObject("Workload", {
    kind: "Deployment",
    metadata: { name: "open", namespace },
    spec: { template: { metadata: { labels: { app: "open" } } } },
  }),
  readObject("PeerAuthentication", {
    metadata: { name: "open", namespace },
    spec: { selector: { matchLabels: { app: "open" } }, mtls: { mode: "PERMISSIVE" } },
  }),
  readObject("DestinationRule", {
    metadata: { name: "open", namespace },
    spec: { host: "open", trafficPolicy: { tls: { mode: "DISABLE" } } },
  }),
];
const there: readonly AnyObject[] = ["a", "b"].flatMap((ns): AnyObject[] => [
  namespace(ns),
  readObject("Service", {
    metadata: { name: "x", namespace: ns },
    spec: { selector: { app: "x" }, ports: [{ port: 80 }] },
  }),
  readObject("Workload", {
    kind: "Deployment",
    metadata: { name: "x", namespace: ns },
    spec: { template: { metadata: { labels: { app: "x", version: "v0" } } } },
  }),
  readObject("PeerAuthentication", { metadata: { name: "y", namespace: ns }, spec: { mtls: { mode: "STRICT" } } }),
  readObject("DestinationRule", {
    metadata: { name: "tls", namespace: ns },
    spec: {
      host: "x",
      trafficPolicy: { tls: { mode: "SIMPLE" } },
      subsets: [{ name: "v1", labels: { version: "v9" } }],
    },
  }),
  readObject("DestinationRule", {
    metadata: { name: "later", namespace: ns },
    spec: {
      host: "later",
      trafficPolicy: {
        tls: { mode: "SIMPLE" },
        portLevelSettings: [{ port: { number: 443 }, tls: { mode: "SIMPLE" } }],
      },
    },
  }),
  readObject("DestinationRule", {
    metadata: { name: "external", namespace: ns },
    spec: { host: "api.example.com", trafficPolicy: { tls: { mode: "ISTIO_MUTUAL" } } },
  }),
  readObject("DestinationRule", {
    metadata: { name: "twice", namespace: ns },
    spec: { host: "pay.example.com", trafficPolicy: { tls: { mode: "SIMPLE" } } },
  }),
  ...openTo(ns),
  readObject("DestinationRule", {
    metadata: { name: "far", namespace: ns },
    spec: { host: "far", trafficPolicy: { loadBalancer: { localityLbSetting: { enabled: true } } } },
  }),
  detecting(ns, { outlierDetection: {} }),
  ...["x", "later"].map((host) =>
    readObject("DestinationRule", {
      metadata: { name: `names-${host}`, namespace: ns, creationTimestamp: "2026-02-01T00:00:00Z" },
      spec: {
        host,
        subsets: [{ name: "v", trafficPolicy: { tls: { mode: "ISTIO_MUTUAL", subjectAltNames: ["x"] } } }],
      },
    }),
  ),
  readObject("RequestAuthentication", { metadata: { name: "tokens", namespace: ns }, spec: { jwtRules: [{}] } }),
  readObject("AuthorizationPolicy", {
    metadata: { name: "x", namespace: ns },
    spec: { rules: [{ from: [{ source: { requestPrincipals: ["*"] } }] }] },
  }),
]);

/** Older than the rules that are there, and for the same hosts. */
const olderRule = fc.constantFrom("a", "b").map((ns) =>
  readObject("DestinationRule", {
    metadata: { name: "older", namespace: ns, creationTimestamp: "2026-01-01T00:00:00Z" },
    spec: { host: "x", trafficPolicy: { outlierDetection: {} } },
  }),
);
const apiOutside = readObject("ServiceEntry", {
  metadata: { name: "api", namespace: "a" },
  spec: { hosts: ["api.example.com", "pay.example.com"], ports: [{ number: 443, name: "tls", protocol: "TLS" }] },
});
const routes = readObject("VirtualService", {
  metadata: { name: "routes", namespace: "a" },
  spec: { hosts: ["x"], http: [{ route: [{ destination: { host: "x", subset: "v1" } }] }] },
});
const later = readObject("Service", {
  metadata: { name: "later", namespace: "a" },
  spec: { selector: { app: "x" }, ports: [{ port: 80 }] },
});
/** Instead of the policy about tokens. */
const byIdentity = readObject("AuthorizationPolicy", {
  metadata: { name: "x", namespace: "a" },
  spec: { rules: [{ from: [{ source: { principals: ["*/sa/x"] } }] }] },
});
const aChange = fc.oneof(
  { weight: 18, arbitrary: anObject },
  { weight: 1, arbitrary: olderRule },
  { weight: 1, arbitrary: fc.constantFrom(apiOutside, routes, later, byIdentity, detecting("a", {})) },
);

test("narrowing finds every introduced finding of a scan, among workloads that are STRICT", () => {
  const elsewhere = new Map(
    judged
      .filter(({ onlyOwnChanges, reads }) => onlyOwnChanges !== true && reads.length > 0)
      .map(({ id }): [string, number] => [id, 0]),
  );
  fc.assert(
    fc.property(someObjects(10), aChange, fc.boolean(), (objects, next, isDeletion) => {
      const mesh = new MeshStore(defaultMeshSettings);
      for (const object of [...there, ...objects]) mesh.set(object);
      const known = mesh.find(next.kind, keyOf(next));
      const old = known?.implied ? undefined : known;
      if (isDeletion && old === undefined) return;
      const change = isDeletion ? { old } : { old, object: next };
      const introducedBy = (isScan: boolean) => {
        const { findings, errors } = judge(judged, mesh, [change], { isScan });
        for (const { error } of errors) throw error;
        // A scan evaluates everything, also where a rule leaves the effects of other changes to another one.
        return findings.filter(
          ({ introduced, rule, subject }) =>
            introduced && (rule.onlyOwnChanges !== true || identityOf(subject) === identityOf(next)),
        );
      };
      const found = introducedBy(false);
      for (const { rule, subject } of found)
        if (identityOf(subject) !== identityOf(next)) elsewhere.set(rule.id, (elsewhere.get(rule.id) ?? 0) + 1);
      const lines = (findings: typeof found) =>
        findings.map(({ rule, subject, message }) => `${rule.id} ${identityOf(subject)} ${message}`).sort();
      assert.deepEqual(lines(found), lines(introducedBy(true)));
    }),
    { numRuns },
  );
  for (const [id, count] of elsewhere) assert.ok(count > 0, `${id}: no change of another object ever concerned it`);
});
