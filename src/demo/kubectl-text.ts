import { describedObject } from "./kubectl-apply.ts";
import { type Admission, groupVersionKind, metadataOf, type Submission } from "./api-server-client.ts";

/**
 * The output of `kubectl apply -f FILE` or `kubectl delete -f FILE` for this admission, warnings first
 * (k8s.io/kubectl pkg/cmd/util/helpers.go, pkg/cmd/apply, pkg/cmd/delete).
 */
export function kubectlText(
  submission: Submission,
  admission: Admission,
  file: string,
  { patch, isUnchanged }: { readonly patch?: string; readonly isUnchanged?: true } = {},
): string {
  const warnings = admission.warnings.map((warning) => `Warning: ${warning}`);
  return [
    ...warnings,
    admission.allowed
      ? doneText(submission, admission, isUnchanged ? "unchanged" : verbs[submission.operation])
      : errorText(submission, admission, file, patch),
  ].join("\n");
}

const verbs = { CREATE: "created", UPDATE: "configured", DELETE: "deleted" };
const failures = { CREATE: "error when creating", UPDATE: "error when patching", DELETE: "error when deleting" };

function doneText({ dryRun }: Submission, { object }: Admission, verb: string): string {
  const { group, kind } = groupVersionKind(object);
  const type = group === "" ? kind.toLowerCase() : `${kind.toLowerCase()}.${group}`;
  return `${type}/${metadataOf(object).name ?? ""} ${verb}${dryRun === true ? " (server dry run)" : ""}`;
}

function errorText({ operation, object }: Submission, { error }: Admission, file: string, patch?: string): string {
  const reason = error?.reason ? ` (${error.reason})` : "";
  const failed = `${failures[operation]} ${JSON.stringify(file)}: ${error?.message ?? ""}`;
  const applied =
    patch === undefined || object === undefined
      ? ""
      : `error when applying patch:\n${patch}\nto:\n${describedObject(object)}\nfor: ${JSON.stringify(file)}: `;
  return `Error from server${reason}: ${applied}${failed}`;
}
