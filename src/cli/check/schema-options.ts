import { clusterWord } from "../cluster-options.ts";
import { Option } from "commander";
import { definitionIn, isDefinition, type KindDefinition } from "../../schemas/definitions.ts";
import { Schemas } from "../../schemas/schemas.ts";
import { readDefinitions } from "../../sources/manifests/definitions.ts";
import { listed } from "../../text/phrases.ts";
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

/** A definition, and the file and line that it comes from. */
interface FileDefinition {
  readonly definition: KindDefinition;
  readonly place: string;
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
  const given = [
    ...received.definitions.map((definition) => ({ definition, place: `--mesh ${mesh}` })),
    ...own.definitions,
  ];
  const notes = [
    ...notesOf({ crds, mesh }, received, given),
    ...repeatedIn(own.definitions),
    ...(await unsupportedNotes(given)),
  ];
  return { schemas: await schemasOf(given.map(({ definition }) => definition)), errors: own.errors, notes };
}

/** What is not checked, because a definition asks for something that is not known here. */
async function unsupportedNotes(given: readonly FileDefinition[]): Promise<readonly string[]> {
  if (given.length === 0) return [];
  const { unsupportedIn } = await import("../../schemas/unsupported.ts");
  return given.flatMap(({ definition, place }) => {
    const problem = unsupportedIn(definition);
    return problem === undefined ? [] : [`${place}: ${problem}`];
  });
}

/** Definitions of one kind, such as those of two versions of Istio in one folder: the last one counts, version by version. */
function repeatedIn(definitions: readonly FileDefinition[]): readonly string[] {
  const kinds = Map.groupBy(definitions, ({ definition: { group, kind } }) => `${kind}.${group}`);
  return [...kinds].flatMap(([name, all]) =>
    all.length < 2
      ? []
      : [
          `${name} is defined more than once, in ${listed(
            all.map(({ place }) => place),
            "and",
          )}: for each version, the last definition counts; give --crds one of them`,
        ],
  );
}

function notesOf(
  { crds, mesh }: { readonly crds: string | undefined; readonly mesh: string | undefined },
  { problems }: ReceivedDefinitions,
  given: readonly FileDefinition[],
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
): Promise<{ readonly definitions: readonly FileDefinition[]; readonly errors: readonly SourceError[] }> {
  const { definitions: manifests, errors: unread } = await readDefinitions(crds);
  const definitions: FileDefinition[] = [];
  const errors = [...unread];
  for (const { raw, file, line } of manifests) {
    const definition = definitionIn(raw);
    if (typeof definition === "string") errors.push({ file, line, message: definition });
    else if (definition !== undefined) definitions.push({ definition, place: `${file}:${line}` });
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
