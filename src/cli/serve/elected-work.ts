import type { Election } from "../../controllers/election.ts";
import { IntentStatusWriter } from "../../controllers/intent-status.ts";
import { PolicyStatusWriter } from "../../controllers/policy-status.ts";
import { intentInvalid } from "../../rules/intent/invalid.ts";
import { intentNotHeld } from "../../rules/intent/not-held.ts";
import { pageOf } from "../../config/rule-page.ts";
import { type BackgroundAuditFlags, type BackgroundAuditParts, startBackgroundAudit } from "./background-audit.ts";
import type { FollowedMesh } from "./followed-mesh.ts";
import type { FollowedPolicies } from "../followed-policies.ts";
import type { PolicyOptions } from "../policy-options.ts";

export interface ElectedWorkOptions extends BackgroundAuditFlags, Pick<PolicyOptions, "policiesFromCluster"> {
  readonly docsUrl: string;
}

export interface ElectedWorkParts extends Pick<BackgroundAuditParts, "tell" | "reviews" | "found" | "log" | "metrics"> {
  readonly mesh: FollowedMesh;
  readonly policies: FollowedPolicies;
  readonly election: Election | undefined;
}

/** Starts what one replica does for all: it audits the mesh, and writes the status of policies and intents. */
export function startElectedWork(options: ElectedWorkOptions, parts: ElectedWorkParts): { close(): Promise<void> } {
  const { mesh, policies, election, tell, reviews, log, metrics } = parts;
  const statuses = statusWriterOf(options, parts);
  const rules = { invalid: intentInvalid, notHeld: intentNotHeld };
  const intents = mesh.connection && new IntentStatusWriter({ connection: mesh.connection, rules, log });
  election?.onChange((isLeading) => {
    statuses?.lead(isLeading);
    intents?.lead(isLeading);
  });
  const audit = startBackgroundAudit({
    tell,
    reviews,
    log,
    metrics,
    election,
    policies: () => policies.current(),
    async found(outcome, firstSeen, turn) {
      await parts.found?.(outcome, firstSeen, turn);
      statuses?.audited(outcome.rulings.flatMap(({ exception }) => exception ?? []));
      await intents?.audited(outcome, turn);
    },
    auditInterval: options.auditInterval,
    auditReports: options.auditReports,
    mesh: mesh.current,
    checks: mesh.checks,
    pageOf: (id) => pageOf(id, options.docsUrl),
    connection: mesh.connection,
  });
  return {
    async close() {
      await audit.close();
      await statuses?.close();
      await intents?.close();
    },
  };
}

function statusWriterOf(
  { policiesFromCluster }: ElectedWorkOptions,
  { mesh, policies, log }: ElectedWorkParts,
): PolicyStatusWriter | undefined {
  const { connection } = mesh;
  if (!policiesFromCluster || connection === undefined) return undefined;
  const writer = new PolicyStatusWriter({
    connection,
    objects: () => policies.objects(),
    policies: () => policies.current(),
    mesh: mesh.current,
    log,
  });
  policies.onChange(() => writer.changed());
  return writer;
}
