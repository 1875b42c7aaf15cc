import { styleText } from "node:util";
import type { PatchOperation } from "../admission/review.ts";
import type { ApiServerClient } from "../demo/api-server-client.ts";
import { kubectlText } from "../demo/kubectl-text.ts";
import type { MemoryApiServer, Outcome } from "../demo/memory-api-server.ts";
import { nameOf, requestOf, type TourChapter, type TourStep } from "../demo/tour.ts";
import { hanging } from "../report/page.ts";
import type { Manifest } from "../sources/manifests/manifests.ts";
import { isPolicy } from "./policy-options.ts";
import type { Terminal } from "./terminal.ts";

/** A clock that advances by one second for each object, so that the order of creation decides which of two is older. */
export class TourClock {
  #now = Date.parse("2026-01-01T09:00:00Z");
  now(): Date {
    return new Date(this.#now);
  }
  tick(): void {
    this.#now += 1000;
  }
}

type Counts = Record<"unchanged" | "allowed" | "patched" | "warned" | "denied", number>;

export interface TourParts {
  readonly cluster: MemoryApiServer;
  readonly client: ApiServerClient;
  readonly clock: TourClock;
  readonly terminal: Terminal;
  /** Prints an audit of what is stored. */
  readonly audited: () => Promise<void>;
}

/** Sends the steps of a tour one after the other, and prints what kubectl would print. */
export class TourRun {
  readonly #cluster: MemoryApiServer;
  readonly #client: ApiServerClient;
  readonly #clock: TourClock;
  readonly #audited: () => Promise<void>;
  #terminal: Terminal;
  readonly #counts: Counts = { unchanged: 0, allowed: 0, patched: 0, warned: 0, denied: 0 };

  constructor({ cluster, client, clock, terminal, audited }: TourParts) {
    this.#cluster = cluster;
    this.#client = client;
    this.#clock = clock;
    this.#terminal = terminal;
    this.#audited = audited;
  }

  /** With `only`, the chapters before it are applied without a word, and those after it are not. */
  async run(chapters: readonly TourChapter[], only?: TourChapter): Promise<void> {
    const shown = only === undefined ? chapters : [only];
    const before = only === undefined ? [] : chapters.slice(0, chapters.indexOf(only));
    await this.#unseen(before);
    for (const chapter of shown) {
      await this.#play(chapter, chapters);
      const next = shown[shown.indexOf(chapter) + 1];
      if (next !== undefined && !(await this.#isContinued(next))) break;
    }
    const { unchanged, allowed, patched, warned, denied } = this.#counts;
    if (allowed + denied + unchanged === 0) return;
    const counts = `${allowed} allowed (${patched} of them patched, ${warned} with a warning), ${denied} denied, ${unchanged} unchanged`;
    this.#terminal.out(`\n${counts}; ${this.#cluster.size} objects are stored.\n`);
  }

  async #unseen(chapters: readonly TourChapter[]): Promise<void> {
    const terminal = this.#terminal;
    this.#terminal = { ...terminal, out: () => undefined };
    for (const { steps } of chapters) for (const step of steps) await this.#step(step);
    this.#terminal = terminal;
    for (const name of Object.keys(this.#counts) as (keyof Counts)[]) this.#counts[name] = 0;
  }

  async #play(chapter: TourChapter, chapters: readonly TourChapter[]): Promise<void> {
    const { title, text, steps } = chapter;
    if (title !== "") {
      const heading = `Chapter ${chapters.indexOf(chapter) + 1}: ${title}`;
      this.#terminal.out(`\n${this.#style("bold", `${heading}\n${"=".repeat(heading.length)}`)}\n`);
      this.#terminal.out(`${hanging("", text, this.#terminal)}\n`);
    }
    for (const step of steps) await this.#step(step);
    if (steps.length > 0) return;
    this.#terminal.out(`\n${this.#style("dim", "$ meshward audit --mesh cluster")}\n`);
    await this.#audited();
  }

  /** Waits for the user at a terminal; elsewhere there is nobody to wait for. */
  async #isContinued({ title }: TourChapter): Promise<boolean> {
    const { ask, stop } = this.#terminal;
    if (ask === undefined) return !stop.aborted;
    const answer = await ask(`\nPress Enter to read on: ${title}, or q and Enter to stop. `);
    return !stop.aborted && answer?.trim().toLowerCase() !== "q";
  }

  async #step(step: TourStep): Promise<void> {
    const objects = step.manifests.filter((manifest) => !isPolicy(manifest));
    if (objects.length === 0) return;
    this.#terminal.out(`\n${this.#style("bold", hanging("", step.comment || step.file, this.#terminal))}\n`);
    for (const manifest of objects) await this.#apply(manifest, step.file);
  }

  async #apply(manifest: Manifest, file: string): Promise<void> {
    const request = requestOf(manifest);
    const by = request.user === undefined ? "" : `   # as ${request.user.username}`;
    const verb = request.isDeletion ? "delete" : "apply";
    this.#terminal.out(`${this.#style("dim", `$ kubectl ${verb} -f ${file}   # ${nameOf(manifest)}${by}`)}\n`);
    this.#clock.tick();
    const outcome = await this.#cluster.request(request, this.#client);
    if (outcome === undefined) this.#terminal.out(`Error from server (NotFound): ${nameOf(manifest)} not found\n`);
    else this.#show(outcome, file);
  }

  #show({ submission, admission, ...sent }: Outcome, file: string): void {
    const { allowed, patch, warnings } = admission;
    if (sent.isUnchanged === true) this.#counts.unchanged++;
    else if (allowed) this.#counts.allowed++;
    else this.#counts.denied++;
    if (allowed && patch.length > 0) this.#counts.patched++;
    if (allowed && warnings.length > 0) this.#counts.warned++;
    for (const operation of patch) this.#terminal.out(`  patched: ${shownOperation(operation)}\n`);
    const text = kubectlText(submission, admission, file, sent);
    const coloured = text
      .split("\n")
      .map((line) => (line.startsWith("Warning: ") ? this.#style("yellow", line) : line));
    this.#terminal.out(`${allowed ? coloured.join("\n") : this.#style("red", coloured.join("\n"))}\n`);
  }

  #style(format: "bold" | "dim" | "red" | "yellow", text: string): string {
    return this.#terminal.colour ? styleText(format, text, { validateStream: false }) : text;
  }
}

const shownOperation = (operation: PatchOperation): string =>
  `${operation.op} ${operation.path}${"value" in operation ? ` ${JSON.stringify(operation.value)}` : ""}`;
