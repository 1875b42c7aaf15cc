import { allKinds, kinds, type Served } from "../kube/kinds.ts";
import { meshConfig } from "../kube/mesh-config.ts";
import { publishedMeshConfig } from "../schemas/published.ts";
import { isKnownGroup } from "../schemas/definitions.ts";
import type { Schema } from "../schemas/schema.ts";
import { Schemas } from "../schemas/schemas.ts";

/**
 * One sentence for each field that a reader of a kind asks for and that the definition of the kind does not have: a misspelt
 * one would always be absent.
 */
export function readerFaults(): readonly string[] {
  const schemas = new Schemas();
  const ofMeshConfig = {
    title: "istio.mesh.v1alpha1.MeshConfig",
    paths: unknownFields(publishedMeshConfig(), readFields),
  };
  const ofKinds = allKinds.flatMap((kind) => {
    const definitions = kinds[kind].served
      .filter(({ group }) => isKnownGroup(group))
      .map((served) => unknownIn(served, (raw) => kinds[kind].read(raw, []), schemas));
    const missing = definitions.flatMap((one) => (typeof one === "string" ? [one] : []));
    const known = definitions.filter((one) => typeof one !== "string");
    return [...missing, ...faultsOf(known, "kube/schemas.ts")];
  });
  return [...ofKinds, ...faultsOf([ofMeshConfig], "kube/mesh-config.ts")];
}

const readFields = (raw: unknown) => meshConfig(raw, []);

/** A definition, and the fields that it does not have. */
interface Unknown {
  /** The kind, its group and its version: `HTTPRoute of gateway.networking.k8s.io/v1`. */
  readonly title: string;
  readonly paths: readonly string[];
}

function unknownIn(served: Served, read: (raw: unknown) => unknown, known: Schemas): Unknown | string {
  const { group, kind, versions } = served;
  const [version, schema] = firstSchema(served, known);
  const title = `${kind} of ${group}/${version}`;
  if (schema !== undefined) return { title, paths: unknownFields(schema, read) };
  if (versions.some((one) => known.serves(group, one, kind))) return { title, paths: [] };
  return `kube/kinds.ts: no schema has ${group} ${kind} in one of the versions ${versions.join(", ")}`;
}

/** One reader is for all kinds that are served as one, so a field is wrong if none of them has it. */
function faultsOf(definitions: readonly Unknown[], file: string): readonly string[] {
  const lacks = ({ paths }: Unknown, field: string) =>
    paths.some((path) => field === path || field.startsWith(`${path}.`) || field.startsWith(`${path}[]`));
  const fields = new Set(definitions.flatMap(({ paths }) => paths));
  const titles = definitions.map(({ title }) => title).join(", ");
  return [...fields]
    .filter((field) => definitions.every((one) => lacks(one, field)))
    .map(
      (field) =>
        `${file}: the reader asks for ${field}, which ${titles} does not have; correct it, or pin a newer version of the definitions (CONTRIBUTING.md)`,
    );
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
