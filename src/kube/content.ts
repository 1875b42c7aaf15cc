import type { AnyObject, Labels } from "./object.ts";

/**
 * What an object says, in which namespace, whatever its name is. Labels and annotations of others, such as those by which a GitOps controller
 * follows its objects, change nothing.
 */
export function contentOf(object: AnyObject): string {
  const { originKind, malformed, metadata } = object;
  const { namespace, labels, annotations } = metadata;
  const spec = "spec" in object ? object.spec : undefined;
  return JSON.stringify([namespace, originKind, ofIstio(labels), ofIstio(annotations), malformed, spec]);
}

const ofIstio = (labels: Labels): readonly (readonly [string, string])[] =>
  Object.entries(labels)
    .filter(([key]) => key.includes("istio.io/"))
    .sort(([a], [b]) => (a < b ? -1 : 1));

/** A number for a content (FNV-1a), because an index of contents would take as much memory as the objects. */
export function keyOfContent(content: string): string {
  let sum = 0x811c9dc5;
  for (let i = 0; i < content.length; i++) sum = Math.imul(sum ^ content.charCodeAt(i), 0x01000193);
  return `${sum} ${content.length}`;
}
