import type { CelInput } from "@bufbuild/cel";
import { metered, mostSteps } from "../cel/cost.ts";
import { celMapOf, celValueOf } from "../cel/values.ts";
import { EvaluationFailure, type ExpressionProblem, type Variables } from "../cel/program.ts";
import { BudgetExceeded } from "../engine/budget.ts";
import type { Evidence } from "../engine/evidence.ts";
import type { Problem, Rule } from "../engine/rule.ts";
import { FieldUse } from "../kube/kept-fields.ts";
import type { Kind } from "../kube/kinds.ts";
import type { AnyObject } from "../kube/object.ts";
import { describe, isObject } from "../kube/read.ts";
import { namespaceIn } from "../mesh/membership/namespaces.ts";
import { type CustomRuleSpec, customTag, type ParameterValue, type Requester } from "../policy/documents.ts";
import type { DefineRules } from "../policy/load.ts";
import type { SchemaProblem } from "../policy/schema-problems.ts";
import type { Mesh, Reads } from "../view/view.ts";
import { type CompiledExpression, compileExpression, type ExpressionContext } from "./expressions.ts";
import { kindNamed, type NamedKind } from "./kinds.ts";
import { answering } from "./mesh-calls.ts";
import type { Asking, MeshFunction } from "./mesh-functions.ts";
import { type Reach, reachOf } from "./reach.ts";

/** Makes a rule of the engine of each rule that a policy defines. */
export const defineCustomRules: DefineRules = (policy, specs, formed) => {
  const problems: SchemaProblem[] = [];
  const rules: Rule[] = [];
  for (const [i, spec] of specs.entries()) {
    if (formed?.has(i) === false) continue;
    const found = defined(policy, spec, ["spec", "customRules", i]);
    if ("problems" in found) problems.push(...found.problems);
    else rules.push(found.rule);
  }
  return problems.length > 0 ? { problems } : { rules };
};

type Path = readonly (string | number)[];

function defined(
  policy: string,
  spec: CustomRuleSpec,
  at: Path,
): { readonly rule: Rule } | { readonly problems: readonly SchemaProblem[] } {
  const name = `spec.customRules[${String(at[2])}]`;
  const problems: SchemaProblem[] = [];
  const kinds: NamedKind[] = [];
  for (const [i, kind] of spec.kinds.entries()) {
    const found = kindNamed(kind);
    if (typeof found === "string") problems.push({ at: [...at, "kinds", i], message: `${name}.kinds[${i}]: ${found}` });
    else kinds.push(found);
  }
  for (const [key, value] of Object.entries(spec.parameters ?? {}))
    if (!isParameter(key, value))
      problems.push({
        at: [...at, "parameters", key],
        message: `${name}.parameters.${key}: expected a name of letters and digits with a text, a number, true or false, or a list of texts, found ${describe(value)}`,
      });
  const uses = new Map<Kind, FieldUse>(kinds.map(({ kind }) => [kind, new FieldUse()]));
  const context = { kinds, parameters: spec.parameters ?? {}, uses };
  const compile = (field: "expression" | "messageExpression", result: ExpressionContext["result"]) => {
    const text = spec[field];
    const found =
      text === undefined || problems.length > 0 ? undefined : compileExpression(text, { ...context, result });
    if (found === undefined || !Array.isArray(found)) return found as CompiledExpression | undefined;
    for (const problem of (found as readonly ExpressionProblem[]).slice(0, 5))
      problems.push({ at: [...at, field], message: `${name}.${field}: ${placed(problem)}` });
    return undefined;
  };
  const expression = compile("expression", "bool");
  const message = compile("messageExpression", "string");
  if (expression === undefined || problems.length > 0) return { problems };
  return { rule: ruleOf({ policy, spec, kinds, uses, expression, message }) };
}

const placed = ({ message, line, column }: ExpressionProblem): string =>
  `${message} (line ${line}, column ${column} of the expression)`;

