import type { Finding } from "../engine/finding.ts";
import type { Ruling } from "../engine/ruling.ts";
import { formatPath } from "../kube/field-path.ts";
import { idOf } from "../kube/identity.ts";
import type { AnyObject } from "../kube/object.ts";
import { counted } from "../text/phrases.ts";
import { printableLine } from "../text/printable.ts";
import type { Operation } from "./review.ts";

export interface Denied {
  /** The object that the request changes. */
  readonly changed: AnyObject;
  readonly operation: Operation;
  /** Most severe first. */
  readonly findings: readonly Finding[];
  /** What this writer can do, beyond the fixes. */
  readonly hint?: string | undefined;
  /** The address of a rule's page; without it the command that prints it is named. */
  readonly pageOf?: ((ruleId: string) => string) | undefined;
}

/** kubectl prints it after `admission webhook "…" denied the request: `; server-side apply adds neither file nor name. */
const longestId = 100;
/** Room for the last lines below the 4 KiB that an answer holds. */
const longestListBytes = 3_400;
const mostFindings = 20;
const longestFragment = 600;
/** Where the answer cuts a warning: what would be cut in the middle stands on a line of its own. */
const longestWarning = 250;

/**
 * What a denied user reads, in whatever client: what was to be done to which object and how many problems there are;
 * each with its rule, where it is, what was found and what to do; where to read on.
 */
export function denialMessage({ changed, operation, findings, hint, pageOf }: Denied): string {
  const shown = findings.slice(0, countWithRoom(findings, changed));
  const left = findings.length - shown.length;
  return [
    `${printableLine(idOf(changed), longestId)} cannot be ${participle[operation]}: ${counted(findings.length, "problem")}`,
    ...shown.flatMap((finding, i) => linesOf(finding, shown[i + 1], changed)),
    ...(left > 0 ? [`…and ${counted(left, "more problem")}`] : []),
    ...(hint === undefined ? [] : [hint]),
    reference(findings, pageOf),
  ].join("\n");
}

const participle: Readonly<Record<Operation, string>> = { CREATE: "created", UPDATE: "changed", DELETE: "deleted" };

const fixOf = ({ fix, rule }: Finding): string => fix ?? rule.fix;

/** At least the first. */
function countWithRoom(findings: readonly Finding[], changed: AnyObject): number {
  let bytes = 0;
  const full = findings.findIndex((finding, i) => {
    bytes += Buffer.byteLength(linesOf(finding, findings[i + 1], changed).join("\n"));
    return i >= mostFindings || (i > 0 && bytes > longestListBytes);
  });
  return full < 0 ? findings.length : full;
}

/** A fix that holds for the next one, too, stands below the last of them. */
function linesOf(finding: Finding, next: Finding | undefined, changed: AnyObject): readonly string[] {
  const { rule, message } = finding;
  const found = printableLine(`${placeOf(finding, changed)}${message}`, longestFragment);
  const isShared = next !== undefined && next.rule === rule && fixOf(next) === fixOf(finding);
  return [`- [${rule.id}] ${found}`, ...(isShared ? [] : [`  Fix: ${printableLine(fixOf(finding), longestFragment)}`])];
}

/** The path; before it the object, where it is another one than the user sent. Messages do not name it again. */
export function placeOf({ subject, at }: Finding, changed: AnyObject): string {
  const id = idOf(subject);
  const place = [id === idOf(changed) ? "" : id, formatPath(at)].filter((part) => part !== "").join(" ");
  return place === "" ? "" : `${place}: `;
}

function reference(findings: readonly Finding[], pageOf: Denied["pageOf"]): string {
  const [first = "", ...others] = new Set(findings.map(({ rule }) => rule.id));
  const id = others.length === 0 ? first : "<id>";
  const note = others.length === 0 ? "" : ", for each id in brackets";
  return `More: ${pageOf === undefined ? `meshward rules ${id}` : pageOf(id)}${note}`;
}

/**
 * A line for the warnings. It begins with the object that the request changes, because kubectl prints the warnings of
 * all objects before their results, and drops a line that it has printed before.
 */
export const noteLine = (text: string, changed: AnyObject): string =>
  `${printableLine(idOf(changed), longestId)}: ${text}`;

/** What was found, why it does not deny, what to do: in one line, or on lines of their own where they are too long together. */
export function warningLines({ finding, lowered, mode }: Ruling, changed: AnyObject): readonly string[] {
  const { rule, message } = finding;
  const found = noteLine(`[${rule.id}] ${placeOf(finding, changed)}${message}`, changed);
  const last = lowered.findLast(({ from }) => from === "deny" && mode === "warn");
  const reason = last === undefined ? "" : `It is only a warning because ${last.reason}.`;
  const fix = `Fix: ${fixOf(finding)}`;
  const parts = [reason, fix].filter((part) => part !== "");
  const line = [`${found}.`, ...parts].join(" ");
  if (line.length <= longestWarning) return [line];
  const rest = parts.map((part) => noteLine(`[${rule.id}] ${part}`, changed));
  return [found, ...rest];
}
