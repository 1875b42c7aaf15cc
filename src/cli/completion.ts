import { Argument, Command } from "commander";
import { allKinds, kinds as kindTable } from "../kube/kinds.ts";
import { profileNames } from "../policy/profiles.ts";
import { connectionFormats } from "../report/connections-formats.ts";
import { reportFormats } from "../report/formats.ts";
import { rules } from "../rules/index.ts";
import { completionScript, type Shell, shells } from "./completion-scripts.ts";
import type { Terminal } from "./terminal.ts";

export function completionCommand(program: Command, terminal: Terminal): Command {
  return new Command("completion")
    .description("print a script that completes commands and options in your shell")
    .addArgument(new Argument("<shell>", "your shell: bash, zsh or fish").choices(shells))
    .action((shell: Shell) => {
      const kinds = allKinds.flatMap((kind) => kindTable[kind].served.map((served) => served.kind));
      const options = {
        "--profile": profileNames,
        "--what-if": profileNames,
        "--output": Object.keys(reportFormats),
        "connections --output": Object.keys(connectionFormats),
        "--partial": kinds,
        "--complete": kinds,
        "--kind": kinds,
        "--tag": [...new Set(rules.flatMap(({ tags }) => tags))].sort(),
      };
      const words = { rules: rules.map(({ id }) => id), help: program.commands.map((command) => command.name()) };
      terminal.out(completionScript(shell, program, { arguments: words, options }));
    });
}
