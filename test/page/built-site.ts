import assert from "node:assert/strict";
import { existsSync, globSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { extname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import type { AxeResults } from "axe-core";
import type { Page } from "playwright-core";
import { type Browser, skip, startBrowser } from "./browser.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

// The site as a reader sees it, after `npm run build` in site/. That package is not installed with the project, so `npm test`
// leaves this out, and the workflow that builds the site runs it.

const dist = join(root, "site/.vitepress/dist");
const origin = "https://site.invalid";
/** Where screenshots are kept for whoever looks at them. */
const pictures = process.env["MESHWARD_SCREENSHOTS"];
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const types: Readonly<Record<string, string>> = {
  ".css": "text/css",
  ".html": "text/html",
  ".js": "text/javascript",
  ".json": "application/json",
  ".svg": "image/svg+xml",
  ".woff2": "font/woff2",
};

const pathOf = (file: string): string => `/${file.replace(/(^|\/)index\.html$/, "$1").replace(/\.html$/, "")}`;
const paths = globSync("**/*.html", { cwd: dist }).map(pathOf).sort();
/** One of each kind, with both widths, in light and in dark. */
const kinds = [
  ...[
    "/",
    "/docs/",
    "/docs/install",
    "/docs/concepts",
    "/docs/commands",
    "/docs/fields",
    "/docs/catalogue",
    "/docs/observability",
  ],
  ...[
    "/docs/guides/rollout",
    "/docs/guides/connections",
    "/docs/alerts",
    "/docs/ladder",
    "/docs/decisions",
    "/policies/",
  ],
  ...[
    "/policies/rules/",
    "/policies/rules/virtual-service-subset-not-found",
    "/policies/custom-rules",
    "/404",
    "/src/",
  ],
  ...["/policies/custom-rule-functions", "/policies/rules/namespace-mtls-weakened", "/CHANGELOG", "/CONTRIBUTING"],
];

interface Seen {
  readonly title: string;
  readonly headings: number;
  readonly ids: readonly string[];
  readonly links: readonly string[];
  /** How much the page is wider than the window, in pixels. */
  readonly overflow: number;
}
const look = `({
  title: document.title,
  headings: document.querySelectorAll("h1").length,
  ids: [...document.querySelectorAll("[id]")].map(({ id }) => id),
  links: [...document.querySelectorAll("a[href]")].map(({ href }) => href).filter((href) => href.startsWith("${origin}")),
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
})`;

function* faultsOf(path: string, { title, headings, overflow }: Seen): Iterable<string> {
  if (!/^.+ \| Meshward$|^Meshward$/.test(title)) yield `${path}: the title is ${JSON.stringify(title)}`;
  if (headings !== 1 && path !== "/404") yield `${path}: ${headings} headings of the first level`;
  if (overflow > 0) yield `${path}: wider than a phone by ${overflow} pixels`;
}

function* brokenLinks(path: string, { links }: Seen, all: ReadonlyMap<string, Seen>): Iterable<string> {
  for (const { pathname, hash } of links.map((link) => new URL(link))) {
    const target = all.get(pathname);
    if (target === undefined) yield `${path}: a link to ${pathname}, which is no page`;
    else if (hash !== "" && !target.ids.includes(decodeURIComponent(hash.slice(1))))
      yield `${path}: a link to ${pathname}${hash}, which is no heading`;
  }
}

describe("the built site", { skip }, () => {
  let browser: Browser;
  const problems: string[] = [];
  before(async () => {
    assert.ok(existsSync(dist), "there is no built site; run `npm ci --ignore-scripts && npm run build` in site/");
    browser = await startBrowser();
    await browser.context.route("**/*", async (route) => {
      const url = new URL(route.request().url());
      if (url.origin !== origin) {
        problems.push(`request for ${url.href}`);
        await route.abort();
        return;
      }
      const path = join(dist, decodeURIComponent(url.pathname));
      const file = [path, `${path}.html`, join(path, "index.html")].find(
        (name) => extname(name) !== "" && existsSync(name),
      );
      const status = file === undefined ? 404 : 200;
      const name = file ?? join(dist, "404.html");
      await route.fulfill({ status, path: name, contentType: types[extname(name)] ?? "application/octet-stream" });
    });
  });
  after(() => browser?.close());

  async function open(path: string, colorScheme: "light" | "dark", width: number): Promise<Page> {
    const page = await browser.context.newPage();
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await page.setViewportSize({ width, height: 900 });
    page.on("pageerror", (error) => problems.push(`${path}: ${String(error)}`));
    page.on("console", (message) => {
      // The page for what is not there is answered with this status.
      if (message.type() === "error" && !message.text().includes("404")) problems.push(`${path}: ${message.text()}`);
    });
    await page.goto(`${origin}${path}`, { waitUntil: "load" });
    await page.waitForFunction(`document.querySelector("#app")?.__vue_app__ !== undefined`);
    return page;
  }

  for (const colorScheme of ["light", "dark"] as const)
    for (const width of [390, 1440])
      test(`has no accessibility problem and fits, ${colorScheme}, ${width} pixels`, async () => {
        const found: string[] = [];
        for (const path of kinds) {
          const page = await open(path, colorScheme, width);
          const { overflow } = await page.evaluate<Seen>(look);
          if (overflow > 0) found.push(`${path}: wider than the window by ${overflow} pixels`);
          const { violations } = await page.evaluate<AxeResults>(
            `(() => { ${axe}; return axe.run(document, { resultTypes: ["violations"] }); })()`,
          );
          for (const { id, help, nodes } of violations) found.push(`${path}: ${id}: ${help}: ${nodes[0]?.html}`);
          if (pictures !== undefined) {
            const name = `${path.slice(1).replaceAll("/", "-")}-${colorScheme}-${width}.png`;
            await page.screenshot({ path: join(pictures, name), fullPage: false });
          }
          await page.close();
        }
        assert.deepEqual(found, []);
      });

  test("every page has a title and one heading, fits a phone, and its links lead to headings that there are", async () => {
    assert.ok(paths.length > 150);
    const seen = new Map<string, Seen>();
    for (const path of paths) {
      const page = await open(path, "light", 390);
      seen.set(path, await page.evaluate<Seen>(look));
      await page.close();
    }
    const found = [...seen].flatMap(([path, page]) => [...faultsOf(path, page), ...brokenLinks(path, page, seen)]);
    assert.deepEqual([...new Set(found)], []);
  });

  test("the search finds a rule by its id, and says when it finds nothing", async () => {
    const page = await open("/docs/install", "light", 1440);
    await page.keyboard.press("Control+k");
    await page.locator("input.search-input").fill("weights-not-100");
    await page.locator(".results a", { hasText: "virtual-service-weights-not-100" }).first().waitFor();
    if (pictures !== undefined) await page.screenshot({ path: join(pictures, "search.png") });
    await page.locator("input.search-input").fill("qqqqzzzz");
    await page.getByText("No results for").waitFor();
    await page.close();
  });

  test("nothing is requested from elsewhere, and no page has an error", () => {
    assert.deepEqual([...new Set(problems)], []);
  });
});
