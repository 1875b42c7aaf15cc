import { readFileSync } from "node:fs";
import { join } from "node:path";

// The corpus as it lies in the files of this folder: one JSON value a line, so that a change of one is a change of one
// line. Objects and meshes are referred to by the number of their line, from 1.

export type Raw = Readonly<Record<string, unknown>>;

/** What the gate says of a change. Ids of rules are sorted, each once; no text of a message is part of it. */
export interface Verdict {
  readonly allowed: boolean;
  readonly outcome: string;
  /** Rules that found something that counts at all, if only for the audit log. */
  readonly rules: readonly string[];
  /** Rules that the denial names. */
  readonly denied: readonly string[];
  /** Rules that the user is warned by. */
  readonly warned: readonly string[];
}

/** Rule, subject as `Kind namespace/name`, and the mode that it has in the end; sorted. */
export type AuditFinding = readonly [rule: string, subject: string, mode: string];
export interface Audit {
  readonly findings: readonly AuditFinding[];
}

/** What is expected, and, where it differs from what was expected before, why. */
export type Expected<T> = T & { readonly since?: string };
type Lists = "rules" | "denied" | "warned";
/** In the file, lists that are empty are left out, and so are `rules` that are just those that deny and warn. */
export type WrittenVerdict = Omit<Verdict, Lists> & Partial<Pick<Verdict, Lists>>;

export interface RecordedMesh {
  readonly objects: readonly Raw[];
  /** What differs from the default mesh settings and that no mesh config among the objects says. */
  readonly settings: Raw;
  /** By kind; `*` stands for all kinds that are not named. Where nothing is said, everything is known. */
  readonly knowledge: Readonly<Record<string, string>>;
}

export interface RecordedPolicies {
  readonly name: string;
  readonly profile: string;
  readonly documents: readonly Raw[];
}

/** Who writes, in which way. */
export interface RecordedWriter {
  readonly name: string;
  readonly user: string;
  readonly groups: readonly string[];
  readonly fieldManager?: string;
}

/** What the API server asks: without an old object it is a CREATE, without an object a DELETE, otherwise an UPDATE. */
export interface RecordedRequest {
  readonly object?: Raw;
  readonly oldObject?: Raw;
  readonly subResource?: string;
  readonly dryRun: boolean;
  readonly writer: RecordedWriter;
}

interface Case<T> {
  /** Unique. */
  readonly name: string;
  readonly mesh: RecordedMesh;
  readonly policies: RecordedPolicies;
  /** The last one holds; those before it are what was expected once. */
  readonly expected: readonly Expected<T>[];
}
export interface RecordedChange extends Case<Verdict> {
  readonly request: RecordedRequest;
}
export type RecordedAudit = Case<Audit>;

interface MeshLine {
  readonly objects: readonly number[];
  readonly settings?: Raw;
  readonly knowledge?: Readonly<Record<string, string>>;
}
export interface CaseLine<T> {
  readonly name: string;
  readonly mesh: number;
  /** Left out: the profile baseline and nothing else. */
  readonly policies?: string;
  readonly expected: readonly Expected<T>[];
}
export interface ChangeLine extends CaseLine<WrittenVerdict> {
  readonly object?: number;
  readonly oldObject?: number;
  readonly subResource?: string;
  readonly dryRun?: boolean;
  /** Left out: a person. */
  readonly writer?: string;
}

interface Lines {
  readonly objects: Raw;
  readonly meshes: MeshLine;
  readonly policies: RecordedPolicies;
  readonly writers: RecordedWriter;
  readonly changes: ChangeLine;
  readonly audits: CaseLine<Audit>;
}

export const fileOf = (table: keyof Lines): string => join(import.meta.dirname, `${table}.jsonl`);

export const linesOf = <T extends keyof Lines>(table: T): readonly Lines[T][] =>
  readFileSync(fileOf(table), "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Lines[T]);

/** Everything that is recorded, with what lines refer to in their place. */
export function corpus(): { readonly changes: readonly RecordedChange[]; readonly audits: readonly RecordedAudit[] } {
  const objects = linesOf("objects");
  const meshes = linesOf("meshes").map((line) => meshOf(line, objects));
  const policies = linesOf("policies");
  const writers = linesOf("writers");
  const placeOf = ({ mesh, policies: inForce = "baseline" }: CaseLine<unknown>) => ({
    mesh: numbered(meshes, mesh),
    policies: named(policies, inForce),
  });
  const requestOf = ({ object, oldObject, subResource, dryRun = false, writer = "person" }: ChangeLine) => ({
    ...(object === undefined ? {} : { object: numbered(objects, object) }),
    ...(oldObject === undefined ? {} : { oldObject: numbered(objects, oldObject) }),
    ...(subResource === undefined ? {} : { subResource }),
    dryRun,
    writer: named(writers, writer),
  });
  return {
    changes: linesOf("changes").map((line) => ({
      name: line.name,
      ...placeOf(line),
      request: requestOf(line),
      expected: line.expected.map(inFull),
    })),
    audits: linesOf("audits").map((line) => ({
      name: line.name,
      ...placeOf(line),
      expected: line.expected,
    })),
  };
}

const unionOf = (denied: readonly string[], warned: readonly string[]): readonly string[] =>
  [...new Set([...denied, ...warned])].sort();

function inFull({ denied = [], warned = [], ...verdict }: Expected<WrittenVerdict>): Expected<Verdict> {
  return { ...verdict, rules: verdict.rules ?? unionOf(denied, warned), denied, warned };
}

/** As the file has it. */
export function asWritten({ rules, denied, warned, ...verdict }: Expected<Verdict>): Expected<WrittenVerdict> {
  return {
    ...verdict,
    ...(rules.join() === unionOf(denied, warned).join() ? {} : { rules }),
    ...(denied.length === 0 ? {} : { denied }),
    ...(warned.length === 0 ? {} : { warned }),
  };
}

const meshOf = ({ objects, settings = {}, knowledge = {} }: MeshLine, all: readonly Raw[]): RecordedMesh => ({
  objects: objects.map((line) => numbered(all, line)),
  settings,
  knowledge,
});

function numbered<T>(lines: readonly T[], line: number): T {
  const found = lines[line - 1];
  if (found === undefined) throw new Error(`there is no line ${line} among ${lines.length}`);
  return found;
}

function named<T extends { readonly name: string }>(lines: readonly T[], name: string): T {
  const found = lines.find((line) => line.name === name);
  if (found === undefined) throw new Error(`nothing is named ${name}`);
  return found;
}
