import { type Kind, kinds } from "./kinds.ts";
import type { AnyObject } from "./object.ts";

/** The fields that identify an object among those of its kind. `originKind`: `Deployment` for a Workload. */
export interface ObjectName {
  readonly originKind: string;
  readonly namespace: string;
  readonly name: string;
}

/** Kinds that are served as several resources, of which two may have the same name. */
const hasSeveralResources = new Set(
  (Object.keys(kinds) as Kind[]).filter((kind) => new Set(kinds[kind].served.map((served) => served.kind)).size > 1),
);

/**
 * The key of an object in its kind: `namespace/name`, or `namespace/originKind/name`. All keys are created here. They are
 * joined, because V8 stores a concatenated string in parts, which takes twice the memory in a map.
 */
export const keyFor = (kind: Kind, { originKind, namespace, name }: ObjectName): string =>
  (hasSeveralResources.has(kind) ? [namespace, originKind, name] : [namespace, name]).join("/");

/** The key of a Namespace. */
export const namespaceKey = (name: string): string =>
  keyFor("Namespace", { originKind: "Namespace", namespace: "", name });

export const keyOf = ({ kind, originKind, metadata: { namespace, name } }: AnyObject): string =>
  keyFor(kind, { originKind, namespace, name });

/**
 * Identifies an object in the whole mesh. It uses `kind`, because kinds of different groups may share an
 * `originKind`.
 */
export const identityOf = (object: AnyObject): string => `${object.kind} ${keyOf(object)}`;

/** The name of an object in messages: `VirtualService payments/payments-api`, `Namespace payments`. */
export function idOf({ originKind, metadata }: AnyObject): string {
  const shown = metadata.name || `${metadata.generateName ?? ""}*`;
  return `${originKind} ${metadata.namespace === "" ? shown : `${metadata.namespace}/${shown}`}`;
}

/** Sorts objects by their names in messages, so that the order of a view has no effect. */
export const byId = (a: AnyObject, b: AnyObject): number => (idOf(a) < idOf(b) ? -1 : Number(idOf(a) > idOf(b)));
