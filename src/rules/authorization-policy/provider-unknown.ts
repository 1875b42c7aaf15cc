import { defineRule } from "../../engine/rule.ts";
import { askingProxies } from "../../mesh/authorization/asking-proxies.ts";
import { type AuthorizationPolicy, isDryRun } from "../../mesh/authorization/policies.ts";
import { faultOf, isForAuthorization, meshConfigsOfProvider, refusalOf } from "../../mesh/authorization/providers.ts";
import { type ExtensionProvider, type MeshConfig, providersOf } from "../../mesh/membership/mesh-config.ts";
import { lostServiceOf, providerServiceReads } from "../../mesh/traffic/provider-services.ts";

export const authorizationPolicyProviderUnknown = defineRule({
  id: "authorization-policy-provider-unknown",
  subject: "AuthorizationPolicy",
  reads: [meshConfigsOfProvider, askingProxies, ...providerServiceReads],
  worksWithout: ["DestinationRule", "KubernetesGateway", "Service", "ServiceEntry", "Sidecar", "Workload"],
  mode: "warn",
  since: "0.1.0",
  tags: ["authorization"],
  summary:
    "A CUSTOM policy names a provider that the mesh config does not define for authorization, that istiod cannot use, or that proxies cannot call.",
  why: "Providers are looked up by name among the `extensionProviders` of the mesh config that have `envoyExtAuthzHttp` or `envoyExtAuthzGrpc`; of several with one name, the last counts. If there is none, if its name is not in lower case or a list of headers has `*` alone (pilot/pkg/security/authz/builder/extauthz.go processExtensionProvider), or if the registry does not have its `service` (pilot/pkg/model/telemetry_logging.go LookupCluster), istiod denies every request that the rules match (Istio pilot/pkg/security/authz/builder/builder.go getBadCustomDenyRules). It does not ask whether the service has the port: where it has none, or is not exported to the namespace of the proxies, they have no cluster to call, and a port that is declared for another protocol than HTTP/2 is called by HTTP/1.1, which is no gRPC (pilot/pkg/networking/core/cluster.go BuildClusters, pilot/pkg/networking/core/cluster_builder.go setUpstreamProtocol). Each request is denied then, unless the provider has `failOpen`. With a `service`, a port, a `statusOnError` or a `pathPrefix` that is not valid, istiod keeps the mesh config that it had (pkg/config/validation/agent/extensionprovider.go ValidateExtensionProviderEnvoyExtAuthzHTTP, pkg/config/mesh/meshwatcher/collection.go NewCollection).",
  fix: "Correct the name of the provider, or define it in `extensionProviders` of the mesh config first, with a name in lower case and the whole host of its service.",
  incident: {
    symptoms: ["access-denied"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Every request that the rules match gets 403, and the log of istiod has an error about the extension provider.",
    wayOut:
      "Apply the previous version of the policy or of the mesh config. A policy that is deleted asks nobody: delete it only if something else denies what it should.",
    silentWhen:
      "The mesh config is not known, or cannot be read. That a Sidecar does not import a service is said only of the Sidecar of the policy's namespace, if it has none with a workloadSelector and all selected workloads are known to have sidecars. That a service does not exist is not said if some Services or ServiceEntries are not known; nothing is said of the protocol of a port without a declared one, or if a DestinationRule is for a host that a provider calls; and a Sidecar that does not import the service is not read.",
    page: "https://istio.io/latest/docs/tasks/security/authorization/authz-custom/",
  },

  *check(policy, mesh) {
    const name = policy.spec.provider?.name;
    const configs = mesh.related(meshConfigsOfProvider, policy);
    if (name === undefined || policy.spec.rules.length === 0 || !areKnown(configs)) return;
    const defined = configs.flatMap((config) => {
      const provider = providersOf(config.mesh).get(name);
      return provider === undefined ? [] : [{ config, provider }];
    });
    const [at, quoted] = [["spec", "provider", "name"], JSON.stringify(name)];
    const providers = defined.map(({ provider }) => provider);
    const denied = denialOf(policy);
    for (const { message, fix } of wrongIn({ quoted, denied }, providers))
      yield { at, message, related: configs, evidence: configs, ...(fix === undefined ? {} : { fix }) };
    const asked = defined.filter(({ provider }) => isForAuthorization(provider) && refusalOf(provider) === undefined);
    const lost = lostServiceOf(asked, mesh, mesh.get(askingProxies, policy));
    if (lost === undefined) return;
    yield {
      at,
      message: `Extension provider ${quoted} calls ${lost.what}: ${lost.isTried ? unanswered(policy, providers) : denied}`,
      fix: lost.fix,
      related: configs,
      evidence: [...configs, ...lost.evidence],
      ...(lost.guess === undefined ? {} : { guess: lost.guess }),
    };
  },
});

/** What a mesh config defines that istiod cannot read is not known. */
const areKnown = (configs: readonly MeshConfig[]): boolean =>
  configs.length > 0 && configs.every(({ malformed }) => malformed === undefined);

/** Of a dry run, istiod makes no rules that deny (builder.go selectProviderRuleSet, buildHTTP). */
const denialOf = (policy: AuthorizationPolicy): string =>
  `requests that the rules match are denied${isDryRun(policy) ? " once the policy is no dry run" : ""}`;
/** What fails to be called lets requests through with `failOpen` (builder/extauthz.go generateHTTPConfig, generateGRPCConfig). */
const unanswered = (policy: AuthorizationPolicy, providers: readonly ExtensionProvider[]): string =>
  providers.every(({ envoyExtAuthzHttp, envoyExtAuthzGrpc }) => (envoyExtAuthzHttp ?? envoyExtAuthzGrpc)?.failOpen)
    ? `nobody decides about requests that the rules match${isDryRun(policy) ? " once the policy is no dry run" : ""}`
    : denialOf(policy);
const refused = "istiod refuses the whole mesh config, and knows none of its providers after a restart";

/** What is wrong with the definitions of a provider in the mesh configs of all revisions; `quoted`: its name. */
function wrongIn(
  { quoted, denied }: { readonly quoted: string; readonly denied: string },
  providers: readonly ExtensionProvider[],
): readonly { readonly message: string; readonly fix?: string }[] {
  const asked = providers.filter(isForAuthorization);
  if (asked.length === 0) {
    const none = providers.length === 0 ? "no extension provider" : "no provider for authorization";
    return [{ message: `The mesh config has ${none} ${quoted}: ${denied}` }];
  }
  const found = [
    ...ofEach(asked.map(refusalOf)).map((words) => `${words}: ${refused}`),
    ...ofEach(asked.map(faultOf)).map((words) => `${words}: ${denied}`),
  ];
  const fix = "Correct the provider in `extensionProviders` of the mesh config.";
  return found.map((words) => ({ message: `Extension provider ${quoted} ${words}`, fix }));
}

/** The first of some words, if each provider has some. */
function ofEach(words: readonly (string | undefined)[]): readonly string[] {
  const [first] = words;
  return first === undefined || words.includes(undefined) ? [] : [first];
}
