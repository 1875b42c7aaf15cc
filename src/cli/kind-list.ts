import { InvalidArgumentError } from "commander";
import { allKinds, type Kind, kinds } from "../kube/kinds.ts";
import { suggestion } from "../text/nearest.ts";

/**
 * The names that users may give a kind: that of the table (Workload), that of Kubernetes (Deployment), or its plural.
 */
const namesOf = (kind: Kind): readonly string[] => [
  kind,
  ...kinds[kind].served.flatMap((served) => [served.kind, served.plural]),
];

const byName = new Map<string, Kind>();
// Two groups have a kind Gateway. Istio's comes first in the table and keeps the name.
for (const kind of allKinds)
  for (const name of namesOf(kind)) if (!byName.has(name.toLowerCase())) byName.set(name.toLowerCase(), kind);

/** Parses `Service,Deployment` for an option that may be repeated. Throws commander's error for an unknown kind. */
export function kindList(text: string, previous: readonly Kind[]): readonly Kind[] {
  const names = text.split(",").map((name) => name.trim());
  return [...previous, ...names.filter((name) => name !== "").map(kindNamed)];
}

function kindNamed(name: string): Kind {
  const kind = byName.get(name.toLowerCase());
  if (kind !== undefined) return kind;
  const known = allKinds.flatMap(namesOf);
  throw new InvalidArgumentError(`no rule reads the kind ${JSON.stringify(name)}${suggestion(name, known) || "."}`);
}
