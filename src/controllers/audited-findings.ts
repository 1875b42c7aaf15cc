import type { Mode } from "../engine/rule.ts";
import type { Ruling } from "../engine/ruling.ts";
import { namespaceOf } from "../engine/setting.ts";
import { idOf, identityOf } from "../kube/identity.ts";
import { fingerprintOf } from "../policy/fingerprint.ts";
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
const handledAtOnce = 100;

interface Sortable extends AuditedFinding {
  /** Decides the order among the findings of a rule in a namespace. */
  readonly order: string;
}

/**
 * The findings in a stable order: the most severe first, those that exceptions accept last, and of these those of one rule after
 * the other.
 */
export async function auditedFindings(
  { rulings }: Pick<AuditOutcome, "rulings">,
  turn: Turn,
): Promise<AuditedFinding[]> {
  const groups = new Map<string, Sortable[]>();
  const counts = new Map<string, number>();
  for (const [i, ruling] of rulings.entries()) {
    if (i % handledAtOnce === 0) await turn();
    const mode = modeOf(ruling);
    if (mode === undefined) continue;
    const finding = sortable(ruling, mode, counts);
    const group = `${ruling.exception === undefined ? ranks[mode] : ranks.accepted} ${ruling.finding.rule.id} ${finding.namespace}`;
    const there = groups.get(group);
    if (there === undefined) groups.set(group, [finding]);
    else there.push(finding);
  }
  return sorted(groups, turn);
}

function sortable(ruling: Ruling, mode: AuditedFinding["mode"], counts: Map<string, number>): Sortable {
  const { rule, subject, key, message } = ruling.finding;
  const fingerprint = fingerprintOf({ rule: rule.id, identity: identityOf(subject), key: key ?? message });
  const count = (counts.get(fingerprint) ?? 0) + 1;
  counts.set(fingerprint, count);
  const id = count === 1 ? fingerprint : `${fingerprint}-${count}`;
  return { id, ruling, mode, namespace: namespaceOf(subject), order: `${idOf(subject)} ${message} ${id}` };
}

/** Group by group, because nothing else runs while one list with all findings of a large mesh is sorted. */
async function sorted(groups: ReadonlyMap<string, Sortable[]>, turn: Turn): Promise<AuditedFinding[]> {
  const all: AuditedFinding[] = [];
  let next = 0;
  for (const name of [...groups.keys()].sort()) {
    const group = groups.get(name) ?? [];
    for (const finding of group.sort((a, b) => (a.order < b.order ? -1 : 1))) all.push(finding);
    if (all.length < next) continue;
    await turn();
    next = all.length + sortedAtOnce;
  }
  return all;
}

const sortedAtOnce = 1_000;

const ranks = { deny: 0, warn: 1, audit: 2, accepted: 3 } as const;

/** Undefined: the finding has no effect, for another reason than an exception. */
function modeOf({ mode, exception, lowered }: Ruling): AuditedFinding["mode"] | undefined {
  const shown = exception === undefined ? mode : lowered.at(-1)?.from;
  return shown === "off" ? undefined : shown;
}
