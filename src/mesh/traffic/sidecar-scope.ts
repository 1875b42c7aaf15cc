import { fact, index, type MeshView, relation } from "../../view/view.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { isServed } from "../objects/revision.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { selectorText } from "../objects/selector-groups.ts";
import { everyNamespace } from "./export-to.ts";
import { fullHost, namespaceOfHost } from "./hosts.ts";
import {
  Egress,
  selectorOfSidecar,
  type Sidecar,
  sidecarByNamespace,
  sidecarsFirst,
  sidecarsOfNamespace,
} from "./sidecar-egress.ts";
import { gatewaysOf, isDelegate, meshGateway } from "./virtual-service-clients.ts";
import { subsetDestinationsOf, trafficOf, type VirtualService } from "./virtual-services.ts";

/**
 * What the Sidecars of a namespace leave its sidecars: a workload uses one of them, depending on its labels. What one of
 * these imports, some client uses.
 */
export class SidecarScope {
  readonly #egresses: readonly Egress[];
  readonly #imported = new Map<VirtualService, boolean>();

  constructor(egresses: readonly Egress[]) {
    this.#egresses = egresses;
  }

  /** Whether some sidecar of the namespace gets a VirtualService. */
  importsVirtualService(virtualService: VirtualService, mesh: MeshView): boolean {
    let found = this.#imported.get(virtualService);
    if (found === undefined) {
      mesh.visited(virtualService.spec.hosts.length);
      found = this.#egresses.some((egress) => egress.importsVirtualService(virtualService, mesh));
      this.#imported.set(virtualService, found);
    }
    return found;
  }

  /** Whether some sidecar of the namespace imports the service of a host in a namespace by name. */
  importsService(host: string, namespace: string): boolean {
    return this.#egresses.some((egress) => egress.importsService(host, namespace));
  }
}

const egresses = new WeakMap<Sidecar, Map<string, Egress>>();

/** What a Sidecar imports for sidecars of a namespace, of which that of the root namespace has many. */
export function egressOf(sidecar: Sidecar, client: string): Egress {
  const known = egresses.get(sidecar) ?? new Map<string, Egress>();
  egresses.set(sidecar, known);
  const found = known.get(client) ?? new Egress(sidecar, client);
  known.set(client, found);
  return found;
}

/**
 * The scope of a namespace with these Sidecars of its own, and those of the root namespace, of which the oldest without a
 * selector is for namespaces without one (Istio pilot/pkg/model/push_context.go initSidecarScopes); undefined: some
 * workload imports everything.
 */
function sidecarScopeOf(client: string, own: readonly Sidecar[], ofRoot: readonly Sidecar[]): SidecarScope | undefined {
  if (own.length === 0 && ofRoot.length === 0) return undefined;
  const inOrder = firstOfEachSelector(own.toSorted(sidecarsFirst));
  const selectsAll = (one: Sidecar) => Object.keys(selectorOfSidecar(one) ?? {}).length === 0;
  const last = inOrder.findIndex(selectsAll);
  const used = last < 0 ? inOrder : inOrder.slice(0, last + 1);
  const ofAll = ofRoot.toSorted(oldestFirst).find((one) => selectorOfSidecar(one) === undefined);
  if (last < 0 && ofAll === undefined) return undefined;
  const all = [...used, ...(last < 0 && ofAll !== undefined ? [ofAll] : [])].map((one) => egressOf(one, client));
  return all.some(({ importsAll }) => importsAll) ? undefined : new SidecarScope(all);
}

/** Without those of which an earlier one with the same labels takes all workloads. */
function firstOfEachSelector(inOrder: readonly Sidecar[]): readonly Sidecar[] {
  const first = new Map<string, Sidecar>();
  for (const sidecar of inOrder) {
    const key = selectorText(selectorOfSidecar(sidecar) ?? {});
    if (!first.has(key)) first.set(key, sidecar);
  }
  return [...first.values()];
}

/** The namespaces whose sidecars are the first to use a VirtualService: its own, and those that its hosts and exportTo name. */
function clientNames(virtualService: VirtualService, { domain }: MeshSettings): ReadonlySet<string> {
  const { metadata, spec } = virtualService;
  const names = new Set<string>();
  const add = (name: string | undefined) => {
    if (name !== undefined && name !== everyNamespace && name !== ".") names.add(name);
  };
  const addOf = (host: string) => add(namespaceOfHost(fullHost(host, metadata.namespace, domain), domain));
  add(metadata.namespace);
  for (const host of spec.hosts) addOf(host);
  for (const { destination } of trafficOf(virtualService)) addOf(destination.host);
  for (const name of spec.exportTo) add(name);
  return names;
}

const isForSidecars = (virtualService: VirtualService, settings: MeshSettings): boolean =>
  !isDelegate(virtualService) && isServed(virtualService, settings) && gatewaysOf(virtualService).has(meshGateway);

/** Only of those that send requests to subsets, or delegate, it matters here who follows them. */
const isForSubsets = (virtualService: VirtualService, settings: MeshSettings): boolean =>
  isForSidecars(virtualService, settings) &&
  (virtualService.spec.http.some(({ delegate }) => delegate !== undefined) ||
    [...subsetDestinationsOf(virtualService)].length > 0);

