import type { Labels, ObjectOf } from "../../kube/object.ts";
import type { InjectionPolicy, InjectorSelectors, KnownInjector, KnownInjectors } from "../../view/control-planes.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { injectionLabel, injectSidecar, revisionLabel } from "../objects/labels.ts";
import { type LabelSelector, selectsByExpression } from "../objects/selectors.ts";
import { injectorNamed } from "./control-plane.ts";
import { type Refusal, refusalBy, refusalOfAll } from "./injection-policy.ts";

type Namespace = ObjectOf<"Namespace">;

/** What tells which pods the injectors inject. */
export type InjectorSettings = Pick<MeshSettings, "injection">;

/**
 * Whether an injector is asked about a pod with these labels, which asks for injection itself, and injects it; undefined: that depends on
 * `matchConditions`, which are about the whole pod and the request (Kubernetes pkg/apis/admissionregistration/types.go MatchCondition). The selectors of the webhooks decide where they are known. Elsewhere, the
 * injector is assumed to exist and to have the selectors of Istio's chart, without `enableNamespacesByDefault`
 * (manifests/charts/istio-control/istio-discovery/templates/mutatingwebhook.yaml, revision-tags-mwc.yaml).
 */
export const isInjectedOnRequest = (pod: Labels, namespace: Namespace, settings: InjectorSettings) =>
  isAskedBy(pod, { namespace, settings }, (policy) => refusalOfAll(policy) === undefined);

/** Whether an injector is asked about a pod with these labels, which say nothing about injection, and injects it; undefined as above. */
export const isInjectedByDefault = (pod: Labels, namespace: Namespace, settings: InjectorSettings) =>
  isAskedBy(pod, { namespace, settings }, (policy) => refusalBy(policy, pod) === undefined);

/** Why injectors that are asked about a pod with these labels, which say nothing about injection, leave it alone. */
export function injectorRefusal(pod: Labels, namespace: Namespace, settings: InjectorSettings): Refusal | undefined {
  let refusal: Refusal | undefined;
  isAskedBy(pod, { namespace, settings }, (policy) => {
    refusal ??= refusalBy(policy, pod);
    return false;
  });
  return refusal;
}

type Wants = (policy: InjectionPolicy | undefined) => boolean;

function isAskedBy(pod: Labels, { namespace, settings: { injection } }: Side, wants: Wants): boolean | undefined {
  const isAsked = webhooksOf(injection).areAsked(pod, namespace, wants);
  if (isAsked === true) return true;
  const assumed = injectorIn(injection, injectorNamed(pod, namespace));
  const isAssumed = assumed?.webhooks === undefined && isAskedByLabels(pod, namespace) && wants(assumed?.policy);
  return isAssumed || isAsked;
}

const injectorIn = (injection: KnownInjectors, name: string): KnownInjector | undefined =>
  Object.hasOwn(injection, name) ? injection[name] : undefined;

/** Whether a webhook with known selectors is asked about a pod with these labels, as far as they say. */
export const isAskedOfKnown = (pod: Labels, namespace: Namespace, { injection }: InjectorSettings): boolean =>
  webhooksOf(injection).areAsked(pod, namespace, () => true) !== false;

/** Whether the injectors are the same, so that they make no difference between these sides of a change. */
export const hasSameInjectors = (one: InjectorSettings, other: InjectorSettings): boolean =>
  one.injection === other.injection;

/** Whether the webhooks are the same, whatever the injectors do with the pods that they are asked about. */
export const hasSameWebhooks = (one: InjectorSettings, other: InjectorSettings): boolean =>
  hasSameInjectors(one, other) || webhooksIn(one) === webhooksIn(other);

const webhooksIn = ({ injection }: InjectorSettings): string =>
  JSON.stringify(Object.entries(injection).flatMap(([name, { webhooks }]) => (webhooks ? [[name, webhooks]] : [])));

/** A Namespace with the injectors of its side of a change. */
interface Side {
  readonly namespace: Namespace;
  readonly settings: InjectorSettings;
}

