import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { after, before, describe, test } from "node:test";
import type { AxeResults } from "axe-core";
import type { Page } from "playwright-core";
import { type Browser, skip, startBrowser } from "./browser.ts";
import { hostile, samplePage } from "./sample.ts";

const folder = mkdtempSync(join(tmpdir(), "meshward-page-"));
after(() => rmSync(folder, { recursive: true }));
/** Where screenshots are kept for whoever looks at them. */
const pictures = process.env["MESHWARD_SCREENSHOTS"];
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

describe("the page", { skip }, () => {
  let browser: Browser;
  before(async () => {
    browser = await startBrowser();
  });
  after(() => browser?.close());

  interface Opened {
    readonly page: Page;
    /** Everything that went wrong in the page. */
    readonly problems: string[];
  }
  async function open(findings: number, namespaces: number, hash = ""): Promise<Opened> {
    const file = join(folder, `${findings}-${namespaces}.html`);
    if (!existsSync(file)) writeFileSync(file, samplePage(findings, namespaces));
    const page = await browser.context.newPage();
    const problems: string[] = [];
    page.on("pageerror", (error) => problems.push(String(error)));
    page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
    page.on("request", (request) => request.url().startsWith("file:") || problems.push(`request for ${request.url()}`));
    await page.goto(`${pathToFileURL(file).href}${hash}`);
    return { page, problems };
  }
  async function isAccessible(page: Page, rules: object, what: string): Promise<void> {
    // Outside of the page's own policy, as a tool of a reader would run.
    if (!(await page.evaluate<boolean>("'axe' in globalThis"))) await page.evaluate(axe);
    const options = JSON.stringify({ resultTypes: ["violations"], ...rules });
    const results = await page.evaluate<AxeResults>(`axe.run(document, ${options})`);
    const found = results.violations.map(
      ({ id, help, nodes }) => `${id}: ${help}: ${nodes[0]?.html}: ${nodes[0]?.failureSummary}`,
    );
    assert.deepEqual(found, [], what);
  }

  /** The tool's rules about colours, which take most of its time. */
  const colours = ["color-contrast", "link-in-text-block"];
  const withoutColours = { rules: Object.fromEntries(colours.map((id) => [id, { enabled: false }])) };
  /** Which rules have something new to look at; undefined: none. All others see no difference between light and dark. */
  function rulesFor(isDark: boolean, hasNewKinds: boolean): object | undefined {
    if (isDark) return hasNewKinds ? { runOnly: colours } : undefined;
    return hasNewKinds ? {} : withoutColours;
  }
  /** The kinds of elements of a page: what a style sheet can tell apart of an element and of all that it is in. */
  const kindsOf = (page: Page) =>
    page.evaluate(() => {
      const [kinds, shown] = [new Set<string>(), new Map<Element | null, string>([[null, ""]])];
      const valued = new Set(["class", "role", "type", "style", "fill", "stroke", "aria-pressed", "aria-current"]);
      for (const element of document.querySelectorAll("*")) {
        const attributes = [...element.attributes]
          .map(({ name, value }) => (valued.has(name) ? `${name}=${value}` : name))
          .sort();
        const isDisabled = element.matches(":disabled");
        const kind = `${shown.get(element.parentElement)}>${element.localName} ${attributes.join()} ${isDisabled}`;
        kinds.add(kind);
        shown.set(element, kind);
      }
      return [...kinds];
    });

  /** Whether the boxes below a heading of the picture, row by row, never become more severe. */
  const inOrderOfSeverity = (page: Page) =>
    page.locator(".drawing").evaluate((region) => {
      const heading = [...region.querySelectorAll(".heading")].find((one) =>
        one.textContent?.includes("with findings"),
      );
      const next = [...region.querySelectorAll(".heading")].find((one) => one !== heading);
      if (heading === undefined) return false;
      const [top, bottom] = [
        Number(heading.getAttribute("y")),
        Number(next?.getAttribute("y") ?? Number.POSITIVE_INFINITY),
      ];
      const at = (box: Element, name: string) => Number(box.parentElement?.getAttribute(name));
      const order = [...region.querySelectorAll(".node")]
        .filter((box) => at(box, "y") > top && at(box, "y") < bottom)
        .sort((a, b) => at(a, "y") - at(b, "y") || at(a, "x") - at(b, "x"))
        .map((box) => ["deny", "warn", "audit"].findIndex((mode) => box.classList.contains(mode)));
      return order.length > 0 && order.every((one, i) => one >= (order[i - 1] ?? 0));
    });

  /** Pages that stay open: to load one and to give it the tool takes as long as to look at one of its views. */
  const kept = new Map<number, Opened>();
  for (const colorScheme of ["light", "dark"] as const)
    for (const width of [390, 1440])
      test(`has no accessibility problem and fits, ${colorScheme}, ${width} pixels`, async () => {
        /** Of each view. A page with more findings has the same kinds more often, and few others. */
        const seen = new Map<string, Set<string>>();
        for (const [findings, namespaces] of [
          [10, 5],
          [1_000, 200],
          [20_000, 200],
        ] as const) {
          const { page, problems } = kept.get(findings) ?? (await open(findings, namespaces));
          kept.set(findings, { page, problems });
          await page.emulateMedia({ colorScheme });
          await page.setViewportSize({ width, height: 900 });
          for (const view of ["summary", "findings", "mesh", "mesh&zoom=fit", "mesh&focus=team-001"]) {
            await page.evaluate((to) => void (location.hash = to), `view=${view}`);
            await page.waitForTimeout(50);
            if (view === "findings") await page.locator(".findings summary").first().click();
            const [known, kinds] = [seen.get(view) ?? new Set<string>(), await kindsOf(page)];
            const rules = rulesFor(colorScheme === "dark", !known.isSupersetOf(new Set(kinds)));
            seen.set(view, known.union(new Set(kinds)));
            if (rules !== undefined) await isAccessible(page, rules, `${view} with ${findings} findings`);
            const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
            assert.ok(overflow <= 0, `${view} is ${overflow} pixels too wide`);
            if (pictures !== undefined)
              await page.screenshot({
                path: join(pictures, `${view.replace(/\W/g, "-")}-${findings}-${colorScheme}-${width}.png`),
              });
          }
          assert.deepEqual(problems, []);
        }
      });

  test("is the same in light and dark but for its colours", async () => {
    const { page } = await open(10, 5);
    const dark = await page.evaluate(() => {
      const rules = [...document.styleSheets].flatMap(({ cssRules }) => [...cssRules]);
      const media = rules.filter((rule) => rule instanceof CSSMediaRule);
      return media
        .filter(({ conditionText }) => conditionText.includes("prefers-color-scheme"))
        .map(({ cssRules }) => [...cssRules].map(({ cssText }) => cssText));
    });
    const [[variables = ""] = []] = dark;
    assert.deepEqual([dark.length, dark[0]?.length], [1, 1]);
    assert.match(variables, /^:root \{(?: --[a-z-]+: #[0-9a-f]{6};)+ \}$/);
    await page.close();
  });

  test("runs nothing that names, messages and addresses contain, and loads nothing", async () => {
    const { page, problems } = await open(60, 5, "#view=findings&modes=deny,warn,audit,accepted");
    for (const summary of await page.locator(".findings summary").all()) await summary.click();
    assert.ok((await page.locator(".details").count()) > 50);
    assert.ok((await page.getByText("<script>window.attacked=2</script>").count()) > 0, "the text is shown as it is");
    assert.equal(await page.locator("a[href^=javascript]").count(), 0);
    await page.evaluate((focus) => void (location.hash = `view=mesh&focus=${encodeURIComponent(focus)}`), hostile);
    await page.getByRole("heading", { name: /^Namespace ">/ }).waitFor();
    assert.equal(await page.evaluate(() => (window as { attacked?: unknown }).attacked), undefined);
    assert.equal(await page.locator("img").count(), 0);
    assert.deepEqual(problems, []);
    const blocked = page.waitForEvent("console", (message) => /Content Security Policy/.test(message.text()));
    await page.evaluate(() => {
      const script = document.createElement("script");
      script.textContent = "window.attacked = 4";
      document.body.append(script);
    });
    await blocked;
    assert.equal(await page.evaluate(() => (window as { attacked?: unknown }).attacked), undefined);
    await page.close();
  });

  test("keeps filters, search and place in the URL, also when it is opened again", async () => {
    const { page, problems } = await open(1_000, 200);
    await page.getByRole("button", { name: "Findings", exact: true }).click();
    await page.getByLabel("Search").fill("api-12 weights");
    await page.getByLabel("warn", { exact: true }).uncheck();
    const status = await page.getByRole("status").textContent();
    assert.match(status ?? "", /^\d+ of 1,001 findings$/);
    const url = page.url();
    assert.match(url, /#view=findings&q=api-12\+weights&modes=deny%2Caudit$/);
    const shown = await page.locator(".findings li").allTextContents();
    assert.ok(shown.length > 0 && shown.every((text) => text.includes("api-12")));
    const again = await browser.context.newPage();
    await again.goto(url);
    assert.equal(await again.getByRole("status").textContent(), status);
    assert.deepEqual(await again.locator(".findings li").allTextContents(), shown);
    await again.getByRole("button", { name: "Mesh", exact: true }).click();
    await again.goBack();
    assert.equal(await again.getByLabel("Search").inputValue(), "api-12 weights");
    await again.goto(`${url.split("#")[0]}#view=nonsense&zoom=-1&modes=`);
    await again.getByRole("heading", { name: "Namespaces" }).waitFor();
    assert.deepEqual(problems, []);
    await page.close();
    await again.close();
  });

  test("shows a finding with its lines, why, fix, related objects and page", async () => {
    const { page } = await open(10, 5, "#view=findings");
    await page.locator("details", { hasText: "api-8" }).locator("summary").click();
    const details = page.locator("details", { hasText: "api-8" });
    await details.locator(".details").waitFor();
    const text = (await details.textContent()) ?? "";
    for (const part of [
      "mesh.yaml:4",
      "kind: VirtualService",
      "Why",
      "Fix",
      "First seennot known",
      "Related",
      "Service team-",
    ])
      assert.ok(text.includes(part), part);
    assert.equal(await details.locator(".line.marked").count(), 1);
    assert.equal(await details.getByRole("link").getAttribute("href"), "https://example.com");
    await page.close();
  });

  test("can be used with the keyboard: skip, choose a view, open a namespace in the picture", async () => {
    const { page } = await open(10, 5);
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement?.textContent), "Skip to content");
    await page.keyboard.press("Enter");
    assert.equal(await page.evaluate(() => document.activeElement?.id), "main");
    await page.getByRole("button", { name: "Mesh", exact: true }).focus();
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: /^team-001/ }).focus();
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Namespace team-001" }).waitFor();
    assert.match(page.url(), /focus=team-001/);
    assert.equal(await page.locator("svg text.label", { hasText: "90 %" }).count(), 1);
    await page.close();
  });

  test("shows all of the picture at once, and the worst first", async () => {
    for (const namespaces of [5, 200])
      for (const width of [390, 1440]) {
        const { page, problems } = await open(1_000, namespaces, "#view=mesh&zoom=2");
        await page.setViewportSize({ width, height: 900 });
        const [fit, region] = [page.getByRole("button", { name: "Fit" }), page.locator(".drawing")];
        await fit.click();
        assert.match(page.url(), /zoom=fit/);
        assert.equal(await fit.getAttribute("aria-pressed"), "true");
        const [hidden, boxes] = await region.evaluate((one) => [
          Math.max(one.scrollWidth - one.clientWidth, one.scrollHeight - one.clientHeight),
          one.querySelectorAll(".node").length,
        ]);
        assert.ok((hidden ?? 1) <= 0, `${namespaces} namespaces on ${width} pixels: ${hidden} pixels are out of sight`);
        assert.ok((boxes ?? 0) >= namespaces, `${boxes} boxes`);
        assert.equal(await page.getByRole("button", { name: /^team-001 / }).count(), 1, "complete for a screen reader");
        if (namespaces === 200) assert.equal(await inOrderOfSeverity(page), true);
        const scale = Number.parseInt(
          (await page.getByRole("button", { name: /back to 100 %/ }).textContent()) ?? "",
          10,
        );
        await page.getByRole("button", { name: "Larger" }).click();
        const larger = Number.parseInt(
          (await page.getByRole("button", { name: /back to 100 %/ }).textContent()) ?? "",
          10,
        );
        assert.ok(larger > scale, `${scale} %, then ${larger} %`);
        assert.deepEqual(problems, []);
        await page.close();
      }
  });

  test("can be printed", async () => {
    const { page } = await open(10, 5, "#view=findings");
    await page.emulateMedia({ media: "print" });
    assert.equal(await page.getByRole("navigation").isVisible(), false);
    assert.ok((await page.pdf()).length > 10_000);
    await page.close();
  });
});
