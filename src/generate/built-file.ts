import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { dirname, join } from "node:path";
import { build, type Metafile, type Plugin } from "esbuild";
import packageJson from "../../package.json" with { type: "json" };
import { schemaPackages } from "../schemas/kubernetes-kinds.ts";
import { billOfMaterials, billOfMaterialsFile } from "./bill-of-materials.ts";
import { embeddedAssets } from "./embedded-assets.ts";
import { embeddedPage, filesOfPage } from "./embedded-page.ts";
import { embeddedSchemas } from "./embedded-schemas.ts";
import { root } from "./files.ts";
import { packed, unpacker } from "./packed.ts";
import { noticesFile, thirdPartyNotices } from "./third-party-notices.ts";

const assets: Plugin = {
  name: "embedded-assets",
  setup(bundle) {
    bundle.onLoad({ filter: /[\\/]src[\\/]config[\\/]assets\.ts$/ }, () => ({
      contents: embeddedAssets(),
      loader: "js",
    }));
    bundle.onLoad({ filter: /[\\/]src[\\/]config[\\/]page-assets\.ts$/ }, ({ path }) => ({
      contents: embeddedPage(),
      loader: "js",
      resolveDir: dirname(path),
    }));
    bundle.onLoad({ filter: /[\\/]src[\\/]schemas[\\/]kubernetes-kinds\.ts$/ }, ({ path }) => ({
      contents: embeddedSchemas(),
      loader: "js",
      resolveDir: dirname(path),
    }));
    bundle.onLoad({ filter: /[\\/]src[\\/]schemas[\\/]published\.json$/ }, ({ path }) => ({
      contents: embeddedJson(path),
      loader: "js",
    }));
  },
};

/** A module with what a file in JSON contains. */
const embeddedJson = (path: string): string => {
  const text = JSON.stringify(JSON.parse(readFileSync(path, "utf8")));
  return `${unpacker}export default JSON.parse(unpacked(${JSON.stringify(packed(text))}));`;
};

/** The schemas are data from these packages, of which no file is bundled. */
const packagesOfSchemas = schemaPackages.map((name) => `node_modules/${name}/package.json`);

/**
 * Node's own modules are asked for when the code that needs them is reached. An import would be looked up before the
 * first line runs, and with an old Node end in a SyntaxError about a name, instead of in the sentence of the prologue.
 */
const builtins: Plugin = {
  name: "builtins",
  setup(bundle) {
    bundle.onResolve({ filter: /^[a-z]/ }, ({ path }) =>
      isBuiltin(path) ? { path, namespace: "builtin", sideEffects: false } : undefined,
    );
    bundle.onLoad({ filter: /./, namespace: "builtin" }, ({ path }) => ({
      contents: `module.exports = process.getBuiltinModule(${JSON.stringify(path)});`,
      loader: "js",
    }));
  },
};

/**
 * Meshward takes one class of client-node (sources/cluster/client-node.ts) and sends its requests with node:https. The
 * module of that class also imports what its own clients are made of: undici and the generated classes, 1.2 MB, of which
 * esbuild leaves nothing out in modules that are loaded late. In their place stand empty classes. Of js-yaml it uses one
 * function, and gets JSON (sources/cluster/kubeconfig.ts).
 */
const clientNode: Plugin = {
  name: "client-node",
  setup(bundle) {
    bundle.onResolve(
      { filter: /^@kubernetes\/client-node$/ },
      async ({ path, importer, kind, resolveDir, pluginData }) => {
        if (pluginData === isAskedAgain) return undefined;
        const found = await bundle.resolve(path, { importer, kind, resolveDir, pluginData: isAskedAgain });
        return { ...found, path: join(dirname(found.path), "config.js") };
      },
    );
    bundle.onResolve({ filter: /^(undici|js-yaml|\.\/gen\/index\.js)$/ }, ({ path, importer }) =>
      importer.includes("client-node") ? { path, namespace: "unused" } : undefined,
    );
    const names = ["Agent", "ProxyAgent", "ServerConfiguration", "createConfiguration"];
    const classes = names.map((name) => `export class ${name} {}`).join("\n");
    const contents = `${classes}\nexport const load = JSON.parse;`;
    bundle.onLoad({ filter: /./, namespace: "unused" }, () => ({ contents }));
  },
};

