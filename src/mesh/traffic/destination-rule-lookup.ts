import { KeptIn } from "../../view/kept-in.ts";
import type { MeshSettings, SettingsWith } from "../../view/settings.ts";
import { SmallMap } from "../../view/small-map.ts";
import { fact, type MeshView } from "../../view/view.ts";
import { type ControlPlane, isReadBy } from "../objects/revision.ts";
import type { MergedDestinationRule } from "./destination-rule-merge.ts";
import { type DestinationRule, destinationRulesOfVirtualService, hostOfRule } from "./destination-rules.ts";
import { RulesOfHost, RulesOverHost, rulesByHost } from "./destination-rules-of-host.ts";
import { HostPatterns } from "./host-patterns.ts";
import { coveringHosts, covers, hostKey, wildcardOver } from "./hosts.ts";

const nothing: readonly never[] = [];

/** DestinationRules by the hosts that they match. Hosts with the same DestinationRules get the same object. */
export class DestinationRulesByHost {
  readonly #settings: MeshSettings;
  readonly #byHost: ReadonlyMap<string, RulesOfHost>;
  readonly #patterns: HostPatterns;
  readonly #places: ReadonlyMap<DestinationRule, number>;
  readonly #over = new Map<string, RulesOverHost>();
  /** Many hosts have the same list. */
  readonly #overList = new SmallMap<readonly string[], RulesOverHost>();

  constructor(rules: readonly DestinationRule[], settings: MeshSettings) {
    this.#settings = settings;
    this.#byHost = rulesByHost(rules, settings);
    this.#patterns = new HostPatterns(this.#byHost.keys());
    this.#places = new Map(rules.map((rule, i) => [rule, i]));
  }

  /** The hosts of the rules, each once. */
  get hosts(): Iterable<string> {
    return this.#byHost.keys();
  }

  /** The hosts of rules that match this host, most specific first. */
  hostsOver(host: string): readonly string[] {
    return this.#patterns.allOver(host);
  }

  over(host: string, hosts = this.hostsOver(host)): RulesOverHost {
    let found = this.#overList.get(hosts);
    if (found !== undefined) return found;
    const key = JSON.stringify(hosts);
    found = this.#over.get(key);
    if (found === undefined) {
      found = new RulesOverHost(
        hosts.flatMap((one) => this.#byHost.get(one) ?? []),
        this.#settings,
        this.#places,
      );
      this.#over.set(key, found);
      this.#overList.set(hosts, found);
    }
    return found;
  }
}

/** Those of `rules` that clients of a namespace can use for a host, merged; `namespace`: that of its service. */
export const destinationRulesFor = (
  client: string,
  { host, namespace }: { readonly host: string; readonly namespace: string | undefined },
  rules: readonly DestinationRule[],
  settings: MeshSettings,
): readonly MergedDestinationRule[] => new DestinationRulesByHost(rules, settings).over(host).seenBy(client, namespace);

const readByEach = new KeptIn<RulesOverHost, Map<ControlPlane, RulesOverHost>>();

/** Those of the DestinationRules of a host that a control plane reads. */
export function rulesReadBy(
  rules: RulesOverHost,
  { host, controlPlane }: { readonly host: string; readonly controlPlane: ControlPlane },
  settings: MeshSettings,
): RulesOverHost {
  let known = readByEach.get(rules);
  if (known === undefined) readByEach.set(rules, (known = new Map()));
  let found = known.get(controlPlane);
  if (found === undefined) {
    const read = rules.rules.filter((rule) => isReadBy(rule, controlPlane, settings));
    found = read.length === rules.rules.length ? rules : new DestinationRulesByHost(read, settings).over(host);
    known.set(controlPlane, found);
  }
  return found;
}

/** The DestinationRules of a host as each control plane reads them, each set of rules once. */
export const rulesReadByEach = (
  rules: RulesOverHost,
  host: string,
  settings: SettingsWith<"revisions">,
): ReadonlySet<RulesOverHost> =>
  new Set(settings.revisions.map((controlPlane) => rulesReadBy(rules, { host, controlPlane }, settings)));

/** The hosts of DestinationRules with the same key. */
interface HostsAtKey {
  /** The rules of exactly this host. */
  of(host: string): RulesOfHost | undefined;
  over(host: string): readonly string[];
}

/** The DestinationRules with a hostKey; many keys of a host have none, and need not be asked for. */
export const hostsAtKey = fact("hostsAtKey", "key", [destinationRulesOfVirtualService], (key, mesh): HostsAtKey => {
  const rules = mesh.under(destinationRulesOfVirtualService, [key]);
  const [only] = rules;
  // Most hosts have one, for which a map would take more memory than the rule itself.
  if (only !== undefined && rules.length === 1)
    return new OneHost(hostOfRule(only, mesh.settings), rules, mesh.settings);
  const byHost = rulesByHost(rules, mesh.settings);
  const patterns = new HostPatterns(byHost.keys());
  return { of: (host) => byHost.get(host), over: (host) => patterns.allOver(host) };
});

class OneHost implements HostsAtKey {
  readonly #rules: RulesOfHost;
  readonly #hosts: readonly string[];

