import { Option } from "commander";
import { defaultDocsUrl } from "../config/rule-page.ts";

export const docsUrlOption = () =>
  new Option("--docs-url <url>", "base URL of the rule pages that messages link to").default(defaultDocsUrl);
