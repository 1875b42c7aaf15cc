import type { AnyObject } from "../kube/object.ts";
import { boundPorts } from "../mesh/traffic/bound-ports.ts";
import { authorizationOf } from "../mesh/authorization/effective-authorization.ts";
import { actionOf } from "../mesh/authorization/policies.ts";
import { authorizationOfWorkload, defaultAnswer } from "../mesh/authorization/workload-authorization.ts";
import { enrollmentOf, type Enrollment } from "../mesh/membership/capture.ts";
import { isIstiosWaypoint } from "../mesh/membership/gateways.ts";
import type { Namespace } from "../mesh/membership/namespaces.ts";
import { isOwned, type Workload } from "../mesh/membership/workloads.ts";
import { mtlsOf, planesOfNamespace } from "../mesh/mtls/effective-mtls.ts";
import { mtlsOfWorkload } from "../mesh/mtls/workload-mtls.ts";
import { formatWaypoint, waypointBindingOfNamespace } from "../mesh/waypoints/bindings.ts";
import type { Policies } from "../policy/policies.ts";
import type {
  MeshPicture,
  PictureCaller,
  PictureGateway,
  PictureMtls,
  PictureNamespace,
} from "../report/mesh-picture.ts";
import { sideOf } from "../view/side.ts";
import type { Mesh } from "../view/view.ts";
import { listenersOfGateway } from "../mesh/gateways/listener-sets.ts";
import { pictureRoutes } from "./picture-routes.ts";

/** A page has room for so many routes; those of the first namespaces are shown. */
const mostRoutes = 6_000;

/** What the facts say about each namespace, who may call whom by name, and where requests are routed. */
export function meshPictureOf(base: Mesh, policies: Policies): MeshPicture {
  const mesh = sideOf(base);
  const workloads = groupedByNamespace([...mesh.all("Workload")].filter((workload) => !isOwned(workload)));
  const services = groupedByNamespace([...mesh.all("Service")]);
  const namespaces = [...mesh.all("Namespace")].sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  const routes = [...mesh.all("VirtualService"), ...mesh.all("KubernetesRoute")]
    .sort(byPlace)
    .flatMap((one) => pictureRoutes(one, mesh));
  return {
    rootNamespace: mesh.settings.rootNamespace,
    namespaces: namespaces.map((namespace) => ({
      ...stateOf(namespace, workloads.get(namespace.metadata.name) ?? [], mesh),
      isProtected:
        policies.protectsByName(namespace.metadata.name) || policies.protectsByLabels(namespace.metadata.labels),
      services: (services.get(namespace.metadata.name) ?? []).map(({ metadata }) => metadata.name).sort(),
    })),
    callers: callersIn(mesh),
    gateways: gatewaysIn(mesh),
    routes: routes.slice(0, mostRoutes),
    moreRoutes: Math.max(0, routes.length - mostRoutes),
  };
}

function groupedByNamespace<T extends AnyObject>(objects: readonly T[]): ReadonlyMap<string, readonly T[]> {
  return Map.groupBy(objects, ({ metadata }) => metadata.namespace);
}

const placeOf = ({ metadata: { namespace, name } }: AnyObject): string => `${namespace}/${name}`;
const byPlace = (a: AnyObject, b: AnyObject): number => (placeOf(a) < placeOf(b) ? -1 : 1);

const dataPlanes: Readonly<Record<Enrollment, PictureNamespace["dataPlane"]>> = {
  ambient: "ambient",
  sidecar: "sidecar",
  "ambient-and-sidecar": "both",
  "opted-out": "none",
  none: "none",
  unknown: "unknown",
};

function stateOf(
  namespace: Namespace,
  workloads: readonly Workload[],
  mesh: Mesh,
): Omit<PictureNamespace, "isProtected" | "services"> {
  const enrollment = enrollmentOf(namespace, mesh.settings);
  const binding = waypointBindingOfNamespace(namespace, mesh);
  return {
    name: namespace.metadata.name,
    dataPlane: dataPlanes[enrollment],
    mtls: mtlsIn(namespace, workloads, mesh),
    defaultDeny: defaultDenyIn(namespace, workloads, mesh),
    waypoint: binding === undefined ? null : formatWaypoint(binding.named),
    waypointTrouble: binding?.trouble ?? null,
    workloads: workloads.length,
  };
}

