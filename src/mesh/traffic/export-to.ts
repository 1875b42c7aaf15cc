import type { ExportTo } from "../../view/settings.ts";

/** Stands for all namespaces in a set of namespaces. */
export const everyNamespace = "*";

const everywhere: ReadonlySet<string> = new Set([everyNamespace]);
const nowhere: ReadonlySet<string> = new Set();

/**
 * The namespaces that a VirtualService is visible to; `*` stands for all. An empty list means the mesh default, `.` the
 * object's own namespace, a list with `*` all namespaces, and `~` without `*` none (Istio pilot/pkg/model/push_context.go
 * initVirtualServices, virtualservice_controller.go convertExportToSet).
 */
export function visibleTo(exportTo: ExportTo, namespace: string, otherwise: ExportTo): ReadonlySet<string> {
  const said = exportTo.length > 0 ? exportTo : otherwise;
  if (said.includes("*")) return everywhere;
  if (said.includes("~")) return nowhere;
  return new Set(said.map((to) => (to === "." ? namespace : to)));
}

/** Whether a set of namespaces contains this one, by name or because it contains all. */
export const includesNamespace = (namespaces: ReadonlySet<string>, namespace: string): boolean =>
  namespaces.has(everyNamespace) || namespaces.has(namespace);

/** The intersection of two sets of namespaces, each of which may contain all. */
export function commonNamespaces(a: ReadonlySet<string>, b: ReadonlySet<string>): ReadonlySet<string> {
  if (a.has(everyNamespace)) return b;
  return b.has(everyNamespace) ? a : a.intersection(b);
}
