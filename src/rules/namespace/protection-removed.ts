import { protectedLabel } from "../../kube/meshward-metadata.ts";
import { defineRule } from "../../engine/rule.ts";
import { selects } from "../../mesh/objects/selectors.ts";
import { isTerminating } from "../../mesh/membership/namespaces.ts";

export const namespaceProtectionRemoved = defineRule({
  id: "namespace-protection-removed",
  subject: "Namespace",
  reads: [],
  mode: "deny",
  since: "0.1.0",
  parameters: {
    protectedLabels: {
      summary:
        "Labels by which policies protect namespaces: `key=value`, or several separated by commas, all of which must match.",
      default: [`${protectedLabel.key}=true`],
    },
  },
  summary: "The label by which a policy protects a namespace is removed.",
  why: "Rules for protected namespaces (mTLS, default deny, allowed callers) no longer apply to later changes there.",
  fix: "Keep the label. To stop protecting the namespace, ask a member of the policy's groups to remove the label.",
  incident: {
    symptoms: ["protection-missing"],
    proxies: [],
    seen: "Meshward admits changes in the namespace that it denied before.",
    wayOut:
      "Put the label back, then run `meshward audit --mesh cluster --namespace NAMESPACE` for what changed meanwhile.",
    silentWhen: "Policies protect the namespace by its name, or by another label that it still has.",
    page: "https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/",
  },

  cel: {
    problems: `has(object.metadata.deletionTimestamp) || (has(object.status) && has(object.status.phase) && object.status.phase == 'Terminating')
|| params.protectedLabels.exists(text, ${selectsInCel("object")})
? [] : params.protectedLabels.filter(text, ${selectsInCel("oldObject")})`,
  },

  *compare(before, after, { protectedLabels }) {
    // A deleted namespace is an implied Namespace as long as the view contains objects in it.
    if (before.object.implied || after.object.implied || isTerminating(after.object)) return;
    const selectors = protectedLabels.map((text) => ({ text, labels: labelsOf(text) }));
    const { labels: now } = after.object.metadata;
    if (selectors.some(({ labels }) => selects(labels, now))) return;
    for (const { text, labels } of selectors)
      if (selects(labels, before.object.metadata.labels))
        yield {
          at: ["metadata", "labels"],
          message: `The namespace loses its protection: the label ${text} is removed`,
          key: text,
        };
  },
});

/** Whether the labels of an object have all of a `text` such as `a=b,c=d`. */
function selectsInCel(object: string): string {
  const labels = `${object}.metadata.labels`;
  const [key, value] = ["pair.split('=')[0]", "pair.split('=')[1]"];
  return `has(${labels}) && text.split(',').all(pair, ${key} in ${labels} && ${labels}[${key}] == ${value})`;
}

/** Parses `a=b,c=d` into labels. */
const labelsOf = (text: string): Readonly<Record<string, string>> =>
  Object.fromEntries(
    text.split(",").map((pair) => {
      const [key = "", ...value] = pair.split("=");
      return [key.trim(), value.join("=").trim()];
    }),
  );
