import { countBlocks } from "../engine/work.ts";

countBlocks();
await import("./root-change.ts");
