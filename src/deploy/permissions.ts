import { type Permission, permissionsOfControllers } from "../controllers/permissions.ts";
import { kindsFollowed } from "../engine/declared-reads.ts";
import type { Rule } from "../engine/rule.ts";
import { allKinds, kinds } from "../kube/kinds.ts";
import { isInConfigMaps } from "../sources/cluster/resources.ts";
import { type KubernetesObject, installationName } from "./object.ts";

/** One rule of a Role or ClusterRole (rbac.authorization.k8s.io/v1). */
export interface PolicyRule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

const following = ["get", "list", "watch"];

/** What the rules read in all namespaces: exactly their kinds, and never Secrets or ConfigMaps. */
export function readRules(rules: readonly Rule[]): readonly PolicyRule[] {
  const followed = kindsFollowed(rules);
  const served = allKinds
    .filter((kind) => followed.has(kind) && !isInConfigMaps(kind))
    .flatMap((kind) => kinds[kind].served);
  return [...Map.groupBy(served, ({ group }) => group)]
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([group, members]) => ({
      apiGroups: [group],
      resources: [...new Set(members.map(({ plural }) => plural))].sort(),
      verbs: following,
    }));
}

/** Events are written in the namespace of the object that they are about. */
const eventRules: readonly PolicyRule[] = [
  { apiGroups: ["events.k8s.io"], resources: ["events"], verbs: ["create", "patch"] },
];

/** Istio's ConfigMaps, in Istio's namespace only. RBAC cannot limit a list to a label. */
const configMapRules: readonly PolicyRule[] = [{ apiGroups: [""], resources: ["configmaps"], verbs: following }];

/** What the controllers write. Only an authority of Meshward's own needs a Secret and caBundle. */
function controllerRules(scope: Permission["scope"], ownsCertificates: boolean): readonly PolicyRule[] {
  const { certificates, caBundle, ...always } = permissionsOfControllers();
  const needed = [...Object.values(always).flat(), ...(ownsCertificates ? [...certificates, ...caBundle] : [])];
  const rules = needed
    .filter((permission) => permission.scope === scope)
    .map(
      ({ apiGroups, resources, resourceNames, verbs }): PolicyRule => ({
        apiGroups,
        resources,
        ...(resourceNames === undefined ? {} : { resourceNames }),
        verbs,
      }),
    );
  return [...new Map(rules.map((rule) => [JSON.stringify(rule), rule])).values()];
}

export interface PermissionOptions {
  readonly namespace: string;
  readonly istioNamespace: string;
  readonly ownsCertificates: boolean;
}

/** The service account, and every permission that it has. */
export function permissionObjects(
  rules: readonly Rule[],
  { namespace, istioNamespace, ownsCertificates }: PermissionOptions,
): readonly KubernetesObject[] {
  const subjects = [{ kind: "ServiceAccount", name: installationName, namespace }];
  const granted = (kind: "ClusterRole" | "Role", rules: readonly PolicyRule[], where?: string): KubernetesObject[] => {
    const metadata = { name: installationName, ...(where === undefined ? {} : { namespace: where }) };
    const apiVersion = "rbac.authorization.k8s.io/v1";
    const roleRef = { apiGroup: "rbac.authorization.k8s.io", kind, name: installationName };
    return [
      { apiVersion, kind, metadata, rules },
      { apiVersion, kind: `${kind}Binding`, metadata, roleRef, subjects },
    ];
  };
  return [
    {
      apiVersion: "v1",
      kind: "ServiceAccount",
      metadata: { name: installationName, namespace },
      automountServiceAccountToken: false,
    },
    ...granted("ClusterRole", [...readRules(rules), ...eventRules, ...controllerRules("cluster", ownsCertificates)]),
    ...granted("Role", controllerRules("namespace", ownsCertificates), namespace),
    ...granted("Role", configMapRules, istioNamespace),
  ];
}
