import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { Readable } from "node:stream";
import { after, before, test } from "node:test";
import fc from "fast-check";
import { stringify } from "yaml";
import type { Path } from "../../../src/kube/read.ts";
import { type ManifestSet, readManifests } from "../../../src/sources/manifests/manifests.ts";

let root = "";
before(async () => {
  root = await mkdtemp(join(tmpdir(), "meshward-manifests-"));
});
after(async () => {
  await rm(root, { recursive: true });
});

/** Writes a folder of its own for a test; returns its path. */
async function folder(name: string, files: Readonly<Record<string, string | Uint8Array>>): Promise<string> {
  for (const [file, content] of Object.entries(files)) {
    const path = join(root, name, file);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, content);
  }
  return join(root, name);
}

function pod(name: string): string {
  return `apiVersion: v1\nkind: Pod\nmetadata:\n  name: ${name}\n`;
}

function names(set: ManifestSet): unknown[] {
  return set.manifests.map((manifest) => (manifest.raw["metadata"] as { name: unknown }).name);
}

function errors(set: ManifestSet, from: string): string[] {
  return set.errors.map((error) => {
    assert.doesNotMatch(error.message, /[\r\n]/);
    const place = error.line === undefined ? "" : `:${error.line}:${error.column}`;
    return `${relative(from, error.file)}${place} ${error.message}`;
  });
}

function ignored(set: ManifestSet, from: string): string[] {
  return set.ignored.map((entry) => `${relative(from, entry.path)}: ${entry.reason}`).sort();
}

function readText(text: string | Uint8Array): Promise<ManifestSet> {
  return readManifests(["-"], { input: Readable.from([text]) });
}

test("a folder is read to its depths, sorted, each file once", async () => {
  const path = await folder("depth", {
    "b.yaml": pod("b"),
    "a/z.yml": pod("a-z"),
    "a/b/c.json": JSON.stringify({ apiVersion: "v1", kind: "Pod", metadata: { name: "a-b-c" } }),
    "readme.md": "kind: Pod",
    ".git/x.yaml": pod("hidden"),
    "node_modules/x/x.yaml": pod("module"),
    "c.YAML": pod("c"),
  });
  await symlink("b.yaml", join(path, "d.yaml"));
  await symlink(".", join(path, "loop"));
  await symlink("..", join(path, "a", "up"));
  const set = await readManifests([path, path, join(path, "a"), join(path, "b.yaml")]);
  assert.deepEqual(names(set), ["a-b-c", "a-z", "b", "c"]);
  assert.deepEqual(set.errors, []);
  assert.deepEqual(set.ignored, []);
  assert.deepEqual(
    set.manifests.map((manifest) => relative(path, manifest.file)),
    [join("a", "b", "c.json"), join("a", "z.yml"), "b.yaml", "c.YAML"],
  );
});

test("a link to a folder above is not followed, and a FIFO is not read", async () => {
  const path = await folder("above", { "inner/a.yaml": pod("a"), "outside.yaml": pod("outside") });
  const inner = join(path, "inner");
  await symlink(path, join(inner, "up"));
  await symlink("/", join(inner, "root"));
  await symlink(".", join(inner, "here"));
  assert.equal(spawnSync("mkfifo", [join(inner, "pipe.yaml")]).status, 0);
  const set = await readManifests([inner]);
  assert.deepEqual(names(set), ["a"]);
  assert.deepEqual(set.errors, []);
  assert.deepEqual(ignored(set, inner), [
    "root: a link to a folder that contains it",
    "up: a link to a folder that contains it",
  ]);
});

test("what a folder holds beside manifests is left out with a reason", async () => {
  const path = await folder("beside", {
    "values.yaml": "replicas: 2\n",
    "list.yaml": "- a\n- b\n",
    "package.json": '{"name": "x"}',
    "empty.yaml": "",
    "comments.yaml": "# nothing\n---\n",
    "conformance.yaml": "apiVersion: gateway.networking.k8s.io/v1\nkind: ConformanceReport\ndate: today\n",
    "report.yaml": "apiVersion: gateway.networking.k8s.io/v1\ndate: today\nprofiles: []\n",
    "pod.yaml": pod("a"),
    "chart/Chart.yaml": "name: x\napiVersion: v2\n",
    "chart/values.yaml": "a: 1\n",
    "chart/templates/pod.yaml": "{{ if .x }}\nkind: Pod",
  });
  const set = await readManifests([path]);
  assert.deepEqual(names(set), ["a"]);
  assert.deepEqual(set.errors, []);
  assert.deepEqual(ignored(set, path), [
    "chart: Helm chart: render it with `helm template`",
    "comments.yaml: empty",
    "conformance.yaml: report of conformance tests",
    "empty.yaml: empty",
    "list.yaml: not a Kubernetes manifest",
    "package.json: not a Kubernetes manifest",
    "report.yaml: not a Kubernetes manifest",
    "values.yaml: not a Kubernetes manifest",
  ]);
});

