import { idOf } from "../../kube/identity.ts";
import { type FileMesh, fileMeshOf, type FileObject } from "../../sources/manifests/file-mesh.ts";
import type { Manifest, ManifestSet } from "../../sources/manifests/manifests.ts";
import { isKnownGroup } from "../../schemas/definitions.ts";
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
    ({ apiVersion }) => isKnownGroup(apiVersion.split("/")[0] ?? ""),
  );
  return [
    ...[...reasons].map(([reason, count]) => `${counted(count, "file")} left out: ${reason}`),
    // Objects whose names the API server makes, or that lack one, do not replace each other.
    ...replacedNotes(
      replaced.filter(({ by }) => by.object.metadata.name !== ""),
      verbose,
    ),
    ...unreadNotes(unread.get(false) ?? [], "not checked, because no rule reads the kind"),
    ...unreadNotes(unread.get(true) ?? [], "checked only against the definition, because no rule reads the kind"),
  ];
}

const unreadNotes = (manifests: readonly Manifest[], what: string): readonly string[] =>
  manifests.length === 0 ? [] : [`${counted(manifests.length, "object")} ${what}: ${kindsOf(manifests)}`];

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
