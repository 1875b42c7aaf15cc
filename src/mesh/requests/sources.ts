import type { MeshSettings } from "../../view/settings.ts";
import { index, type MeshView, relation } from "../../view/view.ts";
import type { Clause } from "../authorization/requests/boxes.ts";
import { trustDomainsOf } from "../authorization/requests/identities.ts";
import type { Clauses } from "../authorization/requests/matches.ts";
import { anything } from "../authorization/requests/patterns.ts";
import { type Part, Texts } from "../authorization/requests/texts.ts";
import { absent } from "../authorization/requests/values.ts";
import { type KubernetesRoute, namespaceOfRoute } from "../gateways/routes.ts";
import { readers } from "../membership/control-plane.ts";
import { clientsIn, type Sender, senderOf } from "../membership/clients.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { isProxy, type Workload, workloadsOfNamespace } from "../membership/workloads.ts";
import { namespaceByName } from "../objects/indexes.ts";
import { revisionLabel } from "../objects/labels.ts";
import { SelectorGroups } from "../objects/selector-groups.ts";
import { type Definition, serviceVisibleTo } from "../traffic/definition-choice.ts";
import { selectorOf } from "../traffic/destination-rule-merge.ts";
import type { DestinationRule } from "../traffic/destination-rules.ts";
import { everyNamespace, visibleTo } from "../traffic/export-to.ts";
import { selectorOfSidecar, sidecarsOfNamespace } from "../traffic/sidecar-egress.ts";
import type { VirtualService } from "../traffic/virtual-services.ts";
import type { Source } from "./outcome.ts";
import type { Caller } from "./question.ts";

type Labels = Readonly<Record<string, string>>;

/** A VirtualService and the namespaces whose clients it distinguishes: its own, and those that it names. */
export const namespacesOfVirtualService = relation(
  "namespacesOfVirtualService",
  index("VirtualService", (virtualService, settings) => {
    const { metadata, spec } = virtualService;
    const visible = visibleTo(spec.exportTo, metadata.namespace, settings.defaultVirtualServiceExportTo);
    const named = [...spec.http, ...spec.tcp, ...spec.tls].flatMap(({ match }) =>
      match.flatMap(({ sourceNamespace }) => sourceNamespace ?? []),
    );
    return new Set([metadata.namespace, ...visible, ...named].filter((name) => name !== everyNamespace));
  }),
  namespaceByName,
);
/** A Service and the namespaces that it is exported to, whose clients know it; none if all do. */
export const namespacesThatSeeService = relation(
  "namespacesThatSeeService",
  index("Service", (service, settings) =>
    [...serviceVisibleTo(service, settings)].filter((name) => name !== everyNamespace),
  ),
  namespaceByName,
);
/** A ServiceEntry, its namespace, whose clients prefer it, and those that it is exported to, whose clients know it. */
export const namespacesThatSeeEntry = relation(
  "namespacesThatSeeEntry",
  index(
    "ServiceEntry",
    (entry, settings) =>
      new Set(
        [entry.metadata.namespace, ...serviceVisibleTo(entry, settings)].filter((name) => name !== everyNamespace),
      ),
  ),
  namespaceByName,
);
/** A DestinationRule and the namespaces whose clients it distinguishes. */
export const namespacesApartOfDestinationRule = relation(
  "namespacesApartOfDestinationRule",
  index(
    "DestinationRule",
    ({ metadata, spec }) =>
      new Set([metadata.namespace, ...spec.exportTo].filter((name) => !["*", ".", "~"].includes(name))),
  ),
  namespaceByName,
);

/** What `sourcesOf` reads. */
export const sourceReads = [
  workloadsOfNamespace,
  sidecarsOfNamespace,
  namespacesOfVirtualService,
  namespacesThatSeeService,
  namespacesThatSeeEntry,
  namespacesApartOfDestinationRule,
  namespaceOfRoute,
  readers,
] as const;
type View = MeshView<(typeof sourceReads)[number]>;

/** The configuration that can distinguish clients of a host. */
export interface ClientConfiguration {
  /** What defines the host; empty: the requests are for addresses of pods, or for a host that nothing defines. */
  readonly definitions: readonly Definition[];
  readonly virtualServices: readonly VirtualService[];
  readonly destinationRules: readonly DestinationRule[];
  readonly httpRoutes: readonly KubernetesRoute[];
  /** The identities of the waypoints in front of the host, which are no callers of their own. */
  readonly waypoints: readonly Clause[];
  /** Whether ambient clients have to be considered among those of the whole mesh. */
  readonly isAmbientUsed: boolean;
}

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

