import { absent } from "../../engine/evidence.ts";
import { defineRule } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { Path } from "../../kube/read.ts";
import { isSetByRules, mutualByRule, servicesWithoutTls } from "../../mesh/client-tls/services-by-tls.ts";
import type { Capture } from "../../mesh/membership/capture.ts";
import { captured } from "../../mesh/membership/captured.ts";
import {
  atPort,
  disabledBy,
  mtls,
  type NamespaceMtls,
  peerAuthenticationsOfNamespace,
} from "../../mesh/mtls/effective-mtls.ts";
import { declared, isWide, portModes } from "../../mesh/mtls/peer-authentications.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { formatLabels } from "../../mesh/objects/selectors.ts";
import { index, type MeshView, relation, setting } from "../../view/view.ts";
import type { Labels, ObjectOf } from "../../kube/object.ts";

type PeerAuthentication = ObjectOf<"PeerAuthentication">;

/** A field of a policy that requires mTLS, and the port for which it does; undefined: for those that the policy does not list. */
type StrictField = readonly [at: Path, port: number | undefined];

const strictFields = (policy: PeerAuthentication): readonly StrictField[] => [
  ...(declared(policy.spec.mtls) === "STRICT" ? [[["spec", "mtls", "mode"], undefined] as const] : []),
  ...[...portModes(policy)].flatMap(([port, mode]) =>
    mode === "STRICT" ? [[["spec", "portLevelMtls", String(port), "mode"], port] as const] : [],
  ),
];

/** Whether the policy decides for workloads with the labels that it selects: not if an older one selects them all, too. */
function decides(policy: PeerAuthentication, port: number | undefined, modes: NamespaceMtls): boolean {
  const found = modes.of(policy.spec.selector?.matchLabels ?? {}, "sidecar");
  return (port === undefined ? found.mode : atPort(found, port)).by === policy;
}

/** A policy that requires mTLS of some workloads, and their namespace. */
const namespaceOfStrictWorkloads = relation(
  "namespaceOfStrictWorkloads",
  index("PeerAuthentication", (policy, settings) =>
    policy.metadata.namespace === settings.rootNamespace || strictFields(policy).length === 0
      ? []
      : peerAuthenticationsOfNamespace.to.keys(policy, settings),
  ),
  namespaceByName,
);

const reads = [
  namespaceOfStrictWorkloads,
  mtls,
  captured,
  mutualByRule,
  servicesWithoutTls,
  setting("autoMtls"),
] as const;

export const peerAuthenticationStrictRefusesClients = defineRule({
  id: "peer-authentication-strict-refuses-clients",
  subject: "PeerAuthentication",
  reads,
  worksWithout: ["DestinationRule", "Service", "Workload"],
  mode: "warn",
  since: "0.1.0",
  tags: ["mtls"],
  summary:
    "Workloads require mTLS for which clients do not use auto mTLS: it is off, or the mode of their namespace is DISABLE.",
  why: "Whether sidecars and gateways use auto mTLS is decided once for each service, by the mode of its namespace (Istio pilot/pkg/model/push_context.go BestEffortInferServiceMTLSMode). With DISABLE they send plaintext to all its workloads, unless a DestinationRule sets another TLS (pilot/pkg/networking/core/cluster_tls.go buildUpstreamTLSSettings), and those that are STRICT reset the connections. Without auto mTLS (`enableAutoMtls: false`), they do so for every service.",
  fix: "Create a DestinationRule with tls mode ISTIO_MUTUAL for the Services of these workloads first. Or use auto mTLS: set the mode of the namespace to PERMISSIVE, so that clients use mTLS for workloads that have a sidecar. Where a workload must accept plaintext only, set DISABLE in a policy that selects it.",
  incident: {
    symptoms: ["reset"],
    proxies: ["sidecar"],
    seen: "Requests of clients with sidecars and of gateways fail, and those of workloads without a proxy too.",
    wayOut: "Set the mode of these workloads back to PERMISSIVE, or delete the policy.",
    silentWhen:
      "The workloads are ambient, auto mTLS is on and the mode of the namespace is another one than DISABLE, an older policy selects the workloads, the policy is for the whole mesh, auto mTLS is off and it selects no known workload or none that has a Service, or DestinationRules set ISTIO_MUTUAL for all Services of the workloads, or, where auto mTLS is off, any TLS for some of their clients, ports or subsets.",
    page: "https://istio.io/latest/docs/ops/configuration/traffic-management/tls-configuration/",
  },

  *check(policy, mesh) {
    const [namespace] = mesh.related(namespaceOfStrictWorkloads, policy);
    if (namespace === undefined) return;
    const modes = mesh.get(mtls, namespace);
    const why = whyPlaintext(policy, modes, mesh);
    if (why === undefined) return;
    const labels = policy.spec.selector?.matchLabels ?? {};
    const captures = mesh.get(captured, namespace).capturesOf(labels);
    if (isReachedByHbone(captures) || isOfNobody(captures, mesh)) return;
    if (isSet(labels, namespace, mesh)) return;
    const who = isWide(policy)
      ? `workloads of namespace ${JSON.stringify(namespace.metadata.name)}`
      : `workloads labelled ${formatLabels(labels).replaceAll(", ", ",")}`;
    for (const [at] of strictFields(policy).filter(([, port]) => decides(policy, port, modes)))
      yield {
        at,
        message: `Sidecars and gateways send plaintext to ${who}, which refuse it: ${why.because}`,
        key: JSON.stringify([at, why.key]),
        evidence: [why.evidence],
      };
  },
});

type View = MeshView<(typeof reads)[number]>;

/** Why clients use no auto mTLS for the workloads of a policy; undefined: they use it, or it is not known. */
function whyPlaintext(policy: PeerAuthentication, modes: NamespaceMtls, mesh: View) {
  if (mesh.settings.autoMtls) {
    const by = isWide(policy) ? undefined : disabledBy(modes);
    return by && { because: `${idOf(by)} sets mode DISABLE for the namespace`, key: idOf(by), evidence: by };
  }
  if (!mesh.knowsAll("DestinationRule")) return undefined;
  const because = "auto mTLS is disabled, and no DestinationRule that they use sets ISTIO_MUTUAL";
  return { because, key: "auto mTLS", evidence: absent("DestinationRule", policy.metadata.namespace) };
}

/** Without auto mTLS, TLS that a DestinationRule sets for some port or subset is reported by other rules, and so is other TLS. */
const isSet = (labels: Labels, namespace: ObjectOf<"Namespace">, mesh: View): boolean =>
  mesh.settings.autoMtls
    ? isSetByRules(mesh.get(mutualByRule, namespace), labels)
    : !mesh.get(servicesWithoutTls, namespace).meet(labels);

/** Where the mode of the namespace is the reason, it is one for workloads that come, too. */
const isOfNobody = (captures: ReadonlySet<Capture>, mesh: View): boolean =>
  captures.size === 0 && !mesh.settings.autoMtls && mesh.knowsAll("Workload");

/** HBONE takes precedence at ztunnel. */
const isReachedByHbone = (captures: ReadonlySet<Capture>): boolean =>
  captures.size > 0 && !captures.has("sidecar") && !captures.has("unknown");
