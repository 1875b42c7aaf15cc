import type { Clause } from "../authorization/requests/boxes.ts";
import { Pattern, restsAfter, startingWith, type Token } from "../authorization/requests/patterns.ts";
import { partOf, Texts } from "../authorization/requests/texts.ts";

/**
 * Another beginning of all paths. Each path has one that it becomes, and no two paths become the same, so that what a proxy behind
 * says of paths is translated exactly into what it means for those that are sent, and back: union, intersection and complement stay
 * what they are.
 */
export class PathChange {
  readonly #from: string;
  readonly #to: string;
  /** What all paths are afterwards. */
  readonly #image: Clause;
  readonly #seen = new Map<Texts, Texts>();
  readonly #sent = new Map<Texts, Texts>();

  /** All paths that are sent begin with `from`. */
  constructor(from: string, to: string) {
    this.#from = from;
    this.#to = to;
    this.#image = { attribute: "path", values: new Texts([[startingWith(to)]]), not: false };
  }

  /** This change and then that of another proxy, which sees paths that begin with its `from`; undefined: none of these do. */
  followedBy(from: string, to: string): PathChange | undefined {
    if (this.#to.startsWith(from)) return new PathChange(this.#from, to + this.#to.slice(from.length));
    if (from.startsWith(this.#to)) return new PathChange(this.#from + from.slice(this.#to.length), to);
    return undefined;
  }

  /** Conditions on paths that are sent, as conditions on what they become. */
  seen(clauses: readonly Clause[]): readonly Clause[] {
    return [this.#image, ...clauses.map((one) => replaced(one, (texts) => this.#become(texts)))];
  }

  /** Conditions on what paths become, as conditions on those that are sent. */
  sent(clauses: readonly Clause[]): readonly Clause[] {
    const own = clauses.filter(({ values }) => values !== this.#image.values);
    return own.map((one) => replaced(one, (texts) => this.#come(texts)));
  }

  #become(texts: Texts): Texts {
    let found = this.#seen.get(texts);
    if (found === undefined) {
      this.#seen.set(texts, (found = withBeginning(texts, this.#from, this.#to)));
      // A box recognizes a condition that it has.
      this.#sent.set(found, texts);
    }
    return found;
  }

  #come(texts: Texts): Texts {
    let found = this.#sent.get(texts);
    if (found === undefined) this.#sent.set(texts, (found = withBeginning(texts, this.#to, this.#from)));
    return found;
  }
}

const replaced = (clause: Clause, change: (texts: Texts) => Texts): Clause =>
  clause.values instanceof Texts ? { ...clause, values: change(clause.values) } : clause;

/** The texts that begin so, with another beginning. */
function withBeginning({ exact, patterns }: Texts, from: string, to: string): Texts {
  const literal = [...exact.values()].flatMap(([text = ""]) =>
    text.startsWith(from) ? [[to + text.slice(from.length)]] : [],
  );
  const others = patterns.flatMap(([pattern]) => (pattern === undefined ? [] : restsAfter(pattern, from)));
  return new Texts([...literal, ...others.map(({ tokens }) => [partOf(new Pattern(after(to, tokens)))])]);
}

const after = (start: string, [first, ...more]: readonly Token[]): readonly Token[] =>
  typeof first === "string" ? [start + first, ...more] : [start, ...(first === undefined ? [] : [first]), ...more];
