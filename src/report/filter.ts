import { globs } from "../text/globs.ts";
import type { Report, ReportedFinding, ReportedObject, ReportFilter } from "./report.ts";

const modes = ["deny", "warn", "audit"] as const;

/** The namespace of an object; a Namespace belongs to itself. Empty for other cluster-scoped objects. */
export const namespaceOfReported = ({ kind, namespace, name }: ReportedObject): string =>
  namespace ?? (kind === "Namespace" ? name : "");

/**
 * The report with the findings that the filter lets through. Errors stay, and rules that could not run or had nothing to check, if the
 * filter may ask for them. `tagsOf` has the tags of every rule; without it, those of a report that was written before have to do.
 */
export function filtered(
  report: Report,
  filter: Omit<ReportFilter, "hidden">,
  tagsOf: ReadonlyMap<string, readonly string[]> = new Map(),
): Report {
  const { namespaces, rules, tags, minMode } = filter;
  const [inNamespaces, ofRules] = [globs(namespaces), globs(rules)];
  const tagged = new Set(
    [...tagsOf, ...report.rules.map((rule) => [rule.id, rule.tags] as const)]
      .filter(([, own]) => own.some((tag) => tags.includes(tag)))
      .map(([id]) => id),
  );
  const isAsked = ({ rule }: { readonly rule: string }): boolean =>
    (rules.length === 0 || ofRules.matches(rule)) && (tags.length === 0 || tagged.has(rule));
  const isShown = ({ rule, mode, object }: ReportedFinding): boolean =>
    (namespaces.length === 0 || inNamespaces.matches(namespaceOfReported(object))) &&
    isAsked({ rule }) &&
    modes.indexOf(mode) <= modes.indexOf(minMode);
  const findings = report.findings.filter(isShown);
  const accepted = report.accepted.filter(isShown);
  const found = new Set([...findings, ...accepted].map(({ rule }) => rule));
  const count = (mode: ReportedFinding["mode"]) => findings.filter((finding) => finding.mode === mode).length;
  return {
    ...report,
    basis: {
      ...report.basis,
      idle: report.basis.idle.filter(isAsked),
      filter: { ...filter, hidden: report.findings.length - findings.length },
    },
    skipped: report.skipped.filter(isAsked),
    findings,
    accepted,
    rules: report.rules.filter(({ id }) => found.has(id)),
    summary: { ...report.summary, deny: count("deny"), warn: count("warn"), audit: count("audit") },
  };
}
