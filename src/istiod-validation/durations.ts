import type { Path } from "../kube/read.ts";
import { nanosecondsOf } from "../text/go-durations.ts";
import { quoted } from "../text/printable.ts";
import { isSet, type Refused, textOf } from "./raw.ts";

const millisecond = 1_000_000n;

/** Istio pkg/config/validation/agent/validation.go ValidateDuration, for a duration that may be absent. */
export function* refusedDuration(value: unknown, at: Path): Refused {
  if (!isSet(value)) return;
  const shown = quoted(textOf(value));
  const nanoseconds = nanosecondsOf(textOf(value));
  if (nanoseconds === undefined) yield* refusedReading(value, at);
  else if (nanoseconds < millisecond) yield { at, message: `A duration is at least 1ms, and ${shown} is less` };
  else if (nanoseconds % millisecond !== 0n)
    yield { at, message: `A duration has whole milliseconds, and ${shown} does not` };
}

/**
 * A duration that istiod does not validate has to be one still: reading the object fails otherwise (Istio
 * pkg/webhooks/validation/server/server.go, with golang/protobuf jsonpb).
 */
export function* refusedReading(value: unknown, at: Path): Refused {
  if (isSet(value) && nanosecondsOf(textOf(value)) === undefined)
    yield { at, message: `${quoted(textOf(value))} is no duration, such as 10s or 1m30s` };
}
