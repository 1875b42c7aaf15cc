import { type FieldUse, type Kept, type KeptFields, keptOf, nothingKept } from "./kept-fields.ts";
import { isMeshGroup, type Kind, kindOf, kinds, nameInTable, servedAs } from "./kinds.ts";
import type { Invalid } from "./invalid.ts";
import {
  flag,
  isObject,
  list,
  type Malformed,
  map,
  member,
  name,
  type Read,
  record,
  text,
  type Value,
} from "./read.ts";

const metadata = record({
  name,
  namespace: name,
  generateName: text,
  labels: map(text),
  annotations: map(text),
  uid: text,
  resourceVersion: text,
  creationTimestamp: text,
  deletionTimestamp: text,
  ownerReferences: list(record({ apiVersion: name, kind: name, name, uid: text, controller: flag })),
});
export type ObjectMetadata = Value<typeof metadata>;
/** Labels of an object, those of the pods that it makes, or those that a selector asks for. */
export type Labels = Readonly<Record<string, string>>;

/** The fields that all kinds have in common. */
interface ObjectBase<K extends Kind> {
  readonly kind: K;
  /** apiVersion and kind as written in the object: `apps/v1` and `Deployment` for a Workload. */
  readonly apiVersion: string;
  readonly originKind: string;
  readonly metadata: ObjectMetadata;
  /** Set if a field has the wrong type. Only the rule object-malformed checks such an object. */
  readonly malformed?: readonly Malformed[];
  /** Set on an object of a file that the API server would reject. */
  readonly invalid?: readonly Invalid[];
  /** Set on kinds for which rules of policies read raw fields: these fields, as written. */
  readonly kept?: Kept;
  /** Set on an implied Namespace: the view has objects in it, but not the Namespace, so its labels are unknown. */
  readonly implied?: true;
}
export type ObjectOf<K extends Kind> = { [N in K]: ObjectBase<N> & Value<(typeof kinds)[N]["read"]> }[K];
export type AnyObject = ObjectOf<Kind>;
/** Which object it is, and nothing else. */
export type Identified<K extends Kind = Kind> = Pick<ObjectOf<K>, "kind" | "originKind"> & {
  readonly metadata: Pick<ObjectOf<K>["metadata"], "namespace" | "name">;
};

/**
 * Reads a raw object of a known kind. Every object in a view was read here, once. Never throws for arbitrary JSON:
 * fields of the wrong type are listed in `malformed` with their path in the raw object, and read as absent. `keep`: raw fields
 * that are kept too.
 */
export function readObject<K extends Kind>(
  kind: K,
  raw: unknown,
  defaultNamespace = "",
  keep: KeptFields = nothingKept,
): ObjectOf<K> {
  const malformed: Malformed[] = [];
  const originKind = textOf(member(raw, "kind")) ?? servedAs(kind, "").kind;
  const served = servedAs(kind, originKind);
  const read = readAt("metadata", metadata, member(raw, "metadata"), malformed);
  const namespace = served.namespaced ? read.namespace || defaultNamespace : "";
  const fields = (kinds[kind].read as Read<object>)(raw, malformed);
  const object = {
    ...nothing,
    kind,
    apiVersion: nameInTable(textOf(member(raw, "apiVersion")) ?? ""),
    originKind: nameInTable(originKind),
    metadata: namespace === read.namespace ? read : { ...read, namespace },
    ...fields,
    ...(malformed.length > 0 ? { malformed: distinct(malformed) } : nothing),
    ...keptFields(raw, keep.get(kind)),
  };
  return object as unknown as ObjectOf<K>;
}

/**
 * An object that begins as a copy is always new memory, which a scavenge frees. V8 puts what a literal makes among the old objects,
 * once most of what it made stayed, as when a mesh is loaded; there, the objects of reviews would keep all that they refer to.
 */
const nothing = Object.freeze({});

function keptFields(raw: unknown, fields: FieldUse | undefined): { readonly kept?: Kept } {
  if (fields === undefined) return nothing;
  const kept = keptOf(raw, fields);
  const metadata = member(kept, "metadata");
  if (!isObject(kept) || !isObject(metadata)) return { kept: { fields, value: kept } };
  const { managedFields: _managed, annotations, ...others } = metadata;
  const { [lastApplied]: _applied, ...rest } = isObject(annotations) ? annotations : {};
  const shown = isObject(annotations) ? { ...others, annotations: rest } : others;
  return { kept: { fields, value: { ...kept, metadata: shown } } };
}

