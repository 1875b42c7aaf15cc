import { defineRule } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { AnyObject, ObjectOf } from "../../kube/object.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import { servicesOfNamespace } from "../../mesh/membership/services.ts";
import { callsOfNamespace } from "../../mesh/mtls/api-server-calls.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { hostOfService, namespaceOfHost } from "../../mesh/traffic/hosts.ts";
import { hostsOf } from "../../mesh/traffic/virtual-service-choices.ts";
import { gatewaysOf, isDelegate, meshGateway } from "../../mesh/traffic/virtual-service-clients.ts";
import { fact, forWording, index, type MeshView, relation } from "../../view/view.ts";

/** A namespace and the VirtualServices, of any namespace, that route requests of sidecars for a host in it. */
const virtualServicesForHostsIn = relation(
  "virtualServicesForHostsIn",
  namespaceByName,
  index("VirtualService", (virtualService, settings) => {
    const isForSidecars =
      isServed(virtualService, settings) && !isDelegate(virtualService) && gatewaysOf(virtualService).has(meshGateway);
    const hosts = isForSidecars ? hostsOf(virtualService, settings) : [];
    return new Set(hosts.flatMap((host) => namespaceOfHost(host, settings.domain) ?? []));
  }),
);

/** What uses the Services of a namespace, by their hosts. */
const usersOfServices = fact(
  "usersOfServices",
  "Namespace",
  [virtualServicesForHostsIn, callsOfNamespace],
  (namespace, mesh): ReadonlyMap<string, readonly User[]> => usersIn(namespace, mesh),
);
/** Only a change that deletes a Service asks for its users, so a change of what uses it introduces nothing. */
const users = forWording(usersOfServices);
type View = MeshView<typeof virtualServicesForHostsIn | typeof callsOfNamespace>;

export const kubernetesServiceInUse = defineRule({
  id: "kubernetes-service-in-use",
  subject: "Namespace",
  reads: [servicesOfNamespace, users],
  worksWithout: ["VirtualService", "AdmissionWebhook"],
  mode: "warn",
  since: "0.1.0",
  summary:
    "A Service is deleted although a VirtualService still routes its host, or the API server calls it as a webhook.",
  why: "A VirtualService for the host of a Service needs the Service: without it, the name has no address, and sidecars have the routes at port 80 only (Istio pilot/pkg/networking/core/route/route.go buildSidecarVirtualHostsForVirtualService). Without the Service of a webhook with failurePolicy Fail, the API server refuses every object that the webhook is for. What still sends requests to the Service is reported by virtual-service-destination-not-found, a waypoint that is still named by waypoint-in-use and waypoint-not-found.",
  fix: "Remove the VirtualService or the webhook configuration first, then the Service.",
  incident: {
    symptoms: ["no-address", "webhook-fails"],
    proxies: ["sidecar", "gateway"],
    seen: "Clients cannot resolve the name of the Service. If it backed an admission webhook, writes that the webhook is for fail.",
    wayOut:
      "Apply the Service again. It gets another cluster IP, which clients find by its name; connections that were open are lost.",
    silentWhen:
      "Only routes to the Service are left (virtual-service-destination-not-found), a waypoint is deleted (waypoint-in-use), or the namespace itself is deleted.",
    page: "https://kubernetes.io/docs/concepts/services-networking/service/",
  },

  *compare(before, after) {
    if (isTerminating(after.object)) return;
    const there = before.mesh.related(servicesOfNamespace, before.object);
    const now = after.mesh.related(servicesOfNamespace, after.object);
    // The list is the same one if no Service changes.
    if (there === now) return;
    const left = new Set(now.map(({ metadata }) => metadata.name));
    const deleted = there.filter(({ metadata }) => !left.has(metadata.name));
    if (deleted.length === 0) return;
    const known = after.mesh.get(users, after.object);
    for (const service of deleted)
      for (const [how, user] of known.get(hostOfService(service, after.mesh.settings.domain)) ?? [])
        yield {
          at: [],
          message: `${idOf(service)} is deleted, and ${idOf(user)} still ${how}`,
          related: [user],
          evidence: [user],
        };
  },
});

type User = readonly [how: string, user: AnyObject];

function usersIn(namespace: Namespace, mesh: View): ReadonlyMap<string, readonly User[]> {
  const found = new Map<string, User[]>();
  const add = (host: string, user: User) => {
    const there = found.get(host);
    if (there === undefined) found.set(host, [user]);
    else there.push(user);
  };
  for (const virtualService of mesh.related(virtualServicesForHostsIn, namespace))
    for (const host of new Set(hostsOf(virtualService, mesh.settings)))
      if (!isDestination(virtualService, host, mesh)) add(host, ["routes requests for its host", virtualService]);
  const called = new Set<string>();
  for (const { webhook, called: one } of mesh.get(callsOfNamespace, namespace)) {
    const host = `${one.name}.${one.namespace}.svc.${mesh.settings.domain}`;
    if (!called.has(`${host} ${idOf(webhook)}`)) add(host, ["makes the API server call it", webhook]);
    called.add(`${host} ${idOf(webhook)}`);
  }
  return found;
}

/** Then another rule reports the destination. */
function isDestination(virtualService: ObjectOf<"VirtualService">, host: string, { settings }: View): boolean {
  const { namespace } = virtualService.metadata;
  return [...virtualService.spec.http, ...virtualService.spec.tcp, ...virtualService.spec.tls].some(({ route }) =>
    route.some(
      ({ destination }) =>
        destination.host === host || `${destination.host}.${namespace}.svc.${settings.domain}` === host,
    ),
  );
}
