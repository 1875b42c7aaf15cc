import type { AnyObject } from "../kube/object.ts";

const paths = new WeakMap<readonly string[], readonly (readonly string[])[]>();

/** Whether one of these fields is set in the object, where lists are on the way in one of their items. An empty list is not set. */
export function hasAnyField(object: AnyObject, fields: readonly string[]): boolean {
  let found = paths.get(fields);
  if (found === undefined) paths.set(fields, (found = fields.map((field) => field.split("."))));
  for (const path of found) if (isSetIn(object, path, 0)) return true;
  return false;
}

function isSetIn(object: unknown, path: readonly string[], from: number): boolean {
  let value = object;
  for (let i = from; i < path.length; i++) {
    if (Array.isArray(value)) return isSetInItem(value, path, i);
    if (typeof value !== "object" || value === null) return false;
    value = (value as Readonly<Record<string, unknown>>)[path[i] as string];
  }
  return Array.isArray(value) ? value.length > 0 : value !== undefined;
}

function isSetInItem(items: readonly unknown[], path: readonly string[], from: number): boolean {
  for (const item of items) if (isSetIn(item, path, from)) return true;
  return false;
}
