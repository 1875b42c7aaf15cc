import { formatPath } from "../kube/field-path.ts";
import { isObject, member, type Path } from "../kube/read.ts";
import type { SchemaProblem } from "./schema-problems.ts";

// Names and labels in policies that no object can have, so that what they are for is never selected. They are mistakes of whoever
// writes the policy, and no reason for a server to go without the rest of it.

interface Syntax {
  /** Of whom: `namespace`. */
  readonly noun: string;
  /** The characters of a name. */
  readonly letters: RegExp;
  readonly longest: number;
  readonly rule: string;
}

/** metadata.name of a Namespace: a DNS label (apimachinery/pkg/util/validation IsDNS1123Label). */
const namespaceName: Syntax = {
  noun: "namespace",
  letters: /^[a-z0-9-]*$/,
  longest: 63,
  rule: "at most 63 lower-case letters, digits and -, of which the first and the last are no -",
};
/** Names of other objects: a DNS subdomain (IsDNS1123Subdomain). */
const objectName: Syntax = {
  noun: "object",
  letters: /^[a-z0-9.-]*$/,
  longest: 253,
  rule: "at most 253 lower-case letters, digits, - and ., of which the first and the last are letters or digits",
};

/** metadata.name of a Gateway that fits into a label. */
const waypointName: Syntax = {
  ...objectName,
  noun: "waypoint",
  longest: 63,
  rule: "at most 63 lower-case letters, digits, - and ., of which the first and the last are letters or digits",
};

/** What is wrong with the names and labels of a document that its schema accepts, in any order. */
export function impossibleNames(raw: unknown): readonly SchemaProblem[] {
  const spec = member(raw, "spec");
  const match = member(spec, "match");
  const owners = member(spec, "hostOwners");
  const enrollment = member(member(spec, "mutations"), "namespaceAmbientEnrollment");
  const metadata = member(raw, "metadata");
  return [
    ...inNames([member(metadata, "name")], ["metadata", "name"], objectName, false),
    ...(member(raw, "kind") === "MeshwardPolicy"
      ? inNoNamespace(member(metadata, "namespace"))
      : inNames([member(metadata, "namespace")], ["metadata", "namespace"], namespaceName, false)),
    ...inWhere(member(match, "namespaces"), ["spec", "match", "namespaces"], namespaceName),
    ...inWhere(member(match, "objects"), ["spec", "match", "objects"], objectName),
    ...inWhere(member(spec, "protectedNamespaces"), ["spec", "protectedNamespaces"], namespaceName),
    ...inNames(
      member(enrollment, "except"),
      ["spec", "mutations", "namespaceAmbientEnrollment", "except"],
      namespaceName,
    ),
    ...waypoint(member(enrollment, "useWaypoint")),
    ...(Array.isArray(owners) ? owners : []).flatMap((owner, i) =>
      inNames(member(owner, "namespaces"), ["spec", "hostOwners", i, "namespaces"], namespaceName),
    ),
  ];
}

/** The name of a Gateway as the value of a label, without which the API server refuses every namespace that gets it. */
function waypoint(name: unknown): readonly SchemaProblem[] {
  const at = ["spec", "mutations", "namespaceAmbientEnrollment", "useWaypoint"];
  if (typeof name !== "string") return [];
  if (name.includes("*"))
    return [problem(at, `no waypoint can have the name ${JSON.stringify(name)}: it is one name, without *`)];
  return inNames([name], at, waypointName, false);
}

/** The API server drops it without a word, and whoever wrote it believes that the policy is limited. */
const inNoNamespace = (namespace: unknown): readonly SchemaProblem[] =>
  typeof namespace !== "string" || namespace === ""
    ? []
    : [
        problem(
          ["metadata", "namespace"],
          `a MeshwardPolicy is in no namespace and applies to the whole cluster; remove ${JSON.stringify(namespace)}, and limit the policy with spec.match.namespaces.names`,
        ),
      ];

const inWhere = (where: unknown, at: Path, syntax: Syntax): readonly SchemaProblem[] => [
  ...inNames(member(where, "names"), [...at, "names"], syntax),
  ...inLabels(member(where, "labels"), [...at, "labels"], syntax),
];

function inNames(names: unknown, at: Path, syntax: Syntax, isList = true): readonly SchemaProblem[] {
  return (Array.isArray(names) ? names : []).flatMap((name: unknown, i) =>
    typeof name !== "string" || (isPossible(name, syntax) && (isList || !name.includes("*")))
      ? []
      : [
          problem(
            isList ? [...at, i] : at,
            `no ${syntax.noun} can have the name ${JSON.stringify(name)}: ${syntax.rule}${ofTemplate(name)}`,
          ),
        ],
  );
}

/** Advice about a text with `{{ }}` or `${ }` in it, as charts and substitutions of Flux have them. */
const ofTemplate = (text: string): string =>
  text.includes("{{") || text.includes("${") ? "; if this is a template, render it first" : "";

/** Whether some name of this syntax matches, in which `*` stands for any characters. */
function isPossible(name: string, { letters, longest }: Syntax): boolean {
  const fixed = name.replaceAll("*", "");
  return letters.test(fixed) && fixed.length <= longest && !/^[-.]|[-.]$/.test(name);
}

const prefix = /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*$/;
const part = /^[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?$/;

/** Keys and values of labels (apimachinery/pkg/util/validation IsQualifiedName, IsValidLabelValue). */
function inLabels(labels: unknown, at: Path, { noun }: Syntax): readonly SchemaProblem[] {
  if (!isObject(labels)) return [];
  return Object.entries(labels).flatMap(([key, value]) => {
    const where = [...at, key];
    if (!isLabelKey(key))
      return [problem(where, `no ${noun} can have the label ${JSON.stringify(key)}: ${keyRule}${ofTemplate(key)}`)];
    if (typeof value !== "string" || isLabelValue(value)) return [];
    return [problem(where, `no label can have the value ${JSON.stringify(value)}: ${valueRule}${ofTemplate(value)}`)];
  });
}

const keyRule = "a key is [PREFIX/]NAME, with a DNS name as prefix and at most 63 letters, digits, -, _ and . as name";
const valueRule =
  "at most 63 letters, digits, -, _ and ., of which the first and the last are letters or digits; * stands for itself in labels";

function isLabelKey(key: string): boolean {
  const [name = "", before, more] = key.split("/").reverse();
  if (more !== undefined || name.length > 63 || !part.test(name)) return false;
  return before === undefined || (before.length <= 253 && prefix.test(before));
}

const isLabelValue = (value: string): boolean => value === "" || (value.length <= 63 && part.test(value));

const problem = (at: Path, message: string): SchemaProblem => ({ at, message: `${formatPath(at)}: ${message}` });
