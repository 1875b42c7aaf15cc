import type { Labels } from "../../kube/object.ts";
import { KeptIn } from "../../view/kept-in.ts";
import { hasSameInjectors, type InjectorSettings } from "../membership/injector-selectors.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { isOfGateway, isProxy, type Workload, workloadPairs } from "../membership/workloads.ts";
import { Labelled } from "../objects/labelled.ts";
import { enforcerOf, isReached } from "./enforcement.ts";
import type { Enforcer } from "./rules.ts";

const known = new KeptIn<readonly Workload[], NamespaceWorkloads>();

/** If a change touches neither the namespace nor a workload in it, what is known of them is the same before and after. */
export function namespaceWorkloads(
  namespace: Namespace,
  all: readonly Workload[],
  settings: InjectorSettings,
): NamespaceWorkloads {
  // All empty lists are the same one.
  if (all.length === 0) return new NamespaceWorkloads(namespace, all, settings);
  const found = known.get(all);
  if (found?.namespace === namespace && hasSameInjectors(found.settings, settings)) return found;
  const other = new NamespaceWorkloads(namespace, all, settings);
  known.set(all, other);
  return other;
}

/** The workloads of a namespace by what authorization policies mean for them. Results are computed on demand and kept. */
export class NamespaceWorkloads {
  readonly all: readonly Workload[];
  readonly namespace: Namespace;
  readonly settings: InjectorSettings;
  #reached: readonly Workload[] | undefined;
  #protectedByLabel: Labelled<Workload> | undefined;
  #byLabel: Labelled<Workload> | undefined;
  readonly #areGateways = new Map<readonly Workload[], boolean>();

  constructor(namespace: Namespace, all: readonly Workload[], settings: InjectorSettings) {
    this.namespace = namespace;
    this.all = all;
    this.settings = settings;
  }

  /** Those that requests can reach in the mesh, and the proxies, because policies with a selector also apply to gateways. */
  get reached(): readonly Workload[] {
    return (this.#reached ??= this.all.filter((workload) => this.#isReached(workload)));
  }

  /** The workloads that policies protect: no proxies, no workloads that opt out of the mesh, no Jobs that do not listen. */
  get protectedByLabel(): Labelled<Workload> {
    return (this.#protectedByLabel ??= new Labelled(
      this.reached.filter((workload) => !isProxy(workload) && !isOfGateway(workload)),
      ({ pod }) => pod.labels,
    ));
  }

  /** Whether the workload runs a gateway and nothing else. ztunnel captures pods with a gateway's annotation like others. */
  runsGateway(workload: Workload): boolean {
    return isProxy(workload) && this.#enforcerOf(workload) === "proxy";
  }

  /**
   * Whether there are workloads with these labels, and all of them run gateways: injected ones, or a proxy and nothing else,
   * as installed by istioctl.
   */
  hasOnlyGateways(labels: Labels): boolean {
    this.#byLabel ??= new Labelled(this.all, ({ pod }) => pod.labels);
    const selected = this.#byLabel.selected(labels);
    const runsGateway = (workload: Workload) =>
      this.#isReached(workload)
        ? isOfGateway(workload) || this.runsGateway(workload)
        : workload.pod.hasProxyContainer && !workload.pod.hasOtherContainers;
    let found = this.#areGateways.get(selected);
    if (found === undefined)
      this.#areGateways.set(selected, (found = selected.length > 0 && selected.every(runsGateway)));
    return found;
  }

  /** The workloads and proxies that are there before and after a change, each with what it was. */
  *pairsWith(before: NamespaceWorkloads): Generator<readonly [before: Workload, after: Workload], undefined> {
    if (this.reached === before.reached) for (const workload of this.reached) yield [workload, workload];
    else yield* workloadPairs(before.reached, this.reached);
  }

  /** The workloads and proxies with other labels or another data plane than before, each with what it was. */
  *changedSince(before: NamespaceWorkloads): Generator<readonly [before: Workload, after: Workload], undefined> {
    const isSame = hasSameInjectors(this.settings, before.settings);
    if (this.all === before.all && isSame) return;
    const [old, now] = isSame ? [new Set(before.all), new Set(this.all)] : [noWorkloads, noWorkloads];
    const pairs = workloadPairs(
      before.all.filter((one) => !now.has(one) && before.#isReached(one)),
      this.all.filter((one) => !old.has(one) && this.#isReached(one)),
    );
    for (const [was, is] of pairs)
      if (before.#enforcerOf(was) !== this.#enforcerOf(is) || !isSameLabels(was.pod.labels, is.pod.labels))
        yield [was, is];
  }

  #isReached(workload: Workload): boolean {
    return isReached(workload, this.namespace, this.settings);
  }

  #enforcerOf(workload: Workload): Enforcer {
    return enforcerOf(workload, this.namespace, this.settings);
  }
}

const noWorkloads: ReadonlySet<Workload> = new Set();

const isSameLabels = (a: Labels, b: Labels): boolean => {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
};
