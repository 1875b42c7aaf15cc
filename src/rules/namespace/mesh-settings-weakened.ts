import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { MeshConfigFields } from "../../kube/mesh-config.ts";
import { actionOf, type AuthorizationPolicy } from "../../mesh/authorization/policies.ts";
import { policiesRead } from "../../mesh/authorization/policy-levels.ts";
import { captureOf, enrollmentOf, isEnrolled } from "../../mesh/membership/capture.ts";
import { captured } from "../../mesh/membership/captured.ts";
import {
  acceptedTrustDomains,
  addedAuthorities,
  type AuthorizationProvider,
  authorizationProvidersOf,
  type MeshConfig,
  meshConfigAt,
  meshConfigOfNamespace,
  normalizationOf,
  normalizesLess,
  ownTrustDomains,
  trustDomainOf,
} from "../../mesh/membership/mesh-config.ts";
import { isTerminating, type Namespace, rootOfNamespace } from "../../mesh/membership/namespaces.ts";
import { interceptionMode } from "../../mesh/membership/interception.ts";
import type { Workload } from "../../mesh/membership/workloads.ts";
import { fact, forWording, type MeshView } from "../../view/view.ts";

/** What the policies of a namespace need from the mesh config. Each value is one policy, as an example. */
interface Needs {
  /** A policy that compares paths. */
  readonly paths: AuthorizationPolicy | undefined;
  /** The trust domains in identities that policies keep out. */
  readonly keptOut: ReadonlyMap<string, AuthorizationPolicy>;
  readonly providers: ReadonlyMap<string, AuthorizationPolicy>;
}

/** What the AuthorizationPolicies of a namespace itself need from the mesh config. */
const needsOfPolicies = fact("needsOfPolicies", "Namespace", [policiesRead], (namespace, mesh): Needs => {
  let paths: AuthorizationPolicy | undefined;
  const keptOut = new Map<string, AuthorizationPolicy>();
  const providers = new Map<string, AuthorizationPolicy>();
  for (const policy of mesh.related(policiesRead, namespace)) {
    if (comparesPaths(policy)) paths ??= policy;
    for (const domain of domainsKeptOut(policy)) if (!keptOut.has(domain)) keptOut.set(domain, policy);
    const provider = actionOf(policy) === "CUSTOM" ? policy.spec.provider?.name : undefined;
    if (provider !== undefined && !providers.has(provider)) providers.set(provider, policy);
  }
  return { paths, keptOut, providers };
});

const comparesPaths = ({ spec }: AuthorizationPolicy): boolean =>
  spec.rules.some(({ to }) => to.some(({ operation: { paths, notPaths } }) => paths.length + notPaths.length > 0));

/**
 * The trust domains in identities that a policy denies, or that its ALLOW rules except. `cluster.local` stands for the
 * mesh's own, and `*` for all (Istio pilot/pkg/security/trustdomain/bundle.go ReplaceTrustDomainAliases).
 */
function domainsKeptOut(policy: AuthorizationPolicy): readonly string[] {
  const denies = actionOf(policy) === "DENY";
  const named = policy.spec.rules.flatMap(({ from, when }) => [
    ...from.flatMap(({ source }) => (denies ? source.principals : source.notPrincipals)).flatMap(domainOf),
    ...from.flatMap(({ source }) => (denies ? source.trustDomains : source.notTrustDomains)),
    ...when
      .filter(({ key }) => key === "source.principal")
      .flatMap(({ values, notValues }) => (denies ? values : notValues))
      .flatMap(domainOf),
  ]);
  return named.filter((domain) => !isForAny(domain));
}
const domainOf = (principal: string): readonly string[] => {
  const parts = principal.split("/");
  return parts.length === 5 ? parts.slice(0, 1) : [];
};
const isForAny = (domain: string): boolean => domain.includes("*") || domain === "cluster.local";

