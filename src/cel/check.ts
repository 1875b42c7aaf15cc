import type { CelFunc } from "@bufbuild/cel";
import { nearest } from "../text/nearest.ts";
import { internal, patternProblem } from "./bounded-functions.ts";
import { hint, type Special, specials } from "./operators.ts";
import type { Expression, ExpressionProblem, ParsedExpression } from "./program.ts";
import {
  type ExpressionType,
  isScalar,
  type RecordType,
  isAssignable,
  joined,
  listOf,
  mapOf,
  oneOfType,
  shownType,
  typeOfLibrary,
  types,
  useWholly,
  valueOf,
} from "./expression-types.ts";

/** A call of a function that the caller of the check wants to know about, or rejects. */
export interface CheckedCall {
  readonly name: string;
  /** The arguments as written, and their types. */
  readonly args: readonly Expression[];
  readonly types: readonly ExpressionType[];
}

export interface CheckOptions {
  readonly variables: ReadonlyMap<string, ExpressionType>;
  readonly functions: Iterable<CelFunc>;
  /** The results of functions of which more is known than the library can say. */
  readonly results?: ReadonlyMap<CelFunc, ExpressionType>;
  /** Called for every call of a function; a text says why the call is not possible. */
  readonly called?: (call: CheckedCall) => string | undefined;
}

export interface CheckedExpression {
  readonly type: ExpressionType;
  readonly problems: readonly ExpressionProblem[];
  /** The variables that it reads. */
  readonly reads: ReadonlySet<string>;
}

/**
 * The type of an expression, and what is wrong with it: fields, variables and functions that do not exist, and arguments of a
 * wrong type. Marks what it reads of objects in the `use` of their types. Values of type `dyn` are not checked, as in CEL.
 */
export function checkExpression(parsed: ParsedExpression, options: CheckOptions): CheckedExpression {
  const checker = new Checker(parsed, options);
  const type = checker.typeOf(parsed.root, options.variables);
  useWholly(type);
  return { type, problems: checker.problems, reads: checker.reads };
}

type Scope = ReadonlyMap<string, ExpressionType>;
type Kind = Expression["exprKind"];
type Part<C extends Kind["case"]> = Extract<Kind, { case: C }> extends { value: infer V } ? V : never;

class Checker {
  readonly problems: ExpressionProblem[] = [];
  readonly reads = new Set<string>();
  readonly #parsed: ParsedExpression;
  readonly #options: CheckOptions;
  readonly #functions: ReadonlyMap<string, readonly CelFunc[]>;

  constructor(parsed: ParsedExpression, options: CheckOptions) {
    this.#parsed = parsed;
    this.#options = options;
    this.#functions = Map.groupBy(options.functions, ({ name }) => name);
  }

  typeOf(expression: Expression, scope: Scope): ExpressionType {
    const { exprKind } = expression;
    switch (exprKind.case) {
      case "constExpr":
        return constantTypes[exprKind.value.constantKind.case ?? "nullValue"] ?? types.dyn;
      case "identExpr":
        return this.#variable(expression, exprKind.value.name, scope);
      case "selectExpr":
        return this.#field(expression, exprKind.value, scope);
      case "listExpr":
        return listOf(
          exprKind.value.elements.reduce<ExpressionType>(
            (item, one) => joined(item, this.typeOf(one, scope)),
            types.none,
          ),
        );
      case "structExpr":
        return this.#map(expression, exprKind.value, scope);
      case "comprehensionExpr":
        return this.#macro(exprKind.value, scope);
      case "callExpr":
        return this.#call(expression, exprKind.value, scope);
      default:
        return this.#wrong(expression, "it cannot be read");
    }
  }

  #wrong(at: Expression, message: string): ExpressionType {
    this.problems.push({ ...this.#parsed.placeOf(at.id), message });
    return types.dyn;
  }

  #variable(at: Expression, name: string, scope: Scope): ExpressionType {
    const found = scope.get(name);
    if (found !== undefined) {
      if (this.#options.variables.get(name) === found) this.reads.add(name);
      return found;
    }
    if (typeNames.has(name)) return types.type;
    const names = [...scope.keys()].filter((one) => !one.startsWith("@"));
    return this.#wrong(at, `there is no variable ${name}${hint(name, names)}`);
  }

  #field(at: Expression, { operand, field, testOnly }: Part<"selectExpr">, scope: Scope): ExpressionType {
    if (operand === undefined) return this.#wrong(at, "it cannot be read");
    const found = this.#fieldOf(at, this.typeOf(operand, scope), field);
    return testOnly ? types.bool : found;
  }

