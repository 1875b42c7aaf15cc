import type { AnyObject, Labels } from "../../kube/object.ts";
import { KeptIn } from "../../view/kept-in.ts";
import type { RevisionSettings, SettingsWith } from "../../view/settings.ts";
import { fact, setting } from "../../view/view.ts";
import { injectionLabel, revisionLabel } from "../objects/labels.ts";
import { areRevisionsKnown, type ControlPlane, isReadBy, revisionNamed, revisionReads } from "../objects/revision.ts";
import { isValidSelector, selectsByExpression } from "../objects/selectors.ts";
import { type Namespace, rootOfNamespace } from "./namespaces.ts";

/** The name under which Istio's injector knows the default revision, as a revision or as a tag. */
const byDefault = "default";

/**
 * The value of `istio.io/rev` that selects the injector of a pod: `istio-injection` stands for the default one and
 * takes precedence over the label of the namespace, and that over the label of the pod (Istio
 * manifests/charts/istio-control/istio-discovery/templates/mutatingwebhook.yaml).
 */
export function injectorNamed(pod: Labels, { metadata: { labels } }: Namespace): string {
  if (labels[injectionLabel] !== undefined) return byDefault;
  return labels[revisionLabel] ?? pod[revisionLabel] ?? byDefault;
}

/** Whether the injector that a pod asks for may exist: a control plane, or a tag that stands for one. */
export const isInjectorServed = (pod: Labels, namespace: Namespace, settings: RevisionSettings): boolean =>
  !areRevisionsKnown(settings) || revisionNamed(injectorNamed(pod, namespace), settings) !== undefined;

type ReaderSettings = RevisionSettings & SettingsWith<"ztunnelRevision" | "discovery">;

/** Which control planes configure the proxies of a namespace, and which objects each of them reads. */
export class Readers {
  readonly #namespace: Namespace;
  readonly #root: Namespace | undefined;
  readonly #settings: ReaderSettings;

  /** `root` is the root namespace, if it exists. */
  constructor(namespace: Namespace, root: Namespace | undefined, settings: ReaderSettings) {
    this.#namespace = namespace;
    this.#root = root;
    this.#settings = settings;
  }

