import { index, type MeshView, relation } from "../../view/view.ts";
import { isServed } from "../objects/revision.ts";
import { type Definition, entryByHost, serviceByHost } from "./definition-choice.ts";
import { destinationRuleByHost } from "./destination-rules.ts";
import { gatewayByGeneratedHost } from "./generated-services.ts";
import { coveringHosts } from "./hosts.ts";
import type { Sidecar } from "./sidecar-egress.ts";

/** Where a Sidecar sends connections to hosts that its proxies do not know. */
export interface EgressProxy {
  /** As it is written: istiod does not complete a short name. */
  readonly host: string;
  readonly port: number;
  readonly subset: string | undefined;
}

/**
 * The `egressProxy` of a Sidecar, which gets what would leave the mesh otherwise (Istio pilot/pkg/networking/core/listener_builder.go
 * buildOutboundCatchAllNetworkFiltersOnly, pilot/pkg/networking/core/httproute.go buildCatchAllVirtualHost). istiod does not look whether
 * the cluster exists (pilot/pkg/networking/core/route/route.go GetDestinationCluster). It has one only with mode ALLOW_ANY and a port
 * (pkg/config/validation/validation.go validateSidecarOutboundTrafficPolicy).
 */
export function egressProxyOf({ spec }: Sidecar): EgressProxy | undefined {
  const { mode, egressProxy } = spec.outboundTrafficPolicy ?? {};
  const port = egressProxy?.port?.number;
  if (mode !== "ALLOW_ANY" || egressProxy === undefined || egressProxy.host === "" || port === undefined)
    return undefined;
  return { host: egressProxy.host, port, subset: egressProxy.subset || undefined };
}

const sidecarByEgressProxy = index("Sidecar", (sidecar, settings) => {
  const proxy = isServed(sidecar, settings) ? egressProxyOf(sidecar) : undefined;
  return proxy === undefined ? [] : [proxy.host];
});
/** A Sidecar and the Services of its egressProxy. */
const servicesOfEgressProxy = relation("servicesOfEgressProxy", sidecarByEgressProxy, serviceByHost);
/** A Sidecar and the ServiceEntries of its egressProxy. */
const entriesOfEgressProxy = relation("entriesOfEgressProxy", sidecarByEgressProxy, entryByHost);
/** A Sidecar and the Gateways for which istiod may create the Service of its egressProxy. */
const gatewaysGeneratingEgressProxy = relation(
  "gatewaysGeneratingEgressProxy",
  sidecarByEgressProxy,
  gatewayByGeneratedHost,
  "identity",
);
/** A Sidecar and every DestinationRule that can match the host of its egressProxy. */
export const rulesOfEgressProxy = relation(
  "rulesOfEgressProxy",
  index("Sidecar", (sidecar, settings) => {
    const proxy = isServed(sidecar, settings) ? egressProxyOf(sidecar) : undefined;
    return proxy?.subset === undefined ? [] : coveringHosts(proxy.host);
  }),
  destinationRuleByHost,
);

/** What {@link definitionsOfEgressProxy} reads. */
export const egressProxyReads = [servicesOfEgressProxy, entriesOfEgressProxy, gatewaysGeneratingEgressProxy] as const;

/** What defines the host of an egressProxy; undefined: istiod creates its Service, of which nothing else is known. */
export function definitionsOfEgressProxy(
  sidecar: Sidecar,
  mesh: MeshView<(typeof egressProxyReads)[number]>,
): readonly Definition[] | undefined {
  const found = [...mesh.related(servicesOfEgressProxy, sidecar), ...mesh.related(entriesOfEgressProxy, sidecar)];
  return found.length === 0 && mesh.related(gatewaysGeneratingEgressProxy, sidecar).length > 0 ? undefined : found;
}
