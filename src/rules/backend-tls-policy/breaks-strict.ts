import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf, keyOf } from "../../kube/identity.ts";
import { type BackendTlsPolicy, servicesOfBackendTlsPolicy } from "../../mesh/traffic/backend-tls-policies.ts";
import { portsOf } from "../../mesh/membership/target-ports.ts";
import { tlsPathsByRule } from "../../mesh/client-tls/paths.ts";
import { captured } from "../../mesh/membership/captured.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import { declaredProtocol, type ServicePort } from "../../mesh/membership/service-protocol.ts";
import { namespaceOfService, type Service } from "../../mesh/membership/services.ts";
import { isProxy } from "../../mesh/membership/workloads.ts";
import { mtls } from "../../mesh/mtls/effective-mtls.ts";
import { boundPorts, sidecarsOfPassing } from "../../mesh/traffic/bound-ports.ts";
import { mtlsOfWorkload } from "../../mesh/mtls/workload-mtls.ts";
import type { EffectiveMode, Modes } from "../../mesh/mtls/peer-authentications.ts";
import { hostOfService } from "../../mesh/traffic/hosts.ts";
import { policyRulesOfService } from "../../mesh/traffic/policy-rules.ts";
import { fact, type MeshView } from "../../view/view.ts";

/** The ports of a Service for which some clients use the TLS of a BackendTLSPolicy, by the policy. */
const portsByPolicy = fact(
  "portsByPolicy",
  "Service",
  [policyRulesOfService, namespaceOfService, tlsPathsByRule],
  (service, mesh): ReadonlyMap<BackendTlsPolicy, ReadonlySet<number>> => {
    const found = new Map<BackendTlsPolicy, Set<number>>();
    const made = mesh.get(policyRulesOfService, service).get(hostOfService(service, mesh.settings.domain));
    const [namespace] = mesh.related(namespaceOfService, service);
    if (made === undefined || namespace === undefined) return found;
    const all = service.spec.ports.flatMap(({ port }) => port ?? []);
    for (const { choice, reaches } of mesh.get(tlsPathsByRule, namespace).get(keyOf(made)) ?? []) {
      if (choice.policy === undefined) continue;
      const ports = found.get(choice.policy) ?? new Set();
      found.set(choice.policy, ports);
      const isOfOthers = (port: number) => reaches.some(({ except }) => !except.has(port));
      for (const port of choice.port === undefined ? all.filter(isOfOthers) : [choice.port]) ports.add(port);
    }
    return found;
  },
);

const reads = [
  servicesOfBackendTlsPolicy,
  portsByPolicy,
  namespaceOfService,
  captured,
  mtls,
  sidecarsOfPassing,
] as const;
type View = MeshView<(typeof reads)[number]>;

