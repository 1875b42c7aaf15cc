import type { Labels } from "../../kube/object.ts";
import { type MeshView, reachedBy } from "../../view/view.ts";
import { podsBehind, unguardedPods } from "../authorization/closed-pods.ts";
import { authorization } from "../authorization/effective-authorization.ts";
import { Admissions } from "../authorization/requests/admitted.ts";
import type { Applied } from "../authorization/requests/applied.ts";
import type { Clause } from "../authorization/requests/boxes.ts";
import { anyCallers, type Callers, conditionsOf } from "../authorization/requests/gains.ts";
import type { Clauses } from "../authorization/requests/matches.ts";
import { anyText, Pattern } from "../authorization/requests/patterns.ts";
import { Texts } from "../authorization/requests/texts.ts";
import { absent } from "../authorization/requests/values.ts";
import type { Sender } from "../gateways/gateway-senders.ts";
import { isTerminating, type Namespace } from "../membership/namespaces.ts";
import { namespaceOfService, podsNearService, selectsPods, type Service } from "../membership/services.ts";
import { portsOf } from "../membership/target-ports.ts";
import type { Workload } from "../membership/workloads.ts";
import { isForGateways, type WaypointBinding } from "../waypoints/bindings.ts";
import { throughWaypoint } from "../waypoints/new-ways.ts";
import { servedPolicies } from "../waypoints/served-places.ts";
import { usedWaypoints } from "../waypoints/served-traffic.ts";
import { type Escape, Escapes, type HostChange } from "./hidden-hosts.ts";
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
  /** Pods with a sidecar or ztunnel, or a waypoint. */
  readonly proxies: (Workload | WaypointBinding)[];
}

/** Policies that let requests of a gateway in with a token alone. */
export interface TokenDemand {
  readonly proxies: readonly (Workload | WaypointBinding)[];
  /** What becomes of requests with a token of an issuer, or of any. */
  isMetBy(issuer: string | undefined): Fate;
}

/** What becomes of the requests of a gateway to a Service: `refused` if its policies allow others, and none of them. */
export type Fate = "refused" | "admitted" | "unknown";

/** The `GatewayRefusals` of the namespaces of Services. */
export class RefusalsByNamespace {
  readonly #mesh: Side["mesh"] & MeshView<typeof namespaceOfService>;
  readonly #known = new Map<string, GatewayRefusals | undefined>();

  constructor(mesh: Side["mesh"] & MeshView<typeof namespaceOfService>) {
    this.#mesh = mesh;
  }

  /** Undefined: its Namespace is not known. */
  of(service: Service): GatewayRefusals | undefined {
    const { namespace } = service.metadata;
    if (!this.#known.has(namespace)) {
      const [object] = this.#mesh.related(namespaceOfService, service);
      this.#known.set(namespace, object && new GatewayRefusals({ object, mesh: this.#mesh }));
    }
    return this.#known.get(namespace);
  }
}

/**
 * Whether the policies of the Services of one namespace refuse every request of a gateway. Gateways send with their own identity (Istio
 * pilot/pkg/networking/core/cluster_tls.go), to the pods or, by `istio.io/ingress-use-waypoint`, to the waypoint (pilot/pkg/xds/endpoints/
 * endpoint_builder.go findServiceWaypoint); sidecars, ztunnel and waypoints deny what no ALLOW rule matches (pilot/pkg/security/authz/builder/
 * builder.go, ztunnel src/rbac.rs).
 */
export class GatewayRefusals {
  readonly #side: Side;
  readonly #admissions: Admissions;
  readonly #escapes: Escapes;
  readonly #known = new Map<Applied, Map<string, Fate>>();

