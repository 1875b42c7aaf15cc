import type { Kind } from "../kube/kinds.ts";
import type { Rule } from "../engine/rule.ts";
import { nearest, suggestion } from "../text/nearest.ts";
import { UsageError } from "../text/usage-error.ts";

/** What somebody looks for among the rules. */
export interface RuleSearch {
  /** Words that a rule must contain, all of them; case does not matter. */
  readonly words: readonly string[];
  readonly tag?: string | undefined;
  /** The rule must check one of these kinds; none means any kind. */
  readonly kinds: readonly Kind[];
}

/**
 * The rules that match, in the order of the list. Words are looked up in the id, the summary, the tags and the kinds of a
 * rule; if no rule has them there, in its reason and its fix, and at last in its whole page, `pageOf`, which also says what
 * somebody sees when it has happened (`503 NC`). Most words occur there beside the point. Throws a UsageError
 * for an unknown tag and if nothing matches, because an empty list would look like "Meshward does not check this".
 */
export function foundRules(
  rules: readonly Rule[],
  { words, tag, kinds }: RuleSearch,
  pageOf: (rule: Rule) => string,
): readonly Rule[] {
  requireTag(tag, rules);
  const candidates = rules.filter(
    (rule) =>
      (tag === undefined || rule.tags.includes(tag)) &&
      (kinds.length === 0 || rule.subject.some((kind) => kinds.includes(kind))),
  );
  const wanted = words.flatMap((word) => word.toLowerCase().split(/\s+/)).filter((word) => word !== "");
  const having = (textOf: (rule: Rule) => string) =>
    candidates.filter((rule) => {
      const text = textOf(rule).toLowerCase();
      return wanted.every((word) => isIn(text, word));
    });
  const texts = [headlineOf, (rule: Rule) => `${headlineOf(rule)}\n${rule.why}\n${rule.fix}`, pageOf];
  let found: readonly Rule[] = [];
  for (const textOf of texts) if (found.length === 0) found = having(textOf);
  if (found.length === 0) throw new UsageError(nothingFound({ words, tag, kinds }, rules));
  return found;
}

/** Short words, such as the response flag `NC`, are parts of many others, so they count only as whole words. */
const isIn = (text: string, word: string): boolean =>
  word.length > 3 ? text.includes(word) : ` ${text.replaceAll(/[^a-z0-9]+/g, " ")} `.includes(` ${word} `);

const headlineOf = ({ id, summary, tags, subject }: Rule): string => [id, summary, ...tags, ...subject].join("\n");

function requireTag(tag: string | undefined, rules: readonly Rule[]): void {
  const tags = [...new Set(rules.flatMap((rule) => rule.tags))].sort();
  if (tag === undefined || tags.includes(tag)) return;
  const meant = suggestion(tag, tags);
  throw new UsageError(`--tag: no rule has the tag ${JSON.stringify(tag)}${meant}; tags are ${tags.join(", ")}`);
}

function nothingFound({ words, tag, kinds }: RuleSearch, rules: readonly Rule[]): string {
  const isOneWord = words.length === 1 && tag === undefined && kinds.length === 0;
  const ids = rules.map(({ id }) => id);
  const near = isOneWord ? nearest(words.join(), ids) : undefined;
  const hint = near === undefined ? "run meshward rules to see them all" : `did you mean ${JSON.stringify(near)}?`;
  if (isOneWord) return `there is no rule ${JSON.stringify(words.join())}: ${hint}`;
  const conditions = [
    ...(tag === undefined ? [] : [`has the tag ${JSON.stringify(tag)}`]),
    ...(kinds.length === 0 ? [] : [`checks ${kinds.join(" or ")}`]),
    ...(words.length === 0 ? [] : [`matches ${JSON.stringify(words.join(" "))}`]),
  ];
  return `no rule ${conditions.join(" and ")}: ${hint}`;
}
