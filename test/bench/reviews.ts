// AdmissionReviews as the API server sends them.

import type { Raw } from "./mesh.ts";

const plurals: Readonly<Record<string, string>> = {
  AuthorizationPolicy: "authorizationpolicies",
  PeerAuthentication: "peerauthentications",
};

interface Step {
  readonly old?: Raw | undefined;
  readonly object?: Raw | undefined;
}

const operationOf = ({ old, object }: Step): "CREATE" | "UPDATE" | "DELETE" => {
  if (old === undefined) return "CREATE";
  return object === undefined ? "DELETE" : "UPDATE";
};

/** A person's request, as JSON. */
export function review(step: Step): string {
  const subject = (step.object ?? step.old) as Raw;
  const [group, version] = subject.apiVersion.includes("/") ? subject.apiVersion.split("/") : ["", subject.apiVersion];
  const kind = { group, version, kind: subject.kind };
  const resource = { group, version, resource: plurals[subject.kind] ?? `${subject.kind.toLowerCase()}s` };
  const operation = operationOf(step);
  return JSON.stringify({
    kind: "AdmissionReview",
    apiVersion: "admission.k8s.io/v1",
    request: {
      uid: "0df28fbd-5f5f-11e8-bc74-36e6bb280816",
      kind,
      resource,
      requestKind: kind,
      requestResource: resource,
      name: subject.metadata["name"],
      namespace: subject.metadata["namespace"],
      operation,
      userInfo: { username: "ada@example.com", groups: ["team-0-developers", "system:authenticated"] },
      object: step.object ?? null,
      oldObject: step.old ?? null,
      dryRun: false,
      options: {
        kind: `${operation[0]}${operation.slice(1).toLowerCase()}Options`,
        apiVersion: "meta.k8s.io/v1",
        fieldManager: "kubectl-client-side-apply",
      },
    },
  });
}

/** The same object, of the next generation, with another spec. */
export const withSpec = (stored: Raw, spec: unknown): Raw => ({
  ...stored,
  metadata: { ...stored.metadata, generation: 4 },
  spec,
});
