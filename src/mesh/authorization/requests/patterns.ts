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
  #expression: RegExp | undefined;
  #ends: { readonly prefix: string; readonly suffix: string } | false | undefined;

  constructor(tokens: readonly Token[]) {
    this.tokens = tokens.filter((token) => token !== "");
    const [first = "", ...more] = this.tokens;
    this.literal = typeof first === "string" && more.length === 0 ? first : undefined;
  }

  matches(text: string): boolean {
    if (this.literal !== undefined) return text === this.literal;
    const { ends } = this;
    if (ends === undefined) return this.expression.test(text);
    const { prefix, suffix } = ends;
    return text.length >= prefix.length + suffix.length && text.startsWith(prefix) && text.endsWith(suffix);
  }

  /** The two ends of a pattern with one wildcard for any text; undefined for other patterns. */
  get ends(): { readonly prefix: string; readonly suffix: string } | undefined {
    this.#ends ??= endsOf(this.tokens);
    return this.#ends === false ? undefined : this.#ends;
  }

  /** Its literal text. */
  get literals(): readonly string[] {
    return this.tokens.filter((token) => typeof token === "string");
  }

  private get expression(): RegExp {
    return (this.#expression ??= new RegExp(`^${this.tokens.map(sourceOf).join("")}$`, "su"));
  }
}

const sourceOf = (token: Token): string =>
  typeof token === "string"
    ? token.replaceAll(/[\\^$.*+?()[\]{}|/]/g, String.raw`\$&`)
    : `${token.slash ? "." : "[^/]"}${token.atLeast === 0 ? "*" : "+"}`;

function endsOf(tokens: readonly Token[]): { readonly prefix: string; readonly suffix: string } | false {
  const at = tokens.findIndex((token) => typeof token !== "string");
  const wildcard = tokens[at];
  if (wildcard !== anyText || tokens.length > 3 || at > 1) return false;
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
