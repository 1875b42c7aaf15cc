import { KeptIn } from "../../../view/kept-in.ts";
import { type Attribute, findValue } from "./attributes.ts";
import type { Value, Values } from "./values.ts";
import type { Kept, Work } from "./work.ts";

/** A condition about one attribute: its value is one of those listed, or with `not`, none of them. */
export interface Clause {
  readonly attribute: Attribute;
  readonly values: Values;
  readonly not: boolean;
}

export const opposite = ({ attribute, values, not }: Clause): Clause => ({ attribute, values, not: !not });

/** A request: the value of each attribute that is of interest. */
export type Request = ReadonlyMap<Attribute, Value>;

/** The values of one attribute, never empty: `example` is one of them. */
interface Cell {
  readonly required: readonly Values[];
  readonly excluded: readonly Values[];
  readonly example: Value;
}

/**
 * A set of requests, not empty: a condition for each attribute. Attributes are independent of each other, so that one
 * example for each of them is an example of the whole.
 */
export class Box {
  readonly #cells: ReadonlyMap<Attribute, Cell>;
  #clauses: readonly Clause[] | undefined;

  constructor(cells: ReadonlyMap<Attribute, Cell> = new Map()) {
    this.#cells = cells;
  }

  /** The requests of the box that meet the condition; undefined: there are none. */
  with(clause: Clause, work: Work): Box | undefined {
    return this.withAll([clause], work);
  }

  /** With all of them. A policy can have thousands, so that the cells are copied once. */
  withAll(clauses: readonly Clause[], work: Work): Box | undefined {
    let cells: Map<Attribute, Cell> | undefined;
    for (const clause of clauses) {
      const there = (cells ?? this.#cells).get(clause.attribute) ?? anyValue;
      const cell = narrowed(there, clause, work);
      if (cell === undefined) return undefined;
      if (cell !== there) (cells ??= new Map(this.#cells)).set(clause.attribute, cell);
    }
    return cells === undefined ? this : new Box(cells);
  }

  /** The same without any condition on these attributes. */
  without(isLeftOut: (attribute: Attribute) => boolean): Box {
    const kept = [...this.#cells].filter(([attribute]) => !isLeftOut(attribute));
    return kept.length === this.#cells.size ? this : new Box(new Map(kept));
  }

  /** One request of the box, with the attributes that the box says something about. */
  get example(): Request {
    return new Map([...this.#cells].map(([attribute, { example }]) => [attribute, example]));
  }

  /** The conditions that the box consists of. */
  get clauses(): readonly Clause[] {
    return (this.#clauses ??= this.#findClauses());
  }

  #findClauses(): readonly Clause[] {
    const found: Clause[] = [];
    for (const [attribute, { required, excluded }] of this.#cells) {
      for (const values of required) found.push({ attribute, values, not: false });
      for (const values of excluded) found.push({ attribute, values, not: true });
    }
    return found;
  }
}

/** The values that meet the condition too; the same cell, if all do, and undefined, if none does. */
function narrowed(cell: Cell, clause: Clause, work: Work): Cell | undefined {
  const { required, excluded } = cell;
  const { values, not } = clause;
  if ((not ? excluded : required).includes(values)) return cell;
  if ((not ? required : excluded).includes(values)) return undefined;
  if (cell === anyValue) return narrowedFromAny(clause, work);
  const kept = work.memory?.known(cell, values, not);
  if (kept !== undefined) {
    work.spend(kept.spent);
    return kept.result as Cell | undefined;
  }
  const before = work.spent;
  const result = narrowedAnew(cell, clause, work);
  work.memory?.keep(cell, values, not, { result, spent: work.spent - before });
  return result;
}

function narrowedAnew(cell: Cell, { attribute, values, not }: Clause, work: Work): Cell | undefined {
  const { required, excluded, example } = cell;
  const next = not ? { required, excluded: [...excluded, values] } : { required: [...required, values], excluded };
  work.spend(1);
  if (example !== unset && values.has(example) !== not) return { ...next, example };
  const found = findValue(attribute, next.required, next.excluded, work);
  return found && { ...next, example: found.value };
}

/** What a condition leaves of all values of its attribute. */
interface FromAny extends Kept {
  readonly attribute: Attribute;
}
/** Apart, because what is outside a rule is looked for after what is inside. */
const [inAny, outOfAny] = [new KeptIn<Values, FromAny>(), new KeptIn<Values, FromAny>()];

/** That depends on the condition alone, so it is the same for all places where its policy applies. */
function narrowedFromAny(clause: Clause, work: Work): Cell | undefined {
  const { attribute, values, not } = clause;
  const fromAny = not ? outOfAny : inAny;
  const known = fromAny.get(values);
  if (known?.attribute === attribute) {
    work.spend(known.spent);
    return known.result as Cell | undefined;
  }
  const before = work.spent;
  const result = narrowedAnew(anyValue, clause, work);
  fromAny.set(values, { attribute, result, spent: work.spent - before });
  return result;
}

/** No value at all, unlike undefined. */
const unset: Value = Object.freeze(["\0"]);
const anyValue: Cell = { required: [], excluded: [], example: unset };

/** All requests. */
export const everyRequest = new Box();
