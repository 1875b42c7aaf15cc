// Every test file and every command is a process of its own that compiles several hundred modules of TypeScript. Node keeps what
// it compiled, and checks the content of a module before it uses that; processes that are started from here do the same.
import { enableCompileCache } from "node:module";
import { fileURLToPath } from "node:url";

process.env.NODE_COMPILE_CACHE ??= fileURLToPath(new URL("../.cache/node", import.meta.url));
enableCompileCache();
