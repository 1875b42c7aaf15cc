import type { Labels } from "../../kube/object.ts";
import { KeptIn } from "../../view/kept-in.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { type SelectorGroup, SelectorGroups, selectorText } from "../objects/selector-groups.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { type Coverage, coverageOf, noCoverage, together } from "./coverage.ts";
import {
  actionOf,
  attachesToGateway,
  type AuthorizationPolicy,
  type GatewayTarget,
  podLabelsOf,
  opensToEveryone,
  scopeOf,
  entriesTargeted,
  servicesTargeted,
  targetRefsOf,
} from "./policies.ts";
import { matchedBy, namesItsCallers } from "./reach.ts";
import { listChange, type NamedList } from "./requests/applied.ts";
import { mayGain } from "./requests/changed-rules.ts";
import { places } from "./requests/matches.ts";
import { noOrdinary } from "./requests/ordinary.ts";
import { type Enforcer, enforcers } from "./rules.ts";

type Policies = readonly AuthorizationPolicy[];
type Group = SelectorGroup<AuthorizationPolicy>;

/** Policies without targetRefs by the workloads that they apply to. attachesToLabels is the definition for one policy. */
interface Selection {
  /** Apply to every workload. */
  readonly wide: Policies;
  /** Have a selector without matchLabels, which selects every workload with a proxy, and none at ztunnel. */
  readonly wideAtProxies: Policies;
  readonly selecting: readonly (readonly [Labels, AuthorizationPolicy])[];
}

/** Policies by their targetRefs. */
interface Targets {
  readonly byName: ReadonlyMap<string, Policies>;
  readonly byService: ReadonlyMap<string, Policies>;
  readonly byEntry: ReadonlyMap<string, Policies>;
  /** Policies that target a GatewayClass. */
  readonly ofClasses: Policies;
}

/** Which effects the policies on workloads have, regardless of the data plane. */
export interface PolicyKinds {
  /** Some policy denies by default, perhaps together with others. */
  readonly denies: boolean;
  /** Some ALLOW policy allows requests of unnamed callers, perhaps all of them together with others. */
  readonly opens: boolean;
}

const sets = new KeptIn<Policies, { readonly settings: MeshSettings; readonly set: PolicySet }>();

/** The set of a list. If a change touches no policy of a namespace, the list and the set are the same before and after. */
export function policySetOf(policies: Policies, settings: MeshSettings): PolicySet {
  // All empty lists are the same one, and what a set keeps would grow.
  if (policies.length === 0) return new PolicySet(policies, settings);
  let known = sets.get(policies);
  if (known?.settings !== settings)
    sets.set(policies, (known = { settings, set: new PolicySet(policies.toSorted(byName), settings) }));
  return known.set;
}

/** Policies of one kind decide alike in any order. Which one is named, and how requests are divided, is the same for each replica. */
const byName = ({ metadata: a }: AuthorizationPolicy, { metadata: b }: AuthorizationPolicy): number =>
  a.name < b.name ? -1 : Number(a.name > b.name);

/** Enforced policies of one namespace. Each policy is evaluated once, regardless of the number of workloads. */
export class PolicySet {
  readonly policies: Policies;
  readonly #settings: MeshSettings;
  readonly #passedOver: ReadonlySet<AuthorizationPolicy>;
  readonly #atProxies = new Coverages();
  readonly #atZtunnel = new Coverages();
  readonly #ofNamed = new Map<string, Coverage>();
  #selection: Selection | undefined;
  #groups: SelectorGroups<AuthorizationPolicy> | undefined;
  #targets: Targets | undefined;
  #ofClasses: Coverage | undefined;
  #kinds: PolicyKinds | undefined;
  #opening: Policies | undefined;
  #openScopes: ReadonlySet<string> | undefined;
  #compared: { readonly other: PolicySet; readonly isSame: boolean } | undefined;
  #edited: { readonly other: PolicySet; readonly isWithoutGain: boolean } | undefined;

  /** Policies in `passedOver` are treated as if they allowed nobody. */
  constructor(policies: Policies, settings: MeshSettings, passedOver: ReadonlySet<AuthorizationPolicy> = new Set()) {
    this.policies = policies;
    this.#settings = settings;
    this.#passedOver = passedOver;
  }

