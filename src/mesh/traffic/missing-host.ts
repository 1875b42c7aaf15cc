import { nearest } from "../../text/nearest.ts";
import { fact, type MeshView } from "../../view/view.ts";
import { isWildcard, namespaceOfHost } from "./hosts.ts";
import {
  isCoveredByWildcard,
  isRegistryComplete,
  isUndefinedHost,
  mostNamesakes,
  namesNearby,
  neighbours,
  registeredHost,
  registryReads,
} from "./registry.ts";

/** Validation refuses wildcards, and hosts of a cluster set may be in another cluster. */
export const isLookedUp = (host: string): boolean =>
  host !== "" && !isWildcard(host) && !host.endsWith(".svc.clusterset.local");

const isMissing = (host: string, mesh: MeshView<typeof registeredHost>): boolean =>
  isLookedUp(host) && isUndefinedHost(mesh.get(registeredHost, host));

/** What to say of a host that nothing defines. */
export interface MissingHost {
  readonly message: string;
  /** Undefined: nothing is known that is meant. */
  readonly fix: string | undefined;
  /** The namespace that would have the Service; undefined: the host has not the form of a Service's. */
  readonly namespace: string | undefined;
  /** What is not known, so that the host may exist; undefined: it does not. */
  readonly guess: string | undefined;
  /** Whether Services or ServiceEntries are known to be missing, which is why it is a guess. */
  readonly isPartial: boolean;
}

/**
 * A host (as istiod resolves it) that a VirtualService sends requests to and that nothing known defines; undefined: something
 * defines it.
 */
export const missingHost = fact("missingHost", "key", registryReads, (host, mesh): MissingHost | undefined =>
  isMissing(host, mesh) ? described(host, mesh) : undefined,
);

function described(host: string, mesh: MeshView<(typeof registryReads)[number]>): MissingHost {
  const namespace = namespaceOfHost(host, mesh.settings.domain);
  const { hasOthers, namesakes } = mesh.get(neighbours, host);
  const isWild = isCoveredByWildcard(host, mesh);
  const message = isWild
    ? `Only a wildcard of a ServiceEntry covers "${host}", and Envoy has no cluster for the host itself`
    : `"${host}" is no Service and no ServiceEntry`;
  const fix = fixFor(host, { namespace, namesakes, isWild }, mesh) ?? fixOfFew(host, namespace, mesh);
  const found = { message, fix, namespace, isPartial: false };
  if (!isRegistryComplete(mesh)) return { ...found, ...amongSome(host, namesakes, mesh) };
  const guess = namespace !== undefined && !hasOthers ? `the Services of namespace ${namespace}` : undefined;
  return { ...found, guess };
}

/** What is said where only some Services are known: nothing, unless the host is almost that of one of these. */
function amongSome(
  host: string,
  namesakes: readonly string[],
  mesh: MeshView<typeof namesNearby>,
): Pick<MissingHost, "guess" | "isPartial"> & { readonly fix?: string } {
  const [, second = ""] = host.split(".");
  const { domain } = mesh.settings;
  const namespace = namespaceOfHost(host, domain);
  // The Service itself, of which the host names the namespace without the domain, or misspelt.
  if ((namespace !== undefined || isShort(host)) && isMisspelt(second, nearest(second, namesakes)))
    return { guess: undefined, isPartial: false };
  const fix = fixOfMisspelt(host, namespace, mesh);
  return fix === undefined
    ? { guess: "all Services and ServiceEntries", isPartial: true }
    : { guess: undefined, isPartial: false, fix };
}

/** An object can name thousands of hosts, and each is compared with the names of the Services, if they are not more than these. */
const mostCompared = 256;

const fixOfFew = (
  host: string,
  namespace: string | undefined,
  mesh: MeshView<typeof namesNearby>,
): string | undefined =>
  namespace !== undefined && mesh.get(namesNearby, namespace).size <= mostCompared
    ? fixOfMisspelt(host, namespace, mesh)
    : undefined;

/** Names the Service of the same namespace that is meant; undefined: none is known. */
function fixOfMisspelt(
  host: string,
  namespace: string | undefined,
  mesh: MeshView<typeof namesNearby>,
): string | undefined {
  const [name = ""] = host.split(".", 1);
  const near = namespace === undefined ? undefined : mesh.get(namesNearby, namespace).nearest(name);
  return isMisspelt(name, near) ? `Did you mean "${near}.${namespace}.svc.${mesh.settings.domain}"?` : undefined;
}

/** Whether a name is that of another by mistake. */
const isMisspelt = (name: string, near: string | undefined): boolean => near !== undefined && !areBeside(name, near);

/** Whether two names are such as exist beside each other: `cart-v1` and `cart-v2`, `shop-eu` and `shop-us`, `web` and `wep`. */
function areBeside(one: string, other: string): boolean {
  if (one === other) return false;
  const [parts, others] = [partsOf(one), partsOf(other)];
  return (
    parts.length === others.length &&
    parts.every((part, i) => part === others[i] || Math.max(part.length, others[i]?.length ?? 0) < 4)
  );
}

/** Numbers do not tell names apart. */
const partsOf = (name: string): readonly string[] => name.replaceAll(/\d/g, "").split("-");

interface Known {
  readonly namespace: string | undefined;
  readonly namesakes: readonly string[];
  readonly isWild: boolean;
}

function fixFor(host: string, { namespace, namesakes, isWild }: Known, { settings }: MeshView): string | undefined {
  const [name = "", second] = host.split(".");
  if (isWild) return `Add a ServiceEntry for "${host}", or route to the wildcard itself with tls or resolution NONE.`;
  const hostsIn = (namespaces: readonly string[]) =>
    namespaces.map((one) => `"${name}.${one}.svc.${settings.domain}"`).join(" or ");
  if (namespace === undefined && second !== undefined && isShort(host))
    return `Write the full name: Istio completes only names without a dot. Did you mean ${hostsIn(meantBy(second, namesakes))}?`;
  const others = namesakes.filter((one) => one !== namespace);
  if (others.length === 0) return undefined;
  return `Write the host of the Service that exists. Did you mean ${hostsIn(others)}?`;
}

/** Whether a host names a Service and a namespace without the domain, which istiod does not complete. */
const isShort = (host: string): boolean => /^[^.]+\.[^.]+(?:\.svc)?$/.test(host);

/** The namespaces that may be meant by one that is named: others, if all Services of that name are known to be elsewhere. */
const meantBy = (named: string, namesakes: readonly string[]): readonly string[] =>
  namesakes.includes(named) || namesakes.length === 0 || namesakes.length >= mostNamesakes ? [named] : namesakes;
