import type { CelType } from "@bufbuild/cel";
import type { FieldUse } from "../kube/kept-fields.ts";

type ScalarName = "bool" | "int" | "uint" | "double" | "string" | "bytes" | "null_type" | "type";

/**
 * The type of an expression. `use` is where its value is in the raw object, if it is a part of it.
 * - `dyn`: anything; nothing about it is checked.
 * - `none`: the type of the items of an empty list.
 * - `record`: a JSON object of which the fields are known.
 * - `named`: a type of the library (a time, a duration), or of Kubernetes.
 */
export type ExpressionType =
  | { readonly kind: "dyn"; readonly use?: FieldUse | undefined }
  | { readonly kind: "none" }
  | ScalarType
  | { readonly kind: "named"; readonly name: string }
  | { readonly kind: "list"; readonly item: ExpressionType; readonly use?: FieldUse | undefined }
  | { readonly kind: "map"; readonly value: ExpressionType; readonly use?: FieldUse | undefined }
  | RecordType;
interface ScalarType {
  readonly kind: "scalar";
  readonly name: ScalarName;
  /** The only texts that it can be; absent: any. */
  readonly values?: readonly string[];
  /** Why it is none of some texts which somebody may expect. */
  readonly neverIs?: ReadonlyMap<string, string>;
}
export interface RecordType {
  readonly kind: "record";
  /** What it is, for messages: `spec.http[]`. */
  readonly title: string;
  /** It has no other fields, in no version of Kubernetes or Istio. */
  readonly isComplete?: true;
  readonly names: readonly string[];
  field(name: string): ExpressionType | undefined;
  readonly use?: FieldUse | undefined;
}

const scalar = (name: ScalarName): ExpressionType => ({ kind: "scalar", name });
export const types = {
  dyn: { kind: "dyn" },
  none: { kind: "none" },
  bool: scalar("bool"),
  int: scalar("int"),
  double: scalar("double"),
  string: scalar("string"),
  bytes: scalar("bytes"),
  uint: scalar("uint"),
  null: scalar("null_type"),
  type: scalar("type"),
} as const satisfies Record<string, ExpressionType>;
/** A text that is one of these. */
export const textOf = (values: readonly string[], neverIs?: ReadonlyMap<string, string>): ExpressionType => ({
  kind: "scalar",
  name: "string",
  values,
  ...(neverIs === undefined ? {} : { neverIs }),
});
export const listOf = (item: ExpressionType): ExpressionType => ({ kind: "list", item });
export const mapOf = (value: ExpressionType): ExpressionType => ({ kind: "map", value });

/** The type of a function's parameter or result. */
export function typeOfLibrary(type: CelType): ExpressionType {
  switch (type.kind) {
    case "scalar":
      return type.name === "dyn" ? types.dyn : scalar(type.name);
    case "list":
      return listOf(typeOfLibrary(type.element));
    case "map":
      return mapOf(typeOfLibrary(type.value));
    default:
      return { kind: "named", name: type.name };
  }
}

/** Marks everything in a value as read. */
export function useWholly(type: ExpressionType): void {
  if (type.kind === "none" || type.kind === "scalar" || type.kind === "named") return;
  if (type.use !== undefined) type.use.isWhole = true;
  else if (type.kind === "list") useWholly(type.item);
  else if (type.kind === "map") useWholly(type.value);
}

/** The value of a map with a constant key, or with any key; what is in it counts as read. */
export function valueOf(map: Extract<ExpressionType, { kind: "map" }>, key?: string): ExpressionType {
  const use = key === undefined ? map.use?.item() : map.use?.field(key);
  if (use !== undefined && map.value.kind !== "scalar") use.isWhole = true;
  return map.value;
}

/** The name of a type in messages. */
export function shownType(type: ExpressionType): string {
  switch (type.kind) {
    case "scalar":
    case "named":
      return type.name === "null_type" ? "null" : type.name.replace("google.protobuf.", "").toLowerCase();
    case "list":
      return type.item.kind === "none" || type.item.kind === "dyn" ? "list" : `list of ${shownType(type.item)}`;
    case "map":
      return "map";
    case "record":
      return "object";
    default:
      return "dyn";
  }
}

/** The same with its article: `an int`, `a list of string`. */
export const oneOfType = (type: ExpressionType): string => {
  const shown = shownType(type);
  return `${/^[io]/.test(shown) ? "an" : "a"} ${shown}`;
};

const numbers = new Set(["int", "uint", "double"]);
export const isScalar = (type: ExpressionType, name: string): boolean => type.kind === "scalar" && type.name === name;
const isNumber = (type: ExpressionType): boolean => type.kind === "scalar" && numbers.has(type.name);
const isLoose = ({ kind }: ExpressionType): boolean => kind === "dyn" || kind === "none";

/** Whether a value of this type may be given where the other one is expected. */
export function isAssignable(type: ExpressionType, to: ExpressionType): boolean {
  if (isLoose(type) || isLoose(to)) return true;
  if (type.kind === "list" && to.kind === "list") return isAssignable(type.item, to.item);
  if (to.kind === "map") return isMapOf(type, to.value);
  return isNamed(type) && isNamed(to) && type.kind === to.kind && type.name === to.name;
}

const isMapOf = (type: ExpressionType, value: ExpressionType): boolean =>
  type.kind === "record" || (type.kind === "map" && isAssignable(type.value, value));
const isNamed = (type: ExpressionType): type is Extract<ExpressionType, { readonly name: string }> =>
  type.kind === "scalar" || type.kind === "named";

/** Whether two values can be equal at all. Numbers of all types are compared with each other. */
export const isComparable = (a: ExpressionType, b: ExpressionType): boolean =>
  isAssignable(a, b) ||
  isAssignable(b, a) ||
  (isNumber(a) && isNumber(b)) ||
  // Absent fields are no fields, and still `x == null` is a usual question.
  [a, b].some((one) => one.kind === "scalar" && one.name === "null_type") ||
  (a.kind === "record" && (b.kind === "record" || b.kind === "map"));

/** The type of a value that is one of two; both are then read as a whole, unless they are the same part of the object. */
export function joined(a: ExpressionType, b: ExpressionType): ExpressionType {
  if (a === b || b.kind === "none") return a;
  if (a.kind === "none") return b;
  if (a.kind === "list" && b.kind === "list" && a.use === undefined && b.use === undefined)
    return { kind: "list", item: joined(a.item, b.item) };
  useWholly(a);
  useWholly(b);
  return a.kind === "scalar" && isScalar(b, a.name) ? scalar(a.name) : types.dyn;
}