/** The annotation in which kubectl apply stores the last manifest: often most of the text of an object. No rule reads it. */
export const lastApplied = "kubectl.kubernetes.io/last-applied-configuration";

/** The object without that annotation, for meshes that are kept in memory. */
export function withoutLastApplied<T extends AnyObject>(object: T): T {
  const { metadata } = object;
  if (metadata.annotations[lastApplied] === undefined) return object;
  return { ...object, metadata: { ...metadata, annotations: annotationsWithoutLastApplied(metadata) } };
}

export function annotationsWithoutLastApplied({ annotations }: ObjectMetadata): ObjectMetadata["annotations"] {
  const { [lastApplied]: _left, ...others } = annotations;
  return Object.keys(others).length === 0 ? noAnnotations : others;
}

const noAnnotations = Object.freeze({});

/** The metadata of a pod are also those of its template, which are read again. */
function distinct(malformed: readonly Malformed[]): readonly Malformed[] {
  return [...new Map(malformed.map((one) => [`${JSON.stringify(one.at)} ${one.expected}`, one])).values()];
}

const textOf = (raw: unknown): string | undefined => (typeof raw === "string" ? raw : undefined);

function readAt<T>(field: string, read: Read<T>, raw: unknown, malformed: Malformed[]): T {
  const start = malformed.length;
  const value = read(raw, malformed);
  for (let i = start; i < malformed.length; i++) malformed[i]?.at.unshift(field);
  return value;
}

/**
 * Reads a raw object of the kind that it names. Undefined if no rule reads this kind, or if a ConfigMap is neither a mesh
 * config nor the injector's. `defaultNamespace` is the namespace of an object that does not name one, as in kubectl.
 */
export function readAny(raw: unknown, defaultNamespace = "", keep: KeptFields = nothingKept): AnyObject | undefined {
  if (!isObject(raw)) return undefined;
  const kind = kindOf(textOf(raw.apiVersion) ?? "", textOf(raw.kind) ?? "");
  const meant = kind === "MeshConfig" ? kindOfConfigMap(raw) : kind;
  return meant === undefined ? undefined : readObject(meant, raw, defaultNamespace, keep);
}

const kindOfConfigMap = (raw: unknown): Kind | undefined => {
  if (isMeshConfig(raw)) return "MeshConfig";
  return isInjectorConfig(raw) ? "InjectorConfig" : undefined;
};

/** istiod reads its mesh config from the ConfigMap `istio`, or `istio-<revision>`, key `mesh`. */
export const isMeshConfig = (raw: unknown): boolean =>
  member(raw, "kind") === "ConfigMap" &&
  /^istio(-.+)?$/.test(textOf(member(member(raw, "metadata"), "name")) ?? "") &&
  member(member(raw, "data"), "mesh") !== undefined;

/** The injector reads `istio-sidecar-injector`, or `istio-sidecar-injector-<revision>`, key `config`. */
const isInjectorConfig = (raw: unknown): boolean =>
  /^istio-sidecar-injector(-.+)?$/.test(textOf(member(member(raw, "metadata"), "name")) ?? "") &&
  member(member(raw, "data"), "config") !== undefined;

/** A Namespace that is only known by its name, because the view contains objects in it but not the Namespace itself. */
export function impliedNamespace(namespace: string): ObjectOf<"Namespace"> {
  const object = readObject("Namespace", { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } });
  return { ...object, implied: true };
}

/**
 * A changed object as it is evaluated. One of Istio or the Gateway API that is being deleted counts as gone for others (`isServed`
 * in mesh/objects/revision.ts). As long as it has finalizers, it can be changed and is in effect, so its own change is evaluated
 * as if it were created. Namespaces and workloads have effects until they are gone.
 */
export function asInEffect(object: AnyObject): AnyObject {
  if (object.metadata.deletionTimestamp === undefined || !isMeshGroup(object.apiVersion.split("/", 1)[0] ?? ""))
    return object;
  return { ...object, metadata: { ...object.metadata, deletionTimestamp: undefined } };
}
