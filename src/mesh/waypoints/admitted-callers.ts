import type { MeshSettings } from "../../view/settings.ts";
import type { AuthorizationPolicy } from "../authorization/policies.ts";
import type { Caller } from "../authorization/ztunnel-callers.ts";
import type { EnforcedPolicies } from "./enforced-policies.ts";

type Source = AuthorizationPolicy["spec"]["rules"][number]["from"][number]["source"];

/**
 * The service accounts whose every request the policies at a waypoint allow: a rule names them and asks for nothing else, and no policy
 * refuses requests. They gain nothing where they are let in without the waypoint.
 */
export function admittedInFull(policies: readonly EnforcedPolicies[], settings: MeshSettings): readonly Caller[] {
  if (policies.some(({ refusing }) => refusing.length > 0)) return [];
  return policies
    .flatMap(({ allowing }) => allowing)
    .flatMap((policy) => (policy.kind === "AuthorizationPolicy" ? namedAlone(policy, settings) : []));
}

const namedAlone = ({ metadata, spec }: AuthorizationPolicy, settings: MeshSettings): readonly Caller[] =>
  spec.rules
    .filter(({ to, when }) => to.length === 0 && when.length === 0)
    .flatMap(({ from }) => from.flatMap(({ source }) => accountsIn(source, metadata.namespace, settings)));

/** The accounts of a source that has names of one field alone: the fields of a source must all match. */
function accountsIn(source: Source, namespace: string, { trustDomain }: MeshSettings): readonly Caller[] {
  const { principals, serviceAccounts, ...others } = source;
  const isAlone = principals.length === 0 || serviceAccounts.length === 0;
  if (!isAlone || Object.values(others).some((values) => values.length > 0)) return [];
  const names = [
    ...principals.map((principal) => principal.split("/ns/")).map(([domain, rest]) => domain === trustDomain && rest),
    ...serviceAccounts.map((account) =>
      account.includes("/") ? account.replace("/", "/sa/") : `${namespace}/sa/${account}`,
    ),
  ];
  return names.flatMap((name) => {
    const [, home, serviceAccount] = /^([^/*]+)\/sa\/([^/*]+)$/.exec(name || "") ?? [];
    return home === undefined || serviceAccount === undefined ? [] : [{ namespace: home, serviceAccount }];
  });
}
