import type { Exception, PolicyDocument, RuleMetadata } from "./documents.ts";
import { extendDocuments } from "./extends.ts";
import { namesOfCustomRules } from "./custom-rule-names.ts";
import { type DefineRules, profileDocuments, readDocument } from "./load.ts";
import { Policies } from "./policies.ts";
import { isOfUser } from "./profiles.ts";
import type { SchemaProblem } from "./schema-problems.ts";

/** The policies as they would be with one document in place of the one of its name, or why the document is invalid. */
export function withDocument(
  current: Policies,
  raw: unknown,
  rules: readonly RuleMetadata[],
  define?: DefineRules,
): { readonly policies: Policies; readonly exception?: Exception } | { readonly problems: readonly SchemaProblem[] } {
  const read = readDocument(raw, rules, define);
  if ("problems" in read) return read;
  const wrongNames = namesOfCustomRules(read, definedBy(current, read));
  if (wrongNames.length > 0) return { problems: wrongNames };
  if ("exception" in read) {
    const { exception } = read;
    const others = current.exceptions.filter(({ title }) => title !== exception.title);
    return { policies: new Policies(current.documents, [...others, exception], current.pin), exception };
  }
  const { policy } = read;
  const own = ownDocuments(current).filter(({ title }) => title !== policy.title);
  const { extended, problems } = extendDocuments([...own, policy], (name) => profileDocuments(name, rules));
  if (problems.length > 0) return { problems: problems.map(({ title, problem }) => inOther(title, problem, policy)) };
  return { policies: new Policies([...ofProfile(current), ...extended], current.exceptions, current.pin) };
}

/** The rules that policies define, with this document in place of the one of its name. */
function definedBy(
  { documents }: Policies,
  read: { readonly policy: PolicyDocument } | { readonly exception: Exception },
): ReadonlyMap<string, RuleMetadata> {
  const own = "policy" in read ? read.policy : undefined;
  const others = documents.filter(({ title }) => title !== own?.title);
  const defined = [...others, ...(own === undefined ? [] : [own])].flatMap(({ customRules = [] }) => customRules);
  return new Map(defined.map((rule) => [rule.id, rule]));
}

/** A document that extends this one may be what is wrong. */
const inOther = (title: string, problem: SchemaProblem, { title: own }: PolicyDocument): SchemaProblem =>
  title === own ? problem : { at: [], message: `${title} would be invalid: ${problem.message}` };

/** The policies without the document of this title. */
export function withoutDocument(current: Policies, title: string): Policies {
  const exceptions = current.exceptions.filter((exception) => exception.title !== title);
  const documents = current.documents.filter((document) => document.title !== title);
  return new Policies(documents, exceptions, current.pin);
}

const ofProfile = ({ documents }: Policies) => documents.filter((document) => !isOfUser(document));

/** Documents as they were written: what they extend is resolved again. */
const ownDocuments = ({ documents }: Policies): readonly PolicyDocument[] =>
  documents.filter(isOfUser).map(({ title, name, layer, spec, customRules }) => ({
    ...{ title, name, layer, spec },
    ...(customRules === undefined ? {} : { customRules }),
  }));
