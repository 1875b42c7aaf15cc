import type { AuthorizationPolicy } from "./policies.ts";
import type { Applied, NamedList } from "./requests/applied.ts";
import { destinationPort, isForPort } from "./rule-ports.ts";

type Rule = AuthorizationPolicy["spec"]["rules"][number];
type Operation = Rule["to"][number]["operation"];

/**
 * The policies as they decide about one port: rules without their ports, so that those for two ports can be compared. A rule for other
 * ports matches nobody, and keeps its number. A policy that names no port is the same object.
 */
export const appliedAtPort = ({ place, settings, lists }: Applied, port: number): Applied => ({
  place,
  settings,
  lists: lists.map(({ name, policies }): NamedList => ({ name, policies: policies.map((one) => atPort(one, port)) })),
});

function atPort(policy: AuthorizationPolicy, port: number): AuthorizationPolicy {
  const { rules } = policy.spec;
  if (!rules.some(namesPorts)) return policy;
  return { ...policy, spec: { ...policy.spec, rules: rules.map((rule) => ruleAtPort(rule, port)) } };
}

const namesPorts = ({ to, when }: Rule): boolean =>
  to.some(({ operation }) => operation.ports.length + operation.notPorts.length > 0) ||
  when.some(({ key }) => key === destinationPort);

function ruleAtPort({ from, to, when }: Rule, port: number): Rule {
  const isOther = when.some(
    ({ key, values, notValues }) => key === destinationPort && !isForPort(values, notValues, port),
  );
  const operations = to.filter(({ operation }) => isForPort(operation.ports, operation.notPorts, port));
  if (isOther || (operations.length === 0 && to.length > 0)) return forNobody;
  const others = operations.map(({ operation }) => ({ operation: { ...operation, ports: [], notPorts: [] } }));
  return {
    from,
    // One operation without other fields is for every request, whatever the others are.
    to: others.some(({ operation }) => isEmpty(operation)) ? [] : others,
    when: when.filter(({ key }) => key !== destinationPort),
  };
}

const isEmpty = (operation: Operation): boolean => Object.values(operation).every(({ length }) => length === 0);

const none: readonly string[] = Object.freeze([]);
const nobody: Rule["from"][number]["source"] = {
  ...{ principals: none, notPrincipals: none, requestPrincipals: none, notRequestPrincipals: none },
  ...{ namespaces: ["-"], notNamespaces: ["-"], serviceAccounts: none, notServiceAccounts: none },
  ...{ trustDomains: none, notTrustDomains: none, ipBlocks: none, notIpBlocks: none },
  ...{ remoteIpBlocks: none, notRemoteIpBlocks: none },
};
const forNobody: Rule = { from: [{ source: nobody }], to: [], when: [] };
