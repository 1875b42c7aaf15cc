import { type Admission, groupVersionKind, metadataOf, type Submission } from "./api-server-client.ts";

/**
 * The output of `kubectl apply -f FILE` or `kubectl delete -f FILE` for this admission, warnings first
 * (k8s.io/kubectl pkg/cmd/util/helpers.go, pkg/cmd/apply, pkg/cmd/delete).
 */
export function kubectlText(submission: Submission, admission: Admission, file: string): string {
  const warnings = admission.warnings.map((warning) => `Warning: ${warning}`);
  return [
    ...warnings,
    admission.allowed ? doneText(submission, admission) : errorText(submission, admission, file),
  ].join("\n");
}

const verbs = { CREATE: "created", UPDATE: "configured", DELETE: "deleted" };
const failures = { CREATE: "error when creating", UPDATE: "error when patching", DELETE: "error when deleting" };

function doneText({ operation, dryRun }: Submission, { object }: Admission): string {
  const { group, kind } = groupVersionKind(object);
  const type = group === "" ? kind.toLowerCase() : `${kind.toLowerCase()}.${group}`;
  return `${type}/${metadataOf(object).name ?? ""} ${verbs[operation]}${dryRun === true ? " (server dry run)" : ""}`;
}

function errorText({ operation }: Submission, { error }: Admission, file: string): string {
  const reason = error?.reason ? ` (${error.reason})` : "";
  return `Error from server${reason}: ${failures[operation]} ${JSON.stringify(file)}: ${error?.message ?? ""}`;
}
