import { idOf } from "../../kube/identity.ts";
import { fact, type MeshView, setting } from "../../view/view.ts";
import type { Box, Clause } from "../authorization/requests/boxes.ts";
import { type Memory, Undecided, Work } from "../authorization/requests/work.ts";
import { routesOfParentEntry } from "../gateways/routes.ts";
import { enrollmentOf } from "../membership/capture.ts";
import type { Sender } from "../membership/clients.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { namespaceOfService, type Service } from "../membership/services.ts";
import { coveringHosts, coveringHostsOfAll, hostOfService } from "../traffic/hosts.ts";
import { type Definition, namespaceOfEntry } from "../traffic/definition-choice.ts";
import {
  identityOfWaypoint,
  type WaypointBinding,
  waypointBindingOfService,
  waypointBindingOfServiceEntry,
} from "../waypoints/bindings.ts";
import { isAlias } from "../traffic/aliased-hosts.ts";
import { waypointsUsed } from "../waypoints/canaries.ts";
import { aliased } from "./aliases.ts";
import { destinationRulesOfEntry, rulesForService } from "./destinations.ts";
import { openEntriesOfEntry } from "./every-address.ts";
import { parentReads, parentsOfName, routesOfParents } from "./gateway-api-routes.ts";
import { type Decide, decisionsOf } from "./decisions.ts";
import type { Means } from "./guarded.ts";
import { Journey, journeyReads, undecided } from "./journey.ts";
import type { Outcome, Source } from "./outcome.ts";
import { departureOf, redirected } from "./outbound-capture.ts";
import type { Question, Target } from "./question.ts";
import { virtualServicesOfEntry, virtualServicesOfService } from "./route-table.ts";
import { apartReads, type ClientsApart, clientsApartBy, type HostConfiguration } from "./clients-apart.ts";
import {
  areSendersOpen,
  type ClientConfiguration,
  type Distinguished,
  distinguishedBy,
  identityIn,
  sourceReads,
  sourcesOf,
  withoutIdentity,
} from "./sources.ts";

/**
 * How the ServiceEntries that may take the connections to a port, of clients which do not know their target, distinguish these. A
 * fact, because there can be many of them, and many questions about one port. Undefined: there are none.
 */
const apartByOpenEntries = fact(
  "apartByOpenEntries",
  "key",
  [openEntriesOfEntry, virtualServicesOfEntry, destinationRulesOfEntry, ...apartReads],
  (port, mesh): ClientsApart | undefined => {
    const definitions = mesh.under(openEntriesOfEntry, [port]);
    if (definitions.length === 0) return undefined;
    const keys = coveringHostsOfAll(definitions.flatMap(({ spec }) => spec.hosts));
    const virtualServices = mesh.under(virtualServicesOfEntry, keys);
    const destinationRules = mesh.under(destinationRulesOfEntry, keys);
    return clientsApartBy({ definitions, virtualServices, destinationRules, httpRoutes: [] }, mesh);
  },
);

/** The configuration of a host, and how it distinguishes clients. */
interface Distinguishing {
  readonly host: HostConfiguration;
  readonly apart: ClientsApart;
}

/**
 * The same for a Service that stands for no other host. A fact, because many questions are about one Service, on both sides of
 * changes that most often leave this as it is.
 */
const configurationOfService = fact(
  "configurationOfService",
  "Service",
  [virtualServicesOfService, rulesForService, ...parentReads, ...apartReads],
  (service, mesh): Distinguishing => {
    const parents = parentsOfName({ definition: service, name: hostOfService(service, mesh.settings.domain) }, mesh);
    const host: HostConfiguration = {
      definitions: [service],
      virtualServices: mesh.related(virtualServicesOfService, service),
      destinationRules: mesh.get(rulesForService, service),
      httpRoutes: routesOfParents(parents, mesh),
    };
    return { host, apart: clientsApartBy(host, mesh) };
  },
);

/** What `outcomesOf` reads, from the objects in its question on. */
export const requestReads = [
  ...journeyReads,
  ...sourceReads,
  apartByOpenEntries,
  configurationOfService,
  setting("ztunnelRevision"),
] as const;
export type RequestReads = (typeof requestReads)[number];
type View = MeshView<RequestReads>;