  /** The coverage of workloads that no policy selects. */
  wide(enforcer: Enforcer): Coverage {
    const known = this.#coverages(enforcer);
    if (known.wide === undefined) {
      const { wide, wideAtProxies } = this.#selected();
      const own = this.#coverageOf(wide, enforcer);
      known.wide = enforcer === "proxy" ? together(own, this.#coverageOf(wideAtProxies, enforcer)) : own;
    }
    return known.wide;
  }

  /** The coverage of a workload that has exactly these labels. */
  ofLabels(labels: Labels, enforcer: Enforcer): Coverage {
    if (this.#selected().selecting.length === 0) return this.wide(enforcer);
    const { ofGroups } = this.#coverages(enforcer);
    const groups = this.groups.selecting(labels);
    let found = ofGroups.get(groups);
    if (found === undefined) {
      found = groups.reduce((sum, group) => together(sum, this.#ofGroup(group, enforcer)), this.wide(enforcer));
      ofGroups.set(groups, found);
    }
    return found;
  }

  ofGateway(gateway: GatewayTarget): Coverage {
    const { name, isWaypoint } = gateway;
    const key = JSON.stringify(gateway);
    let found = this.#ofNamed.get(key);
    if (found === undefined) {
      const named = this.#targeted().byName.get(name) ?? [];
      const own = named.filter((policy) => attachesToGateway(policy, gateway, this.#settings));
      const others = isWaypoint ? this.#ofWaypoints() : this.ofLabels(podLabelsOf(gateway), "proxy");
      this.#ofNamed.set(key, (found = together(this.#coverageOf(own, "proxy"), others)));
    }
    return found;
  }

  /** The coverage of a Service of this namespace by the policies that target it. */
  ofService(name: string): Coverage {
    return this.#coverageOf(this.#targeted().byService.get(name) ?? [], "proxy");
  }

  /** The coverage of a ServiceEntry of this namespace by the policies that target it. */
  ofEntry(name: string): Coverage {
    return this.#coverageOf(this.#targeted().byEntry.get(name) ?? [], "proxy");
  }

  /** The policies that apply to a workload with these labels. The lists are the same ones for all labels with the same policies. */
  listsOfLabels(labels: Labels, enforcer: Enforcer): readonly NamedList[] {
    const groups = this.groups.selecting(labels);
    const { lists } = this.#coverages(enforcer);
    let found = lists.get(groups);
    if (found === undefined) {
      const { wide, wideAtProxies } = this.#selected();
      found = [
        { name: "", policies: wide },
        { name: "proxies", policies: enforcer === "proxy" ? wideAtProxies : [] },
        ...groups.map((group) => ({ name: selectorText(group.labels), policies: group.members })),
      ];
      lists.set(groups, found);
    }
    return found;
  }

  listsOfGateway(gateway: GatewayTarget): readonly NamedList[] {
    const { name, isWaypoint } = gateway;
    const named = [...(this.#targeted().byName.get(name) ?? []), ...(isWaypoint ? this.#targeted().ofClasses : [])];
    const own = [...new Set(named)].filter((policy) => attachesToGateway(policy, gateway, this.#settings));
    const others = isWaypoint ? [] : this.listsOfLabels(podLabelsOf(gateway), "proxy");
    return [{ name: "targets", policies: own }, ...others];
  }

  listsOfService(name: string): readonly NamedList[] {
    return [{ name: "service", policies: this.#targeted().byService.get(name) ?? [] }];
  }

  listsOfEntry(name: string): readonly NamedList[] {
    return [{ name: "entry", policies: this.#targeted().byEntry.get(name) ?? [] }];
  }

  /** The Services of this namespace that policies target, those of the oldest policy first. */
  get servicesTargeted(): Iterable<string> {
    return this.#targeted().byService.keys();
  }

  /** The same for ServiceEntries. */
  get entriesTargeted(): Iterable<string> {
    return this.#targeted().byEntry.keys();
  }

  /** The policies with a selector. */
  get groups(): SelectorGroups<AuthorizationPolicy> {
    return (this.#groups ??= new SelectorGroups(this.#selected().selecting));
  }

  /** The policies that apply to every workload captured by ztunnel. */
  get wideAtZtunnel(): Policies {
    return this.#selected().wide;
  }

  /** The policies that allow everyone if a proxy enforces them. */
  get opening(): Policies {
    return (this.#opening ??= this.policies.filter((policy) => opensToEveryone(policy, this.#settings)));
  }
  /** Their scopes. */
  get openScopes(): ReadonlySet<string> {
    return (this.#openScopes ??= new Set(this.opening.map(scopeOf)));
  }

  /** Whether the other set has the same policies, unchanged. */
  isSame(other: PolicySet): boolean {
    if (this === other) return true;
    if (this.#compared?.other !== other) {
      const known = new Set(other.policies);
      const isSame = known.size === this.policies.length && this.policies.every((policy) => known.has(policy));
      this.#compared = { other, isSame };
    }
    return this.#compared.isSame;
  }

  /** Whether policies of the other set were only edited, in the same scope, so that nobody gains anything. */
  isEditWithoutGain(other: PolicySet): boolean {
    if (this.#edited?.other !== other) {
      const change = listChange(other.policies, this.policies);
      const [old, now] = [change.gone.map(scopeOf), change.come.map(scopeOf)];
      const isSameScope = old.length === 1 && now.length === 1 && old[0] === now[0];
      const isWithoutGain =
        isSameScope &&
        places.every(
          (place) => !mayGain(change, { place, settings: other.#settings }, { place, settings: this.#settings }),
        );
      this.#edited = { other, isWithoutGain };
    }
    return this.#edited.isWithoutGain;
  }

  get kinds(): PolicyKinds {
    return (this.#kinds ??= kindsOf(this.policies, this.#settings, this.#passedOver));
  }

  #coverages(enforcer: Enforcer): Coverages {
    return enforcer === "proxy" ? this.#atProxies : this.#atZtunnel;
  }

  #ofGroup(group: Group, enforcer: Enforcer): Coverage {
    const { ofGroup } = this.#coverages(enforcer);
    let found = ofGroup.get(group);
    if (found === undefined) ofGroup.set(group, (found = this.#coverageOf(group.members, enforcer)));
    return found;
  }

  /** The coverage of any waypoint by the policies that target its class. */
  #ofWaypoints(): Coverage {
    const any = { name: "", namespace: "", isWaypoint: true };
    return (this.#ofClasses ??= this.#coverageOf(
      this.#targeted().ofClasses.filter((policy) => attachesToGateway(policy, any, this.#settings)),
      "proxy",
    ));
  }

  #coverageOf(policies: Policies, enforcer: Enforcer): Coverage {
    if (policies.length === 0) return noCoverage;
    return policies.reduce((sum, policy) => together(sum, this.#ofPolicy(policy, enforcer)), noCoverage);
  }

  #ofPolicy(policy: AuthorizationPolicy, enforcer: Enforcer): Coverage {
    const matched = matchedBy(policy, enforcer, this.#settings);
    const isAllow = actionOf(policy) === "ALLOW";
    if (isAllow && matched.reach === "everyone" && this.#passedOver.has(policy)) return noCoverage;
    return coverageOf(policy, isAllow, matched);
  }

  #selected(): Selection {
    return (this.#selection ??= selectionOf(this.policies));
  }
  #targeted(): Targets {
    return (this.#targets ??= targetsOf(this.policies));
  }
}

/** What is computed so far for one data plane. */
class Coverages {
  wide: Coverage | undefined;
  readonly ofGroup = new Map<Group, Coverage>();
  /** Labels that the same policies select share a list of groups. */
  readonly ofGroups = new Map<readonly Group[], Coverage>();
  readonly lists = new Map<readonly Group[], readonly NamedList[]>();
}

function selectionOf(policies: Policies): Selection {
  const [wide, wideAtProxies]: [AuthorizationPolicy[], AuthorizationPolicy[]] = [[], []];
  const selecting: (readonly [Labels, AuthorizationPolicy])[] = [];
  for (const policy of policies) {
    if (targetRefsOf(policy).length > 0) continue;
    const { selector } = policy.spec;
    if (selector === undefined) wide.push(policy);
    else if (selector.matchLabels === undefined) wideAtProxies.push(policy);
    else if (isEmpty(selector.matchLabels)) wide.push(policy);
    else selecting.push([selector.matchLabels, policy]);
  }
  return { wide, wideAtProxies, selecting };
}

function isEmpty(labels: Labels): boolean {
  for (const _ in labels) return false;
  return true;
}

function targetsOf(policies: Policies): Targets {
  const targeting = policies.filter((policy) => targetRefsOf(policy).length > 0).sort(oldestFirst);
  return {
    byName: byNames(targeting, (policy) => targetRefsOf(policy).map(({ name }) => name)),
    byService: byNames(targeting, servicesTargeted),
    byEntry: byNames(targeting, entriesTargeted),
    ofClasses: targeting.filter((policy) => targetRefsOf(policy).some(({ kind }) => kind === "GatewayClass")),
  };
}

function byNames(policies: Policies, namesOf: (policy: AuthorizationPolicy) => readonly string[]) {
  const found = new Map<string, AuthorizationPolicy[]>();
  for (const policy of policies)
    for (const name of new Set(namesOf(policy))) {
      const known = found.get(name);
      if (known === undefined) found.set(name, [policy]);
      else known.push(policy);
    }
  return found;
}

function kindsOf(
  policies: Policies,
  settings: MeshSettings,
  passedOver: ReadonlySet<AuthorizationPolicy>,
): PolicyKinds {
  let [denies, opens] = [false, false];
  for (const policy of policies) {
    if (targetRefsOf(policy).length > 0) continue;
    const kinds = kindsOfOne(policy, settings);
    denies ||= kinds.denies;
    opens ||= kinds.opens && !passedOver.has(policy);
  }
  return { denies, opens };
}

function kindsOfOne(policy: AuthorizationPolicy, settings: MeshSettings): PolicyKinds {
  const isAllow = actionOf(policy) === "ALLOW";
  // Such a policy matches no ordinary request, and its rules need not be read for that.
  if (namesItsCallers(policy)) return { denies: isAllow, opens: false };
  const matched = enforcers.map((enforcer) => matchedBy(policy, enforcer, settings));
  const isOrdinary = matched.some(({ ordinary }) => ordinary !== noOrdinary);
  return isAllow
    ? { denies: matched.some(({ reach }) => reach !== "everyone"), opens: isOrdinary }
    : { denies: isOrdinary, opens: false };
}
