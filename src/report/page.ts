import { Help } from "commander";

/** What text for people is written on. */
export interface Page {
  readonly colour: boolean;
  /** Of a terminal. Without it nothing is wrapped: what reads a pipe or a file finds a sentence on one line. */
  readonly columns?: number | undefined;
}

/** The columns in which sentences can still be read. */
export const leastRoom = 20;

const help = Object.assign(new Help(), { minWidthToWrap: leastRoom });

/**
 * `head` and `body`, broken between words so that a terminal's line holds it; every line after the first begins with
 * `below`, by default as many spaces as the head is wide. Where a wide head leaves too little room, the body is below it.
 */
export function hanging(head: string, body: string, { columns }: Pick<Page, "columns">, below = blank(head)): string {
  if (columns === undefined) return head + body;
  const indent = Math.max(help.displayWidth(head), help.displayWidth(below));
  if (head.trim() !== "" && below === blank(head) && isTooNarrow(body, columns - indent, columns - 4))
    return `${head.trimEnd()}\n${hanging("    ", body, { columns: Math.max(columns, leastRoom + 4) })}`;
  return head + help.boxWrap(body, columns - indent).replaceAll("\n", `\n${below}`);
}

/** For sentences, or for a name in them, which is not broken and has more room on a line of its own. */
const isTooNarrow = (body: string, room: number, ownRoom: number): boolean =>
  room < leastRoom || (ownRoom > room && body.split(/\s+/).some((word) => help.displayWidth(word) > room));

/** Lines that somebody reads on a terminal; those after the first of each begin with two spaces. */
export const wrappedLines = (text: string, page: Pick<Page, "columns">): string =>
  text
    .split("\n")
    .map((line) => hanging("", line, page, line === "" ? "" : "  "))
    .join("\n");

const blank = (head: string): string => " ".repeat(help.displayWidth(head));

/** Text whose lines are paragraphs, list items, rows of tables, or code between fences, which is left as it is. */
export function wrappedMarkdown(text: string, page: Pick<Page, "columns">): string {
  let isCode = false;
  const wrapped = (line: string): string => {
    const isFence = line.startsWith("```");
    if (isFence) isCode = !isCode;
    const [head = ""] = /^(?:[-*] |\d+\. | +|\| )?/.exec(line) ?? [];
    return isCode || isFence ? line : hanging(head, line.slice(head.length), page);
  };
  return text.split("\n").map(wrapped).join("\n");
}
