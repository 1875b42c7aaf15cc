import { defineRule } from "../../engine/rule.ts";
import { idOf, keyOf } from "../../kube/identity.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { attachesToGateway, type AuthorizationPolicy } from "../../mesh/authorization/policies.ts";
import { captureOf } from "../../mesh/membership/capture.ts";
import { readers } from "../../mesh/membership/control-plane.ts";
import { gatewaysOfNamespace } from "../../mesh/membership/gateways.ts";
import { isTerminating, type Namespace, rootOfNamespace } from "../../mesh/membership/namespaces.ts";
import { isProxy, type Workload, workloadsOfNamespace } from "../../mesh/membership/workloads.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { Labelled } from "../../mesh/objects/labelled.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";

type EnvoyFilter = ObjectOf<"EnvoyFilter">;

/** A namespace and its own EnvoyFilters with patches. */
const envoyFiltersInNamespace = relation(
  "envoyFiltersInNamespace",
  namespaceByName,
  index("EnvoyFilter", (filter, settings) =>
    isServed(filter, settings) && filter.spec.configPatches.length > 0 ? [filter.metadata.namespace] : [],
  ),
);

/** A namespace's own EnvoyFilters with patches. */
const envoyFiltersIn = fact(
  "envoyFiltersIn",
  "Namespace",
  [envoyFiltersInNamespace],
  (namespace, mesh): readonly EnvoyFilter[] => mesh.related(envoyFiltersInNamespace, namespace),
);

/**
 * The filters that apply in a namespace: its own and those of the root namespace that a control plane of its proxies reads
 * (Istio pilot/pkg/model/push_context.go EnvoyFilters). All namespaces with the same control planes share the latter.
 */
const envoyFilterLevels = fact(
  "envoyFilterLevels",
  "Namespace",
  [envoyFiltersIn, rootOfNamespace, readers],
  (namespace, mesh): readonly (readonly EnvoyFilter[])[] => {
    const [root] = mesh
      .related(rootOfNamespace, namespace)
      .filter(({ metadata }) => metadata.name !== namespace.metadata.name);
    const own = mesh.get(envoyFiltersIn, namespace);
    const found = mesh.get(readers, namespace);
    if (root === undefined) return [found.ownOfProxies(own)];
    return [found.ownOfProxies(own), found.meshWideOfProxies(mesh.get(envoyFiltersIn, root))];
  },
);

/** Whether a filter patches proxies of a namespace for certain or possibly; undefined: it does not. */
type FilterReach = "sure" | "possible" | undefined;

/** The workloads of a namespace, including gateways. Filters with the same selector share a result. */
class Patchable {
  readonly #namespace: Namespace;
  readonly #workloads: Labelled<Workload>;
  readonly #isKnown: boolean;
  readonly #reach = new Map<readonly Workload[], FilterReach>();

  constructor(namespace: Namespace, workloads: readonly Workload[], isKnown: boolean) {
    this.#namespace = namespace;
    this.#workloads = new Labelled(workloads, ({ pod }) => pod.labels);
    this.#isKnown = isKnown;
  }

