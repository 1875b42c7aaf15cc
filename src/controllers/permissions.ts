/** One rule of a Role or ClusterRole (rbac.authorization.k8s.io/v1), with the reason for it. */
export interface Permission {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  /** Absent for `create`, because RBAC cannot limit it to names. */
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
  /** `namespace`: a Role in Meshward's own namespace is enough. `cluster`: it takes a ClusterRole. */
  readonly scope: "namespace" | "cluster";
  readonly why: string;
}

/** The names of the objects of one installation that Meshward writes to. */
export interface InstalledNames {
  /** The Lease of the election. */
  readonly lease: string;
  /** The Secret with the certificate authority. */
  readonly secret: string;
  /** Of the ValidatingWebhookConfiguration and the MutatingWebhookConfiguration. */
  readonly webhookConfiguration: string;
}

export const defaultNames: InstalledNames = {
  lease: "meshward",
  secret: "meshward-tls",
  webhookConfiguration: "meshward",
};

/**
 * What the controllers do with the API server, by controller: exactly what their code needs, for the manifests. Reading
 * the mesh is not here, because it follows from the rules (`readRules` in deploy/permissions.ts).
 */
export const permissionsOfControllers = (
  names: InstalledNames = defaultNames,
): Readonly<
  Record<
    "election" | "certificates" | "caBundle" | "audit" | "policies" | "intents" | "selfTest",
    readonly Permission[]
  >
> => ({
  election: [
    {
      apiGroups: ["coordination.k8s.io"],
      resources: ["leases"],
      resourceNames: [names.lease],
      verbs: ["get", "update"],
      scope: "namespace",
      why: "one replica is elected, which writes what all of them share",
    },
    {
      apiGroups: ["coordination.k8s.io"],
      resources: ["leases"],
      verbs: ["create"],
      scope: "namespace",
      why: "the Lease of the election is created if it does not exist",
    },
  ],
  certificates: [
    {
      apiGroups: [""],
      resources: ["secrets"],
      resourceNames: [names.secret],
      verbs: ["get", "list", "watch", "update"],
      scope: "namespace",
      why: "the replicas share one certificate authority, which the elected one renews",
    },
    {
      apiGroups: [""],
      resources: ["secrets"],
      verbs: ["create"],
      scope: "namespace",
      why: "the Secret of the certificate authority is created if it does not exist, also when someone deletes it",
    },
  ],
  caBundle: [
    {
      apiGroups: ["admissionregistration.k8s.io"],
      resources: ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"],
      resourceNames: [names.webhookConfiguration],
      verbs: ["get", "list", "watch", "patch"],
      scope: "cluster",
      why: "caBundle of Meshward's own webhooks is set, and repaired when someone removes it; no other field is written",
    },
  ],
  policies: [
    {
      apiGroups: ["meshward.io"],
      resources: ["meshwardpolicies", "meshwardexceptions"],
      verbs: ["get", "list", "watch"],
      scope: "cluster",
      why: "policies and exceptions of the cluster take effect, with --policies-from-cluster",
    },
    {
      apiGroups: ["meshward.io"],
      resources: ["meshwardpolicies/status", "meshwardexceptions/status"],
      verbs: ["patch"],
      scope: "cluster",
      why: "the elected replica writes what became of them; nothing else of them is written",
    },
  ],
  intents: [
    {
      apiGroups: ["meshward.io"],
      resources: ["meshwardintents/status"],
      verbs: ["patch"],
      scope: "cluster",
      why: "the elected replica writes whether an intent holds; nothing else of it is written",
    },
  ],
  audit: [
    {
      apiGroups: ["openreports.io"],
      resources: ["reports", "clusterreports"],
      verbs: ["list", "get", "create", "update", "delete"],
      scope: "cluster",
      why: "what background audits find is written into reports, and into no others than those with Meshward's label",
    },
    {
      apiGroups: ["wgpolicyk8s.io"],
      resources: ["policyreports", "clusterpolicyreports"],
      verbs: ["list", "get", "create", "update", "delete"],
      scope: "cluster",
      why: "the same, where the cluster has PolicyReports",
    },
    {
      apiGroups: ["admissionregistration.k8s.io"],
      resources: ["validatingwebhookconfigurations"],
      resourceNames: [names.webhookConfiguration],
      verbs: ["get"],
      scope: "cluster",
      why: "it owns the reports, so that they are deleted with it",
    },
  ],
  selfTest: [
    {
      apiGroups: ["coordination.k8s.io"],
      resources: ["leases"],
      verbs: ["create"],
      scope: "namespace",
      why: "a dry run that Meshward has to deny shows that the API server reaches it; nothing is stored",
    },
  ],
});
