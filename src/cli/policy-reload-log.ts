import { modesOf } from "../engine/rule.ts";
import { longExceptions } from "../policy/exceptions.ts";
import { lossesOf, moreAccepted } from "../policy/losses.ts";
import type { Policies } from "../policy/policies.ts";
import { rules } from "../rules/index.ts";
import type { ReflectorState } from "../sources/cluster/reflector.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { Clock } from "../tls/clock.ts";

// What the log says of policies that are followed.

interface Telling {
  readonly log: Log;
  readonly metrics: Pick<Metrics, "policyReload">;
}

/** Of a long list, the log shows this many entries. */
const mostShown = 20;

export const some = (all: readonly string[]): readonly string[] =>
  all.length <= mostShown ? all : [...all.slice(0, mostShown), `and ${all.length - mostShown} more`];

export const keptMessage =
  "policies are missing in their source and stay in force, because less would be protected without them; " +
  "to remove one, set spec: { withdrawn: true } in a document of its name first";

const ruleDefaults = rules.map((rule) => ({ id: rule.id, tags: rule.tags, mode: modesOf(rule) }));

/** A rule that a policy defines is off where no policy defines it. */
export const defaultsOf = ({ customRules }: Policies) => [
  ...ruleDefaults,
  ...customRules.map(({ id, tags = [] }) => ({ id, tags, mode: { protected: "off", elsewhere: "off" } as const })),
];

/** What was gained and lost by a reload. */
export function tellReload(previous: Policies, next: Policies, { log, metrics }: Telling): void {
  const documents = some(next.documents.map(({ title }) => title));
  const lost = lossesOf(previous, next, defaultsOf(previous));
  const accepted = moreAccepted(previous, next);
  const more = accepted.length > 0 ? { accepted: some(accepted) } : {};
  metrics.policyReload(lost.length > 0 ? "weaker" : "ok");
  if (lost.length > 0)
    log.error({ documents, lost: some(lost), ...more }, "policies were reloaded and protect less than before");
  else if (accepted.length > 0) log.warn({ documents, ...more }, "policies were reloaded and accept more findings");
  else log.info({ documents }, "policies were reloaded");
}

export function warnOfLongExceptions(
  { exceptions }: Policies,
  { log, clock }: Pick<Telling, "log"> & { readonly clock: Clock },
): void {
  const long = longExceptions(exceptions, new Date(clock.now()));
  if (long.length === 0) return;
  const listed = some(long.map(({ title, expiresAt }) => `${title} until ${expiresAt}`));
  log.warn({ exceptions: listed }, "exceptions end more than a year from now; give them an earlier expiresAt");
}

/** The state of a watch of policy documents. */
export function messageFor({ status }: ReflectorState): string {
  if (status === "absent")
    return "the definition is not installed (deploy/crds), so there are no such policy documents";
  if (status === "forbidden") return "reading the policy documents is forbidden; those that were read stay in force";
  return "connection interrupted; the policy documents stay in force";
}
