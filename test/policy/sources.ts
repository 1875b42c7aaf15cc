import { parseAllDocuments } from "yaml";
import type { Path } from "../../src/kube/read.ts";
import type { RuleMetadata } from "../../src/policy/documents.ts";
import { loadPolicies, type PolicySource } from "../../src/policy/load.ts";
import type { Policies } from "../../src/policy/policies.ts";
import type { ProfileName } from "../../src/policy/profiles.ts";

/** Rules as the schema sees them. */
export const ruleList: readonly RuleMetadata[] = [
  {
    id: "namespace-protection-removed",
    summary: "",
    parameters: { protectedLabels: { summary: "Labels.", default: [] } },
  },
  { id: "peer-authentication-permissive", summary: "", parameters: {}, tags: ["mtls"] },
  {
    id: "virtual-service-canary-step",
    summary: "",
    parameters: { maxStep: { summary: "Points.", default: 20 }, stable: { summary: "Where.", default: "" } },
  },
  { id: "virtual-service-weights-not-100", summary: "", parameters: {} },
];

/** Documents of a YAML text; a place is line 7, column = length of the path, so that tests see which path was asked for. */
export function sourcesOf(text: string, file = "policies.yaml"): readonly PolicySource[] {
  return parseAllDocuments(text).map((document) => ({
    raw: document.toJS() as unknown,
    file,
    locate: (path: Path) => ({ line: 7, column: path.length }),
  }));
}

/** The policies of a text that is right. */
export function policiesOf(text: string, profile?: ProfileName): Policies {
  const { policies, errors } = loadPolicies(text === "" ? [] : sourcesOf(text), ruleList, profile);
  if (errors.length > 0) throw new Error(errors.map(({ message }) => message).join("\n"));
  return policies;
}

/** A MeshwardPolicy as YAML; `spec` in one line. */
export const policy = (name: string, spec: string): string =>
  `---\napiVersion: meshward.io/v1alpha1\nkind: MeshwardPolicy\nmetadata: {name: ${name}}\nspec: ${spec}\n`;

export const exception = (name: string, namespace: string, spec: string): string =>
  `---\napiVersion: meshward.io/v1alpha1\nkind: MeshwardException\nmetadata: {name: ${name}, namespace: ${namespace}}\nspec: ${spec}\n`;
