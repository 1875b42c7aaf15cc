import type { ObjectOf } from "../../kube/object.ts";
import { defaultMeshSettings, type MeshSettings } from "../../view/settings.ts";
import { fact, index, relation } from "../../view/view.ts";
import { actionOf, type AuthorizationPolicy, isDryRun, opensToEveryone } from "../authorization/policies.ts";
import { reachOf } from "../authorization/reach.ts";
import { rootOfNamespace } from "../membership/namespaces.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { kubernetesGatewayByName, namespaceByName } from "../objects/indexes.ts";
import { gatewayApiGroup, waypointClass } from "../objects/labels.ts";
import { isServed } from "../objects/revision.ts";

/** A policy that a waypoint enforces. */
export type WaypointPolicy = ObjectOf<"AuthorizationPolicy"> | ObjectOf<"RequestAuthentication">;

/** As targetRefsOf, for both kinds. */
const refsOf = ({ spec }: WaypointPolicy): AuthorizationPolicy["spec"]["targetRefs"] =>
  spec.targetRefs.length === 0 && spec.targetRef !== undefined ? [spec.targetRef] : spec.targetRefs;

/** Whether a waypoint enforces the policy. AUDIT policies and dry runs only log. */
const counts = (policy: WaypointPolicy, settings: MeshSettings): boolean =>
  isServed(policy, settings) &&
  (policy.kind === "RequestAuthentication" || (!isDryRun(policy) && actionOf(policy) !== "AUDIT"));

const groups = {
  Service: ["", "core"],
  ServiceEntry: ["networking.istio.io"],
  Gateway: [gatewayApiGroup],
  GatewayClass: [gatewayApiGroup],
} as const;

/**
 * The names of the targets of one kind, which are in the namespace of the policy. Only for a Gateway the namespace of the
 * reference is compared (Istio pilot/pkg/model/policyattachment.go ShouldAttachPolicy).
 */
function namesIn(policy: WaypointPolicy, target: keyof typeof groups): readonly string[] {
  const accepted: readonly string[] = groups[target];
  const isHere = (namespace: string | undefined) =>
    target !== "Gateway" || ["", policy.metadata.namespace].includes(namespace ?? "");
  return refsOf(policy).flatMap(({ group, kind, name, namespace }) =>
    kind === target && accepted.includes(group) && isHere(namespace) ? [name] : [],
  );
}

const placesOfServices = (policy: WaypointPolicy, settings: MeshSettings): readonly string[] =>
  counts(policy, settings) && namesIn(policy, "Service").length + namesIn(policy, "ServiceEntry").length > 0
    ? [policy.metadata.namespace]
    : [];

const placesOfGateways = (policy: WaypointPolicy, settings: MeshSettings): readonly string[] =>
  counts(policy, settings) ? namesIn(policy, "Gateway").map((name) => `${policy.metadata.namespace}/${name}`) : [];

const placesOfClass = (policy: WaypointPolicy, settings: MeshSettings): readonly string[] =>
  counts(policy, settings) &&
  policy.metadata.namespace === settings.rootNamespace &&
  namesIn(policy, "GatewayClass").includes(waypointClass)
    ? [policy.metadata.namespace]
    : [];

/** A namespace and its AuthorizationPolicies that target Services or ServiceEntries. */
const policiesForServices = relation(
  "policiesForServices",
  namespaceByName,
  index("AuthorizationPolicy", (policy, settings) => placesOfServices(policy, settings)),
);
/** A namespace and its RequestAuthentications that target Services or ServiceEntries. */
const authenticationsForServices = relation(
  "authenticationsForServices",
  namespaceByName,
  index("RequestAuthentication", (policy, settings) => placesOfServices(policy, settings)),
);
/** A Gateway and the AuthorizationPolicies of its namespace that target it. */
const policiesForGateway = relation(
  "policiesForGateway",
  kubernetesGatewayByName,
  index("AuthorizationPolicy", (policy, settings) => placesOfGateways(policy, settings)),
);
/** A Gateway and the RequestAuthentications of its namespace that target it. */
const authenticationsForGateway = relation(
  "authenticationsForGateway",
  kubernetesGatewayByName,
  index("RequestAuthentication", (policy, settings) => placesOfGateways(policy, settings)),
);
/** A namespace and the AuthorizationPolicies of the root namespace that target the class of all waypoints. */
const policiesForClass = relation(
  "policiesForClass",
  rootOfNamespace.from,
  index("AuthorizationPolicy", (policy, settings) => placesOfClass(policy, settings)),
);
/** A namespace and the RequestAuthentications of the root namespace that target the class of all waypoints. */
const authenticationsForClass = relation(
  "authenticationsForClass",
  rootOfNamespace.from,
  index("RequestAuthentication", (policy, settings) => placesOfClass(policy, settings)),
);

