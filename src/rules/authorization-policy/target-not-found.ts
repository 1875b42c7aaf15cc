import { absent } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { ObjectOf } from "../../kube/object.ts";
import type { Path } from "../../kube/read.ts";
import { type AuthorizationPolicy, type TargetRef, targetRefsOf } from "../../mesh/authorization/policies.ts";
import { isExternalName, isHeadless } from "../../mesh/membership/services.ts";
import type { Namespace } from "../../mesh/membership/namespaces.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { waypointClass } from "../../mesh/objects/labels.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import {
  type WaypointBinding,
  waypointBinding,
  waypointBindingOfDefinition,
  waypointOfService,
  waypointOfServiceEntry,
} from "../../mesh/waypoints/bindings.ts";
import { index, type MeshView, relation } from "../../view/view.ts";

/** The kinds that a policy can be attached to (Istio pilot/pkg/model/policyattachment.go ShouldAttachPolicy). */
type TargetKind = "Service" | "ServiceEntry" | "KubernetesGateway" | "GatewayClass";

const targetKinds: ReadonlyMap<string, TargetKind> = new Map([
  ["core/Service", "Service"],
  ["networking.istio.io/ServiceEntry", "ServiceEntry"],
  ["gateway.networking.k8s.io/Gateway", "KubernetesGateway"],
  ["gateway.networking.k8s.io/GatewayClass", "GatewayClass"],
]);

/** Undefined: Istio attaches no policy to this kind. An empty group is the core group. */
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

/** A policy and the Services of its namespace that it targets. */
const servicesTargetedByPolicy = relation("servicesTargetedByPolicy", targets("Service"), index("Service", nameOf));
/** A policy and the ServiceEntries of its namespace that it targets. */
const serviceEntriesTargetedByPolicy = relation(
  "serviceEntriesTargetedByPolicy",
  targets("ServiceEntry"),
  index("ServiceEntry", (entry, settings) => (isServed(entry, settings) ? nameOf(entry) : [])),
);
/** A policy and the Gateways of its namespace that it targets. */
const gatewaysTargetedByPolicy = relation(
  "gatewaysTargetedByPolicy",
  targets("KubernetesGateway"),
  index("KubernetesGateway", nameOf),
);

/** A policy that targets Services or ServiceEntries, and its namespace, whose labels can name their waypoint. */
const namespaceOfTargets = relation(
  "namespaceOfTargets",
  index("AuthorizationPolicy", (policy, settings) => {
    const kinds = targetRefsOf(policy).map(targetKindOf);
    const isForServices = kinds.includes("Service") || kinds.includes("ServiceEntry");
    return isForServices && isServed(policy, settings) ? [policy.metadata.namespace] : [];
  }),
  namespaceByName,
);

const targeted = [servicesTargetedByPolicy, serviceEntriesTargetedByPolicy, gatewaysTargetedByPolicy] as const;
const reads = [...targeted, namespaceOfTargets, waypointBinding, waypointOfService, waypointOfServiceEntry] as const;
type View = MeshView<(typeof reads)[number]>;

export const authorizationPolicyTargetNotFound = defineRule({
  id: "authorization-policy-target-not-found",
  subject: "AuthorizationPolicy",
  reads,
  worksWithout: ["KubernetesGateway", "Service", "ServiceEntry"],
  mode: "warn",
  since: "0.1.0",
  tags: ["authorization"],
  summary:
    "The target of a policy does not exist, uses no waypoint or cannot have policies, so the policy has no effect.",
  why: "A policy with targetRefs applies only to its targets in the policy's own namespace. One that targets a Service or a ServiceEntry is enforced by its waypoint alone: sidecars and ztunnel do not read it (Istio pilot/pkg/serviceregistry/ambient/policies.go WaypointPolicyStatusCollection). A GatewayClass is a valid target only in the root namespace, for waypoints (Istio pilot/pkg/model/policyattachment.go ShouldAttachPolicy). The policy no longer applies to workloads.",
  fix: "Target a Service, ServiceEntry or Gateway in the policy's own namespace, with its group. To target all waypoints, use the GatewayClass istio-waypoint in the root namespace.",
  incident: {
    symptoms: ["no-effect", "open-access"],
    proxies: ["gateway", "waypoint"],
    seen: "What the policy should deny is answered, or what it should allow gets 403 because another policy denies by default.",
    wayOut: "Correct the name of the target. If the waypoint or Gateway was deleted, apply it again.",
    silentWhen: "Kinds of targets of which the mesh view has no information.",
    page: "https://istio.io/latest/docs/reference/config/security/authorization-policy/",
  },

  *check(policy, mesh) {
    if (!isServed(policy, mesh.settings)) return;
    const isSingular = policy.spec.targetRefs.length === 0;
    const place = {
      namespace: policy.metadata.namespace,
      known: knownTargets(policy, mesh),
      mesh,
      of: mesh.related(namespaceOfTargets, policy)[0],
    };
    for (const [i, ref] of targetRefsOf(policy).entries())
      yield* problemsOf(ref, isSingular ? ["spec", "targetRef"] : ["spec", "targetRefs", i], place);
  },
});

