import type { FieldUse } from "../kube/kept-fields.ts";
import { nearest } from "../text/nearest.ts";
import {
  type ExpressionType,
  isAssignable,
  isComparable,
  isScalar,
  joined,
  oneOfType,
  types,
  useWholly,
  valueOf,
} from "./expression-types.ts";

export const hint = (name: string, known: readonly string[]): string => {
  const near = nearest(name, known);
  return near === undefined ? "" : `: did you mean ${JSON.stringify(near)}?`;
};

export type Special = (
  given: readonly ExpressionType[],
  constants: readonly (string | undefined)[],
) => ExpressionType | string;

/** Operators and functions whose result depends on their arguments. A text is a problem. */
export const specials: ReadonlyMap<string, Special> = new Map<string, Special>([
  [
    "_?_:_",
    ([condition, a = types.dyn, b = types.dyn]) => (isBool(condition) ? oneOfTwo(a, b) : needsBool("?:", condition)),
  ],
  ["_&&_", (given) => allBool("&&", given)],
  ["_||_", (given) => allBool("||", given)],
  ["@not_strictly_false", () => types.bool],
  ["__not_strictly_false__", () => types.bool],
  ["_[_]", ([of, at], [, key]) => indexed(of ?? types.dyn, at ?? types.dyn, key)],
  ["@in", ([value, of], [key]) => contained(value ?? types.dyn, of ?? types.dyn, key)],
  ["_==_", (given) => compared("==", given)],
  ["_!=_", (given) => compared("!=", given)],
  ["dyn", ([of]) => ({ kind: "dyn", use: of !== undefined && "use" in of ? of.use : undefined })],
  ["_+_", ([a, b]) => sum(a ?? types.dyn, b ?? types.dyn)],
]);

const isBool = (type: ExpressionType | undefined): boolean => type === undefined || isAssignable(type, types.bool);
const needsBool = (operator: string, type: ExpressionType | undefined): string =>
  `${operator} needs bool, and this is ${oneOfType(type ?? types.dyn)}`;
const allBool = (operator: string, given: readonly ExpressionType[]): ExpressionType | string => {
  const wrong = given.find((type) => !isBool(type));
  return wrong === undefined ? types.bool : needsBool(operator, wrong);
};

const oneOfTwo = (a: ExpressionType, b: ExpressionType): ExpressionType | string =>
  isComparable(a, b) ? joined(a, b) : `?: has ${oneOfType(a)} and ${oneOfType(b)}; both must be of one type`;

const partOf = (use: FieldUse | undefined, key: string | undefined): FieldUse | undefined =>
  key === undefined ? use?.item() : use?.field(key);

function indexed(of: ExpressionType, at: ExpressionType, key: string | undefined): ExpressionType | string {
  switch (of.kind) {
    case "list":
      return isAssignable(at, types.int) ? of.item : `a list needs an int in [ ], and this is ${oneOfType(at)}`;
    case "map":
      return valueOf(of, key);
    case "dyn":
      return { kind: "dyn", use: partOf(of.use, key) };
    case "record":
      if (key !== undefined) return of.field(key) ?? `${of.title} has no field ${key}${hint(key, of.names)}`;
      useWholly(of);
      return types.dyn;
    case "none":
      return types.dyn;
    default:
      return `${oneOfType(of)} has no items`;
  }
}

function contained(value: ExpressionType, of: ExpressionType, key: string | undefined): ExpressionType | string {
  useWholly(value);
  if (of.kind === "map" && key !== undefined) of.use?.field(key);
  else useWholly(of);
  if (of.kind === "list")
    return isComparable(value, of.item) ? types.bool : `in compares ${oneOfType(value)} with ${oneOfType(of.item)}`;
  const isContainer = of.kind === "map" || of.kind === "record" || of.kind === "dyn" || of.kind === "none";
  return isContainer ? types.bool : `in needs a list or a map, and this is ${oneOfType(of)}`;
}

function compared(
  operator: string,
  [a = types.dyn, b = types.dyn]: readonly ExpressionType[],
): ExpressionType | string {
  // Whether an object is null, as oldObject is on creation, is no question about its fields.
  const isNull = (type: ExpressionType) => isScalar(type, "null_type");
  if (!isNull(a) && !isNull(b)) for (const type of [a, b]) useWholly(type);
  return isComparable(a, b) ? types.bool : `${operator} compares ${oneOfType(a)} with ${oneOfType(b)}`;
}

/** `_+_` of lists keeps the type of their items; all else is a function with overloads. */
function sum(a: ExpressionType, b: ExpressionType): ExpressionType | string {
  if (a.kind === "list" && b.kind === "list") return joined(a, b);
  if ([a, b].some(({ kind }) => kind === "dyn" || kind === "named")) {
    for (const type of [a, b]) useWholly(type);
    return types.dyn;
  }
  const isSame = a.kind === "scalar" && a.name !== "bool" && isScalar(b, a.name);
  return isSame ? { kind: "scalar", name: a.name } : `+ has ${oneOfType(a)} and ${oneOfType(b)}; convert one of them`;
}
