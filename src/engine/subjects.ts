import { identityOf } from "../kube/identity.ts";
import { allKinds, type Kind } from "../kube/kinds.ts";
import type { AnyObject } from "../kube/object.ts";
import { type Change, subjectOf } from "../view/overlay.ts";
import type { Mesh } from "../view/view.ts";
import type { Rule } from "./rule.ts";

/** Every kind that a rule reads, its subject's not included unless it reads it of others. */
export function kindsRead(rule: Rule): ReadonlySet<Kind> {
  return new Set(rule.reads.flatMap((read) => (typeof read === "string" ? [read] : [read.from.kind, read.to.kind])));
}

const isSubject = (rule: Rule, kind: Kind): boolean => rule.subject === "*" || rule.subject === kind;

export const concerns = (rule: Rule, changed: ReadonlySet<Kind>): boolean => {
  for (const kind of changed) if (isSubject(rule, kind) || kindsOf(rule).has(kind)) return true;
  return false;
};

const kindsByRule = new WeakMap<Rule, ReadonlySet<Kind>>();
function kindsOf(rule: Rule): ReadonlySet<Kind> {
  let kinds = kindsByRule.get(rule);
  if (!kinds) kindsByRule.set(rule, (kinds = kindsRead(rule)));
  return kinds;
}

/** The kind that a rule cannot do without and that the view cannot supply. */
export function unknownTo(rule: Rule, mesh: Mesh): Kind | undefined {
  for (const kind of kindsOf(rule)) if (!rule.worksWithout.includes(kind) && !mesh.knows(kind)) return kind;
  return undefined;
}

/**
 * Every object whose verdict under this rule a change can touch: the rule's relations walked backwards from what
 * changed, any number of hops, on both sides.
 */
export function subjectsOf(rule: Rule, changes: readonly Change[], sides: readonly Mesh[]): Iterable<AnyObject> {
  const [first] = changes;
  // A rule that reads no other objects judges what changes: most rules, most of the time.
  if (rule.reads.length === 0 && first !== undefined && changes.length === 1) {
    const subject = subjectOf(first);
    return isSubject(rule, subject.kind) ? [subject] : [];
  }
  const reached = new Set<AnyObject>();
  for (const { old, object } of changes) {
    if (old) reached.add(old);
    if (object) reached.add(object);
  }
  // A Set visits what is added on the way.
  for (const object of reached) for (const reader of readersOf(object, rule, sides)) reached.add(reader);
  return distinct(rule, reached);
}

/** Every object that the rule judges: what a change of mesh settings concerns. */
export function* allSubjects(rule: Rule, mesh: Mesh): Iterable<AnyObject> {
  for (const kind of rule.subject === "*" ? allKinds : [rule.subject]) yield* mesh.all(kind);
}

function* readersOf(object: AnyObject, rule: Rule, sides: readonly Mesh[]): Iterable<AnyObject> {
  for (const read of rule.reads)
    if (read === object.kind) for (const mesh of sides) yield* allSubjects(rule, mesh);
    else if (typeof read !== "string" && read.to.kind === object.kind)
      for (const mesh of sides) yield* mesh.lookup(read.from, read.to.keys(object, mesh.settings));
}

function distinct(rule: Rule, reached: Iterable<AnyObject>): Iterable<AnyObject> {
  const subjects = new Map<string, AnyObject>();
  for (const object of reached) if (isSubject(rule, object.kind)) subjects.set(identityOf(object), object);
  return subjects.values();
}

/** Relations that no path leads to from the rule's subject: declared in vain, or one in between is missing. */
export function unreachable(rule: Rule): readonly string[] {
  const known = new Set<Kind>(rule.subject === "*" ? allKinds : [rule.subject]);
  let relations = rule.reads.filter((read) => typeof read !== "string");
  for (let before = -1; before !== known.size; ) {
    before = known.size;
    for (const { from, to } of relations) if (known.has(from.kind)) known.add(to.kind);
  }
  relations = relations.filter(({ from }) => !known.has(from.kind));
  return relations.map(({ name }) => name);
}