  /** The control plane of the sidecar of a pod. Sidecars that run already may have another one until they restart. */
  ofSidecar(pod: Labels): ControlPlane {
    if (this.#namespace.implied) return undefined;
    return revisionNamed(injectorNamed(pod, this.#namespace), this.#settings);
  }

  /** The control plane that configures ztunnel for the whole mesh (Istio manifests/charts/ztunnel, XDS_ADDRESS). */
  get ofZtunnel(): ControlPlane {
    const { ztunnelRevision, revisions } = this.#settings;
    const only = revisions.length === 1 ? revisions[0] : undefined;
    return revisionNamed(ztunnelRevision || byDefault, this.#settings) ?? only;
  }

  /**
   * The control plane that runs a Gateway of the Gateway API: by its label, else by that of its namespace (Istio
   * pkg/revisions/tag_watcher.go IsMine).
   */
  ofGateway({ metadata }: AnyObject): ControlPlane {
    const own = metadata.labels[revisionLabel];
    if (own === undefined && this.#namespace.implied) return undefined;
    return revisionNamed(own ?? (this.#namespace.metadata.labels[revisionLabel] || byDefault), this.#settings);
  }

  /** Those of the namespace's own objects that a control plane reads; the same list if it reads all. */
  own<T extends AnyObject>(objects: readonly T[], controlPlane: ControlPlane): readonly T[] {
    return this.#read(objects, this.#namespace, controlPlane);
  }

  /** The same for objects of the root namespace. */
  meshWide<T extends AnyObject>(objects: readonly T[], controlPlane: ControlPlane): readonly T[] {
    return this.#read(objects, this.#root, controlPlane);
  }

  /**
   * Those of the namespace's own objects that a control plane of its sidecars and gateways reads. If the pods choose their
   * control plane themselves, each of them may be one.
   */
  ownOfProxies<T extends AnyObject>(objects: readonly T[]): readonly T[] {
    return this.#ofProxies((one) => this.own(objects, one), objects);
  }

  /** The same for objects of the root namespace. */
  meshWideOfProxies<T extends AnyObject>(objects: readonly T[]): readonly T[] {
    return this.#ofProxies((one) => this.meshWide(objects, one), objects);
  }

  #ofProxies<T extends AnyObject>(read: (controlPlane: ControlPlane) => readonly T[], all: readonly T[]): readonly T[] {
    const { labels } = this.#namespace.metadata;
    const isByPods = labels[injectionLabel] === undefined && labels[revisionLabel] === undefined;
    const [sidecars, gateways] = [
      read(isByPods ? undefined : this.ofSidecar({})),
      read(isByPods ? undefined : this.ofGateway(this.#namespace)),
    ];
    if (sidecars === gateways || gateways.length === 0) return sidecars;
    const some = new Set([...sidecars, ...gateways]);
    return sidecars.length === 0 ? gateways : all.filter((one) => some.has(one));
  }

  /** Whether a control plane reads what is in the namespace: its discoverySelectors select it. */
  discovers(controlPlane: ControlPlane): boolean {
    return isDiscovered(this.#namespace, controlPlane, this.#settings);
  }

  /** Whether a control plane reads an object of the namespace or of the root namespace. */
  reads(object: AnyObject, controlPlane: ControlPlane): boolean {
    return isReadBy(object, controlPlane, this.#settings) && this.discoversPlaceOf(object, controlPlane);
  }

  /** Whether its discoverySelectors select the namespace of such an object. */
  discoversPlaceOf({ metadata }: AnyObject, controlPlane: ControlPlane): boolean {
    const isOwn = metadata.namespace === this.#namespace.metadata.name;
    return isDiscovered(isOwn ? this.#namespace : this.#root, controlPlane, this.#settings);
  }

  /** Whether every control plane reads all these objects, so that it does not matter which one it is. */
  areReadByAll(own: readonly AnyObject[], meshWide: readonly AnyObject[]): boolean {
    const { revisions } = this.#settings;
    return [undefined, ...revisions].every(
      (revision) => this.own(own, revision) === own && this.meshWide(meshWide, revision) === meshWide,
    );
  }

  /** Whether the other side of a change has the same control planes for the same pods, and each reads the same. */
  isSame(other: Readers): boolean {
    return this === other || this.#text === other.#text;
  }

  get #text(): string {
    const { revisions, tags, ztunnelRevision, discovery } = this.#settings;
    const selectors = Object.keys(discovery);
    const discovered = [this.#namespace, this.#root].map((namespace) =>
      selectors.map((revision) => isDiscovered(namespace, revision, this.#settings)),
    );
    const { [injectionLabel]: injection, [revisionLabel]: revision } = this.#namespace.metadata.labels;
    return JSON.stringify([revisions, tags, ztunnelRevision, selectors, discovered, injection, revision]);
  }

  #read<T extends AnyObject>(
    objects: readonly T[],
    at: Namespace | undefined,
    controlPlane: ControlPlane,
  ): readonly T[] {
    if (objects.length === 0) return objects;
    return isDiscovered(at, controlPlane, this.#settings) ? readBy(objects, controlPlane, this.#settings) : none;
  }
}

/** Which control planes configure the proxies of a namespace, and which objects each of them reads. */
export const readers = fact(
  "readers",
  "Namespace",
  [rootOfNamespace, ...revisionReads, setting("ztunnelRevision"), setting("discovery")],
  (namespace, mesh) => {
    const [root] = mesh.related(rootOfNamespace, namespace);
    return new Readers(namespace, root, mesh.settings);
  },
);

const none: readonly never[] = Object.freeze([]);

const lists = new KeptIn<readonly AnyObject[], Map<string, readonly AnyObject[]>>();

/** Lists that many namespaces share are filtered once for each control plane. */
function readBy<T extends AnyObject>(
  objects: readonly T[],
  controlPlane: ControlPlane,
  settings: RevisionSettings,
): readonly T[] {
  const key = controlPlane ?? `any of ${settings.revisions.join()}`;
  let known = lists.get(objects);
  if (known === undefined) lists.set(objects, (known = new Map()));
  let found = known.get(key);
  if (found === undefined) {
    const read = objects.filter((object) => isReadBy(object, controlPlane, settings));
    known.set(key, (found = read.length === objects.length ? objects : read));
  }
  return found as readonly T[];
}

/**
 * Whether a control plane reads what is in a namespace: it must match one of the `discoverySelectors` of the mesh config,
 * also if it is the root namespace (Istio pkg/kube/namespace/filter.go Filter). Injection and istio-cni do not use them.
 * Of an unknown control plane, and for a namespace whose labels are not known, it is assumed.
 */
export function isDiscovered(
  namespace: Namespace | undefined,
  controlPlane: ControlPlane,
  { discovery }: SettingsWith<"discovery">,
): boolean {
  if (controlPlane === undefined || namespace === undefined || namespace.implied) return true;
  const selectors = Object.hasOwn(discovery, controlPlane) ? discovery[controlPlane] : undefined;
  // With an invalid one, istiod uses none of them (filter.go selectorsChanged).
  if (selectors === undefined || !selectors.every(isValidSelector)) return true;
  return selectors.some((selector) => selectsByExpression(selector, namespace.metadata.labels));
}

/** What to do about policies that no control plane reads because its discoverySelectors leave out their namespace. */
export const fixOfUndiscovered = (namespace: string): string =>
  `Let the discoverySelectors in the mesh config select namespace ${namespace}: otherwise no policy in it has an effect.`;
