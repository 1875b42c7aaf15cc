import { InvalidArgumentError, Option } from "commander";
import { readFileText } from "../../sources/manifests/source-text.ts";
import { assignmentIn, type Substitution, substitutionOf } from "../../sources/manifests/substitution.ts";
import { UsageError } from "../../text/usage-error.ts";

export interface SubstitutionOptions {
  readonly substitute: ReadonlyMap<string, string>;
  readonly substituteFrom?: string;
}

export const substituteOption = () =>
  new Option(
    "--substitute <name=value>",
    "value of a variable such as ${NAME} in the files; can be given several times",
  )
    .default(new Map(), "none")
    .argParser((text: string, known: ReadonlyMap<string, string>) => {
      const found = assignmentIn(text);
      if (typeof found === "string") throw new InvalidArgumentError(`${found}.`);
      return new Map(known).set(...found);
    });
export const substituteFromOption = () =>
  new Option("--substitute-from <file>", "a file with one NAME=VALUE in each line, as for --substitute");

/**
 * The substitution of the options; undefined without any, because the files may use `${}` for something else. Throws a
 * UsageError if the file cannot be read.
 */
export async function substitutionFrom(options: SubstitutionOptions): Promise<Substitution | undefined> {
  const { substitute, substituteFrom } = options;
  const fromFile = substituteFrom === undefined ? new Map<string, string>() : await valuesIn(substituteFrom);
  const values = new Map([...fromFile, ...substitute]);
  return values.size === 0 ? undefined : substitutionOf(values);
}

async function valuesIn(path: string): Promise<ReadonlyMap<string, string>> {
  const reading = await readFileText(path);
  if ("problem" in reading) throw new UsageError(`--substitute-from ${path}: ${reading.problem}`);
  const values = new Map<string, string>();
  for (const [i, line] of reading.text.split(/\r?\n/).entries()) {
    if (line.trim() === "" || line.trimStart().startsWith("#")) continue;
    const found = assignmentIn(line);
    if (typeof found === "string") throw new UsageError(`--substitute-from ${path}:${i + 1}: ${found}`);
    values.set(...found);
  }
  return values;
}
