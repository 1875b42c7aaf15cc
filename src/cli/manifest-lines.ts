import { readFileSync } from "node:fs";
import type { ManifestLine } from "../report/page-data.ts";

/** So many lines before and after the line of a finding. */
const around = 3;
const longestLine = 300;
/** A file that is larger is not shown. */
const mostBytes = 5_000_000;

const files = new Map<string, readonly string[] | undefined>();

/** The lines of a manifest around one of them; undefined if the file cannot be read, as standard input. */
export function manifestLines(file: string, line: number): readonly ManifestLine[] | undefined {
  const all = linesOf(file);
  if (all === undefined || line > all.length) return undefined;
  const first = Math.max(1, line - around);
  return all.slice(first - 1, line + around).map((text, i) => ({
    number: first + i,
    text: text.length > longestLine ? `${text.slice(0, longestLine)}…` : text,
    ...(first + i === line ? { isMarked: true } : {}),
  }));
}

function linesOf(file: string): readonly string[] | undefined {
  if (files.has(file)) return files.get(file);
  let lines: readonly string[] | undefined;
  try {
    const text = readFileSync(file, "utf8");
    lines = text.length > mostBytes ? undefined : text.split(/\r?\n/);
  } catch {
    lines = undefined;
  }
  files.set(file, lines);
  return lines;
}
