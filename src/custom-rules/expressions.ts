import { type CheckedCall, checkExpression, constantText } from "../cel/check.ts";
import type { ExpressionType } from "../cel/expression-types.ts";
import { mapOf, shownType, types } from "../cel/expression-types.ts";
import { metered, mostSteps } from "../cel/cost.ts";
import { costProblem } from "../cel/estimated-cost.ts";
import {
  CelLanguage,
  EvaluationFailure,
  type Evaluator,
  type Expression,
  type ExpressionProblem,
  type ParsedExpression,
  parseExpression,
  partsOf,
} from "../cel/program.ts";
import { FieldUse } from "../kube/kept-fields.ts";
import type { Kind } from "../kube/kinds.ts";
import type { ParameterValue } from "../policy/documents.ts";
import { listed } from "../text/phrases.ts";
import { type NamedKind, schemaOfKind } from "./kinds.ts";
import { celMeshFunctions, meshResults } from "./mesh-calls.ts";
import { type MeshFunction, meshFunctions } from "./mesh-functions.ts";
import { typeOfNamespace, typeOfObject, typeOfRequest } from "./object-types.ts";

/** The language of custom rules: Kubernetes' policy language and the functions of the mesh. */
export const language = new CelLanguage(celMeshFunctions);

/** A checked expression, and what it needs. */
export interface CompiledExpression {
  readonly text: string;
  readonly evaluate: Evaluator;
  /** The variables that it reads. */
  readonly variables: ReadonlySet<string>;
  /** The functions of the mesh that it calls. */
  readonly functions: ReadonlySet<MeshFunction>;
  /** Its constants that may be names of namespaces or hosts. */
  readonly constants: readonly string[];
}

export interface ExpressionContext {
  readonly kinds: readonly NamedKind[];
  readonly parameters: Readonly<Record<string, ParameterValue>>;
  /** Where it is noted what the expression reads of each kind. */
  readonly uses: ReadonlyMap<Kind, FieldUse>;
  readonly result: "bool" | "string";
}

/** Parses and checks an expression for every kind. Never throws. */
export function compileExpression(
  text: string,
  context: ExpressionContext,
): CompiledExpression | readonly ExpressionProblem[] {
  const parsed = parseExpression(text);
  if ("message" in parsed) return [parsed];
  const variables = new Set<string>();
  const functions = new Set<MeshFunction>();
  const problems = new Map<string, ExpressionProblem>();
  for (const kind of context.kinds) {
    const checked = checkExpression(parsed, {
      variables: variablesFor(kind, context),
      functions: language.functions,
      results: meshResults,
      called: (call) => calledFor(kind.kind, call, functions),
    });
    for (const name of checked.reads) variables.add(name);
    const more = context.kinds.length > 1 ? ` (for ${kind.served.kind})` : "";
    const result = wrongResult(checked.type, context.result);
    for (const problem of [...checked.problems, ...(result === undefined ? [] : [result])])
      problems.set(`${problem.line} ${problem.column} ${problem.message}`, {
        ...problem,
        message: `${problem.message}${more}`,
      });
  }
  if (problems.size > 0) return [...problems.values()].sort((a, b) => a.line - b.line || a.column - b.column);
  const cost = costProblem(parsed.root);
  if (cost !== undefined) return [{ message: cost, line: 1, column: 1 }];
  return planned(parsed, { variables, functions });
}

/** What can be evaluated. Planning changes the expression, so its constants are read before. */
function planned(
  parsed: ParsedExpression,
  needs: Pick<CompiledExpression, "variables" | "functions">,
): CompiledExpression | readonly ExpressionProblem[] {
  const constants = [...textsIn(parsed.root)].filter(
    (one) => one.length <= 253 && /^[a-z0-9*]([-a-z0-9.]*)$/.test(one),
  );
  try {
    const evaluate = language.evaluator(parsed);
    const failure = needs.variables.size + needs.functions.size === 0 ? failureOf(evaluate) : undefined;
    if (failure !== undefined) return [{ message: failure, line: 1, column: 1 }];
    return { text: parsed.text, evaluate, ...needs, constants };
  } catch (error) {
    return [{ message: error instanceof Error ? error.message : String(error), line: 1, column: 1 }];
  }
}

