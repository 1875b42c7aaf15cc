import { int32, optional, type Read, record, uint32 } from "./read.ts";

type Int = Read<number | undefined>;

/**
 * The limits and the outlier detection of clients, which DestinationRules and the mesh config have in the same form, with the readers of
 * their numbers.
 */
export const circuitBreaking = (signed: Int, unsigned: Int) => ({
  connectionPool: optional(
    record({
      tcp: optional(record({ maxConnections: signed })),
      http: optional(record({ http1MaxPendingRequests: signed, http2MaxRequests: signed })),
    }),
  ),
  outlierDetection: optional(
    record({
      consecutive5xxErrors: unsigned,
      consecutiveGatewayErrors: unsigned,
      consecutiveErrors: signed,
      maxEjectionPercent: signed,
      minHealthPercent: signed,
    }),
  ),
});

/** Those of a kind of its own, whose definition does not allow numbers in quotes. */
export const { connectionPool, outlierDetection } = circuitBreaking(int32, uint32);