  constructor(host: string, rules: readonly DestinationRule[], settings: MeshSettings) {
    this.#rules = new RulesOfHost(host, rules, settings);
    this.#hosts = [host];
  }

  of(host: string): RulesOfHost | undefined {
    return host === this.#rules.host ? this.#rules : undefined;
  }
  over(host: string): readonly string[] {
    return covers(this.#rules.host, host) ? this.#hosts : nothing;
  }
}

/** The DestinationRules of users for exactly one host. */
const rulesOfHost = (host: string, mesh: MeshView<typeof hostsAtKey>): RulesOfHost | undefined =>
  mesh.get(hostsAtKey, hostKey(host)).of(host);

/** The DestinationRules of several hosts, most specific first. */
export const rulesOfHosts = (hosts: readonly string[], mesh: MeshView<typeof hostsAtKey>): RulesOverHost =>
  new RulesOverHost(
    hosts.map((host) => rulesOfHost(host, mesh)).filter((of) => of !== undefined),
    mesh.settings,
  );

/** The same with rules that istiod makes of policies for the host itself; `hosts`: those of DestinationRules of users that match it. */
export function rulesWithMade(
  host: string,
  made: readonly DestinationRule[],
  hosts: readonly string[],
  mesh: MeshView<typeof hostsAtKey>,
): RulesOverHost {
  const own = new RulesOfHost(host, [...made, ...(rulesOfHost(host, mesh)?.rules ?? nothing)], mesh.settings);
  const wider = hosts.filter((one) => one !== host).flatMap((one) => rulesOfHost(one, mesh) ?? []);
  return new RulesOverHost([own, ...wider], mesh.settings);
}

/** The same for all hosts that only wildcards match. The key is a JSON list of these wildcards. */
export const rulesOfWildcards = fact("rulesOfWildcards", "key", [hostsAtKey], (key, mesh) =>
  rulesOfHosts(JSON.parse(key) as readonly string[], mesh),
);

/** Of the wildcards that cover a wildcard, those under which there are DestinationRules. Many hosts have the same. */
const wildcardKeysOver = fact("wildcardKeysOver", "key", [destinationRulesOfVirtualService], (wildcard, mesh) =>
  coveringHosts(wildcard).filter((key) => mesh.hasUnder(destinationRulesOfVirtualService, key)),
);
/** What ruleHostsOver reads. */
export const readsRuleHosts = [hostsAtKey, wildcardKeysOver, destinationRulesOfVirtualService] as const;

/** The hosts of DestinationRules that match a host (as istiod resolves it), most specific first. */
export function ruleHostsOver(host: string, mesh: MeshView<(typeof readsRuleHosts)[number]>): readonly string[] {
  let found: readonly string[] = nothing;
  const add = (key: string) => {
    const over = mesh.get(hostsAtKey, key).over(host);
    found = found.length === 0 ? over : [...found, ...over];
  };
  if (mesh.hasUnder(destinationRulesOfVirtualService, host)) add(host);
  const wildcard = wildcardOver(host);
  if (wildcard !== undefined) for (const key of mesh.get(wildcardKeysOver, wildcard)) add(key);
  return found;
}
