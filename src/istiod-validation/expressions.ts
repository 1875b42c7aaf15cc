import { parse } from "@bufbuild/cel";
import { isObject } from "../kube/read.ts";
import { quoted } from "../text/printable.ts";

// Imported only where there is an expression, because the CEL library takes a tenth of a second to load.

/** The longest expression that is read; longer ones are not checked. */
const longest = 10_000;

/** Why a text is no expression in the syntax of CEL, in one line. Never throws. */
export function expressionProblem(text: string): string | undefined {
  if (text.length > longest) return undefined;
  try {
    return refusedIn(parse(readable(text)).expr);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    const at = offsetOf(error);
    const rest = text.slice(at, at + 20).split("\n")[0] ?? "";
    return rest.trim() === "" ? "it ends too early" : `it cannot be read from ${JSON.stringify(rest)} on`;
  }
}

/** What the library leaves to the evaluation and the parser of cel-go, which istiod asks, refuses. */
function refusedIn(part: unknown): string | undefined {
  if (!isObject(part) || isLeastNumber(part)) return undefined;
  const found = refusedMacro(part) ?? refusedNumber(part);
  if (found !== undefined) return found;
  for (const inner of Object.values(part).flat()) {
    const problem = refusedIn(inner);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

/** A macro that the library did not expand is a call; with these counts of arguments, cel-go has it for a macro (parser/macro.go). */
function refusedMacro({ function: name, target, args }: Record<string, unknown>): string | undefined {
  if (typeof name !== "string" || !Array.isArray(args)) return undefined;
  if (name === "has" && target === undefined && args.length === 1) return "has() needs a field, such as has(a.b)";
  const isRefused = target !== undefined && overLists.has(name) && isCountOfMacro(name, args.length);
  return isRefused ? `${quoted(name)} needs the name of a variable first` : undefined;
}
const isCountOfMacro = (name: string, count: number): boolean => count === 2 || (name === "map" && count === 3);
const overLists: ReadonlySet<string> = new Set(["all", "exists", "exists_one", "map", "filter"]);

/** `- 9223372036854775808` with a space is one literal for cel-go. */
const isLeastNumber = ({ function: name, args }: Record<string, unknown>): boolean =>
  name === "-_" && Array.isArray(args) && valueOf(args[0]) === 2n ** 63n;

const valueOf = (expression: unknown): unknown =>
  ["exprKind", "value", "constantKind", "value"].reduce(inside, expression);
const inside = (part: unknown, field: string): unknown => (isObject(part) ? part[field] : undefined);

/** A number that its type does not have (cel-go parser/parser.go VisitInt, VisitUint, VisitDouble). */
function refusedNumber({ case: kind, value }: Record<string, unknown>): string | undefined {
  const isHeld = kind === "doubleValue" ? Number.isFinite(value) : integers.get(kind)?.(value as bigint);
  return isHeld === false ? "it has a number that is too large" : undefined;
}
const integers: ReadonlyMap<unknown, (value: bigint) => boolean> = new Map([
  ["int64Value", (value: bigint) => BigInt.asIntN(64, value) === value],
  ["uint64Value", (value: bigint) => BigInt.asUintN(64, value) === value],
]);

/**
 * The library does not read comments, which end with the line, nor names that begin with `true` or `false`, nor fields in
 * backquotes, which are no names of functions. Texts in quotes have none of them. All positions stay the same.
 */
const readable = (text: string): string =>
  text.replace(
    /("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|\/\/[^\n]*|(?<!\w)(?:true|false)(?=\w)|(?<=\.\s{0,9})`[\w./ -]+`(?!\s*\()/gs,
    (all, quotation?: string) => quotation ?? (all.startsWith("/") ? " " : "_").repeat(all.length),
  );

function offsetOf(error: unknown): number {
  const offset = (error as { location?: { start?: { offset?: unknown } } }).location?.start?.offset;
  return typeof offset === "number" ? offset : 0;
}
