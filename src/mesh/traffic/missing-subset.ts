import { idOf } from "../../kube/identity.ts";
import type { ObjectOf } from "../../kube/object.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { endsWithDot, withoutDot } from "./aliased-hosts.ts";
import type { DestinationRule } from "./destination-rules.ts";
import { hasRoutesFor } from "./host-owners.ts";
import type { MissingHost } from "./missing-host.ts";
import { policiesOf } from "./policy-rules.ts";
import type { SubsetFailure } from "./subset-failures.ts";
import { anyOtherNamespace, type SubsetLookup, type SubsetTarget } from "./subsets.ts";
import type { Traffic } from "./virtual-services.ts";

/** A host and a subset that a VirtualService sends requests to, as messages need it. */
export interface Target extends SubsetTarget {
  /** The host whose DestinationRules decide, which is the host itself or the one that it is another name for. */
  readonly target: string;
  /** The ExternalName, if it is another name. */
  readonly aliases: readonly ObjectOf<"Service">[];
  /** Whether the host has not the form of a Service's and no ServiceEntry defines it, so that requests fail anyway. */
  readonly isUnknown: boolean;
  /** If nothing defines the host, for certain; virtual-service-destination-not-found leaves it to this rule then. Texts alone need it. */
  readonly missing: () => MissingHost | undefined;
}

/** The fix where nothing is known of the case. */
export const general =
  "Correct the name of the subset, or define it in the DestinationRule before it is used. To remove a subset, remove its last use first.";

export function messageOf({ client, lookup }: SubsetFailure, target: Target, isOfEveryone: boolean): string {
  const { subset, isUnknown } = target;
  const host = hostInWords(target);
  const who = clientsNamed(client, lookup.definedFor === "some");
  if (isUnknown)
    return `Host ${host} names no Service and no ServiceEntry${isOfEveryone ? "" : ` for ${who}`}, so it has no subset "${subset}"`;
  if (lookup.used.length === 0 && lookup.made.length > 0)
    return `Subset "${subset}" of ${host} does not exist${isOfEveryone ? "" : ` for ${who}`}: the DestinationRule that istiod makes of ${policiesNamed(lookup)} defines no subset`;
  if (lookup.used.length === 0)
    return `No DestinationRule${isOfEveryone ? "" : ` that ${who} use`} for ${host} defines subset "${subset}"`;
  const names = namesOf(lookup.used);
  const defines = `${names} ${lookup.used.length === 1 ? "defines" : "define"} ${listed(lookup.subsets)}`;
  return `Subset "${subset}" of ${host} does not exist${isOfEveryone ? "" : ` for ${who}`}: DestinationRule ${defines}`;
}

/** The BackendTLSPolicies that give the clients a DestinationRule. */
export const policiesBehind = ({ made }: SubsetLookup) => made.flatMap(policiesOf);
const policiesNamed = (lookup: SubsetLookup): string => policiesBehind(lookup).map(idOf).sort().join(" and ");

const hostInWords = ({ host, target }: Target): string =>
  host === target ? `"${host}"` : `"${target}", for which "${host}" is another name,`;

const named = new WeakMap<readonly DestinationRule[], string>();