/** The policies that a waypoint enforces for some traffic because of one kind of target. */
export class EnforcedPolicies {
  /** ALLOW policies that restrict callers, oldest first. */
  readonly allowing: readonly WaypointPolicy[];
  /** DENY and CUSTOM policies, then the validation of tokens. */
  readonly refusing: readonly WaypointPolicy[];
  /** An ALLOW policy that allows everyone, so that it restricts nobody and cancels the others. */
  readonly opening: WaypointPolicy | undefined;
  /** A DENY policy denies everything, so that nobody gains anything by what else goes. */
  readonly isSealed: boolean;
  readonly #all: readonly WaypointPolicy[];
  readonly #unread: readonly WaypointPolicy[];
  readonly #settings: MeshSettings;
  #names: ReadonlySet<string> | undefined;
  #effects: ReadonlySet<string> | undefined;

  /** `unread`: those that the control plane of the waypoint does not read. */
  constructor(all: readonly WaypointPolicy[], settings: MeshSettings, unread: readonly WaypointPolicy[] = []) {
    this.#all = all;
    this.#unread = unread;
    this.#settings = settings;
    const sorted = all.toSorted(oldestFirst);
    const isOpening = (policy: WaypointPolicy) =>
      policy.kind === "AuthorizationPolicy" && opensToEveryone(policy, settings);
    this.opening = sorted.find(isOpening);
    this.allowing = sorted.filter((policy) => isAllow(policy) && !isOpening(policy));
    this.refusing = sorted.filter((policy) => !isAllow(policy)).sort((a, b) => rankOf(a) - rankOf(b));
    this.isSealed = this.refusing.some(
      (policy) =>
        policy.kind === "AuthorizationPolicy" &&
        actionOf(policy) === "DENY" &&
        reachOf(policy, "proxy", settings) === "everyone",
    );
  }

