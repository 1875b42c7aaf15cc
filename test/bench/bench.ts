// npm run bench: what Meshward costs, as tables in Markdown. It measures, and judges nothing: the ratios are of one run.
// `npm run bench -- engine` measures one part: webhook, decisions, gate, policies, engine, wide, core, custom, intents, requests, connections, hostile,
// growth, audit, page, files, replica or cluster.

import { mkdtempSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { policiesOf } from "../../src/cli/policy-options.ts";
import { rules } from "../../src/rules/index.ts";
import { selfSigned } from "../../src/tls/self-signed.ts";
import { auditTable } from "./audit.ts";
import { clusterTable } from "./cluster.ts";
import { coreTable } from "./core.ts";
import { customRulesTable, keptTable } from "./custom-rules.ts";
import { connectionsTable } from "./connections.ts";
import { engineTable, wideTable } from "./engine.ts";
import { filesTable } from "./files.ts";
import { gateTable, pendingTable } from "./gate.ts";
import { growthTable } from "./growth.ts";
import { requestsTable } from "./requests.ts";
import { egressIntentsTable } from "./egress-intents.ts";
import { intentsTable } from "./intents.ts";
import { rootIntentsTable, wideIntentsTable } from "./root-intents.ts";
import { replicaTable } from "./replica.ts";
import { policiesTable } from "./policies.ts";
import { securityCases } from "./hostile-security.ts";
import { hostileTable } from "./hostile.ts";
import { trafficCases } from "./hostile-traffic.ts";
import { pageTable } from "./page.ts";
import { decisionsTable, webhookTable } from "./webhook.ts";

const folder = mkdtempSync(join(tmpdir(), "meshward-bench-"));
const wanted = process.argv.slice(2);

async function part(name: string, measure: () => string | Promise<string>): Promise<void> {
  if (wanted.length === 0 || wanted.includes(name)) process.stdout.write(`${await measure()}\n`);
}

try {
  const { certificates } = await selfSigned({ folder, now: Date.now() });
  const { policies } = await policiesOf({ profile: "strict" });
  process.stdout.write(`Node ${process.version}, ${cpus().length} cores, ${rules.length} rules\n\n`);
  await part("webhook", () => webhookTable(certificates.current()));
  await part("decisions", () => decisionsTable(certificates.current()));
  await part("gate", () => gateTable());
  await part("gate", () => pendingTable());
  await part("policies", () => policiesTable());
  await part("custom", () => customRulesTable());
  await part("custom", () => keptTable());
  await part("intents", () => intentsTable(rules));
  await part("intents", () => rootIntentsTable(rules));
  await part("intents", () => egressIntentsTable(rules));
  await part("intents", () => wideIntentsTable(rules));
  await part("engine", () => engineTable(rules, policies, [1_000, 100_000]));
  await part("wide", () => wideTable(rules, policies));
  await part("core", () => coreTable());
  await part("requests", () => requestsTable([1_000, 100_000]));
  await part("connections", () => connectionsTable());
  await part("hostile", () => hostileTable(rules, policies));
  await part("growth", () =>
    growthTable("Made to grow: mTLS, authorization, waypoints", securityCases, rules, policies),
  );
  await part("growth", () =>
    growthTable("Made to grow: routes, DestinationRules, gateways", trafficCases, rules, policies),
  );
  await part("audit", () => auditTable(certificates.current()));
  await part("page", () => pageTable());
  await part("files", () => filesTable(folder));
  await part("replica", () => replicaTable(folder, certificates.current()));
  await part("cluster", () => clusterTable(folder, certificates.current()));
} finally {
  rmSync(folder, { recursive: true });
}