/** The result is stored, because many subsets can be missing in the same rules. */
function namesOf(rules: readonly DestinationRule[]): string {
  let names = named.get(rules);
  if (names === undefined) {
    names = rules.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`).join(" and ");
    named.set(rules, names);
  }
  return names;
}

function clientsNamed(client: SubsetFailure["client"], isForSome: boolean): string {
  if (client === undefined) return "its clients";
  if (client.namespace === anyOtherNamespace) return "clients in other namespaces";
  if (client.gateway !== undefined) return `gateway pods in "${client.namespace}"`;
  return `${isForSome ? "some workloads" : "clients"} in "${client.namespace}"`;
}

/** Enough to see a misspelling; a generated rule may define hundreds. */
const maxListed = 10;
function listed(subsets: readonly string[]): string {
  if (subsets.length === 0) return "no subset";
  const shown = subsets.slice(0, maxListed).map((name) => JSON.stringify(name));
  return [...shown, ...(subsets.length > maxListed ? ["…"] : [])].join(", ");
}

/** Undefined: the general one. */
export const fixOf = (failure: SubsetFailure, target: Target, settings: MeshSettings): string | undefined =>
  target.isUnknown ? hostFix(target, settings.domain) : (subsetFix(failure, target, settings) ?? missingFix(target));

/** `fix`: if the clients follow the VirtualService. */
export function fixFor(
  { client, ownerInstead }: SubsetFailure,
  fix: string | undefined,
  { protocol }: Traffic,
): string {
  if (ownerInstead === undefined) return fix ?? general;
  const { namespace, name } = ownerInstead.metadata;
  const owner = `VirtualService ${namespace}/${name}`;
  const instead = hasRoutesFor(ownerInstead, client?.namespace ?? "", protocol)
    ? `These clients follow ${owner}, which is for the same hosts, so the route has no effect until that is gone.`
    : `${owner} is for the same wildcard and comes first, although it has no route for these clients, so they follow neither for a known host until that is gone.`;
  return `${instead} ${fix ?? "Correct the name of the subset, or define it in the DestinationRule that they use."}`;
}

/** `reviews.prod` is not completed, although a client would resolve it. */
function hostFix({ host, target, missing }: Target, domain: string): string {
  if (host !== target)
    return endsWithDot(target)
      ? withoutDot
      : `Create a ServiceEntry for "${target}", and a DestinationRule with the subset.`;
  const [name, namespace, ...more] = host.split(".");
  const isShort = name && namespace && (more.length === 0 || (more.length === 1 && more[0] === "svc"));
  const create = "create a ServiceEntry for the host first";
  const known = missing()?.fix;
  if (known !== undefined) return `${known} For a host outside the cluster, ${create}.`;
  return isShort
    ? `Write the full name of the Service: Istio completes only names without a dot, so "${host}" is not "${name}.${namespace}.svc.${domain}". For a host outside the cluster, ${create}.`
    : `Correct the host, or ${create}.`;
}

/** A host that nothing defines is the mistake, rather than its subset. */
function missingFix({ missing }: Target): string | undefined {
  const found = missing();
  return (
    found &&
    `${found.message}. ${found.fix ?? "Correct the host, or create its Service, and a DestinationRule with the subset, before it is routed to."}`
  );
}

function subsetFix(
  { lookup }: SubsetFailure,
  { target: host, subset, subsets }: Target,
  { rootNamespace }: MeshSettings,
): string | undefined {
  if (host !== host.toLowerCase()) return "Write the host in lower case, as the service is named.";
  const elsewhere = subsets.rules.defining(subset).filter((rule) => !lookup.used.includes(rule));
  // Sorted, because the view has them in the order in which it met them.
  const [first] = elsewhere.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`).sort();
  const isLookedUp = (namespace: string) => namespace === rootNamespace || subsets.serviceNamespaces.has(namespace);
  const [made] = lookup.used.length === 0 ? lookup.made : [];
  if (made !== undefined) {
    const instead = `Define the subset in a DestinationRule for "${host}" in namespace "${made.metadata.namespace}", which istiod merges with it.`;
    return first === undefined
      ? instead
      : `DestinationRule ${first} defines "${subset}", but these clients use the one that istiod makes of ${policiesNamed(lookup)}. ${instead}`;
  }
  if (first === undefined) return undefined;
  const [owner] = subsets.serviceNamespaces;
  if (owner !== undefined && !elsewhere.some(({ metadata }) => isLookedUp(metadata.namespace)))
    return `DestinationRule ${first} defines "${subset}", but clients use that of their own namespace or of the Service's, and no other. Define the subset in namespace "${owner}", or export the VirtualService only to the clients that it is for and to its gateways (spec.exportTo).`;
  return `DestinationRule ${first} defines "${subset}", but these clients do not use it. Export it to them (spec.exportTo), or define the subset in the DestinationRule that they use.`;
}
