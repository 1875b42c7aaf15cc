import assert from "node:assert/strict";
import { existsSync, globSync, readFileSync } from "node:fs";
import { basename, dirname, extname, join, posix } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";

const src = fileURLToPath(new URL("../src/", import.meta.url));

/** Imports point down: a folder may import those on lines below its own. */
const levels: readonly (readonly string[])[] = [
  ["main.ts"],
  ["generate"],
  ["cli"],
  ["policy-tests", "project"],
  ["vap"],
  ["demo", "doctor", "explain", "page"],
  ["deploy"],
  ["http", "report"],
  ["controllers"],
  ["admission", "sources", "tls"],
  ["rules", "custom-rules"],
  ["engine", "policy"],
  ["istiod-validation"],
  ["mesh"],
  ["schemas"],
  ["cel"],
  ["view"],
  ["kube", "config", "telemetry", "text"],
];

/** The same inside folders whose own folders stand above each other. */
const rooms = new Map<string, readonly (readonly string[])[]>([
  [
    "mesh",
    [
      ["connections"],
      ["intents"],
      ["requests"],
      ["client-tls"],
      ["mtls"],
      ["waypoints"],
      ["gateways"],
      ["authorization"],
      ["telemetry"],
      ["traffic"],
      ["membership"],
      ["objects"],
    ],
  ],
  ["sources", [["manifests", "cluster"]]],
]);

/** Where fewer folders than all below may be imported, or by fewer than all above. */
const importsOnly = new Map([
  ["main.ts", ["cli"]],
  ["rules", ["engine", "mesh", "view", "kube"]],
  ["explain", ["report", "engine", "policy", "mesh", "view", "kube", "text"]],
]);
const importedOnlyBy = new Map([
  ["rules", ["cli", "generate"]],
  ["generate", []],
  ["telemetry", ["cli", "http", "generate", "controllers", "sources", "tls"]],
  ["config", ["cli", "demo", "http", "generate", "report", "sources", "tls", "policy"]],
]);

/** Single files that import a folder on their own line. */
const sideways: readonly { from: string; to: string; because: string }[] = [
  { from: "engine/setting.ts", to: "policy", because: "joins policy, rule and object; the policies need no engine" },
];

/** Pure functions, with the packages that they may import: none of Node's modules, so no files, no sockets, no log. */
const pure = new Map<string, readonly string[]>([
  ["admission", []],
  ["rules", []],
  ["explain", []],
  ["engine", []],
  ["mesh", []],
  ["view", []],
  ["text", []],
  ["kube", ["yaml"]], // Istio's mesh config is YAML text inside a ConfigMap
]);

/**
 * What computes: explain/ words facts and imports none of it. Facts about one object or one thing (captureOf, mtlsOf,
 * authorizationOf, choices) are what it reads.
 */
const computing = [
  "attachesToGateway attachesToLabels attachmentTo isDryRun isEnforced idlenessOf reachOf servicesTargeted targetRefsOf",
  "selects selectsByExpression isServed isReadBy isDiscovered isSameAge oldestFirst isWide declared portModes",
  "covers coveringHosts overlaps mostSpecificHost visibleTo includesNamespace",
  "acceptsPlaintext atPort fitOf clientTlsOf interceptionOf isIntercepted passedBy tlsPathsInto overlay",
]
  .join(" ")
  .split(" ");

const bannedNames =
  "base common constants context core helper helpers lib manager misc processor service shared types util utils";

interface Import {
  readonly from: string;
  /** A path below src, or what the source says where that is a package or one of Node's modules. */
  readonly to: string;
  readonly outside: boolean;
}