test("the templates of a chart, given alone, are the chart", async () => {
  const path = await folder("templates", {
    "chart/Chart.yaml": "name: x\napiVersion: v2\n",
    "chart/templates/a.yaml": "{{ if .x }}\nkind: Pod",
    "chart/templates/more/b.yaml": "{{ if .x }}\nkind: Pod",
    "copied/templates/_helpers.tpl": "{{ define }}",
    "copied/templates/a.yaml": "{{ if .x }}\nkind: Pod",
    "other/templates/pod.yaml": pod("a"),
  });
  for (const given of ["chart/templates", "chart/templates/more"]) {
    const set = await readManifests([join(path, given)]);
    assert.deepEqual(
      [...errors(set, path), ...ignored(set, path)],
      ["chart: Helm chart: render it with `helm template`"],
    );
    assert.deepEqual(
      set.empty.map(({ message }) => message.replaceAll(`${path}/`, "")),
      ["it contains no object to check; left out: chart (Helm chart: render it with `helm template`)"],
    );
  }
  const set = await readManifests([join(path, "chart/templates"), path]);
  assert.deepEqual(names(set), ["a"]);
  assert.deepEqual(set.errors, []);
  assert.deepEqual(ignored(set, path), [
    "chart: Helm chart: render it with `helm template`",
    "copied/templates: templates of a Helm chart, whose Chart.yaml is not there",
  ]);
});

test("the same files given by name are errors", async () => {
  const path = await folder("named", { "values.yaml": "a: 1\n", "empty.yaml": "# nothing\n", "list.txt": "\n- a\n" });
  const set = await readManifests(["values.yaml", "empty.yaml", "list.txt"].map((file) => join(path, file)));
  assert.deepEqual(errors(set, path), [
    'values.yaml:1:1 not a Kubernetes manifest: it has no apiVersion (its keys: a); add one such as "apiVersion: networking.istio.io/v1"',
    "empty.yaml the file is empty; give a file with manifests",
    "list.txt:2:1 not a Kubernetes object: expected a map with apiVersion and kind, found a list",
  ]);
});

test("in a file of manifests, what lacks apiVersion or kind is an error", async () => {
  const path = await folder("lacking", {
    "a.yaml": `${pod("a")}---\nkind: Pod\nmetadata: {}\n---\nspec: {}\n---\napiVersion: v1\nkind: 5\n`,
    "b.yaml": "kind: Pod\n",
    "c.yaml": "apiVersion: networking.istio.io/v1\nmetadata: {}\n",
  });
  const set = await readManifests([path]);
  assert.deepEqual(names(set), ["a"]);
  assert.deepEqual(
    errors(set, path).map((text) => text.slice(0, 60)),
    [
      "a.yaml:6:1 not a Kubernetes manifest: it has no apiVersion (",
      "a.yaml:9:1 not a Kubernetes manifest: it has no apiVersion (",
      "a.yaml:12:1 not a Kubernetes manifest: kind is 5, not a name",
      "b.yaml:1:1 not a Kubernetes manifest: it has no apiVersion (",
      "c.yaml:1:1 not a Kubernetes manifest: it has no kind (its ke",
    ],
  );
});

test("a document with a kind and no apiVersion is an object only if it is of a known kind and has what objects have", async () => {
  const path = await folder("kinds", {
    "a-values.yaml": "image: a\nkind: Deployment\n",
    "b-package.yaml": "kind: ZarfPackageConfig\nmetadata: { name: istio }\nurl: https://istio.io/\n",
    "c-route.yaml": "kind: VirtualService\nspec: {}\n",
    "d-list.yaml": "kind: List\nitems: []\n",
  });
  const set = await readManifests([path]);
  assert.deepEqual(
    errors(set, path).map((text) => text.slice(0, 62)),
    [
      "c-route.yaml:1:1 not a Kubernetes manifest: it has no apiVersi",
      "d-list.yaml:1:1 not a Kubernetes manifest: it has no apiVersio",
    ],
  );
  assert.deepEqual(ignored(set, path), [
    "a-values.yaml: not a Kubernetes manifest",
    "b-package.yaml: not a Kubernetes manifest",
  ]);
});

