import { requestError } from "../sources/cluster/cluster-error.ts";
import type { Log } from "../telemetry/log.ts";
import { isSameBundle } from "../tls/authority.ts";
import { type FoundConfiguration, otherOwners, type WebhookEntry } from "./webhook-configurations.ts";

/** The field manager of caBundle. */
const caBundleManager = "meshward-ca-bundle";

export interface CaBundleOptions {
  readonly log: Log;
  /** Wall clock, milliseconds since 1970. */
  readonly now: () => number;
  /** Called after a caBundle was written over what somebody else had written. */
  readonly repaired: () => void;
}

/** What happened to one configuration. */
interface History {
  /** The bundle that was written or found last. */
  agreed?: string;
  /** The resource version that was patched last; until the watch has brought a newer one, nothing is known. */
  patched?: string;
  /** The last state that somebody else made. */
  foreign?: string;
  foreignCount: number;
  foreignAtMs: number;
  repairAtMs: number;
  problem?: string;
}

/** So many changes by others are repaired at once; after that, ever later. */
const patience = 3;
const longestWaitMs = 300_000;
/** After this long without a change by others, their changes are forgotten. */
const forgetMs = 1_800_000;
/** After this long without a change by others, a dispute is over. */
const calmMs = 2 * longestWaitMs;
const retryMs = 2_000;

/**
 * Keeps caBundle of Meshward's own webhooks as it should be, and writes no other field. When somebody else keeps writing
 * the same field, repairs come ever more rarely, because two programs that correct each other help nobody.
 */
export class CaBundle {
  readonly #options: CaBundleOptions;
  readonly #histories = new Map<string, History>();
  #problem: string | undefined;

  constructor(options: CaBundleOptions) {
    this.#options = options;
  }

  /** Why a caBundle is not as it should be. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /**
   * Writes the bundle (PEM) into the configurations that differ. Called after each change, and again and again, because a
   * repair may have to wait. Never rejects.
   */
  async keep(configurations: readonly FoundConfiguration[], bundle: string): Promise<void> {
    const problems: string[] = [];
    for (const configuration of configurations) {
      const problem = await this.#keepOne(configuration, bundle);
      if (problem !== undefined) problems.push(problem);
    }
    this.#become(problems.length > 0 ? problems.join("; ") : undefined);
  }

  async #keepOne(configuration: FoundConfiguration, bundle: string): Promise<string | undefined> {
    const history = this.#historyOf(configuration);
    const wrong = configuration.entries.filter(({ caBundle }) => !isSameBundle(caBundle, bundle));
    if (wrong.length > 0) await this.#repair(configuration, bundle, wrong);
    else {
      history.agreed = bundle;
      if (this.#isCalm(history)) delete history.problem;
    }
    return history.problem;
  }

  async #repair(configuration: FoundConfiguration, bundle: string, wrong: readonly WebhookEntry[]): Promise<void> {
    const history = this.#historyOf(configuration);
    if (history.patched === versionOf(configuration)) return;
    const isForeign = history.agreed !== undefined && isSameBundle(history.agreed, bundle);
    if (isForeign) this.#noteForeign(configuration, history);
    if (this.#isTooEarly(history)) return;
    const result = await this.#write(configuration, bundle, wrong);
    if ("problem" in result) {
      history.repairAtMs = this.#options.now() + retryMs;
      history.problem = result.problem;
      return;
    }
    history.patched = versionOf(configuration);
    if (!result.isWritten) return;
    history.agreed = bundle;
    if (this.#isCalm(history)) delete history.problem;
    if (isForeign) this.#options.repaired();
  }

  #historyOf({ title }: FoundConfiguration): History {
    const known = this.#histories.get(title) ?? { foreignCount: 0, foreignAtMs: 0, repairAtMs: 0 };
    this.#histories.set(title, known);
    return known;
  }

  /** Counts a state that somebody else made, once, and decides when it is repaired. */
  #noteForeign(configuration: FoundConfiguration, history: History): void {
    if (history.foreign === versionOf(configuration)) return;
    const now = this.#options.now();
    history.foreign = versionOf(configuration);
    history.foreignCount = Math.abs(now - history.foreignAtMs) > forgetMs ? 1 : history.foreignCount + 1;
    history.foreignAtMs = now;
    const excess = history.foreignCount - patience;
    const waitMs = excess <= 0 ? 0 : Math.min(longestWaitMs, 1_000 * 2 ** Math.min(excess, 20));
    history.repairAtMs = now + waitMs;
    if (waitMs > 0) history.problem = foughtOver(configuration);
  }

  /** A repair under dispute is not the end of it. */
  #isCalm({ foreignCount, foreignAtMs }: History): boolean {
    return foreignCount <= patience || Math.abs(this.#options.now() - foreignAtMs) > calmMs;
  }

  /** A clock that was set back does not delay a repair. */
  #isTooEarly({ repairAtMs }: History): boolean {
    const waitMs = repairAtMs - this.#options.now();
    return waitMs > 0 && waitMs <= longestWaitMs;
  }

  /** The position in the list is only right for the state that was read, so the patch applies to no other. */
  async #write(
    { client, object, title }: FoundConfiguration,
    bundle: string,
    wrong: readonly WebhookEntry[],
  ): Promise<{ readonly isWritten: boolean } | { readonly problem: string }> {
    const value = Buffer.from(bundle).toString("base64");
    const { name, resourceVersion } = object.metadata;
    const operations = [
      { op: "test", path: "/metadata/resourceVersion", value: resourceVersion },
      ...wrong.map(({ index }) => ({ op: "add", path: `/webhooks/${index}/clientConfig/caBundle`, value })),
    ];
    try {
      await client.patch({ name }, "json", operations, { fieldManager: caBundleManager });
    } catch (error) {
      const { fault, message } = requestError("the API server", error);
      // Somebody was faster; the watch brings what they wrote.
      if (fault === "invalid" || fault === "conflict" || fault === "absent") return { isWritten: false };
      return { problem: `caBundle of the ${title} cannot be written: ${message}` };
    }
    this.#options.log.info({ configuration: title, webhooks: wrong.map(({ name }) => name) }, "caBundle was written");
    return { isWritten: true };
  }

  #become(problem: string | undefined): void {
    const hasChanged = problem !== this.#problem;
    this.#problem = problem;
    if (!hasChanged) return;
    if (problem === undefined) this.#options.log.info({}, "caBundle is as it should be again");
    else this.#options.log.error({ problem }, "caBundle is not as it should be");
  }
}

const versionOf = ({ object }: FoundConfiguration): string =>
  `${object.metadata.uid ?? ""}/${object.metadata.resourceVersion ?? ""}`;

function foughtOver({ title, object }: FoundConfiguration): string {
  const who = otherOwners(object, caBundleManager) ?? "somebody else";
  return (
    `${who} keeps changing caBundle of the ${title}; Meshward writes it again, but ever more rarely. ` +
    "Let only one of them set it: remove the other, or serve its certificate with --tls-cert and --tls-key"
  );
}
