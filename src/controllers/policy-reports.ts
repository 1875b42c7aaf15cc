import { formatPath } from "../kube/field-path.ts";
import { idOf } from "../kube/identity.ts";
import type { RuleError } from "../engine/evaluate.ts";
import type { Rule } from "../engine/rule.ts";
import type { Ruling } from "../engine/ruling.ts";
import { type Exception, namespaceOf } from "../engine/setting.ts";
import type { AnyObject } from "../kube/object.ts";
import { counted } from "../text/phrases.ts";
import { printableLine } from "../text/printable.ts";
import type { AuditedFinding } from "./audited-findings.ts";
import { type Seen, timeOf } from "./first-seen.ts";

type ResultKind = "fail" | "warn" | "error" | "skip";

/** An entry of a report, with the fields that the reports of both groups have. */
export interface ReportResult {
  readonly source: string;
  /** The id of the rule. */
  readonly policy: string;
  readonly rule: string;
  readonly category: string;
  readonly severity: "high" | "medium" | "low" | "info";
  readonly result: ResultKind;
  readonly scored: boolean;
  readonly message: string;
  readonly resources?: readonly object[];
  readonly properties: Readonly<Record<string, string>>;
  /** When the finding was first seen; without the property `firstSeen`, it was there before. */
  readonly timestamp?: { readonly seconds: number; readonly nanos: number };
}

/** What one report has to contain. */
export interface ReportContent {
  /** Empty for the report of the cluster. */
  readonly namespace: string;
  /** `meshward`; of a namespace with more results than one report takes, also `meshward-2` and so on. */
  readonly name: string;
  readonly results: readonly ReportResult[];
  readonly summary: Readonly<Record<ResultKind | "pass", number>>;
  /** The number of findings of the namespace that no report lists one by one. */
  readonly unlisted: number;
}

export const source = "meshward";
/** The label of all objects that Meshward writes and owns. */
export const managedBy = { "app.kubernetes.io/managed-by": source } as const;

/**
 * A report has at most so many results and bytes: etcd refuses requests of more than 1.5 MiB, and whoever watches reports
 * receives the whole report at each change.
 */
const mostResults = 500;
const mostBytes = 500_000;
/** A namespace has at most so many reports; further findings are only counted, by rule. */
const mostReports = 4;

export interface ReportInput {
  readonly findings: readonly AuditedFinding[];
  readonly errors: readonly RuleError[];
  readonly firstSeen: (id: string) => Seen | undefined;
  /** Whether the namespace can have a report: it exists and is not being deleted. */
  readonly isOpen: (namespace: string) => boolean;
  readonly pageOf: (ruleId: string) => string;
}

/** The content of all reports, in a stable order. Yields after some findings. */
export function* reportsOf(input: ReportInput): Generator<void, readonly ReportContent[]> {
  const byNamespace = new Map<string, ReportResult[]>();
  const add = (namespace: string, result: ReportResult) => {
    const at = input.isOpen(namespace) ? namespace : "";
    const there = byNamespace.get(at);
    if (there === undefined) byNamespace.set(at, [result]);
    else there.push(result);
  };
  for (const [i, finding] of input.findings.entries()) {
    add(finding.namespace, resultOf(finding, input));
    if (i % 50 === 0) yield;
  }
  for (const error of input.errors.toSorted(byResultId)) add(namespaceOf(error.subject), resultOfError(error));
  const reports: ReportContent[] = [];
  for (const [namespace, results] of [...byNamespace].sort(([a], [b]) => (a < b ? -1 : 1))) {
    reports.push(...splitted(namespace, results));
    yield;
  }
  return reports;
}

function resultOf({ id, ruling, mode }: AuditedFinding, { firstSeen, pageOf }: ReportInput): ReportResult {
  const { finding, exception } = ruling;
  const { rule, subject, message } = finding;
  const seen = firstSeen(id);
  const result = exception !== undefined ? "skip" : mode === "deny" ? "fail" : "warn";
  return {
    ...headOf(rule),
    severity: severities[mode],
    result,
    scored: result === "fail",
    message: text(message),
    resources: [referenceTo(subject)],
    properties: {
      resultID: id,
      mode,
      ...(seen?.isExact === true ? { firstSeen: timeOf(seen.seconds) } : {}),
      ...reasonsOf(ruling),
      docs: pageOf(rule.id),
    },
    ...(seen === undefined ? {} : { timestamp: { seconds: seen.seconds, nanos: 0 } }),
  };
}

