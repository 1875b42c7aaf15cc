import { isDeepStrictEqual } from "node:util";
import type { PatchOperation } from "../admission/review.ts";

type Fields = Record<string, unknown>;

/** A patch that cannot be applied. The API server then fails the request, regardless of the failure policy. */
export class PatchError extends Error {
  override readonly name = "PatchError";
}

/**
 * Applies RFC 6902 operations to a copy. Supports only paths through maps, because Meshward sends no others.
 * @throws PatchError
 */
export function applyPatch(object: Readonly<Fields>, patch: readonly PatchOperation[]): Fields {
  const copy: Fields = structuredClone(object);
  for (const operation of patch) applyOperation(copy, operation);
  return copy;
}

function applyOperation(root: Fields, operation: PatchOperation): void {
  const steps = operation.path.split("/").slice(1).map(unescapeStep);
  const last = steps.pop();
  if (last === undefined)
    throw new PatchError(`${operation.op} "${operation.path}": the whole object cannot be changed`);
  const parent = steps.reduce<Fields>((at, step) => mapIn(at, step, operation), root);
  const there = Object.hasOwn(parent, last);
  if (operation.op !== "add" && !there)
    throw new PatchError(`${operation.op} "${operation.path}": the path does not exist`);
  if (operation.op === "remove") delete parent[last];
  else if (operation.op !== "test") define(parent, last, operation.value);
  else if (!isDeepStrictEqual(parent[last], operation.value)) {
    throw new PatchError(`test "${operation.path}": found ${JSON.stringify(parent[last])}`);
  }
}

function mapIn(at: Fields, step: string, { op, path }: PatchOperation): Fields {
  const next = Object.hasOwn(at, step) ? at[step] : undefined;
  if (typeof next === "object" && next !== null && !Array.isArray(next)) return next as Fields;
  throw new PatchError(`${op} "${path}": ${JSON.stringify(step)} is not a map`);
}

/** Defines the property, because an assignment to `__proto__` would set no key. */
function define(map: Fields, key: string, value: unknown): void {
  Object.defineProperty(map, key, { value, writable: true, enumerable: true, configurable: true });
}

function unescapeStep(step: string): string {
  return step.replaceAll("~1", "/").replaceAll("~0", "~");
}
