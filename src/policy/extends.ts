import { suggestion } from "../text/nearest.ts";
import type { Extended, PolicyDocument } from "./documents.ts";
import { findProfile, type ProfileName, profileNames } from "./profiles.ts";
import type { SchemaProblem } from "./schema-problems.ts";

export interface ExtendedDocuments {
  /** The documents with what they take over, without those that have a problem. */
  readonly extended: readonly PolicyDocument[];
  readonly problems: readonly { readonly title: string; readonly problem: SchemaProblem }[];
}

/**
 * Resolves `extends`. A document takes over the rules and mutations of the others where it applies itself; their conditions
 * and their settings for the whole cluster stay theirs. Of a profile, the documents without a condition are taken.
 */
export function extendDocuments(
  documents: readonly PolicyDocument[],
  profileDocuments: (name: ProfileName) => readonly PolicyDocument[],
): ExtendedDocuments {
  if (documents.every(({ spec }) => spec.extends === undefined)) return { extended: documents, problems: [] };
  const byName = new Map(documents.map((document) => [document.name, document]));
  const results = new Map<PolicyDocument, readonly Extended[] | SchemaProblem>();

  const resolve = (document: PolicyDocument, path: readonly string[]): readonly Extended[] | SchemaProblem => {
    const known = results.get(document);
    if (known !== undefined) return known;
    const found: Extended[] = [];
    for (const [i, name] of (document.spec.extends ?? []).entries()) {
      const taken = take(name, [...path, document.name]);
      if (typeof taken !== "string") {
        found.push(...taken);
        continue;
      }
      const problem = { at: ["spec", "extends", i], message: `spec.extends[${i}]: ${taken}` };
      results.set(document, problem);
      return problem;
    }
    results.set(document, found);
    return found;
  };

  /** What `extends` names; a text says why it cannot be taken. */
  const take = (name: string, path: readonly string[]): readonly Extended[] | string => {
    const profile = namesProfile(name) ? findProfile(name) : undefined;
    if (profile !== undefined && byName.has(name) && path.at(-1) !== name)
      return `${name} is the name of a profile and of a MeshwardPolicy; rename the policy`;
    if (profile !== undefined) return ofProfile(profile, profileDocuments);
    const other = byName.get(name);
    if (other === undefined) {
      const hint = suggestion(name, [...profileNames, ...byName.keys()]);
      return `there is no profile and no MeshwardPolicy ${JSON.stringify(name)} in force${hint}`;
    }
    if (path.includes(name)) return `a circle: ${[...path.slice(path.indexOf(name)), name].join(" extends ")}`;
    if (other.spec.withdrawn) return `MeshwardPolicy ${name} is withdrawn, and has nothing to take over`;
    const rest = resolve(other, path);
    if ("message" in rest) return `${other.title} cannot be used: ${rest.message}`;
    return [{ title: other.title, spec: other.spec }, ...rest];
  };

  const problems: { title: string; problem: SchemaProblem }[] = [];
  const extended = documents.flatMap((document) => {
    const found = resolve(document, []);
    if ("message" in found) {
      problems.push({ title: document.title, problem: found });
      return [];
    }
    return [found.length === 0 ? document : { ...document, extended: found }];
  });
  return { extended, problems };
}

const namesProfile = (name: string): boolean => name.includes("@") || profileNames.some((known) => known === name);

function ofProfile(
  found: ReturnType<typeof findProfile>,
  profileDocuments: (name: ProfileName) => readonly PolicyDocument[],
): readonly Extended[] | string {
  if ("problem" in found) return found.problem;
  return profileDocuments(found.profile)
    .filter(({ spec }) => spec.match === undefined)
    .toReversed()
    .map(({ title, spec }) => ({ title, spec, pin: found.pin }));
}
