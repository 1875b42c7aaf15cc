import { defineRule, type Problem } from "../../engine/rule.ts";
import { doubtOfTraffic, doubtReads } from "../../mesh/gateways/arrival-ports.ts";
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
import { type Traffic, trafficOf, type VirtualService } from "../../mesh/traffic/virtual-services.ts";
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

const reads = [namespacesMeantByVirtualService, readers, hostOfSubsets, subsetsOfHost, ...doubtReads] as const;
type View = MeshView<(typeof reads)[number]>;

export const virtualServiceSubsetNotRead = defineRule({
  id: "virtual-service-subset-not-read",
  subject: "VirtualService",
  reads,
  worksWithout: ["Gateway", "KubernetesGateway", "Service", "ServiceEntry"],
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
    const failures = new Map<string, readonly Unread[]>();
    const reported = new Set<string>();
    for (const traffic of trafficOf(virtualService)) {
      const { host, subset } = traffic.destination;
      if (!subset) continue;
      const key = JSON.stringify([host, subset]);
      let found = failures.get(key);
      if (found === undefined) failures.set(key, (found = unreadBy(clients, { virtualService, host, subset, mesh })));
      if (found.length === 0) continue;
      const doubt = doubtOfTraffic(traffic, virtualService, mesh);
      const unread = `${key} ${doubt === undefined}`;
      if (!reported.has(unread)) yield* found.map((one) => problemOf(one, traffic, doubt));
      reported.add(unread);
    }
  },
});

/** Sidecars of one namespace that follow the VirtualService. */
interface Client {
  readonly namespace: Namespace;
  readonly controlPlane: ControlPlane;
}

function clientsOf(virtualService: VirtualService, mesh: View): readonly Client[] {
  return mesh
    .related(namespacesMeantByVirtualService, virtualService)
    .filter((namespace) => !isTerminating(namespace))
    .map((namespace) => ({ namespace, controlPlane: controlPlaneOf(mesh.get(readers, namespace)) }))
    .filter(({ controlPlane }) => controlPlane !== undefined && isReadBy(virtualService, controlPlane, mesh.settings));
}

const controlPlaneOf = (found: Readers): ControlPlane => found.ofSidecar({});

interface Asked {
  readonly virtualService: VirtualService;
  /** As the destination names it. */
  readonly host: string;
  readonly subset: string;
  readonly mesh: View;
}

/** A subset that clients do not have, because their control plane does not read the rule that defines it. */
interface Unread extends Pick<Asked, "subset"> {
  readonly client: Client;
  readonly host: string;
  readonly rule: DestinationRule;
  readonly used: readonly DestinationRule[];
}

function unreadBy(clients: readonly Client[], { virtualService, host: said, subset, mesh }: Asked): readonly Unread[] {
  const { settings } = mesh;
  const full = fullHost(said, virtualService.metadata.namespace, settings.domain);
  const { host } = mesh.get(hostOfSubsets, full);
  const subsets = mesh.get(subsetsOfHost, full);
  return clients.flatMap((client): readonly Unread[] => {
    const { name } = client.namespace.metadata;
    const rule = subsets.rules.defining(subset).find((one) => !isReadBy(one, client.controlPlane, settings));
    if (rule === undefined || subsets.lookUp(name, subset).definedFor === "none") return [];
    const read = rulesReadBy(subsets.rules, { host, controlPlane: client.controlPlane }, settings);
    const { definedFor, used } = new SubsetsOfHost(read, subsets.serviceNamespaces, settings).lookUp(name, subset);
    return definedFor === "none" ? [{ client, host, subset, rule, used }] : [];
  });
}

function problemOf({ client, host, subset, rule, used }: Unread, { at }: Traffic, doubt: string | undefined): Problem {
  const { namespace, controlPlane } = client;
  const { name } = namespace.metadata;
  const revision = JSON.stringify(controlPlane);
  return {
    at: [...at, "subset"],
    message: `Subset "${subset}" of "${host}" does not exist for clients in "${name}": their control plane ${revision} does not read DestinationRule ${nameOf(rule)}`,
    key: JSON.stringify([host, subset, name, controlPlane, doubt !== undefined]),
    evidence: [namespace, rule, ...used],
    ...(doubt === undefined ? {} : { onlyWarns: doubt }),
    fix: `Remove the label ${revisionLabel} from DestinationRule ${nameOf(rule)}, or define the subset in a DestinationRule for revision ${revision}.`,
  };
}

const nameOf = ({ metadata }: DestinationRule): string => `${metadata.namespace}/${metadata.name}`;
