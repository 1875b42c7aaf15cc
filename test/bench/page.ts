// How fast the page of a large report opens and filters in Chromium.

import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Page } from "playwright-core";
import { skip, startBrowser } from "../page/browser.ts";
import { samplePage } from "../page/sample.ts";
import { median, shown, table } from "./measure.ts";

const rounds = 5;
const findings = 20_000;
const namespaces = 200;

export async function pageTable(): Promise<string> {
  if (skip !== false) return `### The page\n\n${skip}\n`;
  const folder = mkdtempSync(join(tmpdir(), "meshward-bench-page-"));
  const browser = await startBrowser();
  try {
    const file = join(folder, "page.html");
    writeFileSync(file, samplePage(findings, namespaces));
    const times: Record<string, number[]> = { open: [], search: [], filter: [], mesh: [] };
    for (let round = 0; round < rounds; round++) {
      const page = await browser.context.newPage();
      times["open"]?.push(await opened(page, pathToFileURL(file).href));
      times["search"]?.push(await untilPainted(page, "view=findings&q=api-12"));
      times["filter"]?.push(await untilPainted(page, "view=findings&namespace=team-000"));
      times["mesh"]?.push(await untilPainted(page, "view=mesh"));
      await page.close();
    }
    const ms = (name: string) => shown(median(times[name] ?? []));
    return table(
      `The page of ${shown(findings)} findings in ${namespaces} namespaces (${shown(statSync(file).size / 1e6)} MB), in Chromium`,
      ["what", "ms, median"],
      [
        ["open, until the summary is painted", ms("open")],
        ["search, until the result is painted", ms("search")],
        ["filter by namespace", ms("filter")],
        [`the picture of ${namespaces} namespaces`, ms("mesh")],
      ],
    );
  } finally {
    await browser.close();
    rmSync(folder, { recursive: true });
  }
}

const nextFrame = "new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)))";

/** From the navigation to the first frame with the table of namespaces, by the page's own clock. */
async function opened(page: Page, url: string): Promise<number> {
  await page.goto(url, { waitUntil: "commit" });
  await page.locator("tbody tr").first().waitFor();
  return page.evaluate<number>(`${nextFrame}.then(() => performance.now())`);
}

/** From a change of the hash to the second frame after it. */
const untilPainted = (page: Page, hash: string): Promise<number> =>
  page.evaluate<number>(`(async () => {
    const start = performance.now();
    const changed = new Promise((resolve) => addEventListener("hashchange", resolve, { once: true }));
    location.hash = ${JSON.stringify(hash)};
    await changed;
    await ${nextFrame};
    await ${nextFrame};
    return performance.now() - start;
  })()`);
