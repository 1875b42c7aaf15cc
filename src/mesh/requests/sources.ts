import type { Labels } from "../../kube/object.ts";
import type { MeshSettings } from "../../view/settings.ts";
import type { MeshView } from "../../view/view.ts";
import type { Clause } from "../authorization/requests/boxes.ts";
import { trustDomainsOf } from "../authorization/requests/identities.ts";
import type { Clauses } from "../authorization/requests/matches.ts";
import { anything, exactly } from "../authorization/requests/patterns.ts";
import { type Part, Texts } from "../authorization/requests/texts.ts";
import { absent } from "../authorization/requests/values.ts";
import type { Sender } from "../membership/clients.ts";
import { readers } from "../membership/control-plane.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { isProxy, type Workload } from "../membership/workloads.ts";
import { type ClientsAlike, clientsAlike, clientsOfNamespace } from "./clients-alike.ts";
import { serviceVisibleTo } from "../traffic/definition-choice.ts";
import { apartReads, type ClientsApart, type HostConfiguration } from "./clients-apart.ts";
import type { Source } from "./outcome.ts";
import { outboundCaptureOf } from "./outbound-capture.ts";
import type { Caller } from "./question.ts";

/** What `sourcesOf` reads. */
export const sourceReads = [clientsOfNamespace, ...apartReads, readers] as const;
type View = MeshView<(typeof sourceReads)[number]>;

/** How clients of a host are distinguished. */
export interface ClientConfiguration {
  readonly host: HostConfiguration;
  /** By the configuration of the host, and by others that may get its requests. */
  readonly apart: readonly ClientsApart[];
  /** The identities of the waypoints in front of the host, which are no callers of their own. */
  readonly waypoints: readonly Clause[];
  /** Whether ambient clients have to be considered among those of the whole mesh. */
  readonly isAmbientUsed: boolean;
  /** What the other side of a change distinguishes, which must be told apart on this side, too; undefined: nothing is compared. */
  readonly compared?: Distinguished | undefined;
}

/** Which clients of a target are told apart from all others of the mesh. */
export interface Distinguished {
  readonly namespaces: readonly Namespace[];
  /** The identities of the waypoints in front of the target. */
  readonly waypoints: readonly Clause[];
}

/** Those that the configuration tells apart. */
export const distinguishedBy = (configuration: ClientConfiguration, mesh: View): Distinguished => ({
  namespaces: [...namespacesApart(configuration, mesh).values()],
  waypoints: configuration.waypoints,
});

/**
 * The callers in groups that send in the same way: through the same data plane, with labels that the same configuration
 * selects. Several sources can have the same identities, if these do not tell their pods apart.
 */
export function sourcesOf(caller: Caller, configuration: ClientConfiguration, mesh: View): readonly Source[] {
  const sources = new Sources(configuration, mesh);
  if (caller.kind === "outside") return [outside];
  if (caller.kind === "mesh") return sources.ofMesh();
  if (caller.kind === "namespace") return sources.ofNamespace(caller.namespace);
  if (caller.kind === "serviceAccount") return sources.ofAccount(caller.namespace, caller.name);
  if (caller.kind === "workload")
    return sources.of(caller.namespace, [caller.workload], caller.workload.pod.serviceAccountName);
  return caller.proxies.map(({ namespace, labels, serviceAccount, workload }) => ({
    sender: "proxy",
    namespace,
    labels,
    workloads: workload === undefined ? [] : [workload],
    isGateway: true,
    identity: [identityIn(mesh.settings, namespace.metadata.name, serviceAccount)],
  }));
}

/** Whether it is not known how some of the callers send, because the labels of their namespace are not known. */
export function areSendersOpen(caller: Caller, configuration: () => ClientConfiguration, mesh: View): boolean {
  if (caller.kind === "outside" || caller.kind === "ingress") return false;
  if (caller.kind !== "mesh") return caller.namespace.implied === true;
  return [...namespacesApart(configuration(), mesh).values()].some(({ implied }) => implied);
}

export const withoutIdentity: Clauses = [{ attribute: "identity", values: absent, not: false }];
/** Somebody without a certificate and without a sidecar. */
export const outside: Source = {
  sender: "nothing",
  namespace: undefined,
  labels: {},
  workloads: [],
  isGateway: false,
  identity: withoutIdentity,
};

export function identityIn({ trustDomain }: MeshSettings, namespace: string, account: Part): Clause {
  if (account !== anything && typeof account !== "string") return identityOf([trustDomain, namespace, account]);
  const key = JSON.stringify([trustDomain, namespace, account === anything ? null : account]);
  let known = identities.get(key);
  if (known === undefined) {
    if (identities.size >= mostIdentities) identities.clear();
    identities.set(key, (known = identityOf([trustDomain, namespace, account])));
  }
  return known;
}

const identityOf = (parts: readonly Part[]): Clause => ({
  attribute: "identity",
  values: new Texts([parts]),
  not: false,
});

