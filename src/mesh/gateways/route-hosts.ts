import type { ObjectOf } from "../../kube/object.ts";
import type { Path } from "../../kube/read.ts";
import { fact, index, relation } from "../../view/view.ts";
import { isServed } from "../objects/revision.ts";
import { covers, isWildcard } from "../traffic/hosts.ts";
import type { ListenerOwner } from "./listener-gateways.ts";
import { listenersOf, nameOfReferenced, ownersByName } from "./route-acceptance.ts";
import { gatewaysOfRoute, listenerSetsOfRoute, type KubernetesRoute, type ParentRef, parentOf } from "./routes.ts";

type ServiceEntry = ObjectOf<"ServiceEntry">;

const namesServiceEntry = ({ group, kind }: ParentRef): boolean =>
  group === "networking.istio.io" && kind === "ServiceEntry";
const nameOfParent = ({ namespace, name }: ParentRef, { metadata }: KubernetesRoute): string =>
  `${namespace || metadata.namespace}/${name}`;

/** A route of the Gateway API and the ServiceEntries that it names as its parents. */
const serviceEntriesOfRoute = relation(
  "serviceEntriesOfRoute",
  index(
    "KubernetesRoute",
    (route) => new Set(route.spec.parentRefs.filter(namesServiceEntry).map((ref) => nameOfParent(ref, route))),
  ),
  index("ServiceEntry", (entry, settings) =>
    isServed(entry, settings) ? [`${entry.metadata.namespace}/${entry.metadata.name}`] : [],
  ),
);

/** A host or wildcard whose requests a route decides about. */
export interface RouteHost {
  /** The path of the hostname, or of the parent that gives the route the host. */
  readonly at: Path;
  readonly host: string;
  /** The parent that decides which host it is; undefined: the route alone. */
  readonly by: ListenerOwner | ServiceEntry | undefined;
}

/**
 * The hosts whose requests a route decides about. At a Gateway or a ListenerSet, these are its hostnames as far as the listeners offer them,
 * or all hosts of the listeners if it has no hostnames; in the mesh, the host of the Service or those of the ServiceEntry
 * that is its parent, whatever its hostnames are (Istio pilot/pkg/config/kube/gateway/route_collections.go
 * HTTPRouteCollection). TCPRoutes have no hosts at a Gateway. Of a Gateway that is not known, only the hostnames are.
 */
export const hostsOfRoute = fact(
  "hostsOfRoute",
  "KubernetesRoute",
  [gatewaysOfRoute, listenerSetsOfRoute, serviceEntriesOfRoute],
  (route, mesh): readonly RouteHost[] => {
    const owners = ownersByName([...mesh.related(gatewaysOfRoute, route), ...mesh.related(listenerSetsOfRoute, route)]);
    const entries = mesh.related(serviceEntriesOfRoute, route);
    const found: RouteHost[] = [];
    for (const [i, ref] of route.spec.parentRefs.entries()) {
      const at: Path = ["spec", "parentRefs", i];
      const parent = parentOf(ref, route);
      const isParent = ({ metadata }: ServiceEntry) =>
        metadata.namespace === parent.namespace && metadata.name === parent.name;
      if (parent.kind === "Service")
        found.push({ at, host: `${parent.name}.${parent.namespace}.svc.${mesh.settings.domain}`, by: undefined });
      else if ((parent.kind === "Gateway" || parent.kind === "ListenerSet") && route.originKind !== "TCPRoute")
        found.push(...atListeners(route, { at, ref, owner: owners.get(nameOfReferenced(parent)) }));
      else if (namesServiceEntry(ref)) {
        const entry = entries.find(isParent);
        found.push(...(entry?.spec.hosts ?? []).map((host) => ({ at, host, by: entry })));
      }
    }
    return distinct(found);
  },
);

interface AtListeners {
  readonly at: Path;
  readonly ref: ParentRef;
  readonly owner: ListenerOwner | undefined;
}

function atListeners({ spec }: KubernetesRoute, { at, ref, owner }: AtListeners): readonly RouteHost[] {
  const hostnames = spec.hostnames.map((host, i): RouteHost => ({ at: ["spec", "hostnames", i], host, by: undefined }));
  if (owner === undefined) return hostnames;
  const withHosts = listenersOf(owner, ref).filter(({ protocol }) => protocol !== "TCP" && protocol !== "UDP");
  const offered = new Set(withHosts.map(({ hostname }) => hostname || "*"));
  if (hostnames.length === 0) return [...offered].map((host) => ({ at, host, by: owner }));
  return hostnames.flatMap((one) => {
    if (!isWildcard(one.host)) return [one];
    const narrower = [...offered].filter((host) => covers(one.host, host) && host !== one.host);
    const isWhole = [...offered].some((host) => covers(host, one.host));
    return isWhole ? [one] : narrower.map((host) => ({ ...one, host, by: owner }));
  });
}

/** A hostname counts once for all parents. */
function distinct(all: readonly RouteHost[]): readonly RouteHost[] {
  const found = new Map<string, RouteHost>();
  for (const one of all) {
    const key = `${one.at.join(".")} ${one.host}`;
    if (!found.has(key)) found.set(key, one);
  }
  return [...found.values()];
}
