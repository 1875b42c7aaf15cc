import { writeFileSync } from "node:fs";
import { InvalidArgumentError, Option } from "commander";
import { stringify } from "yaml";
import type { Ruling } from "../../engine/ruling.ts";
import { namespaceOf } from "../../engine/setting.ts";
import { schemaUrl } from "../../config/rule-page.ts";
import { identityOf, namespaceKey } from "../../kube/identity.ts";
import { apiVersion, type ExceptionSpec } from "../../policy/documents.ts";
import { type LimitsInForce, limitsIn, refusalsOf } from "../../policy/exception-limits.ts";
import type { Policies } from "../../policy/policies.ts";
import { expiryOf, withinItsDay } from "../../policy/expiry.ts";
import { fingerprintOf } from "../../policy/fingerprint.ts";
import { unwritable } from "../../text/file-errors.ts";
import { counted } from "../../text/phrases.ts";
import { printableLine } from "../../text/printable.ts";
import { UsageError } from "../../text/usage-error.ts";
import type { Mesh } from "../../view/view.ts";
import { tellNote, type Terminal } from "../terminal.ts";

export interface WriteExceptionsOptions {
  readonly writeExceptions?: string;
  /** As `spec.expiresAt`. */
  readonly expires: string;
}

export const writeExceptionsOption = () =>
  new Option(
    "--write-exceptions <file>",
    "write MeshwardException documents that accept every finding that denies or warns",
  );
export const expiresOption = () =>
  new Option(
    "--expires <when>",
    "for --write-exceptions: when they end: a time from now (90d, 12w, 36h), a date (2027-01-31), or a time with a zone",
  )
    .argParser(expiry)
    .default(expiry(byDefault), byDefault);
const byDefault = "90d";

function expiry(text: string): string {
  const found = expiryOf(text, new Date());
  if ("expiresAt" in found) return found.expiresAt;
  throw new InvalidArgumentError(`${found.problem}.`);
}

/** What was audited: exceptions that are written count only as far as its policies allow them. */
export interface Audited {
  readonly rulings: readonly Ruling[];
  readonly policies: Policies;
  readonly mesh: Mesh;
}

/**
 * Writes one exception for each namespace and rule, which selects the findings by their fingerprints. Throws a UsageError if
 * the file exists, because somebody may have written reasons into it.
 */
export function writeExceptions(
  { rulings, policies, mesh }: Audited,
  { writeExceptions: file, expires: expiresAt }: WriteExceptionsOptions,
  terminal: Terminal,
): void {
  if (file === undefined) return;
  const now = new Date();
  const findings = rulings.flatMap(({ finding, mode }) => (mode === "deny" || mode === "warn" ? [finding] : []));
  const places = Map.groupBy(findings, ({ rule, subject }) => `${namespaceOf(subject)} ${rule.id}`);
  const taken = new Set(policies.exceptions.map(({ namespace, name }) => `${namespace}/${name}`));
  const documents = [...places]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([place, members]) => {
      const [namespace = "", rule = ""] = place.split(" ");
      if (namespace === "") return [];
      const fingerprints = members.map(({ subject, key, message }) =>
        fingerprintOf({ rule, identity: identityOf(subject), key: key ?? message }),
      );
      return [
        {
          apiVersion,
          kind: "MeshwardException",
          metadata: { name: freeName(rule, namespace, taken), namespace },
          spec: {
            rules: [rule],
            match: {
              objects: { names: [...new Set(members.map(({ subject }) => subject.metadata.name))].sort() },
              fingerprints: [...new Set(fingerprints)].sort(),
            },
            reason: "It was there when Meshward was introduced; replace this by the reason.",
            owner: "nobody yet; replace this by a team",
            expiresAt: endWithin(limitsOf(namespace, { policies, mesh }), { rules: [rule], expiresAt }, now),
          },
        },
      ];
    });
  const note = `# yaml-language-server: $schema=${schemaUrl("policy.schema.json")}\n`;
  try {
    writeFileSync(file, note + documents.map((document) => `---\n${stringify(document, { lineWidth: 0 })}`).join(""), {
      flag: "wx",
    });
  } catch (error) {
    const isThere = error instanceof Error && "code" in error && error.code === "EEXIST";
    const why = isThere ? "it exists, and may contain reasons; give another file, or remove it" : unwritable(error);
    throw new UsageError(`--write-exceptions ${file} cannot be written: ${why}`);
  }
  const left = findings.filter(({ subject }) => namespaceOf(subject) === "").length;
  const others = left === 0 ? "" : `; ${counted(left, "finding")} on objects without a namespace cannot be accepted`;
  tellNote(`${counted(documents.length, "exception")} until ${expiresAt} written to ${file}${others}`, terminal);
  tellRefused(documents, { policies, mesh, now }, terminal);
}

/** A name that no exception in force has, because of two documents of one name only the first counts. */
function freeName(rule: string, namespace: string, taken: ReadonlySet<string>): string {
  // The id of a rule that a policy defines has a slash, which a name cannot have.
  const name = `known-${rule.replaceAll("/", ".")}`;
  for (let i = 1; ; i++) {
    const free = i === 1 ? name : `${name}-${i}`;
    if (!taken.has(`${namespace}/${free}`)) return free;
  }
}

function limitsOf(namespace: string, { policies, mesh }: Pick<Audited, "policies" | "mesh">): LimitsInForce {
  const namespaceLabels = mesh.find("Namespace", namespaceKey(namespace))?.metadata.labels ?? {};
  return limitsIn({ namespace, namespaceLabels }, policies.index);
}

/**
 * The last day of an exception, or a time on it if the policies allow no more: a date counts until its end, so that the last day of
 * 30 days from now is in part beyond `maxDays: 30`.
 */
function endWithin(limits: LimitsInForce, spec: Pick<ExceptionSpec, "rules" | "expiresAt">, now: Date): string {
  const expiresAt = withinItsDay(spec.expiresAt, now);
  const isTooLong = refusalsOf(spec, limits, now).length > refusalsOf({ ...spec, expiresAt }, limits, now).length;
  return isTooLong ? expiresAt : spec.expiresAt;
}

interface Written {
  readonly metadata: { readonly namespace: string };
  readonly spec: Pick<ExceptionSpec, "rules" | "expiresAt">;
}

/** Says which of the written exceptions the policies do not allow, so that nobody relies on them. */
function tellRefused(
  documents: readonly Written[],
  { policies, mesh, now }: Pick<Audited, "policies" | "mesh"> & { readonly now: Date },
  terminal: Terminal,
): void {
  const refused = documents.flatMap(({ metadata: { namespace }, spec }) => {
    const [first] = refusalsOf(spec, limitsOf(namespace, { policies, mesh }), now);
    return first === undefined ? [] : [`${spec.rules.join()} in ${namespace}, because ${first.message}`];
  });
  if (refused.length === 0) return;
  const shown = refused.slice(0, mostRefused).join("; ");
  const more = refused.length > mostRefused ? `; and ${refused.length - mostRefused} more` : "";
  tellNote(
    printableLine(`${refused.length} of them will have no effect, as the policies are: ${shown}${more}`, 2_000),
    terminal,
  );
}
const mostRefused = 5;
