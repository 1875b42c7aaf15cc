import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { keyOf } from "../../../src/kube/identity.ts";
import { impliedNamespace, readObject } from "../../../src/kube/object.ts";
import { type PeerAuthentication, mtlsOf, planes } from "../../../src/mesh/mtls/effective-mtls.ts";
import { isAcceptedBy, replacedPeerAuthentications } from "../../../src/mesh/mtls/replaced-policies.ts";
import { MeshStore } from "../../../src/view/store.ts";
import type { MeshView } from "../../../src/view/view.ts";
import { twoControlPlanes } from "../../meshes/arbitrary.ts";

const mode = fc.record({ mode: fc.constantFrom("STRICT", "PERMISSIVE", "DISABLE", "UNSET") });
const someLabels = fc.constantFrom<Record<string, string>>(
  { app: "api" },
  { app: "api", version: "v1" },
  { app: "web" },
);
const revisions = [...twoControlPlanes.revisions];
const aPolicy = fc.record({
  metadata: fc.record({
    namespace: fc.constantFrom("shop", "shop", "istio-system"),
    name: fc.constantFrom("a", "b", "c", "d", "e"),
    labels: fc.constantFrom({}, {}, ...revisions.map((revision) => ({ "istio.io/rev": revision }))),
    creationTimestamp: fc.constantFrom(...["1", "2", "3"].map((day) => `2026-01-0${day}T00:00:00Z`)),
  }),
  spec: fc.oneof(
    fc.record({ mtls: mode }),
    fc.record({ mtls: mode, selector: fc.constant({}) }),
    fc.record(
      {
        mtls: mode,
        selector: fc.record({ matchLabels: someLabels }),
        portLevelMtls: fc.dictionary(fc.constantFrom("80", "90"), mode, { maxKeys: 2 }),
      },
      { requiredKeys: ["selector"] },
    ),
  ),
});

function meshOf(policies: readonly PeerAuthentication[]): MeshStore {
  const mesh = new MeshStore(twoControlPlanes);
  for (const policy of policies) mesh.set(policy);
  return mesh;
}

const replacedIn = (name: string, mesh: MeshView<typeof replacedPeerAuthentications>) =>
  mesh.get(replacedPeerAuthentications, impliedNamespace(name));

const asked: readonly Record<string, string>[] = [
  {},
  { app: "api" },
  { app: "web" },
  { app: "api", version: "v1" },
  { app: "web", version: "v1" },
];

/** The modes of every pod of a namespace, for each control plane and data plane. */
function modesIn(name: string, mesh: MeshStore): unknown {
  const ofRevisions = [{}, ...revisions.map((revision) => ({ "istio.io/rev": revision }))];
  return ofRevisions.map((labels) => {
    const namespace = impliedNamespace(name);
    const modes = mtlsOf({ ...namespace, metadata: { ...namespace.metadata, labels } }, mesh);
    return asked.map((pod) =>
      planes.map((plane) => {
        const { mode: wide, ports } = modes.of({ ...pod, ...labels }, plane);
        return [wide.mode, wide.isDropped, ...[80, 90].map((port) => (ports.get(port) ?? wide).mode)];
      }),
    );
  });
}

describe("a policy that an older one replaces", () => {
  test("changes no mode of any pod when it goes", () => {
    let found = 0;
    fc.assert(
      fc.property(
        fc.uniqueArray(aPolicy, { maxLength: 6, selector: ({ metadata }) => `${metadata.namespace}/${metadata.name}` }),
        (raws) => {
          const policies = raws.map((raw) => readObject("PeerAuthentication", raw));
          const mesh = meshOf(policies);
          for (const name of ["shop", "istio-system"])
            for (const [policy] of replacedIn(name, mesh)) {
              found++;
              const others = meshOf(policies.filter((one) => keyOf(one) !== keyOf(policy)));
              for (const where of ["shop", "istio-system"])
                assert.deepEqual(modesIn(where, others), modesIn(where, mesh), keyOf(policy));
            }
        },
      ),
      { numRuns: 1_000 },
    );
    assert.ok(found > 100, `only ${found} were replaced`);
  });

  test("of two that replace it, the oldest is named", () => {
    const policies = ["a", "b", "c"].map((name, i) =>
      readObject("PeerAuthentication", {
        metadata: { namespace: "shop", name, creationTimestamp: `2026-01-0${String(i + 1)}T00:00:00Z` },
        spec: {},
      }),
    );
    const replaced = replacedIn("shop", meshOf(policies));
    assert.deepEqual(
      [...replaced].map(([policy, by]) => [policy.metadata.name, by.metadata.name]),
      [
        ["b", "a"],
        ["c", "a"],
      ],
    );
  });
});

test("whether the older one lets plaintext in", () => {
  const older = (spec: object) =>
    readObject("PeerAuthentication", { metadata: { namespace: "shop", name: "a" }, spec });
  const inMesh = (...modes: readonly string[]) => {
    const metadata = { namespace: "istio-system", name: "default" };
    const mesh = meshOf(modes.map((mode) => readObject("PeerAuthentication", { metadata, spec: { mtls: { mode } } })));
    return mtlsOf(impliedNamespace("shop"), mesh);
  };
  const strict = inMesh("STRICT");
  const open = { mtls: { mode: "PERMISSIVE" } };
  assert.equal(isAcceptedBy(older({}), undefined, strict), false);
  for (const anyway of [inMesh(), inMesh("PERMISSIVE"), inMesh("DISABLE")]) {
    assert.equal(isAcceptedBy(older({}), undefined, anyway), true);
    assert.equal(isAcceptedBy(older({ portLevelMtls: { 80: { mode: "STRICT" } } }), 80, anyway), false);
    assert.equal(isAcceptedBy(older({ portLevelMtls: { 80: { mode: "STRICT" } } }), 90, anyway), true);
    assert.equal(isAcceptedBy(older({ portLevelMtls: { 80: { mode: "STRICT" } } }), undefined, anyway), false);
    assert.equal(isAcceptedBy(older({ mtls: { mode: "STRICT" } }), undefined, anyway), false);
  }
  assert.equal(isAcceptedBy(older(open), undefined, strict), true);
  assert.equal(isAcceptedBy(older(open), 80, strict), true);
  assert.equal(isAcceptedBy(older({ ...open, portLevelMtls: { 80: { mode: "STRICT" } } }), undefined, strict), false);
  assert.equal(isAcceptedBy(older({ ...open, portLevelMtls: { 80: { mode: "STRICT" } } }), 80, strict), false);
  assert.equal(isAcceptedBy(older({ ...open, portLevelMtls: { 80: { mode: "UNSET" } } }), 80, strict), true);
  assert.equal(isAcceptedBy(older({ portLevelMtls: { 80: { mode: "DISABLE" } } }), 80, strict), true);
});
