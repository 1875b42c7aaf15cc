import { stringify } from "yaml";
import type { KubernetesObject } from "./object.ts";

/**
 * YAML that kubectl and Helm read as it is meant. They read version 1.1, in which `off` is false and `0440` is a number, so
 * such strings are quoted. Every value is written out: anchors make an object hard to read and to patch.
 */
export const yamlText = (value: unknown): string =>
  stringify(value, { lineWidth: 0, aliasDuplicateObjects: false, compat: "yaml-1.1" });

/** Objects as the documents of one file. */
export const yamlOf = (objects: readonly KubernetesObject[]): string =>
  objects.map((object) => `---\n${yamlText(object)}`).join("");
