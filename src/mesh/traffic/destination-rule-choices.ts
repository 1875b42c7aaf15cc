import type { ObjectOf } from "../../kube/object.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, type Mesh } from "../../view/view.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { type ControlPlane, isReadBy } from "../objects/revision.ts";
import { selects } from "../objects/selectors.ts";
import { isMadeOfPolicies } from "./backend-policy-merge.ts";
import { destinationRulesFor } from "./destination-rule-lookup.ts";
import { destinationRulesOfSome } from "./destination-rules-of-host.ts";
import type { MergedDestinationRule } from "./destination-rule-merge.ts";
import { type DestinationRule, hostOfRule } from "./destination-rules.ts";
import { coveringHosts, covers, hostKey, mostSpecificFirst } from "./hosts.ts";

/** Every DestinationRule by its host, including those that no control plane reads or that match no service. */
export const everyDestinationRuleByHost = index("DestinationRule", (rule, settings) => {
  const host = hostOfRule(rule, settings);
  return host === "" ? [] : [hostKey(host.toLowerCase())];
});

/** Every DestinationRule that can match a host, for any client. */
export const destinationRulesOfHost = (host: string, mesh: Mesh): readonly DestinationRule[] =>
  mesh.lookup(everyDestinationRuleByHost, coveringHosts(host)) as readonly DestinationRule[];

/**
 * Why clients of a namespace do not use a DestinationRule for a host.
 * - `not-read`: the control plane of the clients does not have the revision in its label `istio.io/rev`.
 * - `capitals`: its host has upper-case letters, and istiod compares hosts case-sensitively.
 * - `elsewhere`: istiod searches only the namespaces of the client and the service, and the root namespace.
 * - `not-exported`: its exportTo, or its workloadSelector, keeps it from these clients.
 * - `less-specific`: `by`, in the same namespace, is for a more specific host.
 * - `later-namespace`: `by` is in a namespace that istiod searches first, and the search ends there.
 * - `apart`: its exportTo or selector differs from that of `by`, so it is not merged with `by`, which applies.
 *
 * `by` can be one that istiod makes of policies.
 */
export interface PassedOverDestinationRule {
  readonly rule: DestinationRule;
  readonly because:
    | "not-read"
    | "capitals"
    | "elsewhere"
    | "not-exported"
    | "less-specific"
    | "later-namespace"
    | "apart";
  readonly by?: DestinationRule;
}

export interface DestinationRuleChoices {
  /**
   * The rules that clients can use. Several if the labels of clients decide; undefined in the list: some clients use
   * none.
   */
  readonly used: readonly (MergedDestinationRule | undefined)[];
  readonly passedOver: readonly PassedOverDestinationRule[];
}

/**
 * A host, the namespace of its service (undefined if the service is not known), and the namespace of the clients with
 * their control plane (undefined: any).
 */
export interface DestinationHost {
  readonly client: string;
  readonly controlPlane?: ControlPlane;
  readonly host: string;
  readonly namespace: string | undefined;
}

/** Which of `rules` (all that can match the host) clients of a namespace use. */
export const usedDestinationRules = (
  destination: DestinationHost,
  rules: readonly DestinationRule[],
  settings: MeshSettings,
): DestinationRuleChoices["used"] =>
  usedOf(destination, readRules(destination, coveringRules(destination, rules, settings), settings), settings);

const coveringRules = ({ host }: DestinationHost, rules: readonly DestinationRule[], settings: MeshSettings) =>
  rules.filter((rule) => covers(hostOfRule(rule, settings).toLowerCase(), host)).sort(oldestFirst);

const readRules = (
  { host, controlPlane }: DestinationHost,
  covering: readonly DestinationRule[],
  settings: MeshSettings,
) => covering.filter((rule) => isReadBy(rule, controlPlane, settings) && !hasCapitals(rule, host, settings));

const usedOf = (destination: DestinationHost, read: readonly DestinationRule[], settings: MeshSettings) =>
  destinationRulesOfSome(destination.client, destinationRulesFor(destination.client, destination, read, settings));

/** The same, and why they do not use the others. */
export function destinationRuleChoices(
  destination: DestinationHost,
  rules: readonly DestinationRule[],
  settings: MeshSettings,
): DestinationRuleChoices {
  const covering = coveringRules(destination, rules, settings);
  const read = readRules(destination, covering, settings);
  const used = usedOf(destination, read, settings);
  const using = new Set(
    used.flatMap((merged) => (merged === undefined ? [] : [merged.made ?? [], merged.from].flat())),
  );
  const passedOver = covering
    .filter((rule) => !using.has(rule) && !isMadeOfPolicies(rule))
    .map((rule) => ({ rule, ...reasonFor(rule, { destination, read, used: [...using] }, settings) }));
  return { used, passedOver };
}

const hasCapitals = (rule: DestinationRule, host: string, settings: MeshSettings): boolean =>
  !covers(hostOfRule(rule, settings), host);

interface Competition {
  readonly destination: DestinationHost;
  readonly read: readonly DestinationRule[];
  readonly used: readonly DestinationRule[];
}

function reasonFor(
  rule: DestinationRule,
  { destination, read, used }: Competition,
  settings: MeshSettings,
): Pick<PassedOverDestinationRule, "because" | "by"> {
  const { client, host, namespace } = destination;
  const at = rule.metadata.namespace;
  if (!isReadBy(rule, destination.controlPlane, settings)) return { because: "not-read" };
  if (hasCapitals(rule, host, settings)) return { because: "capitals" };
  if (![client, namespace, settings.rootNamespace].includes(at)) return { because: "elsewhere" };
  // Without the other rules it would be used, or only its visibility prevents that.
  if (destinationRulesFor(client, destination, [rule], settings).length === 0) return { because: "not-exported" };
  const own = hostOfRule(rule, settings);
  const better = read.find(
    (other) => other.metadata.namespace === at && mostSpecificFirst(hostOfRule(other, settings), own) < 0,
  );
  if (better !== undefined) return { because: "less-specific", by: better };
  const [winner] = used;
  if (winner === undefined) return { because: "apart" };
  return { because: winner.metadata.namespace === at ? "apart" : "later-namespace", by: winner };
}

/** The subsets of a DestinationRule, each with the workloads of the service that have its labels. */
export const subsetWorkloads = (
  { labels }: DestinationRule["spec"]["subsets"][number],
  workloads: readonly ObjectOf<"Workload">[],
): readonly ObjectOf<"Workload">[] => workloads.filter(({ pod }) => selects(labels, pod.labels));
