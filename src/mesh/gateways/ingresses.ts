import type { ObjectOf } from "../../kube/object.ts";
import type { Path } from "../../kube/read.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";
import type { Service } from "../membership/services.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { serviceByName } from "../objects/indexes.ts";
import { gatewayByGeneratedService } from "../traffic/generated-services.ts";
import { coveringHosts } from "../traffic/hosts.ts";

// What istiod makes of Ingresses: a Gateway of each, and a VirtualService for each host of all of them together (Istio
// pilot/pkg/config/kube/ingress).

export type Ingress = ObjectOf<"Ingress">;
type Backend = NonNullable<Ingress["spec"]["rules"][number]["http"]>["paths"][number]["backend"];

const classAnnotation = "kubernetes.io/ingress.class";
const defaultClassAnnotation = "ingressclass.kubernetes.io/is-default-class";
const istioController = "istio.io/ingress-controller";

/**
 * Whether istiod serves an Ingress, as far as the mesh config decides it alone; undefined: the IngressClass counts, too (Istio
 * pilot/pkg/config/kube/ingress/virtualservices.go shouldProcessIngressWithClass, pilot/pkg/bootstrap/configcontroller.go
 * initConfigController).
 */
export function servedByConfig({ metadata, spec }: Ingress, { ingress }: MeshSettings): boolean | undefined {
  const { mode, className } = ingress;
  if (mode === "OFF") return false;
  const asked = metadata.annotations[classAnnotation];
  if (asked !== undefined) return isOfClasses(mode) && asked === className;
  // On creation, the API server sets the default class, which manifests do not show yet.
  const mayGetClass = metadata.creationTimestamp === undefined;
  return spec.ingressClassName === undefined && !mayGetClass ? mode === "DEFAULT" : undefined;
}
const isOfClasses = (mode: string): boolean => mode === "STRICT" || mode === "DEFAULT";

/** The key of the class of Ingresses that name none. A name of a class is never empty. */
const defaultClass = "";

/** An Ingress and the IngressClasses by which the API server or istiod finds out who serves it. */
export const classesOfIngress = relation(
  "classesOfIngress",
  index("Ingress", (ingress, settings) =>
    servedByConfig(ingress, settings) === undefined ? [ingress.spec.ingressClassName ?? defaultClass] : [],
  ),
  index("IngressClass", ({ metadata: { name, annotations } }) =>
    annotations[defaultClassAnnotation] === "true" ? [name, defaultClass] : [name],
  ),
);

/**
 * Whether istiod serves an Ingress; undefined: it depends on an IngressClass that is not known. An Ingress whose class does not exist
 * counts as one without a class.
 */
export const isServedByIstio = fact(
  "isServedByIstio",
  "Ingress",
  [classesOfIngress],
  (ingress, mesh): boolean | undefined => {
    const decided = servedByConfig(ingress, mesh.settings);
    if (decided !== undefined) return decided;
    const [one, ...others] = new Set(
      mesh.related(classesOfIngress, ingress).map(({ spec }) => spec.controller === istioController),
    );
    if (one !== undefined) return others.length === 0 ? one : undefined;
    if (mesh.settings.ingress.mode !== "DEFAULT") return mesh.knows("IngressClass") ? false : undefined;
    return mesh.knowsAll("IngressClass") ? true : undefined;
  },
);

/** How a path is compared: by all of it, or by its first segments; undefined: every path. */
export type IngressPath = { readonly exact: string } | { readonly prefix: string } | undefined;

/** A path of an Ingress, with the host that istiod uses: `*` for none. */
export interface IngressRule {
  readonly at: Path;
  readonly rule: number;
  readonly host: string;
  readonly path: IngressPath;
  readonly backend: Backend;
}

/** The paths of an Ingress, in its order. istiod ignores the default backend, and rules without paths (RuleCollection). */
export const rulesOfIngress = ({ spec }: Ingress): readonly IngressRule[] =>
  spec.rules.flatMap(({ host, http }, rule) =>
    (http?.paths ?? []).map(({ path = "", pathType, backend }, i) => ({
      ...{ at: ["spec", "rules", rule, "http", "paths", i], rule, backend },
      host: host || "*",
      path: pathOf(path, pathType),
    })),
  );

/** How istiod compares a path (convertIngressRule, createFallbackStringMatch). */
function pathOf(path: string, type: string | undefined): IngressPath {
  if (type === "Exact") return { exact: path };
  if (type === "Prefix") return { prefix: path };
  if (["", "*", "/*", ".*"].includes(path)) return undefined;
  return /(?:\.|\/)\*$/.test(path) ? { prefix: path.slice(0, -2) } : { exact: path };
}

/** The hosts for which istiod makes routes of an Ingress, with the rules that name them. */
export const hostsOfIngress = ({ spec }: Ingress): readonly { readonly host: string; readonly rule: number }[] =>
  spec.rules.flatMap(({ host, http }, rule) => (http === undefined ? [] : [{ host: host || "*", rule }]));

/** A server of the Gateway that istiod makes of an Ingress. */
export interface IngressServer {
  readonly port: 80 | 443;
  readonly hosts: readonly string[];
  /** The Secret with the certificate, for HTTPS. */
  readonly secret?: string;
  /** The position in `spec.tls`. */
  readonly tls?: number;
}

