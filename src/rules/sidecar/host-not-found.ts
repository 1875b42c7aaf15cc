import { absent, absentHere } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { captured } from "../../mesh/membership/captured.ts";
import { namespacesNotShown } from "../../mesh/membership/namespaces.ts";
import { namespaceByName, serviceByNamespace } from "../../mesh/objects/indexes.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { entryByHost, serviceByHost } from "../../mesh/traffic/definition-choice.ts";
import { gatewayByGeneratedHost } from "../../mesh/traffic/generated-services.ts";
import { everyNamespace } from "../../mesh/traffic/export-to.ts";
import { isWildcard, namespaceOfHost } from "../../mesh/traffic/hosts.ts";
import { isRegistryComplete } from "../../mesh/traffic/registry.ts";
import {
  definitionsOfEgressProxy,
  type EgressProxy,
  egressProxyOf,
  egressProxyReads,
  rulesOfEgressProxy,
} from "../../mesh/traffic/egress-proxy.ts";
import { isExternalName, portsOf } from "../../mesh/traffic/aliased-hosts.ts";
import {
  type EgressHost,
  egressHost,
  isForNoSidecar,
  isRegistryOnly,
  namespaceOfSidecar,
  type Sidecar,
} from "../../mesh/traffic/sidecar-egress.ts";
import { hostsAsWritten } from "../../mesh/traffic/virtual-service-choices.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { fact, forWording, index, type MeshView, relation, setting } from "../../view/view.ts";

interface Entry extends EgressHost {
  readonly at: Problem["at"];
}

/** What a Sidecar imports by name, without exclusions. The one of the root namespace is for all namespaces, and so is its `.`. */
function entriesOf(sidecar: Sidecar, settings: MeshSettings): readonly Entry[] {
  const { metadata, spec } = sidecar;
  if (!isServed(sidecar, settings) || metadata.namespace === settings.rootNamespace) return [];
  return spec.egress.flatMap(({ hosts }, i) =>
    hosts.flatMap((said, j): readonly Entry[] => {
      const entry = egressHost(said, metadata.namespace);
      return entry === undefined || entry.isExcluded ? [] : [{ ...entry, at: ["spec", "egress", i, "hosts", j] }];
    }),
  );
}

const exactHosts = index(
  "Sidecar",
  (sidecar, settings) => new Set(entriesOf(sidecar, settings).flatMap(({ host }) => (isWildcard(host) ? [] : host))),
);
/** A Sidecar and the Services of the hosts that it imports by name. */
const servicesOfSidecar = relation("servicesOfSidecar", exactHosts, serviceByHost);
/** A Sidecar and the ServiceEntries of the hosts that it imports by name. */
const serviceEntriesOfSidecar = relation("serviceEntriesOfSidecar", exactHosts, entryByHost);
/** A Sidecar and the VirtualServices of the hosts that it imports by name. */
const virtualServicesOfSidecar = relation(
  "virtualServicesOfSidecar",
  exactHosts,
  index("VirtualService", (virtualService, settings) =>
    isServed(virtualService, settings) ? new Set(hostsAsWritten(virtualService, settings)) : [],
  ),
);
/** A Sidecar and the Gateways for which istiod may create a Service with a host that it imports by name. */
const gatewaysGeneratingForSidecar = relation(
  "gatewaysGeneratingForSidecar",
  exactHosts,
  gatewayByGeneratedHost,
  "identity",
);
/** The namespaces in which a host is defined or routed. */
const placesOfHost = fact(
  "placesOfHost",
  "key",
  [servicesOfSidecar, serviceEntriesOfSidecar, virtualServicesOfSidecar, gatewaysGeneratingForSidecar],
  (host, mesh): ReadonlySet<string> =>
    new Set(
      [
        ...mesh.under(servicesOfSidecar, [host]),
        ...mesh.under(serviceEntriesOfSidecar, [host]),
        ...mesh.under(virtualServicesOfSidecar, [host]),
        ...mesh.under(gatewaysGeneratingForSidecar, [host]),
      ].map(({ metadata }) => metadata.namespace),
    ),
);

