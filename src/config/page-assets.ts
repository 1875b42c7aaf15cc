import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import type * as Esbuild from "esbuild";

/**
 * The script and the style of the report page. In a checkout they are built from `src/page/` when they are first used, with
 * esbuild, which is there for development; the built file contains them compressed (`generate/embedded-page.ts`).
 */
let built: readonly [script: string, style: string] | undefined;

export const pageScript = (): string => (built ??= build())[0];
export const pageStyle = (): string => (built ??= build())[1];

function build(): readonly [script: string, style: string] {
  const { buildSync } = createRequire(import.meta.url)("esbuild") as typeof Esbuild;
  const [script, style] = ["main.tsx", "page.css"].map((file) => {
    const path = fileURLToPath(new URL(`../page/${file}`, import.meta.url));
    const { outputFiles } = buildSync({ ...pageBuild, entryPoints: [path], write: false });
    return (outputFiles[0]?.text ?? "").trim().replaceAll(controls, escaped);
  });
  return [script ?? "", style ?? ""];
}

/** Control characters in string literals: HTML does not allow all of them, and the hash of the script would not match. */
const controls = /[^\P{Cc}\n]/gu;
const escaped = (control: string): string => `\\x${control.charCodeAt(0).toString(16).padStart(2, "0")}`;

/** How the page is built; a script element could not contain an end tag of its own. */
export const pageBuild = {
  bundle: true,
  minify: true,
  platform: "browser",
  format: "iife",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "none",
  charset: "ascii",
  logLevel: "warning",
} as const;