  #fieldOf(at: Expression, of: ExpressionType, name: string): ExpressionType {
    if (of.kind === "record") {
      const found = of.field(name);
      if (found !== undefined) return found;
      return this.#wrong(at, noField(of, name));
    }
    if (of.kind === "map") return valueOf(of, name);
    if (of.kind === "dyn") return { kind: "dyn", use: of.use?.field(name) };
    if (of.kind === "named" || of.kind === "none") return types.dyn;
    return this.#wrong(at, `${oneOfType(of)} has no field ${name}`);
  }

  #map(_at: Expression, { messageName, entries }: Part<"structExpr">, scope: Scope): ExpressionType {
    if (messageName !== "") return types.dyn;
    let value: ExpressionType = types.none;
    for (const entry of entries) {
      const parts = [entry.keyKind.case === "mapKey" ? entry.keyKind.value : undefined, entry.value];
      const [, type] = parts.map((part) => (part === undefined ? types.dyn : this.typeOf(part, scope)));
      if (type === undefined) continue;
      useWholly(type);
      value = joined(value, type);
    }
    return mapOf(value);
  }

  #macro(macro: Part<"comprehensionExpr">, scope: Scope): ExpressionType {
    const { iterRange, iterVar, accuInit, accuVar, loopCondition, loopStep, result } = macro;
    if (!(iterRange && accuInit && loopCondition && loopStep && result)) return types.dyn;
    const range = this.typeOf(iterRange, scope);
    const start = this.typeOf(accuInit, scope);
    const inLoop = new Map(scope).set(iterVar, this.#itemOf(iterRange, range)).set(accuVar, start);
    this.typeOf(loopCondition, inLoop);
    const condition = conditionOf(loopStep);
    if (condition !== undefined && !this.#isCondition(condition, this.typeOf(condition, inLoop))) return types.dyn;
    const step = this.typeOf(loopStep, inLoop);
    if (isScalar(start, "bool")) this.#isCondition(loopStep, step);
    return this.typeOf(result, new Map(scope).set(accuVar, start.kind === "list" ? step : start));
  }

  #isCondition(of: Expression, type: ExpressionType): boolean {
    const isRight = isAssignable(type, types.bool);
    if (!isRight) this.#wrong(of, `the condition of a macro has type ${shownType(type)}; expected bool`);
    return isRight;
  }

  #itemOf(at: Expression, range: ExpressionType): ExpressionType {
    if (range.kind === "list") return range.item;
    if (range.kind === "map" || range.kind === "record") {
      useWholly(range);
      return types.string;
    }
    if (range.kind === "dyn") return { kind: "dyn", use: range.use?.item() };
    if (range.kind === "none") return types.dyn;
    return this.#wrong(at, `a macro needs a list or a map, and this is ${oneOfType(range)}`);
  }

  #call(at: Expression, call: Part<"callExpr">, scope: Scope): ExpressionType {
    const form = macros.get(call.function);
    // A macro that the parser left as a call is written wrongly, and its arguments have no types.
    return form === undefined
      ? this.#called(at, call, scope)
      : this.#wrong(at, `${call.function}() is written ${form}`);
  }

  #called(at: Expression, { function: name, target, args }: Part<"callExpr">, scope: Scope): ExpressionType {
    const qualified = target?.exprKind.case === "identExpr" ? `${target.exprKind.value.name}.${name}` : undefined;
    const isSpace = qualified !== undefined && !scope.has(qualified.slice(0, qualified.indexOf(".")));
    if (qualified !== undefined && isSpace && this.#hasSpace(qualified))
      return this.#functionOf(at, { name: qualified, target: undefined, args }, scope);
    const special = target === undefined ? specials.get(name) : undefined;
    return special === undefined
      ? this.#functionOf(at, { name, target, args }, scope)
      : this.#special(at, { name, args, special }, scope);
  }

  #special(at: Expression, { name, args, special }: SpecialCall, scope: Scope): ExpressionType {
    const given = args.map((arg) => this.typeOf(arg, scope));
    const found = special(given, args.map(constantText));
    if (typeof found === "string") return this.#wrong(at, found);
    for (const impossible of impossibleTexts(name, args, given)) this.#wrong(impossible.text, neverSo(impossible));
    return found;
  }

  /** Whether there are functions with the same name before the dot, so that `mesh.x()` is no method of a variable. */
  #hasSpace(qualified: string): boolean {
    const space = qualified.slice(0, qualified.indexOf(".") + 1);
    return [...this.#functions.keys()].some((name) => name.startsWith(space));
  }

  #functionOf(at: Expression, { name, target, args }: Called, scope: Scope): ExpressionType {
    const overloads = this.#overloadsOf(name, target !== undefined);
    const given = args.map((arg) => this.typeOf(arg, scope));
    const of = target && this.typeOf(target, scope);
    if (overloads.length === 0) return this.#unknown(at, name, target !== undefined);
    const complaint = this.#complaintOf({ name, target, args }, given);
    if (complaint !== undefined) return this.#wrong(at, complaint);
    const taken = of === undefined ? given : [of, ...given];
    if (!needsOnlyPresence(name, taken)) for (const type of taken) useWholly(type);
    const fitting = overloads.filter((one) => fits(one, of, given));
    const [result, ...others] = fitting.map((one) => this.#options.results?.get(one) ?? typeOfLibrary(one.result));
    if (result === undefined) return this.#wrong(at, misfit(name, overloads, { of, given }));
    return others.every((other) => shownType(other) === shownType(result)) ? result : types.dyn;
  }

  #complaintOf(call: Called, types: readonly ExpressionType[]): string | undefined {
    return this.#options.called?.({ name: call.name, args: call.args, types }) ?? patternProblemIn(call);
  }

  #overloadsOf(name: string, isMethod: boolean): readonly CelFunc[] {
    if (isInternal(name)) return [];
    return (this.#functions.get(name) ?? []).filter((one) => (one.target !== undefined) === isMethod);
  }

  #unknown(at: Expression, name: string, isMethod: boolean): ExpressionType {
    const all = [...this.#functions.values()].flat();
    const what = isMethod ? "method" : "function";
    if (all.some((one) => one.name === name)) {
      const form = isMethod ? `${name}(…)` : `value.${name}(…)`;
      return this.#wrong(at, `there is no ${what} ${name}(); it is written ${form}`);
    }
    const names = all.filter((one) => (one.target !== undefined) === isMethod).map((one) => one.name);
    const known = [...new Set(names), ...[...macros.keys()].filter((one) => (one !== "has") === isMethod)].filter(
      (one) => /^[a-z]/i.test(one),
    );
    return this.#wrong(at, `there is no ${what} ${name}()${hint(name, known)}`);
  }
}

