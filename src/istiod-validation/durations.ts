import type { Path } from "../kube/read.ts";
import { durationMs } from "../mesh/traffic/durations.ts";
import { quoted } from "../text/printable.ts";
import { isSet, type Refused, textOf } from "./raw.ts";

/** Istio pkg/config/validation/agent/validation.go ValidateDuration, for a duration that may be absent. */
export function* refusedDuration(value: unknown, at: Path): Refused {
  if (!isSet(value)) return;
  const shown = quoted(textOf(value));
  const ms = durationMs(textOf(value));
  if (ms === undefined) yield { at, message: `${shown} is no duration, such as 10s or 1m30s` };
  else if (ms < 1) yield { at, message: `A duration is at least 1ms, and ${shown} is less` };
  else if (!isWhole(ms)) yield { at, message: `A duration has whole milliseconds, and ${shown} does not` };
}

/** The sum of fractions of seconds is not exact: `1.001s` is 1000.9999999999999 ms. */
const isWhole = (ms: number): boolean => Math.abs(ms - Math.round(ms)) < 1e-7 * Math.max(1, ms / 1e6);

/** Whether Go reads a text as a duration, 0 and negative ones too (time.ParseDuration). */
export const isDurationText = (text: string): boolean =>
  /^[+-]?(?:0|(?:(?:\d+\.?\d*|\.\d+)(?:h|ms|m|s|us|\u00b5s|\u03bcs|ns))+)$/.test(text);
