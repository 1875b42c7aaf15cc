import { defineRule } from "../../engine/rule.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { builtInProviders } from "../../mesh/telemetry/merged-telemetry.ts";
import { type CallingProxies, lostServiceOf, providerServiceReads } from "../../mesh/traffic/provider-services.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, relation } from "../../view/view.ts";

const everyMesh = "mesh";

/** A Telemetry that a control plane reads, and every mesh config. */
const meshConfigsOfTelemetry = relation(
  "meshConfigsOfTelemetry",
  index("Telemetry", (telemetry, settings) => (isServed(telemetry, settings) ? [everyMesh] : [])),
  index("MeshConfig", () => [everyMesh]),
);

export const telemetryProviderUnknown = defineRule({
  id: "telemetry-provider-unknown",
  subject: "Telemetry",
  reads: [meshConfigsOfTelemetry, ...providerServiceReads],
  worksWithout: ["DestinationRule", "KubernetesGateway", "Service", "ServiceEntry"],
  mode: "warn",
  since: "0.1.0",
  summary:
    "A Telemetry names a provider that the mesh config does not define, or whose service does not exist or cannot be called, so nothing is reported to it.",
  why: "Istio looks a provider up by its name in `extensionProviders` of the mesh config, and ignores a name that it does not find (Istio pilot/pkg/model/telemetry.go fetchProvider), and also one whose `service` the registry does not have (pilot/pkg/model/telemetry_logging.go LookupCluster). It does not ask whether the service has the port: where it has none, or is not exported to the namespace of the proxies, they have no cluster to call, and a port that is declared for another protocol than HTTP/2 is called by HTTP/1.1, which is no gRPC (pilot/pkg/networking/core/cluster.go BuildClusters, pilot/pkg/networking/core/cluster_builder.go setUpstreamProtocol). It uses the first provider only for tracing, so spans are not sent anywhere then. The name replaces providers that other Telemetries or the mesh config name, so that these are not used either (mergeLogs, mergeMetrics).",
  fix: "Correct the name of the provider, or define it in `extensionProviders` of the mesh config first, with the whole host of its service.",
  incident: {
    symptoms: ["no-telemetry"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Logs, spans or metrics do not arrive at the provider.",
    wayOut: "Apply the previous version of the Telemetry or of the mesh config.",
    silentWhen:
      "No mesh config is known, or one that istiod cannot read; and the providers that are part of Istio, `envoy`, `prometheus` and `stackdriver`. That a service does not exist is not said if some Services or ServiceEntries are not known; nothing is said of the protocol of a port without a declared one, or if a DestinationRule is for a host that a provider calls.",
    page: "https://istio.io/latest/docs/reference/config/telemetry/",
  },

  *check(telemetry, mesh) {
    const configs = mesh.related(meshConfigsOfTelemetry, telemetry);
    // What a mesh config defines that istiod cannot read is not known.
    if (configs.length === 0 || configs.some(({ malformed }) => malformed !== undefined)) return;
    const defined = Map.groupBy(
      configs.flatMap((config) => config.mesh.extensionProviders.map((provider) => ({ config, provider }))),
      ({ provider }) => provider.name.toLowerCase(),
    );
    for (const { field, at, name } of providersOf(telemetry)) {
      const providers = defined.get(name.toLowerCase()) ?? [];
      if (providers.length === 0) {
        if (builtInProviders.has(name.toLowerCase())) continue;
        yield {
          at,
          message: `The mesh config has no extension provider ${JSON.stringify(name)}: ${effects[field]}`,
          related: configs,
          evidence: configs,
        };
        continue;
      }
      const lost = lostServiceOf(providers, mesh, clientOf(telemetry, mesh.settings));
      if (lost !== undefined)
        yield {
          at,
          message: `Extension provider ${JSON.stringify(name)} calls ${lost.what}: ${effects[field]}`,
          fix: lost.fix,
          related: configs,
          evidence: [...configs, ...lost.evidence],
          ...(lost.guess === undefined ? {} : { guess: lost.guess }),
        };
    }
  },
});

/** The namespace of the proxies that a Telemetry is for; undefined: they may be in any, as those of a waypoint. */
const clientOf = (
  { metadata: { namespace }, spec }: ObjectOf<"Telemetry">,
  { rootNamespace }: MeshSettings,
): CallingProxies | undefined =>
  namespace === rootNamespace || spec.targetRefs.length > 0 ? undefined : { namespace };

const providersOf = ({ spec }: ObjectOf<"Telemetry">) =>
  (["accessLogging", "metrics", "tracing"] as const).flatMap((field) =>
    spec[field].flatMap(({ providers }, i) =>
      providers.map(({ name }, j) => ({ field, at: ["spec", field, i, "providers", j], name })),
    ),
  );

const effects = {
  accessLogging: "no access log is written to it",
  metrics: "no metrics are reported to it",
  tracing: "no spans are sent",
} as const;
