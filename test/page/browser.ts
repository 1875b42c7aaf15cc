import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BrowserContext, chromium } from "playwright-core";

const executablePath = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
const isContinuousIntegration = !["", "0", "false", undefined].includes(process.env["CI"]);

/** Why there is no browser, or false. Where CI is set, this is an error instead. */
export const skip: string | false = (() => {
  if (existsSync(executablePath)) return false;
  const missing = `NOT TESTED: there is no Chromium at ${executablePath}; install it (apt-get install chromium), or set CHROMIUM`;
  if (isContinuousIntegration) throw new Error(missing);
  return missing;
})();

const args = [
  ...["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"],
  ...["--disable-component-update", "--disable-sync"],
];

export interface Browser {
  readonly context: BrowserContext;
  close(): Promise<void>;
}

/** A browser without a network: a request of the page is an error. */
export async function startBrowser(): Promise<Browser> {
  const folder = mkdtempSync(join(tmpdir(), "meshward-browser-"));
  const context = await chromium.launchPersistentContext(folder, {
    executablePath,
    headless: true,
    args,
    offline: true,
  });
  return {
    context,
    async close() {
      await context.close();
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
