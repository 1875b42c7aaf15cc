// Runs the test files that patterns name in two processes, half of them in each: without a process for each file, all of them
// would run on one core.
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

const patterns = process.argv.slice(2);
const compileCache = new URL("compile-cache.mjs", import.meta.url).href;
const half = (shard) => ["--test", "--test-isolation=none", "--test-reporter=dot", `--test-shard=${shard}/2`];
// Ctrl-C reaches both, and this process ends after them.
process.on("SIGINT", () => undefined);

const codes = [1, 2].map((shard) => {
  const child = spawn(process.execPath, ["--import", compileCache, ...half(shard), ...patterns], {
    cwd: fileURLToPath(new URL("..", import.meta.url)),
    stdio: ["ignore", "inherit", "inherit"],
  });
  return new Promise((resolve, reject) => child.on("error", reject).on("close", (code) => resolve(code ?? 1)));
});
process.exitCode = Math.max(...(await Promise.all(codes)));
