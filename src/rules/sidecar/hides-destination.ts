import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { captured } from "../../mesh/membership/captured.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { visibleTo } from "../../mesh/traffic/export-to.ts";
import { hostOfRule } from "../../mesh/traffic/destination-rules.ts";
import { fullHost, isWildcard, namespaceOfHost } from "../../mesh/traffic/hosts.ts";
import {
  Egress,
  isForNoSidecar,
  isRegistryOnly,
  namespaceOfSidecar,
  selectorOfSidecar,
  type Sidecar,
} from "../../mesh/traffic/sidecar-egress.ts";
import { gatewaysOf, isDelegate, meshGateway } from "../../mesh/traffic/virtual-service-clients.ts";
import { hostsOf } from "../../mesh/traffic/virtual-service-choices.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, type MeshView, relation, setting } from "../../view/view.ts";

type ServiceEntry = ObjectOf<"ServiceEntry">;

/** Only Sidecars that limit what every workload of their namespace sees. */
const limitedNamespace = index("Sidecar", (sidecar, settings) =>
  isServed(sidecar, settings) && selectorOfSidecar(sidecar) === undefined && sidecar.spec.egress.length > 0
    ? [sidecar.metadata.namespace]
    : [],
);

/** A Sidecar that limits what its namespace sees, and the VirtualServices of the namespace for sidecars. */
const virtualServicesBesideSidecar = relation(
  "virtualServicesBesideSidecar",
  limitedNamespace,
  index("VirtualService", (virtualService, settings) =>
    isServed(virtualService, settings) && !isDelegate(virtualService) && gatewaysOf(virtualService).has(meshGateway)
      ? [virtualService.metadata.namespace]
      : [],
  ),
);
/** A Sidecar that limits what its namespace sees, and the ServiceEntries of the namespace. */
const serviceEntriesBesideSidecar = relation(
  "serviceEntriesBesideSidecar",
  limitedNamespace,
  index("ServiceEntry", (entry, settings) => (isServed(entry, settings) ? [entry.metadata.namespace] : [])),
);
/** A Sidecar that limits what its namespace sees, and the DestinationRules of the namespace. */
const destinationRulesBesideSidecar = relation(
  "destinationRulesBesideSidecar",
  limitedNamespace,
  index("DestinationRule", (rule, settings) => (isServed(rule, settings) ? [rule.metadata.namespace] : [])),
);

const reads = [
  virtualServicesBesideSidecar,
  serviceEntriesBesideSidecar,
  destinationRulesBesideSidecar,
  namespaceOfSidecar,
  captured,
  setting("outboundTrafficPolicy"),
] as const;

export const sidecarHidesDestination = defineRule({
  id: "sidecar-hides-destination",
  subject: "Sidecar",
  reads,
  worksWithout: ["VirtualService", "ServiceEntry", "DestinationRule", "Workload"],
  mode: "warn",
  since: "0.1.0",
  // Objects of a namespace can be meant for clients of other namespaces alone.
  stage: "trial",
  summary: "A Sidecar hides hosts from its namespace that objects of the namespace configure.",
  why: "A sidecar gets only the Services, VirtualServices and DestinationRules of the hosts that its Sidecar imports, and of the destinations of imported VirtualServices (Istio pilot/pkg/model/sidecar.go collectImportedServices). Requests for other hosts go to the address that the client looked up, without routes, load balancing and mTLS, or are refused with outboundTrafficPolicy REGISTRY_ONLY.",
  fix: "Add the host to `egress.hosts` of the Sidecar, as `namespace/host`.",
  incident: {
    symptoms: ["not-imported"],
    proxies: ["sidecar"],
    seen: "Requests for these hosts get 502 with REGISTRY_ONLY. Otherwise they go to the address that DNS gives, without mTLS, so that STRICT workloads reset them.",
    wayOut: "Add the host to `egress.hosts`, or delete the Sidecar: its workloads then import everything again.",
    silentWhen:
      "The Sidecar is in the root namespace, no workload of its namespace has a sidecar, or the objects are for Services of its own namespace and other namespaces see them, which may be meant for clients there.",
    page: "https://istio.io/latest/docs/reference/config/networking/sidecar/",
  },

  *check(sidecar, mesh) {
    if (sidecar.metadata.namespace === mesh.settings.rootNamespace || isForNoSidecar(sidecar, mesh)) return;
    const egress = new Egress(sidecar);
    const routed = new Set<string>();
    for (const virtualService of mesh.related(virtualServicesBesideSidecar, sidecar)) {
      if (egress.importsVirtualService(virtualService, mesh)) {
        for (const host of destinationsOf(virtualService, mesh.settings)) routed.add(host);
        continue;
      }
      const isForOwn = isPrivate(virtualService, mesh.settings.defaultVirtualServiceExportTo);
      // What is for a Service of its own namespace may be meant for clients elsewhere, if they see it.
      for (const host of hostsOf(virtualService, mesh.settings))
        if (isForOwn || namespaceOfHost(host, mesh.settings.domain) !== sidecar.metadata.namespace)
          yield problem(sidecar, host, `so ${idOf(virtualService)} has no effect there`, virtualService);
    }
    yield* hiddenEntries(sidecar, egress, routed, mesh);
    yield* hiddenRules(sidecar, egress, routed, mesh);
  },
});