  /** Those that the control plane of the waypoint reads; the same if it reads all. */
  readBy(isRead: (policy: WaypointPolicy) => boolean): EnforcedPolicies {
    const unread = this.#all.filter((policy) => !isRead(policy));
    return unread.length === 0 ? this : new EnforcedPolicies(this.#all.filter(isRead), this.#settings, unread);
  }

  /** The same without those, unchanged, that the control plane of the waypoint does not read on the other side of a change. */
  readToo(other: EnforcedPolicies): EnforcedPolicies {
    if (other.#unread.length === 0) return this;
    const unread = new Set(other.#unread);
    return this.readBy((policy) => !unread.has(policy));
  }

  /**
   * Whether the policy is among them, perhaps with other rules, or one that has the same effect. One that denies what it allowed, or the
   * other way round, is another one.
   */
  has(policy: WaypointPolicy): boolean {
    this.#names ??= new Set([...this.allowing, ...this.refusing].map(nameOf));
    if (this.#names.has(nameOf(policy))) return true;
    this.#effects ??= new Set([...this.allowing, ...this.refusing].map(effectOf));
    return this.#effects.has(effectOf(policy));
  }
}

const isAllow = (policy: WaypointPolicy): boolean =>
  policy.kind === "AuthorizationPolicy" && actionOf(policy) === "ALLOW";

const rankOf = (policy: WaypointPolicy): number =>
  policy.kind === "RequestAuthentication" ? 2 : Number(actionOf(policy) !== "DENY");

const nameOf = (policy: WaypointPolicy): string =>
  `${policy.kind} ${policy.metadata.namespace}/${policy.metadata.name} ${isAllow(policy) ? "allows" : "refuses"}`;

const effects = new WeakMap<WaypointPolicy, string>();

/** What a policy does with the requests that it applies to. */
function effectOf(policy: WaypointPolicy): string {
  let text = effects.get(policy);
  if (text === undefined) {
    const { kind, spec } = policy;
    const content = kind === "RequestAuthentication" ? spec.jwtRules : [actionOf(policy), spec.provider, spec.rules];
    effects.set(policy, (text = JSON.stringify([kind, content])));
  }
  return text;
}

export const noPolicies = new EnforcedPolicies([], defaultMeshSettings);

type Sources = readonly [readonly AuthorizationPolicy[], readonly ObjectOf<"RequestAuthentication">[]];
const known = new WeakMap<Sources[0], WeakMap<Sources[1], unknown>>();

/** What is computed from two lists, which are the same ones on both sides of a change that does not touch them. */
function ofLists<T extends object>([policies, authentications]: Sources, compute: () => T): T {
  if (policies.length + authentications.length === 0) return compute();
  const byPolicies = known.get(policies) ?? new WeakMap<Sources[1], unknown>();
  known.set(policies, byPolicies);
  const found = (byPolicies.get(authentications) as T | undefined) ?? compute();
  byPolicies.set(authentications, found);
  return found;
}

/** The policies of one namespace by the Services and the ServiceEntries that they target. */
export interface PoliciesOfServices {
  readonly Service: ReadonlyMap<string, EnforcedPolicies>;
  readonly ServiceEntry: ReadonlyMap<string, EnforcedPolicies>;
}
/** The policies of a namespace by the Services and the ServiceEntries that they target. */
export const policiesOfServices = fact(
  "policiesOfServices",
  "Namespace",
  [policiesForServices, authenticationsForServices],
  (namespace, mesh): PoliciesOfServices => {
    const policies = mesh.related(policiesForServices, namespace);
    const authentications = mesh.related(authenticationsForServices, namespace);
    return ofLists([policies, authentications], () => {
      const all = [...policies, ...authentications];
      const { settings } = mesh;
      return { Service: byTarget(all, "Service", settings), ServiceEntry: byTarget(all, "ServiceEntry", settings) };
    });
  },
);

function byTarget(policies: readonly WaypointPolicy[], target: "Service" | "ServiceEntry", settings: MeshSettings) {
  const found = new Map<string, WaypointPolicy[]>();
  for (const policy of policies)
    for (const name of new Set(namesIn(policy, target))) {
      const there = found.get(name);
      if (there === undefined) found.set(name, [policy]);
      else there.push(policy);
    }
  return new Map([...found].map(([name, some]) => [name, new EnforcedPolicies(some, settings)]));
}

/** The policies that target a Gateway. */
export const policiesOfGateway = fact(
  "policiesOfGateway",
  "KubernetesGateway",
  [policiesForGateway, authenticationsForGateway],
  (gateway, mesh): EnforcedPolicies => {
    const policies = mesh.related(policiesForGateway, gateway);
    const authentications = mesh.related(authenticationsForGateway, gateway);
    if (policies.length + authentications.length === 0) return noPolicies;
    return ofLists(
      [policies, authentications],
      () => new EnforcedPolicies([...policies, ...authentications], mesh.settings),
    );
  },
);

/** The policies that apply at all waypoints of a namespace's contents, because they target the class of waypoints. */
export const policiesOfWaypointClass = fact(
  "policiesOfWaypointClass",
  "Namespace",
  [policiesForClass, authenticationsForClass],
  (namespace, mesh): EnforcedPolicies => {
    const policies = mesh.related(policiesForClass, namespace);
    const authentications = mesh.related(authenticationsForClass, namespace);
    if (policies.length + authentications.length === 0) return noPolicies;
    return ofLists(
      [policies, authentications],
      () => new EnforcedPolicies([...policies, ...authentications], mesh.settings),
    );
  },
);
