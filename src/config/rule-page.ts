import packageJson from "../../package.json" with { type: "json" };

/** The address of the project. */
export const { homepage } = packageJson;

/** The default base URL of the rule pages: this project's repository. */
export const defaultDocsUrl = `${packageJson.homepage}/blob/main/policies/rules`;

/**
 * The URL of a rule's page below `docsUrl`, which may end with a slash. A rule that a policy defines has no page of its own: its
 * URL is that of the page about such rules, beside the folder of the pages.
 */
export function pageOf(ruleId: string, docsUrl: string = defaultDocsUrl): string {
  const folder = docsUrl.replace(/\/+$/, "");
  return ruleId.includes("/") ? `${folder.replace(/\/rules$/, "")}/custom-rules.md` : `${folder}/${ruleId}.md`;
}

/** The URL of the page about policies and exceptions. */
export const policiesPage = `${packageJson.homepage}/blob/main/policies/README.md`;

/** The URL of a JSON Schema of `policies/`, for editors. */
export const schemaUrl = (file: string): string =>
  `${packageJson.homepage.replace("github.com", "raw.githubusercontent.com")}/main/policies/${file}`;
