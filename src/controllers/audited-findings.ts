import { fingerprintOf } from "../engine/fingerprint.ts";
import type { Mode } from "../engine/rule.ts";
import type { Ruling } from "../engine/ruling.ts";
import { namespaceOf } from "../engine/setting.ts";
import { idOf } from "../kube/identity.ts";
import type { AuditOutcome, Turn } from "./background-audit.ts";

/** A finding of an audit, with or without effect. */
export interface AuditedFinding {
  /** Unique among the findings of an audit; the same in every audit that finds the same problem. */
  readonly id: string;
  readonly ruling: Ruling;
  /** The mode of the finding; of an accepted one, the mode that it would have without the exception. */
  readonly mode: Exclude<Mode, "off">;
  /** The namespace of the object; a Namespace belongs to itself. Empty for other cluster-scoped objects. */
  readonly namespace: string;
}

/** The number of findings that are handled before reviews get their turn. */
export const handledAtOnce = 100;

/** The findings in a stable order: the most severe first, those that exceptions accept last. */
export async function auditedFindings(
  { rulings }: Pick<AuditOutcome, "rulings">,
  turn: Turn,
): Promise<AuditedFinding[]> {
  const found: (AuditedFinding & { readonly order: string })[] = [];
  const counts = new Map<string, number>();
  for (const [i, ruling] of rulings.entries()) {
    if (i % handledAtOnce === 0) await turn();
    const mode = ruling.exception === undefined ? ruling.mode : ruling.lowered.at(-1)?.from;
    if (mode === undefined || mode === "off") continue;
    const { finding } = ruling;
    const fingerprint = fingerprintOf(finding);
    const count = (counts.get(fingerprint) ?? 0) + 1;
    counts.set(fingerprint, count);
    const id = count === 1 ? fingerprint : `${fingerprint}-${count}`;
    const rank = ruling.exception === undefined ? ["deny", "warn", "audit"].indexOf(mode) : 3;
    const order = `${rank} ${finding.rule.id} ${idOf(finding.subject)} ${finding.message} ${id}`;
    found.push({ id, ruling, mode, namespace: namespaceOf(finding.subject), order });
  }
  return found.sort((a, b) => (a.order < b.order ? -1 : 1));
}