/**
 * What packages ask for and Meshward does not. Only `inject` of fastify, which is for tests, uses light-my-request: fastify asks for it when
 * `inject` is called. It uses semver for plugins that say for which versions of fastify they are, and Meshward registers none; and compilers
 * for the schemas of routes, of which there are none (`http/without-schemas.ts`). The client of Prometheus uses the API of OpenTelemetry for
 * exemplars, which Meshward does not enable, and would bring all of it in, where `telemetry/tracing.ts` takes some functions.
 */
const notAskedFor: ReadonlyMap<string, RegExp> = new Map([
  ["fastify", /^(light-my-request|semver|@fastify\/(ajv-compiler|fast-json-stringify-compiler))$/],
  ["@prometheus-io/client", /^@opentelemetry\/api$/],
]);
const leftOut: Plugin = {
  name: "left-out",
  setup(bundle) {
    for (const [name, filter] of notAskedFor)
      bundle.onResolve({ filter }, ({ path, importer }) =>
        importer.replaceAll("\\", "/").includes(`/node_modules/${name}/`)
          ? { path, namespace: "not-asked-for" }
          : undefined,
      );
    bundle.onLoad({ filter: /./, namespace: "not-asked-for" }, () => ({ contents: "" }));
  },
};

const isAskedAgain = Symbol("the plugin itself asks");

const needed = /^>=(\d+)\.(\d+)$/.exec(packageJson.engines.node);

/**
 * Runs before anything else of the file, which for that has no import and is parsed by Node 18: both as an ES module
 * (beside Meshward's package.json) and as CommonJS (anywhere else).
 */
function prologue(): string {
  if (needed === null) throw new Error(`engines.node is ${packageJson.engines.node}; expected >=MAJOR.MINOR`);
  const [, major, minor] = needed;
  const { homepage } = packageJson;
  return `#!/usr/bin/env node
// Meshward ${packageJson.version}, Apache-2.0. The licences of the packages in this file: ${noticesFile}, beside it.
"use strict";
{
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major < ${major} || (major === ${major} && minor < ${minor})) {
    process.stderr.write("meshward: Node is too old: this needs Node ${major}.${minor} or newer, and found " + process.version + " (" + process.execPath + "). Install a newer one, or use the image or an executable, which need none: ${homepage}/releases\\n");
    process.exit(2);
  }
  // Without a listener, Node opens its debugger: see main.ts, which takes longer to load.
  process.on("SIGUSR1", () => {});
}`;
}

/** What is left of the inputs after unused code is gone. */
const filesIn = ({ outputs }: Metafile): string[] =>
  Object.values(outputs).flatMap(({ inputs }) =>
    Object.entries(inputs).flatMap(([file, { bytesInOutput }]) => (bytesInOutput > 0 ? [file] : [])),
  );

const codeUnit = (unit: string): string => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;

/** Writes the program and its source map, and nothing of what has to be handed out with it. */
async function writeProgram(outfile: string): Promise<Metafile> {
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: ["src/main.ts"],
    outfile,
    bundle: true,
    platform: "node",
    // One script without imports and exports: see the prologue.
    format: "iife",
    target: "node18",
    minify: true,
    keepNames: true,
    sourcemap: "linked",
    banner: { js: prologue() },
    plugins: [assets, builtins, clientNode, leftOut],
    metafile: true,
    logLevel: "warning",
  });
  // V8 keeps the text of a script in two bytes for each character unless all of it is ASCII. What is left are names in comments.
  writeFileSync(outfile, readFileSync(outfile, "utf8").replace(/[^\0-\x7f]/g, codeUnit));
  chmodSync(outfile, 0o755);
  return metafile;
}

/** Writes `meshward.js`, its source map, the notices and the bill of materials into a folder. */
export async function writeBuiltFile(folder: string): Promise<void> {
  const metafile = await writeProgram(join(folder, "meshward.js"));
  const files = [...filesIn(metafile), ...filesOfPage(), ...packagesOfSchemas];
  writeFileSync(join(folder, noticesFile), thirdPartyNotices(files, root));
  writeFileSync(join(folder, billOfMaterialsFile), billOfMaterials(files, root));
}
