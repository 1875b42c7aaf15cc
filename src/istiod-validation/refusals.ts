import type { Invalid } from "../kube/invalid.ts";
import { isMeshConfig } from "../kube/object.ts";
import { refusedAnnotations } from "./annotations.ts";
import { refusePeerAuthentication, refuseRequestAuthentication } from "./authentication.ts";
import { refuseAuthorizationPolicy } from "./authorization-policy.ts";
import { refuseDestinationRule } from "./destination-rule.ts";
import { refuseEnvoyFilter } from "./envoy-filter.ts";
import { refuseTrafficExtension, refuseWasmPlugin } from "./extensions.ts";
import { refusedMeshConfig } from "./mesh-config.ts";
import { fieldsOf, type ParseProblem, type Refused, type Written } from "./raw.ts";
import { refuseServiceEntry, refuseWorkloadEntry } from "./registry.ts";
import { refusedSelector } from "./selectors.ts";
import { refuseSidecar } from "./sidecar.ts";
import { refuseTelemetry } from "./telemetry.ts";
import { refuseVirtualService } from "./virtual-service.ts";
import { refuseWorkloadGroup } from "./workload-group.ts";

const kinds: ReadonlyMap<string, (written: Written) => Refused> = new Map<string, (written: Written) => Refused>([
  ["security.istio.io/AuthorizationPolicy", refuseAuthorizationPolicy],
  ["security.istio.io/PeerAuthentication", refusePeerAuthentication],
  ["security.istio.io/RequestAuthentication", refuseRequestAuthentication],
  ["networking.istio.io/DestinationRule", refuseDestinationRule],
  ["networking.istio.io/ServiceEntry", refuseServiceEntry],
  ["networking.istio.io/WorkloadEntry", refuseWorkloadEntry],
  ["networking.istio.io/WorkloadGroup", refuseWorkloadGroup],
  ["networking.istio.io/Gateway", () => []],
  ["networking.istio.io/ProxyConfig", refuseProxyConfig],
  ["networking.istio.io/Sidecar", refuseSidecar],
  ["networking.istio.io/EnvoyFilter", refuseEnvoyFilter],
  ["networking.istio.io/VirtualService", refuseVirtualService],
  ["telemetry.istio.io/Telemetry", refuseTelemetry],
  ["extensions.istio.io/WasmPlugin", refuseWasmPlugin],
  ["extensions.istio.io/TrafficExtension", refuseTrafficExtension],
]);

/** Istio pkg/config/validation/validation.go ValidateProxyConfig; the definition of the kind bounds its concurrency. */
function refuseProxyConfig({ spec }: Written): Refused {
  return refusedSelector(fieldsOf(spec["selector"])["matchLabels"], ["spec", "selector", "matchLabels"]);
}

/**
 * Why the validating webhook of istiod would refuse an object as it was written (Istio
 * pkg/webhooks/validation/server/server.go, pkg/config/validation/validation.go); empty for other kinds. Never throws.
 * Gateways, hosts of ServiceEntries and most of VirtualServices have rules of their own. Expressions in CEL are read by
 * `expressionProblem`; without it they are not checked.
 */
export function refusedByIstiod(
  raw: Record<string, unknown>,
  expressionProblem: ParseProblem = () => undefined,
): readonly Invalid[] {
  const [group = ""] = String(raw["apiVersion"]).split("/");
  if (isMeshConfig(raw)) return refusedMeshConfig(raw);
  const refuse = kinds.get(`${group}/${String(raw["kind"])}`);
  if (refuse === undefined) return [];
  const { namespace, labels } = fieldsOf(raw["metadata"]);
  const written: Written = {
    spec: fieldsOf(raw["spec"]),
    labels: fieldsOf(labels),
    namespace: typeof namespace === "string" ? namespace : undefined,
    expressionProblem,
  };
  return [...refusedAnnotations(raw), ...refuse(written)];
}
