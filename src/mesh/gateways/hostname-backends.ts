import type { Path } from "../../kube/read.ts";
import { fact, index, relation } from "../../view/view.ts";
import { isExternalName, portsOf } from "../traffic/aliased-hosts.ts";
import { type Definition, entryByHost, serviceByHost } from "../traffic/definition-choice.ts";
import { gatewayByGeneratedHost } from "../traffic/generated-services.ts";
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

/** A route of the Gateway API and the Gateways for which istiod may create a Service with a host that it names as a backend. */
export const gatewaysGeneratingForHostname = relation(
  "gatewaysGeneratingForHostname",
  routeByBackendHost,
  gatewayByGeneratedHost,
  "identity",
);

/** What defines a host. */
export interface DefinedHost {
  readonly definitions: readonly Definition[];
  /** All its ports; undefined: they are not decided by them, as for an ExternalName. */
  readonly ports: ReadonlySet<number> | undefined;
}

/** Stands for all namespaces together. */
export const anyNamespace = "*";

/** What defines a host that a route names as a backend, by namespace. */
export const definitionsOfBackendHost = fact(
  "definitionsOfBackendHost",
  "key",
  [servicesOfHostnames, entriesOfHostnames],
  (host, mesh): ReadonlyMap<string, DefinedHost> => {
    const all = [...mesh.under(servicesOfHostnames, [host]), ...mesh.under(entriesOfHostnames, [host])];
    const byNamespace = Map.groupBy<string, Definition>(all, ({ metadata }) => metadata.namespace);
    if (all.length > 0) byNamespace.set(anyNamespace, all);
    return new Map([...byNamespace].map(([namespace, some]) => [namespace, definedBy(some)]));
  },
);

const definedBy = (definitions: readonly Definition[]): DefinedHost => ({
  definitions,
  ports: definitions.some(isExternalName) ? undefined : portsOf(definitions),
});
