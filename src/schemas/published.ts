import { schemaAt, type InternedSchema } from "./interned.ts";
import { isKnownGroup, type KindDefinition } from "./definitions.ts";
import type { Schema } from "./schema.ts";
import published from "./published.json" with { type: "json" };

/** A Go module that contains definitions, and its licence as SPDX has it. */
export interface PublishedModule {
  /** `istio.io/api` */
  readonly path: string;
  readonly version: string;
  /** As in go.sum. */
  readonly sum: string;
  readonly license: string;
}

/** Definitions in the form of `published.json`. */
export interface Published {
  readonly modules: readonly PublishedModule[];
  /** Group, kind, version, and the place of its schema. */
  readonly kinds: readonly (readonly [group: string, kind: string, version: string, place: number])[];
  /** The place of the schema of the mesh config. */
  readonly meshConfig: readonly [number];
  readonly schemas: readonly InternedSchema[];
}

const { modules, kinds, meshConfig, schemas } = published as unknown as Published;

/** The modules that the built-in schemas of Istio and the Gateway API are generated from (`generate/published-schemas.ts`). */
export const publishedModules = modules;

/** The definitions of Istio and the Gateway API as these modules publish them, each version by itself. */
export const publishedKinds: readonly KindDefinition[] = kinds
  .filter(([group]) => isKnownGroup(group))
  .map(([group, kind, version, place]) => ({ group, kind, versions: new Map([[version, () => schemaOf(place)]]) }));

/** The mesh config of the ConfigMap `istio`, which is no kind of its own (istio.io/api mesh/v1alpha1 config.proto). */
export const publishedMeshConfig = (): Schema => schemaOf(meshConfig[0]);

const known = new Map<number, Schema>();

/** One object for each place, because what is found out about a schema is kept with it. */
function schemaOf(place: number): Schema {
  let schema = known.get(place);
  if (schema === undefined) known.set(place, (schema = schemaAt(schemas, place)));
  return schema;
}
