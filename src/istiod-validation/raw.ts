import type { Invalid } from "../kube/invalid.ts";
import { isObject, type Path } from "../kube/read.ts";

// Access to objects as they were written. A value of the wrong type reads as absent: the definition of the kind, which is
// checked too, does not allow it.

export type Fields = Readonly<Record<string, unknown>>;

export const fieldsOf = (value: unknown): Fields => (isObject(value) ? value : {});
export const isSet = (value: unknown): boolean => value !== undefined && value !== null;
export const textOf = (value: unknown): string => (typeof value === "string" ? value : "");
export const numberOf = (value: unknown): number => (typeof value === "number" ? value : 0);
export const countOf = (value: unknown): number => (Array.isArray(value) ? value.length : 0);

/** The items of a list, each with its path. */
export const itemsOf = (value: unknown, at: Path): readonly Item[] =>
  Array.isArray(value) ? value.map((item, i) => ({ fields: fieldsOf(item), value: item, at: [...at, i] })) : [];
/** The entries of a map, each with its path. */
export const entriesOf = (value: unknown, at: Path): readonly (Item & { readonly key: string })[] =>
  Object.entries(fieldsOf(value)).map(([key, item]) => ({
    key,
    fields: fieldsOf(item),
    value: item,
    at: [...at, key],
  }));
/** The texts in a list, each with its path. */
export const textsOf = (value: unknown, at: Path): readonly { readonly text: string; readonly at: Path }[] =>
  itemsOf(value, at).flatMap((item) => (typeof item.value === "string" ? [{ text: item.value, at: item.at }] : []));

export interface Item {
  readonly fields: Fields;
  readonly value: unknown;
  readonly at: Path;
}

/** What istiod's validation refuses, one after the other. */
export type Refused = Iterable<Invalid>;

/** Why a text is no expression in CEL; undefined: it is one, or this is not known. */
export type ParseProblem = (expression: string) => string | undefined;

/** One object: its spec, the namespace that it is in, if it is written, and a parser for expressions. */
export interface Written {
  readonly spec: Fields;
  readonly labels: Fields;
  readonly namespace: string | undefined;
  readonly expressionProblem: ParseProblem;
}