const namedNamespaces = index("Sidecar", (sidecar, settings) => {
  const named = entriesOf(sidecar, settings).flatMap(({ namespace, host }) => [
    namespace,
    namespaceOfHost(host, settings.domain) ?? namespace,
  ]);
  return new Set(named.filter((name) => name !== everyNamespace));
});
/** A Sidecar and the namespaces that it names. */
const namespacesOfSidecarHosts = relation("namespacesOfSidecarHosts", namedNamespaces, namespaceByName);
/** A Sidecar and the Services of the namespaces that it names. */
const servicesNearSidecar = relation("servicesNearSidecar", namedNamespaces, serviceByNamespace);
/** Whether the view has any Service of a namespace that a Sidecar names. */
const hasServices = fact("hasServices", "key", [servicesNearSidecar], (namespace, mesh): boolean =>
  mesh.hasUnder(servicesNearSidecar, namespace),
);

const reads = [
  servicesOfSidecar,
  serviceEntriesOfSidecar,
  virtualServicesOfSidecar,
  gatewaysGeneratingForSidecar,
  placesOfHost,
  namespacesOfSidecarHosts,
  namespaceOfSidecar,
  captured,
  ...egressProxyReads,
  rulesOfEgressProxy,
  forWording(hasServices),
  setting("outboundTrafficPolicy"),
] as const;
type View = MeshView<(typeof reads)[number]>;

export const sidecarHostNotFound = defineRule({
  id: "sidecar-host-not-found",
  subject: "Sidecar",
  reads,
  worksWithout: ["DestinationRule", "KubernetesGateway", "VirtualService", "Workload"],
  mode: "warn",
  since: "0.1.0",
  // A Sidecar is often applied before what its workloads call.
  stage: "trial",
  summary:
    "A Sidecar imports a host that does not exist in the namespace that it names, or its egressProxy is a destination that does not exist.",
  why: "In `namespace/host`, the namespace is that of the Service or the ServiceEntry, and not of its clients (Istio pilot/pkg/model/sidecar.go convertIstioListenerToWrapper, hostClassification). An entry with another namespace, or with a host that is misspelt, imports nothing: the workloads do not get the destination that it was written for. `outboundTrafficPolicy.egressProxy` gets all connections to hosts that proxies do not know, whether there is such a cluster or not (pilot/pkg/networking/core/listener_builder.go buildOutboundCatchAllNetworkFiltersOnly, pilot/pkg/networking/core/route/route.go GetDestinationCluster).",
  fix: "Write the namespace in which the host is defined, and its full name; `*` stands for every namespace. Of an egressProxy, write the full host of a Service or a ServiceEntry, a port that it has, and a subset that a DestinationRule defines, or none.",
  incident: {
    symptoms: ["not-imported"],
    proxies: ["sidecar"],
    seen: "Requests to the intended host get 502 with REGISTRY_ONLY. Otherwise they go to the address that DNS gives, without mTLS, routes and load balancing. With a missing egressProxy, every connection to a host that is not in the mesh fails.",
    wayOut: 'Write the entry as `"*/HOST"`, or delete the Sidecar: its workloads then import everything again.',
    silentWhen:
      "The entry is a wildcard in a namespace that exists, the Sidecar is in the root namespace, or no workload that it is for has a sidecar. Of an egressProxy, it does not say that clients see or import the host.",
    page: "https://istio.io/latest/docs/reference/config/networking/sidecar/",
  },

  *check(sidecar, mesh) {
    const entries = entriesOf(sidecar, mesh.settings);
    const proxy = isServed(sidecar, mesh.settings) ? egressProxyOf(sidecar) : undefined;
    if ((entries.length === 0 && proxy === undefined) || isForNoSidecar(sidecar, mesh)) return;
    const missing = proxy && missingProxy(proxy, sidecar, mesh);
    if (missing !== undefined) yield missing;
    const namespaces = new Set(mesh.related(namespacesOfSidecarHosts, sidecar).map(({ metadata }) => metadata.name));
    for (const entry of entries) {
      yield;
      const problem = isWildcard(entry.host)
        ? unknownNamespace(entry, namespaces, mesh)
        : unknownHost(entry, sidecar, mesh);
      if (problem !== undefined) yield problem;
    }
  },
});

