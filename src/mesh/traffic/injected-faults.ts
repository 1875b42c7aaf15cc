import { durationMs } from "./durations.ts";
import type { HttpRoute } from "./virtual-services.ts";

type Fault = NonNullable<HttpRoute["fault"]>;

/** What Envoy does to a share of the requests of a route on purpose. */
export interface InjectedFault {
  readonly field: "abort" | "delay";
  /** The share of the requests, in per cent, above 0. */
  readonly percent: number;
  /** How long a request is delayed; undefined: it is aborted, or that is not a duration. */
  readonly delayMs?: number | undefined;
  /** The status of what is aborted: an HTTP status, or the name of one of gRPC. */
  readonly status?: number | string;
}

/**
 * The faults that Envoy gets: fixed delays, and aborts with a status. Without a percentage, no request is concerned, except by the
 * older field `percent` of a delay (Istio pilot/pkg/networking/core/route/route.go TranslateFault).
 */
export const injectedFaults = ({ fault }: Pick<HttpRoute, "fault">): readonly InjectedFault[] =>
  fault === undefined ? [] : [...delayOf(fault), ...abortOf(fault)].filter(({ percent }) => percent > 0);

const delayOf = ({ delay }: Fault): readonly InjectedFault[] =>
  delay?.fixedDelay
    ? [{ field: "delay", percent: percentOf(delay) ?? delay.percent ?? 0, delayMs: durationMs(delay.fixedDelay) }]
    : [];

function abortOf({ abort }: Fault): readonly InjectedFault[] {
  const status = abort?.httpStatus ?? (abort?.grpcStatus || undefined);
  if (abort === undefined || status === undefined) return [];
  return [{ field: "abort", percent: percentOf(abort) ?? 0, status }];
}

const percentOf = ({ percentage }: NonNullable<Fault["abort"] | Fault["delay"]>): number | undefined =>
  percentage && (percentage.value ?? 0);
