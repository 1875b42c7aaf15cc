import type { Labels } from "../../kube/object.ts";
import { index, type MeshView, relation } from "../../view/view.ts";
import { type KubernetesRoute, namespaceOfRoute } from "../gateways/routes.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { namespaceByName } from "../objects/indexes.ts";
import { type Definition, serviceVisibleTo } from "../traffic/definition-choice.ts";
import { selectorOf } from "../traffic/destination-rule-merge.ts";
import type { DestinationRule } from "../traffic/destination-rules.ts";
import { everyNamespace, visibleTo } from "../traffic/export-to.ts";
import type { VirtualService } from "../traffic/virtual-services.ts";
import { selecting } from "./clients-alike.ts";

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
/** A Service, its namespace and those that it is exported to, whose clients know it; none if all do. */
export const namespacesThatSeeService = relation(
  "namespacesThatSeeService",
  index("Service", (service, settings) => {
    const seeing = serviceVisibleTo(service, settings);
    return seeing.has(everyNamespace) ? [] : new Set([service.metadata.namespace, ...seeing]);
  }),
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

/** The configuration of a host that can distinguish its clients. */
export interface HostConfiguration {
  /** What defines the host; empty: the requests are for addresses of pods, or for a host that nothing defines. */
  readonly definitions: readonly Definition[];
  readonly virtualServices: readonly VirtualService[];
  readonly destinationRules: readonly DestinationRule[];
  readonly httpRoutes: readonly KubernetesRoute[];
}

/** What distinguishes clients of a host, without the objects that do it, of which there can be many for many hosts. */
export interface ClientsApart {
  /** The namespaces whose clients are told apart from those of all others, each once, by the kinds of objects that do it. */
  readonly namespaces: readonly (readonly Namespace[])[];
  /** The labels of clients that routes ask for. */
  readonly sourceLabels: readonly Labels[];
  /** The selectors of DestinationRules, by their namespace, in which alone they count. */
  readonly selectors: ReadonlyMap<string, readonly Labels[]>;
}

/** What `clientsApartBy` reads. */
export const apartReads = [
  namespacesOfVirtualService,
  namespacesThatSeeService,
  namespacesThatSeeEntry,
  namespacesApartOfDestinationRule,
  namespaceOfRoute,
] as const;

/** How this configuration distinguishes clients. */
export function clientsApartBy(of: HostConfiguration, mesh: MeshView<(typeof apartReads)[number]>): ClientsApart {
  const ofRules = Map.groupBy(of.destinationRules, ({ metadata }) => metadata.namespace);
  return {
    namespaces: [
      new Set(of.definitions.flatMap((one) => namespacesThatSee(one, mesh))),
      new Set(of.virtualServices.flatMap((one) => mesh.related(namespacesOfVirtualService, one))),
      new Set(of.destinationRules.flatMap((one) => mesh.related(namespacesApartOfDestinationRule, one))),
      new Set(of.httpRoutes.flatMap((one) => mesh.related(namespaceOfRoute, one))),
    ].map((some) => [...some].sort(byName)),
    sourceLabels: selecting(of.virtualServices.flatMap(sourceLabelsIn)),
    selectors: new Map([...ofRules].map(([namespace, rules]) => [namespace, selecting(rules.map(selectorOf))])),
  };
}

/** The first outcome is the one that is named, and the order in which a view has objects tells nothing. */
const byName = (one: Namespace, other: Namespace): number => (one.metadata.name < other.metadata.name ? -1 : 1);

/** The namespaces whose clients know a definition, if not all do, and that whose clients prefer it. */
const namespacesThatSee = (
  definition: Definition,
  mesh: MeshView<typeof namespacesThatSeeService | typeof namespacesThatSeeEntry>,
): readonly Namespace[] =>
  definition.kind === "Service"
    ? mesh.related(namespacesThatSeeService, definition)
    : mesh.related(namespacesThatSeeEntry, definition);

function sourceLabelsIn({ spec }: VirtualService): readonly Labels[] {
  const matches = [...spec.http, ...spec.tcp, ...spec.tls].flatMap(
    (route): readonly { readonly sourceLabels: Labels }[] => route.match,
  );
  return matches.map(({ sourceLabels }) => sourceLabels);
}
