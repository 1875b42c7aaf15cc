import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseAllDocuments } from "yaml";
import { publishedFile, publishedText } from "../../src/generate/published-schemas.ts";
import { findMessages, findPublished, takePublished } from "./binaries.ts";

// The file of the built-in schemas, from the pinned modules. Run as a program it downloads them and writes the file, which is
// needed once another version is pinned.

const path = fileURLToPath(new URL(`../../${publishedFile}`, import.meta.url));

/** What the file should contain. Throws an Error if the modules are not there. */
export const expectedText = (): string => {
  const modules = found().map(({ path: name, version, sum }) => ({ path: name, version, sum, license: "Apache-2.0" }));
  return publishedText(modules, publishedDocuments(), messages());
};

function found() {
  const modules = findPublished();
  if ("missing" in modules) throw new Error(modules.missing);
  return modules;
}

/** All documents in YAML of the modules. Throws an Error if the modules are not there. */
export const publishedDocuments = (): readonly unknown[] =>
  found().flatMap(({ folder }) =>
    readdirSync(folder)
      .filter((file) => file.endsWith(".yaml"))
      .sort()
      .flatMap((file) =>
        parseAllDocuments(readFileSync(join(folder, file), "utf8")).map((one) => one.toJS() as unknown),
      ),
  );

const messages = (): readonly string[] =>
  findMessages().flatMap((folder) =>
    readdirSync(folder)
      .filter((file) => file.endsWith(".proto"))
      .sort()
      .map((file) => readFileSync(join(folder, file), "utf8")),
  );

export const committedText = (): string => readFileSync(path, "utf8");

if (import.meta.main) {
  takePublished((line) => void process.stderr.write(`${line}\n`));
  writeFileSync(path, expectedText());
}
