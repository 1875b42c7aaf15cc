import { hasKubernetesKinds, kubernetesKinds } from "./kubernetes-kinds.ts";
import type { Schema } from "./schema.ts";

let known: ReadonlyMap<string, () => Schema> | undefined;

/**
 * The fields of a kind of Kubernetes itself, with their types. Files are not checked against them, because the API server's
 * validation of these kinds is no schema.
 */
export function kubernetesSchema(apiVersion: string, kind: string): Schema | undefined {
  known ??= new Map(
    hasKubernetesKinds()
      ? kubernetesKinds().map((one) => [`${one.apiVersion} ${one.kind}`, () => fieldsOf(one.schema())])
      : [],
  );
  return known.get(`${apiVersion} ${kind}`)?.();
}

/** A schema with the names and types of fields only. */
export function fieldsOf({ type, properties, items, additionalProperties, ...rest }: Schema): Schema {
  const isMixed = rest.anyOf !== undefined || rest.oneOf !== undefined || rest["x-kubernetes-int-or-string"] === true;
  return {
    ...(type === undefined || isMixed ? {} : { type }),
    ...(items === undefined ? {} : { items: fieldsOf(items) }),
    ...(properties === undefined
      ? {}
      : {
          properties: Object.fromEntries(Object.entries(properties).map(([name, inner]) => [name, fieldsOf(inner)])),
        }),
    ...(typeof additionalProperties === "object" ? { additionalProperties: fieldsOf(additionalProperties) } : {}),
  };
}