  constructor(side: Side) {
    this.#side = side;
    const visited = (values: number) => side.mesh.visited(Math.ceil(values / 100));
    this.#admissions = new Admissions(visited);
    this.#escapes = new Escapes(visited);
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

  /**
   * Where every request of a gateway is refused that carries no token, and one that carries one may be let in. Empty: a request without
   * one may be let in somewhere, or this is not known. ztunnel reads no tokens.
   */
  tokenDemands(service: Service, { identity }: Sender): readonly TokenDemand[] {
    const found: TokenDemand[] = [];
    for (const decider of this.#decidersOf(service, {}) ?? []) {
      if (decider.applied.place !== "http" || this.#withoutToken(decider, identity) !== "refused") return [];
      found.push({ proxies: decider.proxies, isMetBy: (issuer) => this.#withToken(decider, identity, issuer) });
    }
    return found;
  }

  /** A request of a gateway that a DENY policy would deny by the host that the client has sent, and that is let in with the host which the gateway writes. */
  escape(service: Service, { identity }: Sender, labels: Labels, change: HostChange): Escape | undefined {
    for (const { applied, callers, at } of this.#decidersOf(service, labels) ?? []) {
      const conditions = [...conditionsOf({ callers, place: applied.place }), this.#from(identity), ...at];
      const found = this.#escapes.of(applied, conditions, change);
      if (found !== undefined) return found;
    }
    return undefined;
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
      return at === undefined ? [] : [{ applied: at.applied, callers: throughWaypoint, at: [], proxies: [waypoint] }];
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
      const known = found.get(policies);
      if (known !== undefined) known.proxies.push(pod);
      else found.set(policies, { applied: policies, callers: anyCallers, at: atPorts(service, pod), proxies: [pod] });
    }
    return [...found.values()];
  }

  #fateAt({ applied, callers, at }: Decider, identity: Sender["identity"]): Fate {
    return this.#once(applied, ["any", identity, at], () => {
      const own = this.#admissions.any(applied, callers, [this.#from(identity), ...at]);
      if (own !== false) return own ? "admitted" : "unknown";
      // Where nobody is allowed, that is not about gateways.
      return this.#admissions.any(applied, callers, at) === true ? "refused" : "unknown";
    });
  }

  #withoutToken({ applied, callers, at }: Decider, identity: Sender["identity"]): Fate {
    return this.#once(applied, ["without token", identity, at], () => {
      const among = [this.#from(identity), ...at];
      const own = this.#admissions.any(applied, { ...callers, haveNoToken: true }, among);
      if (own !== false) return own ? "admitted" : "unknown";
      return this.#admissions.any(applied, callers, among) === true ? "refused" : "unknown";
    });
  }

  #withToken({ applied, callers, at }: Decider, identity: Sender["identity"], issuer: string | undefined): Fate {
    return this.#once(applied, [["with token", issuer], identity, at], () => {
      const own = this.#admissions.any(applied, callers, [this.#from(identity), ...at, tokenOf(issuer)]);
      if (own === undefined) return "unknown";
      return own ? "admitted" : "refused";
    });
  }

  #from([, namespace, account]: Sender["identity"]): Clause {
    return identityIn(this.#side.mesh.settings, namespace, account);
  }

  #once(applied: Applied, [what, identity, at]: Question, ask: () => Fate): Fate {
    const ports = at.map(({ values }) => (values instanceof Texts ? [...values.exact.keys()] : []));
    const key = JSON.stringify([what, identity, ports]);
    let known = this.#known.get(applied);
    if (known === undefined) this.#known.set(applied, (known = new Map()));
    let fate = known.get(key);
    if (fate === undefined) known.set(key, (fate = ask()));
    return fate;
  }
}

type Question = readonly [what: unknown, identity: Sender["identity"], at: Clauses];

/** Requests with a token of this issuer, or of any. */
const tokenOf = (issuer: string | undefined): Clause =>
  issuer === undefined
    ? { attribute: "token", values: absent, not: true }
    : { attribute: "token", values: new Texts([[issuer, new Pattern([anyText])]]), not: false };

/** Requests to the ports of a pod to which the Service leads; none, if not all of them are known. */
function atPorts(service: Service, pod: Workload): Clauses {
  const { ports, workloadPort } = portsOf(service);
  const numbers = ports.flatMap((port) => workloadPort(port, pod) ?? []);
  if (numbers.length === 0 || numbers.length < ports.length) return [];
  return [{ attribute: "port", values: new Texts(numbers.map((number) => [String(number)])), not: false }];
}