test("kustomizations and their patches are left out, unless named", async () => {
  const path = await folder("kustomize", {
    "base/kustomization.yaml": "resources: [pod.yaml]\n",
    "base/pod.yaml": pod("base"),
    "over/kustomization.yml":
      "patches:\n- path: ../patches/a.yaml\n- patch: |\n    kind: Pod\npatchesStrategicMerge:\n- b.yaml\n- missing.yaml\n- |-\n  kind: Pod\n  x: y\npatchesJson6902:\n- path: c.yaml\n",
    "over/b.yaml": pod("patch-b"),
    "over/c.yaml": "- op: remove\n  path: /spec\n",
    "patches/a.yaml": pod("patch-a"),
    "odd/Kustomization": "patches: 5\n",
    "odd/pod.yaml": pod("odd"),
  });
  const set = await readManifests([path]);
  assert.deepEqual(names(set), ["base", "odd"]);
  assert.deepEqual(set.errors, []);
  const rendered = "kustomization: render it with `kubectl kustomize`";
  assert.deepEqual(ignored(set, path), [
    `${join("base", "kustomization.yaml")}: ${rendered}`,
    `${join("odd", "Kustomization")}: ${rendered}`,
    `${join("over", "b.yaml")}: kustomize patch`,
    `${join("over", "c.yaml")}: kustomize patch`,
    `${join("over", "kustomization.yml")}: ${rendered}`,
    `${join("patches", "a.yaml")}: kustomize patch`,
  ]);
  assert.deepEqual(names(await readManifests([path, join(path, "over/b.yaml")])), ["base", "odd", "patch-b"]);
  await writeFile(join(path, "odd/Kustomization"), "patches: [\n");
  assert.match(errors(await readManifests([path]), path)[0] ?? "", /^odd.Kustomization:\d+:\d+ not valid YAML/);
});

test(".meshwardignore leaves out files and folders, unless named", async () => {
  const path = await folder("ignoring", {
    ".meshwardignore": "# generated\n*.gen.yaml\nold/\n!keep.gen.yaml\n/a.yaml\nbroken.yaml\n",
    "a.yaml": pod("a"),
    "x.gen.yaml": pod("x"),
    "keep.gen.yaml": pod("keep"),
    "old/y.yaml": pod("y"),
    "in/a.yaml": pod("in-a"),
    "in/z.gen.yaml": pod("z"),
    "in/.meshwardignore": "!z.gen.yaml\n",
    "broken.yaml": "{{ x",
  });
  const set = await readManifests([path]);
  assert.deepEqual(names(set), ["in-a", "z", "keep"]);
  assert.deepEqual(set.errors, []);
  assert.deepEqual(
    ignored(set, path),
    ["a.yaml", "broken.yaml", "old", "x.gen.yaml"].map((file) => `${file}: named in .meshwardignore`),
  );
  const named = await readManifests([path, join(path, "a.yaml")]);
  assert.deepEqual(names(named), ["in-a", "z", "keep", "a"]);
  assert.equal(named.ignored.length, 3);
});

test("a folder below the working directory obeys the ignore files above it", async (context) => {
  const path = await folder("above", {
    ".meshwardignore": "/team/b.yaml\n",
    "team/a.yaml": pod("a"),
    "team/b.yaml": pod("b"),
  });
  const before = process.cwd();
  context.after(() => process.chdir(before));
  process.chdir(path);
  const set = await readManifests(["team"]);
  assert.deepEqual(names(set), ["a"]);
  assert.deepEqual(
    set.manifests.map((manifest) => manifest.file),
    [join("team", "a.yaml")],
  );
});