/** Whether injectors inject the same pods of a namespace on both sides of a change, as far as they are known. */
export function isInjectedAlike(before: Side, after: Side): boolean {
  const [old, now] = [before, after].map(({ settings }) => webhooksOf(settings.injection)) as [Webhooks, Webhooks];
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

/** One webhook, with the configuration of its injector. */
interface Webhook extends InjectorSelectors {
  readonly policy: InjectionPolicy | undefined;
}

/** The webhooks of all injectors. There can be several for each revision and tag, so they are found by the revision that they require. */
class Webhooks {
  readonly #ofNamespaces = new Map<string, Webhook[]>();
  readonly #ofPods = new Map<string, Webhook[]>();
  readonly #others: Webhook[] = [];

  /** Those that require no revision of a namespace, by the namespaces that they select: all tags have the same selector. */
  readonly #alike: readonly { readonly selector: LabelSelector; readonly pods: string }[];
  readonly #injectors: KnownInjectors;
  /** The injectors of which something is known, and what is assumed of the webhooks of some. */
  readonly #names: string;

  constructor(injectors: KnownInjectors) {
    this.#injectors = injectors;
    const asking = Object.entries(injectors).filter(([, { webhooks, policy }]) => (webhooks ?? policy) !== undefined);
    this.#names = JSON.stringify(asking.map(([name, injector]) => [name, assumedOf(injector)]));
    // Those that are switched off for another tag all say the same.
    const all = Object.values(injectors).flatMap(({ webhooks = [], policy }) =>
      webhooks.map((one) => ({ ...one, policy })),
    );
    const distinct = new Map(all.map((one) => [JSON.stringify(one), one]));
    for (const webhook of distinct.values()) this.#add(webhook);
    const free = new Set([...this.#ofPods.values(), this.#others].flat());
    const alike = Map.groupBy(free, ({ namespaceSelector }) => JSON.stringify(namespaceSelector));
    this.#alike = [...alike.values()].flatMap((all) =>
      all.slice(0, 1).map(({ namespaceSelector }) => ({ selector: namespaceSelector, pods: podsOf(all) })),
    );
  }

  /** Undefined: only those with conditions may be asked. */
  areAsked(pod: Labels, namespace: Namespace, wants: Wants): boolean | undefined {
    // In most sets of files there are none.
    if (this.#names === none) return false;
    const labels = labelsOf(namespace);
    const isAsked = ({ namespaceSelector, objectSelector, policy }: Webhook): boolean =>
      selectsByExpression(namespaceSelector, labels) && selectsByExpression(objectSelector, pod) && wants(policy);
    const lists = [
      this.#ofNamespaces.get(labels[revisionLabel] ?? ""),
      this.#ofPods.get(pod[revisionLabel] ?? ""),
      this.#others,
    ];
    let isPossible = false;
    for (const webhooks of lists)
      for (const webhook of webhooks ?? []) {
        if (!isAsked(webhook)) continue;
        if (webhook.matchConditions === undefined) return true;
        isPossible = true;
      }
    return isPossible ? undefined : false;
  }

  /** The pods of a namespace that they select and inject, and those whose injector is known, as a text. */
  selecting(namespace: Namespace): string {
    const labels = labelsOf(namespace);
    const isByPods = labels[injectionLabel] === undefined && labels[revisionLabel] === undefined;
    const known = isByPods ? this.#names : assumedOf(injectorIn(this.#injectors, injectorNamed(noLabels, namespace)));
    const own = this.#ofNamespaces.get(labels[revisionLabel] ?? "") ?? [];
    const selected = own.filter(({ namespaceSelector }) => selectsByExpression(namespaceSelector, labels));
    const others = this.#alike.filter(({ selector }) => selectsByExpression(selector, labels));
    return [known, podsOf(selected), ...others.map(({ pods }) => pods)].join("\n");
  }

  #add(webhook: Webhook): void {
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

const podsOf = (webhooks: readonly Webhook[]): string =>
  JSON.stringify(
    webhooks.map(({ objectSelector, matchConditions, policy }) => [objectSelector, matchConditions, policy]),
  );

/** What is assumed of an injector whose webhooks are not known, as a text. */
const assumedOf = (injector: KnownInjector | undefined): string =>
  injector?.webhooks === undefined ? JSON.stringify([injector?.policy]) : "known";

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
