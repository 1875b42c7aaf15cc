import { Command } from "commander";
import { asset } from "../config/assets.ts";
import { rulesInForce } from "../custom-rules/in-force.ts";
import { modesOf, type Rule } from "../engine/rule.ts";
import { hanging, type Page, wrappedMarkdown } from "../report/page.ts";
import { filledParameters } from "../policy/documents.ts";
import { rules as builtIn } from "../rules/index.ts";
import { nearest } from "../text/nearest.ts";
import { UsageError } from "../text/usage-error.ts";
import { policiesOf, policiesOption, type PolicyOptions, profileOption } from "./policy-options.ts";
import { shownError } from "./source-errors.ts";
import { type ExitCode, tellProblem, type Terminal } from "./terminal.ts";

export function rulesCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  return new Command("rules")
    .description("list the rules, or describe one: reason, fix and an example")
    .argument("[id]", "id of a rule; payments/timeout-missing for one that MeshwardPolicy payments defines")
    .addOption(policiesOption())
    .addOption(profileOption())
    .action(async (id: string | undefined, options: PolicyOptions) => finish(await showRules(id, options, terminal)));
}

/**
 * Prints the list of rules, or the page of one rule. Throws a UsageError that suggests the nearest id for an unknown
 * one.
 */
async function showRules(id: string | undefined, options: PolicyOptions, terminal: Terminal): Promise<ExitCode> {
  const { policies, errors } = await policiesOf(options);
  const rules = rulesInForce(builtIn, policies);
  for (const error of errors) tellProblem(shownError(error), terminal);
  terminal.out(id === undefined ? catalogue(rules, terminal) : wrappedMarkdown(pageOf(id, rules), terminal));
  return errors.length > 0 ? 2 : 0;
}

/** The minimum width for sentences beside ids and modes; on narrower terminals, they are printed below the rule. */
const columnsForSentences = 50;

function catalogue(rules: readonly Rule[], page: Page): string {
  const width = Math.max(...rules.map(({ id }) => id.length));
  const head = (rule: Rule) => `${rule.id.padEnd(width)}  ${shownMode(rule).padEnd(14)}  `;
  const isNarrow = page.columns !== undefined && page.columns - width - 18 < columnsForSentences;
  const line = (rule: Rule) =>
    isNarrow
      ? `${rule.id}  ${shownMode(rule)}\n${hanging("    ", rule.summary, page)}`
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

function pageOf(id: string, rules: readonly Rule[]): string {
  const ids = rules.map((rule) => rule.id);
  const custom = rules.find((rule) => rule.id === id && rule.definedBy !== undefined);
  if (custom !== undefined) return pageOfCustomRule(custom);
  if (ids.includes(id)) return asset(`rules/${id}.md`).replace(/^<!--.*-->\n/, "");
  const near = nearest(id, ids);
  const hint = near === undefined ? "run meshward rules to see them all" : `did you mean ${JSON.stringify(near)}?`;
  throw new UsageError(`there is no rule ${JSON.stringify(id)}: ${hint}`);
}

/** The page of a rule that a policy defines, in the form of the pages of built-in rules. */
function pageOfCustomRule({ id, summary, why, fix, mode, subject, parameters, compare }: Rule): string {
  const own = Object.entries(parameters).filter(([name]) => !filledParameters.has(name));
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
