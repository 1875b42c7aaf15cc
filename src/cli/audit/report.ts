import { keptFieldsOf, rulesInForce } from "../../custom-rules/in-force.ts";
import type { Ruling } from "../../engine/ruling.ts";
import { selectionOf } from "../../engine/setting.ts";
import { allKinds } from "../../kube/kinds.ts";
import type { Policies } from "../../policy/policies.ts";
import { filtered } from "../../report/filter.ts";
import { type Report, reportOf } from "../../report/report.ts";
import { type FirstSeenOf, reportedRulings } from "../../report/reported-finding.ts";
import { rules } from "../../rules/index.ts";
import { knowledgeOfMesh } from "../../sources/manifests/file-mesh.ts";
import { globs } from "../../text/globs.ts";
import { suggestion } from "../../text/nearest.ts";
import { UsageError } from "../../text/usage-error.ts";
import type { Mesh } from "../../view/view.ts";
import type { ClusterOptions } from "../cluster-options.ts";
import { judgeSet } from "../judge-files.ts";
import { type MeshFromFiles, readMesh, requireNamespace } from "../mesh-option.ts";
import type { ProjectOptions } from "../project-options.ts";
import { policiesFor } from "../cluster-policies.ts";
import { type PolicyOptions, shownPolicies } from "../policy-options.ts";
import { objectProgress } from "../progress.ts";
import { basisOf, countedByKind, unaskedRules } from "../report-basis.ts";
import { giveIntents } from "../given-intents.ts";
import { failedRule, guessed, placesOf, type ReportOptions, skips } from "../report-output.ts";
import { shownErrors } from "../source-errors.ts";
import type { Terminal } from "../terminal.ts";

export interface AuditOptions extends PolicyOptions, ClusterOptions, ReportOptions, ProjectOptions {
  /** Undefined only with `diff`. */
  readonly mesh?: string;
  readonly clusterDomain: string;
  readonly namespace?: readonly string[];
  readonly rule?: readonly string[];
  readonly tag?: readonly string[];
  readonly minMode?: "deny" | "warn" | "audit";
  /** A profile or a file with policies. */
  readonly whatIf?: string;
  readonly ownerLabel: readonly string[];
  /** Two meshes or reports. */
  readonly diff?: readonly string[];
  readonly writeExceptions?: string;
  /** As `spec.expiresAt` of an exception. */
  readonly expires: string;
}

/** The policies in force. Throws a UsageError if one has errors. */
export async function policiesToAudit(options: PolicyOptions & ClusterOptions, terminal: Terminal): Promise<Policies> {
  const { policies, errors } = await policiesFor(options, terminal);
  if (errors.length > 0)
    throw new UsageError(`${shownPolicies(options)} has errors, correct them first:\n${shownErrors(errors)}`);
  return policies;
}

type MeshToAudit = Pick<AuditOptions, "policies" | "clusterDomain"> & ClusterOptions & { mesh: string };

/**
 * Reads a mesh, with what these policies need of it, and shows on a terminal how far it is. Throws a UsageError if it
 * cannot be read. `option` names the mesh in errors.
 */
export async function meshToAudit(
  options: MeshToAudit,
  terminal: Terminal,
  policies: readonly Policies[],
  option = "--mesh",
): Promise<MeshFromFiles> {
  const progress = objectProgress(terminal);
  try {
    const keep = keptFieldsOf(policies.flatMap((one) => rulesInForce(rules, one)));
    const reading = { defaultNamespace: "default", knowledge: knowledgeOfMesh, received: progress.received, keep };
    const read = await readMesh(options, terminal, { ...reading, isEachChecked: true, option });
    const given = await giveIntents(read, options);
    return { ...read, objects: [...read.objects, ...given] };
  } finally {
    progress.end();
  }
}

/** Throws a UsageError for a namespace that none of the meshes has. */
export function requireNamespaces(
  { namespace = [] }: Pick<AuditOptions, "namespace">,
  ...meshes: readonly Mesh[]
): void {
  for (const name of namespace) requireNamespace("--namespace", name, meshes, globs([name]).matches);
}

/** All findings in a mesh, without any limit to what is shown. */
export function auditReport(
  files: MeshFromFiles,
  policies: Policies,
  { profile, docsUrl, settingsFile }: Pick<AuditOptions, "profile" | "docsUrl" | "settingsFile">,
  firstSeen?: FirstSeenOf,
): { readonly report: Report; readonly rulings: readonly Ruling[] } {
  const selection = selectionOf(policies);
  const inForce = rulesInForce(rules, policies);
  const { rulings, skipped, guesses, errors: failed } = judgeSet(files, { rules: inForce, selection });
  const places = placesOf(files.objects);
  const left = [
    ...skips(skipped),
    ...guessed(guesses),
    ...unaskedRules(
      { rules: inForce, selection, mesh: files.mesh },
      {
        steps: "an audit has no change: the webhook, or check with --mesh, asks it",
        requests: "an audit has none: the webhook, or check with --user, asks it",
      },
    ),
  ];
  const asStored = rulings.map((ruling) => ({ ...ruling, finding: { ...ruling.finding, introduced: false } }));
  const report = reportOf({
    basis: basisOf({
      ...{ rules: inForce, profile, policies, selection, settingsFile, mesh: files.mesh },
      objects: countedByKind(...allKinds.map((kind) => files.mesh.all(kind))),
      skipped: new Set(left.map(({ rule }) => rule)),
    }),
    ...reportedRulings(asStored, { places, docsUrl, firstSeen }),
    skipped: left,
    errors: failed.map((error) => failedRule(error, places)),
    objects: allKinds.reduce((sum, kind) => sum + files.mesh.count(kind), 0),
  });
  return { report, rulings };
}

/** The report with what the options ask for. The rules that policies define are known only with these policies. */
export function limited(
  report: Report,
  { namespace, rule, tag, minMode }: AuditOptions,
  ...policies: readonly Policies[]
): Report {
  if (namespace === undefined && rule === undefined && tag === undefined && minMode === undefined) return report;
  const filter = { namespaces: namespace ?? [], rules: rule ?? [], tags: tag ?? [], minMode: minMode ?? "audit" };
  return filtered(report, filter, new Map(inForceWith(policies).map(({ id, tags }) => [id, tags])));
}

/** Throws a UsageError for a rule or a tag that does not exist, because a report without findings would look like good news. */
export function requireKnown(
  { rule = [], tag = [] }: Pick<AuditOptions, "rule" | "tag">,
  ...policies: readonly Policies[]
): void {
  const inForce = inForceWith(policies);
  const ids = [...new Set(inForce.map(({ id }) => id))];
  const tags = [...new Set(inForce.flatMap((one) => one.tags))].sort();
  const unknownRule = rule.find((name) => !ids.some(globs([name]).matches));
  if (unknownRule !== undefined)
    throw new UsageError(`--rule: there is no rule ${JSON.stringify(unknownRule)}${suggestion(unknownRule, ids)}`);
  const unknownTag = tag.find((one) => !tags.includes(one));
  if (unknownTag !== undefined)
    throw new UsageError(
      `--tag: no rule has the tag ${JSON.stringify(unknownTag)}${suggestion(unknownTag, tags)}; tags are ${tags.join(", ")}`,
    );
}

const inForceWith = (policies: readonly Policies[]) =>
  [rules, ...policies.map((one) => rulesInForce(rules, one))].flat();
