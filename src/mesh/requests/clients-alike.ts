import type { Labels } from "../../kube/object.ts";
import { proxyConfigOf } from "../../kube/proxy-config.ts";
import { fact } from "../../view/view.ts";
import { clientsIn, type Sender, senderOf } from "../membership/clients.ts";
import { hasSameInjectors, type InjectorSettings } from "../membership/injector-selectors.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { isProxy, type Workload, workloadsOfNamespace } from "../membership/workloads.ts";
import { revisionLabel } from "../objects/labels.ts";
import { SelectorGroups } from "../objects/selector-groups.ts";
import { outboundCaptureOf } from "./outbound-capture.ts";
import { type Sidecar, selectorOfSidecar, sidecarsOfNamespace } from "../traffic/sidecar-egress.ts";

/** Workloads of a namespace that send in the same way: through the same data plane, selected by the same configuration. */
export interface ClientsAlike {
  readonly sender: Sender;
  readonly workloads: readonly Workload[];
}

/** The workloads in groups, by labels that these selectors tell apart. */
export function clientsAlike(
  namespace: Namespace,
  workloads: readonly Workload[],
  selectors: readonly Labels[],
  settings: InjectorSettings,
): readonly ClientsAlike[] {
  const groups = new SelectorGroups(selectors.map((selector) => [selector, selector] as const));
  // The groups are the same list for all labels that the same selectors select.
  const alike = Map.groupBy(workloads, ({ pod }) => groups.selecting(pod.labels));
  return [...alike.values()].flatMap((some) => {
    const [only] = some;
    if (only !== undefined && some.length === 1)
      return [{ sender: senderOf(only, namespace, settings), workloads: some }];
    const sent = Map.groupBy(
      some,
      (one) =>
        `${senderOf(one, namespace, settings)} ${one.pod.labels[revisionLabel]} ${dnsCaptureOf(one)} ${outboundCaptureOf(one)}`,
    );
    return [...sent.values()].map((group) => {
      const [first] = group;
      return { sender: first === undefined ? "unknown" : senderOf(first, namespace, settings), workloads: group };
    });
  });
}

/** What an annotation of the pods says of whether their sidecars answer DNS queries; undefined: nothing. */
export const dnsCaptureOf = ({ pod }: Workload): string | undefined =>
  proxyConfigOf(pod.annotations)?.proxyMetadata["ISTIO_META_DNS_CAPTURE"]?.replaceAll('"', "");

/** The selectors among these that tell anything apart. */
export const selecting = (selectors: readonly (Labels | undefined)[]): readonly Labels[] =>
  selectors.filter((labels) => labels !== undefined).filter((labels) => Object.keys(labels).length > 0);

/** The clients of a namespace, for all questions about what they send. */
export interface ClientsOfNamespace {
  readonly hasSidecars: boolean;
  /** The selectors of Sidecars, which count for every host. */
  readonly selectors: readonly Labels[];
  /** Without gateways and waypoints. */
  readonly workloads: readonly Workload[];
  /** The same in groups, by these selectors alone. */
  readonly alike: readonly ClientsAlike[];
  /** Gateways and waypoints too. */
  readonly byAccount: ReadonlyMap<string, readonly Workload[]>;
  /** See NamespaceClients. */
  readonly senders: ReadonlySet<Sender>;
}

/** A fact, because there can be as many questions as workloads. */
export const clientsOfNamespace = fact(
  "clientsOfNamespace",
  "Namespace",
  [workloadsOfNamespace, sidecarsOfNamespace],
  (namespace, mesh): ClientsOfNamespace => {
    const all = mesh.related(workloadsOfNamespace, namespace);
    const sidecars = mesh.related(sidecarsOfNamespace, namespace);
    mesh.visited(all.length);
    return new Clients(
      groupedIn(namespace, all, sidecars, mesh.settings),
      sidecars.length > 0,
      () => clientsIn(namespace, mesh).senders,
    );
  },
);

/** A class, because some questions ask for very many namespaces. */
class Clients implements ClientsOfNamespace {
  readonly hasSidecars: boolean;
  readonly selectors: ClientsOfNamespace["selectors"];
  readonly workloads: ClientsOfNamespace["workloads"];
  readonly alike: ClientsOfNamespace["alike"];
  readonly byAccount: ClientsOfNamespace["byAccount"];
  readonly #sendersOf: () => ReadonlySet<Sender>;

  constructor(
    { selectors, workloads, alike, byAccount }: Grouped,
    hasSidecars: boolean,
    sendersOf: () => ReadonlySet<Sender>,
  ) {
    this.hasSidecars = hasSidecars;
    this.selectors = selectors;
    this.workloads = workloads;
    this.alike = alike;
    this.byAccount = byAccount;
    this.#sendersOf = sendersOf;
  }

  /** Few questions need it. */
  get senders(): ReadonlySet<Sender> {
    return this.#sendersOf();
  }
}

type Grouped = Omit<ClientsOfNamespace, "senders" | "hasSidecars">;
interface Known {
  readonly workloads: readonly Workload[];
  readonly sidecars: readonly Sidecar[];
  readonly settings: InjectorSettings;
  readonly grouped: Grouped;
}
/** What follows from the namespace, its workloads, its Sidecars and the injectors alone is the same in every review in which these are the same. */
const known = new WeakMap<Namespace, Known>();

function groupedIn(
  namespace: Namespace,
  workloads: readonly Workload[],
  sidecars: readonly Sidecar[],
  settings: InjectorSettings,
): Grouped {
  const found = known.get(namespace);
  const hasSameObjects = found && areSame(found.workloads, workloads) && areSame(found.sidecars, sidecars);
  if (hasSameObjects === true && hasSameInjectors(found.settings, settings)) return found.grouped;
  const inOrder = workloads.toSorted(byName);
  const clients = inOrder.filter((workload) => !isProxy(workload));
  const selectors = selecting(sidecars.map(selectorOfSidecar));
  const grouped = {
    selectors,
    workloads: clients,
    alike: clientsAlike(namespace, clients, selectors, settings),
    byAccount: Map.groupBy(inOrder, ({ pod }) => pod.serviceAccountName),
  };
  known.set(namespace, { workloads, sidecars, settings, grouped });
  return grouped;
}

/** Which of several alike is named must be the same for each replica, whatever the order is in which it came to know them. */
const byName = (a: Workload, b: Workload): number =>
  compared(a.metadata.name, b.metadata.name) || compared(a.originKind, b.originKind);
const compared = (a: string, b: string): number => (a < b ? -1 : Number(a > b));

const areSame = (some: readonly unknown[], others: readonly unknown[]): boolean =>
  some.length === others.length && some.every((one, i) => one === others[i]);
