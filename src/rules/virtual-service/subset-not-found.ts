import { absent, type Evidence } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { AnyObject, ObjectOf } from "../../kube/object.ts";
import { doubtOfTraffic, doubtReads } from "../../mesh/gateways/arrival-ports.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { endsWithDot, withoutDot } from "../../mesh/traffic/aliased-hosts.ts";
import { type DestinationRule, hostOfRule } from "../../mesh/traffic/destination-rules.ts";
import { hasRoutesFor } from "../../mesh/traffic/host-owners.ts";
import { fullHost, isWildcard } from "../../mesh/traffic/hosts.ts";
import { type MissingHost, missingHost } from "../../mesh/traffic/missing-host.ts";
import { policiesOf } from "../../mesh/traffic/policy-rules.ts";
import { callersAskedFor, namespacesWithoutSidecars, routing } from "../../mesh/traffic/subset-clients.ts";
import { type SubsetFailure, subsetFailures } from "../../mesh/traffic/subset-failures.ts";
import { hostOfSubsets, subsetsOfHost } from "../../mesh/traffic/subset-targets.ts";
import { anyOtherNamespace, type SubsetLookup, type SubsetTarget } from "../../mesh/traffic/subsets.ts";
import { type Traffic, trafficOf } from "../../mesh/traffic/virtual-services.ts";
import { routedApart } from "../../mesh/waypoints/subsets-at-waypoints.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { SmallMap } from "../../view/small-map.ts";
import { fact, forWording, setting } from "../../view/view.ts";

/** A host of destinations, and what was said of its subsets: many VirtualServices can name the same one. */
interface TargetHost extends Omit<Target, "subset"> {
  readonly said: SmallMap<string, Said>;
}

/** A host without a subset that a VirtualService sends requests to, as messages need it. */
const targetHost = fact("targetHost", "key", [hostOfSubsets, subsetsOfHost, missingHost], (said, mesh): TargetHost => {
  const { host, alias } = mesh.get(hostOfSubsets, said);
  const subsets = mesh.get(subsetsOfHost, said);
  const isUnknown = subsets.serviceNamespaces.size === 0 && !isWildcard(host) && mesh.knows("ServiceEntry");
  const missing = () => {
    const found = mesh.get(missingHost, said);
    return found?.isPartial === true ? undefined : found;
  };
  return { host: said, target: host, aliases: alias ? [alias] : [], subsets, isUnknown, missing, said: new SmallMap() };
});

const general =
  "Correct the name of the subset, or define it in the DestinationRule before it is used. To remove a subset, remove its last use first.";

/** The pods of a namespace decide whether a problem is denied, and not whether there is one. */
const withoutSidecars = forWording(namespacesWithoutSidecars);
const apart = forWording(routedApart);

