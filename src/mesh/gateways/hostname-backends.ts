import type { Path } from "../../kube/read.ts";
import { index, relation } from "../../view/view.ts";
import { entryByHost, serviceByHost } from "../traffic/definition-choice.ts";
import { type BackendObject, backendsOf, type KubernetesRoute } from "./routes.ts";

/** A backend that names a host. */
export interface HostnameBackend {
  readonly at: Path;
  readonly host: string;
}

/** Whether a backend is of the kind Hostname, which names a host of a Service or of a ServiceEntry. */
export const isHostname = ({ group, kind }: BackendObject): boolean =>
  kind === "Hostname" && group === "networking.istio.io";

/** The backends of the kind Hostname; case matters (Istio pilot/pkg/config/kube/gateway/conversion.go buildDestination). */
export const hostnameBackendsOf = (route: KubernetesRoute): readonly HostnameBackend[] =>
  [...backendsOf(route)].flatMap(({ at, ref }) => (isHostname(ref) ? [{ at, host: ref.name }] : []));

const routeByBackendHost = index(
  "KubernetesRoute",
  (route) => new Set(hostnameBackendsOf(route).map(({ host }) => host)),
);

/** A route of the Gateway API and the Services of this cluster that it names by their hosts. */
export const servicesOfHostnames = relation("servicesOfHostnames", routeByBackendHost, serviceByHost);

/** A route of the Gateway API and the ServiceEntries, of any namespace, with a host that it names as a backend. */
export const entriesOfHostnames = relation("entriesOfHostnames", routeByBackendHost, entryByHost);
