import type { MeshView } from "../../view/view.ts";
import type { KubernetesGateway } from "../membership/gateways.ts";
import type { ListenerSet } from "./listener-gateways.ts";
import { listenersOfGateway } from "./listener-sets.ts";
import {
  type KubernetesRoute,
  routesOfKubernetesGateway,
  routesOfListenerSet,
  streamRoutesOfGateway,
  streamRoutesOfListenerSet,
} from "./routes.ts";

/** The ListenerSets whose listeners a Gateway has. */
const setsAt = (gateway: KubernetesGateway, mesh: MeshView<typeof listenersOfGateway>): readonly ListenerSet[] =>
  [...mesh.get(listenersOfGateway, gateway).byOwner.keys()].filter((owner) => owner.kind === "ListenerSet");

const withoutRepeats = (routes: readonly KubernetesRoute[]): readonly KubernetesRoute[] => [...new Set(routes)];

/** What `routesNaming` reads. */
export const routesNamingReads = [listenersOfGateway, routesOfKubernetesGateway, routesOfListenerSet] as const;

/** The routes that name a Gateway or one of its ListenerSets as a parent, each once. */
export const routesNaming = (
  gateway: KubernetesGateway,
  mesh: MeshView<(typeof routesNamingReads)[number]>,
): readonly KubernetesRoute[] =>
  withoutRepeats([
    ...mesh.related(routesOfKubernetesGateway, gateway),
    ...setsAt(gateway, mesh).flatMap((set) => mesh.related(routesOfListenerSet, set)),
  ]);

/** What `streamRoutesNaming` reads. */
export const streamRoutesNamingReads = [listenersOfGateway, streamRoutesOfGateway, streamRoutesOfListenerSet] as const;

/** The same of routes of connections. */
export const streamRoutesNaming = (
  gateway: KubernetesGateway,
  mesh: MeshView<(typeof streamRoutesNamingReads)[number]>,
): readonly KubernetesRoute[] =>
  withoutRepeats([
    ...mesh.related(streamRoutesOfGateway, gateway),
    ...setsAt(gateway, mesh).flatMap((set) => mesh.related(streamRoutesOfListenerSet, set)),
  ]);
