import { runGroup } from "./groups.ts";

await runGroup("quick-rules");
