import { Command } from "commander";
import { asset } from "../config/assets.ts";
import { modesOf, type Rule } from "../engine/rule.ts";
import { hanging, type Page, wrappedMarkdown } from "../report/page.ts";
import { rules } from "../rules/index.ts";
import { nearest } from "../text/nearest.ts";
import { UsageError } from "../text/usage-error.ts";
import type { ExitCode, Terminal } from "./terminal.ts";

export function rulesCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  return new Command("rules")
    .description("list the rules, or describe one: reason, fix and an example")
    .argument("[id]", "id of a rule")
    .action((id: string | undefined) => finish(showRules(id, terminal)));
}

/**
 * Prints the list of rules, or the page of one rule. Throws a UsageError that suggests the nearest id for an unknown
 * one.
 */
function showRules(id: string | undefined, terminal: Terminal): ExitCode {
  terminal.out(id === undefined ? catalogue(terminal) : wrappedMarkdown(pageOf(id), terminal));
  return 0;
}

/** The minimum width for sentences beside ids and modes; on narrower terminals, they are printed below the rule. */
const columnsForSentences = 50;

function catalogue(page: Page): string {
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

function pageOf(id: string): string {
  const ids = rules.map((rule) => rule.id);
  if (ids.includes(id)) return asset(`rules/${id}.md`).replace(/^<!--.*-->\n/, "");
  const near = nearest(id, ids);
  const hint = near === undefined ? "run meshward rules to see them all" : `did you mean ${JSON.stringify(near)}?`;
  throw new UsageError(`there is no rule ${JSON.stringify(id)}: ${hint}`);
}
