import { Command, Option } from "commander";
import { asset } from "../config/assets.ts";
import { pageOf } from "../config/rule-page.ts";
import { rulesInForce } from "../custom-rules/in-force.ts";
import type { Incident } from "../engine/incident.ts";
import { modesOf, type ProtectionModes, type Rule } from "../engine/rule.ts";
import type { Kind } from "../kube/kinds.ts";
import { hanging, type Page, wrappedMarkdown } from "../report/page.ts";
import { filledParameters } from "../policy/documents.ts";
import { rules as builtIn } from "../rules/index.ts";
import { kindList } from "./kind-list.ts";
import { policiesOf, policiesOption, type PolicyOptions, profileOption } from "./policy-options.ts";
import { foundRules } from "./rule-search.ts";
import { shownError } from "./source-errors.ts";
import { type ExitCode, tellProblem, type Terminal } from "./terminal.ts";

interface RulesOptions extends PolicyOptions {
  readonly tag?: string;
  readonly kind: readonly Kind[];
  readonly format: "text" | "json";
}

export function rulesCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  return new Command("rules")
    .description("list the rules, search them, or describe one: reason, fix and an example")
    .argument(
      "[words...]",
      "id of a rule (payments/timeout-missing for one that MeshwardPolicy payments defines), or words to search for",
    )
    .option("--tag <tag>", "list only rules with this tag, such as canary or mtls")
    .addOption(
      new Option("--kind <kind,...>", "list only rules that check objects of one of these kinds")
        .argParser(kindList)
        .default([], "all kinds"),
    )
    .addOption(new Option("--format <format>", "output format").choices(["text", "json"]).default("text"))
    .addOption(policiesOption())
    .addOption(profileOption())
    .action(async (words: readonly string[], options: RulesOptions) =>
      finish(await showRules(words, options, terminal)),
    );
}

/**
 * Prints the page of one rule, or the list of the rules that are searched for, by default all. Throws a UsageError that
 * suggests the nearest id if there are none.
 */
async function showRules(words: readonly string[], options: RulesOptions, terminal: Terminal): Promise<ExitCode> {
  const { tag, kind: kinds, format } = options;
  const { policies, errors } = await policiesOf(options);
  const rules = rulesInForce(builtIn, policies);
  for (const error of errors) tellProblem(shownError(error), terminal);
  const named = words.length === 1 ? rules.find(({ id }) => id === words[0]) : undefined;
  const isOne = named !== undefined && tag === undefined && kinds.length === 0;
  const shown = isOne ? [named] : foundRules(rules, { words, tag, kinds }, pageOfRule);
  const listed: ListedRules = { rules: shown.map(jsonOf) };
  if (format === "json") terminal.out(`${JSON.stringify(listed, undefined, 2)}\n`);
  else terminal.out(isOne ? wrappedMarkdown(pageOfRule(named), terminal) : catalogue(shown, terminal));
  return errors.length > 0 ? 2 : 0;
}

/** The rules that were asked for. */
interface ListedRules {
  /** Sorted by id. */
  readonly rules: readonly ListedRule[];
}

/** A rule as other programs read it. */
interface ListedRule {
  /** The id of the rule. */
  readonly id: string;
  /** What it reports, in one sentence. */
  readonly summary: string;
  /** What happens if nothing is done. */
  readonly why: string;
  /** What to do about a finding. */
  readonly fix: string;
  /** The modes in the profile baseline, in protected namespaces and elsewhere. */
  readonly mode: ProtectionModes;
  /** The kinds of objects that it checks. */
  readonly kinds: readonly Kind[];
  /** What it is about: `mtls`, `canary`. */
  readonly tags: readonly string[];
  /** `trial`: it warns at most, until its false findings are known. */
  readonly stage?: "trial" | undefined;
  /** The version of Meshward that added it; absent for a rule of a policy. */
  readonly since?: string | undefined;
  /** The policy that defines it; absent for a built-in rule. */
  readonly definedBy?: string | undefined;
  /** The parameters that a policy can set, by name, with `summary` and `default`. */
  readonly parameters: Readonly<Record<string, object>>;
  /** What the page of the rule says to somebody who is paged; absent for a rule of a policy. */
  readonly incident?: Incident | undefined;
  /** The URL of the rule's page. */
  readonly page: string;
}

const jsonOf = (rule: Rule): ListedRule => ({
  id: rule.id,
  summary: rule.summary,
  why: rule.why,
  fix: rule.fix,
  mode: modesOf(rule),
  kinds: rule.subject,
  tags: rule.tags,
  stage: rule.stage,
  since: rule.definedBy === undefined ? rule.since : undefined,
  definedBy: rule.definedBy,
  parameters: Object.fromEntries(ownParametersOf(rule)),
  incident: rule.incident,
  page: pageOf(rule.id),
});

/** The minimum width for sentences beside ids and modes; on narrower terminals, they are printed below the rule. */
const columnsForSentences = 50;

function catalogue(rules: readonly Rule[], page: Page): string {
  const width = Math.max(...rules.map(({ id }) => id.length));
  const head = (rule: Rule) => `${rule.id.padEnd(width)}  ${shownMode(rule).padEnd(14)}  `;
  const isNarrow = page.columns !== undefined && page.columns - width - 18 < columnsForSentences;
  const line = (rule: Rule) =>
    isNarrow
      ? `${hanging("", `${rule.id}  ${shownMode(rule)}`, page)}\n${hanging("    ", rule.summary, page)}`
      : hanging(head(rule), rule.summary, page);
  const legend =
    "The mode is that of the profile baseline. (P): the rule applies only in protected namespaces; (P: mode): its mode there.";
  return [...rules.map(line), "", hanging("", legend, page), ""].join("\n");
}

const shownMode = (rule: Rule): string => {
  const modes = modesOf(rule);
  const trial = rule.stage === "trial" ? " (trial)" : "";
  if (modes.elsewhere === "off" && modes.protected !== "off") return `${modes.protected} (P)${trial}`;
  return modes.protected === modes.elsewhere
    ? `${modes.elsewhere}${trial}`
    : `${modes.elsewhere} (P: ${modes.protected})${trial}`;
};

const pageOfRule = (rule: Rule): string =>
  rule.definedBy === undefined ? asset(`rules/${rule.id}.md`).replace(/^<!--.*-->\n/, "") : pageOfCustomRule(rule);

/** Those that a policy can set by hand; the others are filled from its other fields. */
const ownParametersOf = ({ parameters }: Rule) =>
  Object.entries(parameters).filter(([name]) => !filledParameters.has(name));

/** The page of a rule that a policy defines, in the form of the pages of built-in rules. */
function pageOfCustomRule(rule: Rule): string {
  const { id, summary, why, fix, mode, subject, compare } = rule;
  const own = ownParametersOf(rule);
  return [
    `# ${id}`,
    "",
    summary,
    "",
    why,
    "",
    `Fix: ${fix}`,
    "",
    `Mode: ${typeof mode === "string" ? mode : mode.protected}. Checks: ${subject.join(", ")}.${compare === undefined ? "" : " It compares the object before and after a change."}`,
    ...(own.length === 0
      ? []
      : ["", ...own.map(([name, value]) => `- \`${name}\`, default ${JSON.stringify(value.default)}`)]),
    "",
  ].join("\n");
}
