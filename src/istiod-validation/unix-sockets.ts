import type { Path } from "../kube/read.ts";
import { quoted } from "../text/printable.ts";
import type { Refused } from "./raw.ts";

const scheme = "unix://";

export const isSocket = (address: string): boolean => address.startsWith(scheme);

/** Istio pkg/config/validation/validation.go ValidateUnixAddress, for an address that begins with unix://. */
export function* refusedSocketPath(address: string, at: Path): Refused {
  const path = address.slice(scheme.length);
  if (!path.startsWith("@") && !(path.startsWith("/") && !path.endsWith("/")))
    yield { at, message: `A Unix socket is written as unix:///<file> or unix://@<name>, not as ${quoted(address)}` };
}