test("a file that cannot be read is named, and the rest is read", async () => {
  const path = await folder("unreadable", {
    "a.yaml": pod("a"),
    "binary.yaml": new Uint8Array([0x61, 0, 0x62]),
    "latin1.yaml": new Uint8Array([0x61, 0x3a, 0x20, 0xe9, 0x0a]),
    "utf16.yaml": new Uint8Array([0xff, 0xfe, 0x61, 0]),
    "lfs.yaml": "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n",
    "conflict.yaml": `${pod("mine")}<<<<<<< HEAD\nspec: {}\n=======\nspec: { a: 1 }\n>>>>>>> other\n`,
    "no-conflict.yaml": `${pod("text")}  note: |\n    <<<<<<< HEAD\n    =======\n    >>>>>>> other\n`,
    "tabs.yaml": "kind: Pod\nspec:\n\ta: 1\n",
    "broken.yaml": `${pod("before")}---\na: "open\n---\n${pod("after")}`,
  });
  await symlink("nowhere.yaml", join(path, "link.yaml"));
  await symlink("nowhere", join(path, "link"));
  await symlink("self.yaml", join(path, "self.yaml"));
  const empty = join(root, "nothing-in-it");
  await mkdir(empty);
  const set = await readManifests([path, join(path, "missing.yaml"), empty, join(path, "a.yaml", "b.yaml"), "\0"]);
  assert.deepEqual(names(set), ["a", "before", "after", "text"]);
  const found = errors(set, path);
  for (const expected of [
    /^binary\.yaml not a text file: byte 2 is 0/,
    /^latin1\.yaml .*not written in UTF-8/,
    /^utf16\.yaml written in UTF-16/,
    /^lfs\.yaml a pointer of Git LFS, whose file was not fetched: git lfs pull/,
    /^conflict\.yaml it has a conflict of git that is not resolved, in line \d+: resolve it/,
    /^tabs\.yaml:3:1 .*[Tt]abs/,
    /^broken\.yaml:\d+:\d+ not valid YAML/,
    /^link\.yaml there is no such file or folder as nowhere\.yaml, to which this symbolic link leads/,
    /^self\.yaml its symbolic links lead in a circle/,
    /^missing\.yaml there is no such file or folder/,
    /nothing-in-it this folder contains no \.yaml, \.yml or \.json file/,
    /b\.yaml there is no such file or folder/,
    /cannot be read \(ERR_INVALID_ARG_VALUE\)/,
  ]) {
    assert.ok(
      found.some((text) => expected.test(text)),
      `${expected} is not in:\n${found.join("\n")}`,
    );
  }
  assert.equal(found.length, 13);
});

test("a file without read permission is an error", {
  skip: process.getuid?.() === 0 && "root reads everything",
}, async () => {
  const path = await folder("forbidden", { "a.yaml": pod("a"), "b.yaml": pod("b") });
  await chmod(join(path, "a.yaml"), 0);
  const set = await readManifests([path]);
  assert.deepEqual(names(set), ["b"]);
  assert.deepEqual(errors(set, path), ["a.yaml permission denied: allow this user to read it"]);
});

test("standard input is read once, as <stdin>", async () => {
  const set = await readManifests(["-", "-"], { input: Readable.from([pod("a"), "---\n", Buffer.from(pod("é"))]) });
  assert.deepEqual(names(set), ["a", "é"]);
  assert.deepEqual(
    set.manifests.map((manifest) => [manifest.file, manifest.locate(["metadata", "name"]).line]),
    [
      ["<stdin>", 4],
      ["<stdin>", 9],
    ],
  );
  assert.match((await readManifests(["-"])).errors[0]?.message ?? "", /^standard input is not available/);
  const failing = new Readable({ read: () => failing.destroy(new Error("gone")) });
  assert.match((await readManifests(["-"], { input: failing })).errors[0]?.message ?? "", /^cannot be read \(gone\)/);
});

test("more than 64 MiB are refused before they are held", async () => {
  const endless = Readable.from(
    (function* () {
      for (;;) yield Buffer.alloc(1024 * 1024, "#");
    })(),
  );
  const set = await readManifests(["-"], { input: endless });
  assert.deepEqual(set.errors, [{ file: "<stdin>", message: "larger than 64 MiB, the limit for one file: split it" }]);
});

