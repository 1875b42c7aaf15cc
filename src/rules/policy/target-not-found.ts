import { absent } from "../../engine/evidence.ts";
import { defineRule } from "../../engine/rule.ts";
import type { Kind } from "../../kube/kinds.ts";
import type { Namespace } from "../../mesh/membership/namespaces.ts";
import { kubernetesGatewayByName, namespaceByName, serviceByName } from "../../mesh/objects/indexes.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import {
  byNamespaceOfTargets,
  byTarget,
  faultOfTarget,
  refsOf,
  servedEntryByName,
  type Target,
  targetReads,
} from "../../mesh/waypoints/policy-targets.ts";
import { fact, relation, setting } from "../../view/view.ts";

const kinds = [
  "RequestAuthentication",
  "Telemetry",
  "WasmPlugin",
  "TrafficExtension",
  "EnvoyFilter",
] as const satisfies readonly Kind[];

/** A RequestAuthentication and the Gateways of its namespace that it targets. */
const gatewaysTargetedByRequestAuthentication = relation(
  "gatewaysTargetedByRequestAuthentication",
  byTarget("RequestAuthentication", "KubernetesGateway"),
  kubernetesGatewayByName,
);
/** A RequestAuthentication and the Services of its namespace that it targets. */
const servicesTargetedByRequestAuthentication = relation(
  "servicesTargetedByRequestAuthentication",
  byTarget("RequestAuthentication", "Service"),
  serviceByName,
);
/** A RequestAuthentication and the ServiceEntries of its namespace that it targets. */
const entriesTargetedByRequestAuthentication = relation(
  "entriesTargetedByRequestAuthentication",
  byTarget("RequestAuthentication", "ServiceEntry"),
  servedEntryByName,
);
/** A RequestAuthentication that targets Services or ServiceEntries, and its namespace. */
const namespaceOfRequestAuthenticationTargets = relation(
  "namespaceOfRequestAuthenticationTargets",
  byNamespaceOfTargets("RequestAuthentication"),
  namespaceByName,
);
/** A Telemetry and the Gateways of its namespace that it targets. */
const gatewaysTargetedByTelemetry = relation(
  "gatewaysTargetedByTelemetry",
  byTarget("Telemetry", "KubernetesGateway"),
  kubernetesGatewayByName,
);
/** A Telemetry and the Services of its namespace that it targets. */
const servicesTargetedByTelemetry = relation(
  "servicesTargetedByTelemetry",
  byTarget("Telemetry", "Service"),
  serviceByName,
);
/** A Telemetry and the ServiceEntries of its namespace that it targets. */
const entriesTargetedByTelemetry = relation(
  "entriesTargetedByTelemetry",
  byTarget("Telemetry", "ServiceEntry"),
  servedEntryByName,
);
/** A Telemetry that targets Services or ServiceEntries, and its namespace. */
const namespaceOfTelemetryTargets = relation(
  "namespaceOfTelemetryTargets",
  byNamespaceOfTargets("Telemetry"),
  namespaceByName,
);
/** A WasmPlugin and the Gateways of its namespace that it targets. */
const gatewaysTargetedByWasmPlugin = relation(
  "gatewaysTargetedByWasmPlugin",
  byTarget("WasmPlugin", "KubernetesGateway"),
  kubernetesGatewayByName,
);
/** A WasmPlugin and the Services of its namespace that it targets. */
const servicesTargetedByWasmPlugin = relation(
  "servicesTargetedByWasmPlugin",
  byTarget("WasmPlugin", "Service"),
  serviceByName,
);
/** A WasmPlugin and the ServiceEntries of its namespace that it targets. */
const entriesTargetedByWasmPlugin = relation(
  "entriesTargetedByWasmPlugin",
  byTarget("WasmPlugin", "ServiceEntry"),
  servedEntryByName,
);
/** A WasmPlugin that targets Services or ServiceEntries, and its namespace. */
const namespaceOfWasmPluginTargets = relation(
  "namespaceOfWasmPluginTargets",
  byNamespaceOfTargets("WasmPlugin"),
  namespaceByName,
);
/** A TrafficExtension and the Gateways of its namespace that it targets. */
const gatewaysTargetedByTrafficExtension = relation(
  "gatewaysTargetedByTrafficExtension",
  byTarget("TrafficExtension", "KubernetesGateway"),
  kubernetesGatewayByName,
);
/** A TrafficExtension and the Services of its namespace that it targets. */
const servicesTargetedByTrafficExtension = relation(
  "servicesTargetedByTrafficExtension",
  byTarget("TrafficExtension", "Service"),
  serviceByName,
);
/** A TrafficExtension and the ServiceEntries of its namespace that it targets. */
const entriesTargetedByTrafficExtension = relation(
  "entriesTargetedByTrafficExtension",
  byTarget("TrafficExtension", "ServiceEntry"),
  servedEntryByName,
);
/** A TrafficExtension that targets Services or ServiceEntries, and its namespace. */
const namespaceOfTrafficExtensionTargets = relation(
  "namespaceOfTrafficExtensionTargets",
  byNamespaceOfTargets("TrafficExtension"),
  namespaceByName,
);
/** An EnvoyFilter and the Gateways of its namespace that it targets. */
const gatewaysTargetedByEnvoyFilter = relation(
  "gatewaysTargetedByEnvoyFilter",
  byTarget("EnvoyFilter", "KubernetesGateway"),
  kubernetesGatewayByName,
);

