import { covers, isWildcard, mostSpecificFirst, overlaps } from "./hosts.ts";

/** So few hosts are compared one by one. */
const fewHosts = 8;

/** Wildcards without their `*`, reversed and sorted, each with the position of the longest other one that it starts with. */
interface Ends {
  readonly sorted: readonly string[];
  readonly parents: readonly number[];
}

const noEnds: Ends = { sorted: [], parents: [] };

/** A set of hosts and wildcards that finds those that cover a host without comparing it with each of them. */
export class HostPatterns {
  readonly #hosts: ReadonlySet<string>;
  /** Most specific first; undefined: they are too many to compare each of them. */
  readonly #few: readonly string[] | undefined;
  readonly #ends: Ends;

  constructor(hosts: Iterable<string>) {
    this.#hosts = new Set(hosts);
    const wildcards = [...this.#hosts].filter(isWildcard);
    this.#few = wildcards.length <= fewHosts ? wildcards.sort(mostSpecificFirst) : undefined;
    this.#ends = this.#few === undefined ? endsOf(wildcards) : noEnds;
  }

  /** The most specific of them that covers the host, as mostSpecificHost finds it. */
  over(host: string): string | undefined {
    if (this.#hosts.has(host)) return host;
    if (this.#few !== undefined) return this.#few.find((wildcard) => covers(wildcard, host));
    const nearest = nearestEnd(this.#ends, host);
    return nearest < 0 ? undefined : wildcardOf(this.#ends, nearest);
  }

  /** All of them that cover the host, most specific first. */
  allOver(host: string): readonly string[] {
    const isNamed = !isWildcard(host) && this.#hosts.has(host);
    if (this.#few !== undefined) {
      const covering = thoseOver(host, this.#few);
      return isNamed ? [host, ...covering] : covering;
    }
    const found: string[] = isNamed ? [host] : [];
    for (let i = nearestEnd(this.#ends, host); i >= 0; i = parentOf(this.#ends, i))
      found.push(wildcardOf(this.#ends, i));
    return found;
  }
}

/** The same list if all of them cover the host, as is so for each of many Services below one wildcard. */
const thoseOver = (host: string, wildcards: readonly string[]): readonly string[] =>
  wildcards.every((wildcard) => covers(wildcard, host))
    ? wildcards
    : wildcards.filter((wildcard) => covers(wildcard, host));

/**
 * For each host the position of the first earlier one that overlaps it; -1: there is none. The result is that of a
 * comparison of all pairs.
 */
export function firstOverlaps(hosts: readonly string[]): readonly number[] {
  if (hosts.length <= fewHosts)
    return hosts.map((host, i) => hosts.findIndex((other, j) => j < i && overlaps(other, host)));
  const first = new Map<string, number>();
  for (const [i, host] of hosts.entries()) if (!first.has(host)) first.set(host, i);
  const ends = endsOf(first.keys());
  const nearest = hosts.map((host) => nearestEnd(ends, host));
  const { above, below } = firstAround(ends, nearest, first);
  return hosts.map((host, i) => {
    const end = nearest[i] as number;
    const found = Math.min(
      first.get(host) as number,
      above[end] ?? Number.POSITIVE_INFINITY,
      isWildcard(host) ? (below[end] as number) : Number.POSITIVE_INFINITY,
    );
    return found < i ? found : -1;
  });
}

/** For each wildcard the position of the first one that covers it, and of the first host that it covers. */
function firstAround(ends: Ends, nearest: readonly number[], first: ReadonlyMap<string, number>) {
  const above = ends.sorted.map((_, i) => first.get(wildcardOf(ends, i)) as number);
  const below = ends.sorted.map(() => Number.POSITIVE_INFINITY);
  for (const [i, end] of nearest.entries()) if (end >= 0) below[end] = Math.min(below[end] as number, i);
  // A parent is before its children.
  for (let i = 0; i < above.length; i++)
    above[i] = Math.min(above[i] as number, above[parentOf(ends, i)] ?? Number.POSITIVE_INFINITY);
  for (let i = below.length - 1; i >= 0; i--) {
    const parent = parentOf(ends, i);
    if (parent >= 0) below[parent] = Math.min(below[parent] as number, below[i] as number);
  }
  return { above, below };
}

function endsOf(hosts: Iterable<string>): Ends {
  const sorted = [...new Set(hosts)].filter(isWildcard).map(fromEnd).sort();
  const parents: number[] = [];
  for (const [i, end] of sorted.entries()) {
    let parent = i - 1;
    while (parent >= 0 && !end.startsWith(sorted[parent] as string)) parent = parents[parent] as number;
    parents.push(parent);
  }
  return { sorted, parents };
}

const parentOf = ({ parents }: Ends, i: number): number => parents[i] as number;

/** A host, or a wildcard without its `*`, reversed. */
const fromEnd = (host: string): string => (isWildcard(host) ? host.slice(1) : host).split("").reverse().join("");
const wildcardOf = ({ sorted }: Ends, i: number): string => `*${(sorted[i] as string).split("").reverse().join("")}`;

/** The position of the longest wildcard that covers the host; -1: there is none. */
function nearestEnd({ sorted, parents }: Ends, host: string): number {
  if (sorted.length === 0) return -1;
  const name = fromEnd(host);
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] as string) <= name) low = middle + 1;
    else high = middle;
  }
  // All wildcards that cover the name are among the one before it and the parents of that one.
  let nearest = low - 1;
  while (nearest >= 0 && !name.startsWith(sorted[nearest] as string)) nearest = parents[nearest] as number;
  return nearest;
}
