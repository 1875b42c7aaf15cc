import type { ObjectOf } from "../../kube/object.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, type Mesh } from "../../view/view.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { isServed } from "../objects/revision.ts";
import { selects } from "../objects/selectors.ts";
import {
  type DestinationRule,
  destinationRulesFor,
  destinationRulesOfSome,
  hostOfRule,
  type MergedDestinationRule,
} from "./destination-rules.ts";
import { coveringHosts, covers, hostKey, mostSpecificFirst } from "./hosts.ts";

/** Every DestinationRule under its host, those too that no control plane reads or no service's host equals. */
export const everyDestinationRuleByHost = index("DestinationRule", (rule, settings) => {
  const host = hostOfRule(rule, settings);
  return host === "" ? [] : [hostKey(host.toLowerCase())];
});

/** Every DestinationRule that may cover a host, whoever looks. */
export const destinationRulesOfHost = (host: string, mesh: Mesh): readonly DestinationRule[] =>
  mesh.lookup(everyDestinationRuleByHost, coveringHosts(host)) as readonly DestinationRule[];

/**
 * Why clients of a namespace do not use a DestinationRule for a host.
 * - `not-read`: its `istio.io/rev` names no revision that is served.
 * - `capitals`: its host has capitals, and istiod compares by case.
 * - `elsewhere`: only the client's, the service's and the root namespace are looked at.
 * - `not-exported`: its exportTo, or its workloadSelector, keeps it from these clients.
 * - `less-specific`: `by`, in the same namespace, is for a more specific host.
 * - `later-namespace`: `by` stands in a namespace that is looked at first, and the search ends there.
 * - `apart`: another exportTo or selector keeps it from being merged with `by`, which counts.
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
  /** What clients may use; more than one where their labels decide; undefined among them: some use none. */
  readonly used: readonly (MergedDestinationRule | undefined)[];
  readonly passedOver: readonly PassedOverDestinationRule[];
}

/** A host and the namespace of its service (undefined: nobody has shown it), as seen by clients of a namespace. */
export interface DestinationHost {
  readonly client: string;
  readonly host: string;
  readonly namespace: string | undefined;
}

/** Which of `rules` (all that may cover the host) clients of a namespace use, and what becomes of the others. */
export function destinationRuleChoices(
  destination: DestinationHost,
  rules: readonly DestinationRule[],
  settings: MeshSettings,
): DestinationRuleChoices {
  const { client, host } = destination;
  const covering = rules.filter((rule) => covers(hostOfRule(rule, settings).toLowerCase(), host)).sort(oldestFirst);
  const read = covering.filter((rule) => isServed(rule, settings) && !hasCapitals(rule, host, settings));
  const found = destinationRulesFor(client, destination, read, settings);
  const used = destinationRulesOfSome(client, found);
  const using = new Set(used.flatMap((merged) => merged?.from ?? []));
  const passedOver = covering
    .filter((rule) => !using.has(rule))
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
  if (!isServed(rule, settings)) return { because: "not-read" };
  if (hasCapitals(rule, host, settings)) return { because: "capitals" };
  if (![client, namespace, settings.rootNamespace].includes(at)) return { because: "elsewhere" };
  // Alone it would be found, or nothing but its visibility keeps these clients from it.
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

/** The subsets of a DestinationRule with the workloads that have their labels, of those that the service selects. */
export const subsetWorkloads = (
  { labels }: DestinationRule["spec"]["subsets"][number],
  workloads: readonly ObjectOf<"Workload">[],
): readonly ObjectOf<"Workload">[] => workloads.filter(({ pod }) => selects(labels, pod.labels));
