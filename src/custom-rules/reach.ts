import type { Kind } from "../kube/kinds.ts";
import type { AnyObject } from "../kube/object.ts";
import { serviceEntriesOfVirtualService } from "../mesh/traffic/destination-rules.ts";
import { everyDestinationRuleByHost } from "../mesh/traffic/destination-rule-choices.ts";
import { coveringHostsOfAll, fullHost, namespaceOfHost } from "../mesh/traffic/hosts.ts";
import { everyVirtualServiceByHost } from "../mesh/traffic/virtual-service-choices.ts";
import { namespaceByName } from "../mesh/objects/indexes.ts";
import type { MeshSettings } from "../view/settings.ts";
import { type Index, index, type Relation, relation } from "../view/view.ts";

type To<K extends Kind> = Relation<string, Kind, K, "object">;

/**
 * What the functions of the mesh can be asked about: namespaces and hosts that the object itself names, or that the expression
 * names as constants. Only for these does a change elsewhere lead back to the object (see relations in src/README.md).
 */
export interface Reach {
  namespaces(object: AnyObject, settings: MeshSettings): ReadonlySet<string>;
  hosts(object: AnyObject, settings: MeshSettings): ReadonlySet<string>;
  /** From objects of the kinds to the namespaces. */
  readonly toNamespaces: readonly To<"Namespace">[];
  /** From objects of the kinds to what is configured for the hosts. */
  readonly toDestinationRules: readonly To<"DestinationRule">[];
  readonly toVirtualServices: readonly To<"VirtualService">[];
  readonly toServiceEntries: readonly To<"ServiceEntry">[];
}

/** One for each set of kinds and constants, because each has indexes over all objects of these kinds. */
const known = new Map<string, Reach>();

export function reachOf(kinds: readonly Kind[], constants: readonly string[]): Reach {
  const key = JSON.stringify([[...kinds].sort(), [...constants].sort()]);
  let found = known.get(key);
  if (found === undefined) known.set(key, (found = createReach(kinds, constants)));
  return found;
}

function createReach(kinds: readonly Kind[], constants: readonly string[]): Reach {
  const hosts = (object: AnyObject, settings: MeshSettings): ReadonlySet<string> =>
    new Set([...hostsNamedBy(object, settings), ...constants]);
  const namespaces = (object: AnyObject, settings: MeshSettings): ReadonlySet<string> => {
    const own = object.kind === "Namespace" ? object.metadata.name : object.metadata.namespace;
    const ofHosts = [...hosts(object, settings)].flatMap((host) => namespaceOfHost(host, settings.domain) ?? []);
    return new Set([own, ...ofHosts, ...constants].filter((name) => name !== ""));
  };
  const byHosts = new Map(
    kinds.map((kind) => [kind, index(kind, (object, settings) => coveringHostsOfAll([...hosts(object, settings)]))]),
  );
  const from = (kind: Kind): Index => byHosts.get(kind) as Index;
  const to = <K extends Kind>(name: string, end: Index<K>): readonly To<K>[] =>
    kinds.map((kind) => relation(`${name} of ${kind}`, from(kind), end));
  // One evaluation asks again and again for the same object.
  return {
    namespaces: lastOf(namespaces),
    hosts: lastOf(hosts),
    toNamespaces: kinds.map((kind) =>
      relation(`namespaces of ${kind}`, index<Kind>(kind, namespaces), namespaceByName),
    ),
    toDestinationRules: to("DestinationRules for hosts", everyDestinationRuleByHost),
    toVirtualServices: to("VirtualServices for hosts", everyVirtualServiceByHost),
    toServiceEntries: to("ServiceEntries for hosts", serviceEntriesOfVirtualService.to),
  };
}

type OfObject = (object: AnyObject, settings: MeshSettings) => ReadonlySet<string>;

/** The same function, which remembers its last result. */
function lastOf(compute: OfObject): OfObject {
  let last:
    | { readonly object: AnyObject; readonly settings: MeshSettings; readonly found: ReadonlySet<string> }
    | undefined;
  return (object, settings) => {
    if (last?.object !== object || last.settings !== settings)
      last = { object, settings, found: compute(object, settings) };
    return last.found;
  };
}

/** The hosts in an object, as istiod resolves them, in lower case. */
function hostsNamedBy(object: AnyObject, { domain }: MeshSettings): readonly string[] {
  return rawHostsOf(object)
    .filter((host) => host !== "")
    .map((host) => fullHost(host, object.metadata.namespace, domain).toLowerCase());
}

function rawHostsOf(object: AnyObject): readonly string[] {
  switch (object.kind) {
    case "VirtualService": {
      const { hosts, http, tcp, tls } = object.spec;
      const routes = [...http, ...tcp, ...tls].flatMap(({ route }) => route.map(({ destination }) => destination.host));
      const mirrors = http.flatMap(({ mirror, mirrors: more }) => [
        mirror?.host ?? "",
        ...more.map(({ destination }) => destination.host),
      ]);
      return [...hosts, ...routes, ...mirrors];
    }
    case "DestinationRule":
      return [object.spec.host];
    case "ServiceEntry":
      return object.spec.hosts;
    case "Service":
      return [object.metadata.name];
    case "Gateway":
      return object.spec.servers.flatMap(({ hosts }) => hosts.map((host) => host.slice(host.indexOf("/") + 1)));
    case "KubernetesGateway":
    case "ListenerSet":
      return object.spec.listeners.map(({ hostname }) => hostname ?? "");
    default:
      return [];
  }
}
