import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { identityOf } from "../../../src/kube/identity.ts";
import { readObject } from "../../../src/kube/object.ts";
import { virtualServiceChoices, waypointVirtualServices } from "../../../src/mesh/traffic/virtual-service-choices.ts";
import type { VirtualService } from "../../../src/mesh/traffic/virtual-services.ts";
import { defaultMeshSettings } from "../../../src/view/settings.ts";
import { someObjects } from "../../meshes/arbitrary.ts";

const host = "cart.shop.svc.cluster.local";
const http = [{ route: [{ destination: { host } }] }];

/** `namespace/name`, in the order of their age. */
function services(
  specs: Readonly<Record<string, { readonly labels?: object; readonly [field: string]: unknown }>>,
): readonly VirtualService[] {
  return Object.entries(specs).map(([id, { labels, ...spec }], i) => {
    const [namespace, name] = id.split("/");
    const metadata = { namespace, name, labels, creationTimestamp: `2026-01-0${i + 1}T00:00:00Z` };
    return readObject("VirtualService", { metadata, spec: { hosts: [host], http, ...spec } });
  });
}
const short = ({ metadata }: VirtualService) => `${metadata.namespace}/${metadata.name}`;

describe("which VirtualService owns a host for sidecars of namespace web", () => {
  const cases: readonly {
    readonly what: string;
    readonly services: Parameters<typeof services>[0];
    readonly used: string | undefined;
    readonly passedOver: readonly string[];
  }[] = [
    {
      what: "the oldest: they are not merged",
      services: { "shop/a": {}, "web/b": {} },
      used: "shop/a",
      passedOver: ["web/b younger shop/a"],
    },
    {
      what: "a private one before an older public one, one exported by name between them",
      services: { "shop/a": {}, "shop/c": { exportTo: ["web"] }, "web/b": { exportTo: ["."] } },
      used: "web/b",
      passedOver: ["shop/c nearer web/b", "shop/a nearer web/b"],
    },
    {
      what: "the more specific host",
      services: { "shop/a": { hosts: ["*.shop.svc.cluster.local"] }, "shop/b": {} },
      used: "shop/b",
      passedOver: ["shop/a less-specific shop/b"],
    },
    {
      what: "not exported, for gateways only, for another revision",
      services: {
        "shop/a": { exportTo: ["."] },
        "shop/b": { gateways: ["public"] },
        "shop/c": { labels: { "istio.io/rev": "other" } },
      },
      used: undefined,
      passedOver: ["shop/a not-exported", "shop/b gateways-only", "shop/c not-read"],
    },
    {
      what: "one without a route for these clients does not own the host",
      services: { "shop/a": { http: [{ match: [{ sourceNamespace: "other" }], ...http[0] }] }, "shop/b": {} },
      used: "shop/b",
      passedOver: ["shop/a no-route"],
    },
    {
      what: "and yet keeps a wildcard away",
      services: {
        "shop/a": { http: [{ match: [{ sourceNamespace: "other" }], ...http[0] }] },
        "shop/b": { hosts: ["*.shop.svc.cluster.local"] },
      },
      used: undefined,
      passedOver: ["shop/a no-route", "shop/b less-specific shop/a"],
    },
    {
      what: "and, with a wildcard, also a younger one with the same wildcard",
      services: {
        "shop/a": { hosts: ["*.local"], http: [{ match: [{ sourceNamespace: "other" }], ...http[0] }] },
        "shop/b": { hosts: ["*.local"] },
      },
      used: undefined,
      passedOver: ["shop/a no-route", "shop/b blocked shop/a"],
    },
    {
      what: "capitals do not matter at sidecars",
      services: { "shop/a": { hosts: ["Cart.shop.svc.cluster.local"] } },
      used: "shop/a",
      passedOver: [],
    },
  ];
  for (const { what, services: specs, used, passedOver } of cases)
    test(what, () => {
      const found = virtualServiceChoices("web", host, services(specs), defaultMeshSettings);
      assert.equal(found.used && short(found.used), used);
      const others = found.passedOver.map(
        ({ virtualService, because, by }) =>
          `${short(virtualService)} ${because}${by === undefined ? "" : ` ${short(by)}`}`,
      );
      assert.deepEqual(others, passedOver);
    });
});

test("each is used or passed over, once, in whatever order they come", () => {
  fc.assert(
    fc.property(someObjects(), fc.constantFrom("a", "b"), (objects, client) => {
      const candidates = objects.filter((object) => object.kind === "VirtualService");
      const told = (all: readonly VirtualService[]) => {
        const { used, passedOver } = virtualServiceChoices(client, "x.a.svc.cluster.local", all, defaultMeshSettings);
        return { used: used && identityOf(used), passedOver: passedOver.map((one) => identityOf(one.virtualService)) };
      };
      const { used, passedOver } = told(candidates);
      const all = used === undefined ? passedOver : [used, ...passedOver];
      assert.equal(new Set(all).size, all.length);
      assert.deepEqual(told(candidates.toReversed()), { used, passedOver });
    }),
  );
});

test("a waypoint follows all that are for the host, however specific, of its own and the service's namespace", () => {
  const candidates = services({
    "shop/owner": {},
    "way/too": {},
    "web/elsewhere": {},
    "way/wide": { hosts: ["*.shop.svc.cluster.local"] },
    "shop/gateway": { gateways: ["edge"] },
    "shop/private": { exportTo: ["."] },
  });
  const followed = waypointVirtualServices("way", { host, namespace: "shop" }, candidates, defaultMeshSettings);
  assert.deepEqual(followed.map(short), ["shop/owner", "way/too", "way/wide"]);
});
