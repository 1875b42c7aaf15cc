import { selectedObjects } from "../controllers/policy-status.ts";
import { absentNamespaces } from "../policy/absent-namespaces.ts";
import { namespaceKey } from "../kube/identity.ts";
import type { Exception } from "../policy/documents.ts";
import { exceptionRemarks, type ExceptionState } from "../policy/exception-states.ts";
import type { Policies } from "../policy/policies.ts";
import { printableLine } from "../text/printable.ts";
import type { Mesh } from "../view/view.ts";
import { tellNote, type Terminal } from "./terminal.ts";

/** Of many exceptions or policies, so many remarks are printed. */
const mostNotes = 20;

/**
 * Prints what is remarkable about the exceptions. `used` are those that accepted a finding of the whole mesh; without it,
 * nothing is said about unused ones.
 */
export function tellExceptions(
  policies: Policies,
  { mesh, used }: { readonly mesh: Mesh; readonly used?: ReadonlySet<Exception> },
  terminal: Terminal,
): void {
  const labelsOf = (namespace: string) => mesh.find("Namespace", namespaceKey(namespace))?.metadata.labels ?? {};
  const remarks = exceptionRemarks(policies, { now: new Date(), labelsOf, used });
  const byException = [...Map.groupBy(remarks, ({ exception }) => exception)];
  for (const [{ title }, own] of byException.slice(0, mostNotes))
    tellNote(printableLine(`${title} ${own.map(({ text }) => text).join("; it ")}`, 2_000), terminal);
  const more = byException.slice(mostNotes).flatMap(([, own]) => own);
  if (more.length === 0) return;
  const counts = [...Map.groupBy(more, ({ state }) => state)].map(
    ([state, members]) => `${members.length} ${words[state]}`,
  );
  tellNote(`and ${byException.length - mostNotes} more exceptions: ${counts.join(", ")}`, terminal);
}

/**
 * Prints which policies select no object of a whole mesh, as their status says in a cluster: it may come later, or a name is
 * misspelt.
 */
export async function tellUnselective(policies: Policies, mesh: Mesh, terminal: Terminal): Promise<void> {
  const limited = policies.documents.filter(({ spec: { match } }) => match?.objects !== undefined);
  // Usually none, and then the objects need not be gone through.
  if (limited.length === 0) return;
  const counts = await selectedObjects(policies, mesh);
  const unselective = limited.filter(({ title }) => counts.get(title) === 0);
  for (const { title } of unselective.slice(0, mostNotes))
    tellNote(printableLine(`${title}: spec.match selects no object of this mesh`, 2_000), terminal);
  if (unselective.length > mostNotes)
    tellNote(`and ${unselective.length - mostNotes} more policies that select no object of this mesh`, terminal);
}

/** Prints which namespaces the policies name and a mesh does not have, if it contains Namespaces at all. */
export function tellAbsentNamespaces(policies: Policies, mesh: Mesh, terminal: Terminal): void {
  if (!mesh.knows("Namespace")) return;
  const namespaces = [...mesh.all("Namespace")].map(({ metadata: { name, labels }, implied }) => ({
    name,
    labels: implied === true ? undefined : labels,
  }));
  const absent = absentNamespaces(policies, namespaces);
  for (const { title, text } of absent.slice(0, mostNotes))
    tellNote(printableLine(`${title}: ${text}`, 2_000), terminal);
  if (absent.length > mostNotes)
    tellNote(`and ${absent.length - mostNotes} more names and labels that no namespace of this mesh has`, terminal);
}

const words: Readonly<Record<ExceptionState, string>> = {
  expired: "expired",
  notAllowed: "not allowed",
  unused: "unused",
  endsSoon: "end soon",
  wide: "too wide",
  long: "too long",
};