/** What reads nothing has the same result for every object, also if that is an error. */
function failureOf(evaluate: Evaluator): string | undefined {
  const why = (message: string) =>
    `it ends in an error for every object: ${message.replace(/ \(line \d+, column \d+ of the expression\)$/, "")}`;
  try {
    const { value } = metered(mostSteps, () => evaluate({}));
    return value instanceof EvaluationFailure ? why(value.message) : undefined;
  } catch (error) {
    return why(error instanceof Error ? error.message : String(error));
  }
}

function variablesFor(kind: NamedKind, { parameters, uses }: ExpressionContext): ReadonlyMap<string, ExpressionType> {
  const object = typeOfObject(schemaOfKind(kind), uses.get(kind.kind) ?? new FieldUse());
  return new Map<string, ExpressionType>([
    ["object", object],
    ["oldObject", { ...object }],
    ["namespaceObject", typeOfNamespace],
    ["request", typeOfRequest],
    ["params", typeOfParameters(parameters)],
  ]);
}

function typeOfParameters(parameters: Readonly<Record<string, ParameterValue>>): ExpressionType {
  const names = Object.keys(parameters);
  return {
    kind: "record",
    title: "params",
    isComplete: true,
    names,
    field: (name) => (Object.hasOwn(parameters, name) ? typeOfParameter(parameters[name]) : undefined),
  };
}

function typeOfParameter(value: ParameterValue | undefined): ExpressionType {
  if (typeof value === "string") return types.string;
  if (typeof value === "boolean") return types.bool;
  if (typeof value === "number") return Number.isInteger(value) ? types.int : types.double;
  return Array.isArray(value) ? { kind: "list", item: types.string } : mapOf(types.dyn);
}

function wrongResult(type: ExpressionType, wanted: "bool" | "string"): ExpressionProblem | undefined {
  const isRight = type.kind === "dyn" || (type.kind === "scalar" && type.name === wanted);
  return isRight ? undefined : { message: `it results in ${shownType(type)}; expected ${wanted}`, line: 1, column: 1 };
}

const isObject = ({ exprKind }: Expression): boolean =>
  exprKind.case === "identExpr" && exprKind.value.name === "object";

/** Whether a function of the mesh can be called so for a kind; notes which function it is. */
function calledFor(
  kind: Kind,
  { name, args, types: given }: CheckedCall,
  functions: Set<MeshFunction>,
): string | undefined {
  const overloads = meshFunctions.filter((one) => `mesh.${one.name}` === name && one.takes.length === args.length);
  const takesObject = given[0]?.kind === "record" || given[0]?.kind === "map";
  const found = overloads.find(({ takes }) => (takes[0] === "object") === takesObject);
  if (found === undefined) return undefined;
  functions.add(found);
  if (found.takes[0] !== "object") return undefined;
  const [first] = args;
  if (first === undefined || !isObject(first)) return `${name}() takes only the variable object itself`;
  return found.kinds?.includes(kind) === false ? otherKind(found, overloads) : undefined;
}

function otherKind({ name, kinds = [] }: MeshFunction, overloads: readonly MeshFunction[]): string {
  const known = listed(
    kinds.map((one) => (one === "Workload" ? "workloads (such as Deployment)" : one)),
    "and",
  );
  const hasOther = overloads.some(({ takes }) => takes[0] === "namespace");
  const other = hasOther ? `; for the namespace of another object, use mesh.${name}(object.metadata.namespace)` : "";
  return `mesh.${name}(object) is defined for ${known}${other}`;
}

function* textsIn(root: Expression): Generator<string, void> {
  const open: (Expression | undefined)[] = [root];
  while (open.length > 0) {
    const one = open.pop();
    if (one === undefined) continue;
    const text = constantText(one);
    if (text !== undefined) yield text;
    open.push(...partsOf(one));
  }
}
