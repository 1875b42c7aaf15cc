import { type CelFunc, type CelInput, type CelValue, celEnv, isCelError, parse, plan } from "@bufbuild/cel";
import { boundedFunctions, internal } from "./bounded-functions.ts";
import { kubernetesFunctions } from "./kubernetes-functions.ts";
import { hasOpenText, openBracketIn, replaced } from "./tokens.ts";

// Imported only where there is an expression, because the CEL library takes a tenth of a second to load.

type Parsed = ReturnType<typeof parse>;
/** An expression as the library parses it. */
export type Expression = NonNullable<Parsed["expr"]>;

/** The longest expression, in characters. */
const longestExpression = 10_000;
/** Deeper expressions are not read, because recursion could overflow the stack. */
const deepestExpression = 200;

/** A problem of an expression, in one line, at a place in its text: line and column from 1. */
export interface ExpressionProblem {
  readonly message: string;
  readonly line: number;
  readonly column: number;
}

export interface ParsedExpression {
  readonly text: string;
  readonly root: Expression;
  /** Line and column, both from 1, of a part of it. */
  placeOf(id: bigint): { readonly line: number; readonly column: number };
}

/** Parses an expression. Never throws. */
export function parseExpression(text: string): ParsedExpression | ExpressionProblem {
  if (text.length > longestExpression)
    return { message: `it has more than ${longestExpression} characters`, line: 1, column: 1 };
  // The library reads a comment at some places only. Spaces keep the places of everything else.
  const code = replaced(text, { comment: ({ length }) => " ".repeat(length) });
  if (deepestNesting(code) > deepestExpression)
    return { message: `it is nested more than ${deepestExpression} levels deep`, line: 1, column: 1 };
  try {
    const { expr, sourceInfo } = parse(code);
    if (expr === undefined) return { message: "it is empty", line: 1, column: 1 };
    return { text, root: expr, placeOf: (id) => placeIn(text, sourceInfo?.positions[String(id)] ?? 0) };
  } catch (error) {
    return syntaxProblem(error, text);
  }
}

/** Brackets, and the operators that can stand before an operand again and again. */
function deepestNesting(text: string): number {
  let [depth, deepest, prefixes] = [0, 0, 0];
  for (const letter of text) {
    if ("([{".includes(letter)) depth++;
    else if (")]}".includes(letter)) depth--;
    prefixes = letter === "!" || letter === "-" || letter === "?" ? prefixes + 1 : prefixes;
    deepest = Math.max(deepest, depth);
  }
  return Math.max(deepest, prefixes);
}

function placeIn(text: string, offset: number): { readonly line: number; readonly column: number } {
  const before = text.slice(0, offset).split("\n");
  return { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 };
}

