import { Option } from "commander";
import { rulesInForce } from "../custom-rules/in-force.ts";
import type { Rule } from "../engine/rule.ts";
import { member } from "../kube/read.ts";
import {
  type DefineRules,
  isPolicySource,
  loadPolicies,
  type PolicyError,
  type PolicySource,
  titleOf,
} from "../policy/load.ts";
import type { Pin } from "../policy/documents.ts";
import type { Policies } from "../policy/policies.ts";
import { defaultProfile, findProfile, type ProfileName, profileNames } from "../policy/profiles.ts";
import { rules } from "../rules/index.ts";
import { type Manifest, readManifests, type SourceError } from "../sources/manifests/manifests.ts";
import { UsageError } from "../text/usage-error.ts";

/** `--policies` and `--profile`, which every command defines in the same way. */
export interface PolicyOptions {
  readonly policies?: string;
  readonly profile: string;
}

export const policiesOption = () =>
  new Option("--policies <path>", "a file or folder with MeshwardPolicy and MeshwardException documents");
export const profileOption = () =>
  new Option("--profile <name>", `built-in policies that yours are added to: ${profileNames.join(", ")}`).default(
    defaultProfile,
  );

export interface PoliciesInForce {
  readonly policies: Policies;
  /** The built-in rules and those of the policies. */
  readonly rules: readonly Rule[];
  /** Documents and files that are not in force. */
  readonly errors: readonly (PolicyError | SourceError)[];
}

/**
 * The profile, overridden by the documents of `--policies` and by `more`. Throws a UsageError for an unknown profile.
 */
export async function policiesOf(options: PolicyOptions, more: readonly PolicySource[] = []): Promise<PoliciesInForce> {
  const found = findProfile(options.profile);
  if ("problem" in found) throw new UsageError(`--profile: ${found.problem}`);
  const { documents, errors } = options.policies === undefined ? nothing : await documentsIn(options.policies);
  return inForce([...documents, ...more], errors, found);
}

async function inForce(
  sources: readonly PolicySource[],
  errors: readonly SourceError[],
  { profile, pin }: { readonly profile: ProfileName; readonly pin?: Pin | undefined },
): Promise<PoliciesInForce> {
  const define = await definerFor(sources);
  const loaded = loadPolicies(sources, rules, profile, { pin, define });
  return {
    policies: loaded.policies,
    rules: rulesInForce(rules, loaded.policies),
    errors: [...errors, ...loaded.errors],
  };
}

/** What defines rules, if any document has some. CEL takes a tenth of a second to load, which most users need not wait for. */
export async function definerFor(sources: readonly PolicySource[]): Promise<DefineRules | undefined> {
  const isNeeded = sources.some(({ raw }) => member(member(raw, "spec"), "customRules") !== undefined);
  return isNeeded ? (await import("../custom-rules/compile.ts")).defineCustomRules : undefined;
}

/**
 * The same, with the documents at `path` too, which replace those of the same name. Throws a UsageError if a profile or a
 * document is wrong.
 */
export async function policiesWith(options: PolicyOptions, path: string): Promise<PoliciesInForce> {
  const found = findProfile(options.profile);
  if ("problem" in found) throw new UsageError(`--profile: ${found.problem}`);
  const own = options.policies === undefined ? nothing : await documentsIn(options.policies);
  const more = await documentsIn(path);
  const replaced = new Set(more.documents.map(({ raw }) => titleOf(raw)));
  const kept = own.documents.filter(({ raw }) => !replaced.has(titleOf(raw)));
  return inForce([...kept, ...more.documents], [...own.errors, ...more.errors], { profile: found.profile });
}

/** The documents at a path of `--policies`, as they were written. Errors are those of {@link policiesOf}. */
export async function policyDocuments(path: string): Promise<readonly Record<string, unknown>[]> {
  return (await documentsIn(path)).documents.map(({ raw }) => raw);
}

interface Documents {
  readonly documents: readonly Manifest[];
  readonly errors: readonly SourceError[];
}
const nothing: Documents = { documents: [], errors: [] };

/** A path without any document is a wrong path, and would protect nothing without a word. */
async function documentsIn(path: string): Promise<Documents> {
  const { manifests, errors } = await readManifests([path]);
  const documents = manifests.filter(isPolicy);
  if (documents.length > 0 || errors.length > 0) return { documents, errors };
  const kinds = [...new Set(manifests.map(({ kind }) => kind))].sort().slice(0, 5).join(", ");
  const found = kinds === "" ? "" : `, only ${kinds}`;
  const message = `it contains no MeshwardPolicy and no MeshwardException${found}; give the path of your policies, or leave --policies out`;
  return { documents, errors: [{ file: path, message }] };
}

/**
 * Whether a manifest is a MeshwardPolicy or a MeshwardException; a folder of policies may contain other objects too.
 */
export const isPolicy = ({ raw }: Manifest): boolean => isPolicySource(raw);