export const virtualServiceSubsetNotFound = defineRule({
  id: "virtual-service-subset-not-found",
  subject: "VirtualService",
  // The sidecars of the root namespace follow every VirtualService, and are no clients that one is meant for.
  reads: [routing, subsetsOfHost, targetHost, withoutSidecars, apart, ...doubtReads, setting("rootNamespace")],
  worksWithout: ["Gateway", "Service", "ServiceEntry", "Workload", "Sidecar", "KubernetesGateway"],
  mode: "deny",
  since: "0.1.0",
  tags: ["canary"],
  summary:
    "A destination or mirror with traffic names a subset that the DestinationRule its clients use does not define.",
  why: "Envoy has no cluster for such a subset and answers 503 (Istio pilot/pkg/networking/core/route/route.go GetDestinationCluster). Clients use one DestinationRule: that of their own namespace, else of the service's, else of the root namespace (pilot/pkg/model/push_context.go destinationRule).",
  fix: general,
  incident: {
    symptoms: ["no-cluster"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Only the share of the requests that goes to this subset fails; a mirror to it fails silently.",
    wayOut:
      "Apply the previous version of the VirtualService or of the DestinationRule, or give the weight of the subset to another one. Meshward admits both.",
    silentWhen:
      "No client follows the route, the Gateway does not offer its host, nothing is routed to the subset, or the namespaces of the clients are not known.",
    page: "https://istio.io/latest/docs/ops/common-problems/network-issues/",
  },

  *check(virtualService, mesh) {
    const { settings } = mesh;
    if (!isServed(virtualService, settings)) return;
    // Many routes use the same subset.
    const hosts = new SmallMap<string, KnownHost>();
    for (const traffic of trafficOf(virtualService)) {
      const { host: said, subset } = traffic.destination;
      if (!subset) continue;
      let known = hosts.get(said);
      if (known === undefined) {
        const host = fullHost(said, virtualService.metadata.namespace, settings.domain);
        known = { host, subsets: mesh.get(subsetsOfHost, host), failures: new SmallMap() };
        hosts.set(said, known);
      }
      const callers = callersAskedFor(traffic);
      const key = callers === "" ? subset : `${subset}\n${callers}`;
      let failures = known.failures.get(key);
      if (failures === undefined) {
        const { subsets } = known;
        failures = subsets.isDefinedForAll(subset)
          ? none
          : subsetFailures(mesh.get(routing, virtualService), traffic, { subset, subsets });
        known.failures.set(key, failures);
        mesh.visited(failures.length);
      }
      if (failures.length > 0)
        yield* problemsOf(failures, {
          traffic,
          doubt: doubtOfTraffic(traffic, virtualService, mesh),
          target: { ...mesh.get(targetHost, known.host), subset },
          settings,
          hasNoSidecars: (namespace) => mesh.get(withoutSidecars, virtualService).has(namespace),
          isApart: (namespace) => mesh.get(apart, virtualService).has(namespace),
        });
    }
  },
});

const none: readonly SubsetFailure[] = [];

interface Target extends SubsetTarget {
  /** The host whose DestinationRules decide, which is the host itself or the one that it is another name for. */
  readonly target: string;
  /** The ExternalName, if it is another name. */
  readonly aliases: readonly ObjectOf<"Service">[];
  /** Whether the host has not the form of a Service's and no ServiceEntry defines it, so that requests fail anyway. */
  readonly isUnknown: boolean;
  /** If nothing defines the host, for certain; virtual-service-destination-not-found leaves it to this rule then. Texts alone need it. */
  readonly missing: () => MissingHost | undefined;
}

/** A host of destinations of one VirtualService, and the look-up results of clients by subset and callers. */
interface KnownHost {
  readonly host: string;
  readonly subsets: TargetHost["subsets"];
  readonly failures: SmallMap<string, readonly SubsetFailure[]>;
}

/** The place where a subset is used. */
interface Asked {
  readonly traffic: Traffic;
  /** Why requests may not reach the route. */
  readonly doubt: string | undefined;
  readonly target: Target & TargetHost;
  readonly settings: MeshSettings;
  /** Whether a namespace has gateways and workloads outside the mesh alone, which do not follow what sidecars follow. */
  readonly hasNoSidecars: (namespace: string) => boolean;
  /** Whether ztunnel alone sends the requests of a namespace, and waypoints of other namespaces apply the routes. */
  readonly isApart: (namespace: string) => boolean;
}

function* problemsOf(failures: readonly SubsetFailure[], asked: Asked): Iterable<Problem> {
  const { traffic, target, doubt } = asked;
  const isOfEveryone = failures.length === 1 && target.subsets.isNowhere(target.subset);
  for (const failure of failures) {
    const isWarning = !failure.isGrave || doubt !== undefined;
    const onlyWarns = isWarning ? (doubt ?? notGrave) : followedByNobody(failure, asked);
    const said = saidOf(failure, asked, { isWarning, isOfEveryone });
    // Without spread objects, because a DestinationRule can have tens of thousands of such problems.
    const problem: Writable = {
      at: [...traffic.at, "subset"],
      message: () => said.message,
      key: said.key,
      evidence: said.evidence,
      fix: () => fixFor(failure, said.fix, traffic),
    };
    addOthers(problem, failure, target, isWarning);
    if (failure.ownerInstead !== undefined) problem.related = [failure.ownerInstead];
    if (onlyWarns !== undefined) problem.onlyWarns = onlyWarns;
    yield problem;
  }
}

type Writable = { -readonly [Field in keyof Problem]: Problem[Field] };

const notGrave = "the requests for which the route is meant may not fail";
const noSidecars = "no workload of the namespace has a sidecar, and only sidecars follow the route there";
const onlyWaypoints = "the namespace has only ambient clients, and waypoints in other namespaces apply the route";

interface Weight {
  readonly isWarning: boolean;
  /** Whether no client has the subset, and one failure stands for all. */
  readonly isOfEveryone: boolean;
}

/** The result is stored where it depends on the namespace of the clients alone, because thousands of routes can have it. */
function saidOf(failure: SubsetFailure, asked: Asked, weight: Weight): Said {
  const { client, root } = failure;
  const { subset, said } = asked.target;
  if (client === undefined || client.gateway !== undefined || root !== undefined)
    return new Said(failure, asked, weight);
  const key = `${subset}\n${client.namespace}\n${weight.isWarning} ${weight.isOfEveryone}`;
  let known = said.get(key);
  if (known === undefined) said.set(key, (known = new Said(failure, asked, weight)));
  return known;
}

/** What is the same for all VirtualServices whose clients do not find the subset. Most of such problems are counted and not shown. */
class Said {
  readonly key: string;
  readonly evidence: readonly Evidence[];
  readonly #failure: SubsetFailure;
  readonly #target: Target;
  readonly #settings: MeshSettings;
  readonly #isOfEveryone: boolean;
  #message: string | undefined;
  #fix: { readonly text: string | undefined } | undefined;

  constructor(failure: SubsetFailure, asked: Asked, { isWarning, isOfEveryone }: Weight) {
    const { host, subset, subsets } = asked.target;
    this.key = JSON.stringify([host, subset, failure.client?.namespace, failure.lookup.definedFor, isWarning]);
    this.evidence = witnessesOf(failure, asked, subsets.isNowhere(subset));
    this.#failure = failure;
    this.#target = asked.target;
    this.#settings = asked.settings;
    this.#isOfEveryone = isOfEveryone;
  }

  get message(): string {
    return (this.#message ??= messageOf(this.#failure, this.#target, this.#isOfEveryone));
  }
  get fix(): string | undefined {
    return (this.#fix ??= { text: fixOf(this.#failure, this.#target, this.#settings) }).text;
  }
}

/** Why only sidecars follow the route there, and none is known; undefined: they may be there. */
function followedByNobody({ client, standsForAll }: SubsetFailure, asked: Asked): string | undefined {
  if (client === undefined || client.gateway !== undefined) return undefined;
  // The sidecars of all other namespaces fail as well.
  if (asked.hasNoSidecars(client.namespace)) return standsForAll ? undefined : noSidecars;
  return asked.isApart(client.namespace) ? onlyWaypoints : undefined;
}

function addOthers(problem: Writable, failure: SubsetFailure, target: Target, isWarning: boolean): void {
  const isForOthers = failure.standsFor !== undefined;
  if (isForOthers) problem.alsoFor = alsoFor(failure, target, isWarning);
  if (isForOthers || isOfOthers(failure)) problem.like = likeOthers(target);
}

/** If nobody has the subset, one problem stands for clients that are reported apart if somebody has it. */
function alsoFor(
  { standsFor = [], standsForAll }: SubsetFailure,
  target: Target,
  isWarning: boolean,
): readonly string[] {
  const { host, subset } = target;
  const ofOthers = standsFor.map((namespace) => JSON.stringify([host, subset, namespace, "none", true]));
  const ofAll = standsForAll ? [likeOthers(target)] : [];
  return [JSON.stringify([host, subset, "everyone", isWarning]), ...ofAll, ...ofOthers];
}

/** Of clients that the route is not intended for. */
const isOfOthers = ({ client, isGrave }: SubsetFailure): boolean =>
  client !== undefined && client.gateway === undefined && !client.isServed && !isGrave;

/** The same for all of them, whatever their namespace. */
const likeOthers = ({ host, subset }: Target): string => JSON.stringify([host, subset, "others", true]);

function messageOf({ client, lookup }: SubsetFailure, target: Target, isOfEveryone: boolean): string {
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
const policiesBehind = ({ made }: SubsetLookup) => made.flatMap(policiesOf);
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
const fixOf = (failure: SubsetFailure, target: Target, settings: MeshSettings): string | undefined =>
  target.isUnknown ? hostFix(target, settings.domain) : (subsetFix(failure, target, settings) ?? missingFix(target));

/** `fix`: if the clients follow the VirtualService. */
function fixFor({ client, ownerInstead }: SubsetFailure, fix: string | undefined, { protocol }: Traffic): string {
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

/** The evidence: the DestinationRules without the subset, or the namespaces in which one for this host may be missing. */
function witnessesOf({ client, lookup, root }: SubsetFailure, asked: Asked, isNowhere: boolean): readonly Evidence[] {
  const { target, settings } = asked;
  const [used] = lookup.used;
  const places = new Set([...target.subsets.serviceNamespaces, settings.rootNamespace]);
  if (client !== undefined && client.namespace !== anyOtherNamespace) places.add(client.namespace);
  const isMissing = used === undefined || isWildcard(hostOfRule(used, settings));
  const missing = isMissing ? [...places].map((namespace) => absent("DestinationRule", namespace)) : [];
  // The gateway finds no subset in any namespace, so its namespace does not matter.
  const gateway: readonly AnyObject[] =
    client?.gateway === undefined || isNowhere ? [] : [client.gateway.gateway, client.gateway.workload];
  const others = [...missing, ...gateway, ...(root ? [root] : []), ...target.aliases, ...policiesBehind(lookup)];
  return others.length === 0 ? lookup.used : [...lookup.used, ...others];
}
