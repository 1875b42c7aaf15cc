import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import {
  closedPods,
  formatClosed,
  podsBehind,
  readsClosedPods,
  unguardedPods,
} from "../../mesh/authorization/closed-pods.ts";
import type { Service } from "../../mesh/membership/services.ts";
import { portsOf, targetsMoved } from "../../mesh/membership/target-ports.ts";
import type { Workload } from "../../mesh/membership/workloads.ts";
import type { MeshView } from "../../view/view.ts";

interface Side {
  readonly object: Service;
  readonly mesh: MeshView<(typeof readsClosedPods)[number]>;
}

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
  summary:
    "A Service begins to send requests to pods, or to a port of them, whose policies allow nobody; or its pods join the mesh, and their policies allow nobody.",
  why: "Policies select pods by their labels, and not the Service that clients call. Where a namespace has a default deny, pods with other labels, such as those of a canary, of the other colour of a blue-green release or of a copy that a controller makes, need an ALLOW policy of their own: until there is one, each request that the Service sends them gets 403, and ztunnel closes its connections (Istio pilot/pkg/security/authz/builder/builder.go, ztunnel src/rbac.rs). The `ports` of a policy are those of the pod (pilot/pkg/security/authz/model/generator.go destPortGenerator), so that another `targetPort` can be one that no rule allows. Pods outside the mesh ignore policies, such as a default deny of their namespace or of the root namespace, which denies everything from the moment that they get a sidecar or that ztunnel captures them.",
  fix: "Apply the ALLOW policies of the old pods to the new ones first, such as by a label that both have. Add a new `targetPort` to the ports that they allow.",
  incident: {
    symptoms: ["access-denied"],
    proxies: ["sidecar", "ztunnel"],
    seen: "Requests to the Service fail with 403, or its connections are closed, as far as they reach the new pods.",
    wayOut: "Apply the previous version of the Service, or an ALLOW policy for the new pods.",
    silentWhen:
      "The Service is new, or selected nothing before; the policies of the pods before allowed nobody either; the pods were there before and in the mesh, which namespace-nobody-allowed is about; or a port of the Service bypasses the proxy of the new pods. It is not asked which callers of the old pods the new ones refuse, as long as they allow some request.",
    page: "https://istio.io/latest/docs/reference/config/security/authorization-policy/",
  },

  *compare(before, after) {
    yield* closedByPort(before, after);
    const [old, now] = [podsBehind(before.object, before.mesh), podsBehind(after.object, after.mesh)];
    if (old.length === 0) return;
    const open = before.mesh.get(unguardedPods, before.object);
    if (old === now && open.size === 0) return;
    after.mesh.visited(old.length + now.length);
    // What policies do to the pods of before is reported for their namespace, as far as the policies were enforced.
    const known = new Set(old.map(idOf));
    const unguarded = new Set(Array.from(open, idOf));
    const isMoved = (workload: Workload): boolean => !known.has(idOf(workload));
    const closed = closedPods(
      after.object,
      now.filter((workload) => isMoved(workload) || unguarded.has(idOf(workload))),
      after.mesh,
    );
    if (closed.length === 0 || closedPods(before.object, old, before.mesh).length === old.length) return;
    yield* reached(closed.filter(isMoved));
    yield* joined(closed.filter((workload) => !isMoved(workload)));
  },
});

function reached(closed: readonly Workload[]): readonly Problem[] {
  const [first] = closed;
  if (first === undefined) return [];
  return [
    {
      at: ["spec", "selector"],
      message: `Requests to the Service reach ${formatClosed(first, closed)}, whose policies allow nobody, so they are denied there`,
      related: [first],
      evidence: [first],
    },
  ];
}

function joined(closed: readonly Workload[]): readonly Problem[] {
  const [first] = closed;
  if (first === undefined) return [];
  return [
    {
      at: [],
      message: `Requests to the Service are denied at ${formatClosed(first, closed)} from now on: the policies there take effect with this change, and allow nobody`,
      key: "joined",
      related: [first],
      evidence: [first],
      fix: "Apply an ALLOW policy for the callers of the pods first, and then let the pods join the mesh.",
    },
  ];
}

/** Few changes move more ports. */
const mostMoved = 8;

/** A port that leads to another one of the pods that are behind the Service already, where their policies allow nobody. */
function* closedByPort(before: Side, after: Side): Iterable<Problem> {
  const moved = targetsMoved(before.object, after.object).slice(0, mostMoved);
  if (moved.length === 0) return;
  const [was, is] = [portsOf(before.object), portsOf(after.object)];
  const old = new Map(podsBehind(before.object, before.mesh).map((one) => [idOf(one), one]));
  const now = podsBehind(after.object, after.mesh).filter((one) => old.has(idOf(one)));
  after.mesh.visited(old.size + now.length);
  for (const { index, port } of moved) {
    const former = (pod: Workload) => was.workloadPort(port, pod);
    const closed = closedPods(after.object, now, after.mesh, (pod) => is.workloadPort(port, pod));
    const olds = closed.flatMap((one) => old.get(idOf(one)) ?? []);
    const wereClosed = new Set(closedPods(before.object, olds, before.mesh, former).map(idOf));
    // What policies do to the port of before is reported for their namespace.
    const areClosed = new Set(closedPods(after.object, closed, after.mesh, former).map(idOf));
    const found = closed.filter((one) => !wereClosed.has(idOf(one)) && !areClosed.has(idOf(one)));
    const [first] = found;
    if (first === undefined) continue;
    yield {
      at: ["spec", "ports", index, "targetPort"],
      message: `Port ${port} of the Service leads to port ${is.workloadPort(port, first) ?? port} of ${formatClosed(first, found)}, where the policies allow nobody, so requests are denied there`,
      key: `port ${port}`,
      related: [first],
      evidence: [first],
    };
  }
}
