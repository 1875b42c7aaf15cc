import { idOf } from "../../kube/identity.ts";
import { fact, index, relation } from "../../view/view.ts";
import { isDeployedByHand, type KubernetesGateway } from "../membership/gateways.ts";
import { serviceByName } from "../objects/indexes.ts";
import { isServed } from "../objects/revision.ts";

/** A Gateway of the Gateway API with the Services that its addresses name: then istiod creates no Deployment for it. */
export const servicesOfAddresses = relation(
  "servicesOfAddresses",
  index("KubernetesGateway", (gateway, { domain }) => serviceNames(gateway, domain)),
  serviceByName,
);

/** The Services of its own namespace, as `namespace/name` (push_context.go mergeGateways). */
function serviceNames(gateway: KubernetesGateway, domain: string): readonly string[] {
  const { namespace } = gateway.metadata;
  const end = `.${namespace}.svc.${domain}`;
  return hostnamesOf(gateway).flatMap((value) => {
    if (value.includes(".") && !value.endsWith(end)) return [];
    return [`${namespace}/${value.includes(".") ? value.slice(0, -end.length) : value}`];
  });
}

/** The values of the addresses that istiod reads. The definition of the kind sets the type IPAddress where there is none. */
const hostnamesOf = (gateway: KubernetesGateway): readonly string[] =>
  isDeployedByHand(gateway)
    ? gateway.spec.addresses.flatMap(({ type, value }) => (type === "Hostname" ? [value] : []))
    : [];

/** The same with the ServiceEntries of its namespace that have the host, which count like Services. */
const serviceEntriesOfAddresses = relation(
  "serviceEntriesOfAddresses",
  index("KubernetesGateway", (gateway) => hostnamesOf(gateway).map((host) => `${gateway.metadata.namespace}/${host}`)),
  index("ServiceEntry", (entry, settings) =>
    isServed(entry, settings) ? entry.spec.hosts.map((host) => `${entry.metadata.namespace}/${host}`) : [],
  ),
);

/** The ports of Services that the addresses of a Gateway name. */
interface OpenPorts {
  readonly names: string;
  readonly ports: ReadonlySet<number>;
  /** Some of them. */
  readonly shown: string;
}
const maxShown = 10;

/** Why no proxy serves a Gateway. `service`: no Service has the name of an address, in all that is known. */
export interface Unserved {
  readonly lacks: "hostname" | "service";
  /** The values of the addresses. */
  readonly names: readonly string[];
}

export interface GatewayAddresses {
  readonly unserved?: Unserved;
  /** Undefined: istiod opens every port, or what has the name of an address is not known. */
  readonly open?: OpenPorts;
}

/**
 * What the addresses of a Gateway say about its proxies: they are those of Services in its namespace, at whose ports alone listeners are
 * opened (Istio pilot/pkg/config/kube/gateway/conversion.go extractGatewayServices; pilot/pkg/model/push_context.go mergeGateways,
 * pilot/pkg/model/gateway.go resolvePorts). Without an address of type Hostname, istiod generates no server (gateway_collection.go).
 */
export const addressesOfGateway = fact(
  "addressesOfGateway",
  "KubernetesGateway",
  [servicesOfAddresses, serviceEntriesOfAddresses],
  (gateway, mesh): GatewayAddresses => {
    if (!isDeployedByHand(gateway)) return {};
    const names = hostnamesOf(gateway);
    if (names.length === 0)
      return { unserved: { lacks: "hostname", names: gateway.spec.addresses.map(({ value }) => value) } };
    // What selects the proxies of a ServiceEntry has ports of its own.
    if (mesh.related(serviceEntriesOfAddresses, gateway).length > 0) return {};
    const services = mesh.related(servicesOfAddresses, gateway);
    if (services.length === 0) return mesh.knows("Service") ? { unserved: { lacks: "service", names } } : {};
    if (services.length < names.length && !mesh.knowsAll("Service")) return {};
    const ports = new Set(services.flatMap(({ spec }) => spec.ports.flatMap(({ port }) => port ?? [])));
    const sorted = [...ports].sort((a, b) => a - b);
    const shown = [...sorted.slice(0, maxShown), ...(sorted.length > maxShown ? ["…"] : [])].join(", ");
    return { open: { names: services.map(idOf).sort().join(" or "), ports, shown } };
  },
);

/** Why a listener of a Gateway is not opened at the Services that its addresses name; undefined: it is, as far as is known. */
export function closedPort(port: number | undefined, { open }: GatewayAddresses) {
  if (open === undefined || port === undefined || open.ports.has(port)) return undefined;
  return {
    because: `${open.names}, which spec.addresses names, has no port ${port}`,
    fix: `Use a port of the Service (${open.shown}), not one of its pods, or add the port to it.`,
  };
}
