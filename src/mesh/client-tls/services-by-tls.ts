import type { Labels } from "../../kube/object.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { servicesOfNamespace } from "../membership/services.ts";
import { SelectorsTogether } from "../objects/selectors-together.ts";
import { DestinationRulesByHost } from "../traffic/destination-rule-lookup.ts";
import type { DestinationRule } from "../traffic/destination-rules.ts";
import { hostOfService } from "../traffic/hosts.ts";
import { destinationRulesOfNamespace, namespaceAndAll, namespacesOfRule } from "./destinations.ts";

/** A namespace and those DestinationRules for its services that set the mesh's mTLS, whatever the mode of the namespace. */
const mutualRulesOfNamespace = relation(
  "mutualRulesOfNamespace",
  namespaceAndAll,
  index("DestinationRule", (rule, settings) => (isMutual(rule) ? namespacesOfRule(rule, settings) : [])),
);
const isMutual = ({ spec }: DestinationRule): boolean => spec.trafficPolicy?.tls?.mode === "ISTIO_MUTUAL";

/** Other rules report what a DestinationRule itself sets. */
const setsAnyTls = ({ spec }: DestinationRule): boolean =>
  [spec, ...spec.subsets].some(
    ({ trafficPolicy: policy }) =>
      policy?.tls !== undefined || policy?.portLevelSettings.some(({ tls }) => tls !== undefined) === true,
  );

/** Selectors of Services whose clients have a DestinationRule with the mesh's mTLS, and those of the others. */
export interface MutualByRule {
  readonly mutual: SelectorsTogether;
  readonly others: SelectorsTogether;
}

/**
 * For which Services of a namespace DestinationRules set the mesh's mTLS, at least for some clients; undefined: for none. One that sets
 * no TLS hides those for wider hosts from clients that use it (Istio pilot/pkg/model/push_context.go destinationRule).
 */
export const mutualByRule = fact(
  "mutualByRule",
  "Namespace",
  [mutualRulesOfNamespace, destinationRulesOfNamespace, servicesOfNamespace],
  (namespace, mesh): MutualByRule | undefined => {
    if (mesh.related(mutualRulesOfNamespace, namespace).length === 0) return undefined;
    return selectorsBy(isMutual, namespace, mesh);
  },
);

/** Selectors of Services of a namespace for which no DestinationRule sets TLS: without auto mTLS, their clients send plaintext. */
export const servicesWithoutTls = fact(
  "servicesWithoutTls",
  "Namespace",
  [destinationRulesOfNamespace, servicesOfNamespace],
  (namespace, mesh): SelectorsTogether => selectorsBy(setsAnyTls, namespace, mesh).others,
);

/** Services by whether a rule that sets TLS so is for them. */
function selectorsBy(
  isSet: (rule: DestinationRule) => boolean,
  namespace: Namespace,
  mesh: MeshView<typeof destinationRulesOfNamespace | typeof servicesOfNamespace>,
): MutualByRule {
  const rules = new DestinationRulesByHost(mesh.related(destinationRulesOfNamespace, namespace), mesh.settings);
  const owners = new Set([namespace.metadata.name]);
  const services = mesh
    .related(servicesOfNamespace, namespace)
    .filter(({ spec }) => Object.keys(spec.selector).length > 0);
  const of = Map.groupBy(services, (service) => {
    const over = rules.over(hostOfService(service, mesh.settings.domain));
    const forAll = over.ruleForAll(owners);
    return over.rules.some(isSet) && (forAll === undefined || setsAnyTls(forAll));
  });
  const selectors = (one: boolean) => new SelectorsTogether((of.get(one) ?? []).map(({ spec }) => spec.selector));
  return { mutual: selectors(true), others: selectors(false) };
}

/** Whether DestinationRules set the mesh's mTLS for all Services of pods with these labels. */
export const isSetByRules = (byRule: MutualByRule | undefined, labels: Labels): boolean =>
  byRule !== undefined && byRule.mutual.meet(labels) && !byRule.others.meet(labels);

/** Whether no Service of pods with these labels lacks such a DestinationRule, or some has one. */
export const isSetForSome = (byRule: MutualByRule | undefined, labels: Labels): boolean =>
  byRule !== undefined && (byRule.mutual.meet(labels) || !byRule.others.meet(labels));
