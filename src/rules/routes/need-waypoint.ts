import { absent } from "../../engine/evidence.ts";
import { defineRule } from "../../engine/rule.ts";
import { enrollmentOf } from "../../mesh/membership/capture.ts";
import { isTerminating } from "../../mesh/membership/namespaces.ts";
import { namespaceOfService } from "../../mesh/membership/services.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { fullHost, hostOfService } from "../../mesh/traffic/hosts.ts";
import type { VirtualService } from "../../mesh/traffic/virtual-services.ts";
import {
  formatWaypoint,
  isUsable,
  servicesOfVirtualService,
  type WaypointBinding,
  waypointBindingOfService,
  waypointOfNamespace,
  waypointOfService,
} from "../../mesh/waypoints/bindings.ts";

export const routesNeedWaypoint = defineRule({
  id: "routes-need-waypoint",
  subject: "VirtualService",
  reads: [servicesOfVirtualService, namespaceOfService, waypointOfNamespace, waypointOfService],
  worksWithout: ["KubernetesGateway"],
  mode: "warn",
  since: "0.1.0",
  tags: ["ambient", "canary"],
  summary: "A VirtualService routes requests to a Service of an ambient namespace, and no waypoint is there to do it.",
  why: "Of HTTP ztunnel sees nothing, and it reads no VirtualService: a client in ambient mode reaches the Service as if the routes were not there, and nothing says so (Istio pilot/pkg/serviceregistry/ambient/waypoints.go fetchWaypointForService). Clients with a sidecar and ingress gateways follow the routes themselves.",
  fix: "Give the namespace a waypoint (`istioctl waypoint apply --namespace <namespace> --enroll-namespace`), or its Service the label `istio.io/use-waypoint`.",

  *check(virtualService, mesh) {
    if (!isServed(virtualService, mesh.settings) || !isForMesh(virtualService)) return;
    const services = mesh.related(servicesOfVirtualService, virtualService);
    const { domain } = mesh.settings;
    for (const [i, said] of virtualService.spec.hosts.entries()) {
      const host = fullHost(said, virtualService.metadata.namespace, domain);
      const service = services.find((candidate) => hostOfService(candidate, domain) === host);
      const [namespace] = service === undefined ? [] : mesh.related(namespaceOfService, service);
      if (service === undefined || namespace === undefined || isTerminating(namespace)) continue;
      if (enrollmentOf(namespace) !== "ambient") continue;
      const binding = waypointBindingOfService(service, namespace, mesh);
      if (isUsable(binding)) continue;
      yield {
        at: ["spec", "hosts", i],
        message: `Namespace ${namespace.metadata.name} is ambient and ${lackOf(binding)}: ztunnel ignores these routes for ${host}`,
        key: `no waypoint for ${host}`,
        evidence: [namespace, service, absent("KubernetesGateway", namespace.metadata.name)],
      };
    }
  },
});

/** Routes of gateways alone are followed by gateways. */
function isForMesh({ spec }: VirtualService): boolean {
  const isForClients = spec.gateways.length === 0 || spec.gateways.includes("mesh");
  return isForClients && spec.http.length + spec.tcp.length + spec.tls.length > 0;
}

const lackOf = (binding: WaypointBinding | undefined): string =>
  binding === undefined ? "has no waypoint" : `its waypoint ${formatWaypoint(binding.named)} is not usable`;
