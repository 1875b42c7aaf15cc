import { namespaceKey } from "../../kube/identity.ts";
import type { AnyObject } from "../../kube/object.ts";
import type { Policies } from "../../policy/policies.ts";
import { type ProfileName, profileNames } from "../../policy/profiles.ts";
import { namespaceOfReported } from "../../report/filter.ts";
import { shownObject } from "../../report/phrases.ts";
import type { ReportedFinding } from "../../report/report.ts";
import { reportedObject } from "../../report/reported-finding.ts";
import { type DeniedObject, deniedCounts, type DenyingRule, type WhatIf } from "../../report/what-if.ts";
import { whatIfFormats } from "../../report/what-if-formats.ts";
import { suggestion } from "../../text/nearest.ts";
import { listed } from "../../text/phrases.ts";
import { UsageError } from "../../text/usage-error.ts";
import type { Mesh } from "../../view/view.ts";
import { objectsFor } from "../cluster-policies.ts";
import {
  type AuditOptions,
  auditReport,
  limited,
  meshToAudit,
  policiesToAudit,
  requireKnown,
  requireNamespaces,
} from "./report.ts";
import type { MeshFromFiles } from "../mesh-option.ts";
import { outputsOf, writeOutputs } from "../outputs.ts";
import { policiesWith } from "../policy-options.ts";
import { requireFormats } from "../report-output.ts";
import { shownErrors } from "../source-errors.ts";
import type { ExitCode, Terminal } from "../terminal.ts";

/**
 * Prints what other policies would deny of what is there. The exit code is 1 if that is anything, by `--fail-on`.
 * Throws a UsageError if the mesh or the policies cannot be read.
 */
export async function auditWhatIf(
  asked: string,
  options: AuditOptions & { readonly mesh: string },
  terminal: Terminal,
): Promise<ExitCode> {
  const outputs = outputsOf(options);
  requireFormats(outputs, whatIfFormats, "--what-if");
  const inForce = await policiesToAudit(options, terminal);
  const others = await otherPolicies(asked, options, terminal);
  requireKnown(options, inForce, others.policies);
  const files = await meshToAudit(options, terminal, [inForce, others.policies]);
  requireNamespaces(options, files.mesh);
  const whatIf = whatIfOf(files, { inForce, others }, options);
  writeOutputs(whatIf, { formats: whatIfFormats, outputs }, terminal);
  if (whatIf.errors.length > 0) return 2;
  return options.failOn !== "never" && whatIf.denied.length > 0 ? 1 : 0;
}

const isProfile = (name: string): name is ProfileName => profileNames.some((known) => known === name);

interface Others {
  /** `profile strict`, or `the policies in FILE`. */
  readonly name: string;
  readonly profile: string;
  readonly policies: Policies;
}

/** A name of a profile replaces the profile; a file adds its documents. A file of that name is written `./strict`. */
async function otherPolicies(asked: string, options: AuditOptions, terminal: Terminal): Promise<Others> {
  if (isProfile(asked)) {
    const policies = await policiesToAudit({ ...options, profile: asked }, terminal);
    return { name: `profile ${asked}`, profile: asked, policies };
  }
  const { policies, errors } = await policiesWith(options, asked, await objectsFor(options, terminal));
  if (errors.length > 0) {
    const meant = /[./\\]/.test(asked) ? "" : suggestion(asked, profileNames);
    throw new UsageError(
      `--what-if ${asked} is neither a profile (${listed(profileNames, "or")})${meant} nor a path with policies that have no errors:\n${shownErrors(errors)}`,
    );
  }
  return { name: `the policies in ${asked}`, profile: options.profile, policies };
}

