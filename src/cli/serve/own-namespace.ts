import { readFileSync } from "node:fs";

/** Where Kubernetes tells a pod its namespace (client-go rest.InClusterConfig reads the token beside it). */
const path = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/** The namespace that the option names, or that of the pod; undefined outside of a cluster. */
export function ownNamespace(named: string | undefined): string | undefined {
  if (named !== undefined) return named;
  try {
    return readFileSync(path, "utf8").trim() || undefined;
  } catch {
    return undefined;
  }
}
