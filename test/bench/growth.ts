// Meshes and reviews that grow: what a review costs at n, 2n and 4n says more than what it costs at all.

import { answer, notJudged } from "../../src/admission/answer.ts";
import { createGate, type SynchronousGate } from "../../src/admission/gate.ts";
import { readReview } from "../../src/admission/review.ts";
import type { Rule } from "../../src/engine/rule.ts";
import type { Policies } from "../../src/policy/policies.ts";
import { cpuUs, median, shown, table } from "./measure.ts";
import { asStored, meshOf, type Raw } from "./mesh.ts";

/** A review that somebody made to be slow, at any size. */
export interface Growing {
  readonly title: string;
  /** The largest size; the others are a half and a quarter of it. */
  readonly n: number;
  /** As users write them, and all that is in the mesh. */
  readonly mesh: (n: number) => readonly Raw[];
  readonly body: (stored: readonly Raw[], n: number) => string;
  /** The cost laws evaluate the same case: at which size, and how it may grow there, if not as others do. */
  readonly law?: { readonly n?: number; readonly most?: number; readonly isMeshWide?: boolean };
}

/** A review that takes longer says enough when it has been asked once. */
const longMs = 2_000;

export function growthTable(
  title: string,
  cases: readonly Growing[],
  rules: readonly Rule[],
  inForce: Policies,
): string {
  const rows = cases.map(({ title, n, mesh, body }) => {
    const measured = [n / 4, n / 2, n].map((size) => {
      const stored = mesh(size).map(asStored);
      const view = meshOf(stored);
      const gate = createGate({ mesh: () => view, policies: () => inForce, rules });
      return asked(gate, Buffer.from(body(stored, size)));
    });
    const [quarter = Number.NaN, half = Number.NaN, whole = Number.NaN] = measured.map(({ ms }) => ms);
    const last = measured.at(-1);
    return [
      title,
      n.toLocaleString("en"),
      shown(last?.kilobytes ?? 0),
      last?.outcome ?? "",
      ...[quarter, half, whole].map(shown),
      `n^${exponent(quarter, whole).toFixed(1)}`,
    ];
  });
  return table(title, ["review", "n", "KB", "outcome", "n/4, ms", "n/2, ms", "n, ms", "growth"], rows);
}

const exponent = (quarter: number, whole: number): number => Math.log(whole / quarter) / Math.log(4);

/** CPU from the bytes to the answer, indexes built and code warm. */
function asked(gate: SynchronousGate, bytes: Buffer) {
  const times: number[] = [];
  let outcome = "";
  while (times.length < 6 && (times.at(-1) ?? 0) < longMs) {
    const start = cpuUs();
    const reading = readReview(bytes);
    const decision = "request" in reading ? gate.validate(reading.request) : notJudged(reading.problem);
    JSON.stringify(answer("uid", decision, "/validate"));
    times.push((cpuUs() - start) / 1_000);
    ({ outcome } = decision);
  }
  return { kilobytes: bytes.length / 1_024, outcome, ms: median(times.length > 1 ? times.slice(1) : times) };
}
