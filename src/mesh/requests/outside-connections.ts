import type { ClientTlsChoice } from "../client-tls/client-tls.ts";
import type { Sender } from "../membership/clients.ts";
import type { Backend } from "./arrival.ts";
import type { TransportOutcome } from "./outcome.ts";

const foreign =
  "the proxy uses the certificates of the mesh (ISTIO_MUTUAL), which the server outside the mesh has to accept";

/**
 * The connection to an endpoint outside the mesh. Without a DestinationRule that sets TLS, proxies pass on what the application
 * sends: what that is follows from the port, if its protocol says it.
 */
export function toOutside(
  { encryption }: NonNullable<Backend["outside"]>,
  sender: Sender,
  { tls, rule }: ClientTlsChoice,
): TransportOutcome {
  const of = { to: "outside", mode: undefined, waypoint: undefined, because: undefined } as const;
  const byApplication = { none: "plaintext", tls: "tls" } as const;
  const asSent = encryption === undefined ? "passed" : byApplication[encryption];
  if (sender !== "proxy" || tls === "auto") return { ...of, tls: "plaintext", rule: undefined, result: asSent };
  if (tls === "plaintext") return { ...of, tls, rule, result: asSent };
  return tls === "tls"
    ? { ...of, tls, rule, result: "tls" }
    : { ...of, tls, rule, result: "undecided", because: foreign };
}
