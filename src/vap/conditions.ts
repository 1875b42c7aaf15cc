import type { Labels } from "../kube/object.ts";
import type { Exception, MatchSpec, PolicyDocument, Where } from "../policy/documents.ts";
import { isGlob } from "../text/globs.ts";
import { allOf, anyOf, celConstant, celText } from "./cel-text.ts";

/** How an object of the rule is named in CEL: which object, and whether it is a Namespace itself. */
export interface Subject {
  readonly object: "object" | "oldObject";
  readonly isNamespace: boolean;
}

/** The namespace that a setting depends on. */
const namespaceOf = ({ object, isNamespace }: Subject): string =>
  isNamespace ? `${object}.metadata.name` : "object.metadata.namespace";
const labelsOfNamespace = ({ object, isNamespace }: Subject): string =>
  isNamespace ? `${object}.metadata.labels` : "namespaceObject.metadata.labels";

/** Whether a text in CEL has one of the names, in which `*` stands for any characters. */
function hasName(text: string, names: readonly string[]): string {
  if (names.includes("*")) return "true";
  const exact = names.filter((name) => !isGlob(name));
  const patterns = names.filter(isGlob).map((glob) => `${text}.matches(${celText(patternOf(glob))})`);
  return anyOf([...(exact.length > 0 ? [`${text} in ${celConstant(exact)}`] : []), ...patterns]);
}

const patternOf = (glob: string): string =>
  `^${glob
    .split("*")
    .map((part) => part.replaceAll(/[\\^$.*+?()[\]{}|]/g, "\\$&"))
    .join(".*")}$`;

function hasLabels(labels: string, wanted: Labels): string {
  const each = Object.entries(wanted).map(
    ([key, value]) => `${celText(key)} in ${labels} && ${labels}[${celText(key)}] == ${celText(value)}`,
  );
  return allOf([`has(${labels})`, ...each]);
}

const inWhere = ({ names, labels }: Where, of: { readonly name: string; readonly labels: string }): string[] => [
  ...(names === undefined ? [] : [hasName(of.name, names)]),
  ...(labels === undefined ? [] : [hasLabels(of.labels, labels)]),
];

/** The conditions of which a writer has to meet one; empty: everybody may be the writer. */
function writersIn({ users = [], groups = [], serviceAccounts = [] }: MatchSpec): readonly string[] {
  const accounts = serviceAccounts.map((account) => `system:serviceaccount:${account.replace("/", ":")}`);
  const names = [...users, ...accounts];
  return [
    ...(names.length > 0 ? [hasName("request.userInfo.username", names)] : []),
    ...(groups.length > 0
      ? [`has(request.userInfo.groups) && request.userInfo.groups.exists(g, ${hasName("g", groups)})`]
      : []),
  ];
}

/** Where a match of a document applies. */
export function conditionOf(match: MatchSpec, subject: Subject): string {
  const { namespaces, objects, operations } = match;
  const { object } = subject;
  const writers = writersIn(match);
  return allOf([
    ...(operations === undefined ? [] : [`request.operation in ${celConstant(operations)}`]),
    ...(writers.length === 0 ? [] : [anyOf(writers)]),
    ...(namespaces === undefined
      ? []
      : inWhere(namespaces, { name: namespaceOf(subject), labels: labelsOfNamespace(subject) })),
    ...(objects === undefined
      ? []
      : inWhere(objects, { name: "object.metadata.name", labels: `${object}.metadata.labels` })),
    ...(objects?.kinds === undefined ? [] : [`object.kind in ${celConstant(objects.kinds)}`]),
  ]);
}

/** Whether some document protects the namespace. */
export const isProtected = (documents: readonly PolicyDocument[], subject: Subject): string =>
  anyOf(
    documents.flatMap(({ spec: { protectedNamespaces } }) => [
      ...(protectedNamespaces?.names === undefined ? [] : [hasName(namespaceOf(subject), protectedNamespaces.names)]),
      ...(protectedNamespaces?.labels === undefined
        ? []
        : [hasLabels(labelsOfNamespace(subject), protectedNamespaces.labels)]),
    ]),
  );

/** Whether one of the exceptions accepts what a rule finds. */
export const isAccepted = (exceptions: readonly Exception[], subject: Subject): string =>
  anyOf(
    exceptions.map(({ namespace, spec: { match } }) =>
      allOf([
        `${namespaceOf(subject)} == ${celText(namespace)}`,
        conditionOf(match?.objects === undefined ? {} : { objects: match.objects }, subject),
      ]),
    ),
  );

/** Whether the request uses break glass and may do so. */
export function isBreakingGlass(documents: readonly PolicyDocument[], annotation: string): string {
  const groups = documents.flatMap(({ spec }) => spec.breakGlass?.groups ?? []);
  if (groups.length === 0) return "false";
  const annotations = "object.metadata.annotations";
  return allOf([
    `has(${annotations}) && ${celText(annotation)} in ${annotations}`,
    `${annotations}[${celText(annotation)}].matches('[^ \\\\t\\\\n]')`,
    `has(request.userInfo.groups) && request.userInfo.groups.exists(g, ${hasName("g", groups)})`,
  ]);
}
