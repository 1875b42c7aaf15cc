import type { PolicyDocument } from "./documents.ts";

/** Computes a text once for each object, because there may be thousands of documents. */
export function remembered<T extends object>(compute: (of: T) => string): (of: T) => string {
  const texts = new WeakMap<T, string>();
  return (of) => {
    let text = texts.get(of);
    if (text === undefined) texts.set(of, (text = compute(of)));
    return text;
  };
}

/** Everything that a document says. */
export const textOf = remembered(({ title, layer, spec, extended }: PolicyDocument) =>
  JSON.stringify([title, layer, spec, extended]),
);

/** A document with its conditions; two with the same key may say something else. */
export const keyOf = remembered((policy: PolicyDocument) => `${policy.title} ${JSON.stringify(policy.spec.match)}`);

/** What a document says of rules, without where. */
export const rulesText = remembered(({ spec, extended }: PolicyDocument) =>
  JSON.stringify([spec.rules, (extended ?? []).map((one) => one.spec.rules)]),
);