interface Impossible {
  readonly text: Expression;
  readonly values: readonly string[];
  readonly why: string | undefined;
}

/** Constants that are compared with something which can never be them. */
function impossibleTexts(
  name: string,
  [left, right]: readonly Expression[],
  [ofLeft, ofRight]: readonly ExpressionType[],
): readonly Impossible[] {
  const isEquality = name === "_==_" || name === "_!=_";
  if (!isEquality && name !== "@in") return [];
  const items = right?.exprKind.case === "listExpr" ? right.exprKind.value.elements : [];
  const ofItems = ofRight?.kind === "list" ? ofRight.item : undefined;
  return isEquality
    ? [...notAmong([right], ofLeft), ...notAmong([left], ofRight)]
    : [...notAmongItems(items, ofLeft), ...notAmong([left], ofItems)];
}

/** A list may name what can never be, and is known, beside what can. */
function notAmongItems(items: readonly Expression[], type: ExpressionType | undefined): readonly Impossible[] {
  const all = notAmong(items, type);
  return all.length < items.length ? all.filter(({ why }) => why === undefined) : all;
}

function notAmong(texts: readonly (Expression | undefined)[], type: ExpressionType | undefined): readonly Impossible[] {
  const values = type?.kind === "scalar" ? type.values : undefined;
  if (values === undefined) return [];
  return texts.flatMap((text) => {
    // Whether a text is empty is a usual question about what may be absent.
    const constant = (text && constantText(text)) || undefined;
    if (text === undefined || constant === undefined || values.includes(constant)) return [];
    return [{ text, values, why: type?.kind === "scalar" ? type.neverIs?.get(constant) : undefined }];
  });
}

function neverSo({ text, values, why }: Impossible): string {
  const constant = constantText(text) ?? "";
  const near = values.find((value) => value.toLowerCase() === constant.toLowerCase()) ?? nearest(constant, values);
  const meant = near === undefined ? "" : `: did you mean ${JSON.stringify(near)}?`;
  const hint = why === undefined ? meant : `: ${why}`;
  const all = values.map((value) => JSON.stringify(value));
  return `what is compared with ${JSON.stringify(constant.slice(0, 100))} is always one of ${all.join(", ")}${hint}`;
}

