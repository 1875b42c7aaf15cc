import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { keyOf } from "../../../src/kube/identity.ts";
import { impliedNamespace, readObject } from "../../../src/kube/object.ts";
import { peerAuthenticationChoices } from "../../../src/mesh/mtls/choices.ts";
import { mtlsOf, type PeerAuthentication } from "../../../src/mesh/mtls/effective-mtls.ts";
import { defaultMeshSettings } from "../../../src/view/settings.ts";
import { MeshStore } from "../../../src/view/store.ts";
import { someObjects } from "../../meshes/arbitrary.ts";

const api = { app: "api" };
const shop = impliedNamespace("shop");

/** `namespace/name`, in the order of their age. */
function meshOf(specs: Readonly<Record<string, object>>): MeshStore {
  const mesh = new MeshStore(defaultMeshSettings);
  for (const [i, [id, { labels, created, ...spec }]] of Object.entries<Record<string, unknown>>(
    specs as Record<string, Record<string, unknown>>,
  ).entries()) {
    const [namespace, name] = id.split("/");
    const metadata = { namespace, name, labels, creationTimestamp: created ?? `2026-01-0${i + 1}T00:00:00Z` };
    mesh.set(readObject("PeerAuthentication", { metadata, spec }));
  }
  return mesh;
}
const mode = (mode: string) => ({ mtls: { mode } });
const short = ({ metadata }: PeerAuthentication) => `${metadata.namespace}/${metadata.name}`;
const told = (mesh: MeshStore, labels: Record<string, string> | undefined) =>
  peerAuthenticationChoices(shop, labels, mesh).map(
    ({ policy, outcome, by }) => `${short(policy)} ${outcome}${by === undefined ? "" : ` ${short(by)}`}`,
  );

describe("what becomes of a PeerAuthentication", () => {
  test("the narrower overrides, the younger loses, at each level", () => {
    const mesh = meshOf({
      "istio-system/mesh": mode("PERMISSIVE"),
      "shop/first": mode("STRICT"),
      "shop/second": mode("PERMISSIVE"),
      "shop/api": { ...mode("STRICT"), selector: { matchLabels: api } },
      "shop/api-too": { ...mode("DISABLE"), selector: { matchLabels: api } },
    });
    assert.deepEqual(told(mesh, undefined), [
      "istio-system/mesh overridden shop/first",
      "shop/first counts",
      "shop/second younger shop/first",
    ]);
    assert.deepEqual(told(mesh, api).slice(3), ["shop/api counts", "shop/api-too younger shop/api"]);
  });

  test("one that sets no mode, one of the same age, one for another revision, a selector in the root namespace", () => {
    const created = "2026-02-01T00:00:00Z";
    const mesh = meshOf({
      "istio-system/mesh": mode("STRICT"),
      "istio-system/some": { ...mode("DISABLE"), selector: { matchLabels: api } },
      "shop/a": { created },
      "shop/b": { ...mode("DISABLE"), created },
      "shop/c": { ...mode("DISABLE"), labels: { "istio.io/rev": "other" } },
    });
    assert.deepEqual(told(mesh, api), [
      "istio-system/mesh counts",
      "istio-system/some root-selector",
      "shop/c not-read",
      "shop/a unset",
      "shop/b same-age shop/a",
    ]);
  });

  test("a policy that only sets ports counts beside the one that sets the mode", () => {
    const mesh = meshOf({
      "shop/all": mode("STRICT"),
      "shop/api": { selector: { matchLabels: api }, portLevelMtls: { 9090: { mode: "PERMISSIVE" } } },
    });
    assert.deepEqual(told(mesh, api), ["shop/all counts", "shop/api counts"]);
  });
});

test("without a policy that lost, sidecars have the same modes", () => {
  const lost = ["younger", "root-selector", "not-read", "overridden", "same-age"];
  const labels = { app: "x", version: "v1" };
  fc.assert(
    fc.property(someObjects(), (objects) => {
      const policies = objects.filter((object) => object.kind === "PeerAuthentication");
      const mesh = new MeshStore(defaultMeshSettings);
      for (const policy of policies) mesh.set(policy);
      const namespace = impliedNamespace("a");
      const modes = () => {
        const { mode, ports } = mtlsOf(namespace, mesh).of(labels, "sidecar");
        return JSON.stringify([mode.mode, [...ports].map(([port, verdict]) => [port, verdict.mode])]);
      };
      const before = modes();
      for (const { policy, outcome } of peerAuthenticationChoices(namespace, labels, mesh))
        if (lost.includes(outcome)) {
          mesh.delete("PeerAuthentication", keyOf(policy));
          assert.equal(modes(), before);
        }
    }),
  );
});
