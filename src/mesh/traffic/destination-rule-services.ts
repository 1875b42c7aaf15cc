import { fact, index, type MeshView, relation } from "../../view/view.ts";
import { clientProxies } from "../membership/clients.ts";
import { namespaceByName, serviceByNamespace } from "../objects/indexes.ts";
import { type Definition, entryByHost, serviceByHost } from "./definition-choice.ts";
import { type DestinationRule, destinationRuleByHost, hostOfRule } from "./destination-rules.ts";
import { gatewayByGeneratedHost } from "./generated-services.ts";
import { namespaceOfHost } from "./hosts.ts";

/** A DestinationRule and the Service of its host. */
export const servicesOfDestinationRule = relation("servicesOfDestinationRule", destinationRuleByHost, serviceByHost);
/** A DestinationRule and the ServiceEntries that define its host, exactly as written. */
export const entriesOfDestinationRule = relation("entriesOfDestinationRule", destinationRuleByHost, entryByHost);

/** A DestinationRule and the Gateways for which istiod may create a Service with its host. */
export const gatewaysGeneratingForDestinationRule = relation(
  "gatewaysGeneratingForDestinationRule",
  destinationRuleByHost,
  gatewayByGeneratedHost,
  "identity",
);

/** What defines the host of a DestinationRule; empty for a wildcard. */
export const definitionsOfRule = (
  rule: DestinationRule,
  mesh: MeshView<typeof servicesOfDestinationRule | typeof entriesOfDestinationRule>,
): readonly Definition[] => [
  ...mesh.related(servicesOfDestinationRule, rule),
  ...mesh.related(entriesOfDestinationRule, rule),
];

/** A DestinationRule for a host of another namespace, and its own namespace, whose clients use it. */
export const namespaceOfClientRule = relation(
  "namespaceOfClientRule",
  index("DestinationRule", (rule, settings) => {
    const { namespace } = rule.metadata;
    return namespaceOfHost(hostOfRule(rule, settings), settings.domain) === namespace ? [] : [namespace];
  }),
  namespaceByName,
);

/** Whether a DestinationRule's own namespace has clients that use it; undefined: that is not known. */
export function hasOwnClients(
  rule: DestinationRule,
  mesh: MeshView<typeof namespaceOfClientRule | typeof clientProxies>,
): boolean | undefined {
  const [namespace] = mesh.related(namespaceOfClientRule, rule);
  return namespace === undefined ? undefined : mesh.get(clientProxies, namespace);
}

/** A DestinationRule and the Services of its host's namespace. */
const servicesNearDestinationRule = relation(
  "servicesNearDestinationRule",
  index("DestinationRule", (rule, settings) => {
    const namespace = namespaceOfHost(hostOfRule(rule, settings), settings.domain);
    return namespace === undefined ? [] : [namespace];
  }),
  serviceByNamespace,
);
/** Whether the view has any Service of the namespace of a DestinationRule's host. */
export const hasServicesNear = fact(
  "hasServicesNear",
  "DestinationRule",
  [servicesNearDestinationRule],
  (rule, mesh): boolean => mesh.related(servicesNearDestinationRule, rule).length > 0,
);
