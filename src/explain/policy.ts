import { ladderTable } from "../engine/ladder-table.ts";
import { defaultsOf, modesOf, type Rule } from "../engine/rule.ts";
import { namespaceOf, type PolicySelection, type RuleSetting } from "../engine/setting.ts";
import { idOf, namespaceKey } from "../kube/identity.ts";
import type { AnyObject, Labels } from "../kube/object.ts";
import type { Exception, RuleOptions } from "../policy/documents.ts";
import { exceptionRemarks } from "../policy/exception-states.ts";
import { compileObjects, conditionsOf, type Condition, type Place } from "../policy/match.ts";
import type { Policies } from "../policy/policies.ts";
import { isOfUser } from "../policy/profiles.ts";
import { protectorsOf } from "../policy/protection.ts";
import { entriesFor, type RuleEntry, type Scope } from "../policy/scopes.ts";
import type { Explanation, ExplanationLine } from "../report/explanation.ts";
import { listed } from "../text/phrases.ts";
import type { Mesh } from "../view/view.ts";

export interface PolicyInput {
  readonly mesh: Mesh;
  readonly policies: Policies;
  readonly selection: PolicySelection;
  readonly rules: readonly Rule[];
  readonly now: Date;
}

/** Which policies and exceptions apply to an object, in which order, what decides, and what lowers a denial. */
export function policyExplanation(object: AnyObject, input: PolicyInput): Explanation {
  const { originKind, metadata } = object;
  const { name, namespace } = metadata;
  const place = placeOf(object, input.mesh);
  const target =
    originKind === "Namespace" ? ({ kind: "Namespace", name } as const) : { kind: originKind, namespace, name };
  return {
    target,
    title: `${idOf(object)}: its policies`,
    lines: [
      protectionLine(place, input.policies),
      documentsLine(place, input.policies),
      ...everywhereLines(input.policies),
      rulesLine(object, place, input),
      exceptionsLine(object, place, input),
      ladderLine(input.policies),
    ],
    unknown: [],
  };
}

function placeOf(object: AnyObject, mesh: Mesh): Place {
  const namespace = namespaceOf(object);
  const { name, labels } = object.metadata;
  return { namespace, namespaceLabels: labelsIn(namespace, mesh), kind: object.originKind, name, labels };
}

const labelsIn = (namespace: string, mesh: Mesh): Labels =>
  mesh.find("Namespace", namespaceKey(namespace))?.metadata.labels ?? {};

function protectionLine({ namespace, namespaceLabels }: Place, policies: Policies): ExplanationLine {
  const protectors = namespace === "" ? [] : protectorsOf(namespace, namespaceLabels, policies);
  const by = protectors.map(({ policy, by: how, matched }) => `${policy} (${how} ${matched})`).join(", ");
  const text = by === "" ? "the namespace is not protected" : `the namespace is protected by ${by}`;
  return { key: "policy.protection", text, value: protectors.length > 0 };
}

const conditionWords: Readonly<Record<Condition, string>> = {
  requester: "requester",
  objectNames: "names of objects",
  objectLabels: "labels of objects",
  namespaceName: "names of namespaces",
  namespaceGlob: "names of namespaces with *",
  namespaceLabels: "labels of namespaces",
  objectKinds: "kinds",
  operations: "operations",
};

function documentsLine(place: Place, policies: Policies): ExplanationLine {
  const scopes = scopesFor(place, policies);
  return {
    key: "policy.documents",
    text: scopes.length === 0 ? "no document sets rules here" : "documents, strongest first",
    value: scopes.map(({ policy }) => policy.title),
    lines: scopes.map((scope, i) => ({
      key: "policy.document",
      of: `${scope.policy.title} ${i}`,
      text: `${scope.policy.title}: ${conditionsText(scope)}${scope.match.isBy(undefined) ? "" : "; only for some requests"}`,
      value: conditionsOf(scope.match.spec),
      counts: scope.match.isBy(undefined),
    })),
  };
}

/** What a document says of the whole cluster, so that it cannot have a match. */
const everywhere = ["protectedNamespaces", "hostOwners", "reconcilers", "breakGlass"] as const;

function everywhereLines({ documents }: Policies): readonly ExplanationLine[] {
  const lines = documents.filter(isOfUser).flatMap(({ title, spec }): readonly ExplanationLine[] => {
    const fields = everywhere.filter((field) => spec[field] !== undefined);
    const text = `${title}: ${listed(fields, "and")}`;
    return fields.length === 0 ? [] : [{ key: "policy.everywhereDocument", of: title, text, value: fields }];
  });
  if (lines.length === 0) return [];
  return [{ key: "policy.everywhere", text: "documents that set something for the whole cluster", lines }];
}

/** All documents for an object, whoever sends a request. */
const scopesFor = (place: Place, { scopes }: Policies): readonly Scope[] =>
  scopes.filter(
    ({ match, policy }) =>
      (policy.spec.rules !== undefined || policy.extended !== undefined) &&
      match.coversNamespace(place) &&
      match.coversObject(place),
  );

function conditionsText({ match }: Scope): string {
  const conditions = conditionsOf(match.spec).map((condition) => conditionWords[condition]);
  return conditions.length === 0 ? "applies everywhere" : `selected by ${conditions.join(", ")}`;
}

