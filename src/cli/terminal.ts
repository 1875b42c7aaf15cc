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
  /** Of the terminal that `out` writes to; undefined where that is none. */
  readonly columns?: number | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** For whoever watches; undefined where that is nobody, and a log takes everything. */
  readonly hint?: ((text: string) => void) | undefined;
  /** Aborted when the user asks to stop, with `byKeyboard` as its reason where that is so; a second time the process ends at once. */
  readonly stop: AbortSignal;
}

/** Ctrl-C in a terminal: nobody routes requests here who would have to notice first. */
export const byKeyboard = Symbol("by keyboard");

/** 0: success. 1: findings at or above `--fail-on`. 2: the command could not run, or not on all of its input. */
export type ExitCode = 0 | 1 | 2;

/** What stands in the way, in the one form that all commands have. */
export const tellProblem = (problem: string, { error }: Pick<Terminal, "error">): void => error(shownProblem(problem));

const shownProblem = (problem: string): string => `meshward: ${problem}\n`;

/** For an output that has failed, and can carry no problem. */
export const outputProblem = (error: unknown): string =>
  shownProblem(`standard output cannot be written: ${unwritable(error)}`);

/** What somebody should know although nothing is wrong. */
export const tellNote = (note: string, { error }: Pick<Terminal, "error">): void => error(`meshward: note: ${note}\n`);
