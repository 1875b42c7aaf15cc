import { fieldsOf } from "../schemas/kubernetes-fields.ts";
import { SchemaList } from "../schemas/interned.ts";
import { kubernetesKinds, schemaPackages } from "../schemas/kubernetes-kinds.ts";

/**
 * The source of a JavaScript module with the exports of `schemas/kubernetes-kinds.ts` that contains the schemas, because the built file
 * has no packages next to it. It imports from the folder of that module.
 */
export function embeddedSchemas(): string {
  const list = new SchemaList();
  const kinds = kubernetesKinds().map(({ apiVersion, kind, schema }) => {
    const { properties: { metadata: _metadata, status: _status, ...spec } = {}, ...rest } = schema();
    const stripped = { ...rest, properties: spec };
    // Only the fields are used (kubernetes-fields.ts).
    return [apiVersion, kind, list.add(fieldsOf(stripped))];
  });
  return `
import { schemaAt } from "./interned.ts";
export const schemaPackages = ${JSON.stringify(schemaPackages)};
export const hasKubernetesKinds = () => true;
let schemas;
export function kubernetesKinds() {
  schemas ??= JSON.parse(${JSON.stringify(JSON.stringify(list.schemas))});
  return ${JSON.stringify(kinds)}.map(([apiVersion, kind, place]) => ({ apiVersion, kind, schema: () => schemaAt(schemas, place) }));
}
`;
}
