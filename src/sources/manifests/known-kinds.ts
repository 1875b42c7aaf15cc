import { allKinds, kinds } from "../../kube/kinds.ts";

// Most files of a repository are of no interest, and parsing costs a hundred times as much as a look at the text.

/** Of CustomResourceDefinitions, which are large, only those with a conversion webhook are read. */
const definition = "CustomResourceDefinition";
const served = allKinds.flatMap((kind) => kinds[kind].served).map(({ kind }) => kind);
const knownKind = new RegExp(
  [
    // Not `listKind: HTTPRouteList`, which every definition has.
    ...[
      "\\bkind[\"']?\\s*:[^\\n]*\\bList\\b",
      "[a-z]\\.istio\\.io/",
      "\\bgateway\\.networking\\.k8s\\.io/",
      "\\bmeshward\\.io/",
    ],
    ...served.filter((kind) => kind !== definition).map((kind) => `\\bkind["']?\\s*:[^\\n]*\\b${kind}(?:List)?\\b`),
  ].join("|"),
);
const anyKind = new RegExp(served.map((kind) => `\\b${kind}(?:List)?\\b`).join("|"));
/** A letter, a digit or one of `-./`, as YAML and JSON escape them in double quotes. */
const escaped = String.raw`\\(?:x|u00|U000000)(?:2[d-fD-F]|3\d|4[1-9a-fA-F]|5[0-9aA]|6[1-9a-fA-F]|7[0-9aA])`;
/**
 * A name may also be written with escapes, or apart from its key: with an anchor, in a block scalar, on the next line. A key on the
 * next line makes `kind` the name of a property, which is in the schema of every definition.
 */
const escape = new RegExp(
  [
    ...[escaped, String.raw`\\\r?\n`],
    String.raw`(?:^|[\s{,])\?\s+["']?kind\b`,
    // An alias as a key.
    String.raw`(?:^|[\s{,])\*[^\s,[\]{}]+[ \t]+:`,
    String.raw`\bkind["']?\s*:\s*[*&!|>]`,
    String.raw`\bkind["']?\s*:[ \t]*(?:#.*)?\r?\n(?!(?:[ \t]*(?:#.*)?\r?\n)*[ \t]*["']?[-\w.$/]+["']?[ \t]*:(?:\s|$))`,
  ].join("|"),
  "m",
);

/** Such a letter, or a short text in quotes that goes on in the next line: neither looks like the name of a kind. */
const isEscaped = new RegExp(String.raw`${escaped}|"[^"\r\n]{0,60}\\\r?\n[^"\r\n]{0,60}"`);

/** Whether a text may contain an object that rules read; false is certain. */
export function mayMatter(text: string): boolean {
  if (knownKind.test(text)) return true;
  if (text.includes(definition) && text.includes("Webhook")) return true;
  return escape.test(text) && (anyKind.test(text) || isEscaped.test(text));
}

/** Whether a text seems to contain objects. */
export const hasObject = (text: string): boolean =>
  /^[ \t{]*["']?apiVersion["']?[ \t]*:/m.test(text) && /^[ \t{]*["']?kind["']?[ \t]*:[ \t]*["']?[A-Za-z]/m.test(text);

const content = /^(?!---\s*$)[ \t]*[^#\s]/m;
/** Whether a text has only comments and separators. */
export const isBlank = (text: string): boolean => !content.test(text);
