import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { readObject } from "../../../src/kube/object.ts";
import { defaultMeshSettings } from "../../../src/view/settings.ts";
import { sideOf } from "../../../src/view/side.ts";
import { MeshStore } from "../../../src/view/store.ts";
import { asked } from "./asked.ts";
import { type PlainEntry, type PlainSidecar, sentTo } from "./host-interpreter.ts";

const namespaces = ["a", "b", "c"];
const namespace = fc.constantFrom(...namespaces);
const host = fc.constantFrom("x.example", "y.example", "*.example");
const entries: fc.Arbitrary<readonly PlainEntry[]> = fc.uniqueArray(
  fc.record({
    namespace,
    host,
    port: fc.constantFrom(80, 443),
    exportTo: fc.constantFrom<readonly string[]>([], ["."], ["*"], ["~"], ["b"], ["a", "."]),
  }),
  // Two of one namespace for one host are merged, or not.
  { maxLength: 4, selector: ({ namespace: own, host: name }) => `${own} ${name}` },
);
const sidecar: fc.Arbitrary<PlainSidecar | undefined> = fc.option(
  fc.record({
    namespace,
    imports: fc.uniqueArray(fc.constantFrom("./*", "*/x.example", "b/*", "*/*.example", "./y.example"), {
      maxLength: 2,
    }),
    isRegistryOnly: fc.constantFrom(undefined, true, false),
  }),
  { nil: undefined },
);

const there = fc.tuple(entries, sidecar, fc.boolean());

function meshOf(all: readonly PlainEntry[], own: PlainSidecar | undefined, isRegistryOnly: boolean) {
  const store = new MeshStore({
    ...defaultMeshSettings,
    outboundTrafficPolicy: isRegistryOnly ? "REGISTRY_ONLY" : "ALLOW_ANY",
  });
  for (const name of namespaces) {
    store.set(readObject("Namespace", { metadata: { name, labels: { "istio-injection": "enabled" } } }));
    const template = { metadata: { labels: { app: name } }, spec: { containers: [{ name: "c" }] } };
    store.set(readObject("Workload", { kind: "Deployment", metadata: { namespace: name, name }, spec: { template } }));
  }
  for (const [i, { namespace: where, host: name, port, exportTo }] of all.entries())
    store.set(
      readObject("ServiceEntry", {
        metadata: { namespace: where, name: `e${i}` },
        spec: { hosts: [name], exportTo, ports: [{ number: port, name: "p", protocol: "HTTPS" }] },
      }),
    );
  if (own !== undefined)
    store.set(
      readObject("Sidecar", {
        metadata: { namespace: own.namespace, name: "s" },
        spec: {
          egress: own.imports.length === 0 ? [] : [{ hosts: own.imports }],
          ...(own.isRegistryOnly === undefined
            ? {}
            : { outboundTrafficPolicy: { mode: own.isRegistryOnly ? "REGISTRY_ONLY" : "ALLOW_ANY" } }),
        },
      }),
    );
  return sideOf(store);
}

test("a sidecar knows a host, passes requests on or refuses them as the plain reading of the objects says", () => {
  const seen = new Map<string, number>();
  fc.assert(
    fc.property(there, namespace, fc.constantFrom(80, 443), ([all, own, isOnly], client, port) => {
      const mesh = meshOf(all, own, isOnly);
      for (const name of ["x.example", "y.example", "other.com"]) {
        const found = asked(mesh, `${client}/${client}`, `${name}:${port}`);
        assert.equal(found.length, 1, "nothing divides the requests");
        const [{ result, destination } = { result: "none", destination: undefined }] = found;
        const expected = sentTo(client, { host: name, port }, { entries: all, sidecar: own, isRegistryOnly: isOnly });
        seen.set(expected, (seen.get(expected) ?? 0) + 1);
        assert.equal(result, expected === "refused" ? "nowhere" : "accepted");
        assert.equal(destination?.object !== undefined, expected === "known");
      }
    }),
    { numRuns: 400 },
  );
  assert.ok(
    ["known", "passed", "refused"].every((one) => (seen.get(one) ?? 0) > 30),
    JSON.stringify([...seen]),
  );
});
