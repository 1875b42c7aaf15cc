import { installationName } from "../deploy/object.ts";
import { permissionObjects, type PolicyRule } from "../deploy/permissions.ts";
import type { Rule } from "../engine/rule.ts";
import { counted } from "../text/phrases.ts";
import { type CheckResult, fail, ok } from "./check-result.ts";
import { at, type ClusterApi, objectsIn, textAt } from "./cluster-api.ts";

/** One permission, as authorization.k8s.io/v1 ResourceAttributes. */
interface Attributes {
  readonly group: string;
  readonly resource: string;
  readonly verb: string;
  readonly name?: string;
  readonly namespace?: string;
}

const atOnce = 8;

/**
 * Whether the service account has every permission that Meshward needs. The service account itself asks with
 * SelfSubjectAccessReviews; others ask about it with SubjectAccessReviews. Throws a ClusterError.
 */
export async function checkPermissions(
  api: ClusterApi,
  rules: readonly Rule[],
  { namespace, istioNamespace }: { readonly namespace: string; readonly istioNamespace: string },
): Promise<readonly CheckResult[]> {
  const account = `system:serviceaccount:${namespace}:${installationName}`;
  const isSelf = (await ownName(api)) === account;
  const ownsCertificates = await hasOwnAuthority(api, namespace);
  const needed = permissionObjects(rules, { namespace, istioNamespace, ownsCertificates }).flatMap((object) =>
    object.kind === "Role" || object.kind === "ClusterRole"
      ? (object["rules"] as readonly PolicyRule[]).flatMap((rule) => attributesOf(rule, object.metadata.namespace))
      : [],
  );
  const missing: Attributes[] = [];
  const rest = needed.values();
  const ask = async (): Promise<void> => {
    for (const attributes of rest)
      if (!(await isAllowed(api, attributes, isSelf ? undefined : account))) missing.push(attributes);
  };
  await Promise.all(Array.from({ length: atOnce }, ask));
  if (missing.length === 0)
    return [ok("permissions", `${account} has all ${counted(needed.length, "permission")} that Meshward needs`)];
  const grant =
    "Apply the ClusterRole, the Role and their bindings of this version again: helm upgrade, or meshward manifests";
  if (missing.length === needed.length)
    return [fail("permissions", `${account} has none of the ${needed.length} permissions that Meshward needs`, grant)];
  return lacks(missing).map((lack) => fail("permissions", `${account} may not ${lack}`, grant));
}

/** What is missing is mostly a whole Role, so resources of which the same is missing are one line. */
function lacks(missing: readonly Attributes[]): readonly string[] {
  const resources = [...Map.groupBy(missing, (one) => `${resourceOf(one)} ${scopeOf(one)}`).values()];
  const byVerbs = Map.groupBy(resources, (all) => [...new Set(all.map(({ verb }) => verb))].sort().join(", "));
  return [...byVerbs].flatMap(([verbs, some]) => {
    const firsts = some.flatMap(([first]) => (first === undefined ? [] : [first]));
    return [...Map.groupBy(firsts, scopeOf)].map(
      ([scope, all]) => `${verbs} ${all.map(resourceOf).join(", ")} ${scope}`,
    );
  });
}

/** Whether the Deployment keeps an authority of its own, which takes permissions that others do not need. */
async function hasOwnAuthority(api: ClusterApi, namespace: string): Promise<boolean> {
  const found = await api.get(`/apis/apps/v1/namespaces/${namespace}/deployments/${installationName}`);
  const containers = at(found, "spec", "template", "spec", "containers");
  const args = objectsIn(containers).flatMap(({ args }) => (Array.isArray(args) ? args : []));
  return args.some((arg) => typeof arg === "string" && arg.startsWith("--tls-secret"));
}

function attributesOf(rule: PolicyRule, namespace: string | undefined): readonly Attributes[] {
  const names = rule.resourceNames ?? [undefined];
  return rule.apiGroups.flatMap((group) =>
    rule.resources.flatMap((resource) =>
      rule.verbs.flatMap((verb) =>
        names.map((name) => ({
          group,
          resource,
          verb,
          ...(name === undefined ? {} : { name }),
          ...(namespace === undefined ? {} : { namespace }),
        })),
      ),
    ),
  );
}

const resourceOf = ({ group, resource, name }: Attributes): string =>
  `${resource}${group === "" ? "" : `.${group}`}${name === undefined ? "" : ` ${name}`}`;
const scopeOf = ({ namespace }: Attributes): string =>
  namespace === undefined ? "in all namespaces" : `in namespace ${namespace}`;

/** The name of the user who runs doctor; "" before Kubernetes 1.28, which cannot say it. */
async function ownName(api: ClusterApi): Promise<string> {
  const path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
  const review = { apiVersion: "authentication.k8s.io/v1", kind: "SelfSubjectReview" };
  return textAt(await api.post(path, review), "status", "userInfo", "username");
}

async function isAllowed(api: ClusterApi, resourceAttributes: Attributes, user: string | undefined): Promise<boolean> {
  const kind = user === undefined ? "SelfSubjectAccessReview" : "SubjectAccessReview";
  const namespace = user?.split(":")[2] ?? "";
  const groups = ["system:serviceaccounts", `system:serviceaccounts:${namespace}`, "system:authenticated"];
  const review = {
    apiVersion: "authorization.k8s.io/v1",
    kind,
    spec: { resourceAttributes, ...(user === undefined ? {} : { user, groups }) },
  };
  return (
    at(await api.post(`/apis/authorization.k8s.io/v1/${kind.toLowerCase()}s`, review), "status", "allowed") === true
  );
}
