/**
 * The value of one attribute of a request: texts (one, or several that together are an identity), the values of a header
 * or a claim, an address, or undefined, if a caller has no identity or no token.
 */
export type Value = readonly string[] | bigint | undefined;

/** A set of values that a policy lists. */
export interface Values {
  /** The number of values that a comparison may visit. */
  readonly size: number;
  has(value: Value): boolean;
}

/** An example; undefined: there is none. */
export type Found = { readonly value: Value } | undefined;

export function isFine(value: Value, required: readonly Values[], excluded: readonly Values[]): boolean {
  for (const values of required) if (!values.has(value)) return false;
  for (const values of excluded) if (values.has(value)) return false;
  return true;
}

/** Nothing but the missing value: callers without an identity, or without a token. */
export const absent: Values = { size: 1, has: (value) => value === undefined };