function unknownNamespace({ namespace, at }: Entry, known: ReadonlySet<string>, mesh: View): Problem | undefined {
  if (!mesh.knows("Namespace") || namespace === everyNamespace || known.has(namespace)) return undefined;
  if (namespacesNotShown(mesh).includes(namespace)) return undefined;
  return {
    at,
    message: `Namespace "${namespace}" does not exist, so this entry imports nothing`,
    evidence: [absentHere("Namespace", "", namespace)],
  };
}

function unknownHost({ namespace, host, at }: Entry, sidecar: Sidecar, mesh: View): Problem | undefined {
  const places = mesh.get(placesOfHost, host);
  if (namespace === everyNamespace ? places.size > 0 : places.has(namespace)) return undefined;
  const what = isRegistryOnly(sidecar, mesh.settings) ? ", and requests to it are refused" : "";
  return {
    at,
    message: `Nothing ${namespace === everyNamespace ? "" : `in namespace "${namespace}" `}has host "${host}", so this entry imports nothing${what}`,
    key: JSON.stringify([namespace, host]),
    ...knownOf(host, places, mesh),
  };
}

/** Where the host is instead, or what would have to be known. */
function knownOf(
  host: string,
  places: ReadonlySet<string>,
  mesh: View,
): Pick<Problem, "onlyWarns" | "evidence" | "fix" | "guess" | "guessOf"> {
  const where = namespaceOfHost(host, mesh.settings.domain);
  const evidence = [
    where === undefined ? absent("ServiceEntry", "") : absentHere("Service", where, host.split(".")[0] ?? ""),
  ];
  const [other] = [...places].sort();
  // Only that of a Service is in one namespace alone.
  const isSure = where !== undefined || mesh.knowsAll("ServiceEntry");
  if (other !== undefined)
    return {
      evidence,
      fix: `Write "${other}/${host}": the host is in namespace "${other}".`,
      ...(isSure ? {} : { onlyWarns: "not all ServiceEntries are known" }),
    };
  if (!isRegistryComplete(mesh)) return { evidence, guess: "all Services and ServiceEntries", guessOf: "partial" };
  const isGuess = where !== undefined && !mesh.get(hasServices, where);
  return { evidence, ...(isGuess ? { guess: `the Services of namespace ${where}` } : {}) };
}

/** Connections to an egressProxy without a cluster fail. */
function missingProxy({ host, port, subset }: EgressProxy, sidecar: Sidecar, mesh: View): Problem | undefined {
  const at = ["spec", "outboundTrafficPolicy", "egressProxy"];
  const definitions = definitionsOfEgressProxy(sidecar, mesh);
  const fails = "so connections to hosts that sidecars do not know fail";
  if (definitions === undefined) return undefined;
  if (definitions.length === 0)
    return {
      at: [...at, "host"],
      message: `There is no Service and no ServiceEntry for host "${host}", ${fails}`,
      key: JSON.stringify(["egressProxy", host]),
      ...knownOf(host, noPlaces, mesh),
    };
  if (!definitions.some(isExternalName) && !portsOf(definitions).has(port))
    return {
      at: [...at, "port", "number"],
      message: `"${host}" has no port ${port}, ${fails}`,
      key: JSON.stringify(["egressProxy", host, port]),
      evidence: definitions,
    };
  const isDefined = mesh
    .related(rulesOfEgressProxy, sidecar)
    .some(({ spec }) => spec.subsets.some(({ name }) => name === subset));
  if (subset === undefined || isDefined || !mesh.knowsAll("DestinationRule")) return undefined;
  return {
    at: [...at, "subset"],
    message: `No DestinationRule for "${host}" defines subset "${subset}", ${fails}`,
    key: JSON.stringify(["egressProxy", host, port, subset]),
    evidence: [absent("DestinationRule", "")],
  };
}
const noPlaces: ReadonlySet<string> = new Set();