/** A VirtualService with subsets, and the Sidecars of the namespaces that it is meant for. */
const sidecarsOfVirtualService = relation(
  "sidecarsOfVirtualService",
  index("VirtualService", (virtualService, settings) =>
    isForSubsets(virtualService, settings) ? clientNames(virtualService, settings) : [],
  ),
  sidecarByNamespace,
);

/** The Sidecars of the root namespace that are for all namespaces without their own. */
const sidecarForAll = index("Sidecar", (sidecar, settings) =>
  isServed(sidecar, settings) &&
  sidecar.metadata.namespace === settings.rootNamespace &&
  selectorOfSidecar(sidecar) === undefined
    ? [everyNamespace]
    : [],
);
/** The same VirtualService, and the Sidecars of the root namespace for all. */
const sidecarsForAllOfVirtualService = relation(
  "sidecarsForAllOfVirtualService",
  index("VirtualService", (virtualService, settings) =>
    isForSubsets(virtualService, settings) ? [everyNamespace] : [],
  ),
  sidecarForAll,
);

/** What the Sidecars of the namespaces that a VirtualService is meant for leave their sidecars; nothing about others. */
export class ClientScopes {
  readonly #scopes: ReadonlyMap<string, SidecarScope>;
  readonly #mesh: MeshView;

  constructor(scopes: ReadonlyMap<string, SidecarScope>, mesh: MeshView) {
    this.#scopes = scopes;
    this.#mesh = mesh;
  }

  /** The namespaces with Sidecars that limit them. */
  get limited(): Iterable<string> {
    return this.#scopes.keys();
  }

  /** Whether no sidecar of a namespace gets the VirtualService. */
  hides(virtualService: VirtualService, client: string): boolean {
    return this.#scopes.get(client)?.importsVirtualService(virtualService, this.#mesh) === false;
  }
}

/** A VirtualService for sidecars, whatever it does, and the same Sidecars. */
const sidecarsOfFollowers = relation(
  "sidecarsOfFollowers",
  index("VirtualService", (virtualService, settings) =>
    isForSidecars(virtualService, settings) ? clientNames(virtualService, settings) : [],
  ),
  sidecarByNamespace,
);
/** Every VirtualService for sidecars, and the Sidecars of the root namespace for all. */
const sidecarsForAllOfFollowers = relation(
  "sidecarsForAllOfFollowers",
  index("VirtualService", (virtualService, settings) =>
    isForSidecars(virtualService, settings) ? [everyNamespace] : [],
  ),
  sidecarForAll,
);

/** What a namespace that VirtualServices with subsets are meant for imports: many are meant for the same one. */
const scopeForSubsets = fact(
  "scopeForSubsets",
  "key",
  [sidecarsOfVirtualService, sidecarsForAllOfVirtualService],
  (client, mesh) =>
    sidecarScopeOf(
      client,
      mesh.under(sidecarsOfVirtualService, [client]),
      mesh.under(sidecarsForAllOfVirtualService, [everyNamespace]),
    ),
);

/** The namespaces that a VirtualService with subsets is meant for, as their Sidecars limit them. */
export const clientScopes = fact("clientScopes", "VirtualService", [scopeForSubsets], (one, mesh) =>
  isForSubsets(one, mesh.settings)
    ? scopesOf(one, (client) => mesh.get(scopeForSubsets, client), mesh)
    : new ClientScopes(noScopes, mesh),
);

/** What a namespace that any VirtualServices are meant for imports. */
const scopeForFollowers = fact(
  "scopeForFollowers",
  "key",
  [sidecarsOfFollowers, sidecarsForAllOfFollowers],
  (client, mesh) =>
    sidecarScopeOf(
      client,
      mesh.under(sidecarsOfFollowers, [client]),
      mesh.under(sidecarsForAllOfFollowers, [everyNamespace]),
    ),
);

/** The same for every VirtualService. Apart, because a change of a Sidecar concerns fewer of those with subsets. */
export const followerScopes = fact("followerScopes", "VirtualService", [scopeForFollowers], (one, mesh) =>
  isForSidecars(one, mesh.settings)
    ? scopesOf(one, (client) => mesh.get(scopeForFollowers, client), mesh)
    : new ClientScopes(noScopes, mesh),
);

function scopesOf(
  virtualService: VirtualService,
  scopeOf: (client: string) => SidecarScope | undefined,
  mesh: MeshView,
): ClientScopes {
  let scopes: Map<string, SidecarScope> | undefined;
  for (const client of clientNames(virtualService, mesh.settings)) {
    const scope = scopeOf(client);
    if (scope !== undefined) (scopes ??= new Map()).set(client, scope);
  }
  return new ClientScopes(scopes ?? noScopes, mesh);
}

/** Most meshes have no Sidecars. */
const noScopes: ReadonlyMap<string, SidecarScope> = new Map();

/** A namespace and the Sidecars of the root namespace that are for all namespaces without their own. */
export const sidecarsOfRoot = relation(
  "sidecarsOfRoot",
  index("Namespace", () => [everyNamespace]),
  sidecarForAll,
);

/** What the Sidecars leave the sidecars of a namespace; undefined: some workload imports everything. */
export const scopeOfNamespace = fact(
  "scopeOfNamespace",
  "Namespace",
  [sidecarsOfNamespace, sidecarsOfRoot],
  (namespace, mesh): SidecarScope | undefined =>
    sidecarScopeOf(
      namespace.metadata.name,
      mesh.related(sidecarsOfNamespace, namespace),
      mesh.related(sidecarsOfRoot, namespace),
    ),
);
