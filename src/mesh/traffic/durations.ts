import { nanosecondsOf } from "../../text/go-durations.ts";

/**
 * A duration as Istio's CRDs write it, `1.5s`, `1m30s`, in milliseconds; undefined: it is missing, or is none (Go
 * time.ParseDuration), or is negative, which Istio refuses where it is the time that something takes.
 */
export function durationMs(text: string | undefined): number | undefined {
  const nanoseconds = text === undefined ? undefined : nanosecondsOf(text);
  return nanoseconds === undefined || nanoseconds < 0n ? undefined : Number(nanoseconds) / 1e6;
}

/** In words for a message: `1.5 s`, `250 ms`. */
export const shownDuration = (ms: number): string => (ms < 1000 ? `${ms} ms` : `${ms / 1000} s`);
