import { absent } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import type { AnyObject, ObjectOf } from "../../kube/object.ts";
import type { Path } from "../../kube/read.ts";
import { type AuthorizationPolicy, type TargetRef, targetRefsOf } from "../../mesh/authorization/policies.ts";
import { waypointClass } from "../../mesh/objects/labels.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { index, type MeshView, relation } from "../../view/view.ts";

/** The kinds that a policy can be bound to (Istio pilot/pkg/model/policyattachment.go ShouldAttachPolicy). */
type TargetKind = "Service" | "ServiceEntry" | "KubernetesGateway" | "GatewayClass";

const targetKinds: ReadonlyMap<string, TargetKind> = new Map([
  ["core/Service", "Service"],
  ["networking.istio.io/ServiceEntry", "ServiceEntry"],
  ["gateway.networking.k8s.io/Gateway", "KubernetesGateway"],
  ["gateway.networking.k8s.io/GatewayClass", "GatewayClass"],
]);

/** Undefined: Istio binds nothing to this. No group is the core group. */
const targetKindOf = ({ group, kind }: TargetRef): TargetKind | undefined =>
  targetKinds.get(`${group || "core"}/${kind}`);

const targets = (kind: TargetKind) =>
  index("AuthorizationPolicy", (policy, settings) =>
    isServed(policy, settings)
      ? targetRefsOf(policy).flatMap((ref) =>
          targetKindOf(ref) === kind ? [`${policy.metadata.namespace}/${ref.name}`] : [],
        )
      : [],
  );
const nameOf = ({ metadata }: ObjectOf<"Service" | "ServiceEntry" | "KubernetesGateway">) => [
  `${metadata.namespace}/${metadata.name}`,
];

/** A policy and the Services of its namespace that it is bound to. */
const servicesTargetedByPolicy = relation("servicesTargetedByPolicy", targets("Service"), index("Service", nameOf));
/** A policy and the ServiceEntries of its namespace that it is bound to. */
const serviceEntriesTargetedByPolicy = relation(
  "serviceEntriesTargetedByPolicy",
  targets("ServiceEntry"),
  index("ServiceEntry", (entry, settings) => (isServed(entry, settings) ? nameOf(entry) : [])),
);
/** A policy and the Gateways of its namespace that it is bound to. */
const gatewaysTargetedByPolicy = relation(
  "gatewaysTargetedByPolicy",
  targets("KubernetesGateway"),
  index("KubernetesGateway", nameOf),
);

const reads = [servicesTargetedByPolicy, serviceEntriesTargetedByPolicy, gatewaysTargetedByPolicy] as const;
type View = MeshView<(typeof reads)[number]>;

export const authorizationPolicyTargetNotFound = defineRule({
  id: "authorization-policy-target-not-found",
  subject: "AuthorizationPolicy",
  reads,
  worksWithout: ["KubernetesGateway", "Service", "ServiceEntry"],
  mode: "warn",
  since: "0.1.0",
  tags: ["authorization"],
  summary: "A policy is bound to something that is not there, or that nothing can be bound to: it guards nothing.",
  why: "A policy with targetRefs counts only at what they name, in the policy's own namespace; a GatewayClass counts in the root namespace, for waypoints (Istio pilot/pkg/model/policyattachment.go ShouldAttachPolicy). Workloads no longer see it.",
  fix: "Name a Service, ServiceEntry or Gateway of the policy's own namespace, with its group; for all waypoints the GatewayClass istio-waypoint, in the root namespace.",

  *check(policy, mesh) {
    if (!isServed(policy, mesh.settings)) return;
    const isSingular = policy.spec.targetRefs.length === 0;
    const place = { namespace: policy.metadata.namespace, known: knownTargets(policy, mesh), mesh };
    for (const [i, ref] of targetRefsOf(policy).entries())
      yield* problemsOf(ref, isSingular ? ["spec", "targetRef"] : ["spec", "targetRefs", i], place);
  },
});

interface Place {
  readonly namespace: string;
  /** `kind name` of what is there. */
  readonly known: ReadonlySet<string>;
  readonly mesh: View;
}

function* problemsOf(ref: TargetRef, at: Path, { namespace, known, mesh }: Place): Iterable<Problem> {
  const kind = targetKindOf(ref);
  if (kind === undefined)
    yield { at, message: `Istio binds no policy to ${ref.kind} of group ${JSON.stringify(ref.group || "core")}` };
  else if (ref.namespace && ref.namespace !== namespace)
    yield {
      at,
      message: `A target in namespace ${JSON.stringify(ref.namespace)} is never found: only the policy's own counts`,
    };
  else if (kind === "GatewayClass") yield* ofClass(ref, at, namespace, mesh);
  else if (mesh.knows(kind) && !known.has(`${kind} ${ref.name}`))
    yield {
      at,
      message: `There is no ${ref.kind} ${namespace}/${ref.name}: the policy guards nothing there`,
      evidence: [absent(kind, namespace, ref.name)],
    };
}

function* ofClass({ name }: TargetRef, at: Path, namespace: string, { settings }: View): Iterable<Problem> {
  if (namespace !== settings.rootNamespace)
    yield { at, message: `A GatewayClass counts only in the root namespace ${settings.rootNamespace}` };
  else if (name !== waypointClass)
    yield { at, message: `Of GatewayClasses only istio-waypoint takes policies, not ${JSON.stringify(name)}` };
}

function knownTargets(policy: AuthorizationPolicy, mesh: View): ReadonlySet<string> {
  const found = reads.flatMap((related): readonly AnyObject[] => mesh.related(related, policy));
  return new Set(found.map(({ kind, metadata }) => `${kind} ${metadata.name}`));
}
