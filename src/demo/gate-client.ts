import { answer } from "../admission/answer.ts";
import { type Gate, readReview } from "../admission/review.ts";
import { admitThrough, type ApiServerClient } from "./api-server-client.ts";

/** Sends reviews to a gate in this process: everything that `serve` does for a review, but for the connection. */
export function createGateClient(gate: Gate, now: () => Date): ApiServerClient {
  return {
    admit: (submission) =>
      admitThrough(
        submission,
        async ({ path }, body) => {
          const reading = readReview(body);
          if ("problem" in reading) return { status: 500, text: reading.problem };
          const { request } = reading;
          const decision = await (path === "/validate" ? gate.validate(request) : gate.mutate(request));
          return { status: 200, text: JSON.stringify(answer(request.uid, decision, path)) };
        },
        { now },
      ),
    close: () => undefined,
  };
}
