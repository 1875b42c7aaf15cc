import { type InstalledNames, type Permission, permissionsOfControllers } from "../../src/controllers/permissions.ts";
import type { ControlPlane } from "./control-plane.ts";
import { succeeds } from "./environment.ts";
import { users } from "./users.ts";

/** Lets Meshward do what its controllers do, and nothing more: a Role in its namespace, and a ClusterRole. */
export async function permitControllers(plane: ControlPlane, namespace: string, names?: InstalledNames): Promise<void> {
  const permissions = Object.values(permissionsOfControllers(names)).flat();
  const rulesOf = (scope: Permission["scope"]) =>
    permissions
      .filter((permission) => permission.scope === scope)
      .map(({ apiGroups, resources, resourceNames, verbs }) => ({
        apiGroups,
        resources,
        verbs,
        ...(resourceNames === undefined ? {} : { resourceNames }),
      }));
  const name = "meshward-controllers";
  const subjects = [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: users.meshward.name }];
  const both = (kind: "Role" | "ClusterRole", scope: Permission["scope"]) => {
    const metadata = { name, ...(kind === "Role" ? { namespace } : {}) };
    const roleRef = { apiGroup: "rbac.authorization.k8s.io", kind, name };
    const apiVersion = "rbac.authorization.k8s.io/v1";
    return [
      { apiVersion, kind, metadata, rules: rulesOf(scope) },
      { apiVersion, kind: `${kind}Binding`, metadata, roleRef, subjects },
    ];
  };
  await succeeds(
    plane,
    ["apply", "--server-side", "-f", "-"],
    [...both("Role", "namespace"), ...both("ClusterRole", "cluster")],
  ); // prettier-ignore
}
