import { labelsOfGatewayPods } from "../../mesh/membership/gateways.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { addedEffects, byLabelsOf } from "../../mesh/authorization/added-effects.ts";
import { namespacesInForce, possibleReach, proxiesOfNamespace } from "../../mesh/authorization/proxy-attachments.ts";
import { noLabels, type ProxyScope } from "../../mesh/authorization/proxy-scope.ts";
import { isTerminating, type Namespace, rootOfNamespace } from "../../mesh/membership/namespaces.ts";
import { effectOfVariable } from "../../mesh/membership/proxy-variables.ts";
import { workloadsOfNamespace } from "../../mesh/membership/workloads.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { oldestFirst } from "../../mesh/objects/creation-order.ts";
import { revisionLabel } from "../../mesh/objects/labels.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { SelectorGroups, selectorText } from "../../mesh/objects/selector-groups.ts";
import { selects } from "../../mesh/objects/selectors.ts";
import { type Elsewhere, waypointsServing } from "../../mesh/waypoints/waypoint-attachments.ts";
import { fact, forWording, index, type MeshView, relation } from "../../view/view.ts";

type ProxyConfig = ObjectOf<"ProxyConfig">;

/** A namespace and its own ProxyConfigs. */
const proxyConfigsInNamespace = relation(
  "proxyConfigsInNamespace",
  namespaceByName,
  index("ProxyConfig", (config, settings) => (isServed(config, settings) ? [config.metadata.namespace] : [])),
);

/**
 * A namespace's own ProxyConfigs with decisive variables that no older one replaces, oldest first. Of those without a selector only
 * the oldest counts, and for a workload the oldest that selects it, whatever they set (Istio pilot/pkg/model/proxy_config.go
 * mergedNamespaceConfig, mergedWorkloadConfig).
 */
const decisiveProxyConfigsIn = fact(
  "decisiveProxyConfigsIn",
  "Namespace",
  [proxyConfigsInNamespace],
  (namespace, mesh): readonly ProxyConfig[] => {
    const oldest = mesh.related(proxyConfigsInNamespace, namespace).toSorted(oldestFirst);
    const [wide, selecting] = [true, false].map((isWide) => oldest.filter((one) => isWide === isForAll(one)));
    const inForce = [...notReplaced(wide ?? []), ...notReplaced((selecting ?? []).filter(selectsSome))];
    return inForce.filter((config) => variablesOf(config).length > 0);
  },
);

/** Those of which no older one is for all of their workloads. One for another revision may be read by another control plane. */
function* notReplaced(oldest: readonly ProxyConfig[]): Iterable<ProxyConfig> {
  const groups = new SelectorGroups(oldest.map((config) => [scopeOf(config).labels, config]));
  const taken = new Set<string>();
  const placeOf = (labels: ProxyScope["labels"], revision: string) => `${selectorText(labels)} ${revision}`;
  for (const config of oldest) {
    const { labels } = scopeOf(config);
    const revision = config.metadata.labels[revisionLabel] ?? "";
    const wider = groups.selecting(labels);
    if (!wider.some((group) => ["", revision].some((one) => taken.has(placeOf(group.labels, one))))) yield config;
    taken.add(placeOf(labels, revision));
  }
}

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
  why: "The environment variables of a ProxyConfig are set in the injected containers of its namespace, or of the mesh in the root namespace (Istio pilot/pkg/model/proxy_config.go EffectiveProxyConfig). Of several without a selector, and of several that select a workload, the oldest is used alone. Some of them decide which certificate authority and control plane a proxy accepts, and which identity it claims.",
  fix: "Remove the variable. Ask those who run the mesh to change it for all proxies.",
  incident: {
    symptoms: ["protection-missing"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Nothing, until pods are created: these proxies then connect to another control plane or authority, or do not capture traffic.",
    wayOut: "Delete the variable, then `kubectl rollout restart` the workloads whose pods were created meanwhile.",
    silentWhen:
      "The variables do not decide whom a proxy trusts, the namespace has no proxies, or an older ProxyConfig is for the same ones, which replaces this one whatever it sets.",
    page: "https://istio.io/latest/docs/reference/config/networking/proxy-config/",
  },

  *compare(before, after) {
    const found = addedEffects([before, after], {
      objectsIn: decisiveProxyConfigsIn,
      proxies,
      scopeOf,
      effectsOf: (config) => (isFor(after.object.metadata.name, config) ? variablesOf(config) : []),
    });
    for (const { object, effect, reach, workload } of found) {
      if (workload === undefined && hadEffect(before, object, effect)) continue;
      yield {
        at: [],
        message: `${byLabelsOf(workload)}${idOf(object)} sets variable ${effect} of proxies of namespace ${after.object.metadata.name}`,
        key: `${byLabelsOf(workload)}${idOf(object)} ${effect}`,
        related: [object],
        ...(reach === "sure" ? {} : { onlyWarns: possibleReach }),
      };
    }
    yield* atWaypointsElsewhere(before, after);
  },
});

/** Whether a ProxyConfig that this one replaces, or that it no longer waits behind, set the same for all of its proxies. */
const hadEffect = ({ object, mesh }: Side, config: ProxyConfig, effect: string): boolean =>
  namespacesInForce(object, mesh)
    .filter(({ metadata }) => metadata.name === config.metadata.namespace)
    .flatMap((home) => mesh.get(decisiveProxyConfigsIn, home))
    .some(
      (was) =>
        isForAll(was) === isForAll(config) &&
        selects(scopeOf(was).labels, scopeOf(config).labels) &&
        variablesOf(was).includes(effect),
    );

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

/** The oldest without a selector, and the oldest that selects the waypoint. */
function configsOf(
  { gateway, home }: Elsewhere,
  mesh: MeshView<typeof decisiveProxyConfigsIn>,
): readonly ProxyConfig[] {
  const all = mesh.get(decisiveProxyConfigsIn, home);
  const isRoot = home.metadata.name === mesh.settings.rootNamespace;
  const own = all.find(
    (config) => !isForAll(config) && selects(scopeOf(config).labels, labelsOfGatewayPods(gateway, mesh.settings)),
  );
  return [isRoot ? undefined : all.find(isForAll), own].filter((config) => config !== undefined);
}

const isForAll = ({ spec }: ProxyConfig): boolean => spec.selector === undefined;
const selectsSome = ({ spec }: ProxyConfig): boolean => Object.keys(spec.selector?.matchLabels ?? {}).length > 0;

/**
 * One of the root namespace counts elsewhere only without a selector, and an empty selector selects nothing (Istio
 * pilot/pkg/model/proxy_config.go mergedNamespaceConfig, mergedWorkloadConfig).
 */
const isFor = (namespace: string, config: ProxyConfig): boolean =>
  isForAll(config) || (config.metadata.namespace === namespace && selectsSome(config));

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
