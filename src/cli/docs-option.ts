import { Option } from "commander";
import { defaultDocsUrl } from "../config/rule-page.ts";

export const docsUrlOption = () =>
  new Option("--docs-url <url>", "address below which the rules' pages are").default(defaultDocsUrl);
