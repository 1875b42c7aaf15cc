import { KeptIn } from "../../view/kept-in.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { isOfGateway, isProxy, type Workload, workloadPairs } from "../membership/workloads.ts";
import { Labelled } from "../objects/labelled.ts";
import { enforcerOf, isReached } from "./enforcement.ts";

type Labels = Readonly<Record<string, string>>;

const known = new KeptIn<readonly Workload[], NamespaceWorkloads>();

/** If a change touches neither the namespace nor a workload in it, what is known of them is the same before and after. */
export function namespaceWorkloads(namespace: Namespace, all: readonly Workload[]): NamespaceWorkloads {
  // All empty lists are the same one.
  if (all.length === 0) return new NamespaceWorkloads(namespace, all);
  let found = known.get(all);
  if (found?.namespace !== namespace) known.set(all, (found = new NamespaceWorkloads(namespace, all)));
  return found;
}

/** The workloads of a namespace by what authorization policies mean for them. Results are computed on demand and kept. */
export class NamespaceWorkloads {
  readonly all: readonly Workload[];
  readonly namespace: Namespace;
  #reached: readonly Workload[] | undefined;
  #protectedByLabel: Labelled<Workload> | undefined;
  #byLabel: Labelled<Workload> | undefined;
  readonly #areGateways = new Map<readonly Workload[], boolean>();

  constructor(namespace: Namespace, all: readonly Workload[]) {
    this.namespace = namespace;
    this.all = all;
  }

  /** Those that requests can reach in the mesh, and the proxies, because policies with a selector also apply to gateways. */
  get reached(): readonly Workload[] {
    return (this.#reached ??= this.all.filter((workload) => isReached(workload, this.namespace)));
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
    return isProxy(workload) && enforcerOf(workload, this.namespace) === "proxy";
  }

  /**
   * Whether there are workloads with these labels, and all of them run gateways: injected ones, or a proxy and nothing else,
   * as installed by istioctl.
   */
  hasOnlyGateways(labels: Labels): boolean {
    this.#byLabel ??= new Labelled(this.all, ({ pod }) => pod.labels);
    const selected = this.#byLabel.selected(labels);
    const runsGateway = (workload: Workload) =>
      isReached(workload, this.namespace)
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
    if (this.all === before.all) return;
    const [old, now] = [new Set(before.all), new Set(this.all)];
    const pairs = workloadPairs(
      before.all.filter((one) => !now.has(one) && isReached(one, before.namespace)),
      this.all.filter((one) => !old.has(one) && isReached(one, this.namespace)),
    );
    for (const [was, is] of pairs)
      if (
        enforcerOf(was, before.namespace) !== enforcerOf(is, this.namespace) ||
        !isSameLabels(was.pod.labels, is.pod.labels)
      )
        yield [was, is];
  }
}

const isSameLabels = (a: Labels, b: Labels): boolean => {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
};
