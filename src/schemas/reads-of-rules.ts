import { type Expression, partsOf } from "../cel/program.ts";
import { isObject } from "../kube/read.ts";
import { escaped } from "./field-names.ts";
import { isAbsent } from "./values.ts";

/**
 * What expressions in CEL read of a value. For two values that have the same in that, they have the same result, because an
 * evaluation depends on nothing else.
 */
export interface Reads {
  /** All of it: it is compared, or given to a function. */
  isWhole: boolean;
  /** Of a map, by the names as rules write them. Of a field that is only asked for with `has()`, nothing is read. */
  readonly fields: Map<string, Reads>;
  /** Of each item of a list, or of a map its keys. */
  items?: Reads;
}

const nothing = (): Reads => ({ isWhole: false, fields: new Map() });
const everything: Reads = { isWhole: true, fields: new Map() };

/** What expressions read together of the variable `self`. */
export function readsOf(expressions: readonly Expression[]): Reads {
  const self = nothing();
  for (const expression of expressions) collect(expression, new Map([["self", self]]));
  return self;
}

/** What the variables of an expression stand for; others do not depend on the value. */
type Variables = ReadonlyMap<string, Reads>;

function collect(expression: Expression, variables: Variables): void {
  const { exprKind } = expression;
  const read = partOf(expression, variables);
  const counted = partCounted(expression, variables);
  if (read !== undefined) read.isWhole ||= exprKind.case !== "selectExpr" || !exprKind.value.testOnly;
  else if (counted !== undefined) itemsOf(counted);
  else if (exprKind.case === "comprehensionExpr") collectMacro(exprKind.value, variables);
  else for (const part of partsOf(expression)) if (part !== undefined) collect(part, variables);
}

/** The part of the value of which an expression is the size. */
function partCounted({ exprKind }: Expression, variables: Variables): Reads | undefined {
  if (exprKind.case !== "callExpr" || exprKind.value.function !== "size") return undefined;
  const [counted, ...others] = [exprKind.value.target, ...exprKind.value.args].filter((part) => part !== undefined);
  return counted === undefined || others.length > 0 ? undefined : partOf(counted, variables);
}

type Macro = Extract<Expression["exprKind"], { case: "comprehensionExpr" }>["value"];

function collectMacro({ iterRange, iterVar, iterVar2, ...macro }: Macro, variables: Variables): void {
  // The second variable of a macro is the value of a map, of which the first is the key.
  const list = iterRange === undefined || iterVar2 !== "" ? undefined : partOf(iterRange, variables);
  const inside = new Map(variables);
  for (const name of [iterVar, iterVar2, macro.accuVar]) inside.delete(name);
  if (list !== undefined) inside.set(iterVar, itemsOf(list));
  else if (iterRange !== undefined) collect(iterRange, variables);
  for (const part of [macro.accuInit, macro.result]) if (part !== undefined) collect(part, variables);
  for (const part of [macro.loopCondition, macro.loopStep]) if (part !== undefined) collect(part, inside);
}

/** The part of the value that an expression such as `self.rules[0].matches` stands for; undefined if it is something else. */
function partOf({ exprKind }: Expression, variables: Variables): Reads | undefined {
  if (exprKind.case === "identExpr") return variables.get(exprKind.value.name);
  if (exprKind.case === "selectExpr") {
    const outer = exprKind.value.operand && partOf(exprKind.value.operand, variables);
    return outer && fieldOf(outer, exprKind.value.field);
  }
  if (exprKind.case !== "callExpr" || exprKind.value.function !== "_[_]") return undefined;
  const [list, index] = exprKind.value.args;
  const outer = isNumber(index) ? list && partOf(list, variables) : undefined;
  return outer && itemsOf(outer);
}

/** The keys of the maps in objects are texts, so what has a number in brackets is an item of a list, or an error. */
const isNumber = (index: Expression | undefined): boolean =>
  index?.exprKind.case === "constExpr" && index.exprKind.value.constantKind.case === "int64Value";

function fieldOf(outer: Reads, name: string): Reads {
  let inner = outer.fields.get(name);
  if (inner === undefined) outer.fields.set(name, (inner = nothing()));
  return inner;
}

const itemsOf = (list: Reads): Reads => (list.items ??= nothing());

/**
 * A value that is the same, written as JSON, for two values of the same schema only if they have the same in what is read. A
 * value of another type than is expected is taken whole.
 */
export function partRead(value: unknown, reads: Reads): unknown {
  const { isWhole, fields, items } = reads;
  if (isWhole) return value;
  if (fields.size === 0 && items === undefined) return !isAbsent(value);
  if (isObject(value)) return fieldsRead(value, reads);
  if (!Array.isArray(value) || fields.size > 0 || items === undefined) return value;
  return value.map((item) => partRead(item, items));
}

function fieldsRead(value: Record<string, unknown>, { fields, items }: Reads): Record<string, unknown> {
  const parts: [string, unknown][] = [];
  for (const [name, inner] of Object.entries(value)) {
    const reads = readsNamed(name, fields) ?? (items && nothing());
    if (reads !== undefined && !isAbsent(inner)) parts.push([name, partRead(inner, reads)]);
  }
  return Object.fromEntries(parts);
}

/** Rules write the names of fields with escapes, and the keys of a map as they are. */
function readsNamed(name: string, fields: ReadonlyMap<string, Reads>): Reads | undefined {
  const [field, key] = [fields.get(escaped(name)), fields.get(name)];
  return field === undefined || key === undefined || field === key ? (field ?? key) : everything;
}