/** The work for one question, in compared values. */
const mostWork = 200_000;

/**
 * What becomes of a set of requests, in parts with one outcome each. They are computed one by one, and together they are the
 * whole set: what would take too much work, or is not known, is a part with the result `undecided`. Parts of one source can
 * overlap only if several rules allow the same requests. Facts are computed again for each call on a mesh that is not one side
 * of a change (`sideOf`).
 */
export function* outcomesOf(
  question: Question,
  mesh: View,
  { limit = mostWork, decide = decisionsOf, memory, compared }: Examination = {},
): Generator<Outcome, undefined> {
  const means = { work: new Work(limit, memory), decide };
  const { caller, to, requests } = question;
  for (const source of sourcesOf(caller, { ...clientConfigurationOf(to, mesh), compared }, mesh)) {
    // Who has a certificate in the mesh does not send past its sidecar.
    const { kind, by } = caller.kind === "mesh" ? redirected : departureOf(source, to);
    if (kind === "past") yield* outcomesFrom(pastSidecar(source), { to, requests }, mesh, means);
    else if (by === undefined) yield* outcomesFrom(source, { to, requests }, mesh, means);
    else {
      const because = `it is not known whether ${nameOf(source)} sends requests past its sidecar: ${by}`;
      yield* uncertainly(source, { to, requests }, mesh, { ...means, possible: ["proxy", "nothing"], because });
    }
  }
}

/** Whether some callers can send in several ways, so that their requests are decided only if all of these have one result. */
export const isOfOpenSenders = ({ caller, to }: Question, mesh: View): boolean =>
  areSendersOpen(caller, () => clientConfigurationOf(to, mesh), mesh);

/** Which clients the configuration of a target tells apart, for the other side of a change (`compared`). */
export const clientsDistinguished = (to: Target, mesh: View): Distinguished =>
  distinguishedBy(clientConfigurationOf(to, mesh), mesh);

function clientConfigurationOf(to: Target, mesh: View): ClientConfiguration {
  const { host, apart, waypoints } = configurationOf(to, mesh);
  const open = mesh.get(apartByOpenEntries, String(to.port));
  return {
    host,
    apart: open === undefined ? [apart] : [apart, open],
    waypoints,
    isAmbientUsed: isAmbientUsed(to.namespace, mesh),
  };
}

type Configuration = HostConfiguration & Pick<ClientConfiguration, "waypoints">;

/** What can distinguish the clients of a target. */
function configurationOf(to: Target, mesh: View): Distinguishing & Pick<ClientConfiguration, "waypoints"> {
  if (to.kind === "service" && !isAlias(to.service)) {
    const { service, namespace } = to;
    return { ...mesh.get(configurationOfService, service), waypoints: waypointsOfService(service, namespace, mesh) };
  }
  const { waypoints, ...host } = configurationOfOthers(to, mesh);
  return { host, apart: clientsApartBy(host, mesh), waypoints };
}

function configurationOfOthers(to: Target, mesh: View): Configuration {
  if (to.kind === "service") return configurationOfAlias(to.service, mesh);
  const nothing = { definitions: [], virtualServices: [], destinationRules: [], httpRoutes: [], waypoints: [] };
  return to.kind === "workloads" ? nothing : configurationOfHost(to, mesh);
}

const waypointsOfService = (service: Service, namespace: Namespace, mesh: View): readonly Clause[] =>
  waypointIdentities(service, namespace, waypointBindingOfService(service, namespace, mesh), mesh);

function configurationOfHost(
  { host, entries }: Pick<Target & { kind: "host" }, "host" | "entries">,
  mesh: View,
): Configuration {
  const keys = coveringHosts(host);
  return {
    definitions: entries,
    httpRoutes: entries.flatMap((entry) => mesh.related(routesOfParentEntry, entry)),
    virtualServices: mesh.under(virtualServicesOfEntry, keys),
    destinationRules: mesh.under(destinationRulesOfEntry, keys),
    waypoints: entries.flatMap((entry) => {
      const [namespace] = mesh.related(namespaceOfEntry, entry);
      const binding = waypointBindingOfServiceEntry(entry, namespace, mesh);
      return namespace === undefined ? [] : waypointIdentities(entry, namespace, binding, mesh);
    }),
  };
}

