import { join } from "node:path";
import { writeBuiltFile } from "./built-file.ts";
import { root } from "./files.ts";

await writeBuiltFile(join(root, "dist"));
