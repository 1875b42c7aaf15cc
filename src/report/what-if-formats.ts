import { counted } from "../text/phrases.ts";
import { printableLine } from "../text/printable.ts";
import { type Destination, type Formats, jsonReport } from "./format.ts";
import { comment } from "./markdown-comment.ts";
import { markdownCode, markdownLine } from "./markdown-text.ts";
import { hanging } from "./page.ts";
import { shownObject, skippedByReason } from "./phrases.ts";
import type { DeniedObject, WhatIf } from "./what-if.ts";

/** The formats of `audit --what-if`. */
export const whatIfFormats = {
  text: textWhatIf,
  json: jsonReport,
  markdown: markdownWhatIf,
} satisfies Formats<WhatIf>;

const shown = (text: string): string => printableLine(text, 2000);

function textWhatIf(whatIf: WhatIf, { page }: Destination): string {
  const lines: string[] = [];
  for (const [heading, denied] of byOwner(whatIf)) {
    lines.push(shown(heading));
    for (const { object, rules } of denied) {
      lines.push(hanging("  ", shown(shownObject(object)), page));
      for (const { rule, message, findings, isDeniedNow } of rules) {
        const more = findings > 1 ? ` (and ${findings - 1} more)` : "";
        lines.push(hanging("    ", shown(`${rule}${isDeniedNow ? " (denied already)" : ""}: ${message}${more}`), page));
      }
    }
    lines.push("");
  }
  const counts = whatIf.byRule.map(
    ({ rule, objects, namespaces }) =>
      `  ${rule}: ${counted(objects, "object")} in ${counted(namespaces, "namespace")}`,
  );
  return [
    ...lines,
    ...(counts.length === 0 ? [] : ["by rule:", ...counts, ""]),
    ...[...whatIf.errors, ...skippedLines(whatIf)].map((line) => hanging("", shown(line), page)),
    hanging("", shown(summaryOf(whatIf)), page),
    hanging("", existingNote, page),
    "",
  ].join("\n");
}

function markdownWhatIf(whatIf: WhatIf): string {
  const item = ({ object, rules }: DeniedObject) =>
    [
      `- **${markdownLine(shownObject(object))}**`,
      ...rules.map(({ rule, message }) => `  ${markdownCode(rule)}: ${markdownLine(message)}`),
    ].join("  \n");
  return comment(markdownLine(`Meshward: what if ${whatIf.with}`), [
    {
      heading: "Summary",
      items: [summaryOf(whatIf), existingNote].map((line) => `- ${markdownLine(line)}`),
      noun: "line",
    },
    ...byOwner(whatIf).map(([heading, denied]) => ({
      heading: markdownLine(heading),
      items: denied.map(item),
      noun: "object",
      isFolded: true,
    })),
    {
      heading: "Not asked",
      items: [...whatIf.errors, ...skippedLines(whatIf)].map((line) => `- ${markdownLine(line)}`),
      noun: "line",
      isFolded: true,
    },
  ]);
}

/** The denied objects of each namespace and owner, so that each of them can be told. */
function byOwner({ denied }: WhatIf): readonly (readonly [heading: string, denied: readonly DeniedObject[]])[] {
  const groups = Map.groupBy(denied, ({ namespace, owner }) => {
    const place = namespace === "" ? "cluster-scoped objects" : `namespace ${namespace}`;
    return owner === null ? place : `${place}, owner ${owner}`;
  });
  return [...groups];
}

function summaryOf({ with: name, objects, inForce, asked }: WhatIf): string {
  const would =
    asked.objects === 0
      ? `With ${name}, none of ${counted(objects, "object")} would be denied`
      : `With ${name}, ${counted(asked.objects, "object")} of ${objects} in ${counted(asked.namespaces, "namespace")}${ownersOf(asked)} would be denied (${counted(asked.findings, "finding")})`;
  return `${would}; with the policies in force ${counted(inForce.objects, "object")} in ${counted(inForce.namespaces, "namespace")}.`;
}

const ownersOf = ({ owners, unowned }: WhatIf["asked"]): string => {
  if (owners === 0) return ", none of them with a named owner,";
  return ` of ${counted(owners, "owner")}${unowned === 0 ? "" : `, ${unowned} of them without a named owner,`}`;
};

const existingNote =
  "These objects stay as they are. Whoever creates one, or changes one so that a problem is new, is denied; a change that leaves an existing problem as it is gets a warning, unless the policy sets existing: deny.";

const skippedLines = (whatIf: WhatIf): readonly string[] => skippedByReason(whatIf).map((text) => `not asked: ${text}`);
