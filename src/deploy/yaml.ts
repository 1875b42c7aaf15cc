import { stringify } from "yaml";
import type { KubernetesObject } from "./object.ts";

/** YAML documents, with every value written out: anchors make an object hard to read and to patch. */
export const yamlOf = (objects: readonly KubernetesObject[]): string =>
  objects.map((object) => `---\n${stringify(object, { lineWidth: 0, aliasDuplicateObjects: false })}`).join("");