type View = MeshView<(typeof reads)[number]>;

function* hiddenEntries(
  sidecar: Sidecar,
  egress: Egress,
  routed: ReadonlySet<string>,
  mesh: View,
): Iterable<Problem | undefined> {
  for (const entry of mesh.related(serviceEntriesBesideSidecar, sidecar)) {
    yield;
    if (isForOthers(entry)) continue;
    for (const host of entry.spec.hosts)
      if (!routed.has(host) && !egress.importsService(host, entry.metadata.namespace)) {
        const what = isRegistryOnly(sidecar, mesh.settings)
          ? "and requests for it are refused"
          : `so ${idOf(entry)} has no effect there`;
        yield problem(sidecar, host, what, entry);
      }
  }
}

/** Exported to other namespaces by name, and not to its own. */
const isForOthers = ({ metadata, spec: { exportTo } }: ServiceEntry): boolean =>
  exportTo.length > 0 && !["*", ".", metadata.namespace].some((to) => exportTo.includes(to));

/** Whether only its own namespace sees an object. */
function isPrivate(
  { metadata: { namespace }, spec }: ObjectOf<"VirtualService" | "DestinationRule">,
  defaultExportTo: readonly string[],
): boolean {
  const visible = visibleTo(spec.exportTo, namespace, defaultExportTo);
  return visible.size === 1 && visible.has(namespace);
}

/** DestinationRules for Services of other namespaces: those of its own may be for clients elsewhere, if they see them. */
function* hiddenRules(
  sidecar: Sidecar,
  egress: Egress,
  routed: ReadonlySet<string>,
  mesh: View,
): Iterable<Problem | undefined> {
  for (const rule of mesh.related(destinationRulesBesideSidecar, sidecar)) {
    yield;
    const host = hostOfRule(rule, mesh.settings);
    const namespace = namespaceOfHost(host, mesh.settings.domain);
    if (isWildcard(host) || namespace === undefined) continue;
    const isOfOwn = namespace === sidecar.metadata.namespace;
    if (isOfOwn && !isPrivate(rule, mesh.settings.defaultDestinationRuleExportTo)) continue;
    if (!routed.has(host) && !egress.importsService(host, namespace))
      yield problem(sidecar, host, `so ${idOf(rule)} has no effect there`, rule);
  }
}

function destinationsOf({ metadata, spec }: ObjectOf<"VirtualService">, { domain }: MeshSettings): Iterable<string> {
  const routes = [...spec.http, ...spec.tcp, ...spec.tls].flatMap(({ route }) => route);
  const mirrors = spec.http.flatMap(({ mirror, mirrors: all }) => [mirror, ...all.map((one) => one.destination)]);
  const destinations = [...routes.map(({ destination }) => destination), ...mirrors];
  return destinations.flatMap((one) => (one === undefined ? [] : [fullHost(one.host, metadata.namespace, domain)]));
}

const problem = (
  { metadata }: Sidecar,
  host: string,
  what: string,
  by: ObjectOf<"VirtualService" | "ServiceEntry" | "DestinationRule">,
): Problem => ({
  at: ["spec", "egress"],
  message: `Workloads in "${metadata.namespace}" do not import "${host}", ${what}`,
  key: JSON.stringify([host, idOf(by)]),
  related: [by],
  evidence: [by],
});
