import type { Change } from "../../view/overlay.ts";
import { authorization } from "../authorization/effective-authorization.ts";
import { actionOf, attachesToLabels } from "../authorization/policies.ts";
import { type Place, places } from "../authorization/requests/matches.ts";
import { portsOf } from "../membership/target-ports.ts";
import { routesOfParentService } from "../gateways/routes.ts";
import { captured } from "../membership/captured.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { isHeadless, type Service } from "../membership/services.ts";
import { isProxy, type Workload } from "../membership/workloads.ts";
import { atPort } from "../mtls/effective-mtls.ts";
import type { Modes } from "../mtls/peer-authentications.ts";
import { workloadEntriesOfNamespace } from "../membership/workload-entries.ts";
import { isAlias } from "../traffic/aliased-hosts.ts";
import { attachments } from "../requests/attachments.ts";
import { type Connections, connections } from "../requests/connections.ts";
import { customPolicies, type Guard, guards } from "../requests/enforcement.ts";
import { isGatewayProxy } from "../requests/ingress.ts";
import { isOfOpenSenders } from "../requests/outcomes.ts";
import type { Question, Target } from "../requests/question.ts";
import { virtualServicesOfService } from "../requests/route-table.ts";
import type { TokenUse } from "../requests/token-use.ts";
import { fullHost, hostOfService } from "../traffic/hosts.ts";
import type { HttpRoute, VirtualService } from "../traffic/virtual-services.ts";
import { isUsable, waypointBindingOfService, waypointBindingOfWorkload } from "../waypoints/bindings.ts";
import type { Entry } from "./intents.ts";
import {
  areDenied,
  asksForTokens,
  changeOfPolicy,
  matchedOf,
  type PolicyChange,
  seenAs,
  withoutIdentity,
} from "./policy-change.ts";
import { hasSameRules } from "./rule-choice.ts";
import type { VerdictView } from "./verdicts.ts";

// A change in the root namespace reaches the intents of every namespace, and following the requests of all of them takes long. Of
// changes that count only where requests arrive, most leave the requests of most entries as they are, and that can be told from
// the pods that they reach and from the caller, without following them.

/** The two sides of a change that is the only one. */
export interface Sides {
  readonly change: Change;
  readonly before: VerdictView;
  readonly after: VerdictView;
}

/**
 * Whether the change certainly ends nothing of what an entry expects of the requests of a question: nothing becomes of them that
 * did not before, or only what the entry expects. False: that is not known.
 */
export function isUntouched(question: Question, entry: Entry, sides: Sides): boolean {
  const { caller, to, requests } = question;
  const { change, before, after } = sides;
  const kind = (change.object ?? change.old)?.kind;
  const ends = kind === undefined ? undefined : endings[kind];
  if (ends === undefined || [before, after].some((mesh) => isOfOpenSenders(question, mesh))) return false;
  const arrival = arrivalAt(to, after);
  return arrival !== undefined && !ends({ caller, to, requests, entry, arrival }, sides);
}

interface Asked extends Question {
  readonly entry: Entry;
  readonly arrival: Arrival;
}
/** Kinds that count only at the host that requests are sent to, each with whether a change can end what is expected there. */
const endings: Readonly<Record<string, (asked: Asked, sides: Sides) => boolean>> = {
  AuthorizationPolicy: policyEnds,
  PeerAuthentication: modeEnds,
  RequestAuthentication: tokensEnd,
  EnvoyFilter: filterEnds,
  WasmPlugin: filterEnds,
  DestinationRule: ruleChoiceEnds,
};

/** Where the requests of a question arrive, whoever sends them. */
interface Arrival {
  readonly namespace: Namespace;
  readonly pods: readonly Workload[];
  /** No waypoint is between the callers and the pods. */
  readonly isDirect: boolean;
  /** How policies can read them there. Found on demand, because most changes do not ask for it. */
  readonly places: () => ReadonlySet<Place>;
  /** No route changes the path, the host or other headers of the requests. */
  readonly isUnchanged: boolean;
}

const arrivals = new WeakMap<Target, { readonly mesh: VerdictView; readonly arrival: Arrival | undefined }>();

/** Undefined: they may arrive elsewhere too. */
function arrivalAt(to: Target, mesh: VerdictView): Arrival | undefined {
  const known = arrivals.get(to);
  if (known?.mesh === mesh) return known.arrival;
  const arrival = arrivalOf(to, mesh);
  const isOfProxy = arrival?.pods.some((pod) => isProxy(pod) || isGatewayProxy(pod)) === true;
  arrivals.set(to, { mesh, arrival: isOfProxy ? undefined : arrival });
  return isOfProxy ? undefined : arrival;
}

/** Hosts and aliases can lead anywhere. */
function arrivalOf(to: Target, mesh: VerdictView): Arrival | undefined {
  if (to.kind === "host") return undefined;
  return to.kind === "service" ? arrivalAtService(to, mesh) : arrivalAtPods(to, mesh);
}

