import { fileURLToPath } from "node:url";
import { policySchema } from "../policy/schema.ts";
import { rules } from "../rules/index.ts";
import { type GeneratedFile, rulePages } from "./rule-pages.ts";

export const root = fileURLToPath(new URL("../../", import.meta.url));

/** Every file that `npm run generate` writes, as it should be. */
export const generatedFiles = (): readonly GeneratedFile[] => [
  ...rulePages(rules, `${root}/test/rules`),
  { path: "policies/policy.schema.json", content: `${JSON.stringify(policySchema(rules), null, 2)}\n` },
];

export type { GeneratedFile };
