import {
  anyText,
  oneSegment,
  Pattern,
  someText,
  type Token,
  withinSegment,
} from "../authorization/requests/patterns.ts";

const wildcards: ReadonlyMap<string, Token> = new Map([
  [".*", anyText],
  [".+", someText],
  ["[^/]*", withinSegment],
  ["[^/]+", oneSegment],
]);
/** A wildcard, which may be lazy, as it makes no difference to what a whole text matches; or a sign; or a literal character. */
const step =
  /(?<wildcard>\.[*+]|\[\^\/\][*+])\??|(?<sign>\((?:\?:)?|[)|?])|\\(?<escaped>[^a-zA-Z0-9])|[^\\.*+?()[\]{}|^$]/y;

const mostPatterns = 32;
const deepest = 8;

/** What an expression says besides literal text, the usual wildcards, alternatives and what may be left out. */
class Inexpressible extends Error {}

/**
 * A regular expression that a whole text has to match, as patterns of which one has to match; undefined: it cannot be expressed by a
 * few of them. Envoy reads the syntax of RE2.
 */
export function patternsOfExpression(expression: string): readonly Pattern[] | undefined {
  try {
    return new Reader(expression).all().map((tokens) => new Pattern(tokens));
  } catch (error) {
    if (error instanceof Inexpressible) return undefined;
    throw error;
  }
}

/** The tokens of one pattern. They are added to in place, because an expression can be long. */
type Sequence = Token[];

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(expression: string) {
    this.#text = expression;
  }

  all(): readonly Sequence[] {
    const found = this.#alternatives(0);
    if (this.#at < this.#text.length) throw new Inexpressible();
    return found;
  }

  #alternatives(depth: number): readonly Sequence[] {
    if (depth > deepest) throw new Inexpressible();
    const found: Sequence[] = [];
    do {
      found.push(...this.#sequences(depth));
      if (found.length > mostPatterns) throw new Inexpressible();
    } while (this.#takes("|"));
    return found;
  }

  /** What follows each other, up to the end of the alternative. */
  #sequences(depth: number): readonly Sequence[] {
    let found: readonly Sequence[] = [[]];
    // In front and at the end of a whole text, these say nothing.
    if (depth === 0) this.#takes("^");
    while (!this.#isAtEnd()) found = joined(found, this.#next(depth));
    if (depth === 0 && this.#takes("$") && !this.#isAtEnd()) throw new Inexpressible();
    return found;
  }

  #isAtEnd(): boolean {
    const next = this.#text.charAt(this.#at);
    return next === "" || next === "|" || next === ")" || next === "$";
  }

  #next(depth: number): readonly Sequence[] {
    step.lastIndex = this.#at;
    const [whole, { wildcard, sign, escaped } = {}] = groupsOf(step.exec(this.#text));
    if (whole === undefined || sign === "?") throw new Inexpressible();
    this.#at += whole.length;
    if (wildcard !== undefined) return [[wildcards.get(wildcard) ?? anyText]];
    if (sign === undefined) return this.#perhaps([[escaped ?? whole]]);
    const inner = this.#alternatives(depth + 1);
    if (!this.#takes(")")) throw new Inexpressible();
    return this.#perhaps(inner);
  }

  #perhaps(found: readonly Sequence[]): readonly Sequence[] {
    return this.#takes("?") ? [[], ...found] : found;
  }

  #takes(sign: string): boolean {
    const is = this.#text.startsWith(sign, this.#at);
    if (is) this.#at += sign.length;
    return is;
  }
}

type Groups = Readonly<Record<string, string | undefined>>;
const groupsOf = (found: RegExpExecArray | null): readonly [whole?: string, groups?: Groups] =>
  found === null ? [] : [found[0], found.groups ?? {}];

/** Each of the first, continued by each of the others. */
function joined(first: readonly Sequence[], others: readonly Sequence[]): readonly Sequence[] {
  if (first.length * others.length > mostPatterns) throw new Inexpressible();
  const [only] = others;
  if (only !== undefined && others.length === 1) {
    for (const one of first) append(one, only);
    return first;
  }
  return first.flatMap((one) =>
    others.map((other) => {
      const copy = [...one];
      append(copy, other);
      return copy;
    }),
  );
}

function append(sequence: Sequence, tokens: readonly Token[]): void {
  for (const token of tokens) {
    const last = sequence.at(-1);
    if (typeof token === "string" && typeof last === "string") sequence[sequence.length - 1] = last + token;
    else sequence.push(token);
  }
}
