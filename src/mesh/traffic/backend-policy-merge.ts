import type { ObjectOf } from "../../kube/object.ts";

type DestinationRule = ObjectOf<"DestinationRule">;
type TrafficPolicy = NonNullable<DestinationRule["spec"]["trafficPolicy"]>;
type Entry = TrafficPolicy["portLevelSettings"][number];

/** Where a setting of a merged traffic policy is from: a rule, and the position of its entry for the port, if it is for one. */
export interface SettingPlace {
  readonly rule: DestinationRule | undefined;
  readonly entry: number | undefined;
}

const made = new WeakSet<DestinationRule>();

/** Marks a DestinationRule that istiod makes of policies of the Gateway API (Istio pilot/pkg/model/destination_rule.go isBackendPolicyDestinationRule). */
export function asMadeOfPolicies(rule: DestinationRule): DestinationRule {
  made.add(rule);
  return rule;
}
export const isMadeOfPolicies = (rule: DestinationRule): boolean => made.has(rule);

/** A traffic policy of several rules, and where its settings are from. */
export interface FilledPolicy {
  readonly policy: TrafficPolicy;
  /** The rule with the tls for all ports. */
  readonly wide: DestinationRule | undefined;
  readonly entries: readonly SettingPlace[];
  /** The rules that have a part in it. Of one that sets nothing that is read, this is not known, and it is among them. */
  readonly sources: ReadonlySet<DestinationRule>;
}

/**
 * The traffic policy of a rule that istiod makes of policies, merged with those of users, newest first and the made one last. It is the
 * first of its host, and what is merged into it takes precedence, so that of several rules of users the newest counts. Each field and
 * each entry for a port that it does not have is that of the next one, and a field that the entry does not have too (Istio
 * pilot/pkg/model/destination_rule.go mergeDestinationRule, mergeBackendPolicyTrafficPolicy, mergeBackendPolicyPortLevelSettings).
 */
export function filledPolicy(newestFirst: readonly DestinationRule[]): FilledPolicy {
  const ports = new PortEntries();
  let policy = filled({}, {});
  let wide: DestinationRule | undefined;
  const sources = new Set<DestinationRule>();
  for (const rule of newestFirst) {
    const { trafficPolicy } = rule.spec;
    if (trafficPolicy === undefined) continue;
    const isOfPorts = ports.add(rule, trafficPolicy.portLevelSettings);
    if (isOfPorts || fillsAny(policy, trafficPolicy) || setsNothing(trafficPolicy)) sources.add(rule);
    if (policy.tls === undefined && trafficPolicy.tls !== undefined) wide = rule;
    policy = filled(policy, trafficPolicy);
  }
  return {
    policy: { ...policy, portLevelSettings: ports.entries },
    wide,
    entries: ports.places,
    sources,
  };
}

type Fields = Partial<Omit<TrafficPolicy, "portLevelSettings">>;

function filled(own: Fields, other: Fields): TrafficPolicy {
  return {
    tls: own.tls ?? other.tls,
    connectionPool: own.connectionPool ?? other.connectionPool,
    outlierDetection: own.outlierDetection ?? other.outlierDetection,
    loadBalancer: own.loadBalancer ?? other.loadBalancer,
    proxyProtocol: own.proxyProtocol ?? other.proxyProtocol,
    portLevelSettings: [],
  };
}

const fields = ["tls", "connectionPool", "outlierDetection", "loadBalancer"] as const;
const fillsAny = (own: Fields, other: Fields): boolean =>
  fields.some((field) => own[field] === undefined && other[field] !== undefined);

/** Nothing that is read. */
const setsNothing = (policy: TrafficPolicy): boolean => policy.portLevelSettings.length === 0 && !fillsAny({}, policy);

class PortEntries {
  readonly entries: Entry[] = [];
  readonly places: SettingPlace[] = [];
  /** By port the position of the entry that later rules fill, of several in one rule the last. */
  readonly #open = new Map<number | undefined, number>();

  /** Whether any of the entries has an effect. */
  add(rule: DestinationRule, entries: readonly Entry[]): boolean {
    let isFilling = false;
    const added = new Map<number | undefined, number>();
    for (const [entry, one] of entries.entries()) {
      const port = one.port?.number;
      const open = this.#open.get(port);
      if (open !== undefined) isFilling = this.#fill(open, one, { rule, entry }) || isFilling;
      else {
        added.set(port, this.entries.length);
        this.entries.push(one);
        this.places.push({ rule, entry });
      }
    }
    for (const [port, i] of added) this.#open.set(port, i);
    return isFilling || added.size > 0;
  }

  #fill(i: number, other: Entry, place: SettingPlace): boolean {
    const own = this.entries[i] as Entry;
    if (own.tls === undefined && other.tls !== undefined) this.places[i] = place;
    const { portLevelSettings: _, ...both } = filled(own, other);
    this.entries[i] = { ...both, port: own.port };
    return fillsAny(own, other);
  }
}
