// What intents add to a review, in one process: the rules about them alone, beside all others.

import { judge } from "../../src/engine/evaluate.ts";
import type { Rule } from "../../src/engine/rule.ts";
import { keyOf } from "../../src/kube/identity.ts";
import { readAny } from "../../src/kube/object.ts";
import type { MeshStore } from "../../src/view/store.ts";
import { cpuOf, shown, table } from "./measure.ts";
import {
  asStored,
  authorizationPolicy,
  deployment,
  manifest,
  meshOf,
  type Raw,
  readers,
  storedMesh,
  team,
  teamCount,
  virtualService,
} from "./mesh.ts";

const objects = 100_000;
const counts = [1_000, 10_000];
const repetition = { rounds: 9, repeat: 40 };

/** Namespace 0 has none, namespace 1 has one, and the others share the rest. */
function intentOf(i: number): Raw {
  const teams = teamCount(objects);
  const namespace = team(i === 0 ? 1 : 2 + (i % (teams - 2)));
  const requests = [
    { from: [`namespace/${namespace}`], expect: "allowed" },
    { from: ["others"], expect: "denied" },
    { from: ["mesh", "outside"], expect: "encrypted" },
  ];
  const spec = { to: { service: `svc-${i === 0 ? 5 : i % 10}` }, requests };
  return asStored(manifest("meshward.io/v1alpha1", "MeshwardIntent", { namespace, name: `intent-${i}` }, { spec }), 1);
}

const changesIn = (namespace: string): readonly (readonly [title: string, raw: Raw])[] => [
  ["VirtualService", virtualService({ namespace, name: "vs-5" }, "svc-5", { weights: [50, 50] })],
  ["Deployment", deployment({ namespace, name: "svc-5" }, "svc-5", "v9")],
  ["AuthorizationPolicy", authorizationPolicy({ namespace, name: "new" }, readers(namespace, "svc-5"))],
];

function judgedUs(rules: readonly Rule[], mesh: MeshStore, raw: Raw): number {
  const object = readAny(asStored(raw, 2));
  if (object === undefined) throw new Error(`${raw.kind} is no kind of Meshward's`);
  const change = { old: mesh.find(object.kind, keyOf(object)), object };
  return cpuOf(() => judge(rules, mesh, [change]), repetition);
}

/** Intents have to add less than a fifth to a review that concerns none, and less than 2 ms to one that concerns one. */
export function intentsTable(rules: readonly Rule[]): string {
  const own = rules.filter(({ id }) => id.includes("intent"));
  const others = rules.filter((rule) => !own.includes(rule));
  const rows = counts.flatMap((count) => {
    const mesh = meshOf([...storedMesh(objects), ...Array.from({ length: count }, (_, i) => intentOf(i))]);
    return [
      ["none", team(0)],
      ["one", team(1)],
    ].flatMap(([concerned = "", namespace = ""]) =>
      changesIn(namespace).map(([title, raw]) => {
        const [without, added] = [judgedUs(others, mesh, raw), judgedUs(own, mesh, raw)];
        return [
          title,
          shown(count),
          concerned,
          shown(without),
          shown(added),
          `${((100 * added) / without).toFixed(1)} %`,
        ];
      }),
    );
  });
  return table(
    `Intents in a mesh of ${shown(objects)} objects`,
    ["change", "intents", "those that it concerns", "all other rules, CPU us", "the rules of intents, CPU us", "added"],
    rows,
  );
}