/** What a change of the mesh config takes away, regardless of the namespace. */
interface Losses {
  readonly config: MeshConfig | undefined;
  readonly newDomains: ReadonlyMap<string, "alias" | "certificate">;
  readonly newAuthorities: readonly string[];
  readonly lostDomains: ReadonlySet<string>;
  readonly normalization: string | undefined;
  readonly providers: ReadonlyMap<string, ProviderChange>;
  readonly disablesInterception: boolean;
  readonly disablesAutoMtls: boolean;
}
interface ProviderChange {
  readonly text: string;
  readonly onlyWarns?: string;
  readonly fix?: string;
}
const compared = new WeakMap<MeshConfigFields, { readonly before: MeshConfigFields; readonly losses: Losses }>();

/** All namespaces have the same two mesh configs, which are compared once. */
function lossesBetween(before: MeshConfigFields, after: MeshConfigFields, config: MeshConfig | undefined): Losses {
  const known = compared.get(after);
  if (known?.before === before) return known.losses;
  const isIntercepting = ({ defaultConfig }: MeshConfigFields) => defaultConfig?.interceptionMode !== "NONE";
  const isAutomatic = ({ enableAutoMtls }: MeshConfigFields) => enableAutoMtls !== false;
  const losses: Losses = {
    config,
    newDomains: newDomains(before, after),
    newAuthorities: [...addedAuthorities(after).difference(addedAuthorities(before))],
    lostDomains: ownTrustDomains(before).difference(ownTrustDomains(after)),
    normalization: normalizesLess(before, after)
      ? `${normalizationOf(after)} instead of ${normalizationOf(before)}`
      : undefined,
    providers: providerChanges(authorizationProvidersOf(before), authorizationProvidersOf(after)),
    disablesInterception: isIntercepting(before) && !isIntercepting(after),
    disablesAutoMtls: isAutomatic(before) && !isAutomatic(after),
  };
  compared.set(after, { before, losses });
  return losses;
}

function newDomains(before: MeshConfigFields, after: MeshConfigFields): ReadonlyMap<string, "alias" | "certificate"> {
  // The mesh's own certificate authority issues the identities of its own trust domain, whatever its name.
  const known = new Set([...acceptedTrustDomains(before), trustDomainOf(after)]);
  const aliases = ownTrustDomains(after).difference(ownTrustDomains(before));
  const added = [...acceptedTrustDomains(after)].filter((domain) => !known.has(domain));
  return new Map(
    [...added, ...aliases]
      .filter((domain) => domain !== trustDomainOf(after))
      .map((domain) => [domain, aliases.has(domain) ? "alias" : "certificate"]),
  );
}

function providerChanges(
  before: ReadonlyMap<string, AuthorizationProvider>,
  after: ReadonlyMap<string, AuthorizationProvider>,
): ReadonlyMap<string, ProviderChange> {
  const changes = new Map<string, ProviderChange>();
  for (const [name, was] of before) {
    const is = after.get(name);
    const provider = `extension provider ${JSON.stringify(name)}`;
    const change =
      is === undefined
        ? {
            text: "no longer exists",
            onlyWarns: "requests are rejected, so that nobody gains access",
            fix: fixOfMissing,
          }
        : changeOf(was, is);
    if (change !== undefined) changes.set(name, { ...change, text: `${provider} ${change.text}` });
  }
  return changes;
}
const fixOfMissing =
  "A policy whose provider does not exist denies every request that it asks about. Delete the policy first, or keep the provider.";

