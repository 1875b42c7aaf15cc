import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { type AnyObject, readAny } from "../kube/object.ts";

/** The two fixtures of a rule that its page shows: one mesh with the mistake, and the same without it. */
export interface RuleExample {
  /** The mistake is marked on its line. */
  readonly wrong: string;
  readonly right: string;
  /** The object with the mistake. */
  readonly subject: AnyObject;
}

const mark = "# expect:";
/** Comments for the tests alone. */
const header = /^# (?:settings|unknown|parameters): .*\n/gm;

/** Throws an Error that names the file if one of the two is missing, or has no marked object. */
export function exampleOf(folder: string): RuleExample {
  const [wrong, right] = ["wrong.yaml", "right.yaml"].map((name) =>
    readFileSync(join(folder, name), "utf8").replaceAll("\r\n", "\n").replaceAll(header, "").trim(),
  );
  if (wrong === undefined || right === undefined) throw new Error(`${folder} has no pair of fixtures`);
  const marked = wrong.split(/^---$/m).find((document) => document.includes(mark));
  const subject = marked === undefined ? undefined : readAny(parseAllDocuments(marked)[0]?.toJS(), "default");
  if (subject === undefined)
    throw new Error(`${folder}/wrong.yaml has no object with a line that is marked with ${mark}`);
  return { wrong: wrong.replaceAll(mark, "# <-"), right, subject };
}
