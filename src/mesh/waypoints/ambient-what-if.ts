import { byId } from "../../kube/identity.ts";
import type { AnyObject, ObjectOf } from "../../kube/object.ts";
import { overlay } from "../../view/overlay.ts";
import { sideOf } from "../../view/side.ts";
import type { Mesh } from "../../view/view.ts";
import { type InjectorSettings, isInjectedByDefault } from "../membership/injector-selectors.ts";
import { captureOf, type Enrollment, enrollmentOf } from "../membership/capture.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { isProxy, type Workload, workloadsOfNamespace } from "../membership/workloads.ts";
import { dataplaneMode, injectionLabel, revisionLabel } from "../objects/labels.ts";
import { isServed } from "../objects/revision.ts";
import { hostOfRule } from "../traffic/destination-rules.ts";
import { namespaceOfHost } from "../traffic/hosts.ts";
import { hostsOf } from "../traffic/virtual-service-choices.ts";
import { gatewaysOf, isDelegate, meshGateway } from "../traffic/virtual-service-clients.ts";
import { isUsable, type WaypointBinding, waypointBindingOfNamespace } from "./bindings.ts";

type OfProxies = ObjectOf<
  "EnvoyFilter" | "ProxyConfig" | "RequestAuthentication" | "Sidecar" | "Telemetry" | "WasmPlugin"
>;

/** The effects if ztunnel captured the workloads of a namespace instead of sidecars. */
export interface AmbientWhatIf {
  readonly now: Enrollment;
  /** The namespace with the label of ambient, and without those of injection. */
  readonly namespace: Namespace;
  /** The waypoint of the namespace; undefined: it names none. */
  readonly waypoint: WaypointBinding | undefined;
  readonly hasWaypoint: boolean;
  /** VirtualServices and DestinationRules for hosts of the namespace, which a waypoint uses and ztunnel does not. */
  readonly forServices: readonly AnyObject[];
  /** Those in the namespace for hosts elsewhere: clients of the namespace no longer use them. */
  readonly forClients: readonly AnyObject[];
  /** What configures sidecars alone, or selects pods by labels: it has no effect on ztunnel. */
  readonly forProxies: readonly OfProxies[];
  /** Workloads whose own labels keep a sidecar, or leave them out of the mesh. */
  readonly keepingSidecars: readonly Workload[];
  readonly outside: readonly Workload[];
}

/**
 * What ambient would leave without effect in a namespace: ztunnel reads no VirtualService, DestinationRule, Sidecar, EnvoyFilter,
 * WasmPlugin, Telemetry, ProxyConfig and RequestAuthentication (Istio pilot/pkg/serviceregistry/ambient, which sends it
 * workloads, Services, policies and waypoints alone). A waypoint uses VirtualServices and DestinationRules for its Services,
 * and objects that name it or a Service in targetRefs.
 */
export function ambientWhatIf(namespace: Namespace, mesh: Mesh): AmbientWhatIf {
  const ambient = ambientOf(namespace, mesh.settings);
  const after = sideOf(overlay(mesh, [{ old: namespace.implied ? undefined : namespace, object: ambient }]));
  const waypoint = waypointBindingOfNamespace(ambient, after);
  const workloads = mesh.related(workloadsOfNamespace, namespace).filter((workload) => !isProxy(workload));
  const captured = (as: string) =>
    workloads.filter((one) => captureOf(one, ambient, mesh.settings) === as).toSorted(byId);
  const { forServices, forClients } = routesOf(namespace.metadata.name, mesh);
  return {
    now: enrollmentOf(namespace, mesh.settings),
    namespace: ambient,
    waypoint,
    hasWaypoint: isUsable(waypoint),
    forServices,
    forClients,
    forProxies: proxyConfigOf(namespace.metadata.name, mesh),
    keepingSidecars: captured("sidecar"),
    outside: captured("none"),
  };
}

/** Where webhooks of an injector select namespaces without labels, only a label keeps it from injecting. */
function ambientOf(namespace: Namespace, settings: InjectorSettings): Namespace {
  const { [injectionLabel]: _injection, [revisionLabel]: _revision, ...rest } = namespace.metadata.labels;
  const { implied: _implied, ...known } = namespace;
  const labelled = (labels: Namespace["metadata"]["labels"]): Namespace => ({
    ...known,
    metadata: { ...namespace.metadata, labels: { ...rest, ...labels, [dataplaneMode]: "ambient" } },
  });
  const ambient = labelled({});
  return isInjectedByDefault({}, ambient, settings) !== false ? labelled({ [injectionLabel]: "disabled" }) : ambient;
}

/** VirtualServices and DestinationRules by whom they are for. */
function routesOf(name: string, mesh: Mesh): Pick<AmbientWhatIf, "forServices" | "forClients"> {
  const { settings } = mesh;
  const forServices: AnyObject[] = [];
  const forClients: AnyObject[] = [];
  const enter = (object: AnyObject, hosts: readonly string[]) => {
    const isFor = hosts.some((host) => namespaceOfHost(host, settings.domain) === name);
    if (isFor) forServices.push(object);
    else if (object.metadata.namespace === name) forClients.push(object);
  };
  for (const one of mesh.all("VirtualService"))
    if (isServed(one, settings) && !isDelegate(one) && gatewaysOf(one).has(meshGateway))
      enter(one, hostsOf(one, settings));
  for (const one of mesh.all("DestinationRule")) if (isServed(one, settings)) enter(one, [hostOfRule(one, settings)]);
  return { forServices: forServices.sort(byId), forClients: forClients.sort(byId) };
}

const proxyKinds = [
  "EnvoyFilter",
  "ProxyConfig",
  "RequestAuthentication",
  "Sidecar",
  "Telemetry",
  "WasmPlugin",
] as const;

function proxyConfigOf(name: string, mesh: Mesh): readonly OfProxies[] {
  const found: OfProxies[] = [];
  for (const kind of proxyKinds)
    for (const object of mesh.all(kind))
      if (object.metadata.namespace === name && isServed(object, mesh.settings) && !hasTargets(object))
        found.push(object);
  return found.sort(byId);
}

/** An EnvoyFilter that targets nothing but Services has no effect anywhere (pilot/pkg/model/push_context.go getMatchedEnvoyFilters). */
const hasTargets = (object: OfProxies): boolean =>
  ("targetRefs" in object.spec &&
    object.spec.targetRefs.some(({ kind }) => object.kind !== "EnvoyFilter" || kind.startsWith("Gateway"))) ||
  ("targetRef" in object.spec && object.spec.targetRef !== undefined);
