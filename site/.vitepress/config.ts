import { readFileSync } from "node:fs";
import { posix } from "node:path";
import { fileURLToPath } from "node:url";
import { type DefaultTheme, defineConfig, type MarkdownRenderer } from "vitepress";

// The site has no pages of its own: it shows the Markdown files of the repository, in the order of docs/README.md.

const root = fileURLToPath(new URL("../../", import.meta.url));
const repository = "https://github.com/meshward/meshward";

/** Files of Markdown that are no documents. */
const left = ["{node_modules,dist,test,site,.cache,.ci,.github}/**", "src/*/**", "policies/tour/*/chapter.md"];

export default defineConfig({
  title: "Meshward",
  description: "An admission gate for Istio",
  srcDir: "..",
  srcExclude: left,
  cleanUrls: true,
  head: [["link", { rel: "icon", href: "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg'/>" }]],
  lastUpdated: false,
  rewrites: (page) => page.replace(/(^|\/)README\.md$/, "$1index.md"),
  vite: { plugins: [{ name: "vue-for-pages", enforce: "pre", resolveId: vueForPages }] },
  markdown: {
    theme: { light: "github-light-high-contrast", dark: "github-dark-high-contrast" },
    languageAlias: { promql: "sql" },
    config(markdown) {
      leadToPages(markdown);
      keepBraces(markdown);
    },
  },
  themeConfig: {
    search: { provider: "local" },
    notFound: {
      title: "There is no such page",
      quote: "It may have moved, or the address has a mistake. The search and the pages of the menu are still there.",
      linkLabel: "Go to the first page",
      linkText: "Go to the first page",
    },
    outline: [2, 3],
    nav: [
      { text: "Install", link: "/docs/install" },
      { text: "Rules", link: "/policies/rules/" },
      { text: "Commands", link: "/docs/commands" },
    ],
    sidebar: sidebarOf(readFileSync(`${root}docs/README.md`, "utf8")),
    socialLinks: [{ icon: "github", link: repository }],
  },
});

/** The tables of the index: a group for each heading, an entry for each link in a first column. */
function sidebarOf(index: string): DefaultTheme.SidebarItem[] {
  return index
    .split(/^## /m)
    .slice(1)
    .map((section) => {
      const [heading = ""] = section.split("\n");
      const links = [...section.matchAll(/^\| (\[.*?\) )/gm)].flatMap(([, column = ""]) => [
        ...column.matchAll(/\[([^\]]+)\]\(([^)#]+)\)/g),
      ]);
      const items = links.map(([, text = "", link = ""]) => ({ text, link: `/${pageOf(posix.join("docs", link))}` }));
      // Without `collapsed`: what can be collapsed is a button within a button, which a screen reader cannot tell apart.
      return { text: heading, items };
    });
}

/** `policies/rules/` for `policies/rules/README.md`, `docs/install` for `docs/install.md`. */
function pageOf(path: string): string {
  return path.replace(/(^|\/)README\.md$/, "$1").replace(/\.md$/, "");
}

/** Links lead to pages of the site, and to the repository where a file is no page of it. */
function leadToPages(markdown: MarkdownRenderer): void {
  markdown.core.ruler.push("lead-to-pages", ({ tokens, env }) => {
    const here = posix.dirname((env as { relativePath: string }).relativePath);
    for (const token of tokens.flatMap(({ children }) => children ?? [])) {
      const href = token.type === "link_open" ? (token.attrGet("href") ?? "") : "";
      const [path = "", anchor] = href.split("#");
      if (path === "" || /^[a-z]+:/.test(href)) continue;
      const target = posix.join(here, path);
      const isPage = target.endsWith(".md") && !left.some((pattern) => posix.matchesGlob(target, pattern));
      const page = isPage ? `/${pageOf(target)}` : `${repository}/blob/main/${target}`;
      token.attrSet("href", anchor === undefined ? page : `${page}#${anchor}`);
    }
  });
}

/**
 * The pages are beside this folder, where Vue is not installed. What renders them runs in this folder, so that it finds Vue
 * by its name. For the browser, VitePress itself knows where Vue is.
 */
function vueForPages(id: string, _importer: string | undefined, { ssr }: { readonly ssr?: boolean | undefined }) {
  return ssr === true && /^vue(?:\/|$)/.test(id) ? { id, external: true } : undefined;
}

/** Two braces in a text are two braces, and no expression of Vue. */
function keepBraces({ renderer, utils }: MarkdownRenderer): void {
  const text = (content: string): string => utils.escapeHtml(content).replaceAll("{{", "&#123;&#123;");
  renderer.rules.text = (tokens, i) => text(tokens[i]?.content ?? "");
  renderer.rules.code_inline = (tokens, i) => `<code>${text(tokens[i]?.content ?? "")}</code>`;
}
