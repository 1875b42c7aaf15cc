import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Mode, modesOf, type Rule } from "../engine/rule.ts";
import { unreachable } from "../engine/subjects.ts";
import { allKinds } from "../kube/kinds.ts";
import { suggestion } from "../text/nearest.ts";
import { draftMark, draftTexts } from "./rule-draft.ts";
import { exportNameOf, idOfFile, type RuleFile } from "./rule-files.ts";

/** The tags that a rule can have. */
export const tags: readonly string[] = [
  "ambient",
  "authorization",
  "canary",
  "deny-all-gap",
  "gateway",
  "mtls",
  "revisions",
];
const modes: readonly Mode[] = ["deny", "warn", "audit", "off"];

/**
 * The faults in the metadata of rules, one sentence for each, preceded by the rule's file. They complement the checks of the
 * compiler, and are also reported to authors who run `generate` first. `fixtures` is the folder with a folder for each
 * rule.
 */
export function ruleFaults(found: readonly RuleFile[], fixtures: string): readonly string[] {
  const byId = Map.groupBy(found, ({ rule }) => rule.id);
  const repeated = [...byId].filter(([, files]) => files.length > 1);
  return [
    ...found.flatMap((one) => faultsOf(one, fixtures).map((fault) => sentence(`${one.file}: ${fault}`))),
    ...repeated.map(([id, files]) => `${files.map(({ file }) => file).join(" and ")} have the same id, "${id}".`),
    ...namesOf(fixtures)
      .filter((name) => !byId.has(name))
      .map((name) => sentence(`test/rules/${name} belongs to no rule${suggestion(name, byId.keys())}`)),
  ];
}

const sentence = (text: string): string => (text.endsWith("?") ? text : `${text}.`);

const faultsOf = ({ rule, file, name }: RuleFile, fixtures: string): readonly string[] => [
  ...idFaults(rule.id, file, name),
  ...textFaults(rule),
  ...kindFaults(rule),
  ...modeFaults(rule),
  ...tagFaults(rule.tags),
  ...fixtureFaults(rule.id, fixtures),
];

function* idFaults(id: string, file: string, name: string): Iterable<string> {
  if (!/^[a-z]+(-[a-z0-9]+)+$/.test(id))
    yield `the id "${id}" must be lower-case words joined by "-", starting with the subject, as in "virtual-service-weights-not-100"`;
  else if (idOfFile(file) !== id) yield `the id "${id}" does not match the file, whose rule is "${idOfFile(file)}"`;
  if (exportNameOf(id) !== name)
    yield `the rule "${id}" is exported as ${name}, and must be exported as ${exportNameOf(id)}`;
}

function* textFaults(rule: Rule): Iterable<string> {
  for (const field of ["summary", "why", "fix"] as const) {
    const text = rule[field];
    if (!/^[A-Z]/.test(text)) yield `${field} must start with a capital letter, and starts with "${text.slice(0, 20)}"`;
    if (!text.endsWith(".")) yield `${field} must end with a full stop, and ends with "${text.slice(-20)}"`;
    if (text === draftTexts[field]) yield `${field} is still the text that new-rule wrote`;
  }
}

function* kindFaults(rule: Rule): Iterable<string> {
  for (const kind of [...rule.subject, ...rule.worksWithout])
    if (!allKinds.includes(kind)) yield `"${kind}" is not a kind of src/kube/kinds.ts${suggestion(kind, allKinds)}`;
  for (const relation of unreachable(rule))
    yield `reads ${relation}, which no declared relation leads to from ${rule.subject.join(" or ")}`;
}

function* modeFaults(rule: Rule): Iterable<string> {
  const { protected: inProtected, elsewhere } = modesOf(rule);
  for (const mode of new Set([inProtected, elsewhere]))
    if (!modes.includes(mode)) yield `the mode "${mode}" is not one of ${modes.join(", ")}${suggestion(mode, modes)}`;
  if (!/^\d+\.\d+\.\d+$/.test(rule.since)) yield `since is "${rule.since}", and must be a version such as "0.1.0"`;
  const stage: string | undefined = rule.stage;
  if (stage !== undefined && stage !== "trial") yield `the stage "${stage}" is not "trial", the only stage`;
}

function* tagFaults(given: readonly string[]): Iterable<string> {
  for (const tag of given)
    if (!tags.includes(tag)) yield `the tag "${tag}" is not one of ${tags.join(", ")}${suggestion(tag, tags)}`;
}

function* fixtureFaults(id: string, fixtures: string): Iterable<string> {
  const names = namesOf(join(fixtures, id)).filter((name) => name.endsWith(".yaml"));
  const documents = names.flatMap((name) => readFileSync(join(fixtures, id, name), "utf8").split(/^---/m));
  const isMarked = (document: string) => /# expect(-implied)?:/.test(document);
  if (names.length === 0) yield `there is no fixture test/rules/${id}/example.yaml`;
  else if (!documents.some(isMarked)) yield `no line in test/rules/${id} is marked with "# expect: <message>"`;
  else if (documents.some((document) => draftMark.test(document)))
    yield `the fixture in test/rules/${id} still expects what new-rule wrote`;
  else if (!documents.some((document) => /^kind:/m.test(document) && !isMarked(document)))
    yield `every object in test/rules/${id} is marked; add a correct one`;
}

const namesOf = (folder: string): readonly string[] => {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
};