/** The most severe change of a provider; its text is a predicate. */
function changeOf(was: AuthorizationProvider, is: AuthorizationProvider): ProviderChange | undefined {
  if (is.calls !== was.calls)
    return { text: `calls ${JSON.stringify(is.calls)} instead of ${JSON.stringify(was.calls)}` };
  if (is.failsOpen && !was.failsOpen) return { text: "lets requests pass when it does not answer" };
  const [written] = was.writes.difference(is.writes);
  if (written !== undefined)
    return {
      text: `no longer writes header ${JSON.stringify(written)}, so that clients can write it themselves`,
      onlyWarns: "it is not known whether an application or a policy trusts the header",
      fix: `Keep ${JSON.stringify(written)} in headersToUpstreamOnAllow of the provider as long as an application or a policy trusts the header.`,
    };
  const [seen] = was.sees.difference(is.sees);
  if (seen === undefined) return undefined;
  return {
    text: `no longer sees ${seen} of a request`,
    onlyWarns: "it is not known whether the provider needs it",
    fix: "Keep showing it to the provider, unless its decisions do not depend on it.",
  };
}

// Only the configuration adds problems, not a workload that comes or goes.
const capturedNow = forWording(captured);
const reads = [meshConfigOfNamespace, rootOfNamespace, needsOfPolicies, capturedNow] as const;
type View = MeshView<(typeof reads)[number]>;

