import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { schemaOfValidator } from "./compiled-validators.ts";
import type { Schema } from "./schema.ts";

/** The packages that the schemas come from. */
export const schemaPackages = ["kubernetes-models", "@kubernetes-models/apimachinery"] as const;

/** One version of a kind, as the packages name it: `apps/v1`, `Deployment`. */
export interface KubernetesKind {
  readonly apiVersion: string;
  readonly kind: string;
  schema(): Schema;
}

/**
 * The schemas of the kinds of Kubernetes that Meshward reads, of one version. The built file contains them instead of this module
 * (`generate/embedded-schemas.ts`). Throws an Error if the packages have another form.
 */
export function kubernetesKinds(): readonly KubernetesKind[] {
  return validatorFolders().flatMap(kindsIn);
}

/** Whether the packages are installed; they are development packages. */
export function hasKubernetesKinds(): boolean {
  try {
    return schemaPackages.every((name) => packageFolder(name) !== "");
  } catch {
    return false;
  }
}

/** The files of the kinds themselves; the others are parts of them. */
const kindFile =
  /^IoK8sApi(?:CoreV1(?:Pod|Service|Namespace|ReplicationController)|AppsV1(?:Deployment|StatefulSet|DaemonSet|ReplicaSet)|BatchV1(?:Job|CronJob)|NetworkingV1(?:NetworkPolicy|Ingress|IngressClass))\.js$/;

/** The text of a compiled validator. */
export function readValidator(file: string): string {
  const folder = validatorFolders().find((one) => existsSync(join(one, file)));
  if (folder === undefined) throw new Error(`none of ${schemaPackages.join(", ")} has ${file}`);
  return readFileSync(join(folder, file), "utf8");
}

let folders: readonly string[] | undefined;
export function validatorFolders(): readonly string[] {
  folders ??= schemaPackages.map((name) => join(packageFolder(name), "_schemas"));
  return folders;
}

function kindsIn(folder: string): readonly KubernetesKind[] {
  return readdirSync(folder).flatMap((file) => {
    const code = kindFile.test(file) ? readValidator(file) : "";
    const found = namesIn(code);
    if (found === undefined) return [];
    return [{ ...found, schema: () => schemaOfValidator(file, readValidator) }];
  });
}

const packageFolder = (name: string): string => dirname(createRequire(import.meta.url).resolve(`${name}/package.json`));

/** A kind's validator compares apiVersion and kind with constants. */
function namesIn(code: string): { readonly apiVersion: string; readonly kind: string } | undefined {
  const apiVersion = /_enum=\["((?:[a-z][a-z.0-9-]*\/)?v\d[a-z0-9]*)"\];/.exec(code)?.[1];
  const kind = /_enum=\["(?:[a-z][a-z.0-9-]*\/)?v\d[a-z0-9]*"\];.*?_enum=\["([A-Z]\w*)"\];/s.exec(code)?.[1];
  return apiVersion === undefined || kind === undefined ? undefined : { apiVersion, kind };
}
