import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { identityOf } from "../../../src/kube/identity.ts";
import { readObject } from "../../../src/kube/object.ts";
import { Followers, followersOf, hostOwners } from "../../../src/mesh/traffic/host-owners.ts";
import { virtualServiceChoices } from "../../../src/mesh/traffic/virtual-service-choices.ts";
import type { VirtualService } from "../../../src/mesh/traffic/virtual-services.ts";
import { defaultMeshSettings } from "../../../src/view/settings.ts";
import { sideOf } from "../../../src/view/side.ts";
import { MeshStore } from "../../../src/view/store.ts";

const exact = "x.a.svc.cluster.local";
const wildcard = "*.local";
const clients = ["a", "b", "c"];

const route = fc.record({
  match: fc.constantFrom(undefined, [{ sourceNamespace: "b" }], [{ sourceNamespace: "a" }, {}], [{ gateways: ["w"] }]),
  route: fc.constant([{ destination: { host: "x" } }]),
});
const virtualServices = (host: string) =>
  fc.array(
    fc
      .record({
        namespace: fc.constantFrom("a", "b", "istio-system"),
        exportTo: fc.constantFrom(undefined, ["."], ["*"], ["b"], ["a", "b"]),
        gateways: fc.constantFrom(undefined, undefined, ["mesh", "w"], ["w"]),
        revision: fc.constantFrom(undefined, undefined, undefined, "other"),
        created: fc.constantFrom("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", undefined),
        http: fc.array(route, { maxLength: 2 }),
      })
      .map((one) => ({ ...one, host })),
    { maxLength: 6 },
  );
const worlds = fc.constantFrom(exact, wildcard).chain((host) =>
  virtualServices(host).map((all) => ({
    host,
    all: all.map(({ namespace, exportTo, gateways, revision, created, http }, i) =>
      readObject("VirtualService", {
        metadata: {
          name: `v${i}`,
          namespace,
          creationTimestamp: created,
          labels: revision === undefined ? {} : { "istio.io/rev": revision },
        },
        spec: { hosts: [host], exportTo, gateways, http },
      }),
    ),
  })),
);

function sideWith(all: readonly VirtualService[]) {
  const store = new MeshStore(defaultMeshSettings);
  for (const one of all) store.set(one);
  return sideOf(store);
}
const shown = (one: VirtualService | undefined) => one && identityOf(one);

test("the owner of a host is the VirtualService that clients choose", () => {
  fc.assert(
    fc.property(worlds, ({ host, all }) => {
      const owners = sideWith(all).get(hostOwners, host);
      for (const client of clients) {
        const { used, passedOver } = virtualServiceChoices(client, exact, all, defaultMeshSettings);
        // Of several with the same wildcard the first is followed, with a route or without.
        const blocking = passedOver.find(({ because }) => because === "no-route")?.virtualService;
        const expected = used ?? (host === wildcard ? blocking : undefined);
        assert.equal(shown(owners.ownerFor(client, "http")), shown(expected), client);
      }
    }),
  );
});

test("a VirtualService has no followers if it is chosen by no client, and others are", () => {
  fc.assert(
    fc.property(worlds, ({ host, all }) => {
      const side = sideWith(all);
      for (const one of all) {
        const followers = followersOf(one, side);
        const owners = side.get(hostOwners, host);
        if (!followers.areNone("http")) continue;
        for (const client of clients) assert.notEqual(owners.ownerFor(client, "http"), one);
      }
    }),
  );
});

test("the only VirtualService for one of its hosts is followed", () => {
  const [one] = ["a"].map((namespace) =>
    readObject("VirtualService", { metadata: { name: "v", namespace }, spec: { hosts: ["x"], http: [{}] } }),
  ) as [VirtualService];
  const followers = followersOf(one, sideWith([one]));
  assert.equal(followers.areNone("http"), false);
  assert.equal(followers.ownerInstead("b", "http"), undefined);
  assert.equal(new Followers(one, []).include("b", "tcp"), true);
});
