// Reviews that pause as in a server: how much CPU they take, and how long others wait for them.

import { setImmediate as nextTurn } from "node:timers/promises";
import { answer, notJudged } from "../../src/admission/answer.ts";
import { createGate, type GateParts } from "../../src/admission/gate.ts";
import { readReview } from "../../src/admission/review.ts";
import { cpuUs, threadMs } from "./measure.ts";

const sliceMs = 15;

export interface PacedReview {
  /** Of the process, with the threads that collect garbage meanwhile. */
  readonly ms: number;
  /** The longest time between two pauses: what any other review or probe waits for at most. */
  readonly longestMs: number;
  /** What other reviews wait for that come at any moment of this one, but for 1 % of them. */
  readonly waitP99Ms: number;
  readonly outcome: string;
}

export interface PacedGate {
  /** From the bytes of a review to the answer. */
  review(bytes: Buffer): Promise<PacedReview>;
}

/** A gate without a limit of CPU time, so that the whole cost is seen. */
export function pacedGate(parts: Pick<GateParts, "mesh" | "policies" | "rules">): PacedGate {
  let start = 0;
  let pieceStart = 0;
  let ms = 0;
  const pieces: number[] = [];
  const begin = () => {
    start = cpuUs();
    pieceStart = threadMs();
  };
  const end = () => {
    ms += (cpuUs() - start) / 1_000;
    pieces.push(threadMs() - pieceStart);
  };
  const pause = async () => {
    end();
    await nextTurn();
    begin();
  };
  const limits = { limitMs: Number.POSITIVE_INFINITY, sliceMs, cpuMs: threadMs };
  const gate = createGate({ ...parts, pacing: { ...limits, pause } });
  return {
    async review(bytes) {
      ms = 0;
      pieces.length = 0;
      begin();
      const reading = readReview(bytes);
      const decision = "request" in reading ? await gate.validate(reading.request) : notJudged(reading.problem);
      JSON.stringify(answer("uid", decision, "/validate"));
      end();
      return { ms, longestMs: Math.max(...pieces), waitP99Ms: waitOf(pieces, 0.99), outcome: decision.outcome };
    },
  };
}

/** Who comes at any moment within a piece waits for its rest. */
function waitOf(pieces: readonly number[], quantile: number): number {
  const total = pieces.reduce((sum, piece) => sum + piece, 0);
  // How much of the whole time it takes longer than this to the next pause.
  const isLess = (wait: number) =>
    pieces.reduce((sum, piece) => sum + Math.max(0, piece - wait), 0) <= (1 - quantile) * total;
  let [least, most] = [0, Math.max(...pieces)];
  while (most - least > 0.01) {
    const middle = (least + most) / 2;
    if (isLess(middle)) most = middle;
    else least = middle;
  }
  return most;
}
