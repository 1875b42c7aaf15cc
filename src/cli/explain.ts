import { Command, Option } from "commander";
import { keptFieldsOf, rulesInForce } from "../custom-rules/in-force.ts";
import { selectionOf } from "../engine/setting.ts";
import { type ExplanationInput, explanationOf, type Question } from "../explain/explanation.ts";
import { findTarget, type Target } from "../explain/target.ts";
import { readTargetName } from "../explain/target-name.ts";
import type { Policies } from "../policy/policies.ts";
import { differenceOf } from "../report/explanation-difference.ts";
import { jsonDifference, jsonExplanation } from "../report/explanation-json.ts";
import { textDifference, textExplanation } from "../report/explanation-text.ts";
import type { Page } from "../report/page.ts";
import { rules } from "../rules/index.ts";
import { knowledgeOfMesh } from "../sources/manifests/file-mesh.ts";
import { UsageError } from "../text/usage-error.ts";
import type { Mesh } from "../view/view.ts";
import { contextOption, kubeconfigOption } from "./cluster-options.ts";
import { namespaceName } from "./namespace-option.ts";
import { meshAfterChange } from "./changed-mesh.ts";
import { explainPolicy } from "./explain-policy.ts";
import { policiesFor } from "./cluster-policies.ts";
import { clusterDomainOption, type MeshOptions, readMesh } from "./mesh-option.ts";
import { policiesFromClusterOption, policiesOption, type PolicyOptions, profileOption } from "./policy-options.ts";
import { shownError } from "./source-errors.ts";
import { type ExitCode, tellProblem, type Terminal } from "./terminal.ts";

export interface ExplainOptions extends PolicyOptions, MeshOptions {
  readonly namespace: string;
  readonly from?: string;
  readonly change?: string;
  readonly delete?: string;
  readonly strict?: boolean;
  readonly ambient?: boolean;
  readonly policy?: boolean;
  readonly format: "text" | "json";
}

export function explainCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  return new Command("explain")
    .description("explain which configuration applies to a namespace, a workload, a host or a gateway, and why")
    .argument("<what>", "namespace/payments, deployment/payments/api, gateway/ingress/public, or host")
    .argument("[name]", "the name, if the first argument is only a kind: host api.payments.svc.cluster.local")
    .requiredOption(
      "--mesh <path>",
      "the mesh to explain; a file or folder of manifests, a capture, or the word cluster",
    )
    .option("--from <namespace>", "for a host: namespace of the clients")
    .option("--change <file>", "show only what changes when these manifests are applied; - reads standard input")
    .option("--delete <file>", "show only what changes when the objects in these manifests are deleted")
    .option(
      "--policy",
      "for any object, KIND/NAMESPACE/NAME: show which policies and exceptions apply, and what decides",
    )
    .option("--strict", "for a namespace: show what would stop working if it required mTLS of every caller")
    .option(
      "--ambient",
      "for a namespace: show what would stop working if ztunnel captured it instead of sidecars, and what needs a waypoint",
    )
    .option("-n, --namespace <name>", "namespace for names and objects that do not name one", namespaceName, "default")
    .addOption(kubeconfigOption())
    .addOption(contextOption())
    .addOption(clusterDomainOption())
    .addOption(policiesOption())
    .addOption(policiesFromClusterOption())
    .addOption(profileOption())
    .addOption(new Option("--format <format>", "output format").choices(["text", "json"]).default("text"))
    .action(async (what: string, name: string | undefined, options: ExplainOptions) =>
      finish(await explain({ what, name }, options, terminal)),
    );
}

/** Explains one target. Throws a UsageError if it does not exist, and suggests similar names. */
export async function explain(
  words: { readonly what: string; readonly name: string | undefined },
  options: ExplainOptions,
  terminal: Terminal,
): Promise<ExitCode> {
  if (options.policy) return explainItsPolicy(words, options, terminal);
  const asked = readTargetName({ ...words, namespace: options.namespace, from: options.from });
  if ("problem" in asked) throw new UsageError(asked.problem);
  const question = questionOf(options);
  if (question !== "now" && asked.kind !== "namespace")
    throw new UsageError(`--${question} works for a namespace only: explain namespace/<name> --${question}`);
  const { policies, errors } = await policiesFor(options, terminal);
  const inForce = rulesInForce(rules, policies);
  const reading = { defaultNamespace: options.namespace, knowledge: knowledgeOfMesh, keep: keptFieldsOf(inForce) };
  const { mesh } = await readMesh(options, terminal, reading);
  const after = await meshAfterChange(mesh, options, terminal);
  for (const error of errors) tellProblem(shownError(error), terminal);
  const sought = findTarget(asked, mesh);
  const found = "problem" in sought && after !== undefined ? findTarget(asked, after) : sought;
  if ("problem" in found) throw new UsageError(found.problem);
  const { colour, columns } = terminal;
  terminal.out(printed(found.target, [mesh, after], policies, { ...options, page: { colour, columns } }));
  return errors.length > 0 ? 2 : 0;
}

function questionOf({ strict = false, ambient = false }: ExplainOptions): Question {
  if (strict && ambient) throw new UsageError("--strict and --ambient are two questions; leave one of them out");
  return strict ? "strict" : ambient ? "ambient" : "now";
}

async function explainItsPolicy(
  { what, name }: { readonly what: string; readonly name: string | undefined },
  options: ExplainOptions,
  terminal: Terminal,
): Promise<ExitCode> {
  if (options.change !== undefined || options.delete !== undefined || questionOf(options) !== "now")
    throw new UsageError(
      "--policy cannot be combined with --change, --delete, --strict or --ambient; leave one of them out",
    );
  const reading = { defaultNamespace: options.namespace, knowledge: knowledgeOfMesh };
  const { mesh } = await readMesh(options, terminal, reading);
  const { policies, errors } = await policiesFor(options, terminal);
  for (const error of errors) tellProblem(shownError(error), terminal);
  const explanation = explainPolicy({ what, name, namespace: options.namespace }, mesh, policies);
  const { colour, columns } = terminal;
  const isJson = options.format === "json";
  terminal.out(isJson ? jsonExplanation(explanation) : textExplanation(explanation, { colour, columns }));
  return errors.length > 0 ? 2 : 0;
}

function printed(
  target: Target,
  [mesh, after]: readonly [Mesh, Mesh | undefined],
  policies: Policies,
  options: ExplainOptions & { readonly page: Page },
): string {
  const { format, page } = options;
  const question = questionOf(options);
  // A selection caches answers for the meshes of its last call, so each side gets a selection of its own.
  const of = (one: Mesh): ExplanationInput => ({
    mesh: one,
    policies,
    selection: selectionOf(policies),
    rules: rulesInForce(rules, policies),
  });
  const before = explanationOf(target, of(mesh), question);
  if (after === undefined) return format === "json" ? jsonExplanation(before) : textExplanation(before, page);
  const then = explanationOf(target, of(after), question);
  const differing = differenceOf(before.lines, then.lines);
  return format === "json" ? jsonDifference(before, then, differing) : textDifference(then.title, differing, page);
}
