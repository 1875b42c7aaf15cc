import { absent } from "../../engine/evidence.ts";
import { defineRule } from "../../engine/rule.ts";
import { backendEffects } from "../../mesh/gateways/backend-effects.ts";
import {
  backendOf,
  backendsOf,
  grantedServices,
  grantKeyOf,
  grantsOfRoute,
  isForClients,
} from "../../mesh/gateways/routes.ts";

export const httpRouteReferenceNotGranted = defineRule({
  id: "http-route-reference-not-granted",
  subject: "KubernetesRoute",
  reads: [grantsOfRoute, grantedServices],
  mode: "warn",
  since: "0.1.0",
  tags: ["gateway"],
  summary: "A route sends requests to a Service of another namespace, where no ReferenceGrant allows it.",
  why: "The owner of a namespace decides with a ReferenceGrant who may send requests from outside to its Services. Without one, requests get 500; only routes whose parents are services need none (Istio pilot/pkg/config/kube/gateway/conversion.go buildDestination, pilot/pkg/config/kube/gatewaycommon/references.go BackendAllowed).",
  fix: "Create a ReferenceGrant in the namespace of the Service, from this kind of route and namespace, to the Service; or move the route to the namespace of the Service.",
  incident: {
    symptoms: ["backend-error"],
    proxies: ["gateway", "waypoint"],
    seen: "Requests for this backend get 500. The condition `ResolvedRefs` of the route is False, with reason `RefNotPermitted`.",
    wayOut: "Apply the ReferenceGrant again if it was deleted, or the previous version of the route.",
    silentWhen: "The Service is in the namespace of the route, or ReferenceGrants are not known.",
    page: "https://gateway-api.sigs.k8s.io/api-types/referencegrant/",
  },

  *check(route, mesh) {
    if (isForClients(route)) return;
    for (const { at, ref, isMirror } of backendsOf(route)) {
      const { kind, namespace, name } = backendOf(ref, route);
      if (kind !== "Service" || namespace === route.metadata.namespace) continue;
      const { grants, services } = mesh.get(grantedServices, grantKeyOf(route, namespace));
      if (services === undefined || services.has(name)) continue;
      yield {
        at: [...at, "namespace"],
        message: `No ReferenceGrant in namespace ${namespace} lets ${route.originKind}s of namespace ${route.metadata.namespace} use Service ${name}: ${backendEffects(route, isMirror).lost}`,
        related: grants,
        evidence: grants.length > 0 ? grants : [absent("ReferenceGrant", namespace)],
        ...(mesh.knowsAll("ReferenceGrant") ? {} : { guess: "all ReferenceGrants" }),
      };
    }
  },
});
