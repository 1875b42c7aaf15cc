import type { ObjectOf } from "../../kube/object.ts";
import type { InjectorSelectors, KnownInjectors } from "../../view/control-planes.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { injectionLabel, injectSidecar, revisionLabel } from "../objects/labels.ts";
import { type LabelSelector, selectsByExpression } from "../objects/selectors.ts";
import { injectorNamed } from "./control-plane.ts";

type Namespace = ObjectOf<"Namespace">;
type Labels = Readonly<Record<string, string>>;

/** What tells which pods the injectors are asked about. */
export type InjectorSettings = Pick<MeshSettings, "injectorSelectors">;

/**
 * Whether an injector is asked about a pod with these labels. The selectors of the webhooks decide where they are known. Elsewhere, the
 * injector is assumed to exist and to have the selectors of Istio's chart, without `enableNamespacesByDefault`
 * (manifests/charts/istio-control/istio-discovery/templates/mutatingwebhook.yaml, revision-tags-mwc.yaml).
 */
export function isInjectorAsked(pod: Labels, namespace: Namespace, settings: InjectorSettings): boolean {
  if (isAskedOfKnown(pod, namespace, settings)) return true;
  const isKnown = Object.hasOwn(settings.injectorSelectors, injectorNamed(pod, namespace));
  return !isKnown && isAskedByLabels(pod, namespace);
}

/** Whether a webhook with known selectors is asked about a pod with these labels. */
export const isAskedOfKnown = (pod: Labels, namespace: Namespace, { injectorSelectors }: InjectorSettings): boolean =>
  webhooksOf(injectorSelectors).areAsked(pod, namespace);

/** Whether the injectors are the same, so that they make no difference between these sides of a change. */
export const hasSameInjectors = (one: InjectorSettings, other: InjectorSettings): boolean =>
  one.injectorSelectors === other.injectorSelectors;

/** A Namespace with the injectors of its side of a change. */
interface Side {
  readonly namespace: Namespace;
  readonly settings: InjectorSettings;
}

/** Whether injectors are asked about the same pods of a namespace on both sides of a change, as far as webhooks are known. */
export function isInjectedAlike(before: Side, after: Side): boolean {
  const [old, now] = [before, after].map(({ settings }) => webhooksOf(settings.injectorSelectors)) as [
    Webhooks,
    Webhooks,
  ];
  if (old === now && before.namespace === after.namespace) return true;
  return old.selecting(before.namespace) === now.selecting(after.namespace);
}

/** Whether the labels ask for an injector. If a namespace has both labels, only `istio-injection` is used. */
function isAskedByLabels(pod: Labels, { metadata }: Namespace): boolean {
  const { [injectionLabel]: enabled, [revisionLabel]: ofNamespace } = metadata.labels;
  if (enabled !== undefined) return enabled === "enabled";
  if (ofNamespace !== undefined) return ofNamespace !== "";
  return pod[revisionLabel] === undefined ? pod[injectSidecar] === "true" : pod[revisionLabel] !== "";
}

const known = new WeakMap<KnownInjectors, Webhooks>();

function webhooksOf(injectors: KnownInjectors): Webhooks {
  let found = known.get(injectors);
  if (found === undefined) known.set(injectors, (found = new Webhooks(injectors)));
  return found;
}

/** The webhooks of all injectors. There can be several for each revision and tag, so they are found by the revision that they require. */
class Webhooks {
  readonly #ofNamespaces = new Map<string, InjectorSelectors[]>();
  readonly #ofPods = new Map<string, InjectorSelectors[]>();
  readonly #others: InjectorSelectors[] = [];

  /** Those that require no revision of a namespace, by the namespaces that they select: all tags have the same selector. */
  readonly #alike: readonly { readonly selector: LabelSelector; readonly pods: string }[];
  readonly #injectors: KnownInjectors;
  readonly #names: string;

  constructor(injectors: KnownInjectors) {
    this.#injectors = injectors;
    this.#names = JSON.stringify(Object.keys(injectors));
    // Those that are switched off for another tag all say the same.
    const distinct = new Map(Object.values(injectors).flatMap((all) => all.map((one) => [JSON.stringify(one), one])));
    for (const webhook of distinct.values()) this.#add(webhook);
    const free = new Set([...this.#ofPods.values(), this.#others].flat());
    const alike = Map.groupBy(free, ({ namespaceSelector }) => JSON.stringify(namespaceSelector));
    this.#alike = [...alike.values()].flatMap((all) =>
      all.slice(0, 1).map(({ namespaceSelector }) => ({ selector: namespaceSelector, pods: podsOf(all) })),
    );
  }

  areAsked(pod: Labels, namespace: Namespace): boolean {
    // In most sets of files there are none.
    if (this.#names === none) return false;
    const labels = labelsOf(namespace);
    const isAsked = ({ namespaceSelector, objectSelector }: InjectorSelectors): boolean =>
      selectsByExpression(namespaceSelector, labels) && selectsByExpression(objectSelector, pod);
    return [
      this.#ofNamespaces.get(labels[revisionLabel] ?? ""),
      this.#ofPods.get(pod[revisionLabel] ?? ""),
      this.#others,
    ].some((webhooks) => webhooks?.some(isAsked));
  }

  /** The pods of a namespace that they select, and those whose injector is known, as a text. */
  selecting(namespace: Namespace): string {
    const labels = labelsOf(namespace);
    const isByPods = labels[injectionLabel] === undefined && labels[revisionLabel] === undefined;
    const known = isByPods ? this.#names : String(Object.hasOwn(this.#injectors, injectorNamed(noLabels, namespace)));
    const own = this.#ofNamespaces.get(labels[revisionLabel] ?? "") ?? [];
    const selected = own.filter(({ namespaceSelector }) => selectsByExpression(namespaceSelector, labels));
    const others = this.#alike.filter(({ selector }) => selectsByExpression(selector, labels));
    return [known, podsOf(selected), ...others.map(({ pods }) => pods)].join("\n");
  }

  #add(webhook: InjectorSelectors): void {
    const ofNamespace = revisionsRequired(webhook.namespaceSelector);
    const ofPod = revisionsRequired(webhook.objectSelector);
    if (ofNamespace === undefined && ofPod === undefined) this.#others.push(webhook);
    const [at, revisions] = ofNamespace === undefined ? [this.#ofPods, ofPod] : [this.#ofNamespaces, ofNamespace];
    for (const revision of revisions ?? []) {
      const there = at.get(revision);
      if (there === undefined) at.set(revision, [webhook]);
      else there.push(webhook);
    }
  }
}

const podsOf = (webhooks: readonly InjectorSelectors[]): string =>
  JSON.stringify(webhooks.map(({ objectSelector }) => objectSelector));

const noLabels: Labels = Object.freeze({});
/** The names of no injectors. */
const none = JSON.stringify([]);

const nameLabel = "kubernetes.io/metadata.name";
/** The API server gives every Namespace the label with its name, which only those of files lack. This is asked for each pod. */
const labelsOf = ({ metadata: { name, labels } }: Namespace): Labels =>
  labels[nameLabel] === name ? labels : { ...labels, [nameLabel]: name };

/** The values of `istio.io/rev` without one of which a selector selects nothing; undefined: it selects without the label too. */
function revisionsRequired({ matchLabels, matchExpressions }: LabelSelector): ReadonlySet<string> | undefined {
  const required = matchLabels[revisionLabel];
  if (required !== undefined) return new Set([required]);
  const values = matchExpressions.find(({ key, operator }) => key === revisionLabel && operator === "In")?.values;
  return values && new Set(values);
}
