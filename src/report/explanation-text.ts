import { styleText } from "node:util";
import { printableLine } from "../text/printable.ts";
import type { Explanation, ExplanationLine } from "./explanation.ts";
import type { DifferingLine } from "./explanation-difference.ts";
import { hanging, type Page } from "./page.ts";

type Format = "bold" | "dim" | "red" | "green";
type Style = (format: Format, text: string) => string;
const plain: Style = (_, text) => text;
const coloured: Style = (format, text) => styleText(format, text, { validateStream: false });

/** The maximum length of a line, because names in files can have any length. */
const longestLine = 400;
const shown = (text: string): string => printableLine(text, longestLine);

/** Formats an explanation as a tree, with a final newline. */
export function textExplanation(explanation: Explanation, page: Page): string {
  const style = page.colour ? coloured : plain;
  return [style("bold", shown(explanation.title)), ...treeOf(explanation.lines, "", style, page), ""].join("\n");
}

function treeOf(lines: readonly ExplanationLine[], indent: string, style: Style, page: Page): readonly string[] {
  return lines.flatMap((line, i) => {
    const [branch, below] = i === lines.length - 1 ? ["└─ ", "   "] : ["├─ ", "│  "];
    const text = shown(line.text);
    const styled = line.counts === false ? style("dim", text) : text;
    const inner = line.lines ?? [];
    const trunk = `${indent}${below}${inner.length > 0 ? "│ " : ""}`;
    const shownLine = hanging(`${indent}${branch}`, styled, page, trunk);
    return [shownLine, ...treeOf(inner, `${indent}${below}`, style, page)];
  });
}

/** Formats only the lines that differ, with their parents; each line starts with `-`, `+` or a space. */
export function textDifference(title: string, differing: readonly DifferingLine[], page: Page): string {
  const style = page.colour ? coloured : plain;
  const lines =
    differing.length === 0 ? ["  └─ the change has no effect here"] : markedTree(differing, "", style, page);
  return [`  ${style("bold", shown(title))}`, ...lines, ""].join("\n");
}

function markedTree(lines: readonly DifferingLine[], indent: string, style: Style, page: Page): readonly string[] {
  return lines.flatMap(({ mark, line, lines: inner }, i) => {
    const [branch, below] = i === lines.length - 1 ? ["└─ ", "   "] : ["├─ ", "│  "];
    const trunk = `${mark} ${indent}${below}${inner.length > 0 ? "│ " : ""}`;
    const text = hanging(`${mark} ${indent}${branch}`, shown(line.text), page, trunk);
    const styled = mark === "-" ? style("red", text) : mark === "+" ? style("green", text) : text;
    return [styled, ...markedTree(inner, `${indent}${below}`, style, page)];
  });
}
