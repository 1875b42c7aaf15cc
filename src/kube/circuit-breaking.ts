import { int32, optional, record, uint32 } from "./read.ts";

// The limits and the outlier detection of clients, which DestinationRules and the mesh config have in the same form.

export const connectionPool = optional(
  record({
    tcp: optional(record({ maxConnections: int32 })),
    http: optional(record({ http1MaxPendingRequests: int32, http2MaxRequests: int32 })),
  }),
);

export const outlierDetection = optional(
  record({
    consecutive5xxErrors: uint32,
    consecutiveGatewayErrors: uint32,
    consecutiveErrors: int32,
    maxEjectionPercent: int32,
    minHealthPercent: int32,
  }),
);