function isParameter(name: string, value: unknown): boolean {
  if (!/^[a-zA-Z][a-zA-Z0-9]*$/.test(name) || reserved.has(name)) return false;
  if (Array.isArray(value)) return value.every((item) => typeof item === "string");
  return typeof value === "string" || typeof value === "boolean" || typeof value === "number";
}
/** Names of parameters that the engine fills. */
const reserved = new Set(["request", "protectedNames", "protectedLabels", "hostOwners"]);

interface Draft {
  readonly policy: string;
  readonly spec: CustomRuleSpec;
  readonly kinds: readonly NamedKind[];
  readonly uses: ReadonlyMap<Kind, FieldUse>;
  readonly expression: CompiledExpression;
  readonly message: CompiledExpression | undefined;
}

function ruleOf(draft: Draft): Rule {
  const { policy, spec, kinds, uses, expression, message } = draft;
  const programs = message === undefined ? [expression] : [expression, message];
  const needs: Needs = {
    subject: [...new Set(kinds.map(({ kind }) => kind))],
    functions: new Set(programs.flatMap((one) => [...one.functions])),
    variables: new Set(programs.flatMap((one) => [...one.variables])),
  };
  const { subject, functions, variables } = needs;
  const reach = reachOf(subject, functions.size === 0 ? [] : programs.flatMap(({ constants }) => constants));
  const keeps = new FieldUse();
  for (const use of uses.values()) keeps.add(use);
  keeps.isOfEveryChange = variables.has("request");
  const evaluation = new Evaluation(draft, reach, keeps);
  const definedBy = `MeshwardPolicy ${policy}`;
  const base = {
    id: `${policy}/${spec.id}`,
    subject,
    reads: readsOf(needs, reach),
    worksWithout: [],
    mode: spec.mode ?? "warn",
    since: "",
    tags: [customTag],
    definedBy,
    keeps,
    parameters: parametersOf(spec, needs),
    // What a request says is about the object in it.
    ...(variables.has("request") ? { onlyOwnChanges: true as const } : {}),
    summary: ended(spec.message),
    why: `${definedBy} requires this of every ${spec.kinds.join(", ")}: ${spec.expression.trim()}`,
    fix: ended(spec.fix ?? `Change the object so that it fulfils the rule, or ask the owners of ${definedBy}`),
  } satisfies Partial<Rule>;
  // Whoever names the old object compares, which is done where there is one.
  if (variables.has("oldObject"))
    return {
      ...base,
      compare: (before, after, parameters) => evaluation.of({ ...after, old: before.object, parameters }),
    };
  const check: Rule["check"] = (object, mesh, parameters) =>
    evaluation.of({ object, mesh, old: undefined, parameters });
  // Whether somebody may send a request was not asked before it was sent, so that no problem was there before.
  if (variables.has("request"))
    return { ...base, check, compare: (_before, { object, mesh }, parameters) => check(object, mesh, parameters) };
  return { ...base, check };
}

/** What the expressions of a rule need. */
interface Needs {
  readonly subject: readonly Kind[];
  readonly functions: ReadonlySet<MeshFunction>;
  readonly variables: ReadonlySet<string>;
}

function readsOf({ subject, functions, variables }: Needs, reach: Reach): readonly Reads[] {
  const ofFunctions = subject.flatMap((kind) => [...functions].flatMap((one) => one.reads(kind, reach)));
  const isInNamespace = variables.has("namespaceObject") || functions.size > 0;
  return [...new Set(isInNamespace ? [...reach.toNamespaces, ...ofFunctions] : ofFunctions)];
}

function parametersOf({ parameters = {} }: CustomRuleSpec, { functions, variables }: Needs): Rule["parameters"] {
  const own = Object.entries(parameters).map(([name, value]) => {
    return [name, { summary: `The value of params.${name}.`, default: value }] as const;
  });
  const ofRequest = variables.has("request") ? { request: { summary: "The request.", default: "" } } : {};
  const isAboutProtection = [...functions].some(({ name }) => name === "isProtected");
  const ofProtection = {
    protectedNames: { summary: "Names of protected namespaces.", default: [] },
    protectedLabels: { summary: "Labels of protected namespaces.", default: [] },
  };
  return { ...Object.fromEntries(own), ...ofRequest, ...(isAboutProtection ? ofProtection : {}) };
}

