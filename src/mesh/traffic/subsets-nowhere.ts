import { SmallMap } from "../../view/small-map.ts";
import type { MeshView } from "../../view/view.ts";
import { subsetsOfHost } from "./subset-targets.ts";
import type { SubsetsOfHost } from "./subsets.ts";
import type { Traffic } from "./virtual-services.ts";

/** The hosts of which a destination names a subset that no DestinationRule defines. */
export function hostsWithoutSubset(
  all: readonly Traffic[],
  full: (said: string) => string,
  mesh: MeshView<typeof subsetsOfHost>,
): (host: string) => boolean {
  let named: Map<string, Set<string>> | undefined;
  const known = new SmallMap<string, boolean>();
  return (host) => {
    named ??= subsetsNamed(all, full);
    let found = known.get(host);
    if (found === undefined) {
      const there = named.get(host);
      found = there !== undefined && isAnyNowhere(there, mesh.get(subsetsOfHost, host));
      known.set(host, found);
    }
    return found;
  };
}

const isAnyNowhere = (named: Iterable<string>, subsets: SubsetsOfHost): boolean => {
  for (const subset of named) if (subsets.isNowhere(subset)) return true;
  return false;
};

function subsetsNamed(all: readonly Traffic[], full: (said: string) => string): Map<string, Set<string>> {
  const named = new Map<string, Set<string>>();
  for (const { destination } of all) {
    if (!destination.subset) continue;
    const host = full(destination.host);
    const there = named.get(host) ?? new Set();
    named.set(host, there);
    there.add(destination.subset);
  }
  return named;
}
