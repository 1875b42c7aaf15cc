import { stringify } from "yaml";
import type { KubernetesObject } from "../demo/api-server-client.ts";
import { member } from "../kube/read.ts";
import { outcomeLine } from "./differences.ts";
import { type CaseOutcome, nameOf, type PreparedCase, runCase } from "./run-case.ts";
import type { Expectation, TestCase, TestFile } from "./test-file.ts";

/** A case whose outcome is not known yet. */
export type OpenCase = Omit<TestCase, "name" | "expect">;

/** The case with the outcome that it has today, and a name that says it. */
export async function decidedCase(open: OpenCase, prepared: PreparedCase): Promise<TestCase> {
  const outcome = await runCase(prepared);
  const [first, ...others] = [...prepared.applied, ...prepared.deleted].map(nameOf);
  const what = others.length === 0 ? `${first}` : `${first} and ${others.length} more`;
  const verb = prepared.applied.length === 0 ? "deleting " : "";
  return { name: `${verb}${what}: ${outcomeLine(outcome)}`, ...open, expect: expectationOf(outcome, prepared.applied) };
}

function expectationOf(outcome: CaseOutcome, applied: readonly KubernetesObject[]): Expectation {
  const { allowed, deniedBy, warnedBy, acceptedBy } = outcome;
  const labels = addedLabels(outcome, applied);
  return {
    allowed,
    ...(deniedBy.length > 0 ? { deniedBy } : {}),
    warnedBy,
    ...(acceptedBy.length > 0 ? { acceptedBy } : {}),
    ...(Object.keys(labels).length > 0 ? { patchedTo: { metadata: { labels } } } : {}),
  };
}

/** The labels that a mutation added; Meshward changes nothing else. */
function addedLabels(
  { stored, patchedBy }: CaseOutcome,
  applied: readonly KubernetesObject[],
): Record<string, unknown> {
  if (patchedBy.length === 0) return {};
  const given = new Map(applied.map((raw) => [nameOf(raw), labelsOf(raw)]));
  const added = stored.flatMap((raw) => {
    const own = given.get(nameOf(raw)) ?? {};
    // The API server itself adds the label of the name.
    return Object.entries(labelsOf(raw)).filter(([key]) => !(key in own) && key !== "kubernetes.io/metadata.name");
  });
  return Object.fromEntries(added);
}

const labelsOf = (raw: KubernetesObject): Readonly<Record<string, unknown>> =>
  (member(member(raw, "metadata"), "labels") ?? {}) as Readonly<Record<string, unknown>>;

/** The text of a file of tests, with the schema for editors. */
export function testFileText(tests: TestFile, schemaUrl: string): string {
  const yaml = stringify(tests, { lineWidth: 0, aliasDuplicateObjects: false });
  return `# yaml-language-server: $schema=${schemaUrl}\n${yaml}`;
}
