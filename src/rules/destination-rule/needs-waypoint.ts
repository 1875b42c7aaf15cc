import { absent } from "../../engine/evidence.ts";
import { defineRule } from "../../engine/rule.ts";
import { backendOf, backendsOf } from "../../mesh/gateways/routes.ts";
import { senderOf } from "../../mesh/membership/clients.ts";
import type { Namespace } from "../../mesh/membership/namespaces.ts";
import { isExternalName } from "../../mesh/membership/services.ts";
import { workloadsOfNamespace } from "../../mesh/membership/workloads.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import type { Definition } from "../../mesh/traffic/definition-choice.ts";
import {
  definitionsOfRule,
  entriesOfDestinationRule,
  servicesOfDestinationRule,
} from "../../mesh/traffic/destination-rule-services.ts";
import {
  type DestinationRule,
  hostOfRule,
  isForEveryWorkload,
  isLocal,
  isOutsideCluster,
} from "../../mesh/traffic/destination-rules.ts";
import { fullHost, isWildcard } from "../../mesh/traffic/hosts.ts";
import { hostOfProvider } from "../../mesh/traffic/provider-services.ts";
import { trafficOf } from "../../mesh/traffic/virtual-services.ts";
import { formatWaypoint, isOfMeshGateway, isUsable, type WaypointBinding } from "../../mesh/waypoints/bindings.ts";
import {
  ambientHost,
  ambientHostReads,
  fixForLack,
  lackOfWaypoint,
  type Remedies,
} from "../../mesh/waypoints/ambient-hosts.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";

type Policy = NonNullable<DestinationRule["spec"]["trafficPolicy"]>;

/** DestinationRules with settings that only proxies apply, by their host; a wildcard has no key. */
const settingRuleByHost = index("DestinationRule", (rule, settings) => {
  const host = hostOfRule(rule, settings);
  const isLeftOut = isWildcard(host) || !isServed(rule, settings) || settingsOf(rule).length === 0;
  return isLeftOut ? [] : [host];
});

/** A DestinationRule with settings for proxies, and the VirtualServices that send requests to its host. */
const virtualServicesSendingToRule = relation(
  "virtualServicesSendingToRule",
  settingRuleByHost,
  index("VirtualService", (virtualService, settings) => {
    if (!isServed(virtualService, settings)) return [];
    const { namespace } = virtualService.metadata;
    return new Set(
      trafficOf(virtualService).map(({ destination }) => fullHost(destination.host, namespace, settings.domain)),
    );
  }),
);
/** A DestinationRule with settings for proxies, and the routes of the Gateway API that send requests to its host. */
const routesSendingToRule = relation(
  "routesSendingToRule",
  settingRuleByHost,
  index("KubernetesRoute", (route, { domain }) => {
    const hosts = new Set<string>();
    for (const { ref } of backendsOf(route)) {
      const { kind, namespace, name } = backendOf(ref, route);
      hosts.add(kind === "Service" ? `${name}.${namespace}.svc.${domain}` : name);
    }
    return hosts;
  }),
);
/** A DestinationRule with settings for proxies, and the mesh configs with an extension provider at its host. */
const providersAtRule = relation("providersAtRule", settingRuleByHost, hostOfProvider);

/** Whether a namespace has sidecars or gateways, which apply DestinationRules to what they send. A waypoint sends only what it was sent. */
const hasSendingProxies = fact("hasSendingProxies", "Namespace", [workloadsOfNamespace], (namespace, mesh): boolean =>
  mesh
    .related(workloadsOfNamespace, namespace)
    .some((one) => !isOfMeshGateway(one.pod.labels) && senderOf(one, namespace, mesh.settings) === "proxy"),
);

const reads = [
  servicesOfDestinationRule,
  entriesOfDestinationRule,
  virtualServicesSendingToRule,
  routesSendingToRule,
  providersAtRule,
  hasSendingProxies,
  ...ambientHostReads,
] as const;
type View = MeshView<(typeof reads)[number]>;

