import packageJson from "../../package.json" with { type: "json" };

/** Where the rules' pages are: in this project's repository, unless somebody serves them elsewhere. */
export const defaultDocsUrl = `${packageJson.homepage}/blob/main/policies/rules`;

/** The address of a rule's page below `docsUrl`, which may end in a slash. */
export const pageOf = (ruleId: string, docsUrl: string = defaultDocsUrl): string =>
  `${docsUrl.replace(/\/+$/, "")}/${ruleId}.md`;
