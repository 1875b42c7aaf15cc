import { globSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, test } from "node:test";

// The test runner starts one process per file that it is given, and each spends 0.3 s and more to load the modules of Meshward. So
// most test files are given to it as groups, each of them one process that loads the modules once. A file needs a process of its
// own, and is named in the script `test` of package.json, if it registers a loader, measures the heap of its process, or takes long because
// of processes that it starts.

const root = new URL("../../", import.meta.url);
/** The property tests of whole meshes take as long as all others of their folders. */
export const namesOfLaws = ["*laws", "one-truth", "default-deny-kept", "determinism", "open-states", "standing-audit"];
const laws = namesOfLaws.join("|");

/** Patterns of test files, relative to `test/` and without `.test.ts`, of each group. `npm run test:quick` runs the first four. */
export const groups = {
  "quick-admission": [`{admission,policy}/!(${laws}|leftovers)`],
  "quick-engine": [`{config,deploy,engine,explain,istiod-validation,report,telemetry,text,tls}/!(${laws})`],
  "quick-mesh": [`{kube,mesh,view}/**/!(${laws})`, "{architecture,package}"],
  "quick-rules": [`{cel,custom-rules,rule-code,vap}/!(${laws})`, "rules"],
  // It takes long, and the runner starts files in the order of their names.
  browser: ["page/*"],
  cli: [
    "cli/!(built-file|check-git|check-rendering|cluster|ready-made|serve|signals|under-load|wrapping)",
    "walkthrough/*",
  ],
  controllers: ["controllers/*"],
  // What `npm run generate` writes.
  generate: ["generate/*"],
  intents: ["{attack,intents}/!(root-change)", "!(architecture|package|rules)"],
  laws: [`!(engine)/**/@(${laws})`, `engine/@(${laws.replace("*laws", "!(cost-)laws")})`],
  // Definitions of kinds, as API servers read them: few changes concern them.
  schemas: ["schemas/*"],
  servers: ["{contract,doctor,http,sources}/**/*"],
} as const;
export type GroupName = keyof typeof groups;

/** The test files of a group, as paths from the root of the project, in their order. */
export function filesOf(name: GroupName): readonly string[] {
  const patterns = groups[name].map((pattern) => `test/${pattern}.test.ts`);
  return globSync(patterns, { cwd: fileURLToPath(root) })
    .map((path) => path.replaceAll("\\", "/"))
    .sort();
}

/**
 * Runs the files of a group one after the other. Each is a suite that has the path as its name: its hooks run before and after
 * its own tests, and it fails if it cannot be loaded. The process fails if it ends before all are done.
 */
export async function runGroup(name: GroupName): Promise<void> {
  const left = new Set(filesOf(name));
  process.on("exit", () => {
    if (left.size === 0) return;
    process.exitCode = 1;
    process.stderr.write(`The process of this group ended before these files were done: ${[...left].join(", ")}\n`);
  });
  for (const path of [...left]) {
    await describe(path, async () => {
      try {
        await import(new URL(path, root).href);
      } catch (error) {
        // A suite that fails is in no number of the summary.
        test("can be loaded", () => {
          throw error;
        });
      }
    });
    left.delete(path);
  }
}
