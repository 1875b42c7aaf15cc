import { fileURLToPath } from "node:url";
import { rules } from "../rules/index.ts";
import { type GeneratedFile, rulePages } from "./rule-pages.ts";

export const root = fileURLToPath(new URL("../../", import.meta.url));

/** Every file that `npm run generate` writes, as it should be. */
export const generatedFiles = (): readonly GeneratedFile[] => [...rulePages(rules, `${root}/test/rules`)];

export type { GeneratedFile };