export const destinationRuleNeedsWaypoint = defineRule({
  id: "destination-rule-needs-waypoint",
  subject: "DestinationRule",
  reads,
  worksWithout: ["Workload", "VirtualService", "KubernetesRoute", "KubernetesGateway", "ServiceEntry", "MeshConfig"],
  partlyWithout: { kind: "Service", isDecided: isOutsideCluster },
  mode: "warn",
  since: "0.1.0",
  // Clients with sidecars in other namespaces apply the DestinationRule.
  stage: "trial",
  tags: ["ambient"],
  summary:
    "A DestinationRule is for a host in an ambient namespace without a waypoint, or hidden from the waypoint, so that ambient clients go without it.",
  why: "What istiod sends to ztunnel has no DestinationRules (Istio pilot/pkg/serviceregistry/ambient): connection pools, outlier detection, consistent hashing, localities and TLS origination need an Envoy between client and server. For requests of ambient clients that is the waypoint of the Service or the ServiceEntry, which applies the DestinationRules of its namespace (pilot/pkg/networking/core/cluster_waypoint.go buildWaypointInboundVIP, buildWaypointInboundVIPCluster). A waypoint in another namespace has only those that are exported to it (pilot/pkg/model/push_context.go destinationRule). Istio does not report that nothing applies them.",
  fix: "Create a waypoint for the namespace (`istioctl waypoint apply --namespace <namespace> --enroll-namespace`), or set the label `istio.io/use-waypoint` on the Service or the ServiceEntry.",
  incident: {
    symptoms: ["no-effect", "origination-fails"],
    proxies: ["ztunnel"],
    seen: "Servers that fail stay in rotation, limits are not kept, requests of one session reach several pods, or a host outside the mesh gets plaintext at a port for TLS.",
    wayOut: "Create the waypoint. For TLS outside the mesh, clients can start TLS themselves meanwhile.",
    silentWhen:
      "There is no waypoint, and a VirtualService, a route of the Gateway API or an extension provider sends requests to the host, so that a gateway or another waypoint may apply the rule; the namespace has sidecars or gateways; the host is a wildcard or in a namespace that is not ambient; or the rule has only subsets, a simple load balancer, or TLS mode DISABLE or ISTIO_MUTUAL, which ztunnel replaces by HBONE.",
    page: "https://istio.io/latest/docs/ambient/usage/l7-features/",
  },

  *check(rule, mesh) {
    if (settingsOf(rule).length === 0 || !isServed(rule, mesh.settings)) return;
    const lacks = definitionsOfRule(rule, mesh).map((definition) => lackAt(definition, rule, mesh));
    const [first] = lacks;
    if (first === undefined || lacks.includes(undefined)) return;
    const { namespace, definition, what, key, fix } = first;
    yield {
      at: ["spec", "trafficPolicy"],
      message: `${what} ${settingsOf(rule).join(" and ")} of this DestinationRule for ${hostOfRule(rule, mesh.settings)}`,
      key,
      ...(fix === undefined ? {} : { fix }),
      evidence: [namespace, definition, absent("KubernetesGateway", namespace.metadata.name)],
    };
  },
});

/** Why nothing applies the settings of a rule to requests of ambient clients. */
interface Lack {
  readonly definition: Definition;
  readonly namespace: Namespace;
  /** A sentence that the ignored settings end. */
  readonly what: string;
  readonly key: string;
  readonly fix: string | undefined;
}

