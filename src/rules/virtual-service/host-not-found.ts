import { absent, absentHere } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { fullHost, isWildcard, namespaceOfHost } from "../../mesh/traffic/hosts.ts";
import { missingHost } from "../../mesh/traffic/missing-host.ts";
import {
  isCoveredByWildcard,
  isRegistryComplete,
  isUndefinedHost,
  registeredHost,
  registryReads,
} from "../../mesh/traffic/registry.ts";
import { hostsOf } from "../../mesh/traffic/virtual-service-choices.ts";
import { gatewaysOf, isDelegate, meshGateway, rootsOfDelegate } from "../../mesh/traffic/virtual-service-clients.ts";
import { trafficOf, type VirtualService } from "../../mesh/traffic/virtual-services.ts";
import type { MeshSettings } from "../../view/settings.ts";
import type { MeshView } from "../../view/view.ts";

const reads = [missingHost, ...registryReads, rootsOfDelegate] as const;
type View = MeshView<(typeof reads)[number]>;

export const virtualServiceHostNotFound = defineRule({
  id: "virtual-service-host-not-found",
  subject: "VirtualService",
  reads,
  worksWithout: ["KubernetesGateway"],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  summary:
    "A VirtualService for the mesh has the host of a Service that does not exist, or gets one that the mesh does not know in place of one that it knows, or none.",
  why: "Sidecars and waypoints use a VirtualService for the requests to its hosts. A name without a dot is completed with the namespace of the VirtualService (Istio pilot/pkg/model/config.go ResolveShortnameToFQDN), so that a misspelt name, or one of another namespace, is that of a Service which nobody can call: DNS does not know it, and what is written for the Service has no effect (pilot/pkg/networking/core/route/route.go buildSidecarVirtualHostsForVirtualService). Without hosts, it is a delegate, which has an effect only where another VirtualService delegates to it (pilot/pkg/model/virtualservice_controller.go mergeVirtualServices).",
  fix: "Write the host of the Service as its clients call it, with its namespace if it is another one: `NAME.NAMESPACE.svc.cluster.local`.",
  incident: {
    symptoms: ["other-destination"],
    proxies: ["sidecar", "waypoint"],
    seen: "Requests to the intended Service are sent as if there were no VirtualService: without its weights, timeouts, retries and matches.",
    wayOut: "Correct the host, or apply the previous version.",
    silentWhen:
      "The VirtualService is for gateways alone; the host is a wildcard, one that a wildcard of a ServiceEntry covers, one outside the domain of the cluster that replaces none which the mesh knows, or one for a cluster set, or that of the Service `NAME-CLASS` that istiod creates for a Gateway of the Gateway API; a route sends requests to the same host, which virtual-service-destination-not-found is about; or the VirtualService is new and no Service has a similar name, because the Service can follow.",
    page: "https://istio.io/latest/docs/reference/config/networking/virtual-service/",
  },

  *check(virtualService, mesh) {
    // A VirtualService is often applied before its Service, and it has a version only when it is stored.
    const isStored = virtualService.metadata.resourceVersion !== undefined;
    for (const problem of problemsOf(virtualService, mesh))
      yield problem === undefined || isStored || problem.fix !== undefined
        ? problem
        : { ...problem, harmsNobody: follows };
  },

  *compare(before, after) {
    yield* withoutHosts(before.object, after);
    yield* inPlaceOfKnown(before, after);
    let old: ReadonlySet<string | undefined> | undefined;
    for (const problem of problemsOf(after.object, after.mesh)) {
      yield;
      if (problem === undefined) continue;
      old ??= new Set(Array.from(problemsOf(before.object, before.mesh), (one) => one?.key));
      yield old.has(problem.key) ? { ...problem, existed: true } : problem;
    }
  },
});

const follows = "the VirtualService is new, no Service has a similar name, and its Service can follow";

interface Side {
  readonly object: VirtualService;
  readonly mesh: View;
}

