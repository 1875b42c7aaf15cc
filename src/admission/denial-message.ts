import { formatPath } from "../kube/field-path.ts";
import { type AnyObject, idOf } from "../kube/kinds.ts";
import type { Path } from "../kube/read.ts";
import { printableLine } from "./printable.ts";
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
  const blocks = blocksOf(notices, changed);
  const left = notices.length - blocks.length;
  return [
    `${printableLine(idOf(changed), longestId)} cannot be ${participle[operation]}: ${counted(notices.length, "problem")}`,
    ...blocks,
    ...(left > 0 ? [`…and ${counted(left, "more problem")}`] : []),
    ...(hint === undefined ? [] : [hint]),
    reference(notices),
  ].join("\n");
}

const participle: Readonly<Record<Operation, string>> = { CREATE: "created", UPDATE: "changed", DELETE: "deleted" };

export const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`;

/** As many as there is room for, the first in any case. */
function blocksOf(notices: readonly Notice[], changed: AnyObject): readonly string[] {
  const blocks: string[] = [];
  let bytes = 0;
  for (const notice of notices.slice(0, mostNotices)) {
    const block = blockOf(notice, changed);
    bytes += Buffer.byteLength(block);
    if (bytes > longestListBytes && blocks.length > 0) break;
    blocks.push(block);
  }
  return blocks;
}

function blockOf(notice: Notice, changed: AnyObject): string {
  const { rule, message, fix } = notice;
  const place = placeOf(notice, changed);
  const found = printableLine(`${place === "" ? "" : `${place}: `}${message}`, longestFragment);
  return `- [${rule}] ${found}\n  Fix: ${printableLine(fix, longestFragment)}`;
}

/** The path; before it the object, where it is another one than the user sent. */
function placeOf({ subject, at }: Notice, changed: AnyObject): string {
  const path = formatPath(at);
  const id = idOf(subject);
  if (id === idOf(changed)) return path;
  return path === "" ? id : `${id} ${path}`;
}

function reference(notices: readonly Notice[]): string {
  const [first, ...others] = new Set(notices.map(({ rule }) => rule));
  if (others.length === 0) return `More: meshward rules ${first}, or policies/rules/${first}.md`;
  return "More: meshward rules <id>, or policies/rules/<id>.md; the ids are in brackets";
}

/** The same in one line. */
export function warningLine(notice: Notice, changed: AnyObject): string {
  const { rule, message, fix } = notice;
  const place = placeOf(notice, changed);
  const found = `${rule}: ${place === "" ? "" : `${place}: `}${message}`;
  const whole = `${found}. Fix: ${fix}`;
  return whole.length <= longestWarning ? whole : found;
}
