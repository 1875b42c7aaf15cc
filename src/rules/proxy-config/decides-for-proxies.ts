import { labelsOfGatewayPods } from "../../mesh/membership/gateways.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { addedEffects, byLabelsOf } from "../../mesh/authorization/added-effects.ts";
import { proxiesOfNamespace, possibleReach } from "../../mesh/authorization/proxy-attachments.ts";
import { noLabels, type ProxyScope } from "../../mesh/authorization/proxy-scope.ts";
import { isTerminating, type Namespace, rootOfNamespace } from "../../mesh/membership/namespaces.ts";
import { effectOfVariable } from "../../mesh/membership/proxy-variables.ts";
import { workloadsOfNamespace } from "../../mesh/membership/workloads.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { selects } from "../../mesh/objects/selectors.ts";
import { type Elsewhere, waypointsServing } from "../../mesh/waypoints/waypoint-attachments.ts";
import { fact, forWording, index, type MeshView, relation } from "../../view/view.ts";

type ProxyConfig = ObjectOf<"ProxyConfig">;

/** A namespace and its own ProxyConfigs with decisive variables. */
const decisiveProxyConfigsInNamespace = relation(
  "decisiveProxyConfigsInNamespace",
  namespaceByName,
  index("ProxyConfig", (config, settings) =>
    isServed(config, settings) && variablesOf(config).length > 0 ? [config.metadata.namespace] : [],
  ),
);

/** A namespace's own ProxyConfigs with decisive variables. */
const decisiveProxyConfigsIn = fact(
  "decisiveProxyConfigsIn",
  "Namespace",
  [decisiveProxyConfigsInNamespace],
  (namespace, mesh): readonly ProxyConfig[] => mesh.related(decisiveProxyConfigsInNamespace, namespace),
);

// A workload that comes or goes adds no such object; one with other labels is read besides.
const proxies = forWording(proxiesOfNamespace);

const reads = [decisiveProxyConfigsIn, rootOfNamespace, workloadsOfNamespace, proxies, waypointsServing] as const;
interface Side {
  readonly object: Namespace;
  readonly mesh: MeshView<(typeof reads)[number]>;
}

export const proxyConfigDecidesForProxies = defineRule({
  id: "proxy-config-decides-for-proxies",
  subject: "Namespace",
  reads,
  worksWithout: ["KubernetesGateway", "ProxyConfig", "Service", "ServiceEntry", "Workload", "WorkloadEntry"],
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  tags: ["mtls"],
  summary: "A ProxyConfig sets variables with which the proxies of a namespace trust, obey or capture something else.",
  why: "The environment variables of a ProxyConfig are set in the injected containers of its namespace, or of the mesh in the root namespace (Istio pilot/pkg/model/proxy_config.go EffectiveProxyConfig). Some of them decide which certificate authority and control plane a proxy accepts, and which identity it claims.",
  fix: "Remove the variable. Ask those who run the mesh to change it for all proxies.",
  incident: {
    symptoms: ["protection-missing"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Nothing, until pods are created: these proxies then connect to another control plane or authority, or do not capture traffic.",
    wayOut: "Delete the variable, then `kubectl rollout restart` the workloads whose pods were created meanwhile.",
    silentWhen: "The variables do not decide whom a proxy trusts, or the namespace has no proxies.",
    page: "https://istio.io/latest/docs/reference/config/networking/proxy-config/",
  },

  *compare(before, after) {
    const found = addedEffects([before, after], {
      objectsIn: decisiveProxyConfigsIn,
      proxies,
      scopeOf,
      effectsOf: (config) => (isFor(after.object.metadata.name, config) ? variablesOf(config) : []),
    });
    for (const { object, effect, reach, workload } of found)
      yield {
        at: [],
        message: `${byLabelsOf(workload)}${idOf(object)} sets variable ${effect} of proxies of namespace ${after.object.metadata.name}`,
        key: `${byLabelsOf(workload)}${idOf(object)} ${effect}`,
        related: [object],
        ...(reach === "sure" ? {} : { onlyWarns: possibleReach }),
      };
    yield* atWaypointsElsewhere(before, after);
  },
});

/**
 * The ProxyConfigs of a waypoint are those of its own namespace, and a selector is compared with the label of its name alone (Istio
 * pilot/pkg/config/kube/gatewaycommon/deploymentcontroller.go, files/waypoint.yaml). One of the root namespace for all is reported besides.
 */
function* atWaypointsElsewhere(before: Side, after: Side): Iterable<Problem> {
  if (isTerminating(after.object)) return;
  const [old, now] = [before, after].map(({ object, mesh }) => mesh.get(waypointsServing, object).elsewhere);
  for (const [name, { gateway, home }] of now ?? []) {
    const was = old?.get(name);
    if (was === undefined) continue;
    const known = new Set(configsOf(was, before.mesh).flatMap(variablesOf));
    for (const config of configsOf({ gateway, home }, after.mesh))
      yield* variablesOf(config)
        .filter((variable) => !known.has(variable))
        .map((variable) => ({
          at: [],
          message: `${idOf(config)} sets variable ${variable} of waypoint ${name}, which serves namespace ${after.object.metadata.name}`,
          key: `${name} ${idOf(config)} ${variable}`,
          related: [config],
        }));
  }
}

const configsOf = (
  { gateway, home }: Elsewhere,
  mesh: MeshView<typeof decisiveProxyConfigsIn>,
): readonly ProxyConfig[] =>
  mesh
    .get(decisiveProxyConfigsIn, home)
    .filter(
      (config) =>
        isFor(home.metadata.name, config) &&
        (config.spec.selector !== undefined || home.metadata.name !== mesh.settings.rootNamespace) &&
        selects(scopeOf(config).labels, labelsOfGatewayPods(gateway)),
    );

/**
 * One of the root namespace counts elsewhere only without a selector, and an empty selector selects nothing (Istio
 * pilot/pkg/model/proxy_config.go mergedNamespaceConfig, mergedWorkloadConfig).
 */
const isFor = (namespace: string, { metadata, spec: { selector } }: ProxyConfig): boolean =>
  selector === undefined || (metadata.namespace === namespace && Object.keys(selector.matchLabels ?? {}).length > 0);

/** The decisive variables with their values. */
const variablesOf = ({ spec }: ProxyConfig): readonly string[] =>
  Object.entries(spec.environmentVariables).flatMap(([name, value]) =>
    effectOfVariable(name, value) !== undefined ? [`${name} ${value}`] : [],
  );

const scopeOf = ({ spec: { selector } }: ProxyConfig): ProxyScope => ({
  labels: selector?.matchLabels ?? noLabels,
  targetRefs: [],
  isOfPods: true,
});
