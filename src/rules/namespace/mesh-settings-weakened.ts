import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { type MeshConfigFields, noMeshConfig } from "../../kube/mesh-config.ts";
import { proxyConfigOf } from "../../kube/proxy-config.ts";
import { type NeedsOfMeshConfig, needsOfMeshConfig } from "../../mesh/authorization/needs-of-mesh-config.ts";
import { captureOf, enrollmentOf, isEnrolled } from "../../mesh/membership/capture.ts";
import { captured } from "../../mesh/membership/captured.ts";
import { controlPlanesWithClients, ofTheMesh } from "../../mesh/membership/client-revisions.ts";
import { gatewaysOfNamespace } from "../../mesh/membership/gateways.ts";
import type { MeshConfig } from "../../mesh/membership/mesh-config.ts";
import { lossesBetween, type MeshConfigLosses } from "../../mesh/membership/mesh-config-losses.ts";
import {
  type ConfigStep,
  configSteps,
  everyConfigStep,
  readsConfigSteps,
} from "../../mesh/membership/mesh-config-steps.ts";
import { isTerminating, type Namespace, rootOfNamespace } from "../../mesh/membership/namespaces.ts";
import { interceptionMode } from "../../mesh/membership/interception.ts";
import type { Workload } from "../../mesh/membership/workloads.ts";
import { servingWaypoints } from "../../mesh/waypoints/served-traffic.ts";
import { forWording, type MeshView } from "../../view/view.ts";

// Only the configuration adds problems, not a workload or a waypoint that comes or goes.
const capturedNow = forWording(captured);
const servingNow = forWording(servingWaypoints);
const withClients = forWording(controlPlanesWithClients);
const reads = [
  ...readsConfigSteps,
  rootOfNamespace,
  needsOfMeshConfig,
  capturedNow,
  servingNow,
  withClients,
  gatewaysOfNamespace,
] as const;
type View = MeshView<(typeof reads)[number]>;