export const namespaceMeshSettingsWeakened = defineRule({
  id: "namespace-mesh-settings-weakened",
  subject: "Namespace",
  reads,
  worksWithout: ["AuthorizationPolicy", "MeshConfig", "Workload"],
  mode: { protected: "deny", elsewhere: "off" },
  since: "0.1.0",
  tags: ["mtls", "authorization"],
  summary: "The mesh config takes protection from a namespace.",
  why: "Workloads accept certificates of the trust domain, its aliases and the trust domains of additional certificate authorities (Istio pilot/pkg/networking/plugin/authn/util.go TrustDomainsForValidation), and policies treat aliases as identities of the mesh (pilot/pkg/security/trustdomain/bundle.go). Paths are compared after they are normalized. An extension provider decides for policies with action CUSTOM (pilot/pkg/security/authz/builder/extauthz.go), the injector takes the interception mode from the mesh config, and without auto mTLS sidecars send plaintext (pilot/pkg/networking/core/cluster_tls.go buildUpstreamTLSSettings; manifests/charts/istio-control/istio-discovery/files/injection-template.yaml).",
  fix: "Revert the mesh config, or write a MeshwardException with an end date.",
  incident: {
    symptoms: ["open-access", "plaintext"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "Depending on the field: certificates of another trust domain are accepted, policies with paths do not match any more, a provider that does not answer lets requests pass, or sidecars send plaintext.",
    wayOut:
      "Apply the previous ConfigMap of the mesh; istiod reads it without a restart. The interception mode of running pods is as it was when they were created.",
    silentWhen: "No policy of the namespace depends on the field, or no proxy of the namespace uses this revision.",
    page: "https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/",
  },

  *compare(before, after) {
    const { object } = after;
    const [old, now] = [meshConfigAt(before.object, before.mesh), meshConfigAt(object, after.mesh)];
    // A mesh config that the view lacks may have existed.
    if (old.object === now.object || isTerminating(object)) return;
    if (old.object === undefined && !before.mesh.knowsAll("MeshConfig")) return;
    const losses = lossesBetween(old.fields, now.fields, now.object ?? old.object);
    const related = losses.config === undefined ? [] : [losses.config];
    for (const problem of problemsOf(losses, object, after.mesh)) yield { ...problem, related };
  },
});

function* problemsOf(losses: Losses, namespace: Namespace, mesh: View): Iterable<Problem> {
  if (isEnrolled(namespace, mesh.settings) !== false) yield* newCallers(losses, namespace);
  if (losses.disablesAutoMtls && hasInjected(namespace, mesh))
    yield {
      at: [],
      message: `Auto mTLS is disabled: clients send plaintext to namespace ${namespace.metadata.name} unless a DestinationRule sets TLS`,
      key: "auto mTLS",
      fix: "Keep auto mTLS, or give every host a DestinationRule with ISTIO_MUTUAL before disabling it.",
    };
  if (
    losses.disablesInterception &&
    hasInjected(namespace, mesh, ({ pod }) => pod.annotations[interceptionMode] === undefined)
  )
    yield {
      at: [],
      message: `New pods of namespace ${namespace.metadata.name} are not captured: the mesh config sets interception mode NONE`,
      key: "interception mode",
      fix: "Remove defaultConfig.interceptionMode from the mesh config.",
    };
  const seen = new Set([namespace, ...mesh.related(rootOfNamespace, namespace)]);
  for (const one of seen) yield* brokenPolicies(losses, mesh.get(needsOfPolicies, one), namespace);
}

/** Whether a namespace has, or will have, such pods with a sidecar. ztunnel uses neither setting. */
function hasInjected(
  namespace: Namespace,
  mesh: View,
  isAffected: (workload: Workload) => boolean = () => true,
): boolean {
  const { workloads } = mesh.get(capturedNow, namespace);
  const isBySidecar =
    enrollmentOf(namespace, mesh.settings) === "sidecar" ||
    enrollmentOf(namespace, mesh.settings) === "ambient-and-sidecar";
  if (workloads.all.length === 0) return isBySidecar;
  mesh.visited(workloads.all.length);
  return workloads.all.some(
    (workload) => captureOf(workload, namespace, mesh.settings) === "sidecar" && isAffected(workload),
  );
}

function* newCallers({ newDomains, newAuthorities }: Losses, { metadata: { name } }: Namespace): Iterable<Problem> {
  for (const [domain, by] of newDomains)
    yield {
      at: [],
      message:
        by === "alias"
          ? `Workloads of namespace ${name} treat identities of trust domain ${JSON.stringify(domain)} as identities of the mesh`
          : `Workloads of namespace ${name} accept certificates of trust domain ${JSON.stringify(domain)}`,
      key: `trust domain ${domain}`,
      fix: "Add a trust domain only if its certificate authority is as trustworthy as that of this mesh, and accept it with a MeshwardException.",
    };
  for (const authority of newAuthorities)
    yield {
      at: [],
      message: `Workloads of namespace ${name} accept certificates of ${/^\w+:\/\/\S+$/.test(authority) ? `the certificate authority ${JSON.stringify(authority)}` : "one more certificate authority"}`,
      key: `authority ${authority}`,
      fix: "Add a certificate authority only if it is as trustworthy as that of this mesh, and accept it with a MeshwardException.",
    };
}

function* brokenPolicies(losses: Losses, needs: Needs, { metadata: { name } }: Namespace): Iterable<Problem> {
  if (losses.normalization !== undefined && needs.paths !== undefined)
    yield {
      at: [],
      message: `Proxies of namespace ${name} normalize paths less (${losses.normalization}), so that requests evade the paths in ${idOf(needs.paths)}`,
      key: `paths ${idOf(needs.paths)}`,
      fix: "Keep pathNormalization, or compare no paths in AuthorizationPolicies.",
    };
  for (const domain of losses.lostDomains) {
    const policy = needs.keptOut.get(domain);
    if (policy !== undefined)
      yield {
        at: [],
        message: `${idOf(policy)} no longer keeps out the callers of trust domain ${JSON.stringify(domain)} that it names from namespace ${name}, because the mesh no longer has this trust domain`,
        key: `kept out ${domain} ${idOf(policy)}`,
        fix: `Keep ${JSON.stringify(domain)} in trustDomainAliases, or write "cluster.local" in the policy, which stands for the trust domain of the mesh.`,
      };
  }
  for (const [provider, { text, onlyWarns, fix }] of losses.providers) {
    const policy = needs.providers.get(provider);
    if (policy !== undefined)
      yield {
        at: [],
        message: `${idOf(policy)} decides otherwise about requests in namespace ${name}: ${text}`,
        key: `provider ${provider} ${idOf(policy)}`,
        ...(onlyWarns === undefined ? {} : { onlyWarns }),
        fix: fix ?? "Ask the owner of the namespace, and accept the change with a MeshwardException.",
      };
  }
}
