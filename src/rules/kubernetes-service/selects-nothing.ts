import type { Labels } from "../../kube/object.ts";
import { absent } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { type Service, workloadsNearService } from "../../mesh/membership/services.ts";
import { labelsOfWorkloadEntry } from "../../mesh/membership/workload-entries.ts";
import { keysOfLabels } from "../../mesh/objects/label-keys.ts";
import { Labelled } from "../../mesh/objects/labelled.ts";
import { givenLabels } from "../../mesh/objects/labels.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { formatLabels } from "../../mesh/objects/selectors.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";

/** A Service and the WorkloadEntries of its namespace that have one label of its selector. */
const workloadEntriesNearService = relation(
  "workloadEntriesNearService",
  workloadsNearService.from,
  index("WorkloadEntry", (entry, settings) =>
    isServed(entry, settings) ? keysOfLabels(entry.metadata.namespace, labelsOfWorkloadEntry(entry)) : [],
  ),
);

/** The labels of what has one label of the selectors of some Services, gateways included. */
const labelsNearServices = fact(
  "labelsNearServices",
  "key",
  [workloadsNearService, workloadEntriesNearService],
  (key, mesh): Labelled<Labels> =>
    new Labelled(
      [
        ...mesh.under(workloadsNearService, [key]).map(({ pod }) => pod.labels),
        ...mesh.under(workloadEntriesNearService, [key]).map(labelsOfWorkloadEntry),
      ],
      (labels) => labels,
    ),
);

export const kubernetesServiceSelectsNothing = defineRule({
  id: "kubernetes-service-selects-nothing",
  subject: "Service",
  reads: [labelsNearServices],
  worksWithout: ["WorkloadEntry"],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  summary: "No known workload has the labels that a Service selects, so it has no endpoints.",
  why: "The endpoints of a Service are the pods that have every label of its selector. Without any, a sidecar or a waypoint answers 503 (`no healthy upstream`), and ztunnel refuses the connections. A label that is misspelt, or a version that was removed, leaves nothing that reports it.",
  fix: "Correct the labels of the selector: they are those of the pod template, not of the Deployment.",
  incident: {
    symptoms: ["no-endpoints"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "Every request to the Service fails, and `kubectl get endpointslices` shows none with addresses.",
    wayOut: "Correct the selector, or apply the workload again that had these labels.",
    silentWhen:
      "Not all workloads are known; the Service has no selector, is headless, is an ExternalName, or selects by a label of an operator, of a controller or of a Gateway; or it is new and no workload has any part of the selector, because the workload may follow. The pods of a template count also if it is scaled to zero.",
    page: "https://kubernetes.io/docs/concepts/services-networking/service/",
  },

  *check(service, mesh) {
    // A Service is often applied before its workload, and it has a version only when it is stored.
    const isStored = service.metadata.resourceVersion !== undefined;
    const missing = missingIn({ object: service, mesh });
    if (missing !== undefined && (isStored || missing.near > 0)) yield problemOf(service);
  },

  *compare(before, after) {
    if (missingIn(after) === undefined) return;
    const isKnown = missingIn(before)?.labels === missingIn(after)?.labels;
    yield { ...problemOf(after.object), ...(isKnown ? { existed: true } : {}) };
  },
});

/** The labels that no workload has, and how many have a part of them; undefined: some workload has them, or may have them. */
function missingIn({
  object,
  mesh,
}: {
  readonly object: Service;
  readonly mesh: MeshView<typeof labelsNearServices>;
}): { readonly labels: string; readonly near: number } | undefined {
  const { selector } = object.spec;
  const [key] = workloadsNearService.from.keys(object, mesh.settings);
  if (key === undefined || !mesh.knowsAll("Workload") || mayBeForUnknownPods(object)) return undefined;
  const near = mesh.get(labelsNearServices, key);
  return near.selected(selector).length > 0 ? undefined : { labels: formatLabels(selector), near: near.all.length };
}

const problemOf = ({ metadata: { namespace }, spec: { selector } }: Service): Problem => ({
  at: ["spec", "selector"],
  message: `No workload in "${namespace}" has ${formatLabels(selector)}, so the Service has no endpoints`,
  evidence: [absent("Workload", namespace)],
});

/**
 * Pods that operators make have labels under a domain of the operator, and their kinds are not known. A headless Service often
 * stands for such pods, too. Without a selector, endpoints are written by hand.
 */
function mayBeForUnknownPods({ metadata, spec: { selector, type, clusterIP } }: Service): boolean {
  const keys = Object.keys(selector);
  if (keys.length === 0 || type === "ExternalName" || clusterIP === "None") return true;
  return metadata.deletionTimestamp !== undefined || keys.some(mayBeOfOperator);
}
const mayBeOfOperator = (key: string): boolean =>
  givenLabels.has(key) || (key.includes("/") && !isRecommended.test(key));
/** The labels that Kubernetes recommends for all applications. */
const isRecommended = /^app\.kubernetes\.io\//;
