/**
 * A host as Istio resolves it: a name without a dot belongs to the namespace of the object that says it; `*`, IP
 * addresses and everything with a dot stand as they are, so `reviews.prod` names no service (Istio
 * pilot/pkg/model/config.go ResolveShortnameToFQDN).
 */
export function fullHost(host: string, namespace: string, domain: string): string {
  // Without a dot, only an IPv6 address holds a colon.
  if (host === "" || host === "*" || host.includes(".") || host.includes(":")) return host;
  return `${host}.${namespace}.svc.${domain}`;
}

/** Istio pkg/config/host/name.go IsWildCarded: `*`, `*.com`, and also `*-api.com`. */
export const isWildcard = (host: string): boolean => host.startsWith("*");

/** Whether every name that `host` stands for is one of `pattern`'s (Istio pkg/config/host/name.go SubsetOf). */
export function covers(pattern: string, host: string): boolean {
  if (!isWildcard(pattern)) return pattern === host;
  if (!isWildcard(host)) return host.endsWith(pattern.slice(1));
  return host.length >= pattern.length && host.slice(1).endsWith(pattern.slice(1));
}

/** Whether some name belongs to both (Istio pkg/config/host/name.go Matches). */
export const overlaps = (a: string, b: string): boolean => covers(a, b) || covers(b, a);

/** Exact hosts first, then the longer ones, then by letter (Istio pkg/config/host/names.go MoreSpecific). */
export function mostSpecificFirst(a: string, b: string): number {
  return Number(isWildcard(a)) - Number(isWildcard(b)) || b.length - a.length || (a < b ? -1 : Number(a > b));
}

/**
 * The one of `hosts` that istiod takes for a host: the host itself, else the most specific wildcard over it; undefined
 * where none covers it (Istio pilot/pkg/model/config.go MostSpecificHostMatch).
 */
export function mostSpecificHost(host: string, hosts: Iterable<string>): string | undefined {
  let best: string | undefined;
  for (const candidate of hosts)
    if (covers(candidate, host) && (best === undefined || mostSpecificFirst(candidate, best) < 0)) best = candidate;
  return best;
}

/** The longest name that DNS has. A longer host is no service's, and all wildcards over it would cost its length squared. */
const longestName = 255;

/** The host and every wildcard over it that starts at a dot, most specific first: a.b.c, *.b.c, *.c, *. */
export function coveringHosts(host: string): readonly string[] {
  if (host.length > longestName) return [host, "*"];
  const hosts = [host];
  for (let dot = host.indexOf(".", 1); dot >= 0; dot = host.indexOf(".", dot + 1)) {
    const wildcard = `*${host.slice(dot)}`;
    if (wildcard !== host) hosts.push(wildcard);
  }
  if (host !== "*") hosts.push("*");
  return hosts;
}

/** The coveringHosts of several hosts, each once. */
export function coveringHostsOfAll(hosts: readonly string[]): Iterable<string> {
  const [first] = hosts;
  return first !== undefined && hosts.length === 1 ? coveringHosts(first) : new Set(hosts.flatMap(coveringHosts));
}

/**
 * The key under which an index holds a host, so that the coveringHosts of every host that it covers include it: the
 * host itself; for `*-api.com`, which starts within a label, the wildcard above it.
 */
export function hostKey(host: string): string {
  if (!isWildcard(host) || host === "*" || host.startsWith("*.")) return host;
  const dot = host.indexOf(".");
  return dot < 0 ? "*" : `*${host.slice(dot)}`;
}

/**
 * The namespace of a Kubernetes service's host, in this cluster's domain or as a multi-cluster service; undefined for
 * all others (Istio pkg/config/host and pilot/pkg/serviceregistry/kube/conversion.go ServiceHostname).
 */
export function namespaceOfHost(host: string, domain: string): string | undefined {
  if (isWildcard(host)) return undefined;
  for (const end of [`.svc.${domain}`, ".svc.clusterset.local"]) {
    if (!host.endsWith(end)) continue;
    const [service, namespace, more] = host.slice(0, -end.length).split(".");
    return service !== "" && more === undefined && namespace !== "" ? namespace : undefined;
  }
  return undefined;
}
