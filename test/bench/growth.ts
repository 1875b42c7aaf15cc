// Meshes and reviews that grow: what a review costs at n, 2n and 4n says more than what it costs at all.

import type { Rule } from "../../src/engine/rule.ts";
import type { Policies } from "../../src/policy/policies.ts";
import { median, shown, table } from "./measure.ts";
import { asStored, meshOf, type Raw } from "./mesh.ts";
import { type PacedGate, pacedGate } from "./paced-review.ts";

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

export async function growthTable(
  title: string,
  cases: readonly Growing[],
  rules: readonly Rule[],
  inForce: Policies,
): Promise<string> {
  const rows: (readonly string[])[] = [];
  for (const one of cases) rows.push(await rowOf(one, rules, inForce));
  const sizes = ["n/4, ms", "n/2, ms", "n, ms", "growth", "n, longest without a pause, ms"];
  return table(title, ["review", "n", "KB", "outcome", ...sizes], rows);
}

async function rowOf({ title, n, mesh, body }: Growing, rules: readonly Rule[], inForce: Policies) {
  const measured: Measured[] = [];
  for (const size of [n / 4, n / 2, n]) {
    const stored = mesh(size).map(asStored);
    const view = meshOf(stored);
    measured.push(await asked(pacedGate({ mesh: () => view, policies: () => inForce, rules }), body(stored, size)));
  }
  const [quarter, half, whole] = measured as [Measured, Measured, Measured];
  return [
    title,
    n.toLocaleString("en"),
    shown(whole.kilobytes),
    whole.outcome,
    ...[quarter, half, whole].map(({ ms }) => shown(ms)),
    `n^${exponent(quarter.ms, whole.ms).toFixed(1)}`,
    shown(whole.longestMs),
  ];
}

const exponent = (quarter: number, whole: number): number => Math.log(whole / quarter) / Math.log(4);

interface Measured {
  readonly kilobytes: number;
  readonly outcome: string;
  readonly ms: number;
  readonly longestMs: number;
}

/** CPU from the bytes to the answer, indexes built and code warm. */
async function asked(gate: PacedGate, body: string): Promise<Measured> {
  const bytes = Buffer.from(body);
  const reviews = [await gate.review(bytes)];
  while (reviews.length < 6 && (reviews.at(-1)?.ms ?? 0) < longMs) reviews.push(await gate.review(bytes));
  const warm = reviews.length > 1 ? reviews.slice(1) : reviews;
  return {
    kilobytes: bytes.length / 1_024,
    outcome: reviews[0]?.outcome ?? "",
    ms: median(warm.map(({ ms }) => ms)),
    longestMs: median(warm.map(({ longestMs }) => longestMs)),
  };
}
