// Plain JavaScript: it has to run on the Node versions that it warns of.
const [major, minor] = process.versions.node.split(".").map(Number);
if (major < 22 || (major === 22 && minor < 19)) {
  process.stderr.write(
    `Meshward's commands need Node 22.19 or newer, and would run on yours, ${process.version}: ` +
      `npm has no Node 24 for ${process.platform} ${process.arch}. Install Node 24 and put it first in PATH.\n`,
  );
}
