import { defineRule } from "../../engine/rule.ts";
import { revisionLabel } from "../../mesh/objects/labels.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { setting } from "../../view/view.ts";

export const policyRevisionNarrowed = defineRule({
  id: "policy-revision-narrowed",
  subject: ["PeerAuthentication", "AuthorizationPolicy", "RequestAuthentication"],
  reads: [setting("revisions")],
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  tags: ["revisions"],
  summary: "A policy that every control plane read is now read by the control plane of one revision only.",
  why: "Sidecars keep the control plane that injected them until their pods are restarted, whatever revision their namespace has now (Istio manifests/charts/istio-control/istio-discovery/files/injection-template.yaml, discoveryAddress), and that control plane does not read the policy any more (pkg/config/model.go LabelsInRevision). Meshward sees the labels and not the pods that run, so it compares the control planes by the labels.",
  fix: "Restart the workloads of the namespace first, so that all of them have the new revision, or leave the policy without the label.",
  incident: {
    symptoms: ["no-effect", "open-access"],
    proxies: ["sidecar"],
    seen: "Pods that were not restarted since the namespace got the revision lose the policy; restarted ones keep it.",
    wayOut: "Remove the label again, or `kubectl rollout restart` the workloads of the namespace.",
    silentWhen: "There is only one control plane, or the object had the label of a revision before.",
    page: "https://istio.io/latest/docs/setup/upgrade/canary/",
  },

  *compare(before, after) {
    const revision = after.object.metadata.labels[revisionLabel];
    const wasForAll = before.object.metadata.labels[revisionLabel] === undefined;
    const { settings } = after.mesh;
    if (revision === undefined || !wasForAll || !isServed(after.object, settings) || settings.revisions.length < 2)
      return;
    const isRoot = after.object.metadata.namespace === settings.rootNamespace;
    const losers = isRoot
      ? "proxies that another control plane configures lose it, in every namespace"
      : "sidecars that were not restarted since their namespace has this revision lose it";
    yield {
      at: ["metadata", "labels", revisionLabel],
      message: `Only revision ${JSON.stringify(revision)} reads the ${after.object.originKind} after this change: ${losers}`,
      key: "revision narrowed",
      ...(isRoot
        ? {
            fix: "Leave the policy without the label, and give a copy of it the label.",
            onlyWarns: "the proxies of this revision keep it",
          }
        : { onlyWarns: "sidecars that were restarted since then read it" }),
    };
  },
});
