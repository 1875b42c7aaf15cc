import type { Labels } from "../kube/object.ts";
import { selects } from "../mesh/objects/selectors.ts";
import { globs } from "../text/globs.ts";
import type { Policies } from "./policies.ts";

/** A document that protects a namespace, with the name or labels that match. */
export interface Protector {
  /** `MeshwardPolicy payments`, `profile baseline`. */
  readonly policy: string;
  readonly by: "name" | "label";
  /** The name or glob of the document, or its labels as `key=value, ...`. */
  readonly matched: string;
}

/**
 * Every document that protects a namespace with this name and these labels; empty if the namespace is not protected.
 */
export function protectorsOf(name: string, labels: Labels, policies: Policies): readonly Protector[] {
  return policies.documents.flatMap(({ title, spec }) => {
    const { names = [], labels: wanted } = spec.protectedNamespaces ?? {};
    const named = names.find((glob) => globs([glob]).matches(name));
    const found: Protector[] = named === undefined ? [] : [{ policy: title, by: "name", matched: named }];
    if (wanted !== undefined && selects(wanted, labels)) {
      const matched = Object.entries(wanted).map(([key, value]) => `${key}=${value}`);
      found.push({ policy: title, by: "label", matched: matched.join(", ") });
    }
    return found;
  });
}
