import { Command, CommanderError, type OutputConfiguration } from "commander";
import packageJson from "../../package.json" with { type: "json" };
import { ListenError } from "../http/listen.ts";
import { isSystemError, unusable } from "../text/file-errors.ts";
import { wrappedLines } from "../report/page.ts";
import { UsageError } from "../text/usage-error.ts";
import { CertificateError } from "../tls/certificate-source.ts";
import { auditCommand } from "./audit.ts";
import { canCommand } from "./can.ts";
import { captureCommand } from "./capture.ts";
import { certsCommand } from "./certs.ts";
import { checkCommand } from "./check.ts";
import { assertClusterUsed } from "./cluster-options.ts";
import { completionCommand } from "./completion.ts";
import { connectionsCommand } from "./connections.ts";
import { demoCommand } from "./demo.ts";
import { doctorCommand } from "./doctor.ts";
import { explainCommand } from "./explain.ts";
import { intentCommand } from "./intent.ts";
import { exportCommand } from "./export.ts";
import { helpCommand, writeHelp } from "./help.ts";
import { checkMandatoryLast, explained, refuseSecondValues } from "./command-errors.ts";
import { manifestsCommand } from "./manifests.ts";
import { ToldError, withProjectFile } from "./project-options.ts";
import { rulesCommand } from "./rules.ts";
import { serveCommand } from "./serve.ts";
import { unregisterCommand } from "./unregister.ts";
import { type ExitCode, tellProblem, type Terminal } from "./terminal.ts";
import { testCommand } from "./test.ts";

/** Runs one command. Never rejects: prints one line for an error that the user can correct, and a stack for a bug. */
export async function run(argv: readonly string[], given: Terminal): Promise<ExitCode> {
  const terminal: Terminal = {
    ...given,
    error: (text) => given.error(wrappedLines(text, { columns: given.errorColumns })),
  };
  let code: ExitCode = 0;
  let isProjectBroken = false;
  const program = commands(terminal, {
    finish: (result) => {
      code = result;
    },
    onProjectErrors: () => (isProjectBroken = true),
  });
  try {
    await program.parseAsync(argv, { from: "user" });
    return isProjectBroken ? 2 : code;
  } catch (error) {
    return failed(error, terminal);
  }
}

interface Outcome {
  /** Gets the exit code of a command that ended. */
  finish(code: ExitCode): void;
  /** Called if the project file has errors, and the command goes on without some of its settings. */
  onProjectErrors(): void;
}

/** `meshward` with all its commands and options. */
export function commands(terminal: Terminal, { finish, onProjectErrors }: Outcome): Command {
  const program = new Command("meshward").description(packageJson.description).version(packageJson.version);
  const inProject = (command: Command) =>
    withProjectFile(command, { terminal, onErrors: onProjectErrors }).hook("preAction", (_, action) =>
      assertClusterUsed(action.opts()),
    );
  program.addCommand(inProject(checkCommand(terminal, finish)));
  program.addCommand(inProject(auditCommand(terminal, finish)));
  program.addCommand(inProject(explainCommand(terminal, finish)));
  program.addCommand(inProject(canCommand(terminal, finish)));
  program.addCommand(inProject(connectionsCommand(terminal, finish)));
  program.addCommand(intentCommand(terminal, finish));
  program.addCommand(captureCommand(terminal, finish));
  program.addCommand(rulesCommand(terminal, finish));
  program.addCommand(inProject(testCommand(terminal, finish)));
  program.addCommand(exportCommand(terminal, finish));
  program.addCommand(serveCommand(terminal, finish));
  program.addCommand(manifestsCommand(terminal, finish));
  program.addCommand(doctorCommand(terminal, finish));
  program.addCommand(certsCommand(terminal, finish));
  program.addCommand(unregisterCommand(terminal, finish));
  program.addCommand(demoCommand(terminal, finish));
  program.addCommand(completionCommand(program, terminal));
  program.helpCommand(false).addCommand(helpCommand(program));
  for (const command of [program, ...program.commands, ...program.commands.flatMap(({ commands }) => commands)]) {
    writeHelp(command, terminal.columns ?? Number.POSITIVE_INFINITY);
    checkMandatoryLast(command);
    refuseSecondValues(command);
    command
      .exitOverride()
      .configureOutput(outputTo(terminal, command))
      .showHelpAfterError("(--help lists the commands and options)");
  }
  return program;
}

/** Help is wrapped at the width of the terminal, also after errors; in a pipe, each option is on one line. */
function outputTo({ out, error, columns = Number.POSITIVE_INFINITY }: Terminal, command: Command): OutputConfiguration {
  return {
    writeOut: out,
    writeErr: error,
    outputError: (text, write) => write(explained(text, command)),
    getOutHelpWidth: () => columns,
    getErrHelpWidth: () => columns,
  };
}

function failed(error: unknown, terminal: Terminal): ExitCode {
  // commander has printed the error already.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof ToldError) return 2;
  if (error instanceof UsageError || error instanceof CertificateError || error instanceof ListenError)
    tellProblem(error.message, terminal);
  else if (isSystemError(error)) tellProblem(`${error.path ?? error.syscall}: ${unusable(error)}`, terminal);
  else
    tellProblem(
      `this is a bug in Meshward, please report it: ${error instanceof Error ? error.stack : String(error)}`,
      terminal,
    );
  return 2;
}
