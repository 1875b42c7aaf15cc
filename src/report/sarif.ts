import type { Location, Log, Notification, PhysicalLocation, ReportingDescriptor, Result, Run } from "sarif";
import packageJson from "../../package.json" with { type: "json" };
import { printableLine, printableText } from "../text/printable.ts";
import type { Destination } from "./format.ts";
import { acceptance, loweredBecause, shownObject, additionsOf } from "./phrases.ts";
import type { AcceptedFinding, Report, ReportedError, ReportedFinding, ReportedRule } from "./report.ts";

export const sarifLevels = { deny: "error", warn: "warning", audit: "note" } as const;

/**
 * SARIF 2.1.0 (https://docs.oasis-open.org/sarif/sarif/v2.1.0/) with one run: the rules that found something, a result for
 * each finding, a suppressed result for each that an exception accepts or a baseline lists, and a notification for what could not be
 * checked.
 */
export function sarifReport(report: Report, to: Destination): string {
  const log: Log = {
    $schema: "https://json.schemastore.org/sarif-2.1.0.json",
    version: "2.1.0",
    runs: [runOf(report, to)],
  };
  return `${JSON.stringify(log, null, 2)}\n`;
}

function runOf({ basis, rules, findings, accepted, errors, summary }: Report, to: Destination): Run {
  const indexes = new Map(rules.map(({ id }, i) => [id, i]));
  const resultOf = (finding: ReportedFinding) => ({
    ...shownFinding(finding, to),
    ruleIndex: indexes.get(finding.rule) ?? -1,
  });
  return {
    tool: {
      driver: {
        name: "Meshward",
        version: basis.version,
        semanticVersion: basis.version,
        informationUri: packageJson.homepage,
        rules: rules.map(descriptorOf),
      },
    },
    columnKind: "utf16CodeUnits",
    originalUriBaseIds: { "%SRCROOT%": { description: { text: "The root of the repository." } } },
    invocations: [
      {
        executionSuccessful: errors.length === 0,
        endTimeUtc: basis.time,
        toolExecutionNotifications: errors.map((error) => notificationOf(error, to)),
      },
    ],
    results: [
      ...findings.map((finding) => ({ ...resultOf(finding), suppressions: knownBy(finding) })),
      ...accepted.map((finding) => ({ ...resultOf(finding), suppressions: [suppressionOf(finding)] })),
    ],
    properties: {
      profile: basis.profile,
      policies: basis.policies.map(text),
      protectedNamespaces: basis.protectedNamespaces.map(text),
      objects: summary.objects,
    },
  };
}

function descriptorOf({ id, summary, why, fix, docs, tags }: ReportedRule): ReportingDescriptor {
  return {
    id,
    shortDescription: { text: text(summary) },
    fullDescription: { text: text(why) },
    help: {
      text: paragraphs([summary, why, `Fix: ${fix}`]),
      markdown: paragraphs([summary, why, `**Fix:** ${fix}`, `[${id}](${docs})`]),
    },
    ...(URL.canParse(docs) ? { helpUri: docs } : {}),
    properties: { tags: [...tags] },
  };
}

function shownFinding(finding: ReportedFinding, to: Destination): Result {
  const { rule, fingerprint, mode, introduced, lowered, object, path, message, fix, related, baselineState } = finding;
  const because = loweredBecause(finding);
  const name = path === "" ? shownObject(object) : `${shownObject(object)} ${path}`;
  return {
    ruleId: rule,
    level: sarifLevels[mode],
    message: {
      text: text(
        [
          `${shownObject(object)}: ${message}${because === undefined ? "" : ` (${because})`}. Fix: ${fix}`,
          ...additionsOf(finding),
        ].join(" "),
      ),
    },
    locations: [{ ...physical(finding, to), logicalLocations: [{ fullyQualifiedName: text(name), kind: "object" }] }],
    ...(related.length === 0
      ? {}
      : {
          relatedLocations: related.map((one, i) => ({
            ...{ id: i + 1, ...physical(one, to), message: { text: text(shownObject(one)) } },
            logicalLocations: [{ fullyQualifiedName: text(shownObject(one)), kind: "object" }],
          })),
        }),
    // What a baseline lists and is gone is no result: GitHub would show it as a problem that is there.
    ...(baselineState === undefined ? {} : { baselineState }),
    fingerprints: { "meshward/v1": fingerprint },
    partialFingerprints: { "meshward/v1": fingerprint },
    properties: {
      mode,
      introduced,
      policy: finding.policy,
      lowered: lowered.map((one) => ({ ...one, reason: text(one.reason) })),
    },
  };
}

const suppressionOf = (finding: AcceptedFinding) => ({
  kind: "external" as const,
  status: "accepted" as const,
  justification: text(acceptance(finding)),
  properties: Object.fromEntries(Object.entries(finding.exception).map(([name, value]) => [name, text(value)])),
});

/** A suppression for a finding that `--baseline` lists. */
const knownBy = ({ lowered }: ReportedFinding) =>
  lowered
    .filter(({ step }) => step === "baseline")
    .map(({ reason }) => ({ kind: "external" as const, status: "accepted" as const, justification: text(reason) }));

interface InFile {
  readonly file: string | null;
  readonly line: number | null;
  readonly column?: number | null;
}

function physical({ file, line, column }: InFile, to: Destination): Pick<Location, "physicalLocation"> {
  // Standard input is no artifact.
  if (file === null || file.startsWith("<")) return {};
  const region = line === null ? {} : { region: { startLine: line, startColumn: column ?? 1 } };
  return { physicalLocation: { artifactLocation: artifactOf(to.repositoryPath(file)), ...region } };
}

function artifactOf(path: string): NonNullable<PhysicalLocation["artifactLocation"]> {
  const uri = path.split("/").map(encoded).join("/");
  return path.startsWith("/") ? { uri: `file://${uri}` } : { uri, uriBaseId: "%SRCROOT%" };
}

/** A lone surrogate, which no URI can contain, becomes U+FFFD. */
const encoded = (segment: string): string => encodeURIComponent(segment.toWellFormed());

const notificationOf = (error: ReportedError, to: Destination): Notification => ({
  level: "error",
  message: { text: text(error.message) },
  ...(error.file === null ? {} : { locations: [physical(error, to)] }),
});

/** Brackets before a parenthesis would be a link (SARIF 3.11.6), which only Meshward itself may write. */
const text = (line: string): string => printableLine(line, 4000).replaceAll("](", "] (");
const paragraphs = (parts: readonly string[]): string => printableText(parts.join("\n\n"), 20_000);
