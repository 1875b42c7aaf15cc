import { styleText } from "node:util";
import { printableLine } from "../text/printable.ts";
import { hanging, type Page } from "./page.ts";
import { type Basis, type RelatedObject, type Report, type ReportedFinding, type ReportedObject } from "./report.ts";

type Style = (format: "red" | "yellow" | "dim" | "bold", text: string) => string;
const plain: Style = (_, text) => text;
const coloured: Style = (format, text) => styleText(format, text, { validateStream: false });

/** Sanitizes names and values of users, which must not start a line, move the cursor or set colours. */
const shown = (text: string): string => printableLine(text, 2000);

/** Formats the report as text: by file, each finding with its line, problem and fix; then skipped rules. */
export function textReport(report: Report, page: Page): string {
  const style = page.colour ? coloured : plain;
  const lines: string[] = [];
  let file: string | null | undefined;
  for (const finding of report.findings) {
    if (finding.file !== file)
      lines.push(...(lines.length > 0 ? [""] : []), style("bold", shown(finding.file ?? "(in no file)")));
    file = finding.file;
    lines.push(...shownFinding(finding, style, page));
  }
  if (lines.length > 0) lines.push("");
  // If no object was checked, skipped rules are not listed.
  if (report.summary.objects > 0) lines.push(...shownSkips(report, style, page));
  lines.push(...summaryOf(report).map((line) => hanging("", line, page)), "");
  return lines.join("\n");
}

function shownFinding(finding: ReportedFinding, style: Style, page: Page): string[] {
  const { mode, rule, object, path, message, fix, related, lowered } = finding;
  const last = lowered.findLast(({ from }) => from === "deny");
  const reason =
    last === undefined ? "" : ` (only ${mode === "warn" ? "a warning" : "recorded"} because ${last.reason})`;
  const place = finding.line === null ? "-" : `${finding.line}:${finding.column ?? 1}`;
  const shade = mode === "deny" ? "red" : mode === "warn" ? "yellow" : "dim";
  const indent = " ".repeat(10);
  return [
    [`  ${place.padEnd(7)} `, `${style(shade, mode)}  ${shown(`${shownObject(object)}: ${message}`)}${shown(reason)}`],
    [indent, style("dim", [shown(path), rule].filter((part) => part !== "").join("  "))],
    ...(related.length > 0 ? [[indent, `see ${shown(related.map(shownRelated).join(", "))}`] as const] : []),
    [indent, `fix: ${shown(fix)}`],
  ].map(([head = "", body = ""]) => hanging(head, body, page));
}

const shownRelated = ({ file, line, ...object }: RelatedObject): string =>
  shownObject(object) + (file === null ? "" : ` (${file}:${line ?? 1})`);

const shownObject = ({ kind, namespace, name }: ReportedObject): string =>
  `${kind} ${namespace === undefined ? name : `${namespace}/${name}`}`;

/** One line for each reason, so that files without Services do not produce a line for every rule. */
function shownSkips({ skipped }: Report, style: Style, page: Page): string[] {
  const byReason = new Map<string, string[]>();
  for (const { rule, reason } of skipped) byReason.set(reason, [...(byReason.get(reason) ?? []), rule]);
  return [...byReason].map(([reason, rules]) =>
    style("dim", hanging("skipped: ", `${rules.join(", ")} (${shown(reason)})`, page)),
  );
}

function summaryOf({ summary, errors, basis }: Report): readonly string[] {
  const { objects, deny, warn, audit } = summary;
  const counts = [`${deny} deny`, `${warn} warn`, ...(audit > 0 ? [`${audit} audit`] : [])].join(", ");
  const unread = errors.length > 0 ? `; ${plural(errors.length, "error")}` : "";
  const first = `${plural(objects, "object")} checked${byKind(basis)}: ${counts}${unread}`;
  return objects === 0 ? [first] : [first, shown(policiesOf(basis)), ...idleOf(basis)];
}

function byKind({ objects }: Basis): string {
  const counts = Object.entries(objects).map(([kind, count]) => `${count} ${kind}`);
  return counts.length === 0 ? "" : ` (${counts.join(", ")})`;
}

function policiesOf({ profile, policies, exceptions, protectedNamespaces }: Basis): string {
  const names = protectedNamespaces.slice(0, mostNames).join(", ");
  const more = protectedNamespaces.length > mostNames ? ` and ${protectedNamespaces.length - mostNames} more` : "";
  const protection =
    protectedNamespaces.length === 0
      ? "no namespace is protected"
      : `${plural(protectedNamespaces.length, "protected namespace")}: ${names}${more}`;
  const documents = [
    policies.length === 0 ? "no policies" : policies.length === 1 ? "1 policy" : `${policies.length} policies`,
    ...(exceptions > 0 ? [plural(exceptions, "exception")] : []),
  ];
  return `profile ${profile}, ${documents.join(", ")}; ${protection}`;
}
const mostNames = 15;

/** Many rules without any object of their kind are only counted; of others, the first are named. */
function idleOf({ idle }: Basis): readonly string[] {
  const byReason = Map.groupBy(idle, ({ reason }) => reason);
  return [...byReason].map(([reason, members]) => {
    const ids = members.length > mostRules ? "" : `: ${members.map(({ rule }) => rule).join(", ")}`;
    return `${plural(members.length, "rule")} had nothing to check (${reason})${ids}`;
  });
}

/** More than there are rules for protected namespaces only, which a reader may want to know by name. */
const mostRules = 40;

const plural = (count: number, noun: string) => `${count} ${noun}${count === 1 ? "" : "s"}`;
