import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { idOf } from "../../../src/kube/identity.ts";
import { readObject } from "../../../src/kube/object.ts";
import { destinationRuleChoices } from "../../../src/mesh/traffic/destination-rule-choices.ts";
import { type DestinationRule, hostOfRule } from "../../../src/mesh/traffic/destination-rules.ts";
import { covers } from "../../../src/mesh/traffic/hosts.ts";
import { defaultMeshSettings, type AllMeshSettings } from "../../../src/view/settings.ts";
import { someObjects } from "../../meshes/arbitrary.ts";

const settings: AllMeshSettings = { ...defaultMeshSettings, rootNamespace: "root" };
const cart = { host: "cart.shop.svc.cluster.local", namespace: "shop" };

/** `namespace/name`, in the order of their age. */
function rules(
  specs: Readonly<Record<string, { readonly labels?: object; readonly [field: string]: unknown }>>,
): readonly DestinationRule[] {
  return Object.entries(specs).map(([id, { labels, ...spec }], i) => {
    const [namespace, name] = id.split("/");
    const metadata = { namespace, name, labels, creationTimestamp: `2026-01-0${i + 1}T00:00:00Z` };
    return readObject("DestinationRule", { metadata, spec: { host: cart.host, ...spec } });
  });
}
const short = ({ metadata }: DestinationRule) => `${metadata.namespace}/${metadata.name}`;

function choices(client: string, specs: Parameters<typeof rules>[0]) {
  const { used, passedOver } = destinationRuleChoices({ client, ...cart }, rules(specs), settings);
  return {
    used: used.map((merged) => merged?.from.map(short).join(" + ") ?? "none"),
    passedOver: passedOver.map(
      ({ rule, because, by }) => `${short(rule)} ${because}${by === undefined ? "" : ` ${short(by)}`}`,
    ),
  };
}

describe("why a DestinationRule is passed over", () => {
  const cases: readonly {
    readonly what: string;
    readonly rules: Parameters<typeof rules>[0];
    readonly used: string;
    readonly passedOver: readonly string[];
  }[] = [
    {
      what: "the client's own ends the search, however broad it is",
      rules: { "shop/s": {}, "web/w": { host: "*.local" }, "root/r": {} },
      used: "web/w",
      passedOver: ["shop/s later-namespace web/w", "root/r later-namespace web/w"],
    },
    {
      what: "other namespaces are not looked at",
      rules: { "shop/s": {}, "batch/b": {} },
      used: "shop/s",
      passedOver: ["batch/b elsewhere"],
    },
    {
      what: "exportTo and workloadSelector keep it at home",
      rules: {
        "shop/s": { exportTo: ["."] },
        "shop/t": { workloadSelector: { matchLabels: { a: "b" } } },
        "root/r": {},
      },
      used: "root/r",
      passedOver: ["shop/s not-exported", "shop/t not-exported"],
    },
    {
      what: "the more specific host",
      rules: { "shop/wide": { host: "*.shop.svc.cluster.local" }, "shop/s": {} },
      used: "shop/s",
      passedOver: ["shop/wide less-specific shop/s"],
    },
    {
      what: "a more specific host hides the wider one even where it is not exported",
      rules: { "shop/wide": { host: "*.shop.svc.cluster.local" }, "shop/s": { exportTo: ["batch"] } },
      used: "none",
      passedOver: ["shop/wide less-specific shop/s", "shop/s not-exported"],
    },
    {
      what: "unset and [*] are not merged, and the younger counts",
      rules: { "shop/old": {}, "shop/new": { exportTo: ["*"] } },
      used: "shop/new",
      passedOver: ["shop/old apart shop/new"],
    },
    {
      what: "what no control plane reads, and capitals",
      rules: {
        "shop/canary": { labels: { "istio.io/rev": "other" } },
        "shop/loud": { host: "Cart.shop.svc.cluster.local" },
      },
      used: "none",
      passedOver: ["shop/canary not-read", "shop/loud capitals"],
    },
    { what: "merged ones all count", rules: { "shop/a": {}, "shop/b": {} }, used: "shop/a + shop/b", passedOver: [] },
  ];
  for (const { what, rules, used, passedOver } of cases)
    test(what, () => assert.deepEqual(choices("web", rules), { used: [used], passedOver }));
});

test("each rule over the host is used or passed over, once, in whatever order they come", () => {
  fc.assert(
    fc.property(someObjects(), fc.constantFrom("a", "b", "istio-system"), (objects, client) => {
      const candidates = objects.filter((object) => object.kind === "DestinationRule");
      const destination = { client, host: "x.a.svc.cluster.local", namespace: "a" };
      const told = (rules: readonly DestinationRule[]) => {
        const { used, passedOver } = destinationRuleChoices(destination, rules, defaultMeshSettings);
        const using = new Set(used.flatMap((merged) => merged?.from ?? []));
        return [...[...using].map(idOf), ...passedOver.map(({ rule }) => idOf(rule))].sort();
      };
      const covering = candidates.filter((rule) => covers(hostOfRule(rule, defaultMeshSettings), destination.host));
      assert.deepEqual(told(candidates), covering.map(idOf).sort());
      assert.deepEqual(told(candidates.toReversed()), told(candidates));
    }),
  );
});
