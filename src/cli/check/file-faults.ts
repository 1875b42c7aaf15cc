import { keyOf } from "../../kube/identity.ts";
import type { Invalid } from "../../kube/invalid.ts";
import { type AnyObject, readObject } from "../../kube/object.ts";
import { refusedByIstiod } from "../../istiod-validation/refusals.ts";
import type { Schemas } from "../../schemas/schemas.ts";
import type { FileMesh, FileObject } from "../../sources/manifests/file-mesh.ts";

/** Files with what the API server would reject in their objects. */
export interface CheckedFiles {
  readonly files: FileMesh;
  /** Objects of kinds that no rule reads, as far as the API server would reject them. */
  readonly unread: readonly FileObject[];
}

/** Checks all manifests against the definitions of their kinds, and as istiod would validate them. */
export async function withFaults(files: FileMesh, schemas: Schemas, defaultNamespace: string): Promise<CheckedFiles> {
  const entries = new Map<FileObject, FileObject>();
  const expressionProblem = await parserFor(files);
  const validate = (raw: Record<string, unknown>) => refusedByIstiod(raw, expressionProblem);
  for (const entry of files.objects) {
    const invalid = faultsOf(entry.manifest.raw, schemas, validate, entry.object.malformed);
    if (invalid.length > 0) entries.set(entry, { ...entry, object: { ...entry.object, invalid } });
  }
  const unread = files.others.flatMap((manifest) => {
    const object = readHead(manifest.raw, defaultNamespace);
    const invalid = faultsOf(manifest.raw, schemas, validate);
    return invalid.length === 0 ? [] : [{ manifest, object: { ...object, invalid } }];
  });
  if (entries.size === 0) return { files, unread };
  for (const [{ object }, checked] of entries)
    if (files.mesh.find(object.kind, keyOf(object)) === object) files.mesh.set(checked.object);
  const entryOf = (entry: FileObject) => entries.get(entry) ?? entry;
  const replaced = files.replaced.map(({ by, earlier }) => ({ by: entryOf(by), earlier: entryOf(earlier) }));
  return { files: { ...files, objects: files.objects.map(entryOf), replaced }, unread };
}

type Validate = (raw: Record<string, unknown>) => readonly Invalid[];

/** A value of the wrong type that the reader found too is only reported by object-malformed. */
function faultsOf(
  raw: Record<string, unknown>,
  schemas: Schemas,
  validate: Validate,
  malformed: AnyObject["malformed"] = [],
): readonly Invalid[] {
  const known = new Set(malformed.map(({ at }) => at.join("\n")));
  const faults = schemas.faultsOf(raw);
  // What the definition does not allow is not validated further.
  const refused = faults.some(({ atMost }) => atMost === undefined) ? [] : validate(raw);
  return [...faults, ...refused].filter(({ at }) => !known.has(at.join("\n")));
}

/** The parser of expressions in CEL, if there may be one. */
async function parserFor({ objects, others }: FileMesh): Promise<((text: string) => string | undefined) | undefined> {
  const isTelemetry = ({ raw }: { readonly raw: Record<string, unknown> }) => raw["kind"] === "Telemetry";
  if (!objects.some(({ manifest }) => isTelemetry(manifest)) && !others.some(isTelemetry)) return undefined;
  return (await import("../../istiod-validation/expressions.ts")).expressionProblem;
}

/** The names and metadata of an object. Workloads are the kind that has objects of many kinds of the API server. */
function readHead({ apiVersion, kind, metadata }: Record<string, unknown>, defaultNamespace: string): AnyObject {
  return readObject("Workload", { apiVersion, kind, metadata }, defaultNamespace);
}
