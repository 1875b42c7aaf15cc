import { isObject } from "../kube/read.ts";
import { schemaOfMessage } from "./proto-schemas.ts";
import { isDefinition, isKnownGroup } from "../schemas/definitions.ts";
import { SchemaList } from "../schemas/interned.ts";
import type { Published, PublishedModule } from "../schemas/published.ts";
import { schemaKeywords } from "../schemas/schema.ts";

/** The file of the built-in schemas, below the root. It is committed, because a build needs neither Go nor the network. */
export const publishedFile = "src/schemas/published.json";

/**
 * The content of the file for the definitions that the modules contain, read from YAML, and for the messages of Istio's API. It has what decides whether an object is
 * accepted, and no descriptions; each schema stands in it once, on a line of its own. Throws an Error if a definition has another
 * form.
 */
export function publishedText(
  modules: readonly PublishedModule[],
  documents: readonly unknown[],
  messages: readonly string[],
): string {
  const list = new SchemaList();
  const kinds = documents
    .filter(isDefinition)
    .flatMap((raw) => versionsOf(raw).map(([names, schema]) => [...names, list.add(schema)]));
  const meshConfig = [list.add(schemaOfMessage(messages, "istio.mesh.v1alpha1.MeshConfig"))];
  const published = { modules, kinds, meshConfig, schemas: list.schemas } as Record<
    keyof Published,
    readonly unknown[]
  >;
  const parts = Object.entries(published).map(([name, items]) => {
    const lines = items.map((item) => JSON.stringify(item)).join(",\n");
    return `${JSON.stringify(name)}: [\n${lines}\n]`;
  });
  return `{\n${parts.join(",\n")}\n}\n`;
}

type Names = readonly [group: string, kind: string, version: string];

interface Definition {
  readonly spec: {
    readonly group: string;
    readonly names: { readonly kind: string };
    readonly versions: readonly {
      readonly name: string;
      readonly served: boolean;
      readonly schema: { readonly openAPIV3Schema: object };
    }[];
  };
}

function versionsOf(raw: Record<string, unknown>): readonly (readonly [Names, object])[] {
  const { spec } = raw as unknown as Definition;
  if (!isKnownGroup(spec.group)) return [];
  const served = spec.versions.filter((version) => version.served);
  return served.map(({ name, schema: { openAPIV3Schema } }) => [
    [spec.group, spec.names.kind, name],
    withoutHead(readKeywords(openAPIV3Schema)),
  ]);
}

/** What every object has is checked without a schema. */
function withoutHead(schema: Record<string, unknown>): object {
  const {
    apiVersion: _version,
    kind: _kind,
    metadata: _metadata,
    ...properties
  } = schema["properties"] as object & {
    readonly [name: string]: unknown;
  };
  const required = ((schema["required"] ?? []) as readonly string[]).filter((name) => Object.hasOwn(properties, name));
  return { ...schema, properties, ...(schema["required"] === undefined ? {} : { required }) };
}

function readKeywords(schema: object): Record<string, unknown> {
  const kept = Object.entries(schema).filter(([keyword]) => schemaKeywords.has(keyword));
  return Object.fromEntries(kept.map(([keyword, value]) => [keyword, readKeyword(keyword, value)]));
}

function readKeyword(keyword: string, value: unknown): unknown {
  if (keyword === "properties")
    return Object.fromEntries(Object.entries(value as object).map(([name, inner]) => [name, readKeywords(inner)]));
  if (keyword === "oneOf" || keyword === "anyOf" || keyword === "allOf") return (value as object[]).map(readKeywords);
  const isSchema = ["items", "not", "additionalProperties"].includes(keyword) && isObject(value);
  return isSchema ? readKeywords(value) : value;
}
