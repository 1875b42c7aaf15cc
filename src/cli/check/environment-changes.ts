import { rulesInForce } from "../../custom-rules/in-force.ts";
import { selectionOf } from "../../engine/setting.ts";
import { connectionChangesOf } from "../../explain/connection-changes.ts";
import { effectsOf } from "../../explain/effects.ts";
import type { ExplanationInput } from "../../explain/explanation.ts";
import type { Policies } from "../../policy/policies.ts";
import type { ConnectionChanges } from "../../report/connections.ts";
import type { Effects } from "../../report/effects.ts";
import { rules } from "../../rules/index.ts";
import type { Mesh } from "../../view/view.ts";
import type { ChangedSides } from "./judge-changes.ts";

/** What the change does to who can reach what, for each environment; undefined: there is none. */
export function connectionsIn(sides: readonly ChangedSides[]): ConnectionChanges | undefined {
  const found = sides.map(({ environment, before, after }) => ({
    environment,
    ...connectionChangesOf(before, after, { kind: "mesh" }),
  }));
  const [first] = found;
  if (first === undefined) return undefined;
  const { environment: _, ...changes } = first;
  return {
    ...changes,
    groups: saidOnce(found.map(({ environment, groups }) => ({ environment, parts: groups }))),
    undecidedPorts: Math.max(...found.map(({ undecidedPorts }) => undecidedPorts)),
    notes: [...new Set(found.flatMap(({ notes }) => notes))],
  };
}

/** What the change does to the mesh, for each environment. */
export function effectsIn(sides: readonly ChangedSides[], policies: Policies): Effects {
  const found = sides.map(({ environment, before, after, changed }) => ({
    environment,
    ...effectsOf({
      before: sideOf(before, policies),
      after: sideOf(after, policies),
      changed: changed.map(({ object }) => object),
    }),
  }));
  return {
    effects: saidOnce(found.map(({ environment, effects }) => ({ environment, parts: effects }))),
    unexplained: Math.max(0, ...found.map(({ unexplained }) => unexplained)),
  };
}

/** Each side has a selection of its own, because a selection caches answers for the meshes of its last call. */
const sideOf = (mesh: Mesh, policies: Policies): ExplanationInput => ({
  ...{ mesh, policies, rules: rulesInForce(rules, policies) },
  selection: selectionOf(policies),
});

interface InEnvironment<T> {
  /** Undefined if there is only one. */
  readonly environment: string | undefined;
  readonly parts: readonly T[];
}

/** What all environments have is there once; the title of anything else names its environment. */
function saidOnce<T extends { readonly title: string }>(found: readonly InEnvironment<T>[]): readonly T[] {
  const counts = new Map<string, number>();
  for (const { parts } of found)
    for (const text of new Set(parts.map((part) => JSON.stringify(part))))
      counts.set(text, (counts.get(text) ?? 0) + 1);
  const named = found.flatMap(({ environment, parts }) =>
    parts.map((part) =>
      counts.get(JSON.stringify(part)) === found.length ? part : { ...part, title: `${part.title} in ${environment}` },
    ),
  );
  return [...new Map(named.map((part) => [JSON.stringify(part), part])).values()];
}
