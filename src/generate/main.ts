import { generated, root } from "./files.ts";
import { isWritten, write } from "./output.ts";

/**
 * Writes what is generated from code and metadata; with `--check`, only says what is out of date and exits 1. Where
 * metadata is wrong, says what, writes nothing and exits 1.
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
