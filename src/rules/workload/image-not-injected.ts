import { defineRule } from "../../engine/rule.ts";
import { isAskedFor, neverInjected, refusesInjection } from "../../mesh/membership/capture.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import { isOwned, namespaceOfWorkload, type Workload } from "../../mesh/membership/workloads.ts";
import { injectionLabel, injectSidecar, revisionLabel } from "../../mesh/objects/labels.ts";

/** What the injector replaces by the image of the proxy (Istio pkg/kube/inject/webhook.go reapplyOverwrittenContainers). */
const placeholder = "auto";

export const workloadImageNotInjected = defineRule({
  id: "workload-image-not-injected",
  subject: "Workload",
  reads: [namespaceOfWorkload],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  summary: "A pod template has the image `auto`, and its pods are not injected, so they do not start.",
  why: "Gateways are installed as pods with a container whose image is `auto`. The injector replaces it by the image of the proxy, if it is asked about the pod (Istio pkg/kube/inject/webhook.go, manifests/charts/gateway/templates/deployment.yaml). Otherwise the kubelet looks for an image of this name.",
  fix: 'Have the pods injected: the label `sidecar.istio.io/inject: "true"` on the pod template, with `istio.io/rev` if there is no default revision, and no label on the namespace that turns injection off.',
  incident: {
    symptoms: ["pods-refused"],
    proxies: ["gateway", "sidecar"],
    seen: "New pods stay in `ImagePullBackOff` for the image `auto`. Pods that were injected before go on, until they are moved or restarted.",
    wayOut: "Put the label back that the pods were injected by, and delete the pods that do not start.",
    silentWhen:
      "It is not known whether the pods are injected, or another workload owns them; a revision that nobody serves is reported by injection-revision-unserved.",
    page: "https://istio.io/latest/docs/setup/additional-setup/gateway/",
  },

  *check(workload, mesh) {
    const [namespace] = mesh.related(namespaceOfWorkload, workload);
    if (isOwned(workload) || namespace === undefined || isTerminating(namespace)) return;
    const container = workload.pod.unusual.find(({ image }) => image === placeholder);
    if (container === undefined || isAskedFor(workload, namespace, mesh.settings) !== false) return;
    yield {
      at: [...workload.podAt, ...container.at, "image"],
      message: `Pods do not start: only the injector replaces the image "${placeholder}", and they are not injected (${reasonOf(workload, namespace)})`,
      key: "image",
      evidence: [namespace],
      ...(neverInjected.has(namespace.metadata.name) ? { fix: "Run it in another namespace." } : {}),
      ...(workload.pod.hostNetwork
        ? {
            fix: "Name the image of the proxy in the template, because pods that use the host's network are never injected.",
          }
        : {}),
    };
  },
});

function reasonOf({ pod }: Workload, { metadata: { name, labels } }: Namespace): string {
  if (pod.hostNetwork) return "they use the network of the host";
  if (neverInjected.has(name)) return `no pods of namespace ${name} are`;
  if (refusesInjection(pod)) return `they have ${injectSidecar}=false`;
  const label = [injectionLabel, revisionLabel].find((key) => labels[key] !== undefined);
  return label === undefined
    ? `no label of the pods or of namespace ${name} asks for it`
    : `namespace ${name} has ${label}=${labels[label]}`;
}
