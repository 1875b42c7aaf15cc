import { fact, index, relation } from "../../view/view.ts";
import type { Service } from "../membership/services.ts";
import { type Definition, entryByHost, serviceByHost } from "./definition-choice.ts";
import { coveringHosts } from "./hosts.ts";

/** Whether a Service is another name for a host (Istio pilot/pkg/serviceregistry/kube/conversion.go ConvertService). */
export const isAlias = ({ spec }: Service): boolean => spec.type === "ExternalName" && (spec.externalName ?? "") !== "";

/** The host that an alias stands for. Istio takes it as it is written, so that with a dot at the end it is the host of no service. */
export const aliasedHost = ({ spec }: Service): string => spec.externalName ?? "";

/** An alias, by the keys of the names that cover the host that it stands for. */
export const aliasByCoveringHosts = index("Service", (service) =>
  isAlias(service) ? coveringHosts(aliasedHost(service)) : [],
);
export const aliasByAliasedHost = index("Service", (service) => (isAlias(service) ? [aliasedHost(service)] : []));

/** An alias and the Service whose host it stands for. */
export const serviceOfAlias = relation("serviceOfAlias", aliasByAliasedHost, serviceByHost);
/** An alias and the ServiceEntries that define exactly the host that it stands for. */
export const definingEntriesOfAlias = relation("definingEntriesOfAlias", aliasByAliasedHost, entryByHost);

/** What routes find behind an ExternalName. */
export interface RoutedAlias {
  readonly service: Service;
  readonly target: string;
  /** Nothing: the target is no host of the registry. */
  readonly definitions: readonly Definition[];
  /** All ports of the definitions; undefined: the target is an alias too, which routes do not follow. */
  readonly ports: ReadonlySet<number> | undefined;
}

/**
 * A route to an alias leads to the host that it names, of one step and at the port of the route (Istio
 * pilot/pkg/networking/core/route/route.go GetDestinationCluster). An alias has no cluster of its own
 * (pilot/pkg/networking/core/cluster.go buildOutboundClusters). Undefined: the Service is no alias.
 */
export const routedAlias = fact(
  "routedAlias",
  "Service",
  [serviceOfAlias, definingEntriesOfAlias],
  (service, mesh): RoutedAlias | undefined => {
    if (!isAlias(service)) return undefined;
    const definitions = [...mesh.related(serviceOfAlias, service), ...mesh.related(definingEntriesOfAlias, service)];
    const ports = definitions.some(isExternalName) ? undefined : portsOf(definitions);
    return { service, target: aliasedHost(service), definitions, ports };
  },
);

/** What is wrong with a route to an alias at a port, as the end of a sentence about its target; undefined: nothing. */
export function wrongOfAlias(alias: RoutedAlias, port: number | undefined): string | undefined {
  const { definitions, ports } = alias;
  if (isOfItself(alias)) return "is the same Service, so Envoy has no cluster for it";
  if (definitions.length === 0) return "is no Service and no ServiceEntry, so Envoy has no cluster for it";
  if (ports === undefined) return "is an alias too, and routes follow only one";
  return port === undefined || ports.has(port) ? undefined : `has no port ${port}`;
}

const isOfItself = ({ service, definitions }: RoutedAlias): boolean => definitions.includes(service);

/** No ServiceEntry can have such a host. */
export const endsWithDot = (host: string): boolean => host.endsWith(".");
export const withoutDot = "Write the `externalName` of the Service without the dot at its end.";

/** What to do about it. */
export function fixOfAlias(alias: RoutedAlias): string {
  const { target, definitions, ports } = alias;
  if (endsWithDot(target)) return withoutDot;
  if (definitions.length === 0) return `Add a ServiceEntry for "${target}", with the port.`;
  if (isOfItself(alias)) return "Name another host as the `externalName` of the Service.";
  return ports === undefined
    ? "Name the host that the aliases stand for in the end."
    : `Use a port that "${target}" has.`;
}

export const isExternalName = (one: Definition): boolean => one.kind === "Service" && one.spec.type === "ExternalName";

/** All ports of what defines a host. */
export const portsOf = (definitions: readonly Definition[]): ReadonlySet<number> =>
  new Set(definitions.flatMap(portNumbers));

const portNumbers = (one: Definition): readonly number[] =>
  one.kind === "Service"
    ? one.spec.ports.flatMap(({ port }) => port ?? [])
    : one.spec.ports.flatMap(({ number }) => number ?? []);
