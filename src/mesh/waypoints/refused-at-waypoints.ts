import type { Labels } from "../../kube/object.ts";
import { fact, type MeshView } from "../../view/view.ts";
import type { AuthorizationPolicy } from "../authorization/policies.ts";
import { placeOf } from "../authorization/reach.ts";
import type { Applied } from "../authorization/requests/applied.ts";
import { Asked, Questions } from "../authorization/requests/gains.ts";
import { captured } from "../membership/captured.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { servicesOfNamespace } from "../membership/services.ts";
import { selectingEntriesOfNamespace } from "../membership/workload-entries.ts";
import { selectorText, SelectorGroups } from "../objects/selector-groups.ts";
import { matchLabelsOf } from "../objects/selectors.ts";
import { formatWaypoint, type WaypointBinding } from "./bindings.ts";
import { accountOf } from "./guarded-traffic.ts";
import { throughWaypoint } from "./new-ways.ts";
import { type ServedPolicies, servedPolicies } from "./served-places.ts";
import { type Addressed, nameOfDestination, usedWaypoints } from "./served-traffic.ts";
import { keptByZtunnel } from "./ztunnel-behind.ts";

const reads = [captured, keptByZtunnel, selectingEntriesOfNamespace, servedPolicies, servicesOfNamespace] as const;
type View = MeshView<(typeof reads)[number]>;

/** More combinations of policies at waypoints than this are not compared, because every policy that stayed behind is compared with all. */
const mostCompared = 100;

/**
 * What waypoints refuse on the ways to the pods of a namespace, where ztunnel lets in nobody but these waypoints. A policy with HTTP
 * attributes that stays behind at ztunnel is then without effect, but so is its absence (Istio pilot/pkg/serviceregistry/ambient/
 * authorization.go handleRule, pilot/pkg/model/policyattachment.go ShouldAttachPolicy).
 */
class RefusedAtWaypoints {
  readonly #namespace: Namespace;
  readonly #mesh: View;
  readonly #policies: ServedPolicies;
  readonly #known = new Map<string, readonly Applied[] | undefined>();
  #targets: Readonly<Record<"Service" | "ServiceEntry", ReadonlySet<string>>> | undefined;
  #leading: SelectorGroups<Addressed> | undefined;

  constructor(namespace: Namespace, mesh: View) {
    this.#namespace = namespace;
    this.#mesh = mesh;
    this.#policies = mesh.get(servedPolicies, namespace);
  }

  /** Whether all that a DENY policy of the namespace denies is refused by waypoints before it gets to the pods of its selector. */
  denies(policy: AuthorizationPolicy): boolean {
    const selector = matchLabelsOf(policy);
    const key = selectorText(selector);
    if (!this.#known.has(key)) this.#known.set(key, this.#appliedBefore(selector));
    const applied = this.#known.get(key);
    return applied?.every((one) => this.#deniesAt(one, policy)) === true;
  }

  #deniesAt(is: Applied, policy: AuthorizationPolicy): boolean {
    const questions = new Questions((values) => this.#mesh.visited(Math.ceil(values / 100)));
    const was = { place: placeOf("proxy"), settings: is.settings, lists: [{ name: "left", policies: [policy] }] };
    const { gain, isUndecided } = questions.denyLost(new Asked(was, is), throughWaypoint);
    return gain === undefined && !isUndecided;
  }

  /** The policies of the waypoints that all requests to the selected pods pass; undefined: some pass none, or it is not known. */
  #appliedBefore(selector: Labels): readonly Applied[] | undefined {
    if (!this.#areKnown) return undefined;
    const accounts = new Set<string>();
    const found = new Map<string, Applied | undefined>();
    for (const { object, waypoint } of this.#waysTo(selector)) {
      accounts.add(accountOf(waypoint));
      const target = this.#targeted(object);
      const key = `${formatWaypoint(waypoint.named)} ${target === undefined ? "" : `${object.kind} ${target}`}`;
      if (!found.has(key)) found.set(key, this.#policies.at(waypoint, object.kind, target)?.applied);
    }
    const applied = [...found.values()].filter((one) => one !== undefined);
    if (applied.length < found.size || applied.length > mostCompared) return undefined;
    const isOnly = this.#mesh.get(keptByZtunnel, this.#namespace).from((account) => accounts.has(account), selector);
    return isOnly ? applied : undefined;
  }

  get #areKnown(): boolean {
    return !this.#policies.areNone && this.#mesh.knowsAll("Service") && this.#mesh.knowsAll("Workload");
  }

  *#waysTo(selector: Labels): Iterable<{ readonly object: Addressed; readonly waypoint: WaypointBinding }> {
    for (const object of this.#leadingTo(selector)) {
      const traffic = this.#policies.waypoints.ofNamed(object.kind, nameOfDestination(object));
      for (const waypoint of usedWaypoints(traffic)) yield { object, waypoint };
    }
  }

  /** The pods, and the Services and ServiceEntries in front of them. */
  #leadingTo(selector: Labels): ReadonlySet<Addressed> {
    const pods = this.#mesh.get(captured, this.#namespace).workloads.selected(selector);
    this.#mesh.visited(pods.length);
    this.#leading ??= new SelectorGroups(this.#selecting());
    const found = new Set<Addressed>(pods);
    for (const groups of new Set(pods.map(({ pod }) => this.#leading?.selecting(pod.labels) ?? [])))
      for (const { members } of groups) for (const member of members) found.add(member);
    return found;
  }

  *#selecting(): Iterable<readonly [selector: Labels, member: Addressed]> {
    for (const service of this.#mesh.related(servicesOfNamespace, this.#namespace))
      if (Object.keys(service.spec.selector).length > 0) yield [service.spec.selector, service];
    for (const entry of this.#mesh.related(selectingEntriesOfNamespace, this.#namespace))
      yield [entry.spec.workloadSelector?.labels ?? {}, entry];
  }

  /** The name of an object that policies target. */
  #targeted({ kind, metadata: { name } }: Addressed): string | undefined {
    if (kind !== "Service" && kind !== "ServiceEntry") return undefined;
    return (this.#targets ??= {
      Service: this.#policies.targeted("Service"),
      ServiceEntry: this.#policies.targeted("ServiceEntry"),
    })[kind].has(name)
      ? name
      : undefined;
  }
}

/** What waypoints refuse on the ways to the pods of a namespace. */
export const refusedAtWaypoints = fact(
  "refusedAtWaypoints",
  "Namespace",
  reads,
  (namespace, mesh) => new RefusedAtWaypoints(namespace, mesh),
);
