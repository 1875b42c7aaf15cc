import { createHash } from "node:crypto";
import { identityOf } from "../kube/identity.ts";
import type { Finding } from "./finding.ts";

/**
 * Identifies a problem: 32 hexadecimal digits of a hash of the rule, the object and the key. Two problems of one object can
 * have the same key and then the same fingerprint. The version of the object's API does not belong to it.
 */
export function fingerprintOf({ rule, subject, key, message }: Finding): string {
  const identity = JSON.stringify([rule.id, identityOf(subject), key ?? message]);
  return createHash("sha256").update(identity).digest("hex").slice(0, 32);
}
