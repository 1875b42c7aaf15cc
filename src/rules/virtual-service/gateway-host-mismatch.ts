import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { type Attachment, attachmentsOf } from "../../mesh/gateways/attachment.ts";
import type { Gateway } from "../../mesh/gateways/servers.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import {
  fullGatewayName,
  gatewaysOfVirtualService,
  isDelegate,
  nameOf,
} from "../../mesh/traffic/virtual-service-clients.ts";
import type { VirtualService } from "../../mesh/traffic/virtual-services.ts";

export const virtualServiceGatewayHostMismatch = defineRule({
  id: "virtual-service-gateway-host-mismatch",
  subject: "VirtualService",
  reads: [gatewaysOfVirtualService],
  onlyWithFields: ["spec.gateways"],
  mode: "warn",
  since: "0.1.0",
  tags: ["gateway"],
  summary:
    "No server of a Gateway offers the hosts of a VirtualService that is bound to it, or none can use its routes.",
  why: "A server of a Gateway uses a VirtualService only for hosts that both have, that the server offers to the namespace of the VirtualService, and with routes of its protocol: `http` at HTTP and HTTPS servers, `tls` at servers that pass TLS through, `tcp` at others (Istio pilot/pkg/networking/core/gateway.go buildGatewayHTTPRouteConfig, pickMatchingGatewayHosts, createGatewayTCPFilterChainOpts). Otherwise requests for the host get 404, or the connection is closed.",
  fix: "Add the host to a server of the Gateway, for the namespace of the VirtualService, or correct the host or the name of the Gateway.",
  incident: {
    symptoms: ["no-route"],
    proxies: ["gateway"],
    seen: "Requests for the host get 404 at the gateway, or the connection is closed. The VirtualService has its effect for sidecars, if it is for them too.",
    wayOut: "Apply the previous version of the Gateway or of the VirtualService.",
    silentWhen: "The Gateway is not known, or the VirtualService is a delegate.",
    page: "https://istio.io/latest/docs/ops/common-problems/network-issues/",
  },

  *check(virtualService, mesh) {
    const { settings } = mesh;
    if (isDelegate(virtualService) || !isServed(virtualService, settings)) return;
    const gateways = mesh.related(gatewaysOfVirtualService, virtualService);
    if (gateways.length === 0) return;
    const attachmentOf = attachmentsOf(virtualService, settings);
    const places = placesOf(virtualService);
    const attachments: [Gateway, Attachment][] = [];
    for (const gateway of gateways) {
      const attachment = attachmentOf(gateway);
      mesh.visited(virtualService.spec.hosts.length);
      attachments.push([gateway, attachment]);
      const problem = problemOf(gateway, attachment, virtualService);
      yield problem && { at: ["spec", "gateways", places.get(nameOf(gateway)) ?? 0], ...problem };
    }
    // A Gateway that is not known, and sidecars, can be for all hosts.
    if (gateways.length === new Set(virtualService.spec.gateways).size)
      yield* unofferedHosts(virtualService, attachments);
  },
});

/** The position of each gateway name in `spec.gateways`. */
function placesOf({ metadata, spec }: VirtualService): ReadonlyMap<string, number> {
  const places = new Map<string, number>();
  for (const [i, gateway] of spec.gateways.entries()) {
    const name = fullGatewayName(gateway, metadata.namespace);
    if (!places.has(name)) places.set(name, i);
  }
  return places;
}

function problemOf(
  gateway: Gateway,
  { offered, protocols }: Attachment,
  { metadata, spec }: VirtualService,
): Omit<Problem, "at"> | undefined {
  const known = { related: [gateway], evidence: [gateway] };
  if (offered.size === 0)
    return {
      ...known,
      message: `${idOf(gateway)} offers none of the hosts to namespace ${metadata.namespace}, so this VirtualService has no effect there`,
    };
  const own = (["http", "tls", "tcp"] as const).filter((protocol) => spec[protocol].length > 0);
  if (own.length === 0 || own.some((protocol) => protocols.has(protocol))) return undefined;
  return {
    ...known,
    message: `The servers of ${idOf(gateway)} for these hosts use ${usable(protocols)}, and this VirtualService has only ${own.join(" and ")} routes`,
    fix: "Write routes of the protocol of the server, or change the protocol or the TLS mode of the server.",
  };
}

const usable = (protocols: Attachment["protocols"]): string =>
  protocols.size === 0 ? "no routes" : `only ${[...protocols].sort().join(" and ")} routes`;

function* unofferedHosts(
  { spec, metadata }: VirtualService,
  attachments: readonly (readonly [Gateway, Attachment])[],
): Iterable<Problem> {
  const offered = new Set(attachments.flatMap(([, attachment]) => [...attachment.offered]));
  if (offered.size === 0) return;
  // A few of them are enough to show what is offered.
  const gateways = attachments.slice(0, mostNamed).map(([gateway]) => gateway);
  const named = gateways.map((gateway) => idOf(gateway)).join(" or ");
  for (const [i, host] of spec.hosts.entries())
    if (!offered.has(i))
      yield {
        at: ["spec", "hosts", i],
        message: `No server of ${attachments.length > mostNamed ? `${named} or another Gateway` : named} offers host ${JSON.stringify(host)} to namespace ${metadata.namespace}`,
        key: host,
        related: gateways,
        evidence: gateways,
      };
}
const mostNamed = 4;
