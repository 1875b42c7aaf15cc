import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { styleText } from "node:util";
import { setTimeout as elapsed } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { isPolicy } from "../../src/cli/policy-options.ts";
import { type TourStep, requestOf, tour } from "../../src/demo/tour.ts";
import type { UserRequest } from "../../src/demo/memory-api-server.ts";
import { type Binaries, BinariesError, buildBinaries } from "./binaries.ts";
import { type ControlPlane, type Output, startControlPlane } from "./control-plane.ts";
import { type Meshward, register, startMeshward } from "./meshward.ts";

// The tour, played with kubectl against an API server that is there for nothing else. Meshward is a process of its own.

const program = fileURLToPath(new URL("../../src/main.ts", import.meta.url));
const style = (format: "bold" | "dim" | "red", text: string) => styleText(format, text, { stream: process.stdout });
const say = (text: string) => void process.stdout.write(`${text}\n`);
const note = (text: string) => void process.stderr.write(`${text}\n`);

/** Everything that runs is stopped when this ends, by whichever way. */
async function demo(binaries: Binaries): Promise<void> {
  const { chapters, manifests } = await tour();
  const plane = await startControlPlane({ binaries, definitions: true });
  let meshward: Meshward | undefined;
  try {
    await letEverybodyWrite(plane);
    const policies = manifests.filter(isPolicy).map(({ raw }) => raw);
    meshward = await startMeshward({ plane, policies, file: program });
    await meshward.ready();
    await register(plane, meshward);
    say(`The API server listens on ${plane.url}, Meshward on ${meshward.url}. What follows is what kubectl prints.`);
    await tell(
      plane,
      chapters.flatMap(({ steps }) => steps),
    );
  } finally {
    await meshward?.stop();
    await plane.close();
  }
}

/** The story is about Meshward: RBAC stops nobody in it. */
async function letEverybodyWrite(plane: ControlPlane): Promise<void> {
  const args = ["create", "clusterrolebinding", "demo", "--clusterrole=cluster-admin", "--group=system:authenticated"];
  const { code, stderr } = await plane.kubectl(args);
  if (code !== 0) throw new Error(stderr);
}

async function tell(plane: ControlPlane, steps: readonly TourStep[]): Promise<void> {
  const cwd = join(plane.folder, "tour");
  mkdirSync(cwd);
  const counts = { done: 0, refused: 0 };
  for (const { file, comment, manifests } of steps) {
    const requests = manifests.filter((manifest) => !isPolicy(manifest)).map(requestOf);
    const [first] = requests;
    if (first === undefined) continue;
    const items = requests.map(({ raw }) => raw);
    mkdirSync(dirname(join(cwd, file)), { recursive: true });
    writeFileSync(join(cwd, file), items.map((item) => JSON.stringify(item)).join("\n---\n"));
    const args = argsOf(first, file);
    say(`\n${style("bold", comment)}\n${style("dim", `$ kubectl ${args.join(" ")}`)}`);
    await nextSecond();
    const output = await plane.kubectl(args, { cwd });
    show(output);
    if (output.code === 0) counts.done++;
    else counts.refused++;
  }
  say(`\n${counts.done + counts.refused} commands: ${counts.done} done, ${counts.refused} refused.`);
}

/** A file of the tour is one user's and does one thing. Who sends it is told as kubectl lets administrators tell. */
function argsOf({ isDeletion, user }: UserRequest, file: string): readonly string[] {
  const { username, groups } = user ?? { username: "jane", groups: ["developers"] };
  const named = (groups ?? []).filter((group) => !group.startsWith("system:"));
  return [
    isDeletion ? "delete" : "apply",
    "-f",
    file,
    `--as=${username}`,
    ...named.map((name) => `--as-group=${name}`),
  ];
}

function show({ code, stdout, stderr }: Output): void {
  const text = [stderr, stdout].map((part) => part.trimEnd()).filter((part) => part !== "");
  say(code === 0 ? text.join("\n") : style("red", text.join("\n")));
}

/** Of two objects of one second the name decides which is the older. */
const nextSecond = (): Promise<void> => elapsed(1_010 - (Date.now() % 1_000));

if (process.argv.length > 3) {
  note("demo --cluster plays the tour, and takes nothing else");
  process.exitCode = 2;
} else
  try {
    await demo(buildBinaries(note));
  } catch (error) {
    if (!(error instanceof BinariesError)) throw error;
    note(`demo --cluster: ${error.message}`);
    process.exitCode = 2;
  }
