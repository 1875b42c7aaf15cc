import { isDeepStrictEqual } from "node:util";
import type { PatchOperation } from "../admission/review.ts";

type Fields = Record<string, unknown>;

/** A patch that does not apply. The API server then fails the request, whatever the failure policy says. */
export class PatchError extends Error {
  override readonly name = "PatchError";
}

/**
 * Applies RFC 6902 operations to a copy. Of paths only those through maps, which are all that Meshward sends.
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
  if (operation.op !== "add" && !there) throw new PatchError(`${operation.op} "${operation.path}": nothing is there`);
  if (operation.op === "remove") delete parent[last];
  else if (operation.op !== "test") define(parent, last, operation.value);
  else if (!isDeepStrictEqual(parent[last], operation.value)) {
    throw new PatchError(`test "${operation.path}": found ${JSON.stringify(parent[last])}`);
  }
}

function mapIn(at: Fields, step: string, { op, path }: PatchOperation): Fields {
  const next = Object.hasOwn(at, step) ? at[step] : undefined;
  if (typeof next === "object" && next !== null && !Array.isArray(next)) return next as Fields;
  throw new PatchError(`${op} "${path}": there is no map ${JSON.stringify(step)} to go into`);
}

/** An assignment to `__proto__` would set no key. */
function define(map: Fields, key: string, value: unknown): void {
  Object.defineProperty(map, key, { value, writable: true, enumerable: true, configurable: true });
}

function unescapeStep(step: string): string {
  return step.replaceAll("~1", "/").replaceAll("~0", "~");
}
