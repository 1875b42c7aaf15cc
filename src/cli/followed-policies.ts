import type { Policies } from "../policy/policies.ts";
import type { Log } from "../telemetry/log.ts";
import type { Clock } from "../tls/clock.ts";
import { type PoliciesInForce, type PolicyOptions, policiesOf } from "./policy-options.ts";
import { shownError } from "./source-errors.ts";

/** How often the documents are read again: a mounted ConfigMap changes within a minute anyway. */
const pollMs = 5_000;

export interface FollowedPolicies {
  current(): Policies;
  close(): void;
}

/**
 * Policies that follow their files. A change takes effect without a restart; documents that cannot be read or are not
 * sound leave the last good ones in force, all of them, and are reported once.
 */
export function followPolicies(
  options: PolicyOptions,
  { policies }: PoliciesInForce,
  { log, clock }: { readonly log: Log; readonly clock: Clock },
): FollowedPolicies {
  let current = policies;
  let problem: string | undefined;
  let isReading = false;

  const look = async () => {
    const next = await policiesOf(options);
    const found = next.errors.map(shownError).join("\n") || undefined;
    if (found !== undefined) {
      if (found !== problem) log.error({ problem: found }, "policies not replaced, the last good ones stay");
    } else if (fingerprint(next.policies) !== fingerprint(current)) {
      current = next.policies;
      log.info({ documents: current.documents.map(({ title }) => title) }, "policies replaced");
    }
    problem = found;
  };
  const stop = clock.every(pollMs, () => {
    if (isReading) return;
    isReading = true;
    void look()
      .catch((error: unknown) => log.error({ problem: String(error) }, "policies could not be read again"))
      .finally(() => {
        isReading = false;
      });
  });
  return { current: () => current, close: stop };
}

const fingerprint = ({ documents, exceptions }: Policies): string => JSON.stringify([documents, exceptions]);
