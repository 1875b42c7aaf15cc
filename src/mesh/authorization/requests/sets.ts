import type { Attribute } from "./attributes.ts";
import { type Box, type Clause, everyRequest } from "./boxes.ts";
import { isMet, outside } from "./difference.ts";
import type { Match } from "./matches.ts";
import { Texts } from "./texts.ts";
import { absent, type Values } from "./values.ts";
import type { Work } from "./work.ts";
import { writtenClause } from "./written.ts";

/** A set of requests: the union of its boxes, which may overlap. */
export type RequestSet = readonly Box[];

export const noRequests: RequestSet = [];
export const allRequests: RequestSet = [everyRequest];

/** A box as something that requests match. */
const matchOf = ({ clauses }: Box): Match => ({ sources: [clauses], operations: [[]], conditions: [] });

/** The requests of a set that are not in another one. Throws Undecided if that takes too much work. */
export function without(set: RequestSet, other: RequestSet, work: Work): RequestSet {
  if (set === other) return noRequests;
  const matches = other.map(matchOf);
  return set.flatMap((box) => [...outside(box, matches, work)]);
}

export const union = (set: RequestSet, other: RequestSet): RequestSet =>
  set.length === 0 ? other : other.length === 0 ? set : [...set, ...other];

/** The requests of both. */
export const both = (set: RequestSet, other: RequestSet, work: Work): RequestSet =>
  set === other ? set : set.flatMap((box) => other.flatMap(({ clauses }) => box.withAll(clauses, work) ?? []));

/** Whether all requests of a box are in a set. */
const isWithin = (box: Box, set: RequestSet, work: Work): boolean =>
  outside(box, set.map(matchOf), work).next().done === true;

/** Whether two sets have the same requests. */
export const isSameSet = (a: RequestSet, b: RequestSet, work: Work): boolean =>
  a === b || (a.every((box) => isWithin(box, b, work)) && b.every((box) => isWithin(box, a, work)));

/**
 * The same requests in few boxes with few conditions: each box is as large as the set allows, none is within the others, and
 * boxes that differ in one list of values only are one box. The result does not depend on the order of the boxes.
 */
export function simplified(set: RequestSet, work: Work): RequestSet {
  if (set.includes(everyRequest)) return allRequests;
  const all = joined(distinct(set.map((box) => withExactLists(inOrder(box, work), work))), work);
  const wide = distinct(all.map((box) => widened(box, (wider) => isWithin(wider, all, work), work)));
  const few = irredundant(wide, work);
  return joined(
    few.map((box) => withoutCovered(box, few, work)),
    work,
  ).toSorted(byText);
}

/** Boxes that include these requests and none of others, with few conditions. What is in neither of them does not matter. */
export function separated(set: RequestSet, others: RequestSet, work: Work): RequestSet {
  if (others.length === 0) return set.length === 0 ? set : allRequests;
  const isApart = (wider: Box) => others.every(({ clauses }) => wider.withAll(clauses, work) === undefined);
  const all = joined(distinct(set.map((box) => withExactLists(inOrder(box, work), work))), work);
  const wide = distinct(all.map((box) => widened(box, isApart, work, callersLast)));
  return joined(irredundant(wide, work), work).toSorted(byText);
}

/** The same box with its conditions in an order that does not depend on that of the policies. */
const inOrder = (box: Box, work: Work): Box =>
  everyRequest.withAll(
    box.clauses.toSorted((a, b) => compared(keyOfClause(a), keyOfClause(b))),
    work,
  ) ?? box;

const distinct = (set: RequestSet): RequestSet =>
  [...new Map(set.map((box) => [textOfBox(box), box])).values()].toSorted(byText);

/** The box without the conditions that it does not need to stay acceptable. */
function widened(
  box: Box,
  isAcceptable: (wider: Box) => boolean,
  ...[work, rank = exceptionsFirst]: readonly [Work, ((clause: Clause) => number)?]
): Box {
  let wide = box;
  const clauses = wide.clauses.toSorted((a, b) => rank(a) - rank(b) || compared(keyOfClause(a), keyOfClause(b)));
  for (const clause of clauses) {
    const others = wide.clauses.filter((one) => one.attribute !== clause.attribute || one.values !== clause.values);
    const wider = everyRequest.withAll(others, work);
    if (wider !== undefined && isAcceptable(wider)) wide = wider;
  }
  return wide;
}

/** The order of rules leaves exceptions behind; to have no identity or no token says the most. */
const exceptionsFirst = ({ values, not }: Clause): number => (values === absent ? 2 : Number(!not));
const callersLast = (clause: Clause): number => exceptionsFirst(clause) + (clause.attribute === "identity" ? 3 : 0);

/** A list of whole values is the only condition about an attribute: it has those that meet the others too. */
function withExactLists(box: Box, work: Work): Box {
  const attributes = new Set(box.clauses.map(({ attribute }) => attribute));
  const clauses = [...attributes].flatMap((attribute) => exactList(box, attribute));
  return clauses.length === box.clauses.length ? box : (everyRequest.withAll(clauses, work) ?? box);
}

