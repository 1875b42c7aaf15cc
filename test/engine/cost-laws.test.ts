import { countBlocks } from "./work.ts";

countBlocks();
await import("./cost-laws.ts");
