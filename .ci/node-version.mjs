// Plain JavaScript without imports of packages: it has to run where nothing is installed, and on the Node versions that it
// warns of. `npm ci` runs it, and the scripts run it before or load it into the program.
import { existsSync, readFileSync } from "node:fs";

const { engines, optionalDependencies } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
const needed = engines.node.replace(">=", "");
const isOld = process.versions.node.localeCompare(needed, "en", { numeric: true }) < 0;
const isInstalled = existsSync(new URL("../node_modules/.bin", import.meta.url));
const brought = `node-${process.platform === "win32" ? "win" : process.platform}-${process.arch}`;

const notUsed = () =>
  `Meshward's commands need Node ${needed} or newer, and yours is ${process.version}: npm has installed a newer one, and ` +
  "only npm puts it in PATH. Start the command with npm run, or with npm exec -- node.";

const tooOld = () =>
  `Meshward's commands need Node ${needed} or newer, and yours is ${process.version}: ` +
  (brought in optionalDependencies
    ? `npm left out the one that they bring, the optional package ${brought}. Run npm ci without --omit=optional, or `
    : `npm has no Node 24 for ${process.platform} ${process.arch}. `) +
  `${brought in optionalDependencies ? "install" : "Install"} Node 24 and put it first in PATH.`;

const isBrought = existsSync(new URL(`../node_modules/${brought}`, import.meta.url));
const fault = () => (isBrought ? notUsed() : tooOld());

const problem = !isInstalled ? "Nothing is installed yet: run npm ci first." : isOld ? fault() : undefined;
if (problem !== undefined) {
  process.stderr.write(`meshward: ${problem}\n`);
  process.exit(2);
}
