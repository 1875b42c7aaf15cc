import { resolve } from "node:path";
import { InvalidArgumentError, Option } from "commander";
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
import { setsNothing } from "../policy/document-problems.ts";
import { impossibleNames } from "../policy/impossible-names.ts";
import { inDocumentOrder } from "../policy/schema-problems.ts";
import type { Policies } from "../policy/policies.ts";
import { defaultProfile, findProfile, type FoundProfile, profileNames } from "../policy/profiles.ts";
import { rules } from "../rules/index.ts";
import { definitionFor } from "./rule-definition.ts";
import type { DocumentMemory } from "../sources/manifests/document-memory.ts";
import { type Manifest, readManifests, type SourceError } from "../sources/manifests/manifests.ts";
import { UsageError } from "../text/usage-error.ts";

/** `--policies` and `--profile`, which every command defines in the same way. */
export interface PolicyOptions {
  readonly policies?: readonly string[];
  /** Documents from the API server are added. */
  readonly policiesFromCluster?: boolean;
  readonly profile: string;
  /** A path may contain no document. */
  readonly allowEmpty?: boolean;
}

export const policiesOption = () =>
  new Option(
    "--policies <path>",
    "a file or folder with MeshwardPolicy, MeshwardException and MeshwardIntent documents; can be given several times",
  ).argParser(anotherPath);
/** A path that is given twice is read once. */
function anotherPath(path: string, before: readonly string[] | undefined): readonly string[] {
  const known = before ?? [];
  return known.some((one) => resolve(one) === resolve(path)) ? known : [...known, path];
}
/** `--policies a --policies b`, as the command line says it. */
export const shownPolicies = ({ policies = [] }: Pick<PolicyOptions, "policies">): string =>
  policies.map((path) => `--policies ${path}`).join(" ");
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
  new Option("--docs-url <url>", "base URL of the rule pages that messages link to")
    .default(defaultDocsUrl, "the pages in this repository")
    .argParser(webAddress);

function webAddress(text: string): string {
  if (/^https?:\/\/[^/\s]+\S*$/.test(text) && URL.canParse(text)) return text;
  throw new InvalidArgumentError("expected a URL such as https://meshward.example.com/rules.");
}

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
 * The profile, overridden by the documents of `--policies` and by `more`. What has no effect in files is an error, such as a name that
 * no object can have, but not for a server, which goes on with what a policy says besides. Throws a UsageError for an unknown profile.
 */
export async function policiesOf(
  options: Omit<PolicyOptions, "policiesFromCluster"> & Remembering & { readonly isServer?: boolean },
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
  return inDocumentOrder(source.raw, [...impossibleNames(source.raw), ...setsNothing(source.raw)]).map(
    ({ at, message }) => {
      const { line, column, file = source.file } = source.locate(at);
      return { file, line, column, message: `${titleOf(source.raw)}: ${message}` };
    },
  );
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
  const more = await documentsIn(path, {});
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
export const documentsOf = ({
  policies = [],
  ...reading
}: Pick<PolicyOptions, "policies"> & Reading): Promise<Documents> => documentsInAll(policies, reading);

type Reading = Pick<PolicyOptions, "allowEmpty"> & Remembering;

export interface Remembering {
  /** For paths that are read again and again. */
  readonly memory?: DocumentMemory;
}

export interface Documents {
  readonly documents: readonly Manifest[];
  readonly errors: readonly SourceError[];
}

async function documentsInAll(paths: readonly string[], reading: Reading): Promise<Documents> {
  reading.memory?.begin();
  const found = await Promise.all(paths.map((path) => documentsIn(path, reading)));
  return { documents: found.flatMap(({ documents }) => documents), errors: found.flatMap(({ errors }) => errors) };
}

/** A path without any document is a wrong path unless it may be empty, and would protect nothing without a word. */
async function documentsIn(path: string, { memory, allowEmpty = false }: Reading): Promise<Documents> {
  const { manifests, errors } = await readManifests([path], { memory, mayBeEmpty: allowEmpty });
  const documents = manifests.filter(isDocument);
  if (documents.length > 0 || errors.length > 0 || allowEmpty) return { documents, errors };
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
