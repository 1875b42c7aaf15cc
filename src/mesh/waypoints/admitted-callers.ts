import { KeptIn } from "../../view/kept-in.ts";
import type { MeshSettings } from "../../view/settings.ts";
import type { AuthorizationPolicy } from "../authorization/policies.ts";
import type { EnforcedPolicies } from "./enforced-policies.ts";

type Source = AuthorizationPolicy["spec"]["rules"][number]["from"][number]["source"];
type Accounts = ReadonlySet<string>;

const admittedBy = new KeptIn<EnforcedPolicies, Accounts>();

/**
 * Asks for service accounts, as `<namespace>/<name>`, whose every request the policies at a waypoint allow: a rule names them and asks for
 * nothing else, and no policy refuses requests. They gain nothing where they are let in without the waypoint.
 */
export function admittedInFull(
  policies: readonly EnforcedPolicies[],
  settings: MeshSettings,
): (account: string) => boolean {
  if (policies.some(({ refusing }) => refusing.length > 0)) return () => false;
  const all = policies.map((some) => admittedAlone(some, settings));
  return (account) => all.some((accounts) => accounts.has(account));
}

/** Thousands of Services share the policies of their waypoint. */
function admittedAlone(policies: EnforcedPolicies, settings: MeshSettings): Accounts {
  let found = admittedBy.get(policies);
  if (found === undefined) {
    const named = policies.allowing.flatMap((policy) =>
      policy.kind === "AuthorizationPolicy" ? namedAlone(policy, settings) : [],
    );
    admittedBy.set(policies, (found = new Set(named)));
  }
  return found;
}

const namedAlone = ({ metadata, spec }: AuthorizationPolicy, settings: MeshSettings): readonly string[] =>
  spec.rules
    .filter(({ to, when }) => to.length === 0 && when.length === 0)
    .flatMap(({ from }) => from.flatMap(({ source }) => accountsAlone(source, metadata.namespace, settings)));

/** The accounts of a source that has names of one field alone: the fields of a source must all match. */
function accountsAlone(source: Source, namespace: string, settings: MeshSettings): readonly string[] {
  const { principals, serviceAccounts, ...others } = source;
  const isAlone = principals.length === 0 || serviceAccounts.length === 0;
  if (!isAlone || Object.values(others).some((values) => values.length > 0)) return [];
  return accountsOf(source, namespace, settings).filter((account) => !account.includes("*"));
}

/** What a source names, as `<namespace>/<name>`. A principal of another form, or of another trust domain, is left as it is. */
export function accountsOf(
  { principals, serviceAccounts }: Pick<Source, "principals" | "serviceAccounts">,
  namespace: string,
  { trustDomain }: MeshSettings,
): readonly string[] {
  const own = `${trustDomain}/ns/`;
  return [
    ...principals.map((name) =>
      name.startsWith(own) && name.includes("/sa/") ? name.slice(own.length).replace("/sa/", "/") : name,
    ),
    ...serviceAccounts.map((account) => (account.includes("/") ? account : `${namespace}/${account}`)),
  ];
}
