import type { Readable } from "node:stream";
import { unwritable } from "../text/file-errors.ts";

/** The inputs and outputs of a command: those of the process in main.ts, and those of a test elsewhere. */
export interface Terminal {
  readonly input: Readable;
  /** Prints the result of the command. */
  out(text: string): void;
  /** Prints progress, notes and errors. */
  error(text: string): void;
  readonly colour: boolean;
  /** The width of the terminal that `out` writes to; undefined if it is not a terminal. */
  readonly columns?: number | undefined;
  /** The same for `error`. */
  readonly errorColumns?: number | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Prints a hint for a user at a terminal; undefined if there is no terminal and everything is logged. */
  readonly hint?: ((text: string) => void) | undefined;
  /** Asks a user at a terminal; undefined if there is none. Gives undefined if the user asks to stop, or closes the input. */
  readonly ask?: ((question: string) => Promise<string | undefined>) | undefined;
  /** Aborted when the user asks to stop, with the reason `byKeyboard` for Ctrl-C; a second request ends the process immediately. */
  readonly stop: AbortSignal;
  /** Calls a listener each time that the user asks to read files again, with SIGHUP; undefined if that cannot happen. */
  readonly onReload?: ((listener: () => void) => void) | undefined;
}

/** Ctrl-C in a terminal, where no load balancer has to notice the shutdown first. */
export const byKeyboard = Symbol("by keyboard");

/**
 * 0: success. 1: findings at or above `--fail-on`, or the answer of `can` is no. 2: the command could not run, or not on all of its
 * input. 3: the answer of `can` is neither yes nor no.
 */
export type ExitCode = 0 | 1 | 2 | 3;

/** Prints an error in the form that all commands share. */
export const tellProblem = (problem: string, { error }: Pick<Terminal, "error">): void => error(shownProblem(problem));

const shownProblem = (problem: string): string => `meshward: ${problem}\n`;

/** The message for a standard output that failed. */
export const outputProblem = (error: unknown): string =>
  shownProblem(`standard output cannot be written: ${unwritable(error)}`);

/** Prints a note, which is not an error. */
export const tellNote = (note: string, { error }: Pick<Terminal, "error">): void => error(`meshward: note: ${note}\n`);
