import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { identityOf } from "../../../src/kube/identity.ts";
import { readObject } from "../../../src/kube/object.ts";
import { Followers, followersOf, hostOwners } from "../../../src/mesh/traffic/host-owners.ts";
import { Egress, type Sidecar, sidecarFor } from "../../../src/mesh/traffic/sidecar-egress.ts";
import { ClientScopes, clientScopes } from "../../../src/mesh/traffic/sidecar-scope.ts";
import { virtualServiceChoices } from "../../../src/mesh/traffic/virtual-service-choices.ts";
import type { VirtualService } from "../../../src/mesh/traffic/virtual-services.ts";
import { defaultMeshSettings } from "../../../src/view/settings.ts";
import { sideOf } from "../../../src/view/side.ts";
import { MeshStore } from "../../../src/view/store.ts";
import type { Mesh } from "../../../src/view/view.ts";

const exact = "x.a.svc.cluster.local";
const wildcard = "*.local";
const clients = ["a", "b", "c"];

const route = fc.record({
  match: fc.constantFrom(undefined, [{ sourceNamespace: "b" }], [{ sourceNamespace: "a" }, {}], [{ gateways: ["w"] }]),
  route: fc.constant([{ destination: { host: "x", subset: "v1" } }]),
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

const sidecars = fc.array(
  fc.record({
    namespace: fc.constantFrom("a", "b", "istio-system"),
    selector: fc.constantFrom(undefined, undefined, {}, { app: "x" }),
    hosts: fc.constantFrom(
      undefined,
      ["./*"],
      ["*/*"],
      ["a/*", "b/*.local"],
      ["~a/*", "*/*.local"],
      ["istio-system/*"],
    ),
    created: fc.constantFrom("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
  }),
  { maxLength: 4 },
);
type Written = typeof sidecars extends fc.Arbitrary<infer T> ? T : never;
const readSidecars = (all: Written): readonly Sidecar[] =>
  all.map(({ namespace, selector, hosts, created }, i) =>
    readObject("Sidecar", {
      metadata: { name: `s${i}`, namespace, creationTimestamp: created },
      spec: {
        workloadSelector: selector === undefined ? undefined : { labels: selector },
        egress: hosts === undefined ? undefined : [{ hosts }],
      },
    }),
  );

function sideWith(all: readonly (VirtualService | Sidecar)[]) {
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

test("with Sidecars, it is the one that the workloads of a namespace choose of what they import", () => {
  let hidden = 0;
  fc.assert(
    fc.property(worlds, sidecars, ({ host, all }, written) => {
      const limiting = readSidecars(written);
      const side = sideWith([...all, ...limiting]);
      for (const [one, client] of clientsMeant(all)) {
        const scopes = side.get(clientScopes, one);
        const isHidden = hiddenBy(limiting, client, side);
        for (const other of all) assert.equal(scopes.hides(other, client), isHidden(other), identityOf(other));
        const left = all.filter((other) => !isHidden(other));
        hidden += all.length - left.length;
        const { used, passedOver } = virtualServiceChoices(client, exact, left, defaultMeshSettings);
        const blocking = passedOver.find(({ because }) => because === "no-route")?.virtualService;
        const expected = used ?? (host === wildcard ? blocking : undefined);
        assert.equal(shown(side.get(hostOwners, host).ownerAmong(client, "http", scopes)), shown(expected), client);
      }
    }),
    { numRuns: 400 },
  );
  assert.ok(hidden > 100, `only ${hidden} were hidden`);
});

/** The namespaces that each VirtualService for sidecars is meant for. */
const clientsMeant = (all: readonly VirtualService[]) =>
  all
    .filter(
      ({ metadata, spec }) => !metadata.labels["istio.io/rev"] && spec.gateways.join() !== "w" && spec.http.length > 0,
    )
    .flatMap((one) => ["a", "b"].map((client) => [one, client] as const))
    .filter(([one, client]) => [one.metadata.namespace, ...one.spec.exportTo].includes(client));

/** Whether the Sidecars of all workloads of the namespace leave a VirtualService out. */
function hiddenBy(limiting: readonly Sidecar[], client: string, side: Mesh) {
  const of = (namespace: string) => limiting.filter(({ metadata }) => metadata.namespace === namespace);
  const used = [{}, { app: "x" }].map((labels) => sidecarFor(of(client), of("istio-system"), labels));
  return (one: VirtualService) =>
    used.every((sidecar) => sidecar !== undefined && !new Egress(sidecar, client).importsVirtualService(one, side));
}

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
  const nothingHidden = new ClientScopes(new Map(), sideWith([one]));
  assert.equal(new Followers(one, [], nothingHidden).include("b", "tcp"), true);
});
