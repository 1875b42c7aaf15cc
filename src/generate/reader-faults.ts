import { allKinds, kinds, type Served } from "../kube/kinds.ts";
import { isKnownGroup } from "../schemas/definitions.ts";
import type { Schema } from "../schemas/schema.ts";
import { Schemas } from "../schemas/schemas.ts";

/**
 * One sentence for each field that a reader of a kind asks for and that the definition of the kind does not have: a misspelt
 * one would always be absent.
 */
export function readerFaults(): readonly string[] {
  const schemas = new Schemas();
  return allKinds.flatMap((kind) =>
    kinds[kind].served.filter(({ group }) => isKnownGroup(group)).flatMap((served) => faultsOf(served, schemas)),
  );

  function faultsOf(served: Served, known: Schemas): readonly string[] {
    const { group, kind, versions } = served;
    const [version, schema] = firstSchema(served, known);
    if (schema === undefined && versions.some((one) => known.serves(group, one, kind))) return [];
    if (schema === undefined)
      return [`kube/kinds.ts: no schema has ${group} ${kind} in one of the versions ${versions.join(", ")}`];
    const entry = allKinds.find((one) => kinds[one].served.includes(served));
    return unknownFields(schema, (raw) => entry !== undefined && kinds[entry].read(raw, [])).map(
      (path) =>
        `kube/schemas.ts: the reader of ${kind} asks for ${path}, which ${group}/${version} does not have; correct it, or add it to schemas/additions.ts`,
    );
  }
}

function firstSchema({ group, kind, versions }: Served, known: Schemas): readonly [string, Schema | undefined] {
  for (const version of versions) {
    const schema = known.find(group, version, kind);
    if (schema !== undefined) return [version, schema];
  }
  return ["", undefined];
}

/** Reads an object that has all fields of the schema and notes which ones are asked for. */
export function unknownFields(schema: Schema, read: (raw: unknown) => unknown): readonly string[] {
  const unknown = new Set<string>();
  read(sampleOf(schema, "", unknown));
  return [...unknown];
}

function sampleOf(schema: Schema, path: string, unknown: Set<string>): unknown {
  if (schema.items !== undefined) return [sampleOf(schema.items, `${path}[]`, unknown)];
  if (typeof schema.additionalProperties === "object")
    return { key: sampleOf(schema.additionalProperties, `${path}.key`, unknown) };
  if (schema.properties !== undefined) return recorded(schema.properties, path, unknown);
  return scalars.get(schema.type ?? "") ?? 1;
}

const scalars = new Map<string, unknown>([
  ["string", "text"],
  ["boolean", true],
  ["object", {}],
  ["array", []],
]);

function recorded(properties: Readonly<Record<string, Schema>>, path: string, unknown: Set<string>): object {
  const valueOf = (name: string) => {
    const inner = Object.hasOwn(properties, name) ? properties[name] : undefined;
    const at = path === "" ? name : `${path}.${name}`;
    if (inner === undefined) unknown.add(at);
    return inner === undefined ? undefined : sampleOf(inner, at, unknown);
  };
  return new Proxy(
    {},
    {
      // JSON.stringify asks every object for it.
      get: (_target, name) => (typeof name === "string" && name !== "toJSON" ? valueOf(name) : undefined),
      getOwnPropertyDescriptor: (_target, name) => {
        const value = typeof name === "string" ? valueOf(name) : undefined;
        return value === undefined ? undefined : { value, configurable: true, enumerable: true };
      },
    },
  );
}
