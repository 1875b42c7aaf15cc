import { Addresses, blockOf, formatAddress, isIPv6 } from "./addresses.ts";
import type { Attribute } from "./attributes.ts";
import type { Clause } from "./boxes.ts";
import { Lists, ListsBeyond } from "./lists.ts";
import { type Pattern, type Token, anyText, oneSegment, someText } from "./patterns.ts";
import { Texts } from "./texts.ts";
import { absent, type Values } from "./values.ts";

/** A condition about one attribute as users write it: values with `*`, `{*}` and `{**}`, and blocks of addresses. */
export interface WrittenClause {
  readonly attribute: Attribute;
  /** Whether the attribute has none of the values. */
  readonly not: boolean;
  /** Set for lists such as headers: some element is none of the values. */
  readonly isBeyond?: true;
  /** Sorted. Empty: nothing, which is a caller without an identity or a request without a token. */
  readonly values: readonly string[];
}

export const writtenClause = ({ attribute, values, not }: Clause): WrittenClause => ({
  attribute,
  not,
  ...(values instanceof ListsBeyond ? { isBeyond: true } : {}),
  values: writtenValues(values, attribute),
});

/** The values of a set, sorted. */
export function writtenValues(values: Values, attribute: Attribute): readonly string[] {
  if (values === absent) return [];
  if (values instanceof Addresses) return values.ranges.map(writtenRange);
  const texts = values instanceof Lists || values instanceof ListsBeyond ? values.texts : values;
  if (!(texts instanceof Texts)) return [];
  const exact = [...texts.exact.values()].map((one) => writtenTexts(one, attribute));
  const patterns = texts.patterns.map((one) => writtenTexts(one.map(writtenPattern), attribute));
  return [...new Set([...exact, ...patterns])].sort();
}

/** An identity has three texts, and a token two. */
function writtenTexts(texts: readonly string[], attribute: Attribute): string {
  const [first = "", second = "", third = ""] = texts;
  if (attribute === "identity") return `${first}/ns/${second}/sa/${third}`;
  return attribute === "token" ? `${first}/${second}` : first;
}

/** `*` is any text at one end of a value; elsewhere and in templates, `{*}` is one segment and `{**}` any text. */
function writtenPattern({ tokens }: Pattern): string {
  const isSimple = tokens.length === 1 || (tokens.length === 2 && tokens.some((token) => typeof token === "string"));
  return tokens.map((token) => (typeof token === "string" ? token : writtenWildcard(token, isSimple))).join("");
}

function writtenWildcard(token: Exclude<Token, string>, isSimple: boolean): string {
  if (isSimple && (token === anyText || token === someText)) return "*";
  return token === oneSegment || !token.slash ? "{*}" : "{**}";
}

/** As a block if it is one, as every set of a policy is; otherwise the first and the last address. */
function writtenRange({ first, last }: Addresses["ranges"][number]): string {
  const width = isIPv6(first) ? 128 : 32;
  const address = formatAddress(first);
  const bits = width - (last - first + 1n).toString(2).length + 1;
  const block = blockOf(`${address}/${bits}`);
  if (block?.first !== first || block.last !== last) return `${address}-${formatAddress(last)}`;
  return bits === width ? address : `${address}/${bits}`;
}
