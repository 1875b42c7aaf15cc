import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { startBrowser } from "./browser.ts";

// npm run pictures: the pictures of the documents, taken of the page of an audit of the tour. It needs Chromium.

const root = fileURLToPath(new URL("../../", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "meshward-pictures-"));
const page = join(folder, "audit.html");
const browser = await startBrowser();
try {
  const argv = ["audit", "--mesh", "policies/tour", "--policies", "policies/tour/policy.yaml", "--fail-on", "never"];
  execFileSync(process.execPath, ["src/main.ts", ...argv, "--output", `html=${page}`], { cwd: root });
  const shown = await browser.context.newPage();
  await shown.setViewportSize({ width: 1000, height: 640 });
  for (const [picture, hash] of [
    ["audit-findings", "#view=findings&modes=deny"],
    ["audit-mesh", "#view=mesh"],
  ] as const) {
    await shown.goto(`${pathToFileURL(page).href}${hash}`);
    await shown.reload();
    await shown.locator("main h2").first().waitFor();
    if (picture === "audit-findings") await shown.locator("main details summary").first().click();
    const path = join(root, `docs/images/${picture}.png`);
    await shown.screenshot({ path });
    process.stdout.write(`wrote ${path}\n`);
  }
} finally {
  await browser.close();
  rmSync(folder, { recursive: true });
}
