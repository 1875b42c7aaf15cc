import { defineRule, type Problem } from "../../engine/rule.ts";
import { type Readers, readers } from "../../mesh/membership/control-plane.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { revisionLabel } from "../../mesh/objects/labels.ts";
import { areControlPlanesSeveral, type ControlPlane, isReadBy, isServed } from "../../mesh/objects/revision.ts";
import { rulesReadBy } from "../../mesh/traffic/destination-rule-lookup.ts";
import type { DestinationRule } from "../../mesh/traffic/destination-rules.ts";
import { fullHost, namespaceOfHost } from "../../mesh/traffic/hosts.ts";
import { hostOfSubsets, subsetsOfHost } from "../../mesh/traffic/subset-targets.ts";
import { SubsetsOfHost } from "../../mesh/traffic/subsets.ts";
import { type Traffic, trafficOf, type VirtualService, perhapsUnused } from "../../mesh/traffic/virtual-services.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, type MeshView, relation } from "../../view/view.ts";

/** The namespaces that a VirtualService is meant for: its own, and those of the services whose subsets it uses. */
function namespacesMeant(virtualService: VirtualService, { domain }: MeshSettings): ReadonlySet<string> {
  const { namespace } = virtualService.metadata;
  const found = new Set([namespace]);
  for (const { destination } of trafficOf(virtualService)) {
    const own = destination.subset && namespaceOfHost(fullHost(destination.host, namespace, domain), domain);
    if (own) found.add(own);
  }
  return found;
}

/** A VirtualService that uses subsets where there are several control planes, and the namespaces that it is meant for. */
const namespacesMeantByVirtualService = relation(
  "namespacesMeantByVirtualService",
  index("VirtualService", (virtualService, settings) =>
    areControlPlanesSeveral(settings) && isServed(virtualService, settings)
      ? namespacesMeant(virtualService, settings)
      : [],
  ),
  namespaceByName,
);

const reads = [namespacesMeantByVirtualService, readers, hostOfSubsets, subsetsOfHost] as const;

export const virtualServiceSubsetNotRead = defineRule({
  id: "virtual-service-subset-not-read",
  subject: "VirtualService",
  reads,
  worksWithout: ["Service", "ServiceEntry"],
  mode: "deny",
  since: "0.1.0",
  tags: ["canary", "revisions"],
  summary: "A destination names a subset of a DestinationRule that the control plane of its clients does not read.",
  why: "A control plane reads only objects without `istio.io/rev` and those with its own revision (Istio pkg/config/model.go LabelsInRevision). Clients that another one configures have no cluster for the subset, and Envoy answers 503 (pilot/pkg/networking/core/route/route.go GetDestinationCluster).",
  fix: "Remove the label `istio.io/rev` from the DestinationRule, so that every control plane reads it.",
  incident: {
    symptoms: ["no-cluster"],
    proxies: ["sidecar"],
    seen: "Only clients of one revision get 503, often those that were not upgraded yet.",
    wayOut: "Remove `istio.io/rev` from the DestinationRule, or set the weight of the subset to 0.",
    silentWhen:
      "All clients belong to a control plane that reads the DestinationRule, they are gateways, or sidecars in a namespace that is neither that of the VirtualService nor that of the service, or nobody defines the subset (virtual-service-subset-not-found).",
    page: "https://istio.io/latest/docs/setup/upgrade/canary/",
  },

  *check(virtualService, mesh) {
    const clients = clientsOf(virtualService, mesh);
    if (clients.length === 0) return;
    // Many routes use the same subset.
    const known = new Set<string>();
    for (const traffic of trafficOf(virtualService)) {
      const key = JSON.stringify([traffic.destination.host, traffic.destination.subset]);
      if (!traffic.destination.subset || known.has(key)) continue;
      known.add(key);
      const said = fullHost(traffic.destination.host, virtualService.metadata.namespace, mesh.settings.domain);
      const { host } = mesh.get(hostOfSubsets, said);
      const subsets = mesh.get(subsetsOfHost, said);
      for (const client of clients) yield* problemsOf(client, { traffic, host, subsets, settings: mesh.settings });
    }
  },
});

/** Sidecars of one namespace that follow the VirtualService. */
interface Client {
  readonly namespace: Namespace;
  readonly controlPlane: ControlPlane;
}

function clientsOf(virtualService: VirtualService, mesh: MeshView<(typeof reads)[number]>): readonly Client[] {
  return mesh
    .related(namespacesMeantByVirtualService, virtualService)
    .filter((namespace) => !isTerminating(namespace))
    .map((namespace) => ({ namespace, controlPlane: controlPlaneOf(mesh.get(readers, namespace)) }))
    .filter(({ controlPlane }) => controlPlane !== undefined && isReadBy(virtualService, controlPlane, mesh.settings));
}

const controlPlaneOf = (found: Readers): ControlPlane => found.ofSidecar({});

interface Asked {
  readonly traffic: Traffic;
  readonly host: string;
  readonly subsets: SubsetsOfHost;
  readonly settings: MeshSettings;
}

function* problemsOf(
  { namespace, controlPlane }: Client,
  { traffic, host, subsets, settings }: Asked,
): Iterable<Problem> {
  const { subset = "" } = traffic.destination;
  const { name } = namespace.metadata;
  const unread = subsets.rules.defining(subset).find((rule) => !isReadBy(rule, controlPlane, settings));
  if (unread === undefined || subsets.lookUp(name, subset).definedFor === "none") return;
  const read = rulesReadBy(subsets.rules, { host, controlPlane }, settings);
  const { definedFor, used } = new SubsetsOfHost(read, subsets.serviceNamespaces, settings).lookUp(name, subset);
  if (definedFor !== "none") return;
  const revision = JSON.stringify(controlPlane);
  yield {
    at: [...traffic.at, "subset"],
    message: `Subset "${subset}" of "${host}" does not exist for clients in "${name}": their control plane ${revision} does not read DestinationRule ${nameOf(unread)}`,
    key: JSON.stringify([host, subset, name, controlPlane]),
    evidence: [namespace, unread, ...used],
    ...(traffic.isUncertain ? { onlyWarns: perhapsUnused } : {}),
    fix: `Remove the label ${revisionLabel} from DestinationRule ${nameOf(unread)}, or define the subset in a DestinationRule for revision ${revision}.`,
  };
}

const nameOf = ({ metadata }: DestinationRule): string => `${metadata.namespace}/${metadata.name}`;