test("lists stand for their items, nested ones too", async () => {
  const text = [
    "\uFEFFapiVersion: v1", // 1
    "kind: List",
    "items:",
    "- apiVersion: v1", // 4
    "  kind: Pod",
    "  metadata: {name: a}",
    "- apiVersion: v1", // 7
    "  kind: PodList",
    "  items:",
    "  - metadata:", // 10
    "      name: b",
    "  - 5", // 12
    "- kind: Pod",
    "---", // 14
    "apiVersion: x/v1",
    "kind: AllowList",
    "metadata: {name: c}",
    "---",
    "apiVersion: v1",
    "kind: List",
    "items: null",
    "---",
    "apiVersion: v1",
    "kind: List",
    "items: {}", // 25
  ].join("\n");
  const set = await readText(text);
  assert.deepEqual(names(set), ["a", "b", "c"]);
  const [a, b, c] = set.manifests;
  assert.ok(a && b && c);
  assert.deepEqual([a.at, b.at, c.at], [["items", 0], ["items", 1, "items", 0], []]);
  assert.deepEqual(b.raw, { apiVersion: "v1", kind: "Pod", metadata: { name: "b" } });
  assert.deepEqual(a.locate([]), { line: 4, column: 3 });
  assert.equal(b.locate(["metadata", "name"]).line, 11);
  assert.equal(b.locate(["kind"]).line, 10);
  assert.equal(c.locate(["spec"]).line, 15);
  assert.deepEqual(
    set.errors.map((error) => error.line),
    [12, 13, 25],
  );
});

test("objects keep their values and every path its line, in YAML and in JSON", async () => {
  const key = fc.oneof(
    fc.string({ minLength: 1, maxLength: 20 }),
    fc.constantFrom("__proto__", "yes", "<<", "0777", "constructor"),
  );
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(
      { maxDepth: 4 },
      fc.oneof(
        fc.string(),
        fc.integer(),
        fc.boolean(),
        fc.constant(null),
        fc.double({ noNaN: true, noDefaultInfinity: true }),
      ),
      fc.array(tie("tree"), { maxLength: 4 }),
      fc.dictionary(key, tie("tree"), { maxKeys: 4, noNullPrototype: true }),
    ),
  }));
  const property = fc.asyncProperty(tree, fc.boolean(), fc.boolean(), async (spec, asYaml, crlf) => {
    const object = JSON.parse(JSON.stringify({ apiVersion: "v1", kind: "Pod", spec })) as Record<string, unknown>;
    const written = asYaml
      ? stringify(object, { defaultStringType: "QUOTE_DOUBLE", lineWidth: 0, aliasDuplicateObjects: false })
      : JSON.stringify(object, null, 2);
    const text = crlf ? written.replaceAll("\n", "\r\n") : written;
    const set = await readText(text);
    assert.deepEqual(set.errors, []);
    const [manifest] = set.manifests;
    assert.ok(manifest);
    assert.deepEqual(manifest.raw, object);
    const lines = text.split(/\r?\n/);
    for (const path of pathsOf(object)) {
      const { line, column } = manifest.locate(path);
      const rest = lines[line - 1]?.slice(column - 1) ?? "";
      const last = path.at(-1);
      if (typeof last === "string")
        assert.ok(rest.startsWith(JSON.stringify(last)), `${JSON.stringify(path)} in ${rest}`);
      else assert.ok(rest !== "", JSON.stringify(path));
      assert.deepEqual(manifest.locate([...path, "not there"]), { line, column });
    }
  });
  await fc.assert(property, { numRuns: 300 });
});

function* pathsOf(value: unknown, path: Path = []): Generator<Path> {
  if (path.length > 0) yield path;
  if (typeof value !== "object" || value === null) return;
  for (const key of Object.keys(value)) {
    yield* pathsOf(Reflect.get(value, key), [...path, Array.isArray(value) ? Number(key) : key]);
  }
}

test("no bytes make it throw, and every error has its file", async () => {
  const pieces = fc.constantFrom(
    ...[
      "a",
      ": ",
      "- ",
      "\n",
      "  ",
      "\t",
      "{",
      "}",
      "[",
      "]",
      ",",
      '"',
      "'",
      "&a ",
      "*a",
      "<<: ",
      "!!int ",
      "? ",
      "|\n",
      "---\n",
      "...\n",
    ],
    ...[
      "apiVersion: v1\n",
      "kind: List\n",
      "items:\n",
      "%",
      "@",
      "\r\n",
      "\u0001",
      "\u2028",
      "\ud800",
      "#",
      "\\",
      "{{ x }}",
      "~",
    ],
  );
  const property = fc.asyncProperty(fc.array(pieces, { maxLength: 40 }), async (parts) => {
    const set = await readText(parts.join(""));
    for (const error of set.errors) {
      assert.equal(error.file, "<stdin>");
      assert.doesNotMatch(error.message, /[\r\n]/);
    }
    for (const manifest of set.manifests) assert.ok(manifest.locate(["items", 0, "a"]).line >= 1);
  });
  await fc.assert(property, { numRuns: 2000 });
});
