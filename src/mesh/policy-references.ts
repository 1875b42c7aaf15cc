import type { ObjectOf } from "../kube/kinds.ts";
import { type AuthorizationPolicy, type TargetRef, targetRefsOf } from "./authorization/policies.ts";
import { isServed } from "./objects/revision.ts";
import { index, relation } from "../view/view.ts";

type RuleOf = AuthorizationPolicy["spec"]["rules"][number];

/** A namespace that a rule names as a caller's, and where. */
export interface NamedNamespace {
  readonly name: string;
  readonly at: readonly (string | number)[];
}

/** What the rules of a policy name as namespaces of callers; a `*` at either end makes it a pattern, which may be of none. */
export function namespacesNamed({ spec }: AuthorizationPolicy): readonly NamedNamespace[] {
  return spec.rules
    .flatMap((rule, i) => [...inSources(rule, i), ...inConditions(rule, i)])
    .filter(({ name }) => isExact(name));
}
const isExact = (name: string): boolean => name !== "" && !name.includes("*");

const inSources = ({ from }: RuleOf, i: number): readonly NamedNamespace[] =>
  from.flatMap(({ source }, j) =>
    (["namespaces", "notNamespaces"] as const).flatMap((field) =>
      source[field].map((name, k) => ({ name, at: ["spec", "rules", i, "from", j, "source", field, k] })),
    ),
  );
const inConditions = ({ when }: RuleOf, i: number): readonly NamedNamespace[] =>
  when.flatMap((condition, j) =>
    condition.key !== "source.namespace"
      ? []
      : (["values", "notValues"] as const).flatMap((field) =>
          condition[field].map((name, k) => ({ name, at: ["spec", "rules", i, "when", j, field, k] })),
        ),
  );

/** A policy and the namespaces that its rules name. */
export const namespacesNamedByPolicy = relation(
  "namespacesNamedByPolicy",
  index("AuthorizationPolicy", (policy, settings) =>
    isServed(policy, settings) ? new Set(namespacesNamed(policy).map(({ name }) => name)) : [],
  ),
  index("Namespace", ({ metadata }) => [metadata.name]),
);

/** The kinds that a policy can be bound to (Istio pilot/pkg/model/policyattachment.go ShouldAttachPolicy). */
export type TargetKind = "Service" | "ServiceEntry" | "KubernetesGateway" | "GatewayClass";

const targetKinds: ReadonlyMap<string, TargetKind> = new Map([
  ["core/Service", "Service"],
  ["networking.istio.io/ServiceEntry", "ServiceEntry"],
  ["gateway.networking.k8s.io/Gateway", "KubernetesGateway"],
  ["gateway.networking.k8s.io/GatewayClass", "GatewayClass"],
]);

/** Undefined: Istio binds nothing to this. No group is the core group. */
export const targetKindOf = ({ group, kind }: TargetRef): TargetKind | undefined =>
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

/** A policy and the Services of its namespace that it is bound to; the same for other kinds. */
export const servicesTargetedByPolicy = relation(
  "servicesTargetedByPolicy",
  targets("Service"),
  index("Service", nameOf),
);
export const serviceEntriesTargetedByPolicy = relation(
  "serviceEntriesTargetedByPolicy",
  targets("ServiceEntry"),
  index("ServiceEntry", (entry, settings) => (isServed(entry, settings) ? nameOf(entry) : [])),
);
export const gatewaysTargetedByPolicy = relation(
  "gatewaysTargetedByPolicy",
  targets("KubernetesGateway"),
  index("KubernetesGateway", nameOf),
);
