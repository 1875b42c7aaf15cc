import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import { run } from "../../src/cli/program.ts";
import { Readable } from "node:stream";
import { kustomizeOptions } from "../../src/generate/kustomize.ts";

// What the pages on installing say is there.

const root = fileURLToPath(new URL("../../", import.meta.url));
const names = ["install", "upgrade", "high-availability", "platforms", "versions", "troubleshooting", "uninstall"];
const pages = names.map((name) => [name, readFileSync(join(root, `docs/${name}.md`), "utf8")] as const);
const page = (name: string): string => pages.find(([one]) => one === name)?.[1] ?? "";
const values = parse(readFileSync(join(root, "deploy/chart/meshward/values.yaml"), "utf8")) as Record<string, unknown>;

const at = (path: string): unknown =>
  path.split(".").reduce<unknown>((value, key) => (value as Record<string, unknown> | undefined)?.[key], values);

describe("the pages on installing", () => {
  test("name values that the chart has", () => {
    let count = 0;
    for (const [name, text] of pages)
      for (const [, path = ""] of text.matchAll(/`([a-z][A-Za-z]*(?:\.[a-z][A-Za-z]*)+)(?:: [^`]*)?`/g)) {
        if (!((path.split(".")[0] ?? "") in values)) continue;
        assert.notEqual(at(path), undefined, `${name}.md: ${path}`);
        count++;
      }
    assert.ok(count > 10, String(count));
  });

  test("list every overlay, and none that does not exist", () => {
    const listed = [...page("install").matchAll(/^\| `overlays\/([\w-]+)` \|/gm)].map(([, name = ""]) => name);
    const written = globSync("overlays/*", { cwd: join(root, "deploy/kustomize") }).map((path) => path.slice(9));
    assert.deepEqual(new Set(listed), new Set(written));
    assert.deepEqual(new Set(listed), new Set(Object.keys(kustomizeOptions)));
  });

  test("use commands and options that exist", async () => {
    const help = async (...argv: readonly string[]): Promise<string> => {
      let out = "";
      await run([...argv, "--help"], {
        input: Readable.from([]),
        out: (text) => (out += text),
        error: () => undefined,
        colour: false,
        env: {},
        stop: new AbortController().signal,
      });
      return out;
    };
    let count = 0;
    for (const [name, text] of pages)
      for (const [line, command = ""] of text.matchAll(/^meshward ([a-z]+).*$/gm)) {
        const said = await help(command);
        assert.match(said, new RegExp(`^Usage: meshward ${command} `), `${name}.md: ${line}`);
        const own = line.split(/[|#]/)[0] ?? "";
        for (const [option] of own.matchAll(/--[a-z][a-z-]+/g))
          assert.ok(said.includes(option), `${name}.md: ${line}: ${option}`);
        count++;
      }
    assert.ok(count > 5, String(count));
  });

  test("explain every warning and error of the log, in its own words", () => {
    const sources = globSync("src/**/*.ts", { cwd: root })
      .filter((path) => !path.startsWith("src/generate/"))
      .map((path) => readFileSync(join(root, path), "utf8"));
    const logged = sources.flatMap((text) =>
      [...text.matchAll(/\blog\.(?:warn|error)\(([\s\S]*?)\);/g)].flatMap(([, call = ""]) => {
        // Of a template, what stands before its first value.
        const [, message] = /["`]([^"`]+ [^"`]+)["`],?\s*$/.exec(call) ?? [];
        return message === undefined ? [] : [message.replace(/\$\{[\s\S]*/, "")];
      }),
    );
    assert.ok(logged.length > 15, String(logged.length));
    const section = /^## A warning in the log\n([\s\S]*?)^## /m.exec(page("troubleshooting"))?.[1] ?? "";
    const rows = [...section.matchAll(/^\| (`[^|]+) \|/gm)].slice(1);
    const explained = rows.flatMap(([, cell = ""]) =>
      [...cell.matchAll(/`([^`]+ [^`]+)`/g)].map(([, text = ""]) => text),
    );
    for (const message of logged)
      assert.ok(
        explained.some((one) => one.startsWith(message)),
        `not explained: ${message}`,
      );
    const all = sources.join("\n");
    for (const message of explained) {
      const isLogged = all.includes(message) || logged.some((one) => one.includes(" ") && message.startsWith(one));
      assert.ok(isLogged, `nobody logs: ${message}`);
    }
  });

  test("say what was measured with a part of the bench that exists", () => {
    const [, part = ""] = /npm run bench -- (\w+)/.exec(page("high-availability")) ?? [];
    assert.match(readFileSync(join(root, "test/bench/bench.ts"), "utf8"), new RegExp(`part\\("${part}"`));
  });

  test("name the versions that the tests run against", () => {
    const modules = readFileSync(join(root, "test/e2e/controlplane/go.mod"), "utf8");
    const helm = readFileSync(join(root, "test/e2e/helm/go.mod"), "utf8");
    const sources = readFileSync(join(root, "test/e2e/binaries.ts"), "utf8");
    const wanted = [
      /k8s\.io\/kubernetes v([\d.]+)/.exec(modules)?.[1],
      /helm\.sh\/helm\/v3 v([\d.]+)/.exec(helm)?.[1],
      /helm\.sh\/helm\/v4 v([\d.]+)/.exec(helm)?.[1],
      /"istio\.io\/api",\s+version: "v([\d.]+)"/.exec(sources)?.[1],
      /"sigs\.k8s\.io\/gateway-api",\s+version: "v([\d.]+)"/.exec(sources)?.[1],
    ];
    for (const version of wanted) assert.ok(version && page("versions").includes(version), String(version));
  });
});