export const identityIn = ({ trustDomain }: MeshSettings, namespace: string, account: Part): Clause => ({
  attribute: "identity",
  values: new Texts([[trustDomain, namespace, account]]),
  not: false,
});

/** Workloads in groups that the same selectors select. */
function selectedAlike(workloads: readonly Workload[], selectors: readonly Labels[]): readonly (readonly Workload[])[] {
  if (selectors.length === 0) return workloads.length === 0 ? [] : [workloads];
  const groups = new SelectorGroups(selectors.map((selector) => [selector, selector] as const));
  // The groups are the same list for all labels that the same selectors select.
  return [...Map.groupBy(workloads, ({ pod }) => groups.selecting(pod.labels)).values()];
}

/** One source of several. The first condition of each is that on its own identities. */
function joinedOf(some: readonly Source[]): readonly Source[] {
  const [first, another] = some;
  if (first === undefined || another === undefined) return some;
  const identities = some.flatMap(({ identity: [own] }) =>
    own?.values instanceof Texts ? [...own.values.exact.values(), ...own.values.patterns] : [],
  );
  const identity: Clauses = [
    { attribute: "identity", values: new Texts(identities), not: false },
    ...first.identity.slice(1),
  ];
  return [{ ...first, workloads: some.flatMap(({ workloads }) => workloads), identity }];
}

/** The order of sources: the order in which a view has workloads tells nothing, and the first outcome is the one that is named. */
const senders: readonly Sender[] = ["proxy", "ztunnel", "nothing", "unknown"];

class Sources {
  readonly #configuration: ClientConfiguration;
  readonly #mesh: View;

  constructor(configuration: ClientConfiguration, mesh: View) {
    this.#configuration = configuration;
    this.#mesh = mesh;
  }

