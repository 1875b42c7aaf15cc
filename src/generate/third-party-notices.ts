import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type PublishedModule, publishedModules } from "../schemas/published.ts";

/** The name of the file that travels beside the built one. */
export const noticesFile = "THIRD-PARTY-NOTICES.txt";

interface Package {
  readonly name: string;
  readonly version: string;
  /** As SPDX has it: `MIT`. */
  readonly license?: string;
  readonly author?: string | { readonly name: string };
}

/**
 * The notices and licence texts of the packages that the files of a bundle come from, as the packages themselves have
 * them, and of the Go modules that the built-in schemas are generated from. `files` are paths below `root`. Throws an Error that names a package whose licence cannot be told: what nobody
 * may pass on must not be in the bundle.
 */
export function thirdPartyNotices(files: readonly string[], root: string): string {
  // One version may be installed in several places.
  const filesOf = (folder: string) =>
    files.filter((file) => file.startsWith(`${folder}/`)).map((file) => join(root, file));
  const packages = packageFolders(files).map((folder) => noticeOf(join(root, folder), filesOf(folder)));
  const entries = [...new Set([...packages, ...publishedModules.map(noticeOfModule)])].sort();
  return [
    `Meshward's built file holds code and data of ${entries.length} packages. Their notices and licences:\n`,
    ...entries,
  ].join(`\n${"-".repeat(100)}\n\n`);
}

/** The folders of the packages that these files belong to, as paths below the same root. */
export const packageFolders = (files: readonly string[]): readonly string[] => [
  ...new Set(files.flatMap((file) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0] ?? [])),
];

function noticeOf(folder: string, files: readonly string[]): string {
  const described = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Package;
  const { name, version, license } = described;
  const names = readdirSync(folder).filter((file) => /^(un)?(licen[cs]e|copying|notice)/i.test(file));
  const texts = names.sort().map((file) => readFileSync(join(folder, file), "utf8").replace(/\r\n/g, "\n").trim());
  if (texts.length === 0) texts.push(standardText(described, folder, files));
  return `${name} ${version}${license === undefined ? "" : ` (${license})`}\n\n${texts.join("\n\n")}\n`;
}

function noticeOfModule({ path, version, license }: PublishedModule): string {
  if (license !== "Apache-2.0") throw new Error(`the text of the licence ${license} of ${path} is not known`);
  return `${path} ${version} (${license})\n\n${apache()}\n`;
}

/** Some packages name a licence in their package.json and leave the text out. */
function standardText({ name, version, license, author }: Package, folder: string, files: readonly string[]): string {
  const holder = typeof author === "string" ? author : author?.name;
  if (license === "MIT" && holder !== undefined) return `Copyright (c) ${holder}\n\n${mit}`;
  const headers = license === "(Apache-2.0 AND BSD-3-Clause)" ? bsdHeaders(files) : [];
  if (license === "Apache-2.0" || headers.length > 0) return [...headers, apache()].join("\n\n");
  throw new Error(
    `${name} ${version} has neither a licence text nor "MIT" and an author nor "Apache-2.0" in ${folder}/package.json`,
  );
}

/** Meshward's own licence is the same. */
const apache = (): string => readFileSync(new URL("../../LICENSE", import.meta.url), "utf8").trim();

/** The BSD licence stands at the beginning of the files that it is about. */
function bsdHeaders(files: readonly string[]): readonly string[] {
  const headers = files.flatMap((file) => /^(?:\/\/.*\n)+/.exec(readFileSync(file, "utf8"))?.[0] ?? []);
  const texts = headers.filter((header) => header.includes("Redistribution and use in source and binary forms"));
  return [...new Set(texts.map((text) => text.replaceAll(/^\/\/ ?/gm, "").trim()))];
}

/** https://spdx.org/licenses/MIT.html */
const mit = `Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation
files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy,
modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the
Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.`;
