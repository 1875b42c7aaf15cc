import { clusterWord } from "../cluster-options.ts";
import { readFileSync } from "node:fs";
import { isObject, member } from "../../kube/read.ts";
import { type ReportDifference, reportDifference, type ReportSource } from "../../report/difference.ts";
import { differenceFormats } from "../../report/difference-formats.ts";
import type { Report } from "../../report/report.ts";
import { isSystemError } from "../../text/file-errors.ts";
import { UsageError } from "../../text/usage-error.ts";
import {
  type AuditOptions,
  auditReport,
  limited,
  meshToAudit,
  policiesToAudit,
  requireKnown,
  requireNamespaces,
} from "./report.ts";
import type { Mesh } from "../../view/view.ts";
import { firstSeenIn } from "./remembered-findings.ts";
import { outputsOf, writeOutputs } from "../outputs.ts";
import { requireFormats } from "../report-output.ts";
import type { ExitCode, Terminal } from "../terminal.ts";

/**
 * Compares the findings of two meshes or JSON reports. `--fail-on` is about those that appeared.
 * Throws a UsageError if one of them cannot be read.
 */
export async function auditDifference(
  paths: readonly string[],
  options: AuditOptions,
  terminal: Terminal,
): Promise<ExitCode> {
  const [older, newer, ...others] = paths;
  if (older === undefined || newer === undefined || others.length > 0)
    throw new UsageError(`--diff compares two meshes or reports, the older one first; ${paths.length} given`);
  if (options.mesh !== undefined || options.whatIf !== undefined)
    throw new UsageError("--diff reads the meshes that it names; leave out --mesh and --what-if");
  requireKnown(options, await policiesToAudit(options, terminal));
  const outputs = outputsOf(options);
  requireFormats(outputs, differenceFormats, "--diff");
  const compared = [await reportAt(older, options, terminal), await reportAt(newer, options, terminal)] as const;
  const meshes = compared.flatMap(({ mesh }) => mesh ?? []);
  // A report names only the namespaces of findings.
  if (meshes.length === compared.length) requireNamespaces(options, ...meshes);
  const difference = reportDifference(...compared);
  writeOutputs(difference, { formats: differenceFormats, outputs }, terminal);
  return exitCode(difference, options);
}

function exitCode({ appeared }: ReportDifference, { failOn }: AuditOptions): ExitCode {
  const failing = appeared.some(({ mode }) => mode === "deny" || (failOn === "warn" && mode === "warn"));
  return failOn !== "never" && failing ? 1 : 0;
}

/** The mesh of a report that was written before is not known. */
type Compared = ReportSource & { readonly mesh?: Mesh };

async function reportAt(source: string, options: AuditOptions, terminal: Terminal): Promise<Compared> {
  const written = writtenReport(source);
  if (written !== undefined) return { source, report: limited(written, options) };
  const policies = await policiesToAudit(options, terminal);
  const mesh = { ...options, mesh: source };
  const files = await meshToAudit(mesh, terminal, [policies], "--diff").catch((error: unknown) => {
    if (!(error instanceof UsageError) || source === clusterWord) throw error;
    throw new UsageError(`${error.message}\n  --diff compares meshes, and reports that audit wrote with --format json`);
  });
  const { report } = auditReport(files, policies, options, await firstSeenIn(mesh, terminal));
  return { source, report: limited(report, options, policies), mesh: files.mesh };
}

/** Undefined if the path is not that of a JSON report. */
function writtenReport(path: string): Report | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    // A folder, or the word cluster; a file that cannot be read is reported by whoever reads meshes.
    if (isSystemError(error)) return undefined;
    throw error;
  }
  if (!/^\s*\{\s*"apiVersion":\s*"meshward\.io\/[^"]*",\s*"kind":\s*"Report"/.test(text)) return undefined;
  let report: unknown;
  try {
    report = JSON.parse(text);
  } catch {
    throw new UsageError(`--diff: ${path} is a report that ends too early or is no JSON; write it again`);
  }
  if (isReport(report)) return report;
  throw new UsageError(
    `--diff: ${path} is a report of a Meshward that wrote no fingerprints; write it again with this version`,
  );
}

function isReport(value: unknown): value is Report {
  const [findings, skipped, errors] = ["findings", "skipped", "errors"].map((field) => member(value, field));
  const isList = Array.isArray(findings) && Array.isArray(skipped) && Array.isArray(errors);
  if (!isList || !isObject(member(value, "basis")) || !isObject(member(value, "summary"))) return false;
  return (findings as readonly unknown[]).every((finding) => typeof member(finding, "fingerprint") === "string");
}
