import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import {
  type BackendTlsPolicy,
  backendTlsOfService,
  servicesOfBackendTlsPolicy,
} from "../../mesh/traffic/backend-tls-policies.ts";
import { portsOf } from "../../mesh/client-tls/destinations.ts";
import { captured } from "../../mesh/membership/captured.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import { namespaceOfService, type Service } from "../../mesh/membership/services.ts";
import { mtls } from "../../mesh/mtls/effective-mtls.ts";
import { mtlsOfWorkload } from "../../mesh/mtls/workload-mtls.ts";
import type { EffectiveMode, Modes } from "../../mesh/mtls/peer-authentications.ts";
import { destinationRulesOfService } from "../../mesh/requests/destinations.ts";
import type { DestinationRule } from "../../mesh/traffic/destination-rules.ts";
import type { MeshView } from "../../view/view.ts";

const reads = [
  servicesOfBackendTlsPolicy,
  backendTlsOfService,
  namespaceOfService,
  destinationRulesOfService,
  captured,
  mtls,
] as const;
type View = MeshView<(typeof reads)[number]>;

export const backendTlsPolicyBreaksStrict = defineRule({
  id: "backend-tls-policy-breaks-strict",
  subject: "BackendTLSPolicy",
  reads,
  worksWithout: ["DestinationRule"],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  tags: ["mtls", "gateway"],
  summary: "A BackendTLSPolicy uses TLS of its own for a Service whose sidecars accept only the mesh's mTLS.",
  why: "Of a BackendTLSPolicy, istiod makes a DestinationRule with tls mode SIMPLE, which gateways, sidecars and waypoints use instead of auto mTLS (Istio pilot/pkg/config/kube/gateway/backend_policies.go DestinationRuleCollection). The sidecar of a STRICT workload resets every connection without a certificate of the mesh (pilot/pkg/security/authn/policy_applier.go).",
  fix: "Delete the BackendTLSPolicy, or the target: the mesh encrypts these connections already. If the application itself shall end the TLS, set the mode of this port to PERMISSIVE in a PeerAuthentication (portLevelMtls).",
  incident: {
    symptoms: ["reset"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "All requests to the Service get 503 with `upstream connect error` since the policy was applied, from gateways and from pods with a sidecar.",
    wayOut: "Delete the BackendTLSPolicy: auto mTLS applies again within seconds.",
    silentWhen:
      "A DestinationRule for the host sets tls somewhere, an older BackendTLSPolicy has the same target, the workloads are not STRICT at the port or have no sidecar, or a workload is captured by ztunnel, which is not judged.",
    page: "https://gateway-api.sigs.k8s.io/api-types/backendtlspolicy/",
  },

  *check(policy, mesh) {
    for (const service of mesh.related(servicesOfBackendTlsPolicy, policy)) {
      const [namespace] = mesh.related(namespaceOfService, service);
      if (namespace === undefined || isTerminating(namespace)) continue;
      if (mesh.related(destinationRulesOfService, service).some(setsTls)) continue;
      yield* refused({ policy, service, namespace }, mesh);
    }
  },
});

interface Place {
  readonly policy: BackendTlsPolicy;
  readonly service: Service;
  readonly namespace: Namespace;
}

/** The ports of a Service for which the policy counts. */
function portsWith(policy: BackendTlsPolicy, service: Service, mesh: View): readonly number[] {
  const found = mesh.get(backendTlsOfService, service);
  return service.spec.ports.flatMap(({ port }) => {
    if (port === undefined) return [];
    return (found?.byPort.get(port) ?? found?.wide) === policy ? [port] : [];
  });
}

/** One problem for each port at which some workload refuses the TLS. */
function* refused({ policy, service, namespace }: Place, mesh: View): Generator<Problem | undefined, undefined> {
  const left = new Set(portsWith(policy, service, mesh));
  const modes = mesh.get(mtls, namespace);
  const { workloadPort } = portsOf(service);
  for (const workload of mesh.get(captured, namespace).workloads.selected(service.spec.selector)) {
    yield;
    const of = mtlsOfWorkload(workload, namespace, modes, mesh.settings);
    if (of.capture !== "sidecar" || !mayBeStrict(of.as("sidecar"))) continue;
    mesh.visited(left.size);
    for (const port of left) {
      const number = workloadPort(port, workload);
      const at = number === undefined ? undefined : of.at(number);
      if (at === undefined || at.passedBy !== undefined || at.mode?.mode !== "STRICT") continue;
      left.delete(port);
      yield problemOf(port, { policy, service }, at.mode);
    }
  }
}

const mayBeStrict = ({ mode, ports }: Modes): boolean =>
  mode.mode === "STRICT" || [...ports.values()].some((one) => one.mode === "STRICT");

const problemOf = (
  port: number,
  { policy, service }: Pick<Place, "policy" | "service">,
  { by }: EffectiveMode,
): Problem => ({
  at: ["spec", "targetRefs", Math.max(0, targetOf(policy, service))],
  message: `STRICT workloads of ${idOf(service)} refuse this TLS at port ${port}: they accept only the mesh's own mTLS`,
  related: by === undefined ? [service] : [service, by],
  evidence: by === undefined ? [service] : [service, by],
});

const targetOf = ({ spec }: BackendTlsPolicy, { metadata }: Service): number =>
  spec.targetRefs.findIndex(({ kind, name }) => kind === "Service" && name === metadata.name);

const setsTls = ({ spec }: DestinationRule): boolean =>
  [spec.trafficPolicy, ...spec.subsets.map(({ trafficPolicy }) => trafficPolicy)].some(
    (policy) => policy?.tls !== undefined || policy?.portLevelSettings.some(({ tls }) => tls !== undefined) === true,
  );
