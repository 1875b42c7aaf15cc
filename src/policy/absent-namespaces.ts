import type { Labels } from "../kube/object.ts";
import { formatPath } from "../kube/field-path.ts";
import type { Path } from "../kube/read.ts";
import { globs, isGlob } from "../text/globs.ts";
import { suggestion } from "../text/nearest.ts";
import type { PolicySpec, Where } from "./documents.ts";
import type { Policies } from "./policies.ts";
import { isOfUser } from "./profiles.ts";

export interface NamedNamespace {
  readonly name: string;
  /** Undefined: they are not known. */
  readonly labels: Labels | undefined;
}

/** What a policy says of namespaces of which the mesh has none: they may come later, or the name is misspelt. */
export interface AbsentNamespaces {
  /** `MeshwardPolicy payments`. */
  readonly title: string;
  /** The rest of a sentence that begins with the title. */
  readonly text: string;
}

/** In the order of the policies, without profiles, whose labels are for whoever wants to use them. */
export function absentNamespaces(
  policies: Policies,
  namespaces: readonly NamedNamespace[],
): readonly AbsentNamespaces[] {
  const names = namespaces.map(({ name }) => name);
  const isThere = presenceOf(names);
  const isLabelled = presenceOfLabels(namespaces);
  return policies.documents
    .filter(isOfUser)
    .flatMap(({ title, spec }) =>
      selectorsIn(spec).flatMap(({ at, names: wanted, labelsAt, labels }) => [
        ...wanted.flatMap((name, i) =>
          isThere(name) ? [] : [{ title, text: `${formatPath([...at, i])}: ${without(name, names)}` }],
        ),
        ...(isLabelled(labels)
          ? []
          : [{ title, text: `${formatPath(labelsAt)}: no namespace of this mesh has ${shown(labels)}` }]),
      ]),
    );
}

interface Selector {
  /** The list of the names. */
  readonly at: Path;
  readonly names: readonly string[];
  readonly labelsAt: Path;
  readonly labels: Labels;
}

function selectorsIn({ match, protectedNamespaces, hostOwners = [], mutations }: PolicySpec): readonly Selector[] {
  const enrollment = ["spec", "mutations", "namespaceAmbientEnrollment"];
  const given: readonly (readonly [Path, Where | undefined])[] = [
    [["spec", "match", "namespaces"], match?.namespaces],
    [["spec", "protectedNamespaces"], protectedNamespaces],
  ];
  return [
    ...given.flatMap(([at, where]) => (where === undefined ? [] : [selectorOf(at, where)])),
    ...hostOwners.map(({ namespaces }, i) => ({
      ...{ at: ["spec", "hostOwners", i, "namespaces"], names: namespaces, labelsAt: [], labels: {} },
    })),
    {
      at: [...enrollment, "except"],
      names: mutations?.namespaceAmbientEnrollment?.except ?? [],
      labelsAt: [],
      labels: {},
    },
  ];
}

const selectorOf = (at: Path, { names = [], labels = {} }: Where): Selector => ({
  ...{ at: [...at, "names"], names, labelsAt: [...at, "labels"], labels },
});

/** A name with `*` that several policies have is compared with all others once. */
function presenceOf(names: readonly string[]): (name: string) => boolean {
  const exact = new Set(names);
  const known = new Map<string, boolean>();
  return (name) => {
    if (!isGlob(name)) return exact.has(name);
    const found = known.get(name) ?? names.some(globs([name]).matches);
    known.set(name, found);
    return found;
  };
}

function presenceOfLabels(namespaces: readonly NamedNamespace[]): (labels: Labels) => boolean {
  if (namespaces.some(({ labels }) => labels === undefined)) return () => true;
  const withLabel = new Map<string, Labels[]>();
  for (const { labels = {} } of namespaces)
    for (const label of Object.entries(labels)) {
      const found = withLabel.get(label.join("="));
      if (found) found.push(labels);
      else withLabel.set(label.join("="), [labels]);
    }
  return (wanted) => {
    const [first, ...others] = Object.entries(wanted);
    if (first === undefined) return true;
    const candidates = withLabel.get(first.join("=")) ?? [];
    return candidates.some((labels) => others.every(([key, value]) => labels[key] === value));
  };
}

const without = (name: string, names: readonly string[]): string =>
  isGlob(name)
    ? `no namespace of this mesh matches ${JSON.stringify(name)}`
    : `this mesh has no namespace ${JSON.stringify(name)}${suggestion(name, names)}`;

const shown = (labels: Labels): string =>
  Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(" and ");
