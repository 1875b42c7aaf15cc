import { hostOwners, isFollowedAt } from "../traffic/host-owners.ts";
import { fullHost } from "../traffic/hosts.ts";
import { registeredHost } from "../traffic/registry.ts";
import { followerScopes } from "../traffic/sidecar-scope.ts";
import { gatewaysOf, isDelegate, meshGateway, rootsOfDelegate } from "../traffic/virtual-service-clients.ts";
import type { VirtualService } from "../traffic/virtual-services.ts";
import { fact, type MeshView } from "../../view/view.ts";
import { ambientHost, ambientHostReads } from "./ambient-hosts.ts";
import { isUsable } from "./bindings.ts";

const reads = [hostOwners, followerScopes, registeredHost, ...ambientHostReads] as const;

/**
 * Whether no proxy follows a VirtualService, because others have its hosts for every sidecar. Waypoints have the routes of all of them
 * (Istio pilot/pkg/networking/core/listener_waypoint.go getVirtualServiceForWaypoint). A delegate is hidden with all its roots.
 * Sidecars, which can hide the others, are known.
 */
export const isHiddenByOthers = fact(
  "isHiddenByOthers",
  "VirtualService",
  [...reads, rootsOfDelegate],
  (virtualService, mesh): boolean => {
    if (!mesh.knows("Sidecar")) return false;
    if (!isDelegate(virtualService)) return isHidden(virtualService, mesh);
    const roots = mesh.related(rootsOfDelegate, virtualService);
    return roots.length > 0 && roots.every((root) => isHidden(root, mesh));
  },
);

function isHidden(virtualService: VirtualService, mesh: MeshView<(typeof reads)[number]>): boolean {
  if ([...gatewaysOf(virtualService)].some((gateway) => gateway !== meshGateway)) return false;
  const scopes = mesh.get(followerScopes, virtualService);
  const { metadata, spec } = virtualService;
  return spec.hosts.every((said) => {
    const host = fullHost(said, metadata.namespace, mesh.settings.domain).toLowerCase();
    if (isFollowedAt(virtualService, mesh.get(hostOwners, host), [], scopes)) return false;
    return !mesh.get(registeredHost, host).definitions.some((one) => isUsable(ambientHost(one, mesh)?.binding));
  });
}