/** A sentence, from a capital letter to a full stop. */
function ended(text: string): string {
  const trimmed = text.trim();
  const sentence = trimmed.charAt(0).toUpperCase() + trimmed.slice(1);
  return /[.!?]$/.test(sentence) ? sentence : `${sentence}.`;
}

interface Subject {
  readonly object: AnyObject;
  readonly old: AnyObject | undefined;
  readonly mesh: Mesh;
  readonly parameters: Readonly<Record<string, ParameterValue>>;
}

class Evaluation {
  readonly #draft: Draft;
  readonly #reach: Reach;
  readonly #keeps: FieldUse;
  readonly #served: ReadonlySet<string>;
  readonly #variables: ReadonlySet<string>;
  readonly #message: string;
  readonly #covering = new WeakMap<FieldUse, boolean>();

  constructor(draft: Draft, reach: Reach, keeps: FieldUse) {
    this.#draft = draft;
    this.#reach = reach;
    this.#keeps = keeps;
    this.#message = sentence(draft.spec.message);
    this.#served = new Set(draft.kinds.map(({ kind, served }) => `${kind} ${served.kind}`));
    this.#variables = new Set([draft.expression, draft.message].flatMap((one) => [...(one?.variables ?? [])]));
  }

  *of(subject: Subject): Generator<Problem | undefined, void> {
    const { object, old, parameters } = subject;
    if (object.implied || !this.#served.has(`${object.kind} ${object.originKind}`)) return;
    // Without a request, nothing is known about it, and nothing is said.
    if (this.#variables.has("request") && typeof parameters["request"] !== "object") return;
    if (!this.#isKept(object) || (old !== undefined && !this.#isKept(old))) {
      yield this.#notDecided("the fields of this object that the rule reads");
      return;
    }
    const problem = this.#problem(subject);
    if (problem !== undefined) yield problem;
  }

  #isKept({ kept }: AnyObject): boolean {
    if (kept === undefined) return false;
    let covers = this.#covering.get(kept.fields);
    if (covers === undefined) this.#covering.set(kept.fields, (covers = kept.fields.covers(this.#keeps)));
    return covers;
  }

  #problem(subject: Subject): Problem | undefined {
    const { expression } = this.#draft;
    const { mesh, object } = subject;
    const asking: Asking = {
      object,
      mesh,
      reach: this.#reach,
      protectedNames: (subject.parameters["protectedNames"] ?? []) as readonly string[],
      protectedLabels: (subject.parameters["protectedLabels"] ?? []) as readonly string[],
      evidence: new Set<Evidence>(),
      notKnown: undefined,
      exceeded: undefined,
      answers: new Map<string, CelInput>(),
    };
    let why: unknown;
    try {
      const variables = this.#bind(subject, asking);
      const { value, spent } = metered(mostSteps, () => answering(asking, () => expression.evaluate(variables)));
      mesh.visited(Math.ceil(spent));
      if (value === true) return undefined;
      if (value === false) return this.#wrong(variables, asking);
      why = value instanceof EvaluationFailure ? value.message : "it results in something that is not bool";
    } catch (error) {
      if (error instanceof BudgetExceeded) throw error;
      why = error;
    }
    if (asking.exceeded !== undefined) throw asking.exceeded;
    return asking.notKnown === undefined ? this.#failed(why) : this.#notDecided(asking.notKnown);
  }

