import { type Globs, globs } from "../../text/globs.ts";
import { HostPatterns } from "./host-patterns.ts";
import { covers, isWildcard } from "./hosts.ts";

/** Hosts, as `shop.example.com`, `*.example.com` or `*`, and the namespaces that may use them, in which `*` stands for any characters. */
export interface OwnedHosts {
  readonly hosts: readonly string[];
  readonly namespaces: readonly string[];
}

/** A host or wildcard of `hostOwners`, and the namespaces that may use it, in which `*` stands for any characters. */
export interface OwnedHost {
  readonly host: string;
  readonly namespaces: readonly string[];
}

/** Declares the parameter `hostOwners` of a rule; the policies fill it. */
export const hostOwnersParameter = {
  summary: "Hosts and the namespaces that may use them, from `spec.hostOwners` of all policies.",
  default: [] as readonly OwnedHosts[],
};

/**
 * Which namespaces may use which hosts. Hosts are compared without regard to case, as Envoy compares them, and have to be
 * complete: the caller resolves short names (mesh/traffic/hosts.ts fullHost).
 */
export class HostOwnership {
  readonly #owned: ReadonlyMap<string, Owned>;
  readonly #patterns: HostPatterns;
  /** Sorted by the reversed name, so that the hosts below a wildcard follow each other. */
  readonly #sorted: readonly { readonly name: string; readonly owned: Owned }[];

  constructor(entries: readonly OwnedHosts[]) {
    const namespaces = new Map<string, Set<string>>();
    for (const entry of entries)
      for (const host of entry.hosts) {
        const known = namespaces.get(host) ?? new Set();
        for (const namespace of entry.namespaces) known.add(namespace);
        namespaces.set(host, known);
      }
    this.#owned = new Map(
      [...namespaces].map(([host, names]) => {
        const list = [...names];
        return [host, { host, namespaces: list, globs: globs(list) }];
      }),
    );
    this.#patterns = new HostPatterns(this.#owned.keys());
    const names = [...this.#owned.values()].map((owned) => ({ name: reversed(owned.host), owned }));
    this.#sorted = names.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** The entry that decides about a host or wildcard: the most specific that covers it; undefined: everybody may use it. */
  of(host: string): OwnedHost | undefined {
    return this.#deciding(compared(host));
  }

  /**
   * The entries that do not let this namespace use this host or wildcard: the one that decides about it, and for a wildcard
   * also those of narrower hosts, because whoever serves `*.example.com` serves `shop.example.com` too. Empty if it may.
   */
  against(namespace: string, host: string): readonly OwnedHost[] {
    if (this.#owned.size === 0) return [];
    const wanted = compared(host);
    const decides = this.#deciding(wanted);
    const found = decides === undefined ? [] : [decides];
    if (isWildcard(wanted)) for (const narrower of this.#below(wanted)) if (narrower !== decides) found.push(narrower);
    return found.filter((owned) => !owned.globs.matches(namespace));
  }

  #deciding(host: string): Owned | undefined {
    const pattern = this.#patterns.over(host);
    return pattern === undefined ? undefined : this.#owned.get(pattern);
  }

  *#below(wildcard: string): Generator<Owned> {
    const end = reversed(wildcard.slice(1));
    for (const { name, owned } of this.#sorted.slice(this.#firstFrom(end))) {
      if (!name.startsWith(end)) return;
      if (covers(wildcard, owned.host)) yield owned;
    }
  }

  #firstFrom(end: string): number {
    let [low, high] = [0, this.#sorted.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#sorted[middle]?.name ?? "") < end) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** A dot at the end says only that the name is complete, and Istio accepts it (pkg/config/validation/agent/validation.go validateDNS1123Labels). */
export const compared = (host: string): string => host.toLowerCase().replace(/(?<=[^.])\.$/, "");

interface Owned extends OwnedHost {
  readonly globs: Globs;
}

const reversed = (text: string): string => [...text].reverse().join("");

const compiled = new WeakMap<readonly OwnedHosts[], HostOwnership>();

/** Compiles the parameter `hostOwners` of a rule, once for each list. */
export function ownershipOf(entries: readonly OwnedHosts[]): HostOwnership {
  let ownership = compiled.get(entries);
  if (ownership === undefined) compiled.set(entries, (ownership = new HostOwnership(entries)));
  return ownership;
}
