import { printableLine } from "../text/printable.ts";

// Text of users in Markdown (GitHub's and GitLab's), which must neither format, nor link, nor notify anybody.

/** One line of text with all its characters taken literally. Values in quotes or backquotes, as messages have them, become code. */
export function markdownLine(line: string): string {
  return printableLine(line, 2000)
    .split(/("(?:[^"\\]|\\.)*"|`[^`]+`)/)
    .map((part, i) => (i % 2 === 1 ? markdownCode(unquoted(part)) : literal(part)))
    .join("");
}

const literal = (part: string): string =>
  part
    .replace(/[\\`*_{}[\]<>|~$]/g, "\\$&")
    .replaceAll("&", "&amp;")
    // The comments keep names from notifying people, numbers from linking issues, and addresses from becoming links.
    .replaceAll("@", "@<!-- -->")
    .replace(/#(?=\w)/g, "#<!-- -->")
    .replaceAll("://", ":<!-- -->//")
    .replace(/^(\s*)(\d+)([.)])/, "$1$2\\$3")
    .replace(/^(\s*)([-+=#])/, "$1\\$2");

function unquoted(part: string): string {
  if (part.startsWith("`")) return part.slice(1, -1);
  try {
    return String(JSON.parse(part));
  } catch {
    return part;
  }
}

/** Code within a line, but not in a table, where `|` would need a backslash. */
export function markdownCode(value: string): string {
  const line = printableLine(value, 500);
  if (line.trim() === "") return '""';
  const fence = "`".repeat(longestRun(line) + 1);
  const space = line.startsWith("`") || line.endsWith("`") ? " " : "";
  return `${fence}${space}${line}${space}${fence}`;
}

/** A block of code, whose lines cannot end it. */
export function markdownBlock(lines: readonly string[], language = ""): string {
  const shown = lines.map((line) => printableLine(line, 2000));
  const fence = "`".repeat(Math.max(3, longestRun(shown.join("\n")) + 1));
  return [`${fence}${language}`, ...shown, fence].join("\n");
}

const longestRun = (text: string): number =>
  [...text.matchAll(/`+/g)].reduce((longest, [run]) => Math.max(longest, run.length), 0);
