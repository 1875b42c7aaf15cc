import { defineRule } from "../../engine/rule.ts";
import { fullHost, namespaceOfHost } from "../../mesh/traffic/hosts.ts";
import { type HttpRoute, trafficOf, type VirtualService } from "../../mesh/traffic/virtual-services.ts";
import type { MeshSettings } from "../../view/settings.ts";

export const virtualServiceMirrorToProduction = defineRule({
  id: "virtual-service-mirror-to-production",
  subject: "VirtualService",
  reads: [],
  mode: "warn",
  since: "0.1.0",
  tags: ["canary"],
  summary: "A route mirrors its requests to a service of another namespace.",
  why: "Envoy sends a copy of each request and ignores the answer (Istio pilot/pkg/networking/core/route/route.go TranslateRequestMirrorPolicy). The service that gets the copies cannot tell them from requests of users: orders are placed twice, and credentials in headers reach another team.",
  fix: "Mirror to a service in the namespace of the route or of its destinations. If the other service is made for such copies, accept the finding with an exception.",
  incident: {
    symptoms: ["repeated"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "The service that gets the copies shows more requests than its clients send, and writes take effect twice.",
    wayOut: "Remove `mirror` and `mirrors` from the route.",
    silentWhen: "The mirror is in the namespace of the route or of one of its destinations, or its percentage is 0.",
    page: "https://istio.io/latest/docs/tasks/traffic-management/mirroring/",
  },

  *check(virtualService, { settings }) {
    for (const { at, route, destination } of trafficOf(virtualService)) {
      if (at[3] === "route" || !("mirrors" in route)) continue;
      const host = fullHost(destination.host, virtualService.metadata.namespace, settings.domain);
      const namespace = namespaceOfHost(host, settings.domain);
      if (namespace === undefined || namespacesServed(virtualService, route, settings).has(namespace)) continue;
      yield {
        at,
        message: `Requests are mirrored to "${host}", a service of namespace "${namespace}"`,
        key: JSON.stringify([host, route.name, route.match]),
      };
    }
  },
});

/** The namespaces that a route serves: those of its destinations, and that of the VirtualService. */
const namespacesServed = (
  { metadata: { namespace } }: VirtualService,
  { route }: HttpRoute,
  { domain }: MeshSettings,
): ReadonlySet<string | undefined> =>
  new Set([
    namespace,
    ...route.map(({ destination }) => namespaceOfHost(fullHost(destination.host, namespace, domain), domain)),
  ]);
