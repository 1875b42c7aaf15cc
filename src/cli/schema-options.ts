import { Option } from "commander";
import { definitionIn, isDefinition, type KindDefinition } from "../schemas/definitions.ts";
import { Schemas } from "../schemas/schemas.ts";
import { readDefinitions } from "../sources/manifests/definitions.ts";
import type { SourceError } from "../sources/manifests/manifests.ts";

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
  readonly errors: readonly SourceError[];
}

/** The schemas that files are checked against. What cannot be used is an error, and the built-in schema is used instead. */
export async function schemasFrom(
  { crds }: { readonly crds?: string },
  received: ReceivedDefinitions,
): Promise<FoundSchemas> {
  if (crds === undefined) return { schemas: await schemasOf(received.definitions), errors: [] };
  const { definitions, errors } = await readDefinitions(crds);
  const found: KindDefinition[] = [];
  const unusable: SourceError[] = [];
  for (const { raw, file, line } of definitions) {
    const definition = definitionIn(raw);
    if (typeof definition === "string") unusable.push({ file, line, message: definition });
    else if (definition !== undefined) found.push(definition);
  }
  const all = [...errors, ...unusable];
  if (found.length === 0 && all.length === 0) all.push({ file: crds, message: noDefinitions });
  return { schemas: await schemasOf([...received.definitions, ...found]), errors: all };
}

async function schemasOf(given: readonly KindDefinition[]): Promise<Schemas> {
  if (given.length === 0) return new Schemas();
  const { brokenRules } = await import("../schemas/validation-rules.ts");
  return new Schemas(given, brokenRules);
}

const noDefinitions =
  "there is no CustomResourceDefinition of Istio or the Gateway API; give the file or folder of manifests that installs them";