function exactList(box: Box, attribute: Attribute): readonly Clause[] {
  const own = box.clauses.filter((clause) => clause.attribute === attribute);
  const list = own.find(isExactList);
  if (own.length < 2 || list === undefined) return own;
  const left = valuesOf(list).filter((value) => isMet(own, new Map([[attribute, value]])));
  return [{ attribute, values: new Texts(left), not: false }];
}

const isExactList = ({ values, not }: Clause): boolean =>
  !not && values instanceof Texts && values.patterns.length === 0;
const valuesOf = ({ values }: Clause): readonly (readonly string[])[] =>
  values instanceof Texts ? [...values.exact.values()] : [];

/** The box without those values of its lists for which other boxes have all requests anyway. */
function withoutCovered(box: Box, set: RequestSet, work: Work): Box {
  const others = set.filter((one) => one !== box);
  let left = box;
  for (const list of box.clauses.filter((clause) => isExactList(clause) && valuesOf(clause).length > 1)) {
    const rest = left.clauses.filter((clause) => clause !== list && clause.attribute !== list.attribute);
    const kept = valuesOf(list).filter((value) => {
      const one = everyRequest.withAll([...rest, { ...list, values: new Texts([value]) }], work);
      return one !== undefined && !isWithin(one, others, work);
    });
    const fewer = everyRequest.withAll([...rest, { ...list, values: new Texts(kept) }], work);
    if (kept.length > 0 && fewer !== undefined) left = fewer;
  }
  return left;
}

/** Without boxes that are within the others; those with the most conditions go first. */
function irredundant(set: RequestSet, work: Work): RequestSet {
  const left = new Set(set);
  for (const box of set.toSorted((a, b) => b.clauses.length - a.clauses.length || byText(a, b))) {
    const others = [...left].filter((one) => one !== box);
    if (others.length > 0 && isWithin(box, others, work)) left.delete(box);
  }
  return [...left];
}

/** Boxes with the same conditions but one, which is a list of texts, become one box; those of different callers last. */
function joined(set: RequestSet, work: Work): RequestSet {
  let left = set;
  const attributes = new Set(set.flatMap(({ clauses }) => clauses.map((clause) => clause.attribute)));
  const inOrder = [...attributes].sort((a, b) => Number(a === "identity") - Number(b === "identity") || compared(a, b));
  for (const attribute of inOrder) {
    const groups = Map.groupBy(left, (box) => keyWithout(box, attribute));
    left = [...groups].flatMap(([key, boxes]) => (key === undefined ? boxes : unionOf(boxes, attribute, work)));
  }
  return left;
}

/** The other conditions; undefined: that of this attribute is no single list of texts. */
function keyWithout({ clauses }: Box, attribute: Attribute): string | undefined {
  const [own, more] = clauses.filter((clause) => clause.attribute === attribute);
  if (own === undefined || more !== undefined || own.not || !(own.values instanceof Texts)) return undefined;
  return JSON.stringify(
    clauses
      .filter((clause) => clause !== own && clause.attribute !== attribute)
      .map(keyOfClause)
      .sort(),
  );
}

function unionOf(boxes: readonly Box[], attribute: Attribute, work: Work): readonly Box[] {
  const [first] = boxes;
  if (first === undefined || boxes.length === 1) return boxes;
  const own = boxes.flatMap(({ clauses }) => clauses.filter((clause) => clause.attribute === attribute));
  const sets = own.flatMap(({ values }) => (values instanceof Texts ? values : []));
  const others = first.clauses.filter((clause) => clause.attribute !== attribute);
  const box = everyRequest.withAll([...others, { attribute, values: Texts.union(sets), not: false }], work);
  return box === undefined ? boxes : [box];
}

function byText(a: Box, b: Box): number {
  return compared(textOfBox(a), textOfBox(b));
}
const boxTexts = new WeakMap<Box, string>();
function textOfBox(box: Box): string {
  let text = boxTexts.get(box);
  if (text === undefined) boxTexts.set(box, (text = JSON.stringify(box.clauses.map(keyOfClause).sort())));
  return text;
}
const compared = (a: string, b: string): number => (a < b ? -1 : Number(a > b));

const clauseTexts = new WeakMap<Values, Map<string, string>>();
/** What a condition is written as. Many boxes share their lists of values, so it is written once for each. */
export function keyOfClause(clause: Clause): string {
  let known = clauseTexts.get(clause.values);
  if (known === undefined) clauseTexts.set(clause.values, (known = new Map()));
  const key = `${clause.attribute} ${clause.not}`;
  let text = known.get(key);
  if (text === undefined) known.set(key, (text = JSON.stringify(writtenClause(clause))));
  return text;
}

/** What a set is written as; sets with the same key have the same requests. */
export const keyOfSet = (set: RequestSet): string => set.map(textOfBox).toSorted().join("\n");
