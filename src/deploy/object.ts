/** One object of an installation, as `kubectl apply` takes it. */
export interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly [field: string]: unknown;
}

/** The name of every object of an installation that has only one of its kind, and of both webhook configurations. */
export const installationName = "meshward";

/** What the Service and the PodDisruptionBudget select. They never change, because a Deployment's selector cannot. */
export const selectorLabels = { "app.kubernetes.io/name": "meshward" } as const;

/** The Secret with a certificate of somebody else: `tls.crt` and `tls.key`. Meshward's own authority has another one. */
export const certificateSecret = `${installationName}-certificate`;
