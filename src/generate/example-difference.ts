import { structuredPatch } from "diff";
import { parseDocument } from "yaml";

const marker = / *# <-.*$/;

/**
 * The lines of a block in the language `diff`, from one file of manifests to another: three lines around each change, below a
 * line with `@@` and the object that the change is in. A line that differs only in its mark `# <-` is no difference; a mark
 * is shown on whichever line has it.
 */
export function differenceOf(before: string, after: string): readonly string[] {
  const [old, now] = [before, after].map((text) => text.split("\n"));
  if (old === undefined || now === undefined) return [];
  const { hunks } = structuredPatch("", "", plain(old), plain(now), "", "", { context: 3 });
  return hunks.flatMap(({ lines, oldStart, newStart }) => {
    let [oldLine, newLine] = [oldStart - 1, newStart - 1];
    let title: string | undefined;
    const shown = lines.map((line) => {
      const sign = line.charAt(0);
      const [whole, at] = sign === "+" ? [now, newLine] : [old, oldLine];
      if (sign !== " ") title ??= objectAt(whole, at);
      if (sign !== "+") oldLine++;
      if (sign !== "-") newLine++;
      // In lines that both files have, the mark is in either of them.
      const text = [whole[at], sign === " " ? now[newLine - 1] : ""].find((candidate) => marker.test(candidate ?? ""));
      return `${sign}${text ?? whole[at] ?? ""}`.trimEnd();
    });
    return [`@@ ${title ?? ""} @@`, ...shown];
  });
}

const plain = (lines: readonly string[]): string => `${lines.map((line) => line.replace(marker, "")).join("\n")}\n`;

/** The object whose document has the line; for a line between two documents, the second one. */
function objectAt(lines: readonly string[], at: number): string {
  const start = lines.lastIndexOf("---", at) + 1;
  const end = lines.indexOf("---", at + 1);
  const document = parseDocument(lines.slice(start, end === -1 ? undefined : end).join("\n"));
  const [kind, namespace, name] = [["kind"], ["metadata", "namespace"], ["metadata", "name"]].map((path) =>
    document.getIn(path),
  );
  return `${String(kind)} ${[namespace, name].filter((part) => typeof part === "string").join("/")}`;
}
