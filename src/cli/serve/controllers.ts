import { hostname } from "node:os";
import { Election } from "../../controllers/election.ts";
import { defaultNames } from "../../controllers/permissions.ts";
import { SelfTest } from "../../controllers/self-test.ts";
import type { ReadinessCheck } from "../../http/readiness.ts";
import type { ClusterConnection } from "../../sources/cluster/connection.ts";
import type { Log } from "../../telemetry/log.ts";
import type { ControllerSample, Metrics } from "../../telemetry/metrics.ts";
import { systemClock } from "../../tls/clock.ts";

export interface ControllersOptions {
  /** Undefined: the mesh is read from files. */
  readonly connection: ClusterConnection | undefined;
  /** Meshward's own namespace; undefined if it is not known. */
  readonly namespace: string | undefined;
  readonly log: Log;
}

/** What runs beside the reviews, and needs a cluster and Meshward's own namespace in it. */
export interface Controllers {
  readonly election: Election | undefined;
  readonly checks: readonly ReadinessCheck[];
  readonly selfTest: SelfTest | undefined;
  /** Stops leading, so that another replica can go on at once. Never rejects. */
  handOver(): Promise<void>;
  close(): Promise<void>;
}

export function startControllers({ connection, namespace, log }: ControllersOptions): Controllers {
  if (connection === undefined || namespace === undefined)
    return {
      election: undefined,
      selfTest: undefined,
      checks: [],
      handOver: async () => undefined,
      close: async () => undefined,
    };
  const lease = { namespace, name: defaultNames.lease };
  const election = new Election({ connection, lease, replica: hostname(), log });
  const selfTest = new SelfTest({ connection, namespace, clock: systemClock, log });
  return {
    election,
    selfTest,
    checks: [electionCheck(election), selfTestCheck(selfTest)],
    handOver: () => election.stop(),
    async close() {
      await selfTest.close();
      await election.stop();
    },
  };
}

/** Reviews do not need a leader, so none of this makes a server unready. */
const electionCheck = (election: Election): ReadinessCheck => ({
  name: "election",
  problem: () => undefined,
  note() {
    const { leading, holder, problem } = election;
    return leading ? "this replica leads" : (problem ?? (holder === undefined ? "no leader yet" : `${holder} leads`));
  },
});

/**
 * For information only. A server must be ready before the API server can reach it through the Service, so a readiness that
 * waited for the self-test would never come; and a self-test that fails everywhere would take all replicas away at once.
 */
const selfTestCheck = (selfTest: SelfTest): ReadinessCheck => ({
  name: "self-test",
  problem: () => undefined,
  note: () => (selfTest.last === undefined ? "has not run yet" : `${selfTest.last.result}: ${selfTest.last.detail}`),
});

/** Exposes what the controllers and the certificate know. */
export function watchControllers(
  metrics: Metrics,
  { election, selfTest }: Controllers,
  certificate: () => Pick<ControllerSample, "authority" | "isTrusted">,
): void {
  metrics.watchControllers(() => ({
    leading: election?.leading ?? false,
    selfTest: selfTest?.last && { passed: selfTest.last.result === "passed", passedAtMs: selfTest.passedAtMs },
    ...certificate(),
  }));
}
