import { defineRule } from "../../engine/rule.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { fullHost, isWildcard } from "../../mesh/traffic/hosts.ts";
import { registeredHost } from "../../mesh/traffic/registry.ts";
import { type Traffic, trafficOf, type VirtualService } from "../../mesh/traffic/virtual-services.ts";
import type { MeshView } from "../../view/view.ts";

export const virtualServiceMirrorToItself = defineRule({
  id: "virtual-service-mirror-to-itself",
  subject: "VirtualService",
  reads: [registeredHost],
  worksWithout: ["KubernetesGateway", "Service", "ServiceEntry"],
  onlyWithFields: ["spec.http.mirror", "spec.http.mirrors"],
  mode: "warn",
  since: "0.1.0",
  // A test of the load that the same pods can take may be meant.
  stage: "trial",
  tags: ["canary"],
  summary: "A route mirrors its requests to a destination that it already sends them to.",
  why: "A mirror gets a copy of each request, whichever destination of the route got the request itself (Istio pilot/pkg/networking/core/route/route.go applyHTTPRouteDestination, TranslateRequestMirrorPolicy). If both are the same host, subset and port, the same pods process requests twice: a write takes effect twice, and the load doubles.",
  fix: "Mirror to a subset that gets no share of the requests, or remove the mirror when its destination gets a share.",
  incident: {
    symptoms: ["repeated", "load"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "The application logs each request twice, and its rate doubles. The copies have the host of the requests, unless istiod runs with `DISABLE_SHADOW_HOST_SUFFIX=false`, where it ends in `-shadow`.",
    wayOut: "Remove `mirror` and `mirrors` of the route, or set the percentage to 0.",
    silentWhen:
      "The mirror goes to another subset, also one with the same pods, or to the whole host while the route names subsets.",
    page: "https://istio.io/latest/docs/tasks/traffic-management/mirroring/",
  },

  *check(virtualService, mesh) {
    if (!isServed(virtualService, mesh.settings)) return;
    const taken = new Set<string>();
    for (const traffic of trafficOf(virtualService)) {
      const { at, destination } = traffic;
      const target = targetOf(traffic, virtualService, mesh);
      const inRoute = `${String(at[2])} ${target}`;
      if (at[3] === "route") taken.add(inRoute);
      else if (taken.has(inRoute))
        yield {
          at,
          message: `Requests are mirrored to where the route sends them: ${JSON.stringify(destination.host)}${destination.subset ? ` subset ${JSON.stringify(destination.subset)}` : ""}`,
          key: target,
        };
    }
  },
});

/** The only port of a host need not be named (Istio pilot/pkg/networking/core/route/route.go GetDestinationCluster). */
function targetOf(
  { destination: { host, subset = "", port } }: Traffic,
  { metadata }: VirtualService,
  mesh: MeshView<typeof registeredHost>,
): string {
  const full = fullHost(host, metadata.namespace, mesh.settings.domain);
  const isName = full !== "" && !isWildcard(full);
  const [only, ...others] = (isName && mesh.get(registeredHost, full).ports) || [];
  return `${full} ${subset} ${port?.number ?? (others.length === 0 ? only : undefined) ?? ""}`;
}
