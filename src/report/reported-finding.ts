import { pageOf } from "../config/rule-page.ts";
import type { Finding } from "../engine/finding.ts";
import type { Rule } from "../engine/rule.ts";
import type { Ruling } from "../engine/ruling.ts";
import { formatPath } from "../kube/field-path.ts";
import { identityOf } from "../kube/identity.ts";
import type { AnyObject } from "../kube/object.ts";
import type { Path } from "../kube/read.ts";
import { fingerprintOf } from "../policy/fingerprint.ts";
import type { AcceptedFinding, Report, ReportedFinding, ReportedObject, ReportedRule } from "./report.ts";

/** The place of an object: its file, and the line and column of a path in it, or in the file from which it was rendered. */
export interface Place {
  readonly file: string;
  locate(path: Path): { readonly line: number; readonly column: number; readonly file?: string };
}

/** Finds the place of an object. */
export interface Places {
  /** Undefined if the object is not in a file. */
  of(object: AnyObject): Place | undefined;
  /** Whether the user can change the object: it is in one of the checked files, or is deleted by the change. */
  isChangeable(object: AnyObject): boolean;
}

/** When a finding was first seen, in RFC 3339, by its fingerprint; undefined: nobody knows. */
export type FirstSeenOf = (fingerprint: string) => string | undefined;

interface Reporting {
  readonly places: Places;
  readonly docsUrl: string;
  /** Absent: only who audits a mesh again and again knows. */
  readonly firstSeen?: FirstSeenOf | undefined;
}

/** The entries of a report for rulings: findings, those that an exception accepts, and the rules of both. */
export function reportedRulings(
  rulings: readonly Ruling[],
  reporting: Reporting,
): Pick<Report, "findings" | "accepted" | "rules"> {
  const findings: ReportedFinding[] = [];
  const accepted: AcceptedFinding[] = [];
  const rules = new Map<string, Rule>();
  for (const ruling of rulings) {
    const { finding, mode, lowered, exception } = ruling;
    const shown = mode === "off" ? lowered.findLast(({ step }) => step === "exception")?.from : mode;
    if (shown === undefined || shown === "off") continue;
    rules.set(finding.rule.id, finding.rule);
    const reported = reportedFinding(ruling, shown, reporting);
    if (mode !== "off") findings.push(reported);
    else if (exception !== undefined) {
      const { namespace, name, reason, owner, ticket, expiresAt } = exception;
      const by = { namespace, name, reason, owner, ...(ticket === undefined ? {} : { ticket }), expiresAt };
      accepted.push({ ...reported, exception: by });
    }
  }
  const ofFindings = [...rules.values()].map((rule) => reportedRule(rule, reporting.docsUrl));
  return { findings, accepted, rules: ofFindings.sort((a, b) => (a.id < b.id ? -1 : 1)) };
}

function reportedFinding(
  { finding, lowered }: Ruling,
  mode: ReportedFinding["mode"],
  { places, docsUrl, firstSeen }: Reporting,
): ReportedFinding {
  const { rule, subject, at, message, introduced, setting, related = [] } = finding;
  const fingerprint = fingerprintOf({ rule: rule.id, identity: identityOf(subject), key: finding.key ?? message });
  const seen = firstSeen?.(fingerprint);
  return {
    rule: rule.id,
    fingerprint,
    ...(seen === undefined ? {} : { firstSeen: seen }),
    mode,
    lowered: lowered.map(({ step, from, to, reason }) => ({ step, from, to, reason })),
    introduced,
    object: reportedObject(subject),
    ...placeOf(finding, places),
    path: formatPath(at),
    message,
    fix: finding.fix ?? rule.fix,
    docs: pageOf(rule.id, docsUrl),
    policy: setting.policy,
    ...(setting.message === undefined ? {} : { note: setting.message }),
    ...(setting.runbook === undefined ? {} : { runbook: setting.runbook }),
    related: related.map((object) => ({ ...reportedObject(object), ...spotOf(object, [], places) })),
  };
}

const reportedRule = ({ id, summary, why, fix, tags }: Rule, docsUrl: string): ReportedRule => ({
  ...{ id, summary, why, fix, tags },
  docs: pageOf(id, docsUrl),
});

/**
 * Where a reader can do something about a finding. A finding about a namespace as a whole, and one about an object that the
 * reader does not change, is at the first object that causes it and that the reader can change.
 */
function placeOf({ subject, at, related = [], evidence = [] }: Finding, places: Places): Spot {
  const isElsewhere = !places.isChangeable(subject) || (at.length === 0 && subject.kind === "Namespace");
  const causes = isElsewhere ? [...related, ...evidence.flatMap((one) => ("absent" in one ? [] : one))] : [];
  const cause = causes.find((object) => places.isChangeable(object));
  return cause === undefined ? spotOf(subject, at, places) : spotOf(cause, [], places);
}

interface Spot {
  readonly file: string | null;
  readonly line: number | null;
  readonly column: number | null;
  readonly renderedFrom?: string;
}
function spotOf(object: AnyObject, at: Path, places: Places): Spot {
  const place = places.of(object);
  if (place === undefined) return { file: null, line: null, column: null };
  const spot = place.locate(at);
  if (spot.file === undefined || spot.file === place.file) return { ...spot, file: place.file };
  return { ...spot, file: spot.file, renderedFrom: place.file };
}

export function reportedObject({ apiVersion, originKind, metadata }: AnyObject): ReportedObject {
  const { namespace, name, generateName } = metadata;
  const shown = name || `${generateName ?? ""}*`;
  return { apiVersion, kind: originKind, ...(namespace === "" ? {} : { namespace }), name: shown };
}
