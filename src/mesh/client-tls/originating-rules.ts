import { index } from "../../view/view.ts";
import { type DestinationRule, destinationRuleByHost, hostOfRule } from "../traffic/destination-rules.ts";
import { coveringHostsOfAll, isWildcard } from "../traffic/hosts.ts";

type TrafficPolicy = DestinationRule["spec"]["trafficPolicy"];

/** Whether a setting makes TLS with other certificates than the mesh's of what clients send. */
export const isOriginating = (tls: NonNullable<TrafficPolicy>["tls"]): boolean =>
  tls?.mode === "SIMPLE" || tls?.mode === "MUTUAL";

/** Whether a traffic policy does so for any port. */
export const originates = (policy: TrafficPolicy): boolean =>
  isOriginating(policy?.tls) || policy?.portLevelSettings.some(({ tls }) => isOriginating(tls)) === true;

export const originatesTls = ({ spec }: DestinationRule): boolean =>
  originates(spec.trafficPolicy) || spec.subsets.some(({ trafficPolicy }) => originates(trafficPolicy));

const inNamespace = (key: string, namespace: string) => `${namespace} ${key}`;

/**
 * DestinationRules by their hosts. One for a wildcard host would concern very many objects, and few of these set TLS: the others have
 * only keys of their own namespace, whose clients use them before those of the service.
 */
export const originatingRuleByHost = index("DestinationRule", (rule, settings) => {
  const keys = destinationRuleByHost.keys(rule, settings);
  if (originatesTls(rule) || !isWildcard(hostOfRule(rule, settings))) return keys;
  return [...keys].map((key) => inNamespace(key, rule.metadata.namespace));
});

/** The keys of these DestinationRules for some hosts, of which an object in this namespace speaks. */
export function keysOfHosts(hosts: readonly string[], namespace: string): readonly string[] {
  const keys = [...coveringHostsOfAll(hosts)];
  return [...keys, ...keys.map((key) => inNamespace(key, namespace))];
}
