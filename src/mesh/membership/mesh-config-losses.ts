import type { MeshConfigFields } from "../../kube/mesh-config.ts";
import {
  acceptedTrustDomains,
  addedAuthorities,
  type AuthorizationProvider,
  authorizationProvidersOf,
  normalizationOf,
  normalizesLess,
  ownTrustDomains,
  trustDomainOf,
} from "./mesh-config.ts";

/** What a change of the mesh config takes away, regardless of the namespace. */
export interface MeshConfigLosses {
  readonly newDomains: ReadonlyMap<string, "alias" | "certificate">;
  readonly newAuthorities: readonly string[];
  readonly lostDomains: Readonly<Record<"proxies" | "ztunnel", ReadonlySet<string>>>;
  readonly normalization: string | undefined;
  readonly providers: ReadonlyMap<string, ProviderChange>;
  readonly disablesInterception: boolean;
}
export interface ProviderChange {
  readonly text: string;
  readonly onlyWarns?: string;
  readonly fix?: string;
}
const compared = new WeakMap<
  MeshConfigFields,
  { readonly before: MeshConfigFields; readonly losses: MeshConfigLosses }
>();

/** Many namespaces have the same two mesh configs, which are compared once. */
export function lossesBetween(before: MeshConfigFields, after: MeshConfigFields): MeshConfigLosses {
  const known = compared.get(after);
  if (known?.before === before) return known.losses;
  const isIntercepting = ({ defaultConfig }: MeshConfigFields) => defaultConfig?.interceptionMode !== "NONE";
  const [domain, otherDomain] = [trustDomainOf(before), trustDomainOf(after)];
  const losses: MeshConfigLosses = {
    newDomains: newTrustDomains(before, after),
    newAuthorities: newAuthorities(before, after),
    lostDomains: {
      proxies: ownTrustDomains(before).difference(ownTrustDomains(after)),
      // ztunnel knows no aliases.
      ztunnel: new Set(domain === otherDomain ? [] : [domain]),
    },
    normalization: normalizesLess(before, after)
      ? `${normalizationOf(after)} instead of ${normalizationOf(before)}`
      : undefined,
    providers: providerChanges(authorizationProvidersOf(before), authorizationProvidersOf(after)),
    disablesInterception: isIntercepting(before) && !isIntercepting(after),
  };
  compared.set(after, { before, losses });
  return losses;
}

/** The trust domains whose identities count as those of the mesh only since a change, or whose certificates are accepted since then. */
export function newTrustDomains(
  before: MeshConfigFields,
  after: MeshConfigFields,
): ReadonlyMap<string, "alias" | "certificate"> {
  // The mesh's own certificate authority issues the identities of its own trust domain, whatever its name.
  const known = new Set([...acceptedTrustDomains(before), trustDomainOf(after)]);
  const aliases = ownTrustDomains(after).difference(ownTrustDomains(before));
  const added = [...acceptedTrustDomains(after)].filter((domain) => !known.has(domain));
  return new Map(
    [...added, ...aliases]
      .filter((domain) => domain !== trustDomainOf(after))
      .map((domain) => [domain, aliases.has(domain) ? "alias" : "certificate"]),
  );
}

/** The certificate authorities that a change adds, as texts that follow "accept certificates of". */
export const newAuthorities = (before: MeshConfigFields, after: MeshConfigFields): readonly string[] => [
  ...new Set([...addedAuthorities(after).difference(addedAuthorities(before))].map(formatAuthority)),
];
const formatAuthority = (authority: string): string =>
  /^\w+:\/\/\S+$/.test(authority)
    ? `the certificate authority ${JSON.stringify(authority)}`
    : "one more certificate authority";

function providerChanges(
  before: ReadonlyMap<string, AuthorizationProvider>,
  after: ReadonlyMap<string, AuthorizationProvider>,
): ReadonlyMap<string, ProviderChange> {
  const changes = new Map<string, ProviderChange>();
  for (const [name, was] of before) {
    const is = after.get(name);
    const provider = `extension provider ${JSON.stringify(name)}`;
    const change =
      is === undefined
        ? {
            text: "no longer exists",
            onlyWarns: "requests are rejected, so that nobody gains access",
            fix: fixOfMissing,
          }
        : changeOf(was, is);
    if (change !== undefined) changes.set(name, { ...change, text: `${provider} ${change.text}` });
  }
  return changes;
}
const fixOfMissing =
  "A policy whose provider does not exist denies every request that it asks about. Delete the policy first, or keep the provider.";

/** The most severe change of a provider; its text is a predicate. */
function changeOf(was: AuthorizationProvider, is: AuthorizationProvider): ProviderChange | undefined {
  if (is.failsOpen && !was.failsOpen) return { text: "lets requests pass when it does not answer" };
  if (is.cluster !== was.cluster)
    return {
      text: `calls ${JSON.stringify(is.calls)} instead of ${JSON.stringify(was.calls)}`,
      onlyWarns: "it is not known whether the other service decides differently",
      fix: "Check that the other service refuses what the one before refused, and show the change to the owner of the namespace.",
    };
  const [written] = was.writes.difference(is.writes);
  if (written !== undefined)
    return {
      text: `no longer writes header ${JSON.stringify(written)}, so that clients can write it themselves`,
      onlyWarns: "it is not known whether an application or a policy trusts the header",
      fix: `Keep ${JSON.stringify(written)} in headersToUpstreamOnAllow of the provider as long as an application or a policy trusts the header.`,
    };
  const seen = lostOfRequest(was, is);
  if (seen === undefined) return undefined;
  return {
    text: `no longer sees ${seen} of a request`,
    onlyWarns: "it is not known whether the provider needs it",
    fix: "Keep showing it to the provider, unless its decisions do not depend on it.",
  };
}

function lostOfRequest(was: AuthorizationProvider, is: AuthorizationProvider): string | undefined {
  if (was.seesAllHeaders && !is.seesAllHeaders) return "all headers";
  return [...was.sees.difference(is.sees)].find((seen) => !is.seesAllHeaders || !seen.startsWith("header "));
}
