import { member } from "../kube/read.ts";
import type { DefineRules, PolicySource } from "../policy/load.ts";

let define: DefineRules | undefined;

/** Whether a document defines rules of its own, for which CEL is needed. */
const definesRules = ({ raw }: Pick<PolicySource, "raw">): boolean =>
  member(member(raw, "spec"), "customRules") !== undefined;

/**
 * What defines the rules of these documents; undefined if none is needed. CEL takes a tenth of a second to load, which most
 * users need not wait for.
 */
export async function definitionFor(sources: readonly Pick<PolicySource, "raw">[]): Promise<DefineRules | undefined> {
  if (define === undefined && sources.some(definesRules))
    define = (await import("../custom-rules/compile.ts")).defineCustomRules;
  return define;
}

/** The same, if it is loaded already, or is not needed: `isMissing` otherwise. */
export const loadedDefinition = (
  sources: readonly PolicySource[],
): { readonly define: DefineRules | undefined; readonly isMissing: boolean } => ({
  define,
  isMissing: define === undefined && sources.some(definesRules),
});
