// Plain JavaScript without imports of packages: it has to run where nothing is installed, and on the Node versions that it
// warns of. `npm ci` runs it, and the scripts load it before the program.
import { existsSync } from "node:fs";

const [major, minor] = process.versions.node.split(".").map(Number);
const isInstalled = existsSync(new URL("../node_modules/.bin", import.meta.url));
const problem = !isInstalled
  ? "Nothing is installed yet: run npm ci first."
  : major < 22 || (major === 22 && minor < 19)
    ? `Meshward's commands need Node 22.19 or newer, and yours is ${process.version}: npm has no Node 24 for ` +
      `${process.platform} ${process.arch}. Install Node 24 and put it first in PATH.`
    : undefined;
if (problem !== undefined) {
  process.stderr.write(`meshward: ${problem}\n`);
  process.exit(2);
}
