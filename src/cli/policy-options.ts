import { Option } from "commander";
import { defaultDocsUrl } from "../config/rule-page.ts";
import {
  isDocumentSource,
  isIntentSource,
  isPolicySource,
  loadPolicies,
  type PolicyError,
  type PolicySource,
  titleOf,
} from "../policy/load.ts";
import { impossibleNames } from "../policy/impossible-names.ts";
import { inDocumentOrder } from "../policy/schema-problems.ts";
import type { Policies } from "../policy/policies.ts";
import { defaultProfile, findProfile, type FoundProfile, profileNames } from "../policy/profiles.ts";
import { rules } from "../rules/index.ts";
import { definitionFor } from "./rule-definition.ts";
import { type Manifest, readManifests, type SourceError } from "../sources/manifests/manifests.ts";
import { UsageError } from "../text/usage-error.ts";

/** `--policies` and `--profile`, which every command defines in the same way. */
export interface PolicyOptions {
  /** Several paths come from a project file. */
  readonly policies?: string | readonly string[];
  /** Documents from the API server are added. */
  readonly policiesFromCluster?: boolean;
  readonly profile: string;
}

/** The same for a command that reads no project file. */
export interface OnePolicyOptions extends PolicyOptions {
  readonly policies?: string;
}

export const policiesOption = () =>
  new Option(
    "--policies <path>",
    "a file or folder with MeshwardPolicy, MeshwardException and MeshwardIntent documents",
  );
export const policiesFromClusterOption = () =>
  new Option(
    "--policies-from-cluster",
    "also use the MeshwardPolicy and MeshwardException objects of the cluster, whose definitions are in deploy/crds",
  );
export const profileOption = () =>
  new Option("--profile <name>", `built-in policies that yours are added to: ${profileNames.join(", ")}`).default(
    defaultProfile,
  );

export const docsUrlOption = () =>
  new Option("--docs-url <url>", "base URL of the rule pages that messages link to").default(defaultDocsUrl);

export interface PoliciesInForce {
  readonly policies: Policies;
  /** The documents of `--policies`. */
  readonly documents: readonly Manifest[];
  /** The MeshwardIntents among them, which are objects of the mesh. */
  readonly intents: readonly Manifest["raw"][];
  /** Documents and files that are not in force. */
  readonly errors: readonly (PolicyError | SourceError)[];
}

/**
 * The profile, overridden by the documents of `--policies` and by `more`. Names in files that no object can have are errors, but
 * not for a server, which goes on with what a policy says besides. Throws a UsageError for an unknown profile.
 */
export async function policiesOf(
  options: Pick<PolicyOptions, "policies" | "profile"> & { readonly isServer?: boolean },
  more: readonly PolicySource[] = [],
): Promise<PoliciesInForce> {
  const { profile, pin } = profileOf(options.profile);
  const { documents, errors } = await documentsOf(options);
  const sources = [...documents, ...more];
  const loaded = loadPolicies(sources, rules, profile, { pin, define: await definitionFor(sources) });
  const lint = options.isServer === true ? [] : sources.flatMap(impossibleIn);
  return {
    policies: loaded.policies,
    documents,
    intents: intentsOf(documents),
    errors: [...errors, ...loaded.errors, ...lint],
  };
}

function impossibleIn(source: PolicySource): readonly SourceError[] {
  // Objects of a cluster have no lines; their status says what they select.
  if (source.locate([]).line === 0) return [];
  return inDocumentOrder(source.raw, impossibleNames(source.raw)).map(({ at, message }) => {
    const { line, column, file = source.file } = source.locate(at);
    return { file, line, column, message: `${titleOf(source.raw)}: ${message}` };
  });
}

/**
 * The same, with the documents at `path` too, which replace those of the same name. Throws a UsageError if a profile or a
 * document is wrong.
 */
export async function policiesWith(
  options: PolicyOptions,
  path: string,
  objects: readonly PolicySource[],
): Promise<PoliciesInForce> {
  const { profile, pin } = profileOf(options.profile);
  const own = await documentsOf(options);
  const more = await documentsIn(path);
  const replaced = new Set(more.documents.map(({ raw }) => titleOf(raw)));
  const documents = [...own.documents.filter(({ raw }) => !replaced.has(titleOf(raw))), ...more.documents];
  const others = objects.filter(({ raw }) => !replaced.has(titleOf(raw)));
  const sources = [...documents, ...others];
  const loaded = loadPolicies(sources, rules, profile, { pin, define: await definitionFor(sources) });
  const lint = sources.flatMap(impossibleIn);
  const errors = [...own.errors, ...more.errors, ...loaded.errors, ...lint];
  return { policies: loaded.policies, documents, intents: intentsOf(documents), errors };
}

const intentsOf = (documents: readonly Manifest[]) => documents.filter(isIntent).map(({ raw }) => raw);

/** The profile of `--profile`. Throws a UsageError if there is none of this name. */
export function profileOf(name: string): FoundProfile {
  const found = findProfile(name);
  if ("problem" in found) throw new UsageError(`--profile: ${found.problem}`);
  return found;
}

/** The documents of `--policies`, which are not validated. */
export const documentsOf = ({ policies }: Pick<PolicyOptions, "policies">): Promise<Documents> =>
  documentsInAll([policies ?? []].flat());

/** The documents at a path of `--policies`, as they were written. Errors are those of {@link policiesOf}. */
export async function policyDocuments(path: string): Promise<readonly Record<string, unknown>[]> {
  return (await documentsIn(path)).documents.map(({ raw }) => raw);
}

export interface Documents {
  readonly documents: readonly Manifest[];
  readonly errors: readonly SourceError[];
}

async function documentsInAll(paths: readonly string[]): Promise<Documents> {
  const found = await Promise.all(paths.map(documentsIn));
  return { documents: found.flatMap(({ documents }) => documents), errors: found.flatMap(({ errors }) => errors) };
}

/** A path without any document is a wrong path, and would protect nothing without a word. */
async function documentsIn(path: string): Promise<Documents> {
  const { manifests, errors } = await readManifests([path]);
  const documents = manifests.filter(isDocument);
  if (documents.length > 0 || errors.length > 0) return { documents, errors };
  const kinds = [...new Set(manifests.map(({ kind }) => kind))].sort().slice(0, 5).join(", ");
  const found = kinds === "" ? "" : `, only ${kinds}`;
  const message = `it contains no MeshwardPolicy, MeshwardException or MeshwardIntent${found}; give the path of your policies, or leave --policies out`;
  return { documents, errors: [{ file: path, message }] };
}

/**
 * Whether a manifest is a MeshwardPolicy or a MeshwardException; a folder of policies may contain other objects too.
 */
export const isPolicy = ({ raw }: Manifest): boolean => isPolicySource(raw);
export const isIntent = ({ raw }: Manifest): boolean => isIntentSource(raw);
/** Either of them, or a MeshwardIntent, which is an object of the mesh too. */
export const isDocument = ({ raw }: Manifest): boolean => isDocumentSource(raw);