/** Whether requests to the address of some pod have a waypoint. */
const areBound = (pods: readonly Workload[], namespace: Namespace, mesh: VerdictView): boolean =>
  pods.some((pod) => isUsable(waypointBindingOfWorkload(pod, namespace, mesh)));

function arrivalAtPods({ namespace, workloads, port }: Target & { kind: "workloads" }, mesh: VerdictView): Arrival {
  mesh.visited(workloads.length);
  const places = once(() => {
    const connected = mesh.get(connections, namespace);
    return new Set(workloads.flatMap((workload) => connected.placesAt(workload, port)));
  });
  return { namespace, pods: workloads, isDirect: !areBound(workloads, namespace, mesh), places, isUnchanged: true };
}

function arrivalAtService(
  { service, namespace }: Target & { kind: "service" },
  mesh: VerdictView,
): Arrival | undefined {
  const { domain } = mesh.settings;
  const routes = mesh.related(virtualServicesOfService, service);
  const host = hostOfService(service, domain);
  const hasMachines = mesh.related(workloadEntriesOfNamespace, namespace).length > 0;
  if (isAlias(service) || hasMachines || mesh.related(routesOfParentService, service).length > 0) return undefined;
  if (!routes.every((one) => staysAt(host, one, domain))) return undefined;
  const { selector } = service.spec;
  const pods = Object.keys(selector).length === 0 ? [] : mesh.get(captured, namespace).workloads.selected(selector);
  mesh.visited(pods.length);
  // Proxies are not among them: the Service may be that of a gateway.
  if (pods.length === 0) return undefined;
  return {
    namespace,
    pods,
    isDirect: isHeadless(service)
      ? !areBound(pods, namespace, mesh)
      : !isUsable(waypointBindingOfService(service, namespace, mesh)),
    places: once(() => placesOf(service, pods, mesh.get(connections, namespace))),
    isUnchanged: routes.every(({ spec }) => spec.http.every(isAsSent)),
  };
}

function once<T extends object>(find: () => T): () => T {
  let found: T | undefined;
  return () => (found ??= find());
}

const isAsSent = ({ rewrite, headers, route }: HttpRoute): boolean =>
  rewrite === undefined && [headers, ...route.map((one) => one.headers)].every((one) => one?.request === undefined);

/** At any port of a Service, because a route can name another one. */
function placesOf(service: Service, pods: readonly Workload[], connected: Connections): ReadonlySet<Place> {
  const { ports, workloadPort } = portsOf(service);
  return new Set(
    pods.flatMap((pod) =>
      ports.flatMap((port) => {
        const number = workloadPort(port, pod);
        return number === undefined ? [] : connected.placesAt(pod, number);
      }),
    ),
  );
}

/** Whether a VirtualService sends requests to no other host. */
function staysAt(host: string, { metadata, spec }: VirtualService, domain: string): boolean {
  if (spec.http.some(({ delegate }) => delegate !== undefined)) return false;
  return [...spec.http, ...spec.tcp, ...spec.tls].every(({ route }) =>
    route.every(({ destination }) => fullHost(destination.host, metadata.namespace, domain) === host),
  );
}

/** Policies decide neither where requests are routed nor how they are sent, but a waypoint sends on only what it allows. */
function policyEnds(asked: Asked, { change, before, after }: Sides): boolean {
  const { entry, arrival } = asked;
  if (!arrival.isDirect) return true;
  if (isOfWay(entry)) return false;
  const changed = changeOfPolicy(change, after.settings);
  if (changed === undefined) return true;
  const { namespace } = arrival;
  const pods = arrival.pods.filter((pod) => isSelected(changed, pod));
  if (changed.isOfDefault && pods.some((pod) => isDefaultOther(pod, namespace, before, after))) return true;
  return pods.length > 0 && rulesEnd({ ...asked, arrival: { ...arrival, pods } }, changed, after);
}

/** Whether changed rules match requests; what other policies deny is denied as before. */
function rulesEnd({ caller, requests, entry, arrival }: Asked, changed: PolicyChange, mesh: VerdictView): boolean {
  const isAllowed = entry.expect === "allowed";
  const matches = isAllowed ? changed.denying : changed.allowing;
  const seen = seenAs(caller, requests, arrival.isUnchanged);
  const matchedAt = (some: Iterable<Place>) =>
    matchedOf(
      seen,
      [...some].flatMap((place) => matches[place]),
    );
  // Most changes match none of the requests wherever they arrive.
  if (matchedAt(places)?.length === 0) return false;
  const matched = matchedAt(arrival.places());
  if (matched?.length === 0) return false;
  return matched === undefined || isAllowed || !guardsOf(arrival, mesh).every((guard) => areDenied(matched, guard));
}

/** Whether an entry is about the way of requests, and not about what becomes of them. */
const isOfWay = ({ expect }: Entry): boolean => expect === "encrypted" || expect === "routed";

function guardsOf({ namespace, pods, places }: Arrival, mesh: VerdictView): readonly Guard[] {
  const all = mesh.get(guards, namespace);
  const read = [...places()].map((place) => (place === "ztunnel" ? "http" : place));
  return [...new Set(pods.flatMap((pod) => read.map((place) => all.ofWorkload(pod, place, false))))];
}

