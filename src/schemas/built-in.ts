import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { schemaOfValidator } from "./compiled-validators.ts";
import type { Schema } from "./schema.ts";

/** The packages that the built-in schemas come from. */
export const schemaPackages = ["@kubernetes-models/istio", "@kubernetes-models/gateway-api"] as const;

/** One version of a kind, as the packages name it: `networking.istio.io/v1`, `VirtualService`. */
export interface BuiltInKind {
  readonly apiVersion: string;
  readonly kind: string;
  schema(): Schema;
}

/**
 * The schemas of Istio's and the Gateway API's kinds, of one version of each. The built file contains them instead of this
 * module (`generate/embedded-schemas.ts`). Throws an Error if the packages are not installed or have another form.
 */
export function builtInKinds(): readonly BuiltInKind[] {
  return schemaPackages.flatMap(kindsOfPackage);
}

/** The files of the kinds themselves; the others are parts of them. */
const kindFile = /^(?:[A-Z][a-z]+IstioIoV1[a-z0-9]*|IoK8sSigsGatewayApiApisV1[a-z0-9]*)[A-Z][A-Za-z]+\.js$/;

function kindsOfPackage(name: string): readonly BuiltInKind[] {
  const folder = join(packageFolder(name), "_schemas");
  const read = (file: string) => readFileSync(join(folder, file), "utf8");
  return readdirSync(folder).flatMap((file) => {
    const code = kindFile.test(file) ? read(file) : "";
    const found = namesIn(code);
    if (found === undefined || found.kind.endsWith("List")) return [];
    return [{ ...found, schema: () => schemaOfValidator(file, read) }];
  });
}

const packageFolder = (name: string): string => dirname(createRequire(import.meta.url).resolve(`${name}/package.json`));

/** A kind's validator compares apiVersion and kind with constants. */
function namesIn(code: string): { readonly apiVersion: string; readonly kind: string } | undefined {
  const apiVersion = /_enum=\["([a-z][a-z.0-9-]*\/v\d[a-z0-9]*)"\];/.exec(code)?.[1];
  const kind = /_enum=\["[a-z][a-z.0-9-]*\/v\d[a-z0-9]*"\];.*?_enum=\["([A-Z]\w*)"\];/s.exec(code)?.[1];
  return apiVersion === undefined || kind === undefined ? undefined : { apiVersion, kind };
}
