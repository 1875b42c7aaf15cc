import type { Labels } from "../../kube/object.ts";
import { roleLabel } from "./labels.ts";

// Selectors look for the objects of their namespace that have all of their labels. In an index, one of these labels is
// enough: an object has a key for each of its labels, and a selector that of a single one.

/** The labels that tell applications apart, of which Istio takes the canonical name of a service too. */
const telling = ["app.kubernetes.io/name", "app"];

/** One key for each label. */
export const keysOfLabels = (namespace: string, labels: Labels): readonly string[] =>
  Object.keys(labels).map((name) => keyOfLabel(namespace, name, labels[name]));

/**
 * The key of the label of a selector that few objects have. That is not a role, which pods may get at run time, if there is another
 * one. Without labels, it has no key, although it selects everything.
 */
export function keysOfSelector(namespace: string, selector: Labels): readonly string[] {
  const names = Object.keys(selector);
  const name = telling.find((one) => selector[one] !== undefined) ?? names.find((one) => one !== roleLabel) ?? names[0];
  return name === undefined ? [] : [keyOfLabel(namespace, name, selector[name])];
}

const keyOfLabel = (namespace: string, name: string, value = ""): string => `${namespace}/${name}=${value}`;