  #wrong(variables: Variables, asking: Asking): Problem {
    const { message } = this.#draft;
    const said = message && textOf(() => answering(asking, () => message.evaluate(variables)));
    const { evidence } = asking;
    return {
      at: [],
      message: said ?? this.#message,
      ...(evidence.size > 0 ? { evidence: [...evidence] } : {}),
    };
  }

  #bind({ object, old, mesh, parameters }: Subject, asking: Asking): Variables {
    const wanted = this.#variables;
    const { namespace, name } = object.metadata;
    return {
      object: asWritten(object),
      ...(old === undefined ? {} : { oldObject: asWritten(old) }),
      ...(wanted.has("params") ? { params: celMapOf(Object.entries(parameters)) } : {}),
      ...(wanted.has("namespaceObject") ? { namespaceObject: namespaceOf(object, mesh, asking) } : {}),
      ...(wanted.has("request")
        ? { request: requestOf(parameters["request"] as Requester, { object, namespace, name }) }
        : {}),
    };
  }

  /** It is not known whether the object is right, which is neither a denial nor silence. */
  #notDecided(what: string): Problem {
    const message = `It is not known whether this object is right, because ${what} are not known`;
    return {
      at: [],
      key: "not known",
      message,
      guess: what,
      onlyWarns: `${what} are not known`,
      fix: "Check the object when that is known.",
    };
  }

  #failed(error: unknown): Problem {
    const { spec, policy } = this.#draft;
    const reason = error instanceof Error ? error.message : String(error);
    return {
      at: [],
      key: "failed",
      message: `The expression of this rule failed, so it is not known whether the object is right: ${sentence(reason)}`,
      fix: `Correct the expression of ${spec.id} in MeshwardPolicy ${policy}. Until then, onError: warn for this rule allows changes.`,
      undecided: "error",
    };
  }
}

/** One line without a full stop, as messages of rules are. Most texts are that. */
const sentence = (text: string): string =>
  (isLine.test(text) ? text : text.replaceAll(/\s+/g, " ").trim()).replace(/\.$/, "").slice(0, 1_000);
const isLine = /^[!-~]+(?: [!-~]+)*$/;

/** What a message expression says; undefined: it fails, or says nothing. */
function textOf(evaluate: () => unknown): string | undefined {
  try {
    const { value } = metered(mostSteps, evaluate);
    return typeof value === "string" && value.trim() !== "" ? sentence(value) : undefined;
  } catch {
    return undefined;
  }
}

/** The last objects that were converted: several rules are asked about the same object, on two sides of a change. */
const converted = new Map<AnyObject, ReturnType<typeof celMapOf>>();
const mostConverted = 4;

function asWritten(object: AnyObject): ReturnType<typeof celMapOf> {
  const known = converted.get(object);
  if (known !== undefined) return known;
  const value = isObject(object.kept?.value) ? object.kept.value : {};
  const { name, namespace } = object.metadata;
  // The request names what the object itself may leave out.
  const identity = { ...(name === "" ? {} : { name }), ...(namespace === "" ? {} : { namespace }) };
  const metadata = { ...(isObject(value["metadata"]) ? value["metadata"] : {}), ...identity };
  const found = celMapOf(Object.entries({ ...value, metadata }));
  if (converted.size >= mostConverted) converted.delete(converted.keys().next().value as AnyObject);
  converted.set(object, found);
  return found;
}

function namespaceOf(object: AnyObject, mesh: Mesh, asking: Asking): ReturnType<typeof celValueOf> {
  if (object.kind !== "Namespace" && object.metadata.namespace === "") return null;
  const namespace = object.kind === "Namespace" ? object : namespaceIn(mesh, object.metadata.namespace);
  if (namespace.implied) {
    asking.notKnown = `the labels of Namespace ${namespace.metadata.name}`;
    throw new Error(asking.notKnown);
  }
  if (namespace !== object) asking.evidence.add(namespace);
  const { name, labels, annotations } = namespace.metadata;
  const { phase } = namespace.status;
  return celValueOf({ metadata: { name, labels, annotations }, status: { phase } });
}

function requestOf(
  { operation, user, groups }: Requester,
  { object, namespace, name }: { readonly object: AnyObject; readonly namespace: string; readonly name: string },
): ReturnType<typeof celValueOf> {
  const [group = "", version = ""] = object.apiVersion.includes("/")
    ? object.apiVersion.split("/")
    : ["", object.apiVersion];
  const kind = { group, version, kind: object.originKind };
  return celValueOf({ operation, name, namespace, kind, userInfo: { username: user, groups } });
}
