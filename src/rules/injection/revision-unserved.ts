import { absent } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { enrollmentOf, isAskedFor } from "../../mesh/membership/capture.ts";
import { injectedProxy } from "../../mesh/membership/injection-templates.ts";
import { isAskedOfKnown } from "../../mesh/membership/injector-selectors.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import { namespaceOfWorkload, type Workload } from "../../mesh/membership/workloads.ts";
import { injectionLabel, revisionLabel } from "../../mesh/objects/labels.ts";
import { areRevisionsKnown, objectsOfRevision, revisionNamed, revisionReads } from "../../mesh/objects/revision.ts";
import type { RevisionSettings, SettingsWith } from "../../view/settings.ts";
import { setting } from "../../view/view.ts";

type InjectionSettings = RevisionSettings & SettingsWith<"injectors">;
interface Revisions {
  readonly settings: InjectionSettings;
  readonly areTagsKnown: boolean;
}

export const injectionRevisionUnserved = defineRule({
  id: "injection-revision-unserved",
  subject: ["Namespace", "Workload"],
  reads: [namespaceOfWorkload, ...revisionReads, setting("injectors")],
  worksWithout: ["Workload"],
  mode: "warn",
  since: "0.1.0",
  tags: ["revisions"],
  summary: "A label asks for proxies of a revision that is neither a control plane nor a tag, so pods get none.",
  why: "Each control plane and each tag has its own injector, which selects its name exactly (Istio manifests/charts/istio-control/istio-discovery/templates/mutatingwebhook.yaml, manifests/charts/istio-control/istio-discovery/templates/revision-tags-mwc.yaml); `istio-injection: enabled` is for the revision or the tag `default`. Pods that no injector selects start without a sidecar and without any message.",
  fix: "Use the revision or a tag of a control plane that is installed, or install the control plane first.",
  incident: {
    symptoms: ["outside-mesh"],
    proxies: ["sidecar", "gateway"],
    seen: "Pods that were created since have one container less, `READY 1/1`, and no proxy; older pods keep theirs. A gateway whose proxy is to be injected does not start, because there is no image `auto`. Calls to STRICT workloads fail from the new pods.",
    wayOut:
      "Set the label to a revision or a tag that exists (`istioctl tag list`), then `kubectl rollout restart` the workloads that have pods without a sidecar.",
    silentWhen:
      "The mesh config is not known, so that no revision is; and pods of a namespace that asks for ambient mode.",
    page: "https://istio.io/latest/docs/ops/common-problems/injection/",
  },

  *check(object, mesh) {
    // Without a mesh config, the control planes are not known.
    if (!areRevisionsKnown(mesh.settings)) return;
    const revisions = { settings: mesh.settings, areTagsKnown: mesh.knows("AdmissionWebhook") };
    if (object.kind === "Namespace") yield* ofNamespace(object, revisions);
    else yield* ofWorkload(object, mesh.related(namespaceOfWorkload, object)[0], revisions);
  },
});

function* ofNamespace(namespace: Namespace, revisions: Revisions): Iterable<Problem> {
  const enrollment = enrollmentOf(namespace, revisions.settings);
  if (isTerminating(namespace) || (enrollment !== "sidecar" && enrollment !== "ambient-and-sidecar")) return;
  if (isAskedOfKnown({}, namespace, revisions.settings)) return;
  const { labels } = namespace.metadata;
  const label = labels[injectionLabel] === undefined ? revisionLabel : injectionLabel;
  const name = label === injectionLabel ? "default" : (labels[revisionLabel] ?? "");
  yield* problemsOf(["metadata", "labels", label], name, revisions);
}

/** The label of a pod counts only if its namespace has no label about injection. */
function* ofWorkload(workload: Workload, namespace: Namespace | undefined, revisions: Revisions): Iterable<Problem> {
  if (namespace === undefined || namespace.implied) return;
  const { [injectionLabel]: enabled, [revisionLabel]: revision } = namespace.metadata.labels;
  if (enabled !== undefined || revision !== undefined || isAskedFor(workload, namespace, revisions.settings) !== true)
    return;
  if (isAskedOfKnown(workload.pod.labels, namespace, revisions.settings)) return;
  const own = workload.pod.labels[revisionLabel];
  const at = [...workload.podAt, "metadata", "labels", ...(own === undefined ? [] : [revisionLabel])];
  yield* problemsOf(at, own ?? "default", revisions, injectedProxy(workload.pod) === "sidecar" ? "sidecar" : "proxy");
}

function* problemsOf(
  at: Problem["at"],
  name: string,
  { settings, areTagsKnown }: Revisions,
  proxy: "sidecar" | "proxy" = "sidecar",
): Iterable<Problem> {
  const revision = JSON.stringify(name);
  const { config, tag, injector } = objectsOfRevision(name);
  if (revisionNamed(name, settings) === undefined)
    yield {
      at,
      message: `There is neither a control plane nor a tag for revision ${revision}, so new pods get no ${proxy}`,
      evidence: [absent("MeshConfig", "istio-system", config), absent("AdmissionWebhook", "", tag)],
      // One mesh config in files does not show which other control planes and tags a cluster has.
      ...(areTagsKnown ? {} : { guess: "the tags and the other control planes" }),
    };
  // An injector can have another name, if another tool than Istio's charts and istioctl created it.
  else if (hasInjectorsOfRevisions(settings) && !settings.injectors.includes(name))
    yield {
      at,
      message: `There are injectors, but none for revision ${revision}, so new pods get no ${proxy}`,
      evidence: [absent("AdmissionWebhook", "", injector), absent("AdmissionWebhook", "", tag)],
      onlyWarns: "an injector may have another name",
      fix: `Create the MutatingWebhookConfiguration ${injector} again, or use a revision or a tag that has one.`,
    };
}

/** A repository with only the tags shows nothing about the injectors of revisions. */
const hasInjectorsOfRevisions = ({ injectors, tags }: InjectionSettings): boolean =>
  injectors.some((name) => !Object.hasOwn(tags, name));