/** The servers, first those for HTTPS (Istio pilot/pkg/config/kube/ingress/gateways.go convertIngressV1alpha3). */
export const serversOfIngress = ({ spec }: Ingress): readonly IngressServer[] => [
  ...spec.tls.flatMap(({ hosts, secretName }, tls) =>
    secretName ? [{ port: 443 as const, hosts: hosts.length === 0 ? ["*"] : hosts, secret: secretName, tls }] : [],
  ),
  { port: 80, hosts: ["*"] },
];

const isPossiblyServed = (ingress: Ingress, settings: MeshSettings): boolean =>
  servedByConfig(ingress, settings) !== false;

/** Ingresses by the Services of their namespace that they name, as `namespace/name`. */
const ingressByService = index("Ingress", (ingress, settings) =>
  isPossiblyServed(ingress, settings)
    ? new Set(
        rulesOfIngress(ingress).flatMap(({ backend: { service } }) =>
          service === undefined ? [] : [`${ingress.metadata.namespace}/${service.name}`],
        ),
      )
    : [],
);
/** An Ingress that istiod may serve, and the Services that it names. */
export const servicesOfIngress = relation("servicesOfIngress", ingressByService, serviceByName);
/** An Ingress that istiod may serve, and the Gateways for which istiod may create a Service that it names. */
export const gatewaysGeneratingForIngress = relation(
  "gatewaysGeneratingForIngress",
  ingressByService,
  gatewayByGeneratedService,
  "identity",
);

/** Ingresses that istiod may serve, by their hosts. */
export const ingressByHost = index("Ingress", (ingress, settings) =>
  isPossiblyServed(ingress, settings) ? new Set(hostsOfIngress(ingress).map(({ host }) => host)) : [],
);
/** An Ingress and all Ingresses that istiod may serve with one of its hosts, itself among them. */
export const ingressesOfSameHost = relation("ingressesOfSameHost", ingressByHost, ingressByHost);

/** The number of the port of a backend; undefined: istiod makes no route for it (ingressBackendToHTTPRoute, resolveNamedPort). */
export function portOfBackend({ service }: Backend, found: Service | undefined): number | undefined {
  if (service === undefined) return undefined;
  const { number = 0, name = "" } = service.port;
  return number > 0 ? number : found?.spec.ports.find((port) => (port.name ?? "") === name)?.port;
}

/** A route that istiod makes of a path of an Ingress. */
export interface IngressRoute {
  readonly ingress: Ingress;
  readonly at: Path;
  readonly path: IngressPath;
  /** The Service, in the namespace of the Ingress. */
  readonly service: string;
  readonly port: number;
}

/** The VirtualService that istiod makes of all Ingresses with one host. */
export interface IngressHost {
  /** Its Gateway is that of this Ingress, and its namespace, too. */
  readonly first: Ingress;
  /** In the order in which they are compared. */
  readonly routes: readonly IngressRoute[];
}

/**
 * What istiod makes of all Ingresses with one host (Istio pilot/pkg/config/kube/ingress/virtualservices.go VirtualServices). Longer
 * paths come first, then exact ones, then older Ingresses. Undefined: there is none.
 */
export const ingressHost = fact(
  "ingressHost",
  "key",
  [ingressesOfSameHost, servicesOfIngress, isServedByIstio],
  (host, mesh): IngressHost | undefined => {
    const served = mesh.under(ingressesOfSameHost, [host]).filter((one) => mesh.get(isServedByIstio, one) === true);
    const all = served.toSorted(oldestFirst);
    const [first] = all;
    if (first === undefined) return undefined;
    const routes = all.flatMap((ingress) => routesFor(host, ingress, mesh));
    return { first, routes: routes.toSorted((a, b) => lengthOf(b) - lengthOf(a) || exactness(b) - exactness(a)) };
  },
);

/** What istiod makes of Ingresses for a host, and for the wildcards over it, the most specific first. */
export function* ingressHostsOver(
  host: string,
  mesh: MeshView<typeof ingressHost>,
): Generator<{ readonly name: string; readonly found: IngressHost }, undefined> {
  for (const name of coveringHosts(host)) {
    const found = mesh.get(ingressHost, name);
    if (found !== undefined) yield { name, found };
  }
}

function routesFor(host: string, ingress: Ingress, mesh: MeshView<typeof servicesOfIngress>): readonly IngressRoute[] {
  const services = new Map(mesh.related(servicesOfIngress, ingress).map((one) => [one.metadata.name, one]));
  mesh.visited(ingress.spec.rules.length);
  return rulesOfIngress(ingress).flatMap(({ at, host: own, path, backend }) => {
    if (own !== host || backend.service === undefined) return [];
    const service = backend.service.name;
    const port = portOfBackend(backend, services.get(service));
    return port === undefined ? [] : [{ ingress, at, path, service, port }];
  });
}

/** Routes without a match come as if their path had no length (sortHTTPRoutes). */
const lengthOf = ({ path }: IngressRoute): number => {
  if (path === undefined) return 0;
  return Buffer.byteLength("exact" in path ? path.exact : path.prefix);
};
const exactness = ({ path }: IngressRoute): number => Number(path !== undefined && "exact" in path);
