import { absent, absentHere, type Evidence } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import {
  arrivalReads,
  doubtOfTraffic,
  doubtReads,
  portsOfArrival,
  sidecarPortsOf,
} from "../../mesh/gateways/arrival-ports.ts";
import { isGenerated } from "../../mesh/gateways/attachment.ts";
import { type Hidden, hiddenFrom, isReachedFrom } from "../../mesh/gateways/hidden-destinations.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { fixOfAlias, type RoutedAlias, wrongOfAlias } from "../../mesh/traffic/aliased-hosts.ts";
import type { Definition } from "../../mesh/traffic/definition-choice.ts";
import { fullHost } from "../../mesh/traffic/hosts.ts";
import { isLookedUp, type MissingHost, missingHost } from "../../mesh/traffic/missing-host.ts";
import {
  isRegistryComplete,
  isUndefinedHost,
  type RegisteredHost,
  registeredHost,
  registryReads,
} from "../../mesh/traffic/registry.ts";
import { portMeant } from "../../mesh/traffic/port-meant.ts";
import { hostsWithoutSubset } from "../../mesh/traffic/subsets-nowhere.ts";
import { subsetsOfHost } from "../../mesh/traffic/subset-targets.ts";
import {
  gatewaysOf,
  gatewaysOfVirtualService,
  isDelegate,
  meshGateway,
  workloadsOfGateway,
} from "../../mesh/traffic/virtual-service-clients.ts";
import { type Traffic, trafficOf, type VirtualService } from "../../mesh/traffic/virtual-services.ts";
import { isHiddenByOthers } from "../../mesh/waypoints/hidden-routes.ts";
import { SmallMap } from "../../view/small-map.ts";
import { fact, forWording, type MeshView } from "../../view/view.ts";

/** The problem of a destination that nothing defines, which is the same for all VirtualServices. The key is its host. */
const missingDestination = fact("missingDestination", "key", [missingHost], (host, mesh): Problem => {
  const { message, fix, namespace, guess, isPartial } = mesh.get(missingHost, host) as MissingHost;
  return {
    at: ["host"],
    message,
    key: JSON.stringify([host]),
    evidence: [absentDefinition(host, namespace)],
    ...(guess === undefined ? {} : { guess }),
    ...(isPartial ? { guessOf: "partial" as const } : {}),
    ...(fix === undefined ? {} : { fix }),
  };
});

/** Other VirtualServices decide whether a problem is denied, and not whether there is one. */
const hiddenByOthers = forWording(isHiddenByOthers);

const reads = [
  hiddenByOthers,
  ...[...registryReads, missingDestination, subsetsOfHost, ...arrivalReads, ...doubtReads],
  ...[gatewaysOfVirtualService, workloadsOfGateway],
] as const;
type View = MeshView<(typeof reads)[number]>;

