import { describe, isObject, type Path } from "../kube/read.ts";
import type { Invalid } from "../kube/invalid.ts";
import { scalarAdvice } from "../kube/yaml-scalars.ts";
import { nearest } from "../text/nearest.ts";
import { quoted } from "../text/printable.ts";
import { isAbsent } from "./values.ts";

/**
 * Checks the metadata of a custom resource (`ValidateObjectMeta` of `apimachinery/pkg/api/validation/objectmeta.go` and
 * `apimachinery/pkg/util/validation`).
 */
export function checkMetadata(raw: Record<string, unknown>): readonly Invalid[] {
  const found = raw["metadata"];
  if (!isObject(found) && !isAbsent(found)) return [at([], wrongTypeOf("an object", found))];
  const metadata = isObject(found) ? found : {};
  return [
    ...typeFaults(metadata),
    ...nameFaults(metadata),
    ...fieldFaults(metadata),
    ...labelFaults(metadata),
    ...annotationFaults(metadata),
  ];
}

const label = /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$/;
const subdomain = /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*$/;
const qualified = /^(?:[A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/;

function* nameFaults(metadata: Record<string, unknown>): Generator<Invalid> {
  const { name, generateName, namespace } = metadata;
  if (isMissing(name) && isMissing(generateName)) yield at(["name"], 'The required field "name" is missing');
  if (isText(name) && !isShort(name, 253, subdomain)) yield at(["name"], `The name ${quoted(name)} ${lowerCase}`);
  if (isText(namespace) && !isShort(namespace, 63, label))
    yield at(
      ["namespace"],
      `The namespace ${quoted(namespace)} is not a DNS label: at most 63 lower-case letters, digits and "-"`,
    );
}

const lowerCase =
  'is not a DNS name: it must have at most 253 lower-case letters, digits, "-" and ".", and begin and end with a letter or digit';

function typeFaults(metadata: Record<string, unknown>): readonly Invalid[] {
  const { name, generateName, namespace, labels, annotations } = metadata;
  return [
    ...textFaults({ name, generateName, namespace }, []),
    ...mapFaults("labels", labels),
    ...mapFaults("annotations", annotations),
  ];
}

function mapFaults(name: string, value: unknown): readonly Invalid[] {
  if (isObject(value)) return textFaults(value, [name]);
  return isAbsent(value) ? [] : [at([name], wrongTypeOf("a map", value))];
}

const textFaults = (values: Record<string, unknown>, path: Path): readonly Invalid[] =>
  Object.entries(values).flatMap(([name, value]) =>
    isAbsent(value) || typeof value === "string" ? [] : [notText([...path, name], value)],
  );

function notText(path: Path, value: unknown): Invalid {
  const fix = scalarAdvice("a string", describe(value));
  return { ...at(path, wrongTypeOf("a string", value)), ...(fix === undefined ? {} : { fix }) };
}

const wrongTypeOf = (expected: string, found: unknown): string =>
  `The field must be ${expected}, not ${describe(found)}`;

function* fieldFaults(metadata: Record<string, unknown>): Generator<Invalid> {
  for (const name of Object.keys(metadata)) {
    if (fields.includes(name) || isAbsent(metadata[name])) continue;
    const near = nearest(name, fields);
    yield at(
      [name],
      `Unknown field ${quoted(name)}${near === undefined ? " in metadata" : `: did you mean ${JSON.stringify(near)}?`}`,
    );
  }
}

/** `ObjectMeta` of `apimachinery/pkg/apis/meta/v1/types.go`. */
const fields: readonly string[] = [
  ...["name", "generateName", "namespace", "labels", "annotations", "finalizers", "ownerReferences", "uid"],
  ...["resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"],
  ...["managedFields", "selfLink", "clusterName"],
];

function* labelFaults({ labels }: Record<string, unknown>): Generator<Invalid> {
  if (!isObject(labels)) return;
  for (const [key, value] of Object.entries(labels)) {
    if (!isQualified(key)) yield at(["labels", key], `The label ${quoted(key)} ${notQualified}`);
    if (isText(value) && !isShort(value, 63, qualified))
      yield at(
        ["labels", key],
        `The label value ${quoted(value)} must have at most 63 letters, digits, "-", "_" and ".", and begin and end with a letter or digit`,
      );
  }
}

function* annotationFaults({ annotations }: Record<string, unknown>): Generator<Invalid> {
  if (!isObject(annotations)) return;
  for (const key of Object.keys(annotations))
    if (!isQualified(key.toLowerCase()))
      yield at(["annotations", key], `The annotation ${quoted(key)} ${notQualified}`);
}

const notQualified =
  'is not a qualified name: an optional DNS name and a slash, then at most 63 letters, digits, "-", "_" and "."';

function isQualified(key: string): boolean {
  const parts = key.split("/");
  const name = parts.at(-1) ?? "";
  const prefix = parts.length === 2 ? (parts[0] ?? "") : undefined;
  if (parts.length > 2 || !isShort(name, 63, qualified)) return false;
  return prefix === undefined || isShort(prefix, 253, subdomain);
}

/** The length is checked first, because it bounds what the expression costs. */
const isShort = (text: string, most: number, form: RegExp): boolean => text.length <= most && form.test(text);

const isText = (value: unknown): value is string => typeof value === "string" && value !== "";
const isMissing = (value: unknown): boolean => isAbsent(value) || value === "";
const at = (path: Path, message: string): Invalid => ({ at: ["metadata", ...path], message });
