import type { Invalid } from "../kube/invalid.ts";
import { refusePeerAuthentication, refuseRequestAuthentication } from "./authentication.ts";
import { refuseAuthorizationPolicy } from "./authorization-policy.ts";
import { refuseDestinationRule } from "./destination-rule.ts";
import { refuseEnvoyFilter, refuseScope, refuseTelemetry, refuseVirtualService, refuseWasmPlugin } from "./others.ts";
import { fieldsOf, type Refused, type Written } from "./raw.ts";
import { refuseServiceEntry, refuseWorkloadEntry } from "./registry.ts";
import { refuseSidecar } from "./sidecar.ts";

const kinds: ReadonlyMap<string, (written: Written) => Refused> = new Map([
  ["security.istio.io/AuthorizationPolicy", refuseAuthorizationPolicy],
  ["security.istio.io/PeerAuthentication", refusePeerAuthentication],
  ["security.istio.io/RequestAuthentication", refuseRequestAuthentication],
  ["networking.istio.io/DestinationRule", refuseDestinationRule],
  ["networking.istio.io/ServiceEntry", refuseServiceEntry],
  ["networking.istio.io/WorkloadEntry", refuseWorkloadEntry],
  ["networking.istio.io/Sidecar", refuseSidecar],
  ["networking.istio.io/EnvoyFilter", refuseEnvoyFilter],
  ["networking.istio.io/VirtualService", refuseVirtualService],
  ["telemetry.istio.io/Telemetry", refuseTelemetry],
  ["extensions.istio.io/WasmPlugin", refuseWasmPlugin],
  ["extensions.istio.io/TrafficExtension", refuseScope],
]);

/**
 * Why the validating webhook of istiod would refuse an object as it was written (Istio
 * pkg/webhooks/validation/server/server.go, pkg/config/validation/validation.go); empty for other kinds. Never throws.
 * Gateways, hosts of ServiceEntries and routes of VirtualServices have rules of their own.
 */
export function refusedByIstiod(raw: Record<string, unknown>): readonly Invalid[] {
  const [group = ""] = String(raw["apiVersion"]).split("/");
  const refuse = kinds.get(`${group}/${String(raw["kind"])}`);
  if (refuse === undefined) return [];
  const { namespace } = fieldsOf(raw["metadata"]);
  return [...refuse({ spec: fieldsOf(raw["spec"]), namespace: typeof namespace === "string" ? namespace : undefined })];
}
