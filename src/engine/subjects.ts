import { identityOf } from "../kube/identity.ts";
import type { Kind } from "../kube/kinds.ts";
import type { AnyObject } from "../kube/object.ts";
import { type Change, subjectOf } from "../view/overlay.ts";
import type { AnyFact, Index, Mesh, Reads, Relation } from "../view/view.ts";
import type { Rule } from "./rule.ts";

/** The declaration of a rule in the form that the engine needs, computed once. */
interface Declared {
  /** The relations that lead from a change to other subjects. */
  readonly relations: readonly Relation[];
  readonly kinds: ReadonlySet<Kind>;
  readonly subjects: ReadonlySet<Kind>;
  /** The target kinds of these relations: a change of such an object can affect the results of other objects. */
  readonly ends: ReadonlySet<Kind>;
}
const declarations = new WeakMap<Rule, Declared>();

function declared(rule: Rule): Declared {
  let found = declarations.get(rule);
  if (found === undefined) {
    // A change of what a fact for wording reads affects no other subject.
    const relations = relationsAmong(rule.reads, ({ isForWording }) => isForWording !== true);
    found = {
      relations,
      kinds: new Set(relationsOf(rule.reads).flatMap(({ from, to }) => [from.kind, to.kind])),
      subjects: new Set(rule.subject),
      ends: new Set(relations.map(({ to }) => to.kind)),
    };
    declarations.set(rule, found);
  }
  return found;
}

/** All relations in the declaration, each once, including those that its facts read. */
export const relationsOf = (reads: readonly Reads[]): readonly Relation[] => relationsAmong(reads, () => true);

function relationsAmong(reads: readonly Reads[], isFollowed: (fact: AnyFact) => boolean): readonly Relation[] {
  const relations = new Set<Relation>();
  const all = new Set<Reads>(reads);
  // A Set visits what is added on the way.
  for (const read of all)
    if (!("compute" in read)) relations.add(read);
    else for (const other of isFollowed(read) ? read.reads : []) all.add(other);
  return [...relations];
}

/** Every kind that a rule reads through relations. The kind of its subject is included only if it reads other such objects. */
export const kindsRead = (rule: Rule): ReadonlySet<Kind> => declared(rule).kinds;

/** The kinds that a view must contain for a rule. A rule for malformed objects of every kind adds none. */
export const kindsNeeded = (rule: Rule): ReadonlySet<Kind> =>
  new Set([...kindsRead(rule), ...(rule.judgesMalformed ? [] : rule.subject)]);

const byKind = new WeakMap<readonly Rule[], Map<Kind, readonly Rule[]>>();

/** The rules that a change of an object of this kind may concern, in their order. */
export function rulesConcerned(rules: readonly Rule[], kind: Kind): readonly Rule[] {
  let known = byKind.get(rules);
  if (known === undefined) byKind.set(rules, (known = new Map()));
  let found = known.get(kind);
  if (found === undefined) {
    found = rules.filter((rule) => {
      const { subjects, ends } = declared(rule);
      return subjects.has(kind) || (rule.onlyOwnChanges !== true && ends.has(kind));
    });
    known.set(kind, found);
  }
  return found;
}

/** A kind that the rule requires and the view does not know. Namespaces are always known, at least as implied Namespaces. */
export function unknownTo(rule: Rule, mesh: Mesh): Kind | undefined {
  for (const kind of declared(rule).kinds)
    if (kind !== "Namespace" && !rule.worksWithout.includes(kind) && !mesh.knows(kind)) return kind;
  return undefined;
}

/**
 * Every object whose result for this rule a change can affect: follows the rule's relations backwards from the changed
 * objects, over any number of relations, on both sides.
 */
export function subjectsOf(
  rule: Rule,
  changes: readonly Change[],
  sides: readonly Mesh[],
): Iterable<AnyObject | undefined> {
  const { subjects, ends } = declared(rule);
  const [first] = changes;
  // The most frequent case: the rule reads no objects of this kind, or checks only changed objects.
  const isOwn = rule.onlyOwnChanges === true || changes.every((change) => !ends.has(subjectOf(change).kind));
  if (isOwn && first !== undefined && changes.length === 1) {
    const subject = subjectOf(first);
    return subjects.has(subject.kind) ? [subject] : [];
  }
  const changed = changes.flatMap(({ old, object }) => [old, object].filter((one) => one !== undefined));
  return distinct(subjects, isOwn ? changed : reachedFrom(changed, rule, sides));
}

/** Yields objects as they are reached, so that the first are evaluated before the search is done. */
function* reachedFrom(changed: readonly AnyObject[], rule: Rule, sides: readonly Mesh[]): Iterable<AnyObject> {
  const reached = new Set(changed);
  const walked = new Map<Index, Set<string>>();
  // A Set visits what is added on the way.
  for (const object of reached) {
    yield object;
    for (const reader of readersOf(object, rule, sides, walked)) reached.add(reader);
  }
}

function* readersOf(
  object: AnyObject,
  rule: Rule,
  sides: readonly Mesh[],
  walked: Map<Index, Set<string>>,
): Iterable<AnyObject> {
  for (const { from, to } of declared(rule).relations) {
    if (to.kind !== object.kind) continue;
    // Both sides have the same settings, because otherwise all subjects are evaluated.
    const keys = newKeys(walked, from, to.keys(object, (sides[0] as Mesh).settings));
    for (const mesh of keys.length === 0 ? [] : sides) yield* mesh.lookup(from, keys);
  }
}

/** The keys that were not followed before: many objects lead to the same readers. */
function newKeys(walked: Map<Index, Set<string>>, from: Index, keys: Iterable<string>): readonly string[] {
  let known = walked.get(from);
  if (known === undefined) walked.set(from, (known = new Set()));
  const found: string[] = [];
  for (const key of keys)
    if (!known.has(key)) {
      known.add(key);
      found.push(key);
    }
  return found;
}

/** Every object that the rule checks, which a change of mesh settings affects. */
export function* allSubjects(rule: Rule, mesh: Mesh): Iterable<AnyObject> {
  for (const kind of rule.subject) yield* mesh.all(kind);
}

/** The subjects among these objects, each once. Yields nothing for other objects, so that a long search can pause. */
function* distinct(subjects: ReadonlySet<Kind>, reached: Iterable<AnyObject>): Generator<AnyObject | undefined, void> {
  const found = new Set<string>();
  for (const object of reached) {
    const identity = subjects.has(object.kind) ? identityOf(object) : undefined;
    const isNew = identity !== undefined && !found.has(identity);
    if (isNew) found.add(identity);
    yield isNew ? object : undefined;
  }
}

/** Declared relations that cannot be reached from the rule's subject: they are unnecessary, or one in between is missing. */
export function unreachable(rule: Rule): readonly string[] {
  const known = new Set<Kind>(rule.subject);
  const { relations } = declared(rule);
  for (let before = -1; before !== known.size; ) {
    before = known.size;
    for (const { from, to } of relations) if (known.has(from.kind)) known.add(to.kind);
  }
  return relations.filter(({ from }) => !known.has(from.kind)).map(({ name }) => name);
}
