import assert from "node:assert/strict";
import { existsSync, globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parse } from "yaml";

// The site is built by a package of its own, in CI; these are the conditions under which it can be.

const root = join(import.meta.dirname, "..");
const read = (path: string): string => readFileSync(join(root, path), "utf8");
const pages = globSync(["*.md", "{docs,policies,certs,deploy}/**/*.md", "src/README.md"], { cwd: root });

test("no page has tags outside of code, which the site would take for components", () => {
  assert.ok(pages.length > 100);
  const tagged = pages.flatMap((page) => {
    const prose = read(page)
      .replaceAll(/^ *```[\s\S]*?^ *```/gm, "")
      .replaceAll(/`[^`\n]*`/g, "")
      .replaceAll(/<!--[\s\S]*?-->/g, "")
      .replaceAll(/<https?:[^>\s]*>/g, "")
      .replaceAll(/<br>/g, "");
    return [...prose.matchAll(/<\/?[a-zA-Z][^>\n]*>/g)].map(([tag]) => `${page}: ${tag}`);
  });
  assert.deepEqual(tagged, []);
});

test("its generator has one exact version, installed from whichever registry is configured", () => {
  const { devDependencies } = JSON.parse(read("site/package.json")) as { devDependencies: Record<string, string> };
  for (const version of Object.values(devDependencies)) assert.match(version, /^\d+\.\d+\.\d+$/);
  const lock = JSON.parse(read("site/package-lock.json")) as { packages: { "": { devDependencies: object } } };
  assert.deepEqual(lock.packages[""].devDependencies, devDependencies);
  assert.doesNotMatch(read("site/package-lock.json"), /"resolved"/);
});

test("what a project shows to those who come is there, and leads somewhere", () => {
  const forms = globSync(".github/ISSUE_TEMPLATE/*.yml", { cwd: root });
  assert.ok(forms.length >= 4);
  for (const form of forms) {
    const { name, body, contact_links } = parse(read(form)) as Record<string, unknown>;
    if (contact_links === undefined) {
      assert.equal(typeof name, "string", form);
      assert.ok(Array.isArray(body) && body.length > 0, form);
    }
  }
  const owned = [...read(".github/CODEOWNERS").matchAll(/^\/(\S+) /gm)].map(([, path = ""]) => path);
  assert.deepEqual(
    owned.filter((path) => !existsSync(join(root, path))),
    [],
  );
});
