import { defineRule } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { authorization } from "../../mesh/authorization/effective-authorization.ts";
import { Admissions } from "../../mesh/authorization/requests/admitted.ts";
import type { Applied } from "../../mesh/authorization/requests/applied.ts";
import { captureOf } from "../../mesh/membership/capture.ts";
import { isNeverRedirected, passedBy } from "../../mesh/membership/interception.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import { namespaceOfService, podsNearService, selectsPods, type Service } from "../../mesh/membership/services.ts";
import { portsOf } from "../../mesh/membership/target-ports.ts";
import type { Workload } from "../../mesh/membership/workloads.ts";
import { boundPorts, sidecarsOfPassing } from "../../mesh/traffic/bound-ports.ts";
import { type MeshView, reachedBy } from "../../view/view.ts";

/** What policies do to the pods of before is reported for their namespace, so that only changes of the pods lead to a Service. */
const reads = [namespaceOfService, podsNearService, reachedBy(authorization, []), sidecarsOfPassing] as const;
interface Side {
  readonly object: Service;
  readonly mesh: MeshView<(typeof reads)[number]>;
}

export const kubernetesServiceNobodyAllowed = defineRule({
  id: "kubernetes-service-nobody-allowed",
  subject: "Service",
  reads,
  worksWithout: ["Sidecar"],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  tags: ["authorization"],
  summary: "A Service begins to send requests to pods whose policies allow nobody.",
  why: "Policies select pods by their labels, and not the Service that clients call. Where a namespace has a default deny, pods with other labels, such as those of a canary, of the other colour of a blue-green release or of a copy that a controller makes, need an ALLOW policy of their own: until there is one, each request that the Service sends them gets 403, and ztunnel closes its connections (Istio pilot/pkg/security/authz/builder/builder.go, ztunnel src/rbac.rs).",
  fix: "Apply the ALLOW policies of the old pods to the new ones first, such as by a label that both have.",
  incident: {
    symptoms: ["access-denied"],
    proxies: ["sidecar", "ztunnel"],
    seen: "Requests to the Service fail with 403, or its connections are closed, as far as they reach the new pods.",
    wayOut: "Apply the previous version of the Service, or an ALLOW policy for the new pods.",
    silentWhen:
      "The Service is new, or selected nothing before; the policies of the pods before allowed nobody either; the pods were there before, which namespace-nobody-allowed is about; or a port of the Service bypasses the proxy of the new pods. It is not asked which callers of the old pods the new ones refuse, as long as they allow some request.",
    page: "https://istio.io/latest/docs/reference/config/security/authorization-policy/",
  },

  *compare(before, after) {
    if (!after.mesh.knowsAll("AuthorizationPolicy")) return;
    const [old, now] = [podsOf(before), podsOf(after)];
    if (old === now || old.length === 0) return;
    after.mesh.visited(old.length + now.length);
    const known = new Set(old.map(idOf));
    const added = now.filter((workload) => !known.has(idOf(workload)));
    const closed = closedAmong(added, after);
    const [first] = closed;
    if (first === undefined || closedAmong(old, before).length === old.length) return;
    const others = closed.length === 1 ? "" : ` and ${closed.length - 1} ${closed.length === 2 ? "other" : "others"}`;
    yield {
      at: ["spec", "selector"],
      message: `Requests to the Service reach ${idOf(first)}${others}, whose policies allow nobody, so they are denied there`,
      related: [first],
      evidence: [first],
    };
  },
});

const podsOf = ({ object, mesh }: Side): readonly Workload[] =>
  selectsPods(object) ? (mesh.get(podsNearService, object)?.selected(object.spec.selector) ?? []) : [];

/** The pods whose policies allow nobody, at every port of the Service. Most pods have the same policies. */
function closedAmong(pods: readonly Workload[], { object, mesh }: Side): readonly Workload[] {
  const [namespace] = mesh.related(namespaceOfService, object);
  if (namespace === undefined || isTerminating(namespace) || pods.length === 0) return [];
  const { applied } = mesh.get(authorization, namespace);
  const admissions = new Admissions((values) => mesh.visited(Math.ceil(values / 100)));
  const known = new Map<Applied, boolean>();
  const isClosed = (policies: Applied): boolean => {
    let answer = known.get(policies);
    if (answer === undefined) known.set(policies, (answer = admissions.any(policies) === false));
    return answer;
  };
  return pods.filter(
    (workload) =>
      captureOf(workload, namespace, mesh.settings) !== "none" &&
      isClosed(applied.toWorkload(workload)) &&
      !isPassed(workload, namespace, { object, mesh }),
  );
}

/** Whether a port of the Service leads past the proxy of a pod, so that no policy decides there. */
function isPassed(workload: Workload, namespace: Namespace, { object, mesh }: Side): boolean {
  const { ports, workloadPort } = portsOf(object);
  const hasSidecar = captureOf(workload, namespace, mesh.settings) === "sidecar";
  const surroundings = { namespace, settings: mesh.settings, bound: boundPorts(workload, mesh) };
  return ports.some((port) => {
    const number = workloadPort(port, workload);
    if (number === undefined) return false;
    return (
      (hasSidecar && isNeverRedirected(workload.pod, number)) || passedBy(workload, surroundings, number) !== undefined
    );
  });
}
