import type { Labels } from "../../kube/object.ts";
import { type MeshView, reachedBy } from "../../view/view.ts";
import { podsBehind, unguardedPods } from "../authorization/closed-pods.ts";
import { authorization } from "../authorization/effective-authorization.ts";
import { Admissions } from "../authorization/requests/admitted.ts";
import type { Applied } from "../authorization/requests/applied.ts";
import { anyCallers, type Callers } from "../authorization/requests/gains.ts";
import type { Clauses } from "../authorization/requests/matches.ts";
import { Texts } from "../authorization/requests/texts.ts";
import type { Sender } from "../gateways/gateway-senders.ts";
import { isTerminating, type Namespace } from "../membership/namespaces.ts";
import { podsNearService, selectsPods, type Service } from "../membership/services.ts";
import { portsOf } from "../membership/target-ports.ts";
import type { Workload } from "../membership/workloads.ts";
import { isForGateways } from "../waypoints/bindings.ts";
import { throughWaypoint } from "../waypoints/new-ways.ts";
import { servedPolicies } from "../waypoints/served-places.ts";
import { usedWaypoints } from "../waypoints/served-traffic.ts";
import { identityIn } from "./sources.ts";

/** What `GatewayRefusals` read. A change of pods leads nowhere by it. */
export const readsGatewayRefusals = [
  authorization,
  servedPolicies,
  reachedBy(podsNearService, []),
  reachedBy(unguardedPods, []),
] as const;

interface Side {
  readonly object: Namespace;
  readonly mesh: MeshView<(typeof readsGatewayRefusals)[number]>;
}

/** Policies at one place, and the conditions on requests to the Service that get there. */
interface Decider {
  readonly applied: Applied;
  readonly callers: Callers;
  readonly at: Clauses;
}

/** What becomes of the requests of a gateway to a Service: `refused` if its policies allow others, and none of them. */
export type Fate = "refused" | "admitted" | "unknown";

/**
 * Whether the policies of the Services of one namespace refuse every request of a gateway. Gateways send with their own identity (Istio
 * pilot/pkg/networking/core/cluster_tls.go), to the pods or, by `istio.io/ingress-use-waypoint`, to the waypoint (pilot/pkg/xds/endpoints/
 * endpoint_builder.go findServiceWaypoint); sidecars, ztunnel and waypoints deny what no ALLOW rule matches (pilot/pkg/security/authz/builder/
 * builder.go, ztunnel src/rbac.rs).
 */
export class GatewayRefusals {
  readonly #side: Side;
  readonly #admissions: Admissions;
  readonly #known = new Map<Applied, Map<string, Fate>>();

  constructor(side: Side) {
    this.#side = side;
    this.#admissions = new Admissions((values) => side.mesh.visited(Math.ceil(values / 100)));
  }

  /** `labels`: of the pods that count, besides those that the Service selects, such as of a subset. */
  of(service: Service, { identity }: Sender, labels: Labels = {}): Fate {
    const deciders = this.#decidersOf(service, labels);
    if (deciders === undefined || deciders.length === 0) return "unknown";
    const fates = new Set<Fate>();
    for (const decider of deciders) fates.add(this.#fateAt(decider, identity));
    if (fates.has("admitted")) return "admitted";
    return fates.has("unknown") ? "unknown" : "refused";
  }

  /** The policies on the way of a gateway's requests; undefined: some pod is not in the mesh, or this is not known. */
  #decidersOf(service: Service, labels: Labels): readonly Decider[] | undefined {
    const { object, mesh } = this.#side;
    if (isTerminating(object) || !mesh.knowsAll("AuthorizationPolicy") || !selectsPods(service)) return undefined;
    return this.#atWaypoints(service) ?? this.#atPods(service, labels);
  }

  #atWaypoints(service: Service): readonly Decider[] | undefined {
    const { object, mesh } = this.#side;
    if (!isForGateways(service.metadata.labels, object)) return undefined;
    const policies = mesh.get(servedPolicies, object);
    const waypoints = usedWaypoints(policies.waypoints.ofNamed("Service", service.metadata.name));
    if (waypoints.length === 0) return undefined;
    return waypoints.flatMap((waypoint) => {
      const at = policies.at(waypoint, "Service", service.metadata.name);
      return at === undefined ? [] : [{ applied: at.applied, callers: throughWaypoint, at: [] }];
    });
  }

  #atPods(service: Service, labels: Labels): readonly Decider[] | undefined {
    const { object, mesh } = this.#side;
    const pods = podsBehind(service, mesh, labels);
    const unguarded = mesh.get(unguardedPods, service);
    if (unguarded.size > 0 && pods.some((one) => unguarded.has(one))) return undefined;
    mesh.visited(pods.length);
    const { applied } = mesh.get(authorization, object);
    const found = new Map<Applied, Decider>();
    for (const pod of pods) {
      const policies = applied.toWorkload(pod);
      if (!found.has(policies))
        found.set(policies, { applied: policies, callers: anyCallers, at: atPorts(service, pod) });
    }
    return [...found.values()];
  }

  #fateAt({ applied, callers, at }: Decider, identity: Sender["identity"]): Fate {
    const key = JSON.stringify([
      identity,
      ...at.map(({ values }) => (values instanceof Texts ? [...values.exact.keys()] : [])),
    ]);
    let known = this.#known.get(applied);
    if (known === undefined) this.#known.set(applied, (known = new Map()));
    let fate = known.get(key);
    if (fate === undefined) known.set(key, (fate = this.#ask({ applied, callers, at }, identity)));
    return fate;
  }

  #ask({ applied, callers, at }: Decider, [, namespace, account]: Sender["identity"]): Fate {
    const own = this.#admissions.any(applied, callers, [
      identityIn(this.#side.mesh.settings, namespace, account),
      ...at,
    ]);
    if (own !== false) return own ? "admitted" : "unknown";
    // Where nobody is allowed, that is not about gateways.
    return this.#admissions.any(applied, callers, at) === true ? "refused" : "unknown";
  }
}

/** Requests to the ports of a pod to which the Service leads; none, if not all of them are known. */
function atPorts(service: Service, pod: Workload): Clauses {
  const { ports, workloadPort } = portsOf(service);
  const numbers = ports.flatMap((port) => workloadPort(port, pod) ?? []);
  if (numbers.length === 0 || numbers.length < ports.length) return [];
  return [{ attribute: "port", values: new Texts(numbers.map((number) => [String(number)])), not: false }];
}
