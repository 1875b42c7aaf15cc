import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { readObject } from "../../../src/kube/object.ts";
import { clientTlsOf } from "../../../src/mesh/client-tls/client-tls.ts";
import { destinationsWithTls } from "../../../src/mesh/client-tls/destinations.ts";
import { PlaintextBefore } from "../../../src/mesh/client-tls/newly-plaintext.ts";
import { tlsPathsInto } from "../../../src/mesh/client-tls/paths.ts";
import { destinationRulesFor } from "../../../src/mesh/traffic/destination-rule-lookup.ts";
import { destinationRuleOf } from "../../../src/mesh/traffic/destination-rules-of-host.ts";
import type { DestinationRule } from "../../../src/mesh/traffic/destination-rules.ts";
import { defaultMeshSettings } from "../../../src/view/settings.ts";
import { sideOf } from "../../../src/view/side.ts";
import { MeshStore } from "../../../src/view/store.ts";

// The comparison of two sides against a comparison of every single request.

const namespace = readObject("Namespace", {
  kind: "Namespace",
  metadata: { name: "a", labels: { "istio-injection": "enabled" } },
});
const services = ["x", "y"].map((name) =>
  readObject("Service", {
    metadata: { name, namespace: "a" },
    spec: { selector: { app: name }, ports: [{ port: 80 }, { port: 81 }] },
  }),
);

const tls = fc.constantFrom<unknown>(
  undefined,
  { tls: { mode: "DISABLE" } },
  { tls: { mode: "DISABLE" } },
  { tls: { mode: "ISTIO_MUTUAL" } },
  { portLevelSettings: [{ port: { number: 80 }, tls: { mode: "DISABLE" } }] },
  { tls: { mode: "DISABLE" }, portLevelSettings: [{ port: { number: 81 }, tls: { mode: "ISTIO_MUTUAL" } }] },
);
const rule = fc
  .record({
    namespace: fc.constantFrom("a", "b", "istio-system"),
    host: fc.constantFrom("x.a.svc.cluster.local", "y.a.svc.cluster.local", "*.a.svc.cluster.local", "*.local"),
    exportTo: fc.constantFrom(undefined, ["."], ["*"], ["b"], ["b", "c"]),
    trafficPolicy: tls,
    subsets: fc.constantFrom<readonly unknown[]>(
      [],
      [{ name: "v1", trafficPolicy: { tls: { mode: "DISABLE" } } }],
      [{ name: "v1", trafficPolicy: { tls: { mode: "ISTIO_MUTUAL" } } }],
    ),
    workloadSelector: fc.constantFrom(
      undefined,
      undefined,
      { matchLabels: { app: "x" } },
      { matchLabels: { app: "x", version: "v1" } },
    ),
  })
  .map(({ namespace: of, ...spec }) => ({ of, spec }));
type RuleSpec = typeof rule extends fc.Arbitrary<infer R> ? R : never;
const ruleNamed = (name: string, { of, spec }: { readonly of: string; readonly spec: object }) =>
  readObject("DestinationRule", { metadata: { name, namespace: of }, spec });

function sideWith(rules: readonly DestinationRule[]) {
  const store = new MeshStore(defaultMeshSettings);
  for (const object of [namespace, ...services, ...rules]) store.set(object);
  return sideOf(store);
}

interface Request {
  readonly client: string;
  readonly host: string;
  readonly port: number;
  readonly subset: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
}
const requests: readonly Request[] = ["a", "b", "c", "istio-system", "d"].flatMap((client) =>
  ["x", "y"].flatMap((name) =>
    [80, 81].flatMap((port) =>
      [undefined, "v1"].flatMap((subset) =>
        [{}, { app: "x" }, { app: "y" }, { app: "x", version: "v1" }].map((labels) => ({
          client,
          host: `${name}.a.svc.cluster.local`,
          port,
          subset,
          labels,
        })),
      ),
    ),
  ),
);

/** Undefined: the subset does not exist. */
function isPlaintext(rules: readonly DestinationRule[], request: Request): boolean | undefined {
  const { client, host, port, subset: name, labels } = request;
  const seen = destinationRulesFor(client, { host, namespace: "a" }, rules, defaultMeshSettings);
  const merged = destinationRuleOf(labels, client, seen);
  const subset = merged?.subsets.find((one) => one.name === name);
  if (name !== undefined && subset === undefined) return undefined;
  return clientTlsOf(merged, port, subset).tls === "plaintext";
}

const ofB = (spec: Pick<RuleSpec["spec"], "host" | "trafficPolicy" | "workloadSelector">): RuleSpec => ({
  of: "b",
  spec: { exportTo: undefined, subsets: [], ...spec },
});
const [host, off] = ["*.a.svc.cluster.local" as const, { tls: { mode: "DISABLE" } }];
/** A rule that another one shadowed, so that nobody used it: what takes its place is nothing new. */
const shadowedBefore: [RuleSpec[], RuleSpec, boolean, number] = [
  [
    ofB({ host, trafficPolicy: off, workloadSelector: { matchLabels: { app: "x" } } }),
    ofB({ host, trafficPolicy: undefined, workloadSelector: { matchLabels: { app: "x", version: "v1" } } }),
    ofB({ host, trafficPolicy: off, workloadSelector: undefined }),
  ],
  ofB({ host: "x.a.svc.cluster.local", trafficPolicy: off, workloadSelector: undefined }),
  false,
  0,
];

test("what is newly plaintext is what a comparison of all requests finds", () => {
  let some = 0;
  fc.assert(
    fc.property(fc.array(rule, { maxLength: 4 }), rule, fc.boolean(), fc.nat(3), (specs, next, isDeletion, i) => {
      const before = specs.map((spec, at) => ruleNamed(`r${at}`, spec));
      const changed = before[i];
      const added = ruleNamed(changed?.metadata.name ?? "new", next);
      const after = [...before.filter((one) => one !== changed), ...(isDeletion ? [] : [added])];
      const compared = new PlaintextBefore("a", sideWith(before).get(destinationsWithTls, namespace));
      const parts = sideWith(after)
        .get(tlsPathsInto, namespace)
        .filter((path) => path.tls === "plaintext")
        .flatMap((path) => {
          const part = compared.newIn(path);
          return part === undefined ? [] : [{ path, part }];
        });
      const fresh = requests.filter((request) => {
        const was = isPlaintext(before, request) ?? isPlaintext(before, { ...request, subset: undefined });
        return isPlaintext(after, request) === true && was !== true;
      });
      some += Number(fresh.length > 0);
      for (const { client, host } of fresh) {
        const isFound = parts.some(({ part: { clients, destinations } }) => {
          const names = [...clients].flat();
          return [...destinations].some((one) => one.host === host) && (names.includes(client) || names.includes(""));
        });
        assert.ok(isFound, `${client} to ${host}`);
      }
      if (fresh.length === 0)
        assert.deepEqual(
          parts.map(({ path, part }) => [path.choice, [...part.clients]]),
          [],
        );
    }),
    { numRuns: 3000, examples: [shadowedBefore] },
  );
  assert.ok(some > 300, `${some} worlds have new plaintext`);
});
