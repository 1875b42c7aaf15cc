import { allKinds, kinds } from "../../kube/kinds.ts";

// Most files of a repository are of no interest, and parsing costs a hundred times as much as a look at the text.

/** Of CustomResourceDefinitions, which are large, only those with a conversion webhook are read. */
const definition = "CustomResourceDefinition";
const served = allKinds.flatMap((kind) => kinds[kind].served).map(({ kind }) => kind);
const knownKind = new RegExp(
  [
    ...["List\\b", "[a-z]\\.istio\\.io/", "\\bgateway\\.networking\\.k8s\\.io/", "\\bmeshward\\.io/"],
    ...served.filter((kind) => kind !== definition).map((kind) => `\\bkind["']?\\s*:[^\\n]*\\b${kind}(?:List)?\\b`),
  ].join("|"),
);
const anyKind = new RegExp(served.map((kind) => `\\b${kind}(?:List)?\\b`).join("|"));
/** A name may also be written with escapes, or apart from its key: with an anchor, in a block scalar, on the next line. */
const escape = /\\(?:u00|x|\r?\n)|(?:^|[\s{,])\?\s+["']?kind\b|\bkind["']?\s*:\s*(?:[*&!|>]|$)/m;

/** Whether a text may contain an object that rules read; false is certain. */
export function mayMatter(text: string): boolean {
  if (knownKind.test(text)) return true;
  if (text.includes(definition) && text.includes("Webhook")) return true;
  return escape.test(text) && (anyKind.test(text) || /\\(?:u00|x)/.test(text));
}

/** Whether a text seems to contain objects. */
export const hasObject = (text: string): boolean =>
  /^[ \t{]*["']?apiVersion["']?[ \t]*:/m.test(text) && /^[ \t{]*["']?kind["']?[ \t]*:[ \t]*["']?[A-Za-z]/m.test(text);

const content = /^(?!---\s*$)[ \t]*[^#\s]/m;
/** Whether a text has only comments and separators. */
export const isBlank = (text: string): boolean => !content.test(text);
