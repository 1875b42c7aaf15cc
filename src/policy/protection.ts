import { selects } from "../mesh/objects/selectors.ts";
import type { Labels } from "./documents.ts";
import { globs } from "./globs.ts";
import type { Policies } from "./policies.ts";

/** A document that protects a namespace, and by what. */
export interface Protector {
  /** `MeshwardPolicy payments`, `profile baseline`. */
  readonly policy: string;
  readonly by: "name" | "label";
  /** The name or glob of the document, or its labels as `key=value, ...`. */
  readonly matched: string;
}

/** Every document that protects a namespace of this name and these labels: none is enough to know that nothing does. */
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