/** Of an alias, and of what it stands for. */
function configurationOfAlias(alias: Service, mesh: View): Configuration {
  const { service, host, entries, covering } = aliased(alias, mesh);
  const [namespace] = service === undefined ? [] : mesh.related(namespaceOfService, service);
  const of =
    service === undefined || namespace === undefined
      ? configurationOfHost({ host, entries: [...entries, ...covering] }, mesh)
      : {
          ...mesh.get(configurationOfService, service).host,
          waypoints: waypointsOfService(service, namespace, mesh),
        };
  return {
    ...of,
    definitions: [alias, ...of.definitions],
    virtualServices: [...of.virtualServices, ...mesh.related(virtualServicesOfService, alias)],
  };
}

/** How far a question is examined, and by what. */
export interface Examination {
  /** The work for it, in compared values. */
  readonly limit?: number;
  /** Decides what policies decide; somebody with many questions can keep what many of them share. */
  readonly decide?: Decide;
  /** What other questions have found. */
  readonly memory?: Memory;
  /** What the other side of a change tells apart. */
  readonly compared?: Distinguished | undefined;
}

function* outcomesFrom(
  source: Source,
  { to, requests }: Omit<Question, "caller">,
  mesh: View,
  means: Means,
): Generator<Outcome, undefined> {
  let box: Box | undefined;
  try {
    box = requests.withAll(source.identity, means.work);
    if (box === undefined) return;
    if (source.sender === "unknown") {
      const because = `it is not known how pods of namespace ${source.namespace?.metadata.name ?? ""} send requests, because its labels are not known`;
      yield* uncertainly(source, { to, requests }, mesh, { ...means, possible: senders, because });
    } else yield* new Journey(source, mesh, means).to(to, box);
  } catch (error) {
    if (!(error instanceof Undecided)) throw error;
    yield tooMuch(box ?? requests, source);
  }
}

const senders: readonly Sender[] = ["proxy", "ztunnel", "nothing"];

/** The ways in which a source may send, and why it is not known which one it is. */
interface Uncertain extends Means {
  readonly possible: readonly Sender[];
  readonly because: string;
}

/** What is the same whichever way the requests are sent; else they are undecided. */
function* uncertainly(
  source: Source,
  question: Omit<Question, "caller">,
  mesh: View,
  { possible: ways, because, ...means }: Uncertain,
): Generator<Outcome, undefined> {
  const possible = ways.map((sender) => {
    const one = sender === "nothing" ? withoutProxy(source) : { ...source, sender };
    return [...outcomesFrom(one, question, mesh, means)];
  });
  const results = new Set(possible.flat().map(({ result }) => result));
  const isSure = results.size === 1 || !(results.has("accepted") || results.has("undecided"));
  if (isSure && !results.has("undecided")) {
    yield* possible.flat();
    return;
  }
  const box = question.requests.withAll(source.identity, means.work) ?? question.requests;
  yield undecided(box, source, because);
}

const withoutProxy = (source: Source): Source => ({ ...source, sender: "nothing", identity: withoutIdentity });
const pastSidecar = (source: Source): Source => ({ ...withoutProxy(source), isPastSidecar: true });

const nameOf = ({ workloads: [first], namespace }: Source): string =>
  first === undefined ? `namespace ${namespace?.metadata.name ?? ""}` : idOf(first);

const waypointIdentities = (
  definition: Definition,
  namespace: Namespace,
  primary: WaypointBinding | undefined,
  mesh: View,
): readonly Clause[] =>
  waypointsUsed(definition, namespace, primary, mesh).map(({ named, gateway }) => {
    const { namespace: at, serviceAccount } = identityOfWaypoint(named, gateway);
    return identityIn(mesh.settings, at, serviceAccount);
  });

const isAmbientUsed = (namespace: Namespace, { settings }: View): boolean =>
  settings.ztunnelRevision !== "" || ["ambient", "ambient-and-sidecar"].includes(enrollmentOf(namespace, settings));

const tooMuch = (box: Box, source: Source): Outcome =>
  undecided(box, source, "there are so many policies and conditions that the rest was not examined");
