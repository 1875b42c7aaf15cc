import type { ObjectOf } from "../../kube/object.ts";

/**
 * Resolves a host as Istio does: a name without a dot gets the namespace of the object that contains it. `*`, IP
 * addresses and every name with a dot stay unchanged, so `reviews.prod` matches no service (Istio
 * pilot/pkg/model/config.go ResolveShortnameToFQDN).
 */
export function fullHost(host: string, namespace: string, domain: string): string {
  // Without a dot, only an IPv6 address contains a colon.
  if (host === "" || host === "*" || host.includes(".") || host.includes(":")) return host;
  return `${host}.${namespace}.svc.${domain}`;
}

/**
 * The hosts that a Service may mean as people write it: a name of this namespace, `reviews.prod`, `reviews.prod.svc`, or a whole host,
 * which the first two can be, too.
 */
export function hostsMeant(name: string, namespace: string, domain: string): readonly string[] {
  const ofCluster = /^[^.]+\.[^.]+(\.svc)?$/.exec(name);
  if (ofCluster === null) return [fullHost(name, namespace, domain)];
  return [`${name}${ofCluster[1] === undefined ? ".svc" : ""}.${domain}`, name];
}

/** Istio pkg/config/host/name.go IsWildCarded: `*`, `*.com`, and also `*-api.com`. */
export const isWildcard = (host: string): boolean => host.startsWith("*");

/** Whether every name that `host` matches is also matched by `pattern` (Istio pkg/config/host/name.go SubsetOf). */
export function covers(pattern: string, host: string): boolean {
  if (!isWildcard(pattern)) return pattern === host;
  if (!isWildcard(host)) return host.endsWith(pattern.slice(1));
  return host.length >= pattern.length && host.slice(1).endsWith(pattern.slice(1));
}

/** Whether some name is matched by both (Istio pkg/config/host/name.go Matches). */
export const overlaps = (a: string, b: string): boolean => covers(a, b) || covers(b, a);

/** Exact hosts first, then the longer ones, then by letter (Istio pkg/config/host/names.go MoreSpecific). */
export function mostSpecificFirst(a: string, b: string): number {
  return Number(isWildcard(a)) - Number(isWildcard(b)) || b.length - a.length || (a < b ? -1 : Number(a > b));
}

/**
 * The entry of `hosts` that istiod selects for a host: the host itself, else the most specific wildcard that matches it;
 * undefined if none does (Istio pilot/pkg/model/config.go MostSpecificHostMatch).
 */
export function mostSpecificHost(host: string, hosts: Iterable<string>): string | undefined {
  let best: string | undefined;
  for (const candidate of hosts)
    if (covers(candidate, host) && (best === undefined || mostSpecificFirst(candidate, best) < 0)) best = candidate;
  return best;
}

/**
 * The longest wildcard that is used as a key, in labels. All wildcards of a host with thousands of labels cost
 * quadratic time.
 */
const deepestKey = 16;

/**
 * The host and the wildcards that match it and start at a dot, most specific first: a.b.c, *.b.c, *.c, *. Wildcards of
 * more than 16 labels are left out; hostKey takes that into account.
 */
export function coveringHosts(host: string): readonly string[] {
  if (host === "*") return [host];
  const wildcards: string[] = ["*"];
  for (let dot = host.lastIndexOf("."); dot > 0 && wildcards.length <= deepestKey; dot = host.lastIndexOf(".", dot - 1))
    wildcards.push(`*${host.slice(dot)}`);
  if (wildcards.at(-1) !== host) wildcards.push(host);
  return wildcards.reverse();
}

/** The second of the coveringHosts, without the others: `*.b.c` for a.b.c; undefined for `*`. */
export function wildcardOver(host: string): string | undefined {
  let [dot, labels] = [host.indexOf(".", 1), 0];
  const first = dot;
  while (dot > 0 && labels <= deepestKey) [dot, labels] = [host.indexOf(".", dot + 1), labels + 1];
  if (isWildcard(host) || labels > deepestKey) return coveringHosts(host)[1];
  return first < 0 ? "*" : `*${host.slice(first)}`;
}

/** The coveringHosts of several hosts, each once. */
export function coveringHostsOfAll(hosts: readonly string[]): Iterable<string> {
  const [first] = hosts;
  return first !== undefined && hosts.length === 1 ? coveringHosts(first) : new Set(hosts.flatMap(coveringHosts));
}

/**
 * The key of a host in an index. The coveringHosts of every host that it matches include this key. It is the host
 * itself; for `*-api.com`, which starts within a label, the next wider wildcard; for one of more than 16 labels, the
 * wildcard of 16 labels.
 */
export function hostKey(host: string): string {
  if (!isWildcard(host)) return host;
  let start = host.length;
  for (let labels = 0; labels < deepestKey && start > 0; labels++) {
    const dot = host.lastIndexOf(".", start - 1);
    if (dot < 0) break;
    start = dot;
  }
  return `*${host.slice(start)}`;
}

/**
 * The namespace in the host of a Kubernetes service, of this cluster's domain or of a multi-cluster service; undefined
 * for all other hosts (Istio pkg/config/host and pilot/pkg/serviceregistry/kube/conversion.go ServiceHostname).
 */
export function namespaceOfHost(host: string, domain: string): string | undefined {
  if (isWildcard(host)) return undefined;
  const dot = host.indexOf(".");
  if (dot < 0) return undefined;
  const end = host.indexOf(".", dot + 1);
  // `.svc.${domain}`, compared without making the text, because the hosts of a whole mesh can be asked for.
  const isOfCluster = host.endsWith(domain) && host.endsWith(".svc.", host.length - domain.length);
  const length = isOfCluster ? 5 + domain.length : host.endsWith(multiCluster) ? multiCluster.length : 0;
  // Two labels and nothing else before the end.
  if (length === 0 || end !== host.length - length) return undefined;
  return dot > 0 && end > dot + 1 ? host.slice(dot + 1, end) : undefined;
}
const multiCluster = ".svc.clusterset.local";

/** The host name of a Service (Istio pilot/pkg/serviceregistry/kube/conversion.go ServiceHostname). */
export const hostOfService = ({ metadata }: ObjectOf<"Service">, domain: string): string =>
  hostOfServiceNamed(metadata, domain);
/** The same of a Service that something names. */
export const hostOfServiceNamed = (
  { namespace, name }: { readonly namespace: string; readonly name: string },
  domain: string,
): string => `${name}.${namespace}.svc.${domain}`;
