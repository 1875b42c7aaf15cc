import type { Ruling } from "../engine/ruling.ts";
import { isAsStrict } from "../engine/setting.ts";
import type { Manifest } from "../sources/manifests/document-objects.ts";

/** The strictest of the rulings that are the same finding, in the order of the first of each. */
export function strictestOfEach(rulings: Iterable<Ruling>, sameAs: (ruling: Ruling) => unknown): readonly Ruling[] {
  const found = new Map<unknown, Ruling>();
  for (const ruling of rulings) {
    const same = sameAs(ruling);
    const known = found.get(same);
    if (known === undefined || !isAsStrict(known.mode, ruling.mode)) found.set(same, ruling);
  }
  return [...found.values()];
}

/** Equal for rulings that say the same of the same field of a manifest. */
export function placeOf({ finding: { rule, at, message } }: Ruling, manifest: Manifest): string {
  const { line, column } = manifest.locate([]);
  return JSON.stringify([manifest.file, line, column, rule.id, at, message]);
}
