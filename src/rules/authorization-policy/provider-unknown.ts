import { defineRule } from "../../engine/rule.ts";
import { meshConfigsOfProvider } from "../../mesh/authorization/provider-configs.ts";
import { lostServiceOf, providerServiceReads } from "../../mesh/traffic/provider-services.ts";

export const authorizationPolicyProviderUnknown = defineRule({
  id: "authorization-policy-provider-unknown",
  subject: "AuthorizationPolicy",
  reads: [meshConfigsOfProvider, ...providerServiceReads],
  worksWithout: ["Service", "ServiceEntry"],
  mode: "warn",
  since: "0.1.0",
  tags: ["authorization"],
  summary:
    "A CUSTOM policy names a provider that the mesh config does not define for authorization, or whose service does not exist.",
  why: "Providers are looked up by name among the `extensionProviders` of the mesh config that have `envoyExtAuthzHttp` or `envoyExtAuthzGrpc`. If there is none, or the registry does not have its `service` (pilot/pkg/model/telemetry_logging.go LookupCluster), istiod denies every request that the rules match (Istio pilot/pkg/security/authz/builder/builder.go getBadCustomDenyRules).",
  fix: "Correct the name of the provider, or define it in `extensionProviders` of the mesh config first, with the whole host of its service.",
  incident: {
    symptoms: ["access-denied"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Every request that the rules match gets 403, and the log of istiod has an error about the extension provider.",
    wayOut:
      "Apply the previous version of the policy or of the mesh config. A policy that is deleted asks nobody: delete it only if something else denies what it should.",
    silentWhen:
      "The mesh config is not known, or cannot be read. That a service does not exist is not said if some Services or ServiceEntries are not known.",
    page: "https://istio.io/latest/docs/tasks/security/authorization/authz-custom/",
  },

  *check(policy, mesh) {
    const name = policy.spec.provider?.name;
    const configs = mesh.related(meshConfigsOfProvider, policy);
    // What a mesh config defines that istiod cannot read is not known.
    if (name === undefined || configs.length === 0 || configs.some(({ malformed }) => malformed !== undefined)) return;
    if (policy.spec.rules.length === 0) return;
    const found = configs.flatMap((config) =>
      config.mesh.extensionProviders.flatMap((provider) => (provider.name === name ? [{ config, provider }] : [])),
    );
    const asked = found.filter(({ provider }) => provider.envoyExtAuthzHttp ?? provider.envoyExtAuthzGrpc);
    if (asked.length > 0) {
      const lost = lostServiceOf(asked, mesh);
      if (lost !== undefined)
        yield {
          at: ["spec", "provider", "name"],
          message: `Extension provider ${JSON.stringify(name)} calls ${lost.what}: requests that the rules match are denied`,
          fix: lost.fix,
          related: configs,
          evidence: [...configs, ...lost.evidence],
          ...(lost.guess === undefined ? {} : { guess: lost.guess }),
        };
      return;
    }
    const what = found.length === 0 ? "no extension provider" : "no provider for authorization";
    yield {
      at: ["spec", "provider", "name"],
      message: `The mesh config has ${what} ${JSON.stringify(name)}: requests that the rules match are denied`,
      related: configs,
      evidence: configs,
    };
  },
});
