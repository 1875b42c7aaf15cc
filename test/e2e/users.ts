/** Who writes to the cluster. Each has a token, so that requests come from whom they would come from. */
export interface User {
  readonly name: string;
  readonly groups: readonly string[];
}

const person = (name: string, ...groups: readonly string[]): User => ({ name, groups });
const serviceAccount = (namespace: string, name: string): User => ({
  name: `system:serviceaccount:${namespace}:${name}`,
  groups: ["system:serviceaccounts", `system:serviceaccounts:${namespace}`],
});

export const users = {
  admin: person("admin", "system:masters"),
  tenant: person("tenant@example.com", "tenants"),
  security: person("security@example.com", "security"),
  helm: person("release@example.com", "tenants"),
  flux: serviceAccount("flux-system", "kustomize-controller"),
  argoCd: serviceAccount("argocd", "argocd-application-controller"),
  argoRollouts: serviceAccount("argo-rollouts", "argo-rollouts"),
  flagger: serviceAccount("flagger-system", "flagger"),
  istiod: serviceAccount("istio-system", "istiod"),
  namespaceController: serviceAccount("kube-system", "namespace-controller"),
  meshward: serviceAccount("meshward-system", "meshward"),
} as const satisfies Record<string, User>;
export type UserName = keyof typeof users;
export const userNames = Object.keys(users) as readonly UserName[];