const severities = { deny: "high", warn: "medium", audit: "low" } as const;

const headOf = ({ id, tags }: Rule) => ({ source, policy: id, rule: id, category: tags[0] ?? "istio" });

function reasonsOf({ finding, lowered, exception }: Ruling): Readonly<Record<string, string>> {
  const { at, fix, rule, setting } = finding;
  const reason = lowered.at(-1)?.reason;
  return {
    ...(at.length === 0 ? {} : { path: text(formatPath(at)) }),
    ...(reason === undefined || exception !== undefined ? {} : { lowered: text(reason) }),
    ...(exception === undefined ? {} : exceptionOf(exception)),
    setBy: text(setting.policy),
    fix: text(fix ?? rule.fix),
  };
}

const exceptionOf = ({ title, expiresAt, reason, owner }: Exception) => ({
  exception: title,
  exceptionExpires: expiresAt,
  exceptionReason: text(reason),
  exceptionOwner: text(owner),
});

const resultOfError = ({ rule, subject, error }: RuleError): ReportResult => ({
  ...headOf(rule),
  severity: "info",
  result: "error",
  scored: false,
  message: text(`The rule could not be evaluated: ${error instanceof Error ? error.message : String(error)}`),
  resources: [referenceTo(subject)],
  properties: { resultID: resultIdOf({ rule, subject }) },
});

const resultIdOf = ({ rule, subject }: Pick<RuleError, "rule" | "subject">): string =>
  `error ${rule.id} ${idOf(subject)}`;

/** The order of the mesh is another one in each replica. */
const byResultId = (a: RuleError, b: RuleError): number => (resultIdOf(a) < resultIdOf(b) ? -1 : 1);

/** Without the uid: an object that is deleted and created again has the same finding. */
const referenceTo = ({ apiVersion, originKind, metadata }: AnyObject): object => ({
  apiVersion,
  kind: originKind,
  ...(metadata.namespace === "" ? {} : { namespace: metadata.namespace }),
  name: metadata.name,
});

function splitted(namespace: string, results: readonly ReportResult[]): readonly ReportContent[] {
  const parts: ReportResult[][] = [];
  let part: ReportResult[] = [];
  let bytes = 0;
  let listed = 0;
  for (const result of results) {
    const more = Buffer.byteLength(JSON.stringify(result)) + 1;
    if (part.length > 0 && (part.length >= mostResults || bytes + more > mostBytes)) {
      parts.push(part);
      if (parts.length === mostReports) break;
      [part, bytes] = [[], 0];
    }
    part.push(result);
    bytes += more;
    listed++;
  }
  if (parts.length < mostReports && part.length > 0) parts.push(part);
  const unlisted = results.slice(listed);
  parts.at(-1)?.push(...summaries(namespace, unlisted));
  return parts.map((of, i) => ({
    namespace,
    name: i === 0 ? source : `${source}-${i + 1}`,
    results: of,
    summary: summaryOf(of),
    unlisted: unlisted.length,
  }));
}

/** One result for each rule with findings that are not listed. */
function summaries(namespace: string, unlisted: readonly ReportResult[]): readonly ReportResult[] {
  const where = namespace === "" ? "" : ` --namespace ${namespace}`;
  return [...Map.groupBy(unlisted, ({ policy, result }) => `${policy} ${result}`).values()].flatMap((group) => {
    const [first] = group;
    if (first === undefined) return [];
    const { policy, rule, category, severity, result, scored } = first;
    const message = `${counted(group.length, "more finding")} of this rule are not listed, because the report would be too large for the cluster; meshward audit --mesh cluster${where} --rule ${rule} lists them`;
    const properties = { resultID: `unlisted ${namespace} ${rule} ${result}`, unlisted: String(group.length) };
    return [{ source, policy, rule, category, severity, result, scored, message, properties }];
  });
}

function summaryOf(results: readonly ReportResult[]): ReportContent["summary"] {
  const summary = { pass: 0, fail: 0, warn: 0, error: 0, skip: 0 };
  for (const { result } of results) summary[result]++;
  return summary;
}

const longestText = 1_000;
const text = (of: string): string => printableLine(of, longestText);