const isSelected = ({ policies }: PolicyChange, { pod }: Workload): boolean =>
  policies.some((policy) => attachesToLabels(policy, pod.labels, "proxy"));

/** Whether the first ALLOW policy of a pod comes, or the last one goes. */
function isDefaultOther(pod: Workload, namespace: Namespace, ...sides: readonly VerdictView[]): boolean {
  const [was, is] = sides.map((mesh) =>
    mesh
      .get(authorization, namespace)
      .applied.toWorkload(pod)
      .lists.some(({ policies }) => policies.some((policy) => actionOf(policy) === "ALLOW")),
  );
  return was !== is;
}

/** The modes of pods decide which connections they accept. */
function modeEnds({ requests, entry, arrival }: Asked, { before, after }: Sides): boolean {
  const { namespace, pods } = arrival;
  const [was, is] = [before.get(connections, namespace), after.get(connections, namespace)];
  if (entry.expect === "routed") return false;
  if (was.isAutoMtlsDisabled !== is.isAutoMtlsDisabled) return true;
  const changes = new Set(
    pods.flatMap((pod) => {
      const [old, now] = [was.serverOf(pod), is.serverOf(pod)];
      return now.planes.flatMap((plane) => [...modeChanges(old.as(plane), now.as(plane))]);
    }),
  );
  if (changes.has("mtls")) return true;
  if (entry.expect === "allowed") return changes.has("refused");
  if (!changes.has("accepted") || entry.expect !== "denied") return changes.has("accepted");
  const plaintext = withoutIdentity(requests, arrival.isUnchanged);
  return !guardsOf(arrival, after).every((guard) => areDenied([plaintext], guard));
}

/** What becomes of plaintext; `mtls`: mTLS is switched on or off, so that callers have an identity or lose it. */
function* modeChanges(was: Modes, is: Modes): Generator<"accepted" | "refused" | "mtls", undefined> {
  if (was === is) return;
  const places = [undefined, ...new Set([...was.ports.keys(), ...is.ports.keys()])];
  for (const port of places) {
    const [old, now] = [was, is].map((modes) => (port === undefined ? modes.mode : atPort(modes, port)).mode);
    if (old === now) continue;
    if (old === "DISABLE" || now === "DISABLE") yield "mtls";
    else yield now === "STRICT" ? "refused" : "accepted";
  }
}

/** Whether a proxy validates tokens matters only to policies that ask for them. */
function tokensEnd({ entry, arrival }: Asked, { before, after }: Sides): boolean {
  const { namespace, pods, isDirect } = arrival;
  if (!isDirect) return true;
  if (isOfWay(entry)) return false;
  const [was, is] = [before.get(attachments, namespace), after.get(attachments, namespace)];
  const changed = pods.filter(({ pod: { labels } }) => !isSameUse(was.tokensAt(labels), is.tokensAt(labels)));
  // A header that the proxy writes can be in any condition.
  if (changed.some(({ pod: { labels } }) => !hasSameHeaders(was.tokensAt(labels), is.tokensAt(labels)))) return true;
  if (changed.length > 0 && after.get(customPolicies, namespace) !== undefined) return true;
  // Whose tokens a proxy refuses matters to whoever sends them, whatever its policies ask for.
  if (entry.requestPrincipals.length > 0 && changed.length > 0) return true;
  const applied = changed.flatMap((pod) => after.get(authorization, namespace).applied.toWorkload(pod).lists);
  return [...new Set(applied)].some(({ policies }) => policies.some((one) => asksForTokens(one, after.settings)));
}

/** What a server passes on goes to its application. */
const isSameUse = (was: TokenUse, is: TokenUse): boolean =>
  was.isRead === is.isRead &&
  was.hasOwnPlaces === is.hasOwnPlaces &&
  areSame(was.issuers, is.issuers) &&
  hasSameHeaders(was, is);
const hasSameHeaders = ({ headers: was }: TokenUse, { headers: is }: TokenUse): boolean => areSame(was, is);
const areSame = (was: readonly string[] = [], is: readonly string[] = []): boolean =>
  was.length === is.length && was.every((name, i) => name === is[i]);

/** A filter or a plugin makes the decisions of a proxy uncertain. */
function filterEnds({ entry, arrival }: Asked, { before, after }: Sides): boolean {
  const { namespace, pods, isDirect } = arrival;
  if (!isDirect) return true;
  if (isOfWay(entry)) return false;
  const [was, is] = [before.get(attachments, namespace), after.get(attachments, namespace)];
  return pods.some(({ pod: { labels } }) => was.unclear(labels, "sidecar") !== is.unclear(labels, "sidecar"));
}

/** Nothing but the TLS of clients, what goes before it, and their subsets follows from DestinationRules; requests to addresses of pods use none. */
function ruleChoiceEnds({ to }: Asked, { before, after }: Sides): boolean {
  return to.kind === "service" && !hasSameRules(to, before, after);
}
