import { absent, absentHere } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { hiddenFromOwnClients } from "../../mesh/client-tls/hidden-clients.ts";
import { clientProxies } from "../../mesh/membership/clients.ts";
import { workloadsOfNamespace } from "../../mesh/membership/workloads.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { aliasedHost, endsWithDot, isAlias, withoutDot } from "../../mesh/traffic/aliased-hosts.ts";
import { type Definition, serviceVisibleTo } from "../../mesh/traffic/definition-choice.ts";
import {
  definitionsOfRule,
  entriesOfDestinationRule,
  gatewaysGeneratingForDestinationRule,
  hasOwnClients,
  hasServicesNear,
  namespaceOfClientRule,
  servicesOfDestinationRule,
} from "../../mesh/traffic/destination-rule-services.ts";
import { type DestinationRule, hostOfRule, isOutsideCluster } from "../../mesh/traffic/destination-rules.ts";
import { includesNamespace } from "../../mesh/traffic/export-to.ts";
import { isWildcard, namespaceOfHost } from "../../mesh/traffic/hosts.ts";
import { isRegistryComplete } from "../../mesh/traffic/registry.ts";
import { forWording, type MeshView } from "../../view/view.ts";

const reads = [
  servicesOfDestinationRule,
  entriesOfDestinationRule,
  gatewaysGeneratingForDestinationRule,
  namespaceOfClientRule,
  clientProxies,
  hiddenFromOwnClients,
  workloadsOfNamespace,
  forWording(hasServicesNear),
] as const;
type View = MeshView<(typeof reads)[number]>;

