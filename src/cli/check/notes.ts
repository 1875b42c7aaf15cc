import { idOf } from "../../kube/identity.ts";
import { type FileMesh, fileMeshOf, type FileObject } from "../../sources/manifests/file-mesh.ts";
import type { Manifest, ManifestSet } from "../../sources/manifests/manifests.ts";
import { groupsWith } from "../../kube/kinds.ts";
import { isKnownGroup } from "../../schemas/definitions.ts";
import { nearest } from "../../text/nearest.ts";
import { listed } from "../../text/phrases.ts";
import { isPolicy } from "../policy-options.ts";

/**
 * Notes about files that were left out on purpose, and about objects that the files define more than once. `judged`: manifests of no kind
 * that rules read, which count as deletions all the same.
 */
export function notesOf(
  set: ManifestSet,
  { namespace, verbose = false }: { readonly namespace: string; readonly verbose?: boolean },
  judged: ReadonlySet<Manifest>,
): readonly string[] {
  const { replaced, others } = fileMeshOf(set.manifests, { defaultNamespace: namespace });
  const reasons = new Map<string, number>();
  for (const { reason } of set.ignored) reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
  const unread = Map.groupBy(
    others.filter((manifest) => !isPolicy(manifest) && !judged.has(manifest)),
    (manifest) => {
      if (isKnownGroup(groupOf(manifest))) return "known";
      return groupsWith(manifest.kind).length > 0 ? "of another group" : "unknown";
    },
  );
  return [
    ...[...reasons].map(([reason, count]) => `${counted(count, "file")} left out: ${reason}`),
    // Objects whose names the API server makes, or that lack one, do not replace each other.
    ...replacedNotes(
      replaced.filter(({ by }) => by.object.metadata.name !== ""),
      verbose,
    ),
    ...unreadNotes(unread.get("unknown") ?? [], "not checked, because no rule reads the kind"),
    ...ofOtherGroups(unread.get("of another group") ?? []),
    ...unreadNotes(unread.get("known") ?? [], "checked only against the definition, because no rule reads the kind"),
  ];
}

const unreadNotes = (manifests: readonly Manifest[], what: string): readonly string[] =>
  manifests.length === 0 ? [] : [`${counted(manifests.length, "object")} ${what}: ${kindsOf(manifests)}`];

/** A group that is misspelt, or that has the kind no more, and kinds of others that have a name of Kubernetes or Istio. */
function ofOtherGroups(manifests: readonly Manifest[]): readonly string[] {
  const byKind = Map.groupBy(manifests, (manifest) => `${manifest.kind} of ${groupOf(manifest) || "the core group"}`);
  return [...byKind].map(([name, some]) => {
    const groups = groupsWith(some[0]?.kind ?? "");
    const meant = nearest(groupOf(some[0]), groups);
    const read = listed(
      groups.map((group) => group || "the core group (v1)"),
      "and",
    );
    const hint = meant === undefined ? "" : `; did you mean ${meant}?`;
    return `${counted(some.length, "object")} not checked, because rules read the kind in ${read}: ${name}${hint}`;
  });
}

function groupOf(manifest: Manifest | undefined): string {
  const [group = "", version] = (manifest?.apiVersion ?? "").split("/");
  return version === undefined ? "" : group;
}

/** So many objects are named even without `--verbose`. */
const fewReplaced = 3;

function replacedNotes(replaced: FileMesh["replaced"], isVerbose: boolean): readonly string[] {
  if (isVerbose || replaced.length <= fewReplaced)
    return replaced.map(
      ({ earlier, by }) => `${idOf(earlier.object)} in ${placeOf(earlier)} is replaced by ${placeOf(by)}`,
    );
  const objects = new Set(replaced.map(({ by }) => by));
  return [
    `${counted(objects.size, "object")} are defined more than once, in ${replaced.length + objects.size} places; --verbose lists them`,
  ];
}

const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`;
const kindsOf = (manifests: readonly Manifest[]): string =>
  [...new Set(manifests.map(({ kind }) => kind))].sort().join(", ");
function placeOf({ manifest }: FileObject): string {
  const { file = manifest.file, line } = manifest.locate([]);
  return `${file}:${line}`;
}
