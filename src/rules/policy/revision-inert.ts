import { absent } from "../../engine/evidence.ts";
import { defineRule } from "../../engine/rule.ts";
import { allKinds, kinds } from "../../kube/kinds.ts";
import { revisionLabel } from "../../mesh/objects/labels.ts";
import {
  areRevisionsKnown,
  isForServedRevision,
  objectsOfRevision,
  revisionReads,
} from "../../mesh/objects/revision.ts";

/** Istio's own kinds. On other kinds the label selects the injector, and there tags are valid. */
const ofIstio = allKinds.filter((kind) => kinds[kind].served.every(({ group }) => group.endsWith(".istio.io")));

export const policyRevisionInert = defineRule({
  id: "policy-revision-inert",
  subject: ofIstio,
  reads: [...revisionReads],
  mode: "warn",
  since: "0.1.0",
  tags: ["revisions"],
  summary: "An Istio object has a revision label for which there is no control plane, so it has no effect.",
  why: "A control plane reads objects without `istio.io/rev` and objects with exactly its own revision; tags are not resolved (Istio pkg/config/model.go LabelsInRevision). Istio's own validation webhook does not check the object either.",
  fix: "Remove the label, so that every control plane reads the object, or set it to the revision, not to a tag.",
  incident: {
    symptoms: ["no-effect"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "No proxy has the object, and istiod does not log that it ignores it.",
    wayOut: "Remove the label `istio.io/rev` from the object.",
    silentWhen:
      "No mesh config is known, so that the revisions are not, or the label is that of a revision that exists.",
    page: "https://istio.io/latest/docs/setup/upgrade/canary/",
  },

  *check(object, { settings }) {
    // Without a mesh config, the revisions are not known.
    if (!areRevisionsKnown(settings) || isForServedRevision(object, settings)) return;
    const revision = object.metadata.labels[revisionLabel] ?? "";
    yield {
      at: ["metadata", "labels", revisionLabel],
      message: `There is no control plane for revision ${JSON.stringify(revision)}, so the ${object.originKind} has no effect`,
      evidence: [absent("MeshConfig", "istio-system", objectsOfRevision(revision).config)],
    };
  },
});
