import { InvalidArgumentError } from "commander";
import { allKinds, type Kind, kinds } from "../kube/kinds.ts";
import { suggestion } from "../text/nearest.ts";

/** What users call a kind: as the table does (Workload), as Kubernetes does (Deployment), or its plural. */
const namesOf = (kind: Kind): readonly string[] => [
  kind,
  ...kinds[kind].served.flatMap((served) => [served.kind, served.plural]),
];

const byName = new Map<string, Kind>();
// Istio's Gateway comes first in the table, and keeps the name that both groups use.
for (const kind of allKinds)
  for (const name of namesOf(kind)) if (!byName.has(name.toLowerCase())) byName.set(name.toLowerCase(), kind);

/** Reads `Service,Deployment` for an option that may be given several times. Throws commander's error for a kind that is none. */
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