function syntaxProblem(error: unknown, text: string): ExpressionProblem {
  if (error instanceof RangeError) return { message: "it is nested too deeply", line: 1, column: 1 };
  const offset = offsetOf(error) ?? 0;
  const at = placeIn(text, offset);
  const found = text.slice(offset, offset + 20).split("\n")[0] ?? "";
  const optional = /\.\?|\[\?/.test(text) ? "; optional fields (.?name, [?index]) are not supported, use has()" : "";
  const what = found.trim() === "" ? "it ends too early" : `it cannot be read from ${JSON.stringify(found)} on`;
  return { ...at, message: `syntax error: ${what}${optional || meantBy(text, offset)}` };
}

/** What somebody meant who writes other languages; empty if that is not known. */
function meantBy(text: string, offset: number): string {
  const [before, after] = [text.slice(0, offset), text.slice(offset)];
  if (hasOpenText(text)) return "; a text does not end: close its quote";
  const open = openBracketIn(text);
  if (open !== undefined) return `; ${open} is not closed at the end`;
  if (/^=[^=]/.test(after)) return "; write == to compare";
  if (/^(?:and|AND)\b/.test(after)) return "; write && for and";
  if (/^(?:or|OR)\b/.test(after)) return "; write || for or";
  if (/^not\s+in\b/.test(after)) return "; write !(a in b) for not in";
  return /(?:^|[^\w.])not\s+$/.test(before) ? "; write ! for not" : "";
}

const offsetOf = (error: unknown): number | undefined => {
  const location = (error as { location?: { start?: { offset?: unknown } } }).location?.start?.offset;
  return typeof location === "number" ? location : undefined;
};

/** All functions of Kubernetes' CEL that are known here, with those of the CEL library. */
const standard = celEnv();
const known = celEnv({ funcs: [...boundedFunctions(standard.funcs), ...kubernetesFunctions] });

export type Variables = Readonly<Record<string, CelInput>>;
/** Returns a value; throws an Error if the evaluation ends in an error. Run it with a limit: see metered. */
export type Program = (variables: Variables) => CelValue;
/** The same, but returns the error: that many objects make an expression fail must not cost more than that they fulfil it. */
export type Evaluator = (variables: Variables) => CelValue | EvaluationFailure;

/** Why an evaluation has no value. */
export class EvaluationFailure {
  readonly message: string;
  constructor(message: string) {
    this.message = message;
  }
}

/** Functions, with more of them than Kubernetes has, and the programs that use them. */
export class CelLanguage {
  readonly #environment: ReturnType<typeof celEnv>;

  constructor(more: readonly CelFunc[] = []) {
    this.#environment = more.length === 0 ? known : celEnv({ funcs: [...known.funcs, ...more] });
  }

  get functions(): Iterable<CelFunc> {
    return this.#environment.funcs;
  }

  /** Throws an Error if the expression cannot be planned. It changes the expression, which is read only once. */
  program(parsed: ParsedExpression): Program {
    const evaluate = this.evaluator(parsed);
    return (variables) => {
      const result = evaluate(variables);
      if (result instanceof EvaluationFailure) throw new Error(result.message);
      return result;
    };
  }

  /** The same, for what is evaluated very often. */
  evaluator({ root, placeOf }: ParsedExpression): Evaluator {
    counted(root);
    const evaluate = plan(this.#environment, root) as (variables: Variables) => unknown;
    return (variables) => {
      const result = withoutStacks(() => evaluate(Object.assign(new Bound(), variables)));
      if (!isCelError(result)) return result as CelValue;
      const { line, column } = placeOf(result.exprId ?? 0n);
      return new EvaluationFailure(`${reasonOf(result.message)} (line ${line}, column ${column} of the expression)`);
    };
  }
}

/** The library does not know the length of the list when it says `index 5 out of bounds [0, -1)`. */
const reasonOf = (message: string): string =>
  message.replace(/^(index \S+) out of bounds \[0, -1\)$/, "the list has no item at $1");

/** Variables, and nothing that every object has, such as `constructor`. */
class Bound {
  static {
    Object.setPrototypeOf(Bound.prototype, null);
    Reflect.deleteProperty(Bound.prototype, "constructor");
  }
}

/**
 * Errors are values of CEL: `||`, `&&` and macros go on after one. The library makes each an Error of JavaScript, of which the
 * stack, that nobody reads, takes longer than an evaluation.
 */
function withoutStacks<T>(evaluate: () => T): T {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return evaluate();
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

/** Counts each step of each macro, and lets macros fill their lists in linear time. */
function counted(root: Expression): void {
  const open: (Expression | undefined)[] = [root];
  for (let one = open.pop(); one !== undefined || open.length > 0; one = open.pop()) {
    if (one === undefined) continue;
    open.push(...partsOf(one));
    if (one.exprKind.case !== "comprehensionExpr") continue;
    const macro = one.exprKind.value;
    if (macro.loopCondition !== undefined)
      macro.loopCondition = callOf(macro.loopCondition, internal.step, [macro.loopCondition]);
    macro.loopStep = macro.loopStep && withAppend(macro.loopStep, macro.accuVar);
  }
}

const callOf = (at: Expression, name: string, args: Expression[]): Expression => ({
  ...at,
  exprKind: { case: "callExpr", value: { $typeName: "cel.expr.Expr.Call", function: name, args } },
});

/** `accu + [item]`, alone or as one of two branches. */
function withAppend(step: Expression, accu: string): Expression {
  if (step.exprKind.case !== "callExpr") return step;
  const { function: name, args } = step.exprKind.value;
  if (name === "_?_:_") {
    step.exprKind.value.args = args.map((arg, i) => (i === 0 ? arg : withAppend(arg, accu)));
    return step;
  }
  const [to, list] = args;
  if (name !== "_+_" || to?.exprKind.case !== "identExpr" || to.exprKind.value.name !== accu) return step;
  const item = list?.exprKind.case === "listExpr" ? list.exprKind.value.elements[0] : undefined;
  return item === undefined ? step : callOf(step, internal.append, [to, item]);
}

/** The expressions in an expression. */
export function partsOf({ exprKind }: Expression): readonly (Expression | undefined)[] {
  switch (exprKind.case) {
    case "callExpr":
      return [exprKind.value.target, ...exprKind.value.args];
    case "selectExpr":
      return [exprKind.value.operand];
    case "listExpr":
      return exprKind.value.elements;
    case "structExpr":
      return exprKind.value.entries.flatMap((entry) => [
        entry.keyKind.case === "mapKey" ? entry.keyKind.value : undefined,
        entry.value,
      ]);
    case "comprehensionExpr": {
      const { iterRange, accuInit, loopCondition, loopStep, result } = exprKind.value;
      return [iterRange, accuInit, loopCondition, loopStep, result];
    }
    default:
      return [];
  }
}
