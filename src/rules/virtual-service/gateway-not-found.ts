import { absent } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { isGenerated } from "../../mesh/gateways/attachment.ts";
import { kubernetesGatewayByName } from "../../mesh/objects/indexes.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import {
  fullGatewayName,
  gatewaysOf,
  gatewaysOfVirtualService,
  isDelegate,
  meshGateway,
  nameOf,
} from "../../mesh/traffic/virtual-service-clients.ts";
import type { VirtualService } from "../../mesh/traffic/virtual-services.ts";
import { fact, forWording, index, type MeshView, relation } from "../../view/view.ts";

/** A VirtualService and the Gateways of any namespace that have the name of one that it is bound to. */
const gatewaysOfSameName = relation(
  "gatewaysOfSameName",
  index("VirtualService", (virtualService) => [...gatewaysOf(virtualService)].map(ownName)),
  index("Gateway", (gateway, settings) => (isServed(gateway, settings) ? [gateway.metadata.name] : [])),
);
const ownName = (gateway: string): string => gateway.slice(gateway.indexOf("/") + 1);
const mostNamed = 3;
/** The Gateways of a name, of which one may be meant; at most three, by namespace. */
const gatewayNamesakes = fact("gatewayNamesakes", "key", [gatewaysOfSameName], (name, mesh): readonly string[] =>
  mesh.under(gatewaysOfSameName, [name]).map(nameOf).sort().slice(0, mostNamed),
);
const namesakes = forWording(gatewayNamesakes);

/** A VirtualService and the Gateways of the Gateway API with the names of those that it is bound to. */
const kubernetesGatewaysOfSameName = relation(
  "kubernetesGatewaysOfSameName",
  gatewaysOfVirtualService.from,
  kubernetesGatewayByName,
  "identity",
);
/** Whether a name is that of a Gateway of the Gateway API. */
const kubernetesGatewayNamesake = fact(
  "kubernetesGatewayNamesake",
  "key",
  [kubernetesGatewaysOfSameName],
  (name, mesh) => mesh.hasUnder(kubernetesGatewaysOfSameName, name),
);
const otherNamesake = forWording(kubernetesGatewayNamesake);
const reads = [gatewaysOfVirtualService, namesakes, otherNamesake] as const;
type View = MeshView<(typeof reads)[number]>;

export const virtualServiceGatewayNotFound = defineRule({
  id: "virtual-service-gateway-not-found",
  subject: "VirtualService",
  reads,
  onlyWithFields: ["spec.gateways", "spec.http.match.gateways", "spec.tls.match.gateways", "spec.tcp.match.gateways"],
  worksWithout: ["Gateway", "KubernetesGateway"],
  mode: "warn",
  since: "0.1.0",
  tags: ["gateway"],
  summary:
    "A VirtualService names a Gateway that does not exist, or a match names one that the VirtualService is not bound to.",
  why: "A VirtualService applies only to the proxies of the gateways that it names (Istio pilot/pkg/model/push_context.go VirtualServicesForGateway), and a match with gateways only to those of them (pilot/pkg/networking/core/route/route.go sourceMatchHTTP). With a wrong name there is no route, and the gateway answers 404. Of a Gateway of the Gateway API, istiod makes one for each listener, with a name of its own (pilot/pkg/config/kube/gateway/gateway_collection.go GatewayCollection), so that its own name is that of none.",
  fix: "Write the name of the Gateway as `namespace/name`, or create the Gateway first.",
  incident: {
    symptoms: ["no-route"],
    proxies: ["gateway"],
    seen: "Requests for the host get 404 at the gateway; a match for a gateway to which the VirtualService is not bound never takes a request.",
    wayOut: "Apply the Gateway again if it was deleted, or the previous version of the VirtualService.",
    silentWhen: "The Gateways are not known, or the name is one that Istio generates for the Gateway API.",
    page: "https://istio.io/latest/docs/reference/config/networking/virtual-service/",
  },

  *check(virtualService, mesh) {
    if (isDelegate(virtualService) || !isServed(virtualService, mesh.settings)) return;
    yield* unboundMatches(virtualService);
    if (mesh.knows("Gateway")) yield* missingGateways(virtualService, mesh);
  },
});

function* missingGateways(virtualService: VirtualService, mesh: View): Iterable<Problem> {
  const { metadata, spec } = virtualService;
  const existing = new Set(mesh.related(gatewaysOfVirtualService, virtualService).map(nameOf));
  const guess = mesh.knowsAll("Gateway") ? {} : { guess: "all Gateways" };
  for (const [i, gateway] of spec.gateways.entries()) {
    const name = fullGatewayName(gateway, metadata.namespace);
    if (name === meshGateway || existing.has(name) || isGenerated(name)) continue;
    const [namespace = "", own = ""] = name.split("/");
    yield {
      at: ["spec", "gateways", i],
      ...wordingOf(name, own, mesh),
      key: name,
      evidence: [absent("Gateway", namespace, own)],
      ...guess,
    };
  }
}

function wordingOf(name: string, own: string, mesh: View): Pick<Problem, "message" | "fix"> {
  if (mesh.get(otherNamesake, name))
    return {
      message: `Gateway ${name} is one of the Gateway API, which a VirtualService cannot name, so this VirtualService has no effect there`,
      fix: "Write an HTTPRoute whose parentRef names the Gateway.",
    };
  const message = `Gateway ${name} does not exist, so this VirtualService has no effect there`;
  const meant = mesh.get(namesakes, own).map((one) => JSON.stringify(one));
  if (meant.length === 0) return { message };
  return { message, fix: `Write the namespace of the Gateway, too. Did you mean ${meant.join(" or ")}?` };
}

/** Matches that name gateways, and none to which the VirtualService is bound. */
function* unboundMatches(virtualService: VirtualService): Iterable<Problem> {
  const { metadata, spec } = virtualService;
  const bound = gatewaysOf(virtualService);
  const isUnbound = (gateways: readonly string[]) =>
    gateways.length > 0 && !gateways.some((gateway) => bound.has(fullGatewayName(gateway, metadata.namespace)));
  const all = (["http", "tcp", "tls"] as const).flatMap((protocol) =>
    spec[protocol].flatMap(({ match }, i) =>
      match.map(({ gateways }, j) => ({ gateways, at: ["spec", protocol, i, "match", j, "gateways"] })),
    ),
  );
  for (const { gateways, at } of all)
    if (isUnbound(gateways))
      yield {
        at,
        message: `This match is never used: the VirtualService is not bound to ${gateways.map((one) => JSON.stringify(one)).join(" or ")}`,
        fix: "Add the gateway to `spec.gateways`, or correct its name in the match.",
      };
}
