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
        "Labels by which a policy protects a namespace: `key=value`, several that must all be there with commas.",
      default: ["meshward.io/protected=true"],
    },
  },
  summary: "The label by which a policy protects a namespace is taken off.",
  why: "What counts only in protected namespaces (mTLS, default deny, who may call) is not judged there any more from the next change on.",
  fix: "Leave the label on. If the namespace is to be protected no longer, someone whom the policy lets remove protection has to take it off.",

  *compare(before, after, { protectedLabels }) {
    // A namespace that goes is shown as an implied one, as long as something is left in it.
    if (before.object.implied || after.object.implied || isTerminating(after.object)) return;
    const selectors = protectedLabels.map((text) => ({ text, labels: labelsOf(text) }));
    const { labels: now } = after.object.metadata;
    if (selectors.some(({ labels }) => selects(labels, now))) return;
    for (const { text, labels } of selectors)
      if (selects(labels, before.object.metadata.labels))
        yield {
          at: ["metadata", "labels"],
          message: `Protection is lost: ${text} is no longer among the labels`,
          key: text,
        };
  },
});

/** `a=b,c=d` as labels. */
const labelsOf = (text: string): Readonly<Record<string, string>> =>
  Object.fromEntries(
    text.split(",").map((pair) => {
      const [key = "", ...value] = pair.split("=");
      return [key.trim(), value.join("=").trim()];
    }),
  );
