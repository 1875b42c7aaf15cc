import type { Labels } from "../../kube/object.ts";
import type { RulesOverHost, UsedDestinationRules } from "../traffic/destination-rules-of-host.ts";
import type { MergedDestinationRule } from "../traffic/destination-rule-merge.ts";
import type { DestinationRule } from "../traffic/destination-rules.ts";
import { selects } from "../objects/selectors.ts";
import { type ClientTlsChoice, clientTlsOf, portsApart } from "./client-tls.ts";
import type { Destination } from "./destinations.ts";
import { anyOther, otherThan, type Reach, type TlsPath } from "./paths.ts";

type Merged = MergedDestinationRule | undefined;
type Subset = DestinationRule["spec"]["subsets"][number];

/** The part of a path whose clients did not send plaintext to its destinations before. */
export interface NewPart {
  /** Namespaces of clients, in groups; `""`: every namespace that no rule names. */
  readonly clients: ReadonlySet<readonly string[]>;
  readonly destinations: ReadonlySet<Destination>;
}

/** Clients that used the same rules before a change, and that use the same rules after it. */
interface Alike {
  readonly before: UsedDestinationRules;
  readonly after: UsedDestinationRules;
  readonly namespaces: string[];
}

/** Destinations for which the same rules were used before a change. */
interface Together {
  /** Undefined: no rule set TLS for them. */
  readonly before: RulesOverHost | undefined;
  readonly after: RulesOverHost;
  readonly destinations: Destination[];
}

/**
 * Compares the plaintext that clients send to the services of a namespace with that before a change: for each service and
 * client namespace, at each port, and for the labels of clients. It does not matter which rule or which of its fields made
 * them send plaintext before.
 */
export class PlaintextBefore {
  readonly #namespace: string;
  readonly #byHost: ReadonlyMap<string, Destination>;
  readonly #together = new Map<readonly Destination[], readonly Together[]>();
  readonly #alike = new Map<Together, Map<readonly string[], readonly Alike[]>>();
  readonly #ports = new Map<Together, ReadonlySet<number>>();

  constructor(namespace: string, before: readonly Destination[]) {
    this.#namespace = namespace;
    this.#byHost = new Map(before.map((destination) => [destination.host, destination]));
  }