export const backendTlsPolicyBreaksStrict = defineRule({
  id: "backend-tls-policy-breaks-strict",
  subject: "BackendTLSPolicy",
  reads,
  worksWithout: ["DestinationRule", "ServiceEntry", "Sidecar"],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  tags: ["mtls", "gateway"],
  summary: "A BackendTLSPolicy uses TLS of its own for a Service whose sidecars accept no TLS but the mesh's mTLS.",
  why: "Of a BackendTLSPolicy, istiod makes a DestinationRule with tls mode SIMPLE, which gateways, sidecars and waypoints use instead of auto mTLS (Istio pilot/pkg/config/kube/gateway/backend_policies.go DestinationRuleCollection). The sidecar of a STRICT workload resets every connection without a certificate of the mesh (pilot/pkg/security/authn/policy_applier.go). At a port that is declared as HTTP, other sidecars accept plaintext and, with PERMISSIVE, the mesh's mTLS, and reset every other TLS too (pilot/pkg/networking/core/filterchain_options.go).",
  fix: "Delete the BackendTLSPolicy, or the target: the mesh encrypts these connections already. If the application itself shall end the TLS, declare the port as HTTPS or TLS, and set its mode to PERMISSIVE in a PeerAuthentication (portLevelMtls).",
  incident: {
    symptoms: ["reset"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "All requests to the Service get 503 with `upstream connect error` since the policy was applied, from gateways and from pods with a sidecar.",
    wayOut: "Delete the BackendTLSPolicy: auto mTLS applies again within seconds.",
    silentWhen:
      "Clients use the TLS of a DestinationRule instead, an older BackendTLSPolicy has the same target, the workloads are not STRICT at the port and it is not declared as HTTP, they have no sidecar, or a workload is captured by ztunnel, which is not judged.",
    page: "https://gateway-api.sigs.k8s.io/api-types/backendtlspolicy/",
  },

  *check(policy, mesh) {
    for (const service of mesh.related(servicesOfBackendTlsPolicy, policy)) {
      const [namespace] = mesh.related(namespaceOfService, service);
      if (namespace === undefined || isTerminating(namespace)) continue;
      if (mesh.get(portsByPolicy, service).has(policy)) yield* refused({ policy, service, namespace }, mesh);
    }
  },
});

interface Place {
  readonly policy: BackendTlsPolicy;
  readonly service: Service;
  readonly namespace: Namespace;
}

/** One problem for each port at which some workload refuses the TLS. */
function* refused({ policy, service, namespace }: Place, mesh: View): Generator<Problem | undefined, undefined> {
  const left = new Set(mesh.get(portsByPolicy, service).get(policy));
  const http = new Set(service.spec.ports.filter(isHttp).map(({ port }) => port));
  const modes = mesh.get(mtls, namespace);
  const { workloadPort } = portsOf(service);
  for (const workload of mesh.get(captured, namespace).workloads.selected(service.spec.selector)) {
    yield;
    const of = mtlsOfWorkload(workload, namespace, modes, {
      settings: mesh.settings,
      bound: boundPorts(workload, mesh),
    });
    if (of.capture !== "sidecar") continue;
    const asHttp = isProxy(workload) ? none : http;
    const isStrict = mayBeStrict(of.as("sidecar"));
    if (!isStrict && asHttp.size === 0) continue;
    mesh.visited(left.size);
    for (const port of [...left].filter((one) => isStrict || asHttp.has(one))) {
      const mode = modeAt(of, workloadPort(port, workload));
      if (mode === undefined || !(mode.mode === "STRICT" || asHttp.has(port))) continue;
      left.delete(port);
      yield problemOf(port, { policy, service }, mode);
    }
  }
}

/** Undefined: the port is not known, or no proxy has what arrives there. */
function modeAt(of: MtlsOfWorkload, port: number | undefined): EffectiveMode | undefined {
  const at = port === undefined ? undefined : of.at(port);
  return at?.passedBy === undefined ? at?.mode : undefined;
}
type MtlsOfWorkload = ReturnType<typeof mtlsOfWorkload>;

const none: ReadonlySet<number | undefined> = new Set();
const isHttp = (port: ServicePort): boolean => declaredProtocol(port) === "HTTP";

const mayBeStrict = ({ mode, ports }: Modes): boolean =>
  mode.mode === "STRICT" || [...ports.values()].some((one) => one.mode === "STRICT");

function problemOf(
  port: number,
  { policy, service }: Pick<Place, "policy" | "service">,
  { mode, by }: EffectiveMode,
): Problem {
  const isStrict = mode === "STRICT";
  const related = by === undefined || !isStrict ? [service] : [service, by];
  return {
    at: ["spec", "targetRefs", Math.max(0, targetOf(policy, service))],
    message: isStrict
      ? `STRICT workloads of ${idOf(service)} refuse this TLS at port ${port}: they accept only the mesh's own mTLS`
      : `Sidecars of ${idOf(service)} refuse this TLS at port ${port}, which is declared as HTTP: they accept plaintext and no TLS but the mesh's own mTLS`,
    key: JSON.stringify([idOf(service), port]),
    related,
    evidence: related,
  };
}

const targetOf = ({ spec }: BackendTlsPolicy, { metadata }: Service): number =>
  spec.targetRefs.findIndex(({ kind, name }) => kind === "Service" && name === metadata.name);
