import { clusterWord } from "../cluster-options.ts";
import { Option } from "commander";
import { definitionIn, isDefinition, type KindDefinition } from "../../schemas/definitions.ts";
import { Schemas } from "../../schemas/schemas.ts";
import { readDefinitions } from "../../sources/manifests/definitions.ts";
import type { SourceError } from "../../sources/manifests/manifests.ts";

export const crdsOption = () =>
  new Option(
    "--crds <path>",
    "check objects against the CustomResourceDefinitions in this file or folder; default: those of --mesh cluster or a capture, else built-in ones",
  );

/** The definitions of a cluster or a capture, collected while its objects are read. */
export class ReceivedDefinitions {
  readonly definitions: KindDefinition[] = [];
  /** Why definitions cannot be used. */
  readonly problems: string[] = [];

  take(raw: Record<string, unknown>): void {
    const found = isDefinition(raw) ? definitionIn(raw) : undefined;
    if (typeof found === "string") this.problems.push(found);
    else if (found !== undefined) this.definitions.push(found);
  }
}

export interface FoundSchemas {
  readonly schemas: Schemas;
  /** What `--crds` has and cannot be used. */
  readonly errors: readonly SourceError[];
  /** What a cluster lacks. */
  readonly notes: readonly string[];
}

/** The schemas that files are checked against. Where a definition cannot be used, the built-in one is. */
export async function schemasFrom(
  { crds, mesh }: { readonly crds?: string; readonly mesh?: string },
  received: ReceivedDefinitions,
): Promise<FoundSchemas> {
  const own = crds === undefined ? { definitions: [], errors: [] } : await definitionsIn(crds);
  const given = [...received.definitions, ...own.definitions];
  return { schemas: await schemasOf(given), errors: own.errors, notes: notesOf({ crds, mesh }, received, given) };
}

function notesOf(
  { crds, mesh }: { readonly crds: string | undefined; readonly mesh: string | undefined },
  { problems }: ReceivedDefinitions,
  given: readonly KindDefinition[],
): readonly string[] {
  const notes = problems.map((problem) => `a definition of --mesh ${mesh} is not used: ${problem}`);
  if (mesh === clusterWord && given.length === 0 && crds === undefined)
    notes.push(
      "the cluster shows no CustomResourceDefinition of Istio, so files are checked against built-in schemas; allow to list customresourcedefinitions, or give --crds",
    );
  return notes;
}

/** The usable definitions in a file or folder, and why others are not. */
async function definitionsIn(
  crds: string,
): Promise<{ readonly definitions: readonly KindDefinition[]; readonly errors: readonly SourceError[] }> {
  const { definitions: manifests, errors: unread } = await readDefinitions(crds);
  const definitions: KindDefinition[] = [];
  const errors = [...unread];
  for (const { raw, file, line } of manifests) {
    const definition = definitionIn(raw);
    if (typeof definition === "string") errors.push({ file, line, message: definition });
    else if (definition !== undefined) definitions.push(definition);
  }
  if (definitions.length === 0 && errors.length === 0) errors.push({ file: crds, message: noDefinitions });
  return { definitions, errors };
}

async function schemasOf(given: readonly KindDefinition[]): Promise<Schemas> {
  const { brokenRules } = await import("../../schemas/validation-rules.ts");
  return new Schemas(given, brokenRules);
}

const noDefinitions =
  "there is no CustomResourceDefinition of Istio or the Gateway API; give the file or folder of manifests that installs them";
