import { gatewayNamedBy } from "../mesh/gateways/listener-sets.ts";
import { backendOf, type KubernetesRoute, listenerSetsOfRoute, parentOf, weightOf } from "../mesh/gateways/routes.ts";
import { fullHost, namespaceOfHost } from "../mesh/traffic/hosts.ts";
import { type Route, routesOf, shareOf, type VirtualService } from "../mesh/traffic/virtual-services.ts";
import type { PictureDestination, PictureRoute } from "../report/mesh-picture.ts";
import type { AllMeshSettings } from "../view/settings.ts";
import type { Mesh } from "../view/view.ts";

/** The routes of one object that have destinations. */
export const pictureRoutes = (object: VirtualService | KubernetesRoute, mesh: Mesh): readonly PictureRoute[] =>
  object.kind === "VirtualService" ? ofVirtualService(object, mesh.settings) : ofKubernetesRoute(object, mesh);

function ofVirtualService(virtualService: VirtualService, { domain }: AllMeshSettings): readonly PictureRoute[] {
  const { namespace, name } = virtualService.metadata;
  const { gateways, hosts } = virtualService.spec;
  return [...routesOf(virtualService)]
    .filter(({ destinations }) => destinations.length > 0)
    .map((route) => ({
      ...{ kind: virtualService.originKind, namespace, name, hosts },
      gateways: gateways.length === 0 ? [inMesh] : gateways.map((one) => placedGateway(one, namespace)),
      destinations: destinationsOf(route, namespace, domain),
    }));
}

/** Clients in the mesh, whose requests use no gateway. */
const inMesh = "mesh";

const placedGateway = (gateway: string, namespace: string): string =>
  gateway === inMesh || gateway.includes("/") ? gateway : `${namespace}/${gateway}`;

const destinationsOf = (route: Route, namespace: string, domain: string): readonly PictureDestination[] =>
  route.destinations.map((weighted) => {
    const { destination } = weighted;
    const host = fullHost(destination.host, namespace, domain);
    const ofHost = namespaceOfHost(host, domain) ?? null;
    return { host, namespace: ofHost, subset: destination.subset || null, share: percent(shareOf(weighted, route)) };
  });

const percent = (share: number): number | null => (Number.isFinite(share) ? Math.round(share * 100) : null);

/** The Gateways that a route names, itself or by their ListenerSets. */
function gatewaysOf(route: KubernetesRoute, mesh: Mesh): readonly string[] {
  const parents = route.spec.parentRefs.map((ref) => parentOf(ref, route));
  const named = parents.filter(({ kind }) => kind === "Gateway").map((one) => `${one.namespace}/${one.name}`);
  const ofSets = mesh.related(listenerSetsOfRoute, route).flatMap((set) => gatewayNamedBy(set) ?? []);
  return [...new Set([...named, ...ofSets])];
}

/** Without hostnames, a route at a gateway is for every host, and one at a Service for the host of that Service. */
function ofKubernetesRoute(route: KubernetesRoute, mesh: Mesh): readonly PictureRoute[] {
  const { domain } = mesh.settings;
  const { namespace, name } = route.metadata;
  const { parentRefs, hostnames, rules } = route.spec;
  const parents = parentRefs.map((ref) => parentOf(ref, route));
  const services = parents.filter(({ kind }) => kind === "Service");
  const gateways = gatewaysOf(route, mesh);
  const hosts = [
    ...services.map((one) => `${one.name}.${one.namespace}.svc.${domain}`),
    ...(hostnames.length > 0 ? hostnames : gateways.length > 0 ? ["*"] : []),
  ];
  return rules
    .filter(({ backendRefs }) => backendRefs.length > 0)
    .map(({ backendRefs }) => {
      const sum = backendRefs.reduce((total, ref) => total + weightOf(ref), 0);
      return {
        ...{ kind: route.originKind, namespace, name, hosts },
        gateways: [...(services.length > 0 ? [inMesh] : []), ...gateways],
        destinations: backendRefs.map((ref) => {
          const backend = backendOf(ref, route);
          const isService = backend.kind === "Service";
          return {
            host: isService ? `${backend.name}.${backend.namespace}.svc.${domain}` : backend.name,
            namespace: isService ? backend.namespace : null,
            subset: null,
            share: sum === 0 ? 0 : percent(weightOf(ref) / sum),
          };
        }),
      };
    });
}
