import { type CelInput, type CelList, type CelMap, celList, celMap, isCelList, isCelMap } from "@bufbuild/cel";
import { isObject } from "../kube/read.ts";

type Plain = Exclude<CelInput, object> | CelList | CelMap | null;

/**
 * JSON as CEL sees it in admission policies: whole numbers are int, absent (null) fields are no fields. Wrapped once, because
 * the library wraps plain lists and maps again each time that they are read.
 */
export function celValueOf(value: unknown): Plain {
  switch (typeof value) {
    case "string":
    case "boolean":
      return value;
    case "number":
      return Number.isInteger(value) ? BigInt(value) : value;
    default:
      if (Array.isArray(value)) return celList(value.map(celValueOf));
      return isObject(value) ? celMap(fieldsOf(value)) : null;
  }
}

/** A loop and no pairs of names and values, because a review converts its object. */
function fieldsOf(value: Readonly<Record<string, unknown>>): Map<string, CelInput> {
  const found = new Map<string, CelInput>();
  for (const name of Object.keys(value)) {
    const inner = value[name];
    if (inner !== undefined && inner !== null) found.set(name, celValueOf(inner));
  }
  return found;
}

export function celMapOf(entries: Iterable<readonly [string, unknown]>): CelMap {
  const found = new Map<string, CelInput>();
  for (const [name, inner] of entries) if (inner !== undefined && inner !== null) found.set(name, celValueOf(inner));
  return celMap(found);
}

/** The number of values in a value, and of hundreds of characters in its texts, up to a limit. */
export function sizeOf(value: unknown, limit = 1_000_000): number {
  if (typeof value !== "object" || value === null) return sizeOfScalar(value);
  let size = 0;
  const open: unknown[] = [value];
  while (open.length > 0 && size < limit) {
    const one = open.pop();
    size += sizeOfScalar(one);
    if (isCelList(one)) for (const item of one) open.push(item);
    else if (isCelMap(one)) for (const item of one.values()) open.push(item);
  }
  return size;
}

const sizeOfScalar = (value: unknown): number => (typeof value === "string" ? 1 + value.length / 100 : 1);