export const destinationRuleNeverUsed = defineRule({
  id: "destination-rule-never-used",
  subject: "DestinationRule",
  reads,
  worksWithout: ["KubernetesGateway", "Workload"],
  partlyWithout: { kind: "Service", isDecided: isOutsideCluster },
  mode: "warn",
  since: "0.1.0",
  tags: ["mtls"],
  summary: "No client uses a DestinationRule, or not those that it is exported to.",
  why: "For a service, istiod looks for DestinationRules in the namespace of the client, then in that of the service, then in the root namespace (Istio pilot/pkg/model/push_context.go destinationRule). One in any other namespace counts for clients of that namespace alone, whatever its exportTo, and one for a host that is no service, or only another name for one (ExternalName), counts for nobody (pilot/pkg/networking/core/cluster.go buildOutboundClusters). TLS settings, circuit breakers and subsets in it have no effect.",
  fix: "Move the DestinationRule to the namespace of the service, or correct its host. If it is for clients of its own namespace, say so with `exportTo: [.]`.",
  incident: {
    symptoms: ["no-effect"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Clients use other TLS, other limits or no subset of this DestinationRule. `istioctl proxy-config clusters` shows another object, or none, in the column DESTINATION RULE.",
    wayOut: "Nothing is broken by this object. If clients need its settings, move it to the namespace of the service.",
    silentWhen:
      "The host is a wildcard or for a cluster set, or that of the Service `NAME-CLASS` that istiod creates for a Gateway of the Gateway API.",
    page: "https://istio.io/latest/docs/reference/config/networking/destination-rule/",
  },

  *check(rule, mesh) {
    const host = hostOfRule(rule, mesh.settings);
    if (!isServed(rule, mesh.settings) || !isOneHost(host)) return;
    const definitions = definitionsOfRule(rule, mesh);
    const [only, ...others] = definitions;
    if (only?.kind === "Service" && isAlias(only) && others.length === 0) yield otherName(host, only);
    else if (definitions.length > 0) yield* elsewhere(rule, host, definitions, mesh);
    else if (!mesh.hasUnder(gatewaysGeneratingForDestinationRule, host)) yield unknownHost(rule, host, mesh);
  },
});

/** Hosts of a cluster set may be in another cluster. */
const isOneHost = (host: string): boolean =>
  host !== "" && !isWildcard(host) && !host.endsWith(".svc.clusterset.local");

/** An alias has no cluster (Istio pilot/pkg/networking/core/cluster.go buildOutboundClusters). */
const otherName = (host: string, alias: ObjectOf<"Service">): Problem => ({
  at: ["spec", "host"],
  message: `No client uses this DestinationRule: "${host}" is another name for "${aliasedHost(alias)}" (externalName), and only rules for that host count`,
  key: JSON.stringify([host, "alias"]),
  evidence: [alias],
  related: [alias],
  fix: endsWithDot(aliasedHost(alias))
    ? `${withoutDot} Then write the DestinationRule for that host.`
    : `Write the DestinationRule for "${aliasedHost(alias)}". If that host is outside the cluster, it needs a ServiceEntry as well.`,
});

/** A rule in another namespace than the service. */
function* elsewhere(
  rule: DestinationRule,
  host: string,
  definitions: readonly Definition[],
  mesh: View,
): Iterable<Problem> {
  const { namespace } = rule.metadata;
  const { rootNamespace, domain } = mesh.settings;
  if (namespace === rootNamespace || definitions.some(({ metadata }) => metadata.namespace === namespace)) return;
  // Another ServiceEntry may define the host in this namespace.
  if (!mesh.knowsAll("ServiceEntry") && namespaceOfHost(host, domain) === undefined) return;
  const hidden = mesh.get(hiddenFromOwnClients, rule)(definitions.map((one) => one.metadata.namespace));
  if (hasOwnClients(rule, mesh) === false)
    yield noClients(host, definitions, `namespace "${namespace}" has no sidecars and no gateways`);
  else if (!definitions.some((one) => includesNamespace(serviceVisibleTo(one, mesh.settings), namespace)))
    yield noClients(host, definitions, `it is not exported to namespace "${namespace}"`);
  else if (hidden !== undefined)
    yield noClients(host, [...definitions, ...hidden], `the Sidecars for namespace "${namespace}" do not import it`);
  else yield* exportedInVain(rule, host);
}

const noClients = (host: string, evidence: NonNullable<Problem["related"]>, why: string): Problem => ({
  at: ["spec", "host"],
  message: `No client uses this DestinationRule: "${host}" is a service of another namespace, and ${why}`,
  key: JSON.stringify([host, "no clients"]),
  evidence,
  related: evidence,
});

function unknownHost(rule: DestinationRule, host: string, mesh: View): Problem {
  const { domain } = mesh.settings;
  const namespace = namespaceOfHost(host, domain);
  const [name = "", second, ...more] = host.split(".");
  const isShort = namespace === undefined && second !== undefined && (more.length === 0 || more.join(".") === "svc");
  return {
    at: ["spec", "host"],
    message: `No client uses this DestinationRule: "${host}" is no Service and no ServiceEntry`,
    key: JSON.stringify([host, "unknown"]),
    evidence: [namespace === undefined ? absent("ServiceEntry", "") : absentHere("Service", namespace, name)],
    ...guessOf(namespace, rule, mesh),
    ...(isShort
      ? {
          fix: `Write the full name: Istio completes only names without a dot. Did you mean "${name}.${second}.svc.${domain}"?`,
        }
      : {}),
  };
}

function guessOf(namespace: string | undefined, rule: DestinationRule, mesh: View): Pick<Problem, "guess" | "guessOf"> {
  if (namespace === undefined ? !mesh.knowsAll("ServiceEntry") : !isRegistryComplete(mesh))
    return { guess: "all Services and ServiceEntries", guessOf: "partial" };
  const isGuess = namespace !== undefined && !mesh.get(hasServicesNear, rule);
  return isGuess ? { guess: `the Services of namespace ${namespace}` } : {};
}

/** Only what is written: without exportTo, a rule for the clients of its own namespace looks the same. */
function* exportedInVain({ metadata, spec }: DestinationRule, host: string): Iterable<Problem> {
  for (const [i, to] of spec.exportTo.entries())
    if (to !== "." && to !== "~" && to !== metadata.namespace)
      yield {
        at: ["spec", "exportTo", i],
        message: `Exporting to ${to === "*" ? "all namespaces" : `namespace "${to}"`} has no effect: "${host}" is a service of another namespace, so only clients in "${metadata.namespace}" look here`,
        key: JSON.stringify([host, to]),
        fix: "Move the DestinationRule to the namespace of the service, or export it to `.` only.",
      };
}
