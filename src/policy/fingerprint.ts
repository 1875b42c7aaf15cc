import { hash } from "node:crypto";

/** What identifies a finding. */
export interface FindingIdentity {
  readonly rule: string;
  /** identityOf the object, which does not contain the version of its API. */
  readonly identity: string;
  /** The key of the problem; by default its message. */
  readonly key: string;
}

/**
 * Identifies a finding in reports, baselines and exceptions: 32 hexadecimal digits, which stay the same when the object is
 * created again.
 */
export const fingerprintOf = ({ rule, identity, key }: FindingIdentity): string =>
  hash("sha256", JSON.stringify([rule, identity, key]), "hex").slice(0, 32);
