import { absent, type Evidence } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import type { AnyObject } from "../../kube/object.ts";
import { doubtOfTraffic, doubtReads } from "../../mesh/gateways/arrival-ports.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { hostOfRule } from "../../mesh/traffic/destination-rules.ts";
import { fullHost, isWildcard, namespaceOfHost } from "../../mesh/traffic/hosts.ts";
import { missingHost } from "../../mesh/traffic/missing-host.ts";
import { fixFor, fixOf, general, messageOf, policiesBehind, type Target } from "../../mesh/traffic/missing-subset.ts";
import {
  callersAskedFor,
  isWithoutSidecars,
  namespacesWithoutSidecars,
  routing,
} from "../../mesh/traffic/subset-clients.ts";
import { type SubsetFailure, subsetFailures } from "../../mesh/traffic/subset-failures.ts";
import { hostOfSubsets, subsetsOfHost } from "../../mesh/traffic/subset-targets.ts";
import { anyOtherNamespace } from "../../mesh/traffic/subsets.ts";
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

/** The pods of a namespace decide whether a problem is denied, and not whether there is one. */
const withoutSidecars = forWording(namespacesWithoutSidecars);
const apart = forWording(routedApart);
/** These pods decide what a change of a DestinationRule takes from somebody, and not whether there is a problem. */
const aside = forWording(isWithoutSidecars);

export const virtualServiceSubsetNotFound = defineRule({
  id: "virtual-service-subset-not-found",
  subject: "VirtualService",
  // The sidecars of the root namespace follow every VirtualService, and are no clients that one is meant for.
  reads: [routing, subsetsOfHost, targetHost, withoutSidecars, apart, aside, ...doubtReads, setting("rootNamespace")],
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
      "No client follows the route, all workloads of the Service's namespace are gateways or outside the mesh while others have the subset, the Gateway does not offer its host, nothing is routed to the subset, or the namespaces of the clients are not known.",
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
          : subsetFailures(mesh.get(routing, virtualService), traffic, {
              subset,
              subsets,
              isAside: (name) => mesh.get(aside, name),
            });
        known.failures.set(key, failures);
        mesh.visited(failures.length);
      }
      if (failures.length > 0)
        yield* problemsOf(failures, {
          traffic,
          namespace: virtualService.metadata.namespace,
          doubt: failures.some(isShown) ? doubtOfTraffic(traffic, virtualService, mesh) : undefined,
          target: { ...mesh.get(targetHost, known.host), subset },
          settings,
          hasNoSidecars: (namespace) => mesh.get(withoutSidecars, virtualService).has(namespace),
          isApart: (namespace) => mesh.get(apart, virtualService).has(namespace),
        });
    }
  },
});

const none: readonly SubsetFailure[] = [];
const isShown = ({ unseen }: SubsetFailure): boolean => unseen !== "not offered";

/** A host of destinations of one VirtualService, and the look-up results of clients by subset and callers. */
interface KnownHost {
  readonly host: string;
  readonly subsets: TargetHost["subsets"];
  readonly failures: SmallMap<string, readonly SubsetFailure[]>;
}

/** The place where a subset is used. */
interface Asked {
  readonly traffic: Traffic;
  /** That of the VirtualService. */
  readonly namespace: string;
  /** Why requests may not reach the route. */
  readonly doubt: string | undefined;
  readonly target: Target & TargetHost;
  readonly settings: MeshSettings;
  /** Whether a namespace has gateways and workloads outside the mesh alone, which do not follow what sidecars follow. */
  readonly hasNoSidecars: (namespace: string) => boolean;
  /** Whether ztunnel alone sends the requests of a namespace, and waypoints of other namespaces apply the routes. */
  readonly isApart: (namespace: string) => boolean;
}

function* problemsOf(found: readonly SubsetFailure[], asked: Asked): Iterable<Problem> {
  const { traffic, target, doubt } = asked;
  const failures = sidecarsApart(found);
  const shown = failures.filter(isShown);
  const isOfEveryone = shown.length === 1 && target.subsets.isNowhere(target.subset);
  const first = shown.length < 2 ? undefined : shown.find((failure) => standsForRest(failure, asked));
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
    if (isSaidBy(first, failure, asked)) problem.like = likeOthers(target);
    else addOthers(problem, failure, target, isWarning);
    addGateway(problem, failure, target, isWarning);
    if (failure.ownerInstead !== undefined) problem.related = [failure.ownerInstead];
    addLimit(problem, onlyWarns, target);
    yield problem;
  }
  yield* coveringAll(failures, target);
  yield* lackedByAll(shown, target, doubt);
}

function addLimit(problem: Writable, onlyWarns: string | undefined, { subsets, subset }: Target): void {
  if (onlyWarns === undefined) return;
  problem.onlyWarns = onlyWarns;
  if (onlyWarns === noSidecars && !subsets.isNowhere(subset)) problem.harmsNobody = othersHaveIt;
}

/** What takes a subset that nobody has from nobody. */
function* lackedByAll(shown: readonly SubsetFailure[], target: Target, doubt: string | undefined): Iterable<Problem> {
  if (!target.subsets.isNowhere(target.subset)) return;
  yield* apartForNow(shown, target, doubt);
  yield* movableToNoGateway(shown, target, doubt !== undefined);
}

/**
 * Failures of clients that look up different DestinationRules become one for everybody when these go. Those of all other namespaces are
 * among them, so nobody is left who had the subset.
 */