  ofAccount(namespace: Namespace, account: string): readonly Source[] {
    const all = this.#mesh.related(workloadsOfNamespace, namespace);
    this.#mesh.visited(all.length);
    const own = all.filter(({ pod }) => pod.serviceAccountName === account);
    return own.length > 0 && this.#mesh.knowsAll("Workload")
      ? this.of(namespace, own, account)
      : [...this.of(namespace, own, account), ...this.#toCome(namespace, account, own)];
  }

  ofNamespace(namespace: Namespace): readonly Source[] {
    const all = this.#mesh.related(workloadsOfNamespace, namespace).filter((workload) => !isProxy(workload));
    return all.length > 0 && this.#mesh.knowsAll("Workload")
      ? this.of(namespace, all, anything)
      : [...this.of(namespace, all, anything), ...this.#toCome(namespace, anything, all)];
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
        this.ofNamespace(namespace).filter(({ sender }) => sender !== "nothing"),
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
   * Sources of several namespaces that only the exports of a host distinguish from others send in the same way. Routes lead to other
   * hosts, which may be exported elsewhere, and a Sidecar, or what is in the namespace itself, is for that one alone.
   */
  #joined(all: readonly Source[]): readonly Source[] {
    const { definitions, destinationRules, virtualServices, httpRoutes } = this.#configuration;
    if (all.length < 2 || virtualServices.length + httpRoutes.length > 0) return all;
    const homes = new Set([...definitions, ...destinationRules].map(({ metadata }) => metadata.namespace));
    const exports = [
      ...definitions.map((one) => serviceVisibleTo(one, this.#mesh.settings)),
      ...destinationRules.map(({ spec }) => new Set(spec.exportTo)),
    ];
    const keyOf = (source: Source): unknown => {
      const { namespace, sender, isGateway } = source;
      if (namespace === undefined || isGateway || sender === "unknown" || homes.has(namespace.metadata.name))
        return source;
      if (this.#mesh.related(sidecarsOfNamespace, namespace).length > 0) return source;
      return `${sender} ${this.#readerOf(source)} ${exports.map((to) => to.has(namespace.metadata.name)).join()}`;
    };
    return [...Map.groupBy(all, keyOf).values()].flatMap(joinedOf);
  }

  /** The control plane, which decides which DestinationRules count. */
  #readerOf({ namespace, labels }: Source): string {
    if (namespace === undefined || this.#configuration.destinationRules.length === 0) return "";
    return String(this.#mesh.get(readers, namespace).ofSidecar(labels));
  }

  /** Pods that may come, or that the view does not contain. */
  #toCome(namespace: Namespace, account: Part, known: readonly Workload[]): readonly Source[] {
    const there = new Set(known.map((workload) => senderOf(workload, namespace)));
    const possible = clientsIn(namespace, this.#mesh).senders;
    return senders
      .filter((sender) => possible.has(sender) && !there.has(sender))
      .map((sender) => this.#source(sender, { namespace, workloads: [], labels: {} }, account));
  }

  of(namespace: Namespace, workloads: readonly Workload[], account: Part): readonly Source[] {
    this.#mesh.visited(workloads.length);
    const sources = selectedAlike(workloads, this.#selectorsIn(namespace)).flatMap((some) =>
      [
        ...Map.groupBy(some, (workload) => `${senderOf(workload, namespace)} ${workload.pod.labels[revisionLabel]}`),
      ].map(([, group]) => {
        const [first] = group;
        const sender = first === undefined ? "unknown" : senderOf(first, namespace);
        return this.#source(sender, { namespace, workloads: group, labels: first?.pod.labels ?? {} }, account);
      }),
    );
    return sources.sort((a, b) => senders.indexOf(a.sender) - senders.indexOf(b.sender));
  }

  #source(
    sender: Sender,
    of: { readonly namespace: Namespace; readonly workloads: readonly Workload[]; readonly labels: Labels },
    account: Part,
  ): Source {
    const own = [identityIn(this.#mesh.settings, of.namespace.metadata.name, account), ...this.#apart(account)];
    const identity = sender === "nothing" ? withoutIdentity : own;
    const isGateway = of.workloads.length > 0 && of.workloads.every(isProxy);
    return { ...of, ...(isGateway ? {} : this.#past(sender)), sender, isGateway, identity };
  }

  #past(sender: Sender): Pick<Source, "isPastWaypoint"> {
    return sender === "proxy" && this.#configuration.waypoints.length > 0 ? { isPastWaypoint: true } : {};
  }

  /** Any account of a namespace does not mean that of a waypoint. */
  #apart(account: Part): Clauses {
    const { waypoints } = this.#configuration;
    return account === anything ? waypoints.map((waypoint) => ({ ...waypoint, not: true })) : [];
  }

  /** The selectors that distinguish clients of a namespace. */
  #selectorsIn(namespace: Namespace): readonly Labels[] {
    const { virtualServices, destinationRules } = this.#configuration;
    const own = destinationRules.filter(({ metadata }) => metadata.namespace === namespace.metadata.name);
    const all: readonly (Labels | undefined)[] = [
      ...virtualServices.flatMap(sourceLabelsIn),
      ...own.map(selectorOf),
      ...this.#mesh.related(sidecarsOfNamespace, namespace).map(selectorOfSidecar),
    ];
    return all.filter((labels) => labels !== undefined).filter((labels) => Object.keys(labels).length > 0);
  }
}

/** By name, the namespaces whose clients the configuration of a host distinguishes from those of all others. */
function namespacesApart(of: ClientConfiguration, mesh: View): ReadonlyMap<string, Namespace> {
  const all = [
    ...of.definitions.flatMap((one) => apartBy(one, mesh)),
    ...of.virtualServices.flatMap((one) => mesh.related(namespacesOfVirtualService, one)),
    ...of.destinationRules.flatMap((one) => mesh.related(namespacesApartOfDestinationRule, one)),
    ...of.httpRoutes.flatMap((one) => mesh.related(namespaceOfRoute, one)),
  ];
  const named = new Map(all.map((namespace) => [namespace.metadata.name, namespace]));
  mesh.visited(named.size);
  return named;
}

/** The namespaces whose clients know a definition, if not all do, and that whose clients prefer it. */
const apartBy = (definition: Definition, mesh: View): readonly Namespace[] =>
  definition.kind === "Service"
    ? mesh.related(namespacesThatSeeService, definition)
    : mesh.related(namespacesThatSeeEntry, definition);

function sourceLabelsIn({ spec }: VirtualService): readonly Labels[] {
  const matches = [...spec.http, ...spec.tcp, ...spec.tls].flatMap(
    (route): readonly { readonly sourceLabels: Labels }[] => route.match,
  );
  return matches.map(({ sourceLabels }) => sourceLabels);
}
