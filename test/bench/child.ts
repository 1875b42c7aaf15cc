import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";

/** A process of the bench: one answer to each question, in the order in which they are asked. */
export class Child<Question extends object | string, Answer> {
  readonly #name: string;
  readonly #process: ChildProcess;

  /** `file` is a program of this folder. */
  constructor(file: string, args: readonly string[] = []) {
    this.#name = file;
    // What is logged is written, and read by nobody.
    this.#process = fork(fileURLToPath(new URL(file, import.meta.url)), args, {
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
  }

  async ask(question: Question): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const died = (code: number | null) => reject(new Error(`${this.#name} of the bench ended with ${code}`));
    const told = (message: unknown) => resolve(message as Answer);
    this.#process.once("exit", died).once("message", told);
    this.#process.send(question);
    try {
      return await promise;
    } finally {
      this.#process.off("exit", died).off("message", told);
    }
  }

  end(): void {
    this.#process.disconnect();
  }
}