function* apartForNow(shown: readonly SubsetFailure[], target: Target, doubt: string | undefined): Iterable<Problem> {
  if (
    shown.length < 2 ||
    !shown.some((failure) => failure.client?.namespace === anyOtherNamespace && isOfOthers(failure))
  )
    return;
  const ofAll = new Set(shown.map(({ isGrave }) => everyone(target, !isGrave || doubt !== undefined)));
  yield { at: [], message: "no client has the subset", latent: true, alsoFor: [...ofAll, likeOthers(target)] };
}

type Writable = { -readonly [Field in keyof Problem]: Problem[Field] };

const notGrave = "the requests for which the route is meant may not fail";
const noSidecars = "no workload of the namespace has a sidecar, and only sidecars follow the route there";
const othersHaveIt = "the clients of the route have the subset, and nothing in this namespace follows the route";
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

/** Whether a failure stands for all other sidecars, and is of clients that have sidecars and are intended to use the route. */
const standsForRest = (failure: SubsetFailure, asked: Asked): boolean =>
  failure.standsForAll &&
  failure.standsFor !== undefined &&
  failure.isGrave &&
  followedByNobody({ ...failure, standsForAll: false }, asked) === undefined &&
  !isThroughEntry(failure, asked);

/**
 * Whether the clients of a failure are like all others for which another one stands: none has a sidecar, or they are intended to use the
 * route only because a ServiceEntry of their namespace defines the host too.
 */
const isSaidBy = (first: SubsetFailure | undefined, failure: SubsetFailure, asked: Asked): boolean =>
  first !== undefined &&
  first !== failure &&
  failure.client !== undefined &&
  failure.client.gateway === undefined &&
  failure.standsFor === first.standsFor &&
  (asked.hasNoSidecars(failure.client.namespace) || isThroughEntry(failure, asked));

function isThroughEntry({ client, root }: SubsetFailure, { target, settings, namespace }: Asked): boolean {
  if (client === undefined || client.gateway !== undefined) return false;
  const own = [root?.metadata.namespace ?? namespace, namespaceOfHost(target.target, settings.domain)];
  return !own.includes(client.namespace);
}

/**
 * A Gateway that goes, or the last of its pods, takes the subset from nobody: either gateways lacked it before, or no request came through
 * them. A Gateway that offers the host from now on, or gets pods, does not have the requests fail that came before.
 */
function addGateway(problem: Writable, { client, unseen }: SubsetFailure, target: Target, isWarning: boolean): void {
  const state = unseen ?? (client?.gateway && "seen");
  if (state === undefined) return;
  const { like, isGone, hasNoPods } = keysOfGateways(target, isWarning);
  const also = { seen: [...isGone, hasNoPods], pods: isGone, Gateway: [like, hasNoPods], "not offered": isGone };
  problem.alsoFor = [...(problem.alsoFor ?? []), ...also[state]];
  if (state === "seen") return;
  problem.key = keyOfGateways(target, state, isWarning);
  problem.like = like;
  if (state === "not offered") problem.latent = true;
}

function keysOfGateways(target: Target, isWarning: boolean) {
  const like = keyOfGateways(target, "gateways", false);
  const isGone = [like, keyOfGateways(target, "Gateway", true), keyOfGateways(target, "Gateway", false)];
  return { like, isGone, hasNoPods: keyOfGateways(target, "pods", isWarning) };
}
const keyOfGateways = ({ host, subset }: Target, of: string, isWarning: boolean): string =>
  JSON.stringify([host, subset, of, isWarning]);

/** If nobody has the subset, sidecars lose nothing when the VirtualService goes from them to gateways through which no request comes. */
function* movableToNoGateway(shown: readonly SubsetFailure[], target: Target, isWarning: boolean): Iterable<Problem> {
  if (!shown.some(({ client }) => client !== undefined && client.gateway === undefined)) return;
  const { isGone, hasNoPods } = keysOfGateways(target, isWarning);
  yield { at: [], message: "no sidecar has the subset", latent: true, alsoFor: [...isGone, hasNoPods] };
}

/** A sidecar that gets the route from now on takes nothing from gateways: if other sidecars fail, their failure tells of it. */
function sidecarsApart(failures: readonly SubsetFailure[]): readonly SubsetFailure[] {
  const isOfGateway = ({ client }: SubsetFailure): boolean => client?.gateway !== undefined;
  const isToldBySidecars = failures.some((failure) => failure.standsForAll && !isOfGateway(failure));
  if (!isToldBySidecars || !failures.some(isOfGateway)) return failures;
  return failures.map((failure) => (isOfGateway(failure) ? { ...failure, standsForAll: false } : failure));
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
  return [everyone(target, isWarning), ...ofAll, ...ofOthers];
}

const everyone = ({ host, subset }: Target, isWarning: boolean): string =>
  JSON.stringify([host, subset, "everyone", isWarning]);

/** Of clients that the route is not intended for, unless it is for no others. */
const isOfOthers = ({ client }: SubsetFailure): boolean =>
  client !== undefined && client.gateway === undefined && !client.isServed;

/**
 * Clients that have the subset lose nothing if it goes where Sidecars keep them from the route, or none has a sidecar: then the problem of
 * the others stands for them as well.
 */
function* coveringAll(failures: readonly SubsetFailure[], target: Target): Iterable<Problem> {
  if (failures.some(({ coversAll, standsForAll }) => coversAll && !standsForAll))
    yield {
      at: [],
      message: "no client that uses the route has the subset",
      latent: true,
      alsoFor: [likeOthers(target)],
    };
}

/** The same for all of them, whatever their namespace. */
const likeOthers = ({ host, subset }: Target): string => JSON.stringify([host, subset, "others", true]);

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
