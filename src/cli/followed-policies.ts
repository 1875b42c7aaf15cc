import { modesOf } from "../engine/rule.ts";
import { lossesOf, moreAccepted } from "../policy/losses.ts";
import { isExpired } from "../policy/expiry.ts";
import type { Policies } from "../policy/policies.ts";
import { longExceptions } from "../policy/exceptions.ts";
import { continued } from "../policy/vanished.ts";
import { rules } from "../rules/index.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { Clock } from "../tls/clock.ts";
import { type PoliciesInForce, type PolicyOptions, policiesOf } from "./policy-options.ts";
import { shownError } from "./source-errors.ts";

/** How often the documents are read again. A mounted ConfigMap takes up to a minute to change anyway. */
const pollMs = 5_000;
/** Of a long list, the log shows this many entries. */
const mostShown = 20;

export interface FollowedPolicies {
  current(): Policies;
  /** Reads the documents now, as they are read every few seconds. */
  reload(): void;
  close(): void;
}

export interface Following {
  readonly log: Log;
  readonly metrics: Pick<Metrics, "policyReload" | "watchPolicies">;
  readonly clock: Clock;
  /** Called after other policies came into force. */
  readonly changed?: (policies: Policies) => void;
}

/**
 * Reloads policies when their files change, without a restart. If a document cannot be read or is invalid, all previous
 * documents stay in force, and the error is logged once. A MeshwardPolicy that is missing also stays in force if less
 * would be protected without it. What a document says is taken, and logged as an error if it protects less.
 */
export function followPolicies(
  options: PolicyOptions,
  { policies }: PoliciesInForce,
  { log, metrics, clock, changed }: Following,
): FollowedPolicies {
  let current = policies;
  let problem: string | undefined;
  let missing = "";
  let keptCount = 0;
  let loadedAtMs = clock.now();
  let lastRead = fingerprint(policies);
  let isReading = false;
  warnOfLongExceptions(policies, log, clock);
  metrics.watchPolicies(() => {
    const now = new Date(clock.now());
    const expired = current.exceptions.filter((exception) => isExpired(exception, now)).length;
    return {
      policies: { loaded: current.documents.length - keptCount, kept: keptCount },
      exceptions: { active: current.exceptions.length - expired, expired },
      loadedAtMs,
    };
  });

  const look = async () => {
    const read = await policiesOf(options);
    const found = read.errors.map(shownError).join("\n") || undefined;
    if (found === undefined) loadedAtMs = clock.now();
    if (found === undefined) take(read.policies);
    else if (found !== problem) {
      metrics.policyReload("refused");
      log.error({ problem: found }, "policies were not reloaded; the previous ones stay in force");
    }
    problem = found;
  };
  const take = (read: Policies) => {
    const text = fingerprint(read);
    if (text === lastRead) return;
    lastRead = text;
    const { policies: next, kept } = continued(current, read, defaultsOf(current));
    const titles = kept.map(({ title }) => title);
    keptCount = kept.length;
    if (titles.join() !== missing && kept.length > 0) log.error({ documents: some(titles) }, keptMessage);
    missing = titles.join();
    if (fingerprint(next) === fingerprint(current)) return;
    const previous = current;
    current = next;
    changed?.(next);
    tellReload(previous, next, { log, metrics });
    warnOfLongExceptions(next, log, clock);
  };
  const readAgain = () => {
    if (isReading) return;
    isReading = true;
    void look()
      .catch((error: unknown) => log.error({ problem: String(error) }, "policies could not be reloaded"))
      .finally(() => {
        isReading = false;
      });
  };
  return { current: () => current, reload: readAgain, close: clock.every(pollMs, readAgain) };
}

const keptMessage =
  "policies are missing in their source and stay in force, because less would be protected without them; " +
  "to remove one, set spec: { withdrawn: true } in a document of its name first";

const ruleDefaults = rules.map((rule) => ({ id: rule.id, mode: modesOf(rule) }));

/** A rule that a policy defines is off where no policy defines it. */
const defaultsOf = ({ customRules }: Policies) => [
  ...ruleDefaults,
  ...customRules.map(({ id }) => ({ id, mode: { protected: "off", elsewhere: "off" } as const })),
];

function tellReload(previous: Policies, next: Policies, { log, metrics }: Pick<Following, "log" | "metrics">): void {
  const documents = next.documents.map(({ title }) => title);
  const lost = lossesOf(previous, next, defaultsOf(previous));
  const accepted = moreAccepted(previous, next);
  const more = accepted.length > 0 ? { accepted: some(accepted) } : {};
  metrics.policyReload(lost.length > 0 ? "weaker" : "ok");
  if (lost.length > 0)
    log.error({ documents, lost: some(lost), ...more }, "policies were reloaded and protect less than before");
  else if (accepted.length > 0) log.warn({ documents, ...more }, "policies were reloaded and accept more findings");
  else log.info({ documents }, "policies were reloaded");
}

function warnOfLongExceptions({ exceptions }: Policies, log: Log, clock: Clock): void {
  const long = longExceptions(exceptions, new Date(clock.now()));
  if (long.length === 0) return;
  const listed = some(long.map(({ title, expiresAt }) => `${title} until ${expiresAt}`));
  log.warn({ exceptions: listed }, "exceptions end more than a year from now; give them an earlier expiresAt");
}

const some = (all: readonly string[]): readonly string[] =>
  all.length <= mostShown ? all : [...all.slice(0, mostShown), `and ${all.length - mostShown} more`];

const fingerprint = ({ documents, exceptions }: Policies): string =>
  JSON.stringify([documents.map(({ customRules: _rules, ...document }) => document), exceptions]);
