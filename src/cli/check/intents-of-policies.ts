import { judge } from "../../engine/evaluate.ts";
import type { Finding } from "../../engine/finding.ts";
import { type Ruling, rulingsOf } from "../../engine/ruling.ts";
import type { PolicySelection } from "../../engine/setting.ts";
import { identityOf, idOf } from "../../kube/identity.ts";
import { intentBroken } from "../../rules/intent/broken.ts";
import { intentInvalid } from "../../rules/intent/invalid.ts";
import { intentNotHeld } from "../../rules/intent/not-held.ts";
import type { FileObject } from "../../sources/manifests/file-mesh.ts";
import type { SourceError } from "../../sources/manifests/manifests.ts";
import type { Mesh } from "../../view/view.ts";

/** Of many intents, so many remarks are printed. */
const mostNotes = 20;

/** What is remarkable about the intents of `--policies`, which decide as policies do. */
export interface IntentRemarks {
  /** What is wrong with an intent itself, as with a policy that is not in force. */
  readonly errors: readonly SourceError[];
  readonly notes: readonly string[];
}

interface Checked {
  readonly after: Mesh;
  readonly selection: PolicySelection;
  /** What the change was found to do. */
  readonly rulings: readonly Ruling[];
  /** An intent that is among the checked files is checked as one of them, but as if it had been there before. */
  readonly files: readonly FileObject[];
}

/**
 * Which intents of `--policies` keep less than they say: they are wrong, name what is not there, or do not hold anyway. The change did not write
 * them, so no finding of its own says it, and it would pass without a word. What the change itself ends is found by intent-broken.
 */
export function intentRemarks(given: readonly FileObject[], checked: Checked): IntentRemarks {
  const { after, selection } = checked;
  const written = new Set(checked.files.map(({ object }) => identityOf(object)));
  if (given.length === 0) return { errors: [], notes: [] };
  const { findings } = judge(
    [intentInvalid, intentNotHeld],
    after,
    given.map(({ object }) => ({ old: undefined, object })),
    { selection },
  );
  const manifestOf = new Map(given.map(({ object, manifest }) => [identityOf(object), manifest]));
  const known = new Set(
    checked.rulings.flatMap(({ finding }) => (finding.rule === intentBroken ? [placed(finding)] : [])),
  );
  // That nothing can be decided about what is not there is the same remark once more.
  const missing = new Set(
    findings.flatMap(({ rule, subject, at }) =>
      rule === intentInvalid && at[1] === "to" ? [identityOf(subject)] : [],
    ),
  );
  const isSaid = ({ finding: { rule, subject, at } }: Ruling): boolean =>
    rule !== intentInvalid && (known.has(placed({ subject, at })) || missing.has(identityOf(subject)));
  const errors: SourceError[] = [];
  const notes: string[] = [];
  for (const ruling of rulingsOf(findings, { after, exceptionFor: selection.exceptionFor })) {
    const { subject, at, message } = ruling.finding;
    const manifest = manifestOf.get(identityOf(subject));
    if (ruling.mode === "off" || manifest === undefined || isSaid(ruling)) continue;
    const { line, column, file = manifest.file } = manifest.locate(at);
    const remark = `${idOf(subject)} keeps less than it says: ${message}`;
    if (isWrong(ruling)) errors.push({ file, line, column, message: remark });
    else if (!written.has(identityOf(subject))) notes.push(`${file}:${line}: ${remark}`);
  }
  const more = notes.length - mostNotes;
  if (more <= 0) return { errors, notes };
  return { errors, notes: [...notes.slice(0, mostNotes), `and ${more} more remarks about intents; audit lists them`] };
}

/** Neither what may be applied later, nor what only a mesh decides. */
const isWrong = ({ finding, mode }: Ruling): boolean => finding.rule === intentInvalid && mode === "deny";

const placed = ({ subject, at }: Pick<Finding, "subject" | "at">): string => [identityOf(subject), ...at].join("\n");