/** The same condition for all questions, because what was found of a condition is kept with it. */
const identities = new Map<string, Clause>();
const mostIdentities = 4_096;

/** Callers of one namespace that send in the same way. */
interface Group {
  readonly sender: Sender;
  readonly namespace: Namespace;
  readonly workloads: readonly Workload[];
  readonly labels: Labels;
}

/** The order of sources: the order in which a view has workloads tells nothing, and the first outcome is the one that is named. */
const senders: readonly Sender[] = ["proxy", "ztunnel", "nothing", "unknown"];

const ofAlike = new WeakMap<readonly ClientsAlike[], readonly Group[]>();

/** Of one namespace. The list is the same one for the same clients, of which reviews ask again. */
function groups(namespace: Namespace, alike: readonly ClientsAlike[]): readonly Group[] {
  let found = ofAlike.get(alike);
  if (found === undefined) ofAlike.set(alike, (found = groupsOf(namespace, alike)));
  return found;
}

function groupsOf(namespace: Namespace, alike: readonly ClientsAlike[]): readonly Group[] {
  const found = alike.map(({ sender, workloads }) => ({
    ...{ sender, namespace, workloads },
    labels: workloads[0]?.pod.labels ?? {},
  }));
  return found.length < 2 ? found : found.sort((a, b) => senders.indexOf(a.sender) - senders.indexOf(b.sender));
}

class Sources {
  readonly #configuration: ClientConfiguration;
  readonly #mesh: View;
  /** The selectors of routes, which count in every namespace. */
  readonly #sourceLabels: readonly Labels[];
  /** By namespace, the selectors that distinguish its clients alone. */
  readonly #selectors: readonly ClientsApart["selectors"][];

  constructor(configuration: ClientConfiguration, mesh: View) {
    this.#configuration = configuration;
    this.#mesh = mesh;
    this.#sourceLabels = configuration.apart.flatMap(({ sourceLabels }) => sourceLabels);
    this.#selectors = configuration.apart.flatMap(({ selectors }) => (selectors.size > 0 ? [selectors] : []));
  }

  ofAccount(namespace: Namespace, account: string): readonly Source[] {
    const own = this.#mesh.get(clientsOfNamespace, namespace).byAccount.get(account) ?? [];
    return this.#sources(this.#andToCome(namespace, this.#groupsOf(namespace, own)), account);
  }

  ofNamespace(namespace: Namespace): readonly Source[] {
    return this.#sources(this.#groupsIn(namespace), anything);
  }