/** A VirtualService that becomes a delegate, by accident if nothing delegates to it. */
function* withoutHosts(before: VirtualService, { object, mesh }: Side): Iterable<Problem> {
  if (isDelegate(before) || !isDelegate(object) || !isServed(object, mesh.settings)) return;
  if (mesh.related(rootsOfDelegate, object).length > 0) return;
  yield {
    at: ["spec"],
    message:
      "Without hosts, the VirtualService is a delegate, and no VirtualService delegates to it, so it has no effect",
    key: "no hosts",
    fix: "Write the hosts again, or name it as the `delegate` of a route with hosts.",
    ...(mesh.knowsAll("VirtualService") ? {} : { guess: "all VirtualServices" }),
  };
}

/**
 * Hosts in another form than those of Services can be called without the mesh knowing them. One that replaces a host that it knows is a
 * mistake.
 */
function* inPlaceOfKnown(before: Side, { object, mesh }: Side): Iterable<Problem> {
  if (!isForMesh(object, mesh.settings) || !isForMesh(before.object, before.mesh.settings)) return;
  const [old, now] = [hostsOf(before.object, before.mesh.settings), hostsOf(object, mesh.settings)];
  const had = new Set(old);
  const added = now.flatMap((host, i) => (!had.has(host) && isUnknown(host, mesh) ? [{ host, i }] : []));
  if (added.length === 0) return;
  const has = new Set(now);
  const known = old.find(
    (host) => !has.has(host) && !isWildcard(host) && !isUndefinedHost(before.mesh.get(registeredHost, host)),
  );
  if (known === undefined) return;
  for (const { host, i } of added)
    yield {
      at: ["spec", "hosts", i],
      message: `"${host}" is no Service and no ServiceEntry, and requests to "${known}" no longer use the VirtualService`,
      key: `${host} for ${known}`,
      evidence: [absent("ServiceEntry", "")],
      ...(isRegistryComplete(mesh) ? {} : { guess: "all Services and ServiceEntries" }),
    };
}

const isUnknown = (host: string, mesh: View): boolean =>
  host.includes(".") &&
  !isWildcard(host) &&
  namespaceOfHost(host, mesh.settings.domain) === undefined &&
  isUndefinedHost(mesh.get(registeredHost, host)) &&
  !isCoveredByWildcard(host, mesh);

/** The problems of its hosts; undefined between them, where a review can give way. */
function* problemsOf(virtualService: VirtualService, mesh: View): Generator<Problem | undefined, undefined> {
  if (!isForMesh(virtualService, mesh.settings)) return;
  const full = (host: string): string => fullHost(host, virtualService.metadata.namespace, mesh.settings.domain);
  let destinations: ReadonlySet<string> | undefined;
  for (const [i, said] of virtualService.spec.hosts.entries()) {
    const host = full(said).toLowerCase();
    const missing = missingService(host, mesh);
    if (missing === undefined) continue;
    yield;
    destinations ??= new Set(trafficOf(virtualService).map(({ destination }) => full(destination.host)));
    if (!destinations.has(host)) yield { ...missing, at: ["spec", "hosts", i] };
  }
}

const isForMesh = (virtualService: VirtualService, settings: MeshSettings): boolean =>
  isServed(virtualService, settings) && !isDelegate(virtualService) && gatewaysOf(virtualService).has(meshGateway);

/** What is wrong with a host that has the form of a Service's; undefined: nothing, or it has another form. */
function missingService(host: string, mesh: View): Omit<Problem, "at"> | undefined {
  const namespace = namespaceOfHost(host, mesh.settings.domain);
  const missing = namespace === undefined ? undefined : mesh.get(missingHost, host);
  if (namespace === undefined || missing === undefined || isCoveredByWildcard(host, mesh)) return undefined;
  const { message, fix, guess, isPartial } = missing;
  return {
    message: `${message}, so the VirtualService has no effect for this host`,
    key: host,
    evidence: [absentHere("Service", namespace, host.split(".", 1)[0] ?? "")],
    ...(guess === undefined ? {} : { guess }),
    ...(isPartial ? { guessOf: "partial" as const } : {}),
    ...(fix === undefined ? {} : { fix }),
  };
}
