import { builtInKinds, schemaPackages } from "../schemas/built-in.ts";
import { isKnownGroup } from "../schemas/definitions.ts";
import { fieldsOf } from "../schemas/kubernetes-fields.ts";
import { SchemaList } from "../schemas/interned.ts";

/**
 * The source of a JavaScript module with the exports of `schemas/built-in.ts` that contains the schemas, because the built file
 * has no packages next to it. It imports from the folder of that module.
 */
export function embeddedSchemas(): string {
  const list = new SchemaList();
  const kinds = builtInKinds().flatMap(({ apiVersion, kind, schema }) => {
    const { properties: { metadata: _metadata, status: _status, ...spec } = {}, ...rest } = schema();
    const stripped = { ...rest, properties: spec };
    // Of Kubernetes' own kinds, only the fields are used (kubernetes-fields.ts).
    const isChecked = isKnownGroup(apiVersion.split("/")[0] ?? "");
    return [[apiVersion, kind, list.add(isChecked ? stripped : fieldsOf(stripped))]];
  });
  return `
import { schemaAt } from "./interned.ts";
export const schemaPackages = ${JSON.stringify(schemaPackages)};
export const hasBuiltIn = () => true;
let schemas;
export function builtInKinds() {
  schemas ??= JSON.parse(${JSON.stringify(JSON.stringify(list.schemas))});
  return ${JSON.stringify(kinds)}.map(([apiVersion, kind, place]) => ({ apiVersion, kind, schema: () => schemaAt(schemas, place) }));
}
`;
}
