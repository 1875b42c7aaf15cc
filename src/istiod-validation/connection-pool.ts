import type { Path } from "../kube/read.ts";
import { nanosecondsOf } from "../text/go-durations.ts";
import { refusedDuration } from "./durations.ts";
import { type Fields, fieldsOf, isSet, numberOf, type Refused, textOf } from "./raw.ts";

const counts = {
  tcp: ["maxConnections"],
  http: [
    "http1MaxPendingRequests",
    "http2MaxRequests",
    "maxRequestsPerConnection",
    "maxRetries",
    "maxConcurrentStreams",
  ],
} as const;

/** Istio pkg/config/validation/validation.go validateConnectionPool, for a pool that may be absent. */
export function* refusedPool(value: unknown, at: Path): Refused {
  if (!isSet(value)) return;
  const pool = fieldsOf(value);
  if (!isSet(pool["tcp"]) && !isSet(pool["http"])) yield { at, message: "A connection pool needs tcp or http" };
  for (const protocol of ["tcp", "http"] as const)
    for (const field of counts[protocol])
      if (numberOf(fieldsOf(pool[protocol])[field]) < 0)
        yield { at: [...at, protocol, field], message: `${field} cannot be negative` };
  yield* refusedHttp(fieldsOf(pool["http"]), [...at, "http"]);
  yield* refusedTcp(fieldsOf(pool["tcp"]), [...at, "tcp"]);
}

function* refusedHttp(http: Fields, at: Path): Refused {
  yield* refusedDuration(http["idleTimeout"], [...at, "idleTimeout"]);
  if (http["h2UpgradePolicy"] === "UPGRADE" && http["useClientProtocol"] === true)
    yield {
      at: [...at, "useClientProtocol"],
      message: "useClientProtocol and h2UpgradePolicy UPGRADE exclude each other",
    };
  const keepAlive = fieldsOf(http["http2KeepAlive"]);
  for (const field of isSet(http["http2KeepAlive"]) ? ["interval", "timeout"] : []) {
    const place = [...at, "http2KeepAlive"];
    if (isSet(keepAlive[field])) yield* refusedDuration(keepAlive[field], [...place, field]);
    else yield { at: place, message: "http2KeepAlive needs interval and timeout" };
  }
}

function* refusedTcp(tcp: Fields, at: Path): Refused {
  for (const field of ["connectTimeout", "maxConnectionDuration"]) yield* refusedDuration(tcp[field], [...at, field]);
  // istiod reads less than a millisecond as 0s, with which connections never time out.
  const idle = nanosecondsOf(textOf(tcp["idleTimeout"]));
  if (idle === undefined || idle / 1_000_000n !== 0n)
    yield* refusedDuration(tcp["idleTimeout"], [...at, "idleTimeout"]);
  const keepalive = fieldsOf(tcp["tcpKeepalive"]);
  for (const field of ["time", "interval"]) yield* refusedDuration(keepalive[field], [...at, "tcpKeepalive", field]);
}
