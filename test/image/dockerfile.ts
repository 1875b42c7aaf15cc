import { readFileSync } from "node:fs";
import { posix } from "node:path";
import { type Copy, DockerfileParser, type From, type Instruction, type JSONInstruction } from "dockerfile-ast";
import { fileURLToPath } from "node:url";

// The Dockerfile as a container engine reads it: stages, and what the last one makes of the image.

export const checkout = fileURLToPath(new URL("../../", import.meta.url));
const dockerfile = DockerfileParser.parse(readFileSync(new URL("../../Dockerfile", import.meta.url), "utf8"));

export interface CopiedFile {
  /** A path in the context, or in the stage `from`. */
  readonly source: string;
  readonly target: string;
  readonly from?: string;
  readonly flags: Readonly<Record<string, string>>;
}

export interface Stage {
  readonly name: string | undefined;
  /** With the defaults of ARG. */
  readonly base: string;
  readonly instructions: readonly Instruction[];
  readonly copied: readonly CopiedFile[];
}

const keyword = (instruction: Instruction): string => instruction.getKeyword();
const named = (stage: Pick<Stage, "instructions">, name: string): readonly Instruction[] =>
  stage.instructions.filter((instruction) => keyword(instruction) === name);

export const instructions: readonly Instruction[] = dockerfile.getInstructions();

const defaults = new Map(
  instructions
    .filter((instruction) => keyword(instruction) === "ARG")
    .map((instruction) => (instruction.getArgumentsContent() ?? "").split("=", 2) as [string, string]),
);

export const stages: readonly Stage[] = (() => {
  const found: { from: From; instructions: Instruction[] }[] = [];
  for (const instruction of instructions) {
    if (keyword(instruction) === "FROM") found.push({ from: instruction as From, instructions: [] });
    else found.at(-1)?.instructions.push(instruction);
  }
  return found.map(({ from, instructions }) => ({
    name: from.getBuildStage() ?? undefined,
    base: (from.getImage() ?? "").replace(/\$\{(\w+)\}/g, (_, name: string) => defaults.get(name) ?? ""),
    instructions,
    copied: copiesIn(instructions),
  }));
})();

export const image = stages.at(-1) as Stage;

function copiesIn(instructions: readonly Instruction[]): readonly CopiedFile[] {
  let folder = "/";
  const copies: CopiedFile[] = [];
  for (const instruction of instructions) {
    const words = instruction.getArguments().map((argument) => argument.getValue());
    if (keyword(instruction) === "WORKDIR") folder = posix.resolve(folder, words[0] ?? "");
    if (keyword(instruction) !== "COPY") continue;
    const flags = Object.fromEntries(
      (instruction as Copy).getFlags().map((flag) => [flag.getName(), flag.getValue() ?? ""]),
    );
    const target = words.at(-1) ?? "";
    for (const source of words.slice(0, -1)) {
      const path = target.endsWith("/") ? posix.join(target, posix.basename(source)) : target;
      const { from } = flags;
      copies.push({ source, target: posix.resolve(folder, path), flags, ...(from === undefined ? {} : { from }) });
    }
  }
  return copies;
}

/** Of ENTRYPOINT and CMD: the words of their JSON form; undefined for the other one, which starts a shell. */
export function wordsOf(name: "ENTRYPOINT" | "CMD"): readonly string[] | undefined {
  const [instruction] = named(image, name);
  const strings = (instruction as JSONInstruction | undefined)?.getJSONStrings() ?? [];
  return strings.length > 0 ? strings.map((string) => string.getJSONValue()) : undefined;
}

export const argumentsOf = (name: string, stage: Stage = image): readonly string[] =>
  named(stage, name).map((instruction) => instruction.getArgumentsContent() ?? "");
