import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { BuiltInRule, Rule } from "../engine/rule.ts";
import { documentDefinitions } from "../deploy/definitions.ts";
import { yamlOf } from "../deploy/yaml.ts";
import { policySchema } from "../policy/editor-schema.ts";
import { policyTestSchema } from "../policy-tests/schema.ts";
import { projectSchema } from "../project/schema.ts";
import { findObjectFunctions } from "./catalogue-functions.ts";
import { cataloguePage, findReadable, readableFaults } from "./catalogue.ts";
import { fieldsPage } from "./fields-page.ts";
import { formatsPage, outputShapes } from "./formats-page.ts";
import { functionReference } from "./function-reference.ts";
import { readerFaults } from "./reader-faults.ts";
import { chartFiles, generatedNote } from "./chart.ts";
import { ladderPage } from "./ladder-page.ts";
import { kustomizeFiles } from "./kustomize.ts";
import { monitoringFiles } from "./monitoring.ts";
import { observabilityPage } from "./observability-page.ts";
import { optionsPage } from "./options-page.ts";
import { permissionsPage } from "./permissions-page.ts";
import { ruleFaults } from "./rule-faults.ts";
import { findRules, ruleList } from "./rule-files.ts";
import { type GeneratedFile, rulePages } from "./rule-pages.ts";

/** A rule without the part for those who are paged is a fault, and no page is written then. */
const isBuiltIn = (rule: Rule): rule is BuiltInRule => rule.incident !== undefined;

export const root = fileURLToPath(new URL("../../", import.meta.url));

/** The files that `npm run generate` writes, or the faults that prevent it. */
export interface Generated {
  /** One sentence for each fault in the metadata. */
  readonly faults: readonly string[];
  /** The content of every file; throws if faults prevent the generation. */
  files(): readonly GeneratedFile[];
}

/** Reads the rules from their folders, not from the list, which is one of the files. */
export async function generated(): Promise<Generated> {
  const { found, faults } = await findRules(root);
  const readable = await findReadable(root, found);
  const fixtures = join(root, "test/rules");
  const rules = found.map(({ rule }) => rule);
  const observability = await observabilityPage();
  const output = outputShapes(root);
  return {
    faults: [
      ...faults,
      ...ruleFaults(found, fixtures),
      ...readableFaults(readable),
      ...readerFaults(),
      ...output.faults,
    ],
    files: () => [
      { path: "src/rules/index.ts", content: ruleList(found) },
      ...rulePages(rules.filter(isBuiltIn), fixtures),
      { path: "docs/observability.md", content: observability },
      ...monitoringFiles(),
      { path: "docs/catalogue.md", content: cataloguePage(readable, found, findObjectFunctions(root)) },
      { path: "policies/project.schema.json", content: `${JSON.stringify(projectSchema(), null, 2)}\n` },
      { path: "policies/test.schema.json", content: `${JSON.stringify(policyTestSchema(rules), null, 2)}\n` },
      { path: "policies/custom-rule-functions.md", content: functionReference() },
      ...chartFiles(rules),
      ...kustomizeFiles(rules),
      ...documentDefinitions(rules).map((object) => ({
        path: `deploy/crds/${object.metadata.name.split(".")[0]}.yaml`,
        content: `# ${generatedNote}\n${yamlOf([object])}`,
      })),
      { path: "docs/fields.md", content: fieldsPage(rules) },
      { path: "docs/formats.md", content: formatsPage(output.found) },
      { path: "docs/ladder.md", content: ladderPage() },
      { path: "docs/options.md", content: optionsPage() },
      { path: "docs/permissions.md", content: permissionsPage(rules) },
      { path: "policies/policy.schema.json", content: `${JSON.stringify(policySchema(rules), null, 2)}\n` },
    ],
  };
}
