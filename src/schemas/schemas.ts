import type { Invalid } from "../kube/invalid.ts";
import { isSameBranch } from "../kube/read.ts";
import { nearest } from "../text/nearest.ts";
import { listed } from "../text/phrases.ts";
import { quoted } from "../text/printable.ts";
import { checkFields } from "./check-fields.ts";
import { checkMetadata } from "./check-metadata.ts";
import { withDefaults } from "./defaults.ts";
import type { KindDefinition } from "./definitions.ts";
import { publishedKinds } from "./published.ts";
import type { Schema } from "./schema.ts";

interface KnownKind extends KindDefinition {
  /** Whether the definition is that of the cluster, and not the built-in one. */
  readonly isExact: boolean;
}

/** What the validation rules say of an object that has the defaults of its schema. */
export type BrokenRules = (object: Record<string, unknown>, schema: Schema) => readonly Invalid[];

/** The definitions that files are checked against. Those of a cluster or of `--crds` replace the built-in ones, kind by kind. */
export class Schemas {
  /** By group, then by kind. */
  readonly #groups = new Map<string, Map<string, KnownKind>>();

  readonly #brokenRules: BrokenRules;

  /** `brokenRules` evaluates the validation rules of all definitions; without it, they are not evaluated. */
  constructor(given: readonly KindDefinition[] = [], brokenRules: BrokenRules = () => []) {
    this.#brokenRules = brokenRules;
    for (const definition of publishedKinds) this.#set({ ...definition, isExact: false });
    for (const definition of given) this.#set({ ...definition, isExact: true });
  }

  #set(known: KnownKind): void {
    const { group, kind } = known;
    const kinds = this.#groups.get(group) ?? new Map<string, KnownKind>();
    const there = kinds.get(kind);
    // The built-in schemas know each version by itself.
    const versions =
      there?.isExact === known.isExact ? new Map([...there.versions, ...known.versions]) : known.versions;
    this.#groups.set(group, kinds.set(kind, { ...known, versions }));
  }

  /** Whether a version of a kind is known, even without a schema. */
  serves(group: string, version: string, kind: string): boolean {
    return this.#groups.get(group)?.get(kind)?.versions.has(version) === true;
  }

  /** The schema of a version of a kind. */
  find(group: string, version: string, kind: string): Schema | undefined {
    return this.#groups.get(group)?.get(kind)?.versions.get(version)?.();
  }

  /** Why the API server would reject an object; none for groups other than those of Istio and the Gateway API. Never throws. */
  faultsOf(raw: Record<string, unknown>): readonly Invalid[] {
    const [apiVersion, kind] = [String(raw["apiVersion"]), String(raw["kind"])];
    const [group = "", version = ""] = apiVersion.split("/");
    const kinds = this.#groups.get(group);
    if (kinds === undefined || kind.endsWith("List")) return [];
    const known = kinds.get(kind);
    if (known === undefined) return [this.#unknownKind(group, kind, kinds)];
    const schema = known.versions.get(version);
    if (schema === undefined) return [unknownVersion(version, known)];
    return [...checkMetadata(raw), ...this.#fieldFaults(raw, schema(), known)];
  }

  /** A rule says nothing reliable about a value that the schema does not accept, or that contains one. */
  #fieldFaults(raw: Record<string, unknown>, schema: Schema | undefined, { isExact }: KnownKind): readonly Invalid[] {
    if (schema === undefined) return [];
    try {
      const object = withDefaults(raw, schema) as Record<string, unknown>;
      const faults = checkFields(object, schema, isExact);
      const broken = this.#brokenRules(object, schema);
      return [...faults, ...broken.filter(({ at }) => !faults.some((fault) => isSameBranch(fault.at, at)))];
    } catch (error) {
      // The object or the schema is nested too deeply, and the API server would not read it either.
      if (error instanceof RangeError) return [];
      throw error;
    }
  }

  #unknownKind(group: string, kind: string, kinds: ReadonlyMap<string, KnownKind>): Invalid {
    const others = [...this.#groups].filter(([other, there]) => other !== group && there.has(kind));
    const other = others[0]?.[0];
    if (other !== undefined)
      return { at: ["apiVersion"], message: `The group ${group} has no kind ${kind}: did you mean "${other}"?` };
    const near = nearest(kind, kinds.keys());
    const message = `The group ${group} has no kind ${quoted(kind)}`;
    if (near !== undefined) return { at: ["kind"], message: `${message}: did you mean ${JSON.stringify(near)}?` };
    return {
      at: ["kind"],
      message: `${message}: its kinds are ${listed([...kinds.keys()].sort(), "and")}`,
      dependsOnVersion: true,
    };
  }
}

function unknownVersion(version: string, { group, kind, versions, isExact }: KnownKind): Invalid {
  const served = listed([...versions.keys()].sort(), "and");
  const message = `The API server does not serve ${kind} in version ${quoted(`${group}/${version}`)}: its versions are ${served}`;
  // Clusters may have older definitions of the Gateway API, whose alpha versions were removed.
  return { at: ["apiVersion"], message, ...(isExact || group.endsWith("istio.io") ? {} : { dependsOnVersion: true }) };
}