function rulesLine(
  object: AnyObject,
  place: Place,
  { mesh, policies, selection, rules }: PolicyInput,
): ExplanationLine {
  const scopes = scopesFor(place, policies);
  const settings = selection.between(mesh, mesh);
  const own = rules.filter(({ subject }) => subject.includes(object.kind));
  return {
    key: "policy.rules",
    text: `${own.length} rules check ${object.originKind} objects; without a request:`,
    lines: own.map((rule) => ruleLine(rule, settings.of(rule, object), entriesFor(rule, scopes))),
  };
}

function ruleLine(rule: Rule, setting: RuleSetting, entries: readonly RuleEntry[]): ExplanationLine {
  const { protected: inProtected, elsewhere } = modesOf(rule);
  const ownMode = inProtected === elsewhere ? elsewhere : `${elsewhere}, ${inProtected} where protected`;
  const because =
    setting.ifProtected === undefined
      ? `by ${setting.policy}`
      : `because the namespace is not protected; there: ${setting.ifProtected}, by ${setting.policy}`;
  const isOwn = entries.length === 0;
  const pinned =
    setting.newerThan === undefined ? "" : `; warns at most, because it is newer than ${setting.newerThan}`;
  return {
    key: "policy.rule",
    of: rule.id,
    text: `${rule.id}: ${setting.mode}, ${because}${pinned}`,
    value: setting.mode,
    lines: isOwn
      ? []
      : [
          ...entries.map((entry, i) => ({
            key: "policy.entry",
            of: `${entry.title} ${i}`,
            text: `${entry.title} (${selectorText(entry.value)}): ${optionsText(entry.value)}${entry.scope.match.isBy(undefined) ? "" : "; only for some requests"}`,
            counts: entry.scope.match.isBy(undefined),
          })),
          { key: "policy.default", text: `the rule's default: ${ownMode}${parametersText(defaultsOf(rule))}` },
        ],
  };
}

const selectorText = ({ id, tag }: RuleOptions): string => (tag === undefined ? `id ${id}` : `tag ${tag}`);

function optionsText({ parameters = {}, ...options }: RuleOptions): string {
  const fields = Object.entries(options).filter(([name]) => name !== "id" && name !== "tag");
  const all = [...fields, ...Object.entries(parameters)];
  return all.length === 0 ? "sets nothing" : all.map(valueText).join(", ");
}

const valueText = ([name, value]: readonly [string, unknown]): string =>
  value === "" ? `${name} empty` : `${name} ${JSON.stringify(value)}`;

function parametersText(parameters: ReturnType<typeof defaultsOf>): string {
  const all = Object.entries(parameters).filter(([, value]) => !Array.isArray(value));
  return all.length === 0 ? "" : `; ${all.map(valueText).join(", ")}`;
}

function exceptionsLine(
  object: AnyObject,
  { namespace }: Place,
  { mesh, policies, now }: PolicyInput,
): ExplanationLine {
  const { name, labels } = object.metadata;
  const found = policies.exceptions.filter(
    (exception) =>
      exception.namespace === namespace &&
      compileObjects(exception.spec.match?.objects)({ kind: object.originKind, name, labels }),
  );
  const remarks = Map.groupBy(
    exceptionRemarks(policies, { now, labelsOf: (one) => labelsIn(one, mesh) }),
    ({ exception }) => exception,
  );
  return {
    key: "policy.exceptions",
    text:
      found.length === 0
        ? "no exception selects it"
        : "exceptions that select it; the first that allows a finding accepts it",
    lines: found.map((exception) => exceptionLine(exception, remarks.get(exception) ?? [])),
  };
}

function exceptionLine(exception: Exception, remarks: ReturnType<typeof exceptionRemarks>): ExplanationLine {
  const { title, spec, expiresAt, owner, reason } = exception;
  const counts = !remarks.some(({ state }) => state === "expired" || state === "notAllowed");
  const { fingerprints } = spec.match ?? {};
  const single = fingerprints === undefined ? "" : `, ${fingerprints.length} of their findings`;
  return {
    key: "policy.exception",
    of: title,
    text: `${title}: ${spec.rules.join(", ")}${single}, until ${expiresAt}, for ${owner}: ${reason}`,
    counts,
    lines: remarks.map(({ state, text }) => ({ key: `policy.exception.${state}`, text: `it ${text}`, counts: false })),
  };
}

function ladderLine(policies: Policies): ExplanationLine {
  const groups = [...new Set(policies.documents.flatMap(({ spec }) => spec.breakGlass?.groups ?? []))];
  const here: Readonly<Record<string, string>> = {
    reconciler: `reconcilers.mode is ${policies.reconcilerMode}`,
    breakGlass: groups.length === 0 ? "no policy names a group" : `groups: ${groups.join(", ")}`,
  };
  return {
    key: "policy.ladder",
    text: "what lowers a denial, in this order",
    lines: Object.entries(ladderTable).map(([step, { to, when, setting }]) => {
      const known = here[step] ?? setting?.replaceAll("`", "");
      return {
        key: "policy.step",
        of: step,
        text: `${step}: ${to}, when ${when.replaceAll("`", "")}${known === undefined ? "" : ` (${known})`}`,
      };
    }),
  };
}
