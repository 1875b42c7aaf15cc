import { defineRule } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { closedPods, formatClosed, podsBehind, readsClosedPods } from "../../mesh/authorization/closed-pods.ts";

export const kubernetesServiceNobodyAllowed = defineRule({
  id: "kubernetes-service-nobody-allowed",
  subject: "Service",
  reads: readsClosedPods,
  worksWithout: ["Sidecar"],
  onlyWith: "AuthorizationPolicy",
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
    const [old, now] = [podsBehind(before.object, before.mesh), podsBehind(after.object, after.mesh)];
    if (old === now || old.length === 0) return;
    after.mesh.visited(old.length + now.length);
    // What policies do to the pods of before is reported for their namespace.
    const known = new Set(old.map(idOf));
    const added = now.filter((workload) => !known.has(idOf(workload)));
    const closed = closedPods(after.object, added, after.mesh);
    const [first] = closed;
    if (first === undefined || closedPods(before.object, old, before.mesh).length === old.length) return;
    yield {
      at: ["spec", "selector"],
      message: `Requests to the Service reach ${formatClosed(first, closed)}, whose policies allow nobody, so they are denied there`,
      related: [first],
      evidence: [first],
    };
  },
});
