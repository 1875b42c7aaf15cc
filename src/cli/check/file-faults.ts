import { keyOf } from "../../kube/identity.ts";
import type { Invalid } from "../../kube/invalid.ts";
import { type AnyObject, readObject } from "../../kube/object.ts";
import { type Path, valueAt } from "../../kube/read.ts";
import { refusedByIstiod } from "../../istiod-validation/refusals.ts";
import { mostFaults } from "../../schemas/check-fields.ts";
import type { Schemas } from "../../schemas/schemas.ts";
import type { FileMesh, FileObject } from "../../sources/manifests/file-mesh.ts";
import { placeholderBelow, valuesOfAllForms, withValues } from "../../sources/manifests/substitution.ts";
import { isResolved, pathOf } from "../resolved-by-value.ts";

/** Files with what the API server would reject in their objects. */
export interface CheckedFiles {
  readonly files: FileMesh;
  /** Objects of kinds that no rule reads, as far as the API server would reject them. */
  readonly unread: readonly FileObject[];
}

/** Checks all manifests against the definitions of their kinds, and as istiod would validate them. */
export async function withFaults(files: FileMesh, schemas: Schemas, defaultNamespace: string): Promise<CheckedFiles> {
  const entries = new Map<FileObject, FileObject>();
  const faults = new Faults(schemas, await parserFor(files));
  for (const entry of files.objects) {
    const invalid = faults.of(entry.manifest.raw, entry.object.malformed);
    if (invalid.length > 0) entries.set(entry, { ...entry, object: { ...entry.object, invalid } });
  }
  const unread = files.others.flatMap((manifest) => {
    const object = readHead(manifest.raw, defaultNamespace);
    const invalid = faults.of(manifest.raw);
    return invalid.length === 0 ? [] : [{ manifest, object: { ...object, invalid } }];
  });
  if (entries.size === 0) return { files, unread };
  for (const [{ object }, checked] of entries)
    if (files.mesh.find(object.kind, keyOf(object)) === object) files.mesh.set(checked.object);
  const entryOf = (entry: FileObject) => entries.get(entry) ?? entry;
  const replaced = files.replaced.map(({ by, earlier }) => ({ by: entryOf(by), earlier: entryOf(earlier) }));
  return { files: { ...files, objects: files.objects.map(entryOf), replaced }, unread };
}

/** Finds the faults of objects, and those that may not be there with the value of a placeholder. */
class Faults {
  readonly #schemas: Schemas;
  readonly #expressionProblem: ExpressionProblem | undefined;

  constructor(schemas: Schemas, expressionProblem: ExpressionProblem | undefined) {
    this.#schemas = schemas;
    this.#expressionProblem = expressionProblem;
  }

  /**
   * What the definition does not allow is not validated further. A value of the wrong type that the reader found too is only
   * reported by object-malformed.
   */
  of(raw: Record<string, unknown>, malformed: AnyObject["malformed"] = []): readonly Invalid[] {
    const known = new Set(malformed.map(({ at }) => pathOf(at)));
    const placeholderFor = this.#placeholdersIn(raw);
    const withPlaceholder = (fault: Invalid): Invalid => {
      const placeholder = placeholderFor(fault);
      return placeholder === undefined ? fault : { ...fault, placeholder };
    };
    const faults = this.#schemas.faultsOf(raw).map(withPlaceholder);
    const isRefused = faults.some(
      ({ dependsOnVersion, placeholder }) => dependsOnVersion !== true && placeholder === undefined,
    );
    const said = new Set(faults.map(({ at }) => pathOf(at)));
    const refused = isRefused ? [] : refusedByIstiod(raw, this.#expressionProblem).map(withPlaceholder);
    const others = refused.filter(({ at, placeholder }) => placeholder === undefined || !said.has(pathOf(at)));
    return [...faults, ...others].filter(({ at }) => !known.has(pathOf(at)));
  }

  /** Finds the placeholder of a fault that is not there with another value: the value that is meant may be valid. */
  #placeholdersIn(raw: Record<string, unknown>): (fault: Invalid) => string | undefined {
    const placeholder = placeholderBelow(raw);
    if (placeholder === undefined) return () => undefined;
    let found: { readonly before: readonly Path[]; readonly others: readonly (readonly Path[])[] } | undefined;
    return ({ at }) => {
      found ??= { before: this.#placesIn(raw) ?? [], others: this.#withOtherValues(raw) };
      const { before, others } = found;
      if (!others.some((after) => isResolved(at, { before, after }))) return undefined;
      return placeholderBelow(valueAt(raw, at)) ?? placeholder;
    };
  }

  #withOtherValues(raw: Record<string, unknown>): readonly (readonly Path[])[] {
    return valuesOfAllForms.flatMap((value) => {
      const places = this.#placesIn(withValues(raw, value));
      return places === undefined ? [] : [places];
    });
  }

  /** The places of all faults; undefined if the check ended before it found all of them. */
  #placesIn(raw: Record<string, unknown>): readonly Path[] | undefined {
    const faults = this.#schemas.faultsOf(raw);
    if (faults.length >= mostFaults) return undefined;
    return [...faults, ...refusedByIstiod(raw, this.#expressionProblem)].map(({ at }) => at);
  }
}

type ExpressionProblem = (text: string) => string | undefined;

/** The parser of expressions in CEL, if there may be one. */
async function parserFor({ objects, others }: FileMesh): Promise<ExpressionProblem | undefined> {
  const isTelemetry = ({ raw }: { readonly raw: Record<string, unknown> }) => raw["kind"] === "Telemetry";
  if (!objects.some(({ manifest }) => isTelemetry(manifest)) && !others.some(isTelemetry)) return undefined;
  return (await import("../../istiod-validation/expressions.ts")).expressionProblem;
}

/** The names and metadata of an object. Workloads are the kind that has objects of many kinds of the API server. */
function readHead({ apiVersion, kind, metadata }: Record<string, unknown>, defaultNamespace: string): AnyObject {
  return readObject("Workload", { apiVersion, kind, metadata }, defaultNamespace);
}
