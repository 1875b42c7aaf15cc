import { isLabel } from "./host-syntax.ts";
import type { Refusals } from "./refusals.ts";

/**
 * The errors that istiod's validation reports for `exportTo` (Istio pkg/config/validation/validation.go validateExportTo).
 * `mayBeNobody`: `~`, for no namespace, is allowed, as in ServiceEntries.
 */
export function refuseExportTo(
  exportTo: readonly string[],
  { namespace, mayBeNobody = false }: { readonly namespace: string; readonly mayBeNobody?: boolean },
  refusals: Refusals,
): void {
  const known = new Set<string>();
  for (const [i, to] of exportTo.entries()) {
    const named = to === "." ? namespace : to;
    if (known.has(named)) refusals.add(`exportTo names "${to}" twice`, "exportTo", i);
    else if (!isExport(to, mayBeNobody)) refusals.add(`exportTo: "${to}" is not a namespace name`, "exportTo", i);
    known.add(named);
  }
  if (exportTo.length < 2) return;
  if (known.has("*"))
    refusals.add('exportTo: "*" must be the only entry, because it means every namespace', "exportTo");
  if (mayBeNobody && known.has("~"))
    refusals.add('exportTo: "~" must be the only entry, because it means no namespace', "exportTo");
}

const isExport = (to: string, mayBeNobody: boolean): boolean =>
  to === "." || to === "*" || isLabel(to) || (mayBeNobody && to === "~");
