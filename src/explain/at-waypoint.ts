import { idOf } from "../kube/identity.ts";
import type { Workload } from "../mesh/membership/workloads.ts";
import type { WaypointBinding } from "../mesh/waypoints/bindings.ts";
import type { ExplanationLine } from "../report/explanation.ts";
import { destinationRuleLines } from "./destination-rules.ts";
import { type Inquiry, listed } from "./inquiry.ts";
import { virtualServiceLine } from "./virtual-services.ts";

/**
 * A waypoint looks DestinationRules up from its own namespace, and follows VirtualServices of its own and the service's
 * namespace only, all of them (Istio pilot/pkg/networking/core/listener_waypoint.go getWaypointVirtualServices).
 */
export function atWaypointLine(
  binding: WaypointBinding,
  { host, namespace }: { readonly host: string; readonly namespace: string | undefined },
  workloads: readonly Workload[] | undefined,
  inquiry: Inquiry,
): ExplanationLine {
  const at = binding.named.namespace;
  const { lines = [], ...virtualServices } = virtualServiceLine(at, host, inquiry);
  const followed = lines.filter(
    ({ counts, value, objects }) =>
      counts === false &&
      (value === "younger" || value === "nearer") &&
      [at, namespace].includes(objects?.[0]?.metadata.namespace),
  );
  const names = [...(virtualServices.objects ?? []), ...followed.flatMap(({ objects }) => objects ?? [])].filter(
    ({ metadata }) => [at, namespace].includes(metadata.namespace),
  );
  const rules = destinationRuleLines({ client: at, host, namespace }, workloads, inquiry);
  return {
    key: "atWaypoint",
    text: `At the waypoint, for ambient clients (looked up from ${at}):`,
    lines: [
      {
        key: "virtualService",
        text: names.length === 0 ? "No VirtualService is followed" : `VirtualServices, all of them: ${listed(names)}`,
        value: names.map(idOf),
        objects: names,
      },
      ...rules,
    ],
  };
}