function specifiers(source: string): string[] {
  const statements = source.matchAll(/^(?:import|export)\s(?:[^"';]*?\sfrom\s)?"([^"]+)"/gm);
  const expressions = source.matchAll(/\bimport\(\s*"([^"]+)"/g);
  return [...statements, ...expressions].map((match) => match[1] ?? "");
}

/** Names in braces, as they are exported. */
const namesImported = (source: string): readonly string[] =>
  [...source.matchAll(/^import\s+\{([^}]*)\}/gm)].flatMap(([, names = ""]) =>
    names.split(",").map((name) => name.trim().split(" as ")[0] ?? ""),
  );

const files = globSync("**/*.ts", { cwd: src }).map((path) => path.replaceAll("\\", "/"));

const imports: readonly Import[] = files.flatMap((from) =>
  specifiers(readFileSync(join(src, from), "utf8")).map((to) => {
    const path = posix.join(dirname(from), to);
    const outside = !to.startsWith(".") || path.startsWith("../");
    return { from, to: outside ? to : path, outside };
  }),
);

const folderOf = (path: string) => path.split("/", 1)[0] ?? "";
const roomOf = (path: string) => path.split("/", 2)[1] ?? "";
const levelOf = (folder: string) => levels.findIndex((level) => level.includes(folder));

/** Why one room of a folder may not import another: undefined where it may. */
function forbiddenRoom(folder: string, from: string, to: string): string | undefined {
  const floors = rooms.get(folder);
  const floorOf = (path: string) => floors?.findIndex((floor) => floor.includes(roomOf(path))) ?? 0;
  if (floors === undefined || roomOf(from) === roomOf(to)) return undefined;
  if (floorOf(from) < 0) return `${folder}/${roomOf(from)} is not among the rooms`;
  return floorOf(to) > floorOf(from) ? undefined : "rooms import those below them";
}

function forbidden({ from, to }: Import): string | undefined {
  const [importer, imported] = [folderOf(from), folderOf(to)];
  if (importer === imported) return forbiddenRoom(importer, from, to);
  if (sideways.some((exception) => exception.from === from && exception.to === imported)) return undefined;
  if (levelOf(imported) <= levelOf(importer)) return "imports point down";
  const only = importsOnly.get(importer);
  if (only && !only.includes(imported)) return `${importer} imports only ${only.join(", ")}`;
  const by = importedOnlyBy.get(imported);
  if (by && !by.includes(importer)) return `${imported} is imported only by ${by.join(", ")}`;
  return undefined;
}

function cycleFrom(start: string, graph: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const seen = new Set<string>();
  const walk = (file: string, trail: readonly string[]): string[] | undefined => {
    for (const next of graph.get(file) ?? []) {
      if (next === start) return [...trail, next];
      if (seen.has(next)) continue;
      seen.add(next);
      const found = walk(next, [...trail, next]);
      if (found) return found;
    }
    return undefined;
  };
  return walk(start, [start]);
}

test("the imports of a source text are found, whatever their form", () => {
  const source = [
    'import { a } from "./a.ts";',
    'import type { B } from "../b.ts";',
    'import {\n  c,\n  type D,\n} from "./c.ts";',
    'import "./effect.ts";',
    'export { e } from "./e.ts";',
    'export * from "./f.ts";',
    'export const text = "not an import";',
    'const g = await import("./g.ts");',
    'type H = import("./h.ts").H;',
    'import json from "./i.json" with { type: "json" };',
  ].join("\n");
  const expected = ["./a.ts", "../b.ts", "./c.ts", "./effect.ts", "./e.ts", "./f.ts", "./i.json", "./g.ts", "./h.ts"];
  assert.deepEqual(specifiers(source), expected);
});

test("imports point down the table", () => {
  const found = imports
    .filter((one) => !one.outside)
    .flatMap((one) => {
      const reason = forbidden(one);
      return reason === undefined ? [] : [`${one.from} imports ${one.to}: ${reason}`];
    });
  assert.deepEqual(found, []);
});

test("pure folders import nothing from outside src", () => {
  const found = imports.filter((one) => one.outside && pure.get(folderOf(one.from))?.includes(one.to) === false);
  assert.deepEqual(found, []);
});

test("explain computes nothing that Istio does", () => {
  const found = files
    .filter((file) => folderOf(file) === "explain")
    .flatMap((file) => namesImported(readFileSync(join(src, file), "utf8")).map((name) => ({ file, name })));
  assert.ok(
    found.some(({ name }) => name === "mtlsOf"),
    "no import was read",
  );
  assert.deepEqual(
    found.filter(({ name }) => computing.includes(name)).map(({ file, name }) => `${file} imports ${name}`),
    [],
  );
  const exported = files
    .filter((file) => ["mesh", "view"].includes(folderOf(file)))
    .flatMap((file) =>
      [...readFileSync(join(src, file), "utf8").matchAll(/^export (?:const|function\*?) (\w+)/gm)].map(
        ([, name]) => name,
      ),
    );
  assert.deepEqual(
    computing.filter((name) => !exported.includes(name)),
    [],
    "the list names what is no more",
  );
});

test("no file imports itself through others", () => {
  const graph = Map.groupBy(
    imports.filter((one) => !one.outside),
    (one) => one.from,
  );
  const targets = new Map([...graph].map(([from, list]) => [from, list.map((one) => one.to)]));
  const cycles = files.flatMap((file) => cycleFrom(file, targets)?.join(" -> ") ?? []);
  assert.deepEqual(cycles, []);
});

test("every folder below src is in the table", () => {
  const unknown = new Set(files.map(folderOf).filter((folder) => levelOf(folder) === -1));
  assert.deepEqual([...unknown], []);
});

test("the table names nothing that does not exist", () => {
  const named = [
    ...levels.flat(),
    ...[...importsOnly].flatMap(([folder, only]) => [folder, ...only]),
    ...[...importedOnlyBy].flatMap(([folder, by]) => [folder, ...by]),
    ...sideways.flatMap(({ from, to }) => [from, to]),
    ...pure.keys(),
    ...[...rooms].flatMap(([folder, floors]) => floors.flat().map((room) => `${folder}/${room}`)),
  ];
  const dead = new Set(named.filter((path) => !existsSync(join(src, path))));
  assert.deepEqual([...dead], []);
});

test("the architecture page lists the same folders in the same order", () => {
  const page = readFileSync(join(src, "README.md"), "utf8");
  const section = (title: string) => page.slice(page.indexOf(title), page.indexOf("\n## ", page.indexOf(title) + 1));
  const rows = section("## Folders")
    .split("\n")
    .flatMap((line) => /^\| (`[a-z].*?`) \|/.exec(line)?.[1] ?? [])
    .map((cell) => [...cell.matchAll(/`([a-z.-]+)\/?`/g)].map(([, name = ""]) => name));
  assert.deepEqual(rows, [...levels, ...(rooms.get("mesh") ?? [])]);
});

test("files and folders are named after a concept, in kebab-case", () => {
  const banned = bannedNames.split(" ");
  const names = new Set(files.flatMap((file) => [...dirname(file).split("/"), basename(file, extname(file))]));
  const wrong = [...names].filter(
    (name) => name !== "." && (banned.includes(name) || !/^[a-z0-9]+(-[a-z0-9]+)*$/.test(name)),
  );
  assert.deepEqual(wrong, []);
});

test("only rules has an index", () => {
  assert.deepEqual(
    files.filter((file) => basename(file) === "index.ts" && file !== "rules/index.ts"),
    [],
  );
});