  /** Undefined: the clients of the path sent plaintext before. */
  newIn({ reaches, choice }: TlsPath): NewPart | undefined {
    const clients = new Set<readonly string[]>();
    const destinations = new Set<Destination>();
    const enter = (groups: readonly (readonly string[])[], { destinations: reached }: Together) => {
      for (const group of groups) clients.add(group);
      for (const destination of groups.length > 0 ? reached : []) destinations.add(destination);
    };
    for (const reach of reaches)
      for (const together of this.#togetherIn(reach.destinations))
        enter(this.#newClients(reach, choice, together), together);
    return clients.size === 0 ? undefined : { clients, destinations };
  }

  #togetherIn(destinations: readonly Destination[]): readonly Together[] {
    const known = this.#together.get(destinations);
    if (known !== undefined) return known;
    const found = new Map<RulesOverHost | undefined, Map<RulesOverHost, Together>>();
    for (const destination of destinations) {
      const before = this.#byHost.get(destination.host)?.rules;
      const ofBefore = found.get(before) ?? new Map<RulesOverHost, Together>();
      found.set(before, ofBefore);
      const after = destination.rules;
      const together = ofBefore.get(after) ?? { before, after, destinations: [] };
      ofBefore.set(after, together);
      together.destinations.push(destination);
    }
    const all = [...found.values()].flatMap((ofBefore) => [...ofBefore.values()]);
    this.#together.set(destinations, all);
    return all;
  }

  #newClients(reach: Reach, choice: ClientTlsChoice, together: Together): readonly (readonly string[])[] {
    const { before, after } = together;
    if (before === undefined)
      return reach.clients.filter(
        ([client = anyOther]) => !isShadowed(reach.used, after.usedBy(client, this.#namespace)),
      );
    const found: (readonly string[])[] = [];
    for (const group of reach.clients) {
      const alike = this.#alikeIn(group, together);
      const fresh = alike.filter((some) => this.#isNew(some, reach, choice, together));
      // The whole group is named by its own list, which other paths share.
      if (fresh.length === alike.length) found.push(group);
      else if (fresh.length > 0) found.push(fresh.flatMap(({ namespaces }) => namespaces));
    }
    return found;
  }

  /** A group of namespaces, divided by the rules that they used before. */
  #alikeIn(group: readonly string[], together: Together): readonly Alike[] {
    const ofTogether = this.#alike.get(together) ?? new Map<readonly string[], readonly Alike[]>();
    this.#alike.set(together, ofTogether);
    let found = ofTogether.get(group);
    if (found === undefined) ofTogether.set(group, (found = this.#divided(group, together)));
    return found;
  }

  #divided(group: readonly string[], { before, after }: Together): readonly Alike[] {
    const found = new Map<UsedDestinationRules, Alike>();
    // A namespace that only rules before the change name is one of the others after it.
    const gone = group.includes(anyOther) && before !== undefined ? namedOnlyBy(before, after) : [];
    for (const client of [...group, ...gone]) {
      const used = before?.usedBy(client, this.#namespace) ?? [];
      const alike = found.get(used) ?? { before: used, after: after.usedBy(client, this.#namespace), namespaces: [] };
      found.set(used, alike);
      alike.namespaces.push(client);
    }
    return [...found.values()];
  }

  #isNew({ before, after }: Alike, { used, except }: Reach, choice: ClientTlsChoice, together: Together): boolean {
    const ports = this.#portsOf(together);
    const isPlain = (merged: Merged) => isPlaintext(merged, choice, { ports, except });
    const { selector } = used;
    if (isShadowed(used, after)) return false;
    const others = earlierThan(before, selector, isPlain).filter(
      (merged) => !isPlain(merged) && (merged === undefined || !isShadowed(merged, before)),
    );
    return others.some((merged) => {
      const labels = merged?.selector;
      if (labels === undefined) return true;
      return (selector === undefined || areCompatible(labels, selector)) && !keepsRule(labels, selector, after);
    });
  }

  /** The ports of the destinations, in one set. Empty: they are not known. */
  #portsOf(together: Together): ReadonlySet<number> {
    let found = this.#ports.get(together);
    if (found === undefined) {
      found = new Set(together.destinations.flatMap(({ ports }) => ports));
      this.#ports.set(together, found);
    }
    return found;
  }
}

/** The client namespaces that some of these rules name, and none of the others. */
function namedOnlyBy(rules: RulesOverHost, others: RulesOverHost): readonly string[] {
  const named = new Set(namesIn(others));
  return [...new Set(namesIn(rules))].filter((name) => !named.has(name));
}

const namesIn = (over: RulesOverHost): readonly string[] =>
  over.rules.flatMap(({ metadata, spec }) => [
    metadata.namespace,
    ...spec.exportTo.filter((to) => to !== "*" && to !== "."),
  ]);

/** The rules before the first plaintext one that selects all workloads with these labels; the others were not used for them. */
function earlierThan(
  used: UsedDestinationRules,
  selector: Labels | undefined,
  isPlain: (merged: Merged) => boolean,
): UsedDestinationRules {
  const end = used.findIndex(
    (merged) =>
      selector !== undefined && merged?.selector !== undefined && selects(merged.selector, selector) && isPlain(merged),
  );
  return end < 0 ? used : used.slice(0, end);
}

/** Whether an earlier rule selects all workloads that this one selects. */
function isShadowed(used: MergedDestinationRule, among: UsedDestinationRules): boolean {
  const { selector } = used;
  if (selector === undefined) return false;
  return among.find((other) => other?.selector !== undefined && selects(other.selector, selector)) !== used;
}

/** Whether all clients with these labels use a rule that comes before that with the other labels. */
function keepsRule(labels: Labels, other: Labels | undefined, after: UsedDestinationRules): boolean {
  const firstFor = (of: Labels) =>
    after.findIndex((merged) => merged?.selector !== undefined && selects(merged.selector, of));
  const place = firstFor(labels);
  return place >= 0 && (other === undefined || place < firstFor(other));
}

/** Whether a workload can have all of these labels. */
const areCompatible = (a: Labels, b: Labels): boolean =>
  Object.entries(a).every(([key, value]) => b[key] === undefined || b[key] === value);

interface Ports {
  readonly ports: ReadonlySet<number>;
  readonly except: Reach["except"];
}

/** Whether all requests that a field makes plaintext were plaintext with this rule. */
function isPlaintext(merged: Merged, { port, subset: name }: ClientTlsChoice, reached: Ports): boolean {
  if (merged === undefined) return false;
  const subset = name === undefined ? undefined : subsetsOf(merged).get(name);
  const isPlain = (at: number) => clientTlsOf(merged, at, subset).tls === "plaintext";
  if (port !== undefined) return isPlain(port);
  const apart = new Set([...portsApart(merged.trafficPolicy), ...portsApart(subset?.trafficPolicy)]);
  return (!areOthers(apart, reached) || isPlain(otherThan(apart))) && portsAmong(apart, reached).every(isPlain);
}

/** Whether a field for all ports reaches any besides these. */
function areOthers(apart: ReadonlySet<number | undefined>, { ports, except }: Ports): boolean {
  if (ports.size === 0) return true;
  const there = (all: Iterable<number | undefined>) => [...all].filter((at) => at !== undefined && ports.has(at));
  return new Set([...there(apart), ...there(except)]).size < ports.size;
}

/** Those of the ports that a field for all ports reaches. */
const portsAmong = (apart: ReadonlySet<number | undefined>, { ports, except }: Ports): readonly number[] =>
  [...apart].flatMap((at) => (at === undefined || except.has(at) || (ports.size > 0 && !ports.has(at)) ? [] : [at]));

const subsets = new WeakMap<MergedDestinationRule, ReadonlyMap<string, Subset>>();

function subsetsOf(merged: MergedDestinationRule): ReadonlyMap<string, Subset> {
  let found = subsets.get(merged);
  if (found === undefined) {
    found = new Map(merged.subsets.map((subset) => [subset.name, subset]));
    subsets.set(merged, found);
  }
  return found;
}