  /** Whether a selector selects a sidecar or gateway. EnvoyFilters do not apply to ztunnel. */
  reachOf(selector: Readonly<Record<string, string>>): FilterReach {
    const selected = this.#workloads.selected(selector);
    if (!this.#reach.has(selected)) this.#reach.set(selected, this.#look(selected));
    return this.#reach.get(selected);
  }

  #look(workloads: readonly Workload[]): FilterReach {
    let mayBe = !this.#isKnown;
    for (const workload of workloads) {
      const capture = isProxy(workload) ? "sidecar" : captureOf(workload, this.#namespace);
      if (capture === "sidecar") return "sure";
      mayBe ||= capture === "unknown";
    }
    return mayBe ? "possible" : undefined;
  }
}

/** The proxies of a namespace that EnvoyFilters can apply to. */
const patchable = fact(
  "patchable",
  "Namespace",
  [workloadsOfNamespace],
  (namespace, mesh) =>
    new Patchable(namespace, mesh.related(workloadsOfNamespace, namespace), mesh.knowsAll("Workload")),
);

const readsEnvoyFilters = [envoyFilterLevels, gatewaysOfNamespace, patchable] as const;
type View = MeshView<(typeof readsEnvoyFilters)[number]>;

/**
 * Whether a filter patches some proxy of the namespace (Istio pilot/pkg/model/policyattachment.go ShouldAttachPolicy):
 * a sidecar or gateway by its labels, a waypoint only through targetRefs.
 */
function filterReach(filter: EnvoyFilter, namespace: Namespace, mesh: View): FilterReach {
  if (filter.spec.targetRefs.length > 0) return targetReach(filter, namespace, mesh);
  return mesh.get(patchable, namespace).reachOf(filter.spec.workloadSelector?.labels ?? noLabels);
}
const noLabels: Readonly<Record<string, string>> = Object.freeze({});

function targetReach({ metadata, spec }: EnvoyFilter, namespace: Namespace, mesh: View): FilterReach {
  // An EnvoyFilter is attached like a policy, and these functions accept policies.
  const asPolicy = { metadata, spec: { targetRefs: spec.targetRefs } } as unknown as AuthorizationPolicy;
  const isHere = metadata.namespace === namespace.metadata.name;
  const targetsService = spec.targetRefs.some(({ kind }) => kind === "Service" || kind === "ServiceEntry");
  const isAttached = mesh
    .related(gatewaysOfNamespace, namespace)
    .some(({ metadata: { name }, spec: { gatewayClassName } }) =>
      attachesToGateway(
        asPolicy,
        { name, namespace: namespace.metadata.name, isWaypoint: gatewayClassName === "istio-waypoint" },
        mesh.settings,
      ),
    );
  if (isAttached || (isHere && targetsService)) return "sure";
  return mesh.knowsAll("KubernetesGateway") ? undefined : "possible";
}

/** A filter that is new or changed. */
interface Changed {
  readonly filter: EnvoyFilter;
  readonly isNew: boolean;
}
const compared = new WeakMap<
  readonly EnvoyFilter[],
  { readonly before: readonly EnvoyFilter[]; readonly changed: readonly Changed[] }
>();

/** The mesh-wide filters are the same two lists for all namespaces, which are compared once. */
function changedIn(before: readonly EnvoyFilter[], after: readonly EnvoyFilter[]): readonly Changed[] {
  const known = compared.get(after);
  if (known?.before === before) return known.changed;
  const old = new Map(before.map((filter) => [keyOf(filter), filter]));
  const changed = after.flatMap((filter): readonly Changed[] => {
    const was = old.get(keyOf(filter));
    return was !== undefined && isSame(was, filter) ? [] : [{ filter, isNew: was === undefined }];
  });
  compared.set(after, { before, changed });
  return changed;
}

export const envoyFilterAffectsProtected = defineRule({
  id: "envoy-filter-affects-protected",
  subject: "Namespace",
  reads: readsEnvoyFilters,
  worksWithout: ["KubernetesGateway", "Workload"],
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  tags: ["mtls", "authorization"],
  summary: "A new or changed EnvoyFilter patches the proxies of a namespace.",
  why: "An EnvoyFilter rewrites what istiod generates (Istio pilot/pkg/networking/core/envoyfilter): it can remove mTLS, authorization and routes, and Istio reports nothing. One without a workloadSelector in the root namespace patches the whole mesh.",
  fix: "Ask the owner of the namespace to review the patches. If the filter is for other workloads, set their workloadSelector. Most use cases have their own API: Telemetry, AuthorizationPolicy, VirtualService, WasmPlugin.",

  *compare(before, after) {
    if (isTerminating(after.object)) return;
    const { name } = after.object.metadata;
    for (const { filter, isNew } of changedFilters(before, after)) {
      const reach = filterReach(filter, after.object, after.mesh);
      if (reach === undefined) continue;
      const what = isNew ? "patches" : "changes its patches of";
      yield {
        at: [],
        message: `${idOf(filter)} ${what} proxies of namespace ${name}, which can change their mTLS, authorization and routes`,
        key: idOf(filter),
        related: [filter],
        ...(reach === "sure" ? {} : { atMost: "warn" }),
      };
    }
  },
});

interface Side {
  readonly object: Namespace;
  readonly mesh: View;
}
function changedFilters(before: Side, after: Side): readonly Changed[] {
  const old = before.mesh.get(envoyFilterLevels, before.object);
  const now = after.mesh.get(envoyFilterLevels, after.object);
  return now.flatMap((filters, level) => changedIn(old[level] ?? [], filters));
}

const isSame = (a: EnvoyFilter, b: EnvoyFilter): boolean =>
  a === b || JSON.stringify(a.spec) === JSON.stringify(b.spec);