interface Place {
  readonly namespace: string;
  /** The existing objects, by `kind name`. */
  readonly known: ReadonlyMap<string, Target>;
  readonly mesh: View;
  /** The namespace itself, if the policy targets Services or ServiceEntries. */
  readonly of: Namespace | undefined;
}

function* problemsOf(ref: TargetRef, at: Path, place: Place): Iterable<Problem> {
  const { namespace, known, mesh } = place;
  const kind = targetKindOf(ref);
  if (kind === undefined)
    yield {
      at,
      message: `Istio attaches no policy to ${ref.kind} of group ${JSON.stringify(ref.group || "core")}, so the policy has no effect there`,
      fix: 'Target a Service (group ""), a ServiceEntry (networking.istio.io) or a Gateway (gateway.networking.k8s.io). To target all waypoints, use the GatewayClass istio-waypoint in the root namespace.',
    };
  else if (ref.namespace && ref.namespace !== namespace)
    yield {
      at,
      message: `A target in namespace ${JSON.stringify(ref.namespace)} is never found: only the policy's own namespace is searched`,
      fix: `Create the policy in namespace ${ref.namespace}, or target an object in namespace ${namespace} and remove \`namespace\` from the target.`,
    };
  else if (kind === "GatewayClass") yield* ofClass(ref, at, namespace, mesh);
  else if (mesh.knows(kind) && !known.has(`${kind} ${ref.name}`))
    yield {
      at,
      message: `${ref.kind} ${namespace}/${ref.name} does not exist, so the policy has no effect there`,
      fix: `Create ${ref.kind} ${namespace}/${ref.name} first, or correct the name of the target.`,
      evidence: [absent(kind, namespace, ref.name)],
    };
  else yield* withoutWaypoint(ref, at, place);
}

function* ofClass({ name }: TargetRef, at: Path, namespace: string, { settings }: View): Iterable<Problem> {
  if (namespace !== settings.rootNamespace)
    yield {
      at,
      message: `A GatewayClass is a valid target only in the root namespace ${settings.rootNamespace}, so the policy has no effect there`,
      fix: `To target all waypoints, create the policy in namespace ${settings.rootNamespace}. To target one waypoint, use kind Gateway and its name.`,
    };
  else if (name !== waypointClass)
    yield {
      at,
      message: `The only GatewayClass that can have policies is istio-waypoint, not ${JSON.stringify(name)}`,
      fix: "Use the name istio-waypoint. To target an ingress gateway, create the policy in its namespace, with kind Gateway and its name.",
    };
}

type Target = ObjectOf<"Service" | "ServiceEntry" | "KubernetesGateway">;

function knownTargets(policy: AuthorizationPolicy, mesh: View): ReadonlyMap<string, Target> {
  const found = targeted.flatMap((related): readonly Target[] => mesh.related(related, policy));
  return new Map(found.map((target) => [`${target.kind} ${target.metadata.name}`, target]));
}

/** A waypoint that is asked for and cannot be used is reported where it is asked for. */
function* withoutWaypoint(ref: TargetRef, at: Path, { known, mesh, of }: Place): Iterable<Problem> {
  const target = known.get(`${targetKindOf(ref)} ${ref.name}`);
  if (target === undefined || target.kind === "KubernetesGateway" || of === undefined || of.implied) return;
  if (!isForOthers(waypointBindingOfDefinition(target, of, mesh))) return;
  yield {
    at,
    ...lackOf(target),
    related: [target],
    evidence: [target, of],
  };
}

function lackOf(target: Target): Pick<Problem, "message" | "fix"> {
  if (target.kind !== "Service") return withoutOne(target);
  if (isExternalName(target)) return externalName(target);
  return isHeadless(target) ? headless(target) : withoutOne(target);
}

const withoutOne = (target: Target) => ({
  message: `${idOf(target)} uses no waypoint, so the policy has no effect there`,
  fix: "Set the label istio.io/use-waypoint on the target or its namespace, to a waypoint for services. For workloads with sidecars, use a selector instead of targetRefs.",
});
const externalName = (target: Target) => ({
  message: `${idOf(target)} is another name for a host and has no waypoint, so the policy has no effect there`,
  fix: "Name the Service or the ServiceEntry of the host itself.",
});
const headless = (target: Target) => ({
  message: `${idOf(target)} is headless, so clients connect to its pods past any waypoint, and the policy has no effect there`,
  fix: "Name another Service of these pods, one with a cluster IP, or use a selector with rules that ztunnel or sidecars enforce.",
});

/** Whether there is no waypoint, or that of the namespace is only for requests to the addresses of pods. */
const isForOthers = (binding: WaypointBinding | undefined): boolean =>
  binding === undefined || (binding.by === "namespace" && binding.trouble === "other traffic");
