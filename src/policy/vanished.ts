import type { PolicyDocument } from "./documents.ts";
import { lossesOf, type RuleDefault } from "./losses.ts";
import { Policies } from "./policies.ts";
import { isOfUser } from "./profiles.ts";

/** Of more missing documents all are kept, because comparing each takes time in which no review is answered. */
const mostCompared = 20;

export interface Continued {
  readonly policies: Policies;
  /** Documents of the previous policies that are in force although their source no longer contains them. */
  readonly kept: readonly PolicyDocument[];
}

/**
 * The policies that were read again, with the documents of the previous ones that are missing and without which less
 * would be protected. An emptied or removed file says nothing about what it should protect; a document of the same name
 * does, whatever it says, and so does whoever deletes an object in a cluster (`isDeleted`).
 */
export function continued(
  previous: Policies,
  read: Policies,
  rules: readonly RuleDefault[],
  isDeleted: (document: PolicyDocument) => boolean = () => false,
): Continued {
  const there = new Set(read.documents.map(({ title }) => title));
  const missing = previous.documents.filter(
    (document) => isOfUser(document) && !there.has(document.title) && !isDeleted(document),
  );
  const merged = (kept: readonly PolicyDocument[]) =>
    kept.length === 0 ? read : new Policies([...read.documents, ...kept], read.exceptions, read.pin);
  let kept: readonly PolicyDocument[] = missing;
  let policies = merged(kept);
  for (const document of missing.length > mostCompared ? [] : missing) {
    // Whether other parameters find more or less depends on the rule.
    if (document.spec.rules?.some(({ parameters }) => parameters !== undefined)) continue;
    const others = kept.filter((other) => other !== document);
    const without = merged(others);
    if (lossesOf(policies, without, rules).length > 0) continue;
    kept = others;
    policies = without;
  }
  return { policies, kept };
}
