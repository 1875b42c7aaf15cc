import type { Policies } from "../policy/policies.ts";
import type { Log } from "../telemetry/log.ts";
import type { Clock } from "../tls/clock.ts";
import { type PoliciesInForce, type PolicyOptions, policiesOf } from "./policy-options.ts";
import { shownError } from "./source-errors.ts";

/** How often the documents are read again. A mounted ConfigMap takes up to a minute to change anyway. */
const pollMs = 5_000;

export interface FollowedPolicies {
  current(): Policies;
  close(): void;
}

/**
 * Reloads policies when their files change, without a restart. If a document cannot be read or is invalid, all previous
 * documents stay in force, and the error is logged once.
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
      if (found !== problem)
        log.error({ problem: found }, "policies were not reloaded; the previous ones stay in force");
    } else if (fingerprint(next.policies) !== fingerprint(current)) {
      current = next.policies;
      log.info({ documents: current.documents.map(({ title }) => title) }, "policies were reloaded");
    }
    problem = found;
  };
  const stop = clock.every(pollMs, () => {
    if (isReading) return;
    isReading = true;
    void look()
      .catch((error: unknown) => log.error({ problem: String(error) }, "policies could not be reloaded"))
      .finally(() => {
        isReading = false;
      });
  });
  return { current: () => current, close: stop };
}

const fingerprint = ({ documents, exceptions }: Policies): string => JSON.stringify([documents, exceptions]);
