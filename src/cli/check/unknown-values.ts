import type { Ruling } from "../../engine/ruling.ts";
import type { PolicySelection } from "../../engine/setting.ts";
import type { Mesh } from "../../view/view.ts";
import { Placeholders } from "../placeholders.ts";
import type { CheckedFiles } from "./file-faults.ts";

/** The rulings without those on values that may be right, and the placeholder of each finding that is left out. */
export function withoutUnknownValues(
  all: readonly Ruling[],
  {
    found,
    mesh,
    selection,
  }: { readonly found: CheckedFiles; readonly mesh: Mesh; readonly selection: PolicySelection },
): { readonly rulings: readonly Ruling[]; readonly unknown: readonly string[] } {
  const placeholders = new Placeholders(found.files.objects, mesh, selection);
  const unknown = [...found.unknown];
  const rulings = all.filter(({ mode, finding }) => {
    const placeholder = mode === "off" ? undefined : placeholders.unknownIn(finding);
    if (placeholder !== undefined) unknown.push(placeholder);
    return placeholder === undefined;
  });
  return { rulings, unknown };
}

/** A note about the findings that were left out, given the placeholder of each. */
export function unknownValues(unknown: readonly string[]): readonly string[] {
  const [first] = unknown;
  if (first === undefined) return [];
  const many =
    unknown.length === 1
      ? "1 finding is left out, because it depends"
      : `${unknown.length} findings are left out, because they depend`;
  return [
    `${many} on what stands for placeholders such as ${JSON.stringify(first)}; --substitute NAME=VALUE gives the value of a variable`,
  ];
}
