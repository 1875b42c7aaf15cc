import { noteOf, referenceTo } from "../admission/object-events.ts";
import { formatPath } from "../kube/field-path.ts";
import { idOf } from "../kube/identity.ts";
import type { ObjectEvent } from "../kube/object-event.ts";
import { counted } from "../text/phrases.ts";
import type { AuditedFinding } from "./audited-findings.ts";

/** The reason of the Event that reports findings of an audit which were not there before. */
const auditFinding = "AuditFinding";

/** An Event for each rule and object with new findings that warn or deny. */
export function eventsOfFindings(findings: readonly AuditedFinding[]): readonly ObjectEvent[] {
  const told = findings.filter(({ mode, ruling }) => mode !== "audit" && ruling.exception === undefined);
  const groups = Map.groupBy(told, ({ ruling: { finding } }) => `${finding.rule.id} ${idOf(finding.subject)}`);
  return [...groups.values()].flatMap(([first, ...others]) => {
    if (first === undefined) return [];
    const { rule, subject, at, message, fix } = first.ruling.finding;
    const path = at.length === 0 ? "" : `${formatPath(at)}: `;
    const more = others.length === 0 ? "" : ` (and ${counted(others.length, "more problem")} of this rule)`;
    const note = noteOf(`${rule.id}: ${path}${message}${more}. Fix: ${fix ?? rule.fix}`);
    return [{ reason: auditFinding, rule: rule.id, note, regarding: referenceTo(subject) }];
  });
}