export const virtualServiceDestinationNotFound = defineRule({
  id: "virtual-service-destination-not-found",
  subject: "VirtualService",
  reads,
  worksWithout: ["DestinationRule", "Gateway", "KubernetesGateway", "Sidecar", "Workload"],
  mode: "deny",
  since: "0.1.0",
  tags: ["canary"],
  summary: "A destination or mirror with traffic names a host or a port that no Service and no ServiceEntry has.",
  why: "Envoy has no cluster for such a destination and answers 503 (Istio pilot/pkg/networking/core/route/route.go GetDestinationCluster). Only names without a dot are completed with the namespace of the VirtualService (pilot/pkg/model/config.go ResolveShortnameToFQDN). A destination without a port gets the port at which the request arrived; only at gateways and waypoints, and in tcp and tls routes, the only port of its service counts before that. An ExternalName has no cluster of its own: routes to it lead to the host that it names, which must be that of a Service or a ServiceEntry and have the port. It is a denial only where the change takes the Service away, and otherwise a warning, because the Service can follow.",
  fix: "Correct the host or the port, or create the Service or ServiceEntry before it is routed to. To remove a Service, remove its routes first.",
  incident: {
    symptoms: ["no-cluster"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Only requests of the routes to this destination fail, and mirrored requests silently.",
    wayOut:
      "Set the weight of the destination to 0, or apply the previous version. If the Service was deleted, apply it again.",
    silentWhen:
      "The host is a wildcard or for a cluster set, or that of the Service `NAME-CLASS` that istiod creates for a Gateway of the Gateway API; nothing is routed to the destination, or no DestinationRule defines the subset that it names: then virtual-service-subset-not-found says so. Or the destination names no port, its host has one port only, and sidecars are injected neither in the namespace of the VirtualService nor in those of its hosts.",
    page: "https://istio.io/latest/docs/ops/common-problems/network-issues/",
  },

  *check(virtualService, mesh) {
    for (const found of problemsOf(virtualService, mesh))
      yield found && { ...found.problem, at: placeOf(found), onlyWarns: mayFollow(found.asked) };
  },

  *compare(before, after) {
    let old: ReadonlySet<string | undefined> | undefined;
    const wasDefined = definedHosts(before.object, before.mesh);
    for (const found of problemsOf(after.object, after.mesh, wasDefined)) {
      if (found === undefined) {
        yield;
        continue;
      }
      old ??= yield* keysBefore(before.object, before.mesh);
      const { problem, traffic, asked } = found;
      const isGone = isMissing(asked) && wasDefined(asked.host);
      const onlyWarns = isGone ? doubtOfLoss(traffic, before, after) : mayFollow(asked);
      yield {
        ...problem,
        ...(isGone ? { fix: "Remove its routes first, then the Service or the ServiceEntry." } : {}),
        at: placeOf(found),
        ...(onlyWarns === undefined ? {} : { onlyWarns }),
        ...(wasThere(found, old) ? { existed: true as const } : {}),
      };
    }
  },
});

/**
 * Whether requests failed before, too: a destination whose port the host never had loses nothing with the host, nor does one whose host
 * was another name for one that did not take its requests.
 */
const wasThere = ({ problem, traffic, asked }: Found, old: ReadonlySet<string | undefined>): boolean =>
  old.has(problem.key) ||
  (isMissing(asked) &&
    (old.has(keyOfPort(asked.host, traffic.destination.port?.number)) || old.has(keyOfAlias(traffic, asked))));

const keyOfAlias = ({ destination }: Traffic, { host }: Asked): string =>
  JSON.stringify([host, "alias", destination.port?.number]);

/** Nothing is denied because of what is there, such as an alias of an alias, either: others may correct it. */
function mayFollow(asked: Asked): string {
  const isThere = !isMissing(asked) && asked.registered.alias?.definitions.length !== 0;
  return isThere
    ? "what defines the host may be changed later"
    : "the Service or the ServiceEntry may be created later";
}

interface Side {
  readonly object: VirtualService;
  readonly mesh: View;
}

/** What goes may be the own host of the VirtualService, whose ports say only before the change that no request reached the route. */
const doubtOfLoss = (traffic: Traffic, before: Side, after: Side): string | undefined =>
  doubtOf(traffic, after) ?? (before.object === after.object ? doubtOf(traffic, before) : undefined);

function doubtOf(traffic: Traffic, { object, mesh }: Side): string | undefined {
  const doubt = doubtOfTraffic(traffic, object, mesh);
  if (doubt !== undefined) return doubt;
  if (isOfferedNowhere(object, mesh)) return noGateway;
  if (mesh.get(hiddenByOthers, object)) return "other VirtualServices have its hosts, and nobody follows it";
  return isRegistryComplete(mesh) ? undefined : "not all Services and ServiceEntries are known";
}

const noGateway = "none of the Gateways of the VirtualService exists, so no request comes through them";
/** Whether a VirtualService is only for Gateways of which none exists. */
const isOfferedNowhere = (virtualService: VirtualService, mesh: View): boolean =>
  mesh.knowsAll("Gateway") &&
  !isDelegate(virtualService) &&
  ![...gatewaysOf(virtualService)].some((name) => name === meshGateway || isGenerated(name)) &&
  mesh.related(gatewaysOfVirtualService, virtualService).length === 0;

/** The keys of the problems before the change, of which most reviews need none. */
function* keysBefore(
  virtualService: VirtualService,
  mesh: View,
): Generator<undefined, ReadonlySet<string | undefined>> {
  const keys = new Set<string | undefined>();
  for (const found of problemsOf(virtualService, mesh)) {
    yield;
    if (found === undefined) continue;
    keys.add(found.problem.key);
    const { alias } = found.asked.registered;
    if (alias !== undefined && isWrong(alias, found.traffic)) keys.add(keyOfAlias(found.traffic, found.asked));
  }
  return keys;
}

/** Whether something defined a host. Only those may be asked for that the relation gave for this VirtualService. */
function definedHosts(virtualService: VirtualService, mesh: View): (host: string) => boolean {
  const { namespace } = virtualService.metadata;
  const full = ({ destination }: Traffic) => fullHost(destination.host, namespace, mesh.settings.domain);
  let named: ReadonlySet<string> | undefined;
  return (host) => {
    named ??= new Set(trafficOf(virtualService).map(full));
    return named.has(host) && mesh.get(registeredHost, host).definitions.length > 0;
  };
}

/** What the registry has for the host of a destination. */
interface Asked {
  readonly host: string;
  readonly registered: RegisteredHost;
}
const isMissing = ({ registered }: Asked): boolean => isUndefinedHost(registered);

/** A host that destinations of a VirtualService name, and their problems by what these depend on. */
interface Destinations extends Asked {
  /** Nothing is wrong, or another rule says so. */
  readonly isPassedOver: boolean;
  /** Whether nothing that defines the host is exported to the namespace of the VirtualService. */
  readonly isForeign: boolean;
  readonly problems: SmallMap<string, Problem | "none">;
}

interface Found {
  /** Its path begins at the destination. */
  readonly problem: Problem;
  readonly traffic: Traffic;
  readonly asked: Asked;
}
const placeOf = ({ problem, traffic }: Found): Problem["at"] => [...traffic.at, ...problem.at];

function* problemsOf(
  virtualService: VirtualService,
  mesh: View,
  wasDefined?: (host: string) => boolean,
): Generator<Found | undefined, undefined> {
  if (!isServed(virtualService, mesh.settings)) return;
  const full = (said: string) => fullHost(said, virtualService.metadata.namespace, mesh.settings.domain);
  const all = trafficOf(virtualService);
  const isWithoutSubset = hostsWithoutSubset(all, full, mesh);
  // Many routes have the same destination.
  const hosts = new SmallMap<string, Destinations>();
  for (const traffic of all) {
    const said = traffic.destination.host;
    let there = hosts.get(said);
    if (there === undefined)
      hosts.set(said, (there = destinationsAt(full(said), virtualService, isWithoutSubset, mesh)));
    if (there.isPassedOver && !isTaken(traffic, there, mesh, wasDefined)) continue;
    const key = keyOf(traffic, there, isDelegate(virtualService));
    let problem = there.problems.get(key);
    if (problem === undefined) {
      yield;
      problem = problemAt(virtualService, traffic, there, mesh) ?? "none";
      there.problems.set(key, problem);
    }
    if (problem !== "none") yield { problem, traffic, asked: there };
  }
}

function destinationsAt(
  host: string,
  { metadata }: VirtualService,
  isWithoutSubset: (host: string) => boolean,
  mesh: View,
): Destinations {
  const problems = new SmallMap<string, Problem | "none">();
  if (!isLookedUp(host)) return { host, registered: nothingRegistered, isPassedOver: true, isForeign: false, problems };
  const asked = { host, registered: mesh.get(registeredHost, host) };
  // The same mistake: virtual-service-subset-not-found says that the host is missing.
  const isForeign = !isReachedFrom(metadata.namespace, asked.registered, mesh.settings);
  return { ...asked, isPassedOver: isMissing(asked) && isWithoutSubset(host), isForeign, problems };
}
/** Whether requests reached a host that was defined: they did not if no DestinationRule defines the subset. */
const isTaken = (
  { destination }: Traffic,
  asked: Asked,
  mesh: View,
  wasDefined: ((host: string) => boolean) | undefined,
): boolean =>
  isLookedUp(asked.host) &&
  isMissing(asked) &&
  wasDefined?.(asked.host) === true &&
  !(destination.subset && mesh.get(subsetsOfHost, asked.host).isNowhere(destination.subset));
const nothingRegistered: RegisteredHost = { definitions: [], mayBeGenerated: false, ports: undefined };

/** What the problem of a destination depends on, beside its host. */
function keyOf({ destination, route, protocol, at }: Traffic, asked: Destinations, isOfDelegate: boolean): string {
  if (isMissing(asked)) return "";
  const port = destination.port?.number;
  if (asked.isForeign) return `${port} ${protocol} ${at[2]}`;
  const isArriving = port === undefined && asked.registered.ports !== undefined && asked.registered.ports.size > 0;
  // What the route of a delegate becomes depends on all of its matches.
  if (isArriving && isOfDelegate) return JSON.stringify([protocol, at[2]]);
  if (isArriving) return JSON.stringify([protocol, route.match.map((match) => [match.port, match.gateways])]);
  return `${port} ${route.match.some(({ gateways }) => gateways.length > 0)}`;
}

function problemAt(
  virtualService: VirtualService,
  traffic: Traffic,
  { host, registered }: Destinations,
  mesh: View,
): Problem | undefined {
  const { definitions, ports } = registered;
  if (definitions.length === 0) return registered.mayBeGenerated ? undefined : mesh.get(missingDestination, host);
  const hidden = hiddenFrom(virtualService, traffic, registered, mesh);
  if (hidden !== undefined) return hiddenProblem(host, definitions, hidden);
  if (registered.alias !== undefined) return aliasProblem(traffic, { host, registered }, registered.alias, mesh);
  return ports === undefined ? undefined : portProblem(virtualService, traffic, { host, registered, ports }, mesh);
}

function hiddenProblem(host: string, definitions: readonly Definition[], { from, namespace }: Hidden): Problem {
  const who = { everyone: "No client of this VirtualService sees", gateway: "Gateway pods", sidecars: "Sidecars" }[
    from
  ];
  const there = from === "everyone" ? who : `${who} in "${namespace}" do not see`;
  const them = from === "everyone" ? "them" : "their namespace, so requests get 503";
  return {
    at: ["host"],
    message: `${there} "${host}": what defines it is not exported to ${them}`,
    key: JSON.stringify([
      host,
      "hidden",
      ...(from === "everyone" ? [] : [namespace]),
      ...(from === "sidecars" ? [from] : []),
    ]),
    evidence: definitions,
    related: definitions,
    fix: fixOfHidden[from],
  };
}

const fixOfHidden: Readonly<Record<Hidden["from"], string>> = {
  everyone:
    "Export the Service or ServiceEntry to the namespaces of the clients, or limit exportTo of the VirtualService.",
  gateway: "Export the Service or ServiceEntry to the namespace of the gateway.",
  sidecars:
    "Export the Service or ServiceEntry to the namespace of the VirtualService, or limit exportTo of the VirtualService.",
};

/** A route to an alias leads to the host that it stands for, which must have the port itself. */
function aliasProblem({ destination }: Traffic, { host }: Asked, alias: RoutedAlias, mesh: View): Problem | undefined {
  const { service, target, definitions, ports } = alias;
  const port = destination.port?.number ?? onlyPortOf(service);
  const said = wrongOfAlias(alias, port);
  if (said === undefined) return undefined;
  const isUnknown = definitions.length === 0 && !isRegistryComplete(mesh);
  const known = new Set([service, ...definitions]);
  return {
    at: ports === undefined || definitions.length === 0 ? ["host"] : ["port"],
    message: `"${host}" stands for "${target}", which ${said}`,
    key: JSON.stringify([host, target, port]),
    related: [...known],
    evidence: definitions.length === 0 ? [service, absentDefinition(target, undefined)] : [...known],
    fix: fixOfAlias(alias),
    ...(isUnknown ? { guess: "all Services and ServiceEntries" } : {}),
  };
}

const isWrong = (alias: RoutedAlias, { destination }: Traffic): boolean =>
  wrongOfAlias(alias, destination.port?.number ?? onlyPortOf(alias.service)) !== undefined;

/** The port of a destination that names none, if the Service has one only (GetDestinationCluster). */
const onlyPortOf = ({ spec }: RoutedAlias["service"]): number | undefined =>
  spec.ports.length === 1 ? spec.ports[0]?.port : undefined;

function portProblem(
  virtualService: VirtualService,
  traffic: Traffic,
  { host, registered, ports }: Asked & { readonly ports: ReadonlySet<number> },
  mesh: View,
): Problem | undefined {
  const { destination } = traffic;
  const asked = destination.port?.number;
  if (asked)
    return ports.has(asked) ? undefined : missingPort(`"${host}" has no port ${asked}`, [host, asked], registered);
  const [only, another] = ports;
  if (only === undefined) return undefined;
  const arriving =
    another === undefined
      ? sidecarPortsOf(virtualService, traffic, mesh)
      : portsOfArrival(virtualService, traffic, mesh);
  const without = arriving.find((port) => !ports.has(port));
  if (without === undefined) return undefined;
  const there =
    another === undefined
      ? `requests of sidecars that arrive at port ${without} go to port ${without} of "${host}", which has port ${only} only`
      : `requests that arrive at port ${without} go to port ${without} of "${host}", which has several ports, and not this one`;
  return missingPort(`The destination names no port: ${there}`, [host, "from", without], registered);
}

const keyOfPort = (host: string, port: number | undefined): string => JSON.stringify([host, port]);

function missingPort(
  message: string,
  key: readonly [host: string, ...rest: unknown[], port: number],
  { definitions }: RegisteredHost,
): Problem {
  const meant = portMeant(definitions, key.at(-1) as number);
  return {
    at: ["port"],
    message,
    key: JSON.stringify(key),
    evidence: definitions,
    related: definitions,
    fix: `Set \`port.number\` of the destination to a port of the Service, not of its pods.${meant === undefined ? "" : ` ${meant}`}`,
  };
}

/** The evidence that nothing defines a host. */
const absentDefinition = (host: string, namespace: string | undefined): Evidence =>
  namespace === undefined ? absent("ServiceEntry", "") : absentHere("Service", namespace, host.split(".")[0] ?? "");