function mtlsIn(namespace: Namespace, workloads: readonly Workload[], mesh: Mesh): PictureMtls {
  const mtls = mtlsOf(namespace, mesh);
  const modes = new Set<string>();
  for (const workload of workloads) {
    const { mode, isProxy } = mtlsOfWorkload(workload, namespace, mtls, {
      settings: mesh.settings,
      bound: boundPorts(workload, mesh),
    });
    if (mode !== undefined && !isProxy) modes.add(mode.mode);
  }
  if (modes.size === 0 && dataPlanes[enrollmentOf(namespace, mesh.settings)] !== "none")
    for (const plane of planesOfNamespace(namespace, mesh.settings).planes) modes.add(mtls.wide(plane).mode);
  const [only] = modes;
  if (only === undefined) return "none";
  return modes.size > 1 ? "mixed" : (only as PictureMtls);
}

function defaultDenyIn(
  namespace: Namespace,
  workloads: readonly Workload[],
  mesh: Mesh,
): PictureNamespace["defaultDeny"] {
  const authorization = authorizationOf(namespace, mesh);
  if (workloads.length === 0) return defaultAnswer(authorization.ofLabels({})) === "open" ? "none" : "all";
  const open = workloads.filter(
    (workload) => authorizationOfWorkload(workload, namespace, authorization).answer === "open",
  );
  if (open.length === 0) return "all";
  return open.length === workloads.length ? "none" : "some";
}

/** The namespaces that ALLOW policies name, exactly. What policies of the root namespace allow is left to the default deny. */
function callersIn(mesh: Mesh): readonly PictureCaller[] {
  const callers = new Map<string, PictureCaller>();
  for (const policy of [...mesh.all("AuthorizationPolicy")].sort(byPlace)) {
    const to = policy.metadata.namespace;
    if (actionOf(policy) !== "ALLOW" || to === mesh.settings.rootNamespace) continue;
    for (const from of namespacesNamed(policy.spec.rules))
      if (from !== to && !callers.has(`${from} ${to}`))
        callers.set(`${from} ${to}`, { from, to, policy: policy.metadata.name });
  }
  return [...callers.values()];
}

type Rules = readonly {
  readonly from: readonly {
    readonly source?: { readonly namespaces: readonly string[]; readonly principals: readonly string[] } | undefined;
  }[];
}[];

function namespacesNamed(rules: Rules): ReadonlySet<string> {
  const sources = rules.flatMap(({ from }) => from.flatMap(({ source }) => source ?? []));
  const named = sources.flatMap(({ namespaces }) => namespaces.filter((name) => !name.includes("*")));
  const ofPrincipals = sources.flatMap(({ principals }) =>
    principals.flatMap((principal) => /\/ns\/([^/*]+)\/sa\//.exec(principal)?.[1] ?? []),
  );
  return new Set([...named, ...ofPrincipals]);
}

function gatewaysIn(mesh: Mesh): readonly PictureGateway[] {
  const istio = [...mesh.all("Gateway")].map(({ metadata, spec }) => ({
    ...{ kind: "Gateway", namespace: metadata.namespace, name: metadata.name },
    hosts: [...new Set(spec.servers.flatMap(({ hosts }) => hosts))],
  }));
  const kubernetes = [...mesh.all("KubernetesGateway")].map((gateway) => ({
    kind: isIstiosWaypoint(gateway, mesh.settings) ? "Waypoint" : "Gateway (gateway.networking.k8s.io)",
    namespace: gateway.metadata.namespace,
    name: gateway.metadata.name,
    hosts: [
      ...new Set(
        mesh.get(listenersOfGateway, gateway).all.flatMap(({ listener: { hostname } }) => (hostname ? [hostname] : [])),
      ),
    ],
  }));
  return [...istio, ...kubernetes].sort((a, b) => (`${a.namespace}/${a.name}` < `${b.namespace}/${b.name}` ? -1 : 1));
}
