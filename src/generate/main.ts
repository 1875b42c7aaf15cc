import { generated, root } from "./files.ts";
import { isWritten, write } from "./output.ts";

/**
 * Writes the generated files; with `--check`, only reports files that are out of date and exits with code 1. If metadata
 * is invalid, reports the faults, writes nothing and exits with code 1.
 */
const isCheck = process.argv.includes("--check");
const { files, faults } = await generated();
for (const fault of faults) process.stderr.write(`${fault}\n`);
const stale = faults.length > 0 ? [] : files().filter((file) => !isWritten(root, file));
for (const file of stale) {
  if (isCheck) process.stderr.write(`${file.path} is out of date: run npm run generate\n`);
  else write(root, file);
}
if (faults.length > 0 || (isCheck && stale.length > 0)) process.exitCode = 1;