/** The parser replaces a macro that is written like this; what is left is none. */
const macros: ReadonlyMap<string, string> = new Map([
  ["has", "has(object.field)"],
  ["all", "list.all(item, condition)"],
  ["exists", "list.exists(item, condition)"],
  ["exists_one", "list.exists_one(item, condition)"],
  ["map", "list.map(item, value)"],
  ["filter", "list.filter(item, condition)"],
]);

function noField({ title, names, isComplete }: RecordType, name: string): string {
  const others = names.length === 0 ? "; it has none" : `; known are ${names.join(", ")}`;
  const advice = isComplete ? others : `; write dyn(…).${name} if your version of the kind has it`;
  return `${title === "" ? "the object" : title} has no field ${name}${hint(name, names) || advice}`;
}

interface SpecialCall {
  readonly name: string;
  readonly args: readonly Expression[];
  readonly special: Special;
}

interface Called {
  readonly name: string;
  readonly target: Expression | undefined;
  readonly args: readonly Expression[];
}

/** The condition of a filter, by which its step is one of two. */
function conditionOf({ exprKind }: Expression): Expression | undefined {
  return exprKind.case === "callExpr" && exprKind.value.function === "_?_:_" ? exprKind.value.args[0] : undefined;
}

const isInternal = (name: string): boolean => Object.values<string>(internal).includes(name);

/** The functions of the mesh take the whole object, of which they need nothing from here; the length of a list is always kept. */
const needsOnlyPresence = (name: string, [first]: readonly ExpressionType[]): boolean =>
  name.startsWith("mesh.") || (name === "size" && first?.kind === "list");

/** A constant that is no pattern would fail for every object. */
function patternProblemIn({ name, target, args }: Called): string | undefined {
  const expression = target === undefined ? args[1] : args[0];
  const takesPattern = name === "matches" || name === "find" || name === "findAll";
  const text = takesPattern && expression !== undefined ? constantText(expression) : undefined;
  return text === undefined ? undefined : patternProblem(text);
}

/** A text that is written as a constant. */
export function constantText({ exprKind }: Expression): string | undefined {
  const kind = exprKind.case === "constExpr" ? exprKind.value.constantKind : undefined;
  return kind?.case === "stringValue" ? kind.value : undefined;
}

const constantTypes: Readonly<Record<string, ExpressionType>> = {
  boolValue: types.bool,
  bytesValue: types.bytes,
  doubleValue: types.double,
  int64Value: types.int,
  nullValue: types.null,
  stringValue: types.string,
  uint64Value: types.uint,
};
const typeNames = new Set(["int", "uint", "double", "bool", "string", "bytes", "list", "map", "null_type", "type"]);

function fits(one: CelFunc, of: ExpressionType | undefined, given: readonly ExpressionType[]): boolean {
  const isOf = one.target === undefined || (of !== undefined && isAssignable(of, typeOfLibrary(one.target)));
  return (
    isOf &&
    one.arguments.length === given.length &&
    one.arguments.every((argument, i) => isAssignable(given[i] ?? types.dyn, typeOfLibrary(argument)))
  );
}

const operators: ReadonlyMap<string, string> = new Map([
  ["_<_", "<"],
  ["_<=_", "<="],
  ["_>_", ">"],
  ["_>=_", ">="],
  ["_-_", "-"],
  ["_*_", "*"],
  ["_/_", "/"],
  ["_%_", "%"],
  ["!_", "!"],
  ["-_", "-"],
  ["@in", "in"],
]);

function misfit(
  name: string,
  overloads: readonly CelFunc[],
  { of, given }: { readonly of: ExpressionType | undefined; readonly given: readonly ExpressionType[] },
): string {
  const operator = operators.get(name);
  const got = given.map(shownType).join(operator === undefined ? ", " : " and ");
  if (operator !== undefined) return `${operator} cannot be used with ${got}`;
  const shown = overloads.map((one) => {
    const target = one.target === undefined ? "" : `${shownType(typeOfLibrary(one.target))}.`;
    return `${target}${name}(${one.arguments.map((argument) => shownType(typeOfLibrary(argument))).join(", ")})`;
  });
  const called = `${of === undefined ? "" : `${shownType(of)}.`}${name}(${got})`;
  return `${called} does not exist; there is ${[...new Set(shown)].slice(0, 3).join(" and ")}`;
}
