import { readFileSync } from "node:fs";
import type { Finding } from "../../src/engine/finding.ts";
import type { ParameterValue } from "../../src/engine/rule.ts";
import { identityOf, keyOf } from "../../src/kube/identity.ts";
import type { Kind } from "../../src/kube/kinds.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { type Manifest, readManifests } from "../../src/sources/manifests/manifests.ts";
import { Schemas } from "../../src/schemas/schemas.ts";
import { defaultMeshSettings, type AllMeshSettings, meshSettingsOf } from "../../src/view/settings.ts";
import type { Knowledge } from "../../src/view/view.ts";

export interface FixtureObject {
  readonly object: AnyObject;
  readonly manifest: Manifest;
  /** In a step rule's fixture: the object as the change makes it. */
  readonly isAfter: boolean;
  readonly isDeleted: boolean;
}

/**
 * A file of manifests with the findings expected on its lines:
 * - `# expect: <message> | <message>` at the end of the wrong line (the first line of the document for the whole object);
 * - `# expect-implied: <namespace>: <message>` anywhere: on a Namespace that no document shows;
 * - `# before:` and `# after:` on lines of their own divide a step rule's fixture;
 * - `# settings: rootNamespace=mesh-root, domain=corp.local`, `# unknown: Workload, Service`, `# parameters: {...}`.
 */
export interface Fixture {
  readonly objects: readonly FixtureObject[];
  readonly raws: readonly unknown[];
  readonly settings: AllMeshSettings;
  readonly knowledge: ReadonlyMap<Kind, Knowledge>;
  readonly parameters: Readonly<Record<string, ParameterValue>>;
  /** `line Kind namespace/name: message`, sorted. */
  readonly expected: readonly string[];
  lineOf(finding: Finding): string;
}

const schemas = new Schemas();
const deleted = "fixture.meshward.io/deleted";

/** `like` lends settings, knowledge and parameters to a file that has no comments. */
export async function readFixture(file: string, like?: Fixture): Promise<Fixture> {
  const text = readFileSync(file, "utf8");
  const lines = text.split(/\r?\n/);
  const { manifests, errors } = await readManifests([file]);
  for (const { line, message } of errors) throw new Error(`${file}: ${line}: ${message}`);
  const afterLine = lines.findIndex((line) => line.trim() === "# after:") + 1 || Number.POSITIVE_INFINITY;
  const objects = manifests.flatMap((manifest) => entryOf(manifest, afterLine));
  const before = objects.filter(({ isAfter }) => !isAfter).map(({ object }) => object);
  const { settings, knowledge, parameters } = like ?? headerOf(lines);
  return {
    objects,
    raws: manifests.map(({ raw }) => raw),
    settings: like ? settings : meshSettingsOf(before, settings),
    knowledge,
    parameters,
    expected: expectedIn(lines, objects),
    lineOf: (finding) => lineOf(finding, objects),
  };
}

function entryOf(manifest: Manifest, afterLine: number): FixtureObject[] {
  const read = readAny(manifest.raw, "default");
  if (read === undefined) return [];
  const invalid = schemas.faultsOf(manifest.raw);
  const object = invalid.length === 0 ? read : { ...read, invalid };
  const isDeleted = object.metadata.annotations[deleted] === "true";
  return [{ object, manifest, isAfter: manifest.locate([]).line > afterLine, isDeleted }];
}

function lineOf({ subject, at, message }: Finding, objects: readonly FixtureObject[]): string {
  const same = objects.filter(({ object }) => object.kind === subject.kind && keyOf(object) === keyOf(subject));
  const entry = same.find(({ object }) => object === subject) ?? same.at(-1);
  if (entry === undefined) return `implied ${subject.metadata.name}: ${message}`;
  return `${entry.manifest.locate(at).line} ${identityOf(subject)}: ${message}`;
}

function expectedIn(lines: readonly string[], objects: readonly FixtureObject[]): string[] {
  const expected: string[] = [];
  for (const [i, line] of lines.entries()) {
    const implied = /# expect-implied: (\S+): (.*)$/.exec(line);
    if (implied) expected.push(`implied ${implied[1]}: ${implied[2]?.trim()}`);
    const messages = /# expect: (.*)$/.exec(line)?.[1];
    if (messages === undefined) continue;
    const owner = objects.findLast(({ manifest }) => manifest.locate([]).line <= i + 1);
    if (owner === undefined) throw new Error(`line ${i + 1} is marked and belongs to no object`);
    for (const message of messages.split(" | "))
      expected.push(`${i + 1} ${identityOf(owner.object)}: ${message.trim()}`);
  }
  return expected.sort();
}

function headerOf(lines: readonly string[]) {
  const value = (name: string) => lines.find((line) => line.startsWith(`# ${name}: `))?.slice(name.length + 4) ?? "";
  const settings = Object.fromEntries(
    words(value("settings")).map((pair) => {
      const [key = "", text = ""] = pair.split("=");
      return [key, text];
    }),
  );
  const unknown = words(value("unknown")).map((kind) => [kind as Kind, "unknown"] as const);
  return {
    settings: { ...defaultMeshSettings, ...settings } as AllMeshSettings,
    knowledge: new Map<Kind, Knowledge>(unknown),
    parameters: JSON.parse(value("parameters") || "{}") as Record<string, ParameterValue>,
  };
}

const words = (text: string) => text.split(",").flatMap((word) => (word.trim() === "" ? [] : [word.trim()]));