  #groupsIn(namespace: Namespace): readonly Group[] {
    const { workloads, alike } = this.#mesh.get(clientsOfNamespace, namespace);
    const isDivided = this.#selectorsIn(namespace).length > 0;
    return this.#andToCome(namespace, isDivided ? this.#groupsOf(namespace, workloads) : groups(namespace, alike));
  }

  /**
   * Clients of the namespaces that configuration names, and those of all others. Sidecars of other namespaces are not
   * considered.
   */
  ofMesh(): readonly Source[] {
    const named = namespacesApart(this.#configuration, this.#mesh);
    const { isAmbientUsed } = this.#configuration;
    const apart = this.#joined(
      [...named.values()].flatMap((namespace) =>
        this.#groupsIn(namespace).filter(({ sender }) => sender !== "nothing"),
      ),
    );
    const { settings } = this.#mesh;
    const own = (namespace: Part) =>
      new Texts(trustDomainsOf(settings).map((domain) => [domain, namespace, anything] as const));
    const identity: Clauses = [
      { attribute: "identity", values: own(anything), not: false },
      ...this.#apart(anything),
      ...(named.size === 0
        ? []
        : [
            {
              attribute: "identity",
              values: new Texts([...named.keys()].map((name) => [anything, name, anything] as const)),
              not: true,
            } as const,
          ]),
    ];
    const rest = { namespace: undefined, labels: {}, workloads: [], isGateway: false, identity };
    const ofRest: readonly Sender[] = isAmbientUsed ? ["proxy", "ztunnel"] : ["proxy"];
    return [...ofRest.map((sender) => ({ ...rest, ...this.#past(sender), sender })), ...apart];
  }

  /**
   * Sources of several namespaces that only the exports of a host distinguish from others send in the same way. Routes, and what else
   * may get the requests, lead to other hosts, which may be exported elsewhere, and a Sidecar, or what is in the namespace itself, is for
   * that one alone.
   */
  #joined(all: readonly Group[]): readonly Source[] {
    const { host, apart } = this.#configuration;
    const { definitions, destinationRules, virtualServices, httpRoutes } = host;
    if (all.length < 2 || apart.length > 1 || virtualServices.length + httpRoutes.length > 0)
      return this.#sources(all, anything);
    const homes = new Set([...definitions, ...destinationRules].map(({ metadata }) => metadata.namespace));
    const exports = [
      ...definitions.map((one) => serviceVisibleTo(one, this.#mesh.settings)),
      ...destinationRules.map(({ spec }) => new Set(spec.exportTo)),
    ];
    const keyOf = (group: Group): unknown => {
      const { namespace, sender, workloads } = group;
      if (sender === "unknown" || homes.has(namespace.metadata.name)) return group;
      if (this.#mesh.get(clientsOfNamespace, namespace).hasSidecars) return group;
      if (workloads.some((one) => outboundCaptureOf(one) !== "")) return group;
      return `${sender} ${this.#readerOf(group)} ${exports.map((to) => to.has(namespace.metadata.name)).join()}`;
    };
    return [...Map.groupBy(all, keyOf).values()].flatMap((some) => this.#joinedOf(some));
  }

  /** One source of several. The first condition is that on their identities. */
  #joinedOf(some: readonly Group[]): readonly Source[] {
    const [first, another] = some;
    if (first === undefined || another === undefined) return this.#sources(some, anything);
    const workloads = some.flatMap((group) => group.workloads);
    const { identity, ...rest } = this.#source({ ...first, workloads }, anything);
    const trustDomain = exactly(this.#mesh.settings.trustDomain);
    const values = new Texts(some.map(({ namespace }) => [trustDomain, namespace.metadata.name, anything]));
    return [{ ...rest, identity: [{ attribute: "identity", values, not: false }, ...identity.slice(1)] }];
  }

  /** The control plane, which decides which DestinationRules count. */
  #readerOf({ namespace, labels }: Group): string {
    if (this.#configuration.host.destinationRules.length === 0) return "";
    return String(this.#mesh.get(readers, namespace).ofSidecar(labels));
  }

  /** With pods that may come, or that the view does not contain. */
  #andToCome(namespace: Namespace, known: readonly Group[]): readonly Group[] {
    if (known.length > 0 && this.#mesh.knowsAll("Workload")) return known;
    const there = new Set(known.map(({ sender }) => sender));
    const possible = this.#mesh.get(clientsOfNamespace, namespace).senders;
    const toCome = senders.filter((sender) => possible.has(sender) && !there.has(sender));
    return [...known, ...toCome.map((sender) => ({ sender, namespace, workloads: [], labels: {} }))];
  }

  of(namespace: Namespace, workloads: readonly Workload[], account: Part): readonly Source[] {
    return this.#sources(this.#groupsOf(namespace, workloads), account);
  }

  #groupsOf(namespace: Namespace, workloads: readonly Workload[]): readonly Group[] {
    this.#mesh.visited(workloads.length);
    const { selectors } = this.#mesh.get(clientsOfNamespace, namespace);
    const all = [...this.#selectorsIn(namespace), ...selectors];
    return groups(namespace, clientsAlike(namespace, workloads, all, this.#mesh.settings));
  }

  #sources(all: readonly Group[], account: Part): readonly Source[] {
    return all.map((group) => this.#source(group, account));
  }

  #source(of: Group, account: Part): Source {
    const { sender, namespace, workloads } = of;
    const own = [identityIn(this.#mesh.settings, namespace.metadata.name, account), ...this.#apart(account)];
    const identity = sender === "nothing" ? withoutIdentity : own;
    const isGateway = workloads.length > 0 && workloads.every(isProxy);
    return { ...of, ...(isGateway ? {} : this.#past(sender)), isGateway, identity };
  }

  #past(sender: Sender): Pick<Source, "isPastWaypoint"> {
    return sender === "proxy" && this.#configuration.waypoints.length > 0 ? { isPastWaypoint: true } : {};
  }

  /** Any account of a namespace does not mean that of a waypoint. */
  #apart(account: Part): Clauses {
    const { waypoints, compared } = this.#configuration;
    const all = [...waypoints, ...(compared?.waypoints ?? [])];
    return account === anything ? all.map((waypoint) => ({ ...waypoint, not: true })) : [];
  }

  /** The selectors that distinguish clients of a namespace, without those of Sidecars. */
  #selectorsIn(namespace: Namespace): readonly Labels[] {
    if (this.#selectors.length === 0) return this.#sourceLabels;
    const own = this.#selectors.flatMap((selectors) => selectors.get(namespace.metadata.name) ?? []);
    return [...this.#sourceLabels, ...own];
  }
}

/** By name, the namespaces whose clients the configuration of a host distinguishes from those of all others. */
function namespacesApart({ apart, compared }: ClientConfiguration, mesh: View): ReadonlyMap<string, Namespace> {
  const named = new Map<string, Namespace>();
  const kinds = Math.max(...apart.map(({ namespaces }) => namespaces.length));
  for (let kind = 0; kind < kinds; kind++)
    for (const { namespaces } of apart)
      for (const namespace of namespaces[kind] ?? []) named.set(namespace.metadata.name, namespace);
  for (const namespace of compared?.namespaces ?? []) named.set(namespace.metadata.name, namespace);
  mesh.visited(named.size);
  return named;
}
