import type { Labels } from "../../kube/object.ts";
import { byId } from "../../kube/identity.ts";
import { fact, type Mesh } from "../../view/view.ts";
import { Labelled } from "../objects/labelled.ts";
import { dataplaneMode, useWaypoint } from "../objects/labels.ts";
import { type Capture, captureOf, enrollmentOf } from "./capture.ts";
import { isIstiosWaypoint } from "./gateways.ts";
import { hasSameInjectors, type InjectorSettings } from "./injector-selectors.ts";
import { isTerminating, type Namespace } from "./namespaces.ts";
import { isProxy, type Workload, workloadsOfNamespace } from "./workloads.ts";

const labelsOf = ({ pod }: Workload): Labels => pod.labels;

/** The workloads of a namespace, of which nothing depends on the labels of the Namespace. The key is its name. */
export const workloadsByLabels = fact("workloadsByLabels", "key", [workloadsOfNamespace], (namespace, mesh) => {
  const all = mesh.under(workloadsOfNamespace, [namespace]);
  const { true: proxies = [], false: others = [] } = Object.groupBy(all, (one) => `${isProxy(one)}` as const);
  return { workloads: new Labelled(others, labelsOf), proxies: new Labelled(proxies, labelsOf) };
});

/** The workloads of a namespace, without proxies, and the data planes that capture them. */
export class Captured {
  readonly workloads: Labelled<Workload>;
  /** Those that are proxies themselves: gateways and waypoints. */
  readonly proxies: Labelled<Workload>;
  readonly #namespace: Namespace;
  readonly #settings: InjectorSettings;
  readonly #captures = new Map<readonly Workload[], ReadonlySet<Capture>>();
  #ambient: Labelled<Workload> | undefined;

  constructor(
    namespace: Namespace,
    { workloads, proxies }: Pick<Captured, "workloads" | "proxies">,
    settings: InjectorSettings,
  ) {
    this.#namespace = namespace;
    this.#settings = settings;
    this.workloads = workloads;
    this.proxies = proxies;
  }

  /** The workloads that ztunnel captures. */
  get ambient(): Labelled<Workload> {
    return (this.#ambient ??= new Labelled(
      this.workloads.all.filter((workload) => captureOf(workload, this.#namespace, this.#settings) === "ambient"),
      labelsOf,
    ));
  }

  /** Whether the workloads of a selector are all captured by ztunnel, and there are some. */
  isOnlyAmbient(selector: Labels): boolean {
    const captures = this.capturesOf(selector);
    return captures.size === 1 && captures.has("ambient") && this.proxies.selected(selector).length === 0;
  }

  /**
   * Whether none of the workloads of a selector has a sidecar, and there are some. Only sidecars have what a Sidecar says; gateways and
   * waypoints see everything (Istio pilot/pkg/model/push_context.go doGetSidecarScope), and ztunnel reads none.
   */
  isWithoutSidecars(selector: Labels): boolean {
    const captures = this.capturesOf(selector);
    if (captures.has("sidecar") || captures.has("unknown")) return false;
    return captures.size > 0 || this.proxies.selected(selector).length > 0;
  }

  /** The data planes that capture the workloads of a selector. */
  capturesOf(selector: Labels): ReadonlySet<Capture> {
    const selected = this.workloads.selected(selector);
    let found = this.#captures.get(selected);
    if (found === undefined) {
      found = new Set(selected.map((workload) => captureOf(workload, this.#namespace, this.#settings)));
      this.#captures.set(selected, found);
    }
    return found;
  }
}

/** The workloads of a namespace, without proxies, and the data planes that capture them. */
export const captured = fact(
  "captured",
  "Namespace",
  [workloadsByLabels],
  (namespace, mesh) => new Captured(namespace, mesh.get(workloadsByLabels, namespace.metadata.name), mesh.settings),
);

/** Whether anything in a mesh of files shows that ambient mode is used. The cost depends on the size of the mesh. */
export function mentionsAmbient(mesh: Mesh): boolean {
  for (const gateway of mesh.all("KubernetesGateway")) if (isIstiosWaypoint(gateway, mesh.settings)) return true;
  for (const { pod } of mesh.all("Workload")) if (isMarked(pod.labels)) return true;
  for (const kind of ["Namespace", "Service"] as const)
    for (const { metadata } of mesh.all(kind)) if (isMarked(metadata.labels)) return true;
  return false;
}
const isMarked = (labels: Labels): boolean => labels[dataplaneMode] === "ambient" || labels[useWaypoint] !== undefined;

interface Ambient {
  readonly settings: InjectorSettings;
  readonly namespaces: readonly Namespace[];
}
const ambient = new WeakMap<readonly Namespace[], Ambient>();

/** The namespaces with enrollment `ambient`, sorted by name. All mesh-wide policies relate to one list, which is searched once. */
export function ambientAmong(namespaces: readonly Namespace[], settings: InjectorSettings): readonly Namespace[] {
  const known = ambient.get(namespaces);
  if (known !== undefined && hasSameInjectors(known.settings, settings)) return known.namespaces;
  const found = namespaces
    .filter((namespace) => enrollmentOf(namespace, settings) === "ambient" && !isTerminating(namespace))
    .sort(byId);
  ambient.set(namespaces, { settings, namespaces: found });
  return found;
}
