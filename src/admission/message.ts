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
  /** An additional hint for this writer. */
  readonly hint?: string | undefined;
  /** Returns the URL of a rule's page. Without it, the message names the command that prints the page. */
  readonly pageOf?: ((ruleId: string) => string) | undefined;
}

/** kubectl prints the message after `admission webhook "…" denied the request: `. With server-side apply, it prints neither file nor name. */
const longestId = 100;
/** Space that is reserved for the last lines, because a message has at most 4 KiB. */
const longestListBytes = 3_400;
const mostFindings = 20;
const longestFragment = 600;
/** The length at which a warning is truncated. Text that would be truncated gets its own line. */
const longestWarning = 250;

/**
 * The message for a denied user: the operation, the object and the number of problems; each problem with its rule, path,
 * finding and fix; and where to find more information.
 */
export function denialMessage({ changed, operation, findings, hint, pageOf }: Denied): string {
  const shown = findings.slice(0, countWithRoom(findings, changed));
  const left = countOf(findings) - countOf(shown);
  return [
    `${printableLine(idOf(changed), longestId)} cannot be ${participle[operation]}: ${counted(countOf(findings), "problem")}`,
    ...shown.flatMap((finding, i) => linesOf(finding, shown[i + 1], changed)),
    ...(left > 0 ? [`…and ${counted(left, "more problem")}`] : []),
    ...(hint === undefined ? [] : [hint]),
    reference(findings, pageOf),
  ].join("\n");
}

const participle: Readonly<Record<Operation, string>> = { CREATE: "created", UPDATE: "changed", DELETE: "deleted" };

/** The number of problems, including those that a finding stands for. */
export const countOf = (findings: readonly Finding[]): number =>
  findings.reduce((sum, { standsFor = 0 }) => sum + 1 + standsFor, 0);

const fixOf = ({ fix, rule }: Finding): string => fix ?? rule.fix;

/** What a policy adds for the user. */
const additionsOf = ({ setting: { message, runbook } }: Finding): readonly string[] => [
  ...(message === undefined ? [] : [`Note: ${message}`]),
  ...(runbook === undefined ? [] : [`Runbook: ${runbook}`]),
];

/** Keeps at least the first line. */
function countWithRoom(findings: readonly Finding[], changed: AnyObject): number {
  let bytes = 0;
  const full = findings.findIndex((finding, i) => {
    bytes += Buffer.byteLength(linesOf(finding, findings[i + 1], changed).join("\n"));
    return i >= mostFindings || (i > 0 && bytes > longestListBytes);
  });
  return full < 0 ? findings.length : full;
}

/** If consecutive findings have the same fix, it is printed once, after the last of them. */
function linesOf(finding: Finding, next: Finding | undefined, changed: AnyObject): readonly string[] {
  const { rule, message } = finding;
  const found = printableLine(`${placeOf(finding, changed)}${message}`, longestFragment);
  const isShared =
    next !== undefined &&
    next.rule === rule &&
    fixOf(next) === fixOf(finding) &&
    additionsOf(next).join() === additionsOf(finding).join();
  const advice = [`Fix: ${fixOf(finding)}`, ...additionsOf(finding)];
  return [
    `- [${rule.id}] ${found}`,
    ...(isShared ? [] : advice.map((one) => `  ${printableLine(one, longestFragment)}`)),
  ];
}

/** The path, preceded by the object if it is not the one that the user sent. */
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

/** The finding, the reason why it is not a denial, and the fix: in one line, or in separate lines if they are too long together. */
export function warningLines({ finding, lowered, mode }: Ruling, changed: AnyObject): readonly string[] {
  const { rule, message } = finding;
  const about = isStateOfItsNamespace(finding, changed) ? finding.subject : changed;
  const found = noteLine(`[${rule.id}] ${placeOf(finding, about)}${message}`, about);
  const last = lowered.findLast(({ from }) => from === "deny" && mode === "warn");
  const reason = last === undefined ? "" : `It is only a warning because ${last.reason}.`;
  const fix = `Fix: ${fixOf(finding)}`;
  const parts = [reason, fix, ...additionsOf(finding)].filter((part) => part !== "");
  const line = [found.endsWith("?") ? found : `${found}.`, ...parts].join(" ");
  if (line.length <= longestWarning) return [line];
  const rest = parts.map((part) => noteLine(`[${rule.id}] ${part}`, about));
  return [found, ...rest];
}

/**
 * Whether the finding is the same for every workload in the namespace. Its lines begin with the namespace, so that kubectl
 * prints them once for all workloads that it applies.
 */
const isStateOfItsNamespace = ({ rule, subject }: Finding, { kind, metadata }: AnyObject): boolean =>
  rule.check !== undefined &&
  kind === "Workload" &&
  subject.kind === "Namespace" &&
  subject.metadata.name === metadata.namespace;
