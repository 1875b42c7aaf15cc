import { runGroup } from "./groups.ts";

await runGroup("quick-mesh");
