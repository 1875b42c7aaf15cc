import { formatPath } from "../kube/field-path.ts";
import { idOf } from "../kube/identity.ts";
import type { AnyObject } from "../kube/object.ts";
import type { Path } from "../kube/read.ts";
import { printableLine } from "../text/printable.ts";
import type { Operation } from "./review.ts";

/** One thing to tell the user. */
export interface Notice {
  /** The rule's id. */
  readonly rule: string;
  /** Of the object that the rule judged, which need not be the one that changes. */
  readonly subject: AnyObject;
  readonly at: Path;
  readonly message: string;
  readonly fix: string;
}

export interface Denied {
  /** The object that the request changes. */
  readonly changed: AnyObject;
  readonly operation: Operation;
  /** Most severe first. */
  readonly notices: readonly Notice[];
  /** What this writer can do, beyond the fixes. */
  readonly hint?: string | undefined;
}

/** kubectl prints it after `admission webhook "…" denied the request: `; server-side apply adds neither file nor name. */
const longestId = 100;
/** Room for the last lines below the 4 KiB that an answer holds. */
const longestListBytes = 3_400;
const mostNotices = 20;
const longestFragment = 600;
/** Where the answer cuts a warning: a fix that would be cut in the middle is left out. */
const longestWarning = 250;

/**
 * What a denied user reads, in whatever client: what was to be done to which object and how many problems there are;
 * each with its rule, where it is, what was found and what to do; where to read on.
 */
export function denialMessage({ changed, operation, notices, hint }: Denied): string {
  const shown = notices.slice(0, countWithRoom(notices, changed));
  const left = notices.length - shown.length;
  return [
    `${printableLine(idOf(changed), longestId)} cannot be ${participle[operation]}: ${counted(notices.length, "problem")}`,
    ...shown.flatMap((notice, i) => linesOf(notice, shown[i + 1], changed)),
    ...(left > 0 ? [`…and ${counted(left, "more problem")}`] : []),
    ...(hint === undefined ? [] : [hint]),
    reference(notices),
  ].join("\n");
}

const participle: Readonly<Record<Operation, string>> = { CREATE: "created", UPDATE: "changed", DELETE: "deleted" };

export const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`;

/** At least the first. */
function countWithRoom(notices: readonly Notice[], changed: AnyObject): number {
  let bytes = 0;
  const full = notices.findIndex((notice, i) => {
    bytes += Buffer.byteLength(linesOf(notice, notices[i + 1], changed).join("\n"));
    return i >= mostNotices || (i > 0 && bytes > longestListBytes);
  });
  return full < 0 ? notices.length : full;
}

/** A fix that holds for the next one, too, stands below the last of them. */
function linesOf(notice: Notice, next: Notice | undefined, changed: AnyObject): readonly string[] {
  const { rule, message, fix } = notice;
  const found = printableLine(`${placeOf(notice, changed)}${message}`, longestFragment);
  const isShared = next?.rule === rule && next.fix === fix;
  return [`- [${rule}] ${found}`, ...(isShared ? [] : [`  Fix: ${printableLine(fix, longestFragment)}`])];
}

/** The path; before it the object, where it is another one than the user sent. Messages do not name it again. */
export function placeOf({ subject, at }: Notice, changed: AnyObject): string {
  const id = idOf(subject);
  const place = [id === idOf(changed) ? "" : id, formatPath(at)].filter((part) => part !== "").join(" ");
  return place === "" ? "" : `${place}: `;
}

function reference(notices: readonly Notice[]): string {
  const [first, ...others] = new Set(notices.map(({ rule }) => rule));
  if (others.length === 0) return `More: meshward rules ${first}, or policies/rules/${first}.md`;
  return "More: meshward rules <id>, or policies/rules/<id>.md; the ids are in brackets";
}

/** The same in one line; what to do stands on a second one where both are too long for the API server's limit together. */
export function warningLines(notice: Notice, changed: AnyObject): readonly string[] {
  const { rule, message, fix } = notice;
  const found = `${rule}: ${placeOf(notice, changed)}${message}`;
  const line = `${found}. Fix: ${fix}`;
  return line.length <= longestWarning ? [line] : [found, `Fix for ${rule}: ${fix}`];
}