/** What has a name of one kind, by `Kind namespace/name`: all relations to a kind have the same keys. */
const targetNamed = fact(
  "targetNamed",
  "key",
  [
    gatewaysTargetedByRequestAuthentication,
    servicesTargetedByRequestAuthentication,
    entriesTargetedByRequestAuthentication,
    gatewaysTargetedByTelemetry,
    servicesTargetedByTelemetry,
    entriesTargetedByTelemetry,
    gatewaysTargetedByWasmPlugin,
    servicesTargetedByWasmPlugin,
    entriesTargetedByWasmPlugin,
    gatewaysTargetedByTrafficExtension,
    servicesTargetedByTrafficExtension,
    entriesTargetedByTrafficExtension,
    gatewaysTargetedByEnvoyFilter,
  ],
  (key, mesh): Target | undefined => {
    const [kind, name = ""] = key.split(" ");
    if (kind === "Service") return mesh.under(servicesTargetedByWasmPlugin, [name])[0];
    if (kind === "ServiceEntry") return mesh.under(entriesTargetedByWasmPlugin, [name])[0];
    return mesh.under(gatewaysTargetedByWasmPlugin, [name])[0];
  },
);
/** The namespace of objects with targets, by its name. */
const namespaceOfTargeting = fact(
  "namespaceOfTargeting",
  "key",
  [
    namespaceOfRequestAuthenticationTargets,
    namespaceOfTelemetryTargets,
    namespaceOfWasmPluginTargets,
    namespaceOfTrafficExtensionTargets,
  ],
  (name, mesh): Namespace | undefined => mesh.under(namespaceOfWasmPluginTargets, [name])[0],
);

export const policyTargetNotFound = defineRule({
  id: "policy-target-not-found",
  subject: kinds,
  reads: [targetNamed, namespaceOfTargeting, ...targetReads, setting("rootNamespace")],
  worksWithout: [...kinds, "KubernetesGateway", "Service", "ServiceEntry"],
  mode: "warn",
  since: "0.1.0",
  // Objects are often applied before the Gateway that they are for.
  stage: "trial",
  tags: ["gateway"],
  summary:
    "The target of a RequestAuthentication, a Telemetry, an EnvoyFilter or code for proxies does not exist, uses no waypoint or cannot have it, so the object has no effect there.",
  why: "An object with targetRefs counts only at the proxies of these targets in its own namespace, and never at workloads by their labels. Services and ServiceEntries are targets at waypoints alone, and of no EnvoyFilter; a GatewayClass is one in the root namespace alone (Istio pilot/pkg/model/policyattachment.go ShouldAttachPolicy, pilot/pkg/model/push_context.go getMatchedEnvoyFilters). For AuthorizationPolicies, authorization-policy-target-not-found reports the same.",
  fix: "Target a Service, a ServiceEntry or a Gateway in the object's own namespace, with its group. To target all waypoints, use the GatewayClass istio-waypoint in the root namespace.",
  incident: {
    symptoms: ["no-effect"],
    proxies: ["gateway", "waypoint"],
    seen: "Tokens are not checked, filters and plugins do not run, and logs and metrics stay as they are, although the object is stored.",
    wayOut: "Correct the name of the target. If the waypoint or Gateway was deleted, apply it again.",
    silentWhen: "Kinds of targets of which the mesh view has no information.",
    page: "https://istio.io/latest/docs/ambient/usage/l7-features/",
  },

  *check(object, mesh) {
    const { namespace } = object.metadata;
    const refs = isServed(object, mesh.settings) ? refsOf(object) : [];
    const place = {
      namespace: mesh.get(namespaceOfTargeting, namespace),
      targetNamed: (kind: Target["kind"], name: string) => mesh.get(targetNamed, `${kind} ${namespace}/${name}`),
    };
    const isList = object.spec.targetRefs.length > 0;
    for (const [i, ref] of refs.entries()) {
      yield;
      const fault = faultOfTarget(ref, object, place, mesh);
      if (fault === undefined) continue;
      const { missing, found, ...words } = fault;
      const related = found?.slice(0, 1) ?? [];
      yield {
        at: isList ? ["spec", "targetRefs", i] : ["spec", "targetRef"],
        ...words,
        related,
        evidence: missing === undefined ? (found ?? []) : [absent(missing.kind, namespace, missing.name)],
      };
    }
  },
});
