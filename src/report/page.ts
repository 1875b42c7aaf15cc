import { Help } from "commander";

/** What text for people is written on. */
export interface Page {
  readonly colour: boolean;
  /** Of a terminal. Without it nothing is wrapped: what reads a pipe or a file finds a sentence on one line. */
  readonly columns?: number | undefined;
}

const help = new Help();

/**
 * `head` and `body`, broken between words so that a terminal's line holds it; every line after the first begins with
 * `below`, by default as many spaces as the head is wide. What has no room for 40 columns of body stays as it is.
 */
export function hanging(head: string, body: string, { columns }: Pick<Page, "columns">, below = blank(head)): string {
  if (columns === undefined) return head + body;
  const indent = Math.max(help.displayWidth(head), help.displayWidth(below));
  return head + help.boxWrap(body, columns - indent).replaceAll("\n", `\n${below}`);
}

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
