// Reviews that pause as in a server: how much CPU they take, and how long others wait for them.

import { setImmediate as nextTurn } from "node:timers/promises";
import { answer, notJudged } from "../../src/admission/answer.ts";
import { createGate, type GateParts } from "../../src/admission/gate.ts";
import { readReview } from "../../src/admission/review.ts";
import { cpuUs } from "./measure.ts";

const sliceMs = 15;

export interface PacedReview {
  readonly ms: number;
  /** The longest time between two pauses: what any other review or probe waits for at most. */
  readonly longestMs: number;
  readonly outcome: string;
}

export interface PacedGate {
  /** From the bytes of a review to the answer. */
  review(bytes: Buffer): Promise<PacedReview>;
}

/** A gate without a limit of CPU time, so that the whole cost is seen. */
export function pacedGate(parts: Pick<GateParts, "mesh" | "policies" | "rules">): PacedGate {
  let start = 0;
  const pieces: number[] = [];
  const end = () => pieces.push((cpuUs() - start) / 1_000);
  const pause = async () => {
    end();
    await nextTurn();
    start = cpuUs();
  };
  const limits = { limitMs: Number.POSITIVE_INFINITY, sliceMs, cpuMs: () => cpuUs() / 1_000 };
  const gate = createGate({ ...parts, pacing: { ...limits, pause } });
  return {
    async review(bytes) {
      pieces.length = 0;
      start = cpuUs();
      const reading = readReview(bytes);
      const decision = "request" in reading ? await gate.validate(reading.request) : notJudged(reading.problem);
      JSON.stringify(answer("uid", decision, "/validate"));
      end();
      return {
        ms: pieces.reduce((sum, piece) => sum + piece, 0),
        longestMs: Math.max(...pieces),
        outcome: decision.outcome,
      };
    },
  };
}
