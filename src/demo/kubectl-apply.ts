import { lastApplied } from "../kube/object.ts";
import { isObject } from "../kube/read.ts";
import { groupVersionKind, type KubernetesObject, metadataOf, resourceOf } from "./api-server-client.ts";

/**
 * What `kubectl apply` sends for an object that exists. The patch is a JSON merge patch, as for custom resources; for
 * built-in kinds, kubectl merges some lists by the names of their items, and this replaces them.
 */
export interface AppliedChange {
  /** The object after the patch. */
  readonly object: KubernetesObject;
  /** As kubectl prints it. */
  readonly patch: string;
}

/** The object with the annotation in which kubectl keeps what was applied (k8s.io/kubectl pkg/util/apply.go). */
export function withLastApplied(raw: KubernetesObject): KubernetesObject {
  const metadata = metadataOf(raw);
  const annotations = { ...(metadata as { annotations?: object }).annotations };
  const configuration = { ...raw, metadata: { ...metadata, annotations } };
  return {
    ...raw,
    metadata: { ...metadata, annotations: { ...annotations, [lastApplied]: `${sortedJson(configuration)}\n` } },
  };
}

/**
 * Merges three ways, as jsonmergepatch.CreateThreeWayJSONMergePatch of k8s.io/apimachinery: fields that were applied before
 * and are missing now are removed, and fields that something else set are kept.
 */
export function appliedChange(
  raw: KubernetesObject,
  stored: KubernetesObject,
  before: KubernetesObject,
): AppliedChange {
  const modified = withLastApplied(raw);
  const patch = merged(additions(stored, modified), removals(before, modified));
  return { object: patched(stored, patch) as KubernetesObject, patch: sortedJson(patch) };
}

type Fields = Readonly<Record<string, unknown>>;

/** What `to` has and `from` has not, or has with another value. Lists are values. */
function additions(from: Fields, to: Fields): Fields {
  const patch: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(to)) {
    const there = Object.hasOwn(from, key) ? from[key] : undefined;
    if (isObject(value) && isObject(there)) {
      const inner = additions(there, value);
      if (Object.keys(inner).length > 0) patch[key] = inner;
    } else if (value !== undefined && sortedJson(there) !== sortedJson(value)) patch[key] = value;
  }
  return patch;
}

/** `null` for what `before` has and `to` has not. */
function removals(before: Fields, to: Fields): Fields {
  const patch: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(before)) {
    const now = Object.hasOwn(to, key) ? to[key] : undefined;
    if (now === undefined) patch[key] = null;
    else if (isObject(value) && isObject(now)) {
      const inner = removals(value, now);
      if (Object.keys(inner).length > 0) patch[key] = inner;
    }
  }
  return patch;
}

function merged(a: Fields, b: Fields): Fields {
  const both: Record<string, unknown> = { ...a };
  for (const [key, value] of Object.entries(b)) {
    const other = both[key];
    both[key] = isObject(value) && isObject(other) ? merged(other, value) : value;
  }
  return both;
}

/** Applies a merge patch (RFC 7396). */
function patched(value: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const result: Record<string, unknown> = isObject(value) ? { ...value } : {};
  for (const [key, part] of Object.entries(patch)) {
    if (part === null) delete result[key];
    else result[key] = patched(result[key], part);
  }
  return result;
}

/** JSON as Go writes it: keys sorted, without spaces. */
function sortedJson(value: unknown): string {
  return JSON.stringify(value, (_key, one: unknown) =>
    isObject(one) ? Object.fromEntries(Object.entries(one).sort(([a], [b]) => (a < b ? -1 : 1))) : one,
  );
}

/** How kubectl names an object in errors: resource.Info of k8s.io/cli-runtime. */
export function describedObject(object: KubernetesObject): string {
  const { group, version, kind } = groupVersionKind(object);
  const { name = "", namespace = "" } = metadataOf(object);
  return [
    `Resource: "${group}/${version}, Resource=${resourceOf(kind)}", GroupVersionKind: "${group}/${version}, Kind=${kind}"`,
    `Name: ${JSON.stringify(name)}, Namespace: ${JSON.stringify(namespace)}`,
  ].join("\n");
}
