/** Text of any length in a pattern: how many characters at least, and whether it may contain a slash. */
export interface Wildcard {
  readonly atLeast: 0 | 1;
  readonly slash: boolean;
}
/** Any text, the empty one too. */
export const anyText: Wildcard = { atLeast: 0, slash: true };
/** Any text but the empty one. */
export const someText: Wildcard = { atLeast: 1, slash: true };
/** One segment of a path, which is not empty. */
export const oneSegment: Wildcard = { atLeast: 1, slash: false };
/** Text without a slash. */
export const withinSegment: Wildcard = { atLeast: 0, slash: false };

export type Token = string | Wildcard;

/** A set of texts: literal text and wildcards in a fixed order. */
export class Pattern {
  readonly tokens: readonly Token[];
  /** Undefined if the pattern has a wildcard. */
  readonly literal: string | undefined;
  #ends: { readonly prefix: string; readonly suffix: string } | false | undefined;

  constructor(tokens: readonly Token[]) {
    this.tokens = tokens.filter((token) => token !== "");
    const [first = "", ...more] = this.tokens;
    this.literal = typeof first === "string" && more.length === 0 ? first : undefined;
  }

  matches(text: string): boolean {
    if (this.literal !== undefined) return text === this.literal;
    const { ends } = this;
    if (ends === undefined) return matchesTokens(this.tokens, text);
    const { prefix, suffix } = ends;
    return text.length >= prefix.length + suffix.length && text.startsWith(prefix) && text.endsWith(suffix);
  }

  /** The two ends of a pattern with one wildcard for any text; undefined for other patterns. */
  get ends(): { readonly prefix: string; readonly suffix: string } | undefined {
    this.#ends ??= endsOf(this.tokens);
    return this.#ends === false ? undefined : this.#ends;
  }

  /** The literal text that every match starts with. */
  get start(): string {
    const [first] = this.tokens;
    return typeof first === "string" ? first : "";
  }
  /** The literal text that every match ends with. */
  get end(): string {
    const last = this.tokens.at(-1);
    return typeof last === "string" ? last : "";
  }

  /** Whether every text that the other pattern matches is known to match, from the ends of both; false may mean that it is not known. */
  contains(other: Pattern): boolean {
    if (other.literal !== undefined) return this.matches(other.literal);
    const { ends } = this;
    return ends !== undefined && other.start.startsWith(ends.prefix) && other.end.endsWith(ends.suffix);
  }

  /** What a comparison costs, in comparisons of text. */
  get cost(): number {
    return this.ends === undefined && this.literal === undefined ? 10 : 1;
  }

  /** Its literal text. */
  get literals(): readonly string[] {
    return this.tokens.filter((token) => typeof token === "string");
  }
}

/** Follows all ways at once, token by token: the work is limited by the lengths, whatever the wildcards are. */
function matchesTokens(tokens: readonly Token[], text: string): boolean {
  let reached: readonly number[] = [0];
  for (const token of tokens) {
    if (reached.length === 0) return false;
    reached =
      typeof token === "string"
        ? reached.flatMap((at) => (text.startsWith(token, at) ? at + token.length : []))
        : afterWildcard(token, reached, text);
  }
  return reached.includes(text.length);
}

/** The positions that a wildcard can end at, in ascending order. */
function afterWildcard({ atLeast, slash }: Wildcard, starts: readonly number[], text: string): readonly number[] {
  const ends: number[] = [];
  for (const start of starts) {
    const first = Math.max(start + atLeast, (ends.at(-1) ?? -1) + 1);
    const end = slash ? -1 : text.indexOf("/", start);
    for (let at = first; at <= (end < 0 ? text.length : end); at++) ends.push(at);
  }
  return ends;
}

/**
 * What follows a beginning in the texts that a pattern matches: no pattern, if none of them has it, and several, if a wildcard can end at
 * several places. There are at most as many as the pattern has wildcards and characters.
 */
export function restsAfter(pattern: Pattern, beginning: string): readonly Pattern[] {
  if (beginning === "") return [pattern];
  const found: Pattern[] = [];
  /** Where in the beginning the next token can start. */
  let reached: readonly number[] = [0];
  for (const [i, token] of pattern.tokens.entries()) {
    if (reached.length === 0) break;
    const { rests, ends } =
      typeof token === "string" ? literalIn(token, reached, beginning) : wildcardIn(token, reached, beginning);
    found.push(...rests.map((rest) => new Pattern([rest, ...pattern.tokens.slice(i + 1)])));
    reached = ends.filter((end) => end < beginning.length);
  }
  return found;
}

/** What is left of a token after the beginning, and where in the beginning it can end. */
interface Taken {
  readonly rests: readonly Token[];
  readonly ends: readonly number[];
}

function literalIn(token: string, starts: readonly number[], beginning: string): Taken {
  const isLast = (at: number) => at + token.length >= beginning.length && token.startsWith(beginning.slice(at));
  return {
    rests: starts.filter(isLast).map((at) => token.slice(beginning.length - at)),
    ends: starts.flatMap((at) => (beginning.startsWith(token, at) ? at + token.length : [])),
  };
}

function wildcardIn(wildcard: Wildcard, starts: readonly number[], beginning: string): Taken {
  const ends = afterWildcard(wildcard, starts, beginning);
  const goesOn = ends.at(-1) === beginning.length;
  return { rests: goesOn ? [wildcard.slash ? anyText : withinSegment] : [], ends };
}

function endsOf(tokens: readonly Token[]): { readonly prefix: string; readonly suffix: string } | false {
  const at = tokens.findIndex((token) => typeof token !== "string");
  const wildcard = tokens[at];
  if (wildcard !== anyText || at > 1 || tokens.length > at + 2) return false;
  const [prefix = "", suffix = ""] = [tokens[at - 1], tokens[at + 1]];
  return typeof prefix === "string" && typeof suffix === "string" ? { prefix, suffix } : false;
}

export const anything = new Pattern([anyText]);
export const something = new Pattern([someText]);
export const exactly = (text: string): Pattern => new Pattern([text]);
export const startingWith = (text: string): Pattern => new Pattern([text, anyText]);
export const endingWith = (text: string): Pattern => new Pattern([anyText, text]);

/**
 * A value of a policy: exact, `x*`, `*x` or `*`. A star elsewhere is literal (Istio
 * pilot/pkg/security/authz/matcher/string.go StringMatcherWithPrefix).
 */
export function patternOf(value: string): Pattern {
  if (value === "*") return something;
  if (value.startsWith("*")) return endingWith(value.slice(1));
  return value.endsWith("*") ? startingWith(value.slice(0, -1)) : exactly(value);
}

/** The same for a header, where `*` accepts an empty value too (matcher/header.go HeaderMatcher, HostMatcher). */
export const headerPatternOf = (value: string): Pattern => (value === "*" ? anything : patternOf(value));

/**
 * The value of `paths`. `{*}` is one segment, `{**}` any text; in a path with one of them, Envoy reads `*` and `**` in the
 * same way (matcher/template.go sanitizePathTemplate).
 */
export function pathPatternOf(value: string): Pattern {
  if (!value.includes("{*}") && !value.includes("{**}")) return patternOf(value);
  const plain = value.replaceAll("{**}", "**").replaceAll("{*}", "*");
  return new Pattern(
    plain.split(/(\*\*|\*)/).map((part): Token => (part === "**" ? anyText : part === "*" ? oneSegment : part)),
  );
}

/** A value in which every star stands for any text. */
export const globOf = (value: string): Pattern =>
  new Pattern(value.split("*").flatMap((part, i): readonly Token[] => (i === 0 ? [part] : [anyText, part])));