export const namespaceMeshSettingsWeakened = defineRule({
  id: "namespace-mesh-settings-weakened",
  subject: "Namespace",
  reads,
  worksWithout: [
    "AuthorizationPolicy",
    "KubernetesGateway",
    "MeshConfig",
    "Service",
    "ServiceEntry",
    "Workload",
    "WorkloadEntry",
  ],
  mode: { protected: "deny", elsewhere: "off" },
  since: "0.1.0",
  tags: ["mtls", "authorization"],
  summary: "The mesh config that the proxies of a namespace follow takes protection from it.",
  why: "Each control plane has a mesh config of its own (Istio manifests/charts/istio-control/istio-discovery/templates/configmap.yaml), and a namespace that moves to another one follows that. Sidecars, gateways and waypoints accept certificates of the trust domain, its aliases and the trust domains of additional certificate authorities (pilot/pkg/networking/plugin/authn/util.go TrustDomainsForValidation), and policies treat aliases as identities of the mesh (pilot/pkg/security/trustdomain/bundle.go); ztunnel knows its own trust domain alone, and compares principals as they are written (pilot/pkg/serviceregistry/ambient/authorization.go handleRule). Paths are compared after they are normalized. An extension provider decides for policies with action CUSTOM (pilot/pkg/security/authz/builder/extauthz.go), the injector takes the interception mode from the mesh config, and without auto mTLS sidecars send plaintext (pilot/pkg/networking/core/cluster_tls.go buildUpstreamTLSSettings; manifests/charts/istio-control/istio-discovery/files/injection-template.yaml).",
  fix: "Revert the mesh config or the revision of the namespace, or write a MeshwardException with an end date.",
  incident: {
    symptoms: ["open-access", "plaintext"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "Depending on the field: certificates of another trust domain are accepted, policies with paths do not match any more, a provider that does not answer lets requests pass, or sidecars send plaintext.",
    wayOut:
      "Apply the previous ConfigMap of the mesh; istiod reads it without a restart. The interception mode of running pods is as it was when they were created.",
    silentWhen:
      "No policy of the namespace depends on the field, no proxy of the namespace uses this revision, or only ztunnel captures its workloads, which does not read the field. It only warns of auto mTLS in a revision that no namespace, workload or Gateway uses.",
    page: "https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/",
  },

  *compare(before, after) {
    if (isTerminating(after.object)) return;
    const found = new Map<string | undefined, Problem>();
    const add = (problems: Iterable<Problem>, { was, is }: ConfigStep) => {
      const related = [is ?? was].filter((config) => config !== undefined);
      for (const problem of problems) found.set(problem.key, { ...problem, related });
    };
    // A mesh config that the view lacks may have existed.
    const isKnown = ({ was }: ConfigStep) => was !== undefined || before.mesh.knowsAll("MeshConfig");
    for (const step of everyConfigStep(before, after).filter(isKnown)) add(plaintextOf(step, before, after), step);
    for (const step of configSteps(before, after).filter(isKnown)) add(problemsOf(step, after), step);
    yield* found.values();
  },
});

interface Side {
  readonly object: Namespace;
  readonly mesh: View;
}

const fieldsOf = (config: MeshConfig | undefined): MeshConfigFields => config?.mesh ?? noMeshConfig;

/** Whether clients use mTLS is decided by their control plane, which can be another one than that of the namespace. */
function* plaintextOf({ revision, was, is }: ConfigStep, before: Side, { object, mesh }: Side): Iterable<Problem> {
  if (fieldsOf(was).enableAutoMtls === false || fieldsOf(is).enableAutoMtls !== false || !hasInjected(object, mesh))
    return;
  const [where, clients] =
    revision === "default" ? ["", "clients"] : [` for revision ${JSON.stringify(revision)}`, "its clients"];
  yield {
    at: [],
    message: `Auto mTLS is disabled${where}: ${clients} send plaintext to namespace ${object.metadata.name} unless a DestinationRule sets TLS`,
    key: `auto mTLS${where}`,
    fix: "Keep auto mTLS, or give every host a DestinationRule with ISTIO_MUTUAL before disabling it.",
    ...([before.mesh, mesh].some((side) => mayHaveClients(revision, side))
      ? {}
      : { onlyWarns: "no namespace, workload or Gateway uses this revision" }),
  };
}

function mayHaveClients(revision: string, mesh: View): boolean {
  const used = mesh.get(withClients, ofTheMesh);
  return used.has(revision) || used.has(undefined) || !mesh.knowsAll("Workload");
}

function* problemsOf({ was, is }: ConfigStep, { object: namespace, mesh }: Side): Iterable<Problem> {
  const losses = lossesBetween(fieldsOf(was), fieldsOf(is));
  const followers = followersIn(namespace, mesh);
  if (followers.includes("identities")) yield* newCallers(losses, namespace);
  if (losses.disablesInterception && hasInjected(namespace, mesh, followsInterception))
    yield {
      at: [],
      message: `New pods of namespace ${namespace.metadata.name} are not captured: the mesh config sets interception mode NONE`,
      key: "interception mode",
      fix: "Remove defaultConfig.interceptionMode from the mesh config.",
    };
  const seen = new Set([namespace, ...mesh.related(rootOfNamespace, namespace)]);
  for (const one of seen)
    yield* brokenPolicies(losses, { needs: mesh.get(needsOfMeshConfig, one), namespace, followers });
}

/** Whether a pod has no interception mode of its own (files/injection-template.yaml). */
const followsInterception = ({ pod: { annotations } }: Workload): boolean =>
  annotations[interceptionMode] === undefined && (proxyConfigOf(annotations)?.interceptionMode ?? "") === "";

/** What follows a mesh config in a namespace: identities that its proxies accept, and policies, which proxies or ztunnel enforce. */
type Follower = "identities" | "proxies" | "ztunnel";

/**
 * ztunnel accepts its own trust domain alone, from the authority that issued its own certificates, and knows neither paths nor
 * providers (zt:src/tls/workload.rs verify_trust_domain). So in a namespace of ambient workloads, only a waypoint or a gateway follows
 * the rest of a mesh config.
 */
function followersIn(namespace: Namespace, mesh: View): readonly Follower[] {
  const { hasSidecars, hasAmbient } = planesIn(namespace, mesh);
  const hasWaypoints = hasAmbient && !mesh.get(servingNow, namespace).areNone;
  const hasProxies = hasSidecars || hasWaypoints || hasGateways(namespace, mesh);
  const found: Follower[] = hasAmbient ? ["ztunnel"] : [];
  if (hasProxies || !hasAmbient) found.push("proxies");
  if (hasProxies && (isEnrolled(namespace, mesh.settings) !== false || hasSidecars)) found.push("identities");
  return found;
}

const hasGateways = (namespace: Namespace, mesh: View): boolean =>
  mesh.get(capturedNow, namespace).proxies.all.length > 0 || mesh.related(gatewaysOfNamespace, namespace).length > 0;

function planesIn(namespace: Namespace, mesh: View): Readonly<Record<"hasSidecars" | "hasAmbient", boolean>> {
  const enrollment = enrollmentOf(namespace, mesh.settings);
  const { workloads } = mesh.get(capturedNow, namespace);
  mesh.visited(workloads.all.length);
  const captures = new Set(workloads.all.map((workload) => captureOf(workload, namespace, mesh.settings)));
  return {
    hasSidecars: ["sidecar", "ambient-and-sidecar", "unknown"].includes(enrollment) || captures.has("sidecar"),
    hasAmbient: ["ambient", "ambient-and-sidecar"].includes(enrollment) || captures.has("ambient"),
  };
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

function* newCallers(
  { newDomains, newAuthorities }: MeshConfigLosses,
  { metadata: { name } }: Namespace,
): Iterable<Problem> {
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
      message: `Workloads of namespace ${name} accept certificates of ${authority}`,
      key: `authority ${authority}`,
      fix: "Add a certificate authority only if it is as trustworthy as that of this mesh, and accept it with a MeshwardException.",
    };
}

interface Broken {
  readonly needs: NeedsOfMeshConfig;
  readonly namespace: Namespace;
  readonly followers: readonly Follower[];
}

function* brokenPolicies(losses: MeshConfigLosses, broken: Broken): Iterable<Problem> {
  for (const enforcer of ["proxies", "ztunnel"] as const)
    if (broken.followers.includes(enforcer)) yield* noLongerKeptOut(losses, enforcer, broken);
  if (broken.followers.includes("proxies")) yield* otherDecisions(losses, broken);
}

function* noLongerKeptOut(
  { lostDomains }: MeshConfigLosses,
  enforcer: "proxies" | "ztunnel",
  { needs, namespace: { metadata } }: Broken,
): Iterable<Problem> {
  for (const domain of lostDomains[enforcer]) {
    const policy = needs.keptOut[enforcer].get(domain);
    if (policy === undefined) continue;
    const [where, why, fix] =
      enforcer === "proxies"
        ? [
            "",
            "the mesh no longer has this trust domain",
            `Keep ${JSON.stringify(domain)} in trustDomainAliases, or write "cluster.local" in the policy, which stands for the trust domain of the mesh.`,
          ]
        : [
            "In ambient mode, ",
            "the mesh has another trust domain, and ztunnel knows no aliases",
            "Name the new trust domain in the policy too, before the mesh config changes.",
          ];
    yield {
      at: [],
      message: `${where}${idOf(policy)} no longer keeps out the callers of trust domain ${JSON.stringify(domain)} that it names from namespace ${metadata.name}, because ${why}`,
      key: `kept out ${domain} ${idOf(policy)} ${enforcer}`,
      fix,
    };
  }
}

function* otherDecisions(losses: MeshConfigLosses, { needs, namespace }: Broken): Iterable<Problem> {
  const { name } = namespace.metadata;
  if (losses.normalization !== undefined && needs.paths !== undefined)
    yield {
      at: [],
      message: `Proxies of namespace ${name} normalize paths less (${losses.normalization}), so that requests evade the paths in ${idOf(needs.paths)}`,
      key: `paths ${idOf(needs.paths)}`,
      fix: "Keep pathNormalization, or compare no paths in AuthorizationPolicies.",
    };
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
