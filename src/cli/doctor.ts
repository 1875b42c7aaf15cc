import { Command, Option } from "commander";
import packageJson from "../../package.json" with { type: "json" };
import { defaultNames } from "../controllers/permissions.ts";
import { protectedNamespacesOf } from "../deploy/fail-closed.ts";
import { defaultInstallation } from "../deploy/installation.ts";
import { type CheckResult, statuses } from "../doctor/check-result.ts";
import { ClusterApi } from "../doctor/cluster-api.ts";
import { examine, unlockCommand } from "../doctor/doctor.ts";
import { hanging } from "../report/page.ts";
import { rules } from "../rules/index.ts";
import { printableLine } from "../text/printable.ts";
import { UsageError } from "../text/usage-error.ts";
import { type ClusterOptions, contextOption, kubeconfigOption, withCluster } from "./cluster-options.ts";
import { policiesOf, policiesOption, type PolicyOptions, profileOption } from "./policy-options.ts";
import { shownError } from "./source-errors.ts";
import type { ExitCode, Terminal } from "./terminal.ts";

interface DoctorCommandOptions extends ClusterOptions, PolicyOptions {
  readonly webhookConfiguration: string;
  readonly namespace?: string;
  readonly istioNamespace: string;
  readonly output: "text" | "json";
}

export function doctorCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  return new Command("doctor")
    .description("check an installation: webhooks, certificates, permissions, replicas; stores nothing in the cluster")
    .addOption(kubeconfigOption())
    .addOption(contextOption())
    .option("--webhook-configuration <name>", "name of both webhook configurations", defaultNames.webhookConfiguration)
    .option("-n, --namespace <name>", "Meshward's own namespace; default: that of the Service that the webhooks name")
    .option("--istio-namespace <name>", "Istio's root namespace", defaultInstallation.istioNamespace)
    .addOption(policiesOption())
    .addOption(profileOption())
    .addOption(new Option("-o, --output <format>", "format of the result").choices(["text", "json"]).default("text"))
    .action(async (options: DoctorCommandOptions) => finish(await doctor(options, terminal)));
}

/** 0: no check failed. 1: a check failed. Throws a UsageError if the API server cannot be reached. */
async function doctor(options: DoctorCommandOptions, terminal: Terminal): Promise<ExitCode> {
  const { webhookConfiguration, namespace, istioNamespace, output } = options;
  const inForce = await policiesOf(options);
  if (inForce.errors.length > 0)
    throw new UsageError(`--policies has errors, correct them first:\n${inForce.errors.map(shownError).join("\n")}`);
  const results = await withCluster(options, terminal, (connection) =>
    examine(new ClusterApi(connection), {
      rules,
      version: packageJson.version,
      webhookConfiguration,
      namespace,
      istioNamespace,
      protectedNamespaces: protectedNamespacesOf(inForce.policies),
      policiesWith: async (objects) => (await policiesOf(options, objects)).policies,
      now: Date.now,
    }),
  );
  const unlock = unlockCommand(webhookConfiguration);
  terminal.out(output === "json" ? asJson(results, unlock) : asText(results, unlock, terminal));
  return results.some(({ status }) => status === "fail") ? 1 : 0;
}

const countsOf = (results: readonly CheckResult[]): Readonly<Record<string, number>> =>
  Object.fromEntries(statuses.map((one) => [one, results.filter(({ status }) => status === one).length]));

/** The results of the checks of an installation. */
interface DoctorReport {
  /** The version of this format. */
  readonly version: 1;
  /** The number of results with each status. */
  readonly summary: Readonly<Record<string, number>>;
  /** Their texts are for people; `check` and `status` are stable. */
  readonly results: readonly CheckResult[];
  /** The command that lets the cluster accept changes again if Meshward cannot answer. */
  readonly unlock: string;
}

function asJson(results: readonly CheckResult[], unlock: string): string {
  const report: DoctorReport = { version: 1, summary: countsOf(results), results, unlock };
  return `${JSON.stringify(report, null, 2)}\n`;
}

const shown = { ok: "OK", warn: "WARN", fail: "FAIL", unknown: "UNKNOWN" } as const;
const width = Math.max(...Object.values(shown).map(({ length }) => length)) + 2;
const longestLine = 1_000;

function asText(results: readonly CheckResult[], unlock: string, { columns }: Terminal): string {
  const lines = results.flatMap(({ check, status, message, advice }) => [
    hanging(shown[status].padEnd(width), `${check}: ${printableLine(message, longestLine)}`, { columns }),
    ...(advice === undefined ? [] : [hanging(" ".repeat(width), advice, { columns })]),
  ]);
  const counts = Object.entries(countsOf(results)).map(([status, count]) => `${count} ${status}`);
  return [
    ...lines,
    "",
    counts.join(", "),
    "",
    "If Meshward cannot answer and blocks the cluster, this lets it accept changes again, without reviews:",
    `  ${unlock}`,
    "",
  ].join("\n");
}
