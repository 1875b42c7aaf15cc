import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Mode, modesOf, type Rule } from "../engine/rule.ts";
import { unreachable } from "../engine/declared-reads.ts";
import { allKinds } from "../kube/kinds.ts";
import { suggestion } from "../text/nearest.ts";
import { draftMark, draftTexts } from "./rule-draft.ts";
import { partialCitations } from "./sources.ts";
import { exportNameOf, idOfFile, type RuleFile } from "./rule-files.ts";
import { symptoms } from "./symptoms.ts";

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
  ...incidentFaults(rule),
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
  for (const field of ["summary", "why", "fix"] as const) yield* sentenceFaults(field, rule[field], draftTexts[field]);
  for (const file of partialCitations(rule.why))
    yield `why names "${file}", to which no link can lead; write the path from the root of istio/istio, or "ztunnel src/..." or "kubernetes pkg/..."`;
}

function* sentenceFaults(field: string, text: string, draft: string): Iterable<string> {
  if (!/^[A-Z`]/.test(text)) yield `${field} must start with a capital letter, and starts with "${text.slice(0, 20)}"`;
  if (!text.endsWith(".")) yield `${field} must end with a full stop, and ends with "${text.slice(-20)}"`;
  if (text === draft) yield `${field} is still the text that new-rule wrote`;
}

function* incidentFaults({ incident }: Rule): Iterable<string> {
  if (incident === undefined) {
    yield "incident is missing: what somebody sees who is paged because of the problem, and the way out";
    return;
  }
  for (const field of ["seen", "wayOut", "silentWhen"] as const)
    yield* sentenceFaults(`incident.${field}`, incident[field], draftTexts.incident[field]);
  for (const symptom of incident.symptoms)
    if (!(symptom in symptoms))
      yield `the symptom "${symptom}" is not one of src/engine/incident.ts${suggestion(symptom, Object.keys(symptoms))}`;
  if (!documentation.test(incident.page))
    yield `incident.page is "${incident.page}", and must be a page of https://istio.io/latest/docs/, gateway-api.sigs.k8s.io or kubernetes.io, with "/" at the end`;
}

const documentation = /^https:\/\/(?:istio\.io\/latest|kubernetes\.io|gateway-api\.sigs\.k8s\.io)\/[a-z0-9/._-]+\/$/i;

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
  const missing = ["wrong.yaml", "right.yaml"].filter((name) => !names.includes(name));
  for (const name of missing)
    yield `there is no fixture test/rules/${id}/${name}: wrong.yaml is a mesh with the mistake, right.yaml the same without it`;
  if (missing.length > 0) return;
  const [wrong, right] = ["wrong.yaml", "right.yaml"].map((name) => readFileSync(join(fixtures, id, name), "utf8"));
  if (wrong === undefined || !wrong.includes("# expect:"))
    yield `no line in test/rules/${id}/wrong.yaml is marked with "# expect: <message>"`;
  else if (draftMark.test(wrong)) yield `the fixture in test/rules/${id} still expects what new-rule wrote`;
  if (right?.includes("# expect")) yield `test/rules/${id}/right.yaml has a mark; it is the mesh without the mistake`;
}

const namesOf = (folder: string): readonly string[] => {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
};
