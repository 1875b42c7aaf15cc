import { chmodSync } from "node:fs";
import { build, type Plugin } from "esbuild";
import { embeddedAssets } from "./embedded-assets.ts";

const assets: Plugin = {
  name: "embedded-assets",
  setup(bundle) {
    bundle.onLoad({ filter: /[\\/]src[\\/]config[\\/]assets\.ts$/ }, () => ({
      contents: embeddedAssets(),
      loader: "js",
    }));
  },
};

const outfile = "dist/meshward.js";

await build({
  entryPoints: ["src/main.ts"],
  outfile,
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node22",
  minify: true,
  keepNames: true,
  sourcemap: "linked",
  // The CommonJS packages inside the bundle ask for Node's own modules with `require`, which an ES module does not have.
  banner: {
    js: [
      "#!/usr/bin/env node",
      'import { createRequire as createBundleRequire } from "node:module";',
      "const require = createBundleRequire(import.meta.url);",
    ].join("\n"),
  },
  plugins: [assets],
  logLevel: "warning",
});

chmodSync(outfile, 0o755);