/** Undefined: a waypoint or other proxies may apply the rule, nobody does (destination-rule-never-used), or the namespace is not known to be ambient. */
function lackAt(definition: Definition, rule: DestinationRule, mesh: View): Lack | undefined {
  if (definition.kind === "Service" && isExternalName(definition)) return undefined;
  const host = ambientHost(definition, mesh);
  if (host === undefined || mesh.get(hasSendingProxies, host.namespace)) return undefined;
  const { namespace, binding } = host;
  if (isUsable(binding)) {
    const hidden = hiddenFrom(binding, rule, mesh);
    return hidden && { definition, namespace, ...hidden };
  }
  if (isUsedOnTheWay(rule, mesh)) return undefined;
  const what = `Namespace ${namespace.metadata.name} is ambient and ${lackOfWaypoint(binding, definition)}: ztunnel ignores`;
  return { definition, namespace, what, key: "no waypoint", fix: fixForLack(binding, definition, remedies) };
}

/**
 * A waypoint uses what is exported to its namespace, which may be that of the rule (Istio pilot/pkg/model/push_context.go
 * destinationRule), and for the hosts that it serves no rule with a workloadSelector (pilot/pkg/model/sidecar.go DestinationRule with
 * the direction inbound).
 */
function hiddenFrom(
  { named }: WaypointBinding,
  rule: DestinationRule,
  { settings }: View,
): Pick<Lack, "what" | "key" | "fix"> | undefined {
  const { namespace } = named;
  const isOwn = namespace === rule.metadata.namespace;
  const { workloadSelector, exportTo } = rule.spec;
  if (workloadSelector !== undefined) return hiddenBySelector(named, isOwn);
  const isExported = isOwn ? isLocal(rule) : isForEveryWorkload(rule, settings) || exportTo.includes(namespace);
  if (isExported) return undefined;
  return {
    what: `It is not exported to namespace ${namespace}, so that waypoint ${formatWaypoint(named)} ignores`,
    key: `hidden from ${namespace}`,
    fix: `Export the DestinationRule to the namespace of the waypoint: add "${namespace}" to exportTo.`,
  };
}

function hiddenBySelector(named: WaypointBinding["named"], isOwn: boolean): Pick<Lack, "what" | "key" | "fix"> {
  const why = isOwn ? "It has a workloadSelector" : `It is not exported to namespace ${named.namespace}`;
  return {
    what: `${why}, so that waypoint ${formatWaypoint(named)} ignores`,
    key: `hidden from ${named.namespace}`,
    fix: isOwn
      ? "Remove workloadSelector: waypoints use no DestinationRule with one for the hosts that they serve."
      : "Remove workloadSelector: with one, a DestinationRule is for workloads of its own namespace alone.",
  };
}

/** Whether a gateway, or the waypoint of another host, may look the rule up. */
const isUsedOnTheWay = (rule: DestinationRule, mesh: View): boolean =>
  mesh.related(virtualServicesSendingToRule, rule).length > 0 ||
  mesh.related(routesSendingToRule, rule).length > 0 ||
  mesh.related(providersAtRule, rule).length > 0;

/** The names of the settings that only proxies apply. */
function settingsOf({ spec: { trafficPolicy } }: DestinationRule): readonly string[] {
  if (trafficPolicy === undefined) return [];
  const all = [trafficPolicy, ...trafficPolicy.portLevelSettings];
  return (["connectionPool", "loadBalancer", "outlierDetection", "tls"] as const).filter((field) =>
    all.some((policy) => isForProxies(field, policy)),
  );
}

type Settings = Pick<Policy, "connectionPool" | "loadBalancer" | "outlierDetection" | "tls">;

function isForProxies(field: keyof Settings, policy: Settings): boolean {
  const { loadBalancer, tls } = policy;
  if (field === "tls") return tls?.mode === "SIMPLE" || tls?.mode === "MUTUAL";
  if (field !== "loadBalancer") return policy[field] !== undefined;
  return [loadBalancer?.consistentHash, loadBalancer?.localityLbSetting, loadBalancer?.zoneAwareLbSetting].some(
    (one) => one !== undefined,
  );
}

const remedies: Remedies = {
  headless: "Give these pods another Service, one with a cluster IP and a waypoint, and let clients use that one.",
};