function whatIfOf(
  files: MeshFromFiles,
  { inForce, others }: { inForce: Policies; others: Others },
  options: AuditOptions,
): WhatIf {
  const before = deniedIn(files, inForce, options);
  const isDeniedNow = new Set(before.findings.map((finding) => `${finding.rule} ${keyOf(finding)}`));
  const after = deniedIn(files, others.policies, { ...options, profile: others.profile });
  const objectsOf = (of: Denials) => deniedObjects(of, isDeniedNow, { mesh: files.mesh, labels: options.ownerLabel });
  const denied = objectsOf(after);
  const { skipped, errors, summary } = after.report;
  return {
    apiVersion: "meshward.io/v1alpha1",
    kind: "WhatIf",
    with: others.name,
    objects: summary.objects,
    inForce: deniedCounts(objectsOf(before)),
    asked: deniedCounts(denied),
    denied,
    byRule: rulesOf(denied),
    skipped,
    errors: errors.map(({ message }) => message),
  };
}

type Audited = ReturnType<typeof auditReport>;
interface Denials extends Audited {
  readonly findings: readonly ReportedFinding[];
}

function deniedIn(files: MeshFromFiles, policies: Policies, options: AuditOptions): Denials {
  const { report, rulings } = auditReport(files, policies, options);
  return {
    report,
    rulings,
    findings: limited(report, options, policies).findings.filter(({ mode }) => mode === "deny"),
  };
}

const keyOf = ({ object }: Pick<ReportedFinding, "object">): string => JSON.stringify(object);

interface OwnerSearch {
  readonly mesh: Mesh;
  /** The labels and annotations that name an owner, the first one that is set counts. */
  readonly labels: readonly string[];
}

function deniedObjects(
  { findings, rulings }: Denials,
  isDeniedNow: ReadonlySet<string>,
  search: OwnerSearch,
): readonly DeniedObject[] {
  const subjects = new Map(
    rulings.map(({ finding: { subject } }) => [JSON.stringify(reportedObject(subject)), subject]),
  );
  const denied = [...Map.groupBy(findings, keyOf)].flatMap(([key, [first, ...others]]) => {
    if (first === undefined) return [];
    const { object } = first;
    const subject = subjects.get(key);
    const owner = subject === undefined ? null : ownerOf(subject, search);
    return [
      { object, namespace: namespaceOfReported(object), owner, rules: denyingRules([first, ...others], isDeniedNow) },
    ];
  });
  const place = ({ namespace, owner, object }: DeniedObject) => `${namespace} ${owner ?? ""} ${shownObject(object)}`;
  return denied.sort((a, b) => (place(a) < place(b) ? -1 : 1));
}

function denyingRules(findings: readonly ReportedFinding[], isDeniedNow: ReadonlySet<string>): readonly DenyingRule[] {
  return [...Map.groupBy(findings, ({ rule }) => rule)].map(([rule, group]) => ({
    rule,
    findings: group.length,
    message: group[0]?.message ?? "",
    fix: group[0]?.fix ?? "",
    isDeniedNow: group.some((finding) => isDeniedNow.has(`${rule} ${keyOf(finding)}`)),
  }));
}

/** The owner that the object names, or its Namespace. */
function ownerOf({ metadata }: AnyObject, { mesh, labels }: OwnerSearch): string | null {
  const namespace = mesh.find("Namespace", namespaceKey(metadata.namespace))?.metadata;
  for (const one of [metadata, namespace])
    for (const key of labels) {
      const owner = one?.labels[key] ?? one?.annotations[key];
      if (owner !== undefined && owner !== "") return owner;
    }
  return null;
}

function rulesOf(denied: readonly DeniedObject[]): WhatIf["byRule"] {
  const byRule = new Map<string, { objects: number; namespaces: Set<string> }>();
  for (const { namespace, rules } of denied)
    for (const { rule } of rules) {
      const of = byRule.get(rule) ?? { objects: 0, namespaces: new Set<string>() };
      of.objects++;
      of.namespaces.add(namespace);
      byRule.set(rule, of);
    }
  return [...byRule]
    .map(([rule, { objects, namespaces }]) => ({ rule, objects, namespaces: namespaces.size }))
    .sort((a, b) => b.objects - a.objects || (a.rule < b.rule ? -1 : 1));
}
