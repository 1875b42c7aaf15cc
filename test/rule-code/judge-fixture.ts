import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { audit } from "../../src/engine/audit.ts";
import { judge } from "../../src/engine/evaluate.ts";
import type { Finding } from "../../src/engine/finding.ts";
import type { Rule } from "../../src/engine/rule.ts";
import { everyRule, type Selection } from "../../src/engine/setting.ts";
import { identityOf, keyOf } from "../../src/kube/identity.ts";
import type { AnyObject } from "../../src/kube/object.ts";
import type { Change } from "../../src/view/overlay.ts";
import { MeshStore } from "../../src/view/store.ts";
import { type Fixture, type FixtureObject, readFixture } from "./fixture.ts";

// One fixture through every door: the same mesh must give the same findings whichever way it comes in.

const temporary = mkdtempSync(join(tmpdir(), "meshward-fixtures-"));
// Not after the tests of one file: all files of a process share this.
process.on("exit", () => rmSync(temporary, { recursive: true }));

/** Fails unless the rule finds what the file is marked with and nothing else. Says how many findings and clean objects there are. */
export async function judgeFixture(rule: Rule, file: string): Promise<{ marked: number; clean: number }> {
  const fixture = await readFixture(file);
  if (isStepFixture(rule, fixture)) assert.deepEqual(byStep(rule, fixture), fixture.expected);
  else await stateFixture(rule, fixture);
  return {
    marked: fixture.expected.length,
    clean: fixture.objects.filter((object) => isUnmarked(object, fixture)).length,
  };
}

/** The files of a rule that are one mesh with the mistake and without it. */
export const pair = { wrong: "wrong.yaml", right: "right.yaml" } as const;

/**
 * Fails unless the rule finds what `wrong.yaml` is marked with, in the change from `right.yaml` and, if it checks objects as
 * they are, in an audit; and nothing in `right.yaml`.
 */
export async function judgePair(rule: Rule, folder: string): Promise<void> {
  const right = await readFixture(join(folder, pair.right));
  const wrong = await readFixture(join(folder, pair.wrong));
  assert.ok(wrong.expected.length > 0, `no line of ${pair.wrong} is marked with # expect:`);
  assert.deepEqual(right.expected, [], `${pair.right} has a mark`);
  const before = objectsBefore(rule, right, wrong);
  const introduced = introducedBy(rule, right, meshOf(right, before), ...changesBetween(before, objectsOf(wrong)));
  assert.deepEqual(
    [...new Set(introduced.map((finding) => wrong.lineOf(finding)))].sort(),
    wrong.expected,
    "the change",
  );
  if (!rule.check) return;
  assert.deepEqual(byAudit(rule, wrong), wrong.expected, `audit of ${pair.wrong}`);
  assert.deepEqual(byAudit(rule, right), [], `audit of ${pair.right}`);
}

const objectsOf = ({ objects }: Fixture): readonly AnyObject[] => objects.map(({ object }) => object);

/** A rule that checks only the changed objects is shown the marked ones as new, whatever else is mended in `right.yaml`. */
const objectsBefore = ({ onlyOwnChanges, compare }: Rule, right: Fixture, wrong: Fixture): readonly AnyObject[] =>
  onlyOwnChanges === true && compare === undefined
    ? objectsOf(right).filter((object) => !wrong.expected.some((line) => line.includes(` ${identityOf(object)}: `)))
    : objectsOf(right);

function changesBetween(before: readonly AnyObject[], after: readonly AnyObject[]): readonly Change[] {
  const keyed = (objects: readonly AnyObject[]) =>
    new Map(objects.map((object) => [`${object.kind} ${keyOf(object)}`, object] as const));
  const [old, now] = [keyed(before), keyed(after)];
  return [...new Set([...old.keys(), ...now.keys()])].flatMap((key) => {
    const [was, is] = [old.get(key), now.get(key)];
    return isDeepStrictEqual(was, is) ? [] : [{ old: was, ...(is === undefined ? {} : { object: is }) }];
  });
}

/** What a rule finds in a fixture: introduced by its changes, or there already. */
export async function findingsOfFixture(rule: Rule, file: string): Promise<readonly Finding[]> {
  const fixture = await readFixture(file);
  const objects = fixture.objects.map(({ object }) => object);
  return isStepFixture(rule, fixture) ? stepFindings(rule, fixture) : findingsOf(rule, fixture, objects);
}

/** A rule that has both ways compares in admission, and says in an audit what is. */
const isStepFixture = (rule: Rule, fixture: Fixture): boolean =>
  rule.compare !== undefined && (!rule.check || fixture.objects.some(({ isAfter }) => isAfter));

async function stateFixture(rule: Rule, fixture: Fixture): Promise<void> {
  assert.deepEqual(byAudit(rule, fixture), fixture.expected, "audit of the set");
  if (!rule.compare) assert.deepEqual(byAdmission(rule, fixture), fixture.expected, "admission, marked objects last");
  const capture = join(temporary, "capture.json");
  writeFileSync(capture, JSON.stringify({ apiVersion: "v1", kind: "List", items: fixture.raws }));
  const captured = await readFixture(capture, fixture);
  assert.deepEqual(messagesOf(rule, captured), messagesOf(rule, fixture), "audit of a capture");
}

/** Whatever the mode, as if every namespace were protected. */
const selectionOf = (fixture: Fixture): Selection => ({
  between: (before, after) => {
    const settings = everyRule.between(before, after);
    return {
      ...settings,
      of: (rule, subject) => {
        const setting = settings.of(rule, subject);
        return { ...setting, parameters: { ...setting.parameters, ...fixture.parameters } };
      },
    };
  },
});

function findingsOf(rule: Rule, fixture: Fixture, objects: readonly AnyObject[]): readonly Finding[] {
  const mesh = meshOf(fixture, objects);
  const findings: Finding[] = [];
  for (const result of audit([rule], mesh, selectionOf(fixture))) {
    if ("error" in result) throw result.error;
    if ("message" in result) findings.push(result);
  }
  return findings;
}

function meshOf(fixture: Fixture, objects: readonly AnyObject[]): MeshStore {
  const mesh = new MeshStore(fixture.settings, fixture.knowledge);
  for (const object of objects) mesh.set(object);
  return mesh;
}

function byAudit(rule: Rule, fixture: Fixture): readonly string[] {
  const objects = fixture.objects.map(({ object }) => object);
  const there = findingsOf(rule, fixture, objects).map((finding) => fixture.lineOf(finding));
  const reversed = findingsOf(rule, fixture, objects.toReversed()).map((finding) => fixture.lineOf(finding));
  assert.deepEqual(reversed.sort(), there.sort(), "the order of objects makes a difference");
  return there;
}

const messagesOf = (rule: Rule, fixture: Fixture): readonly string[] =>
  findingsOf(
    rule,
    fixture,
    fixture.objects.map(({ object }) => object),
  )
    .map(({ subject, message, at }) => `${identityOf(subject)} ${at.join(".")} ${message}`)
    .sort();

const isUnmarked = ({ object }: FixtureObject, fixture: Fixture): boolean =>
  !fixture.expected.some((line) => line.includes(` ${identityOf(object)}: `));

/** The background first, then the marked objects one by one: each must introduce what is marked on it. */
function byAdmission(rule: Rule, fixture: Fixture): readonly string[] {
  const mesh = meshOf(fixture, []);
  const found = new Set<string>();
  const background = fixture.objects.filter((object) => isUnmarked(object, fixture));
  for (const { object } of background) mesh.set(object);
  for (const { object } of fixture.objects.filter((object) => !isUnmarked(object, fixture))) {
    for (const finding of introducedBy(rule, fixture, mesh, { object })) found.add(fixture.lineOf(finding));
    mesh.set(object);
  }
  // What rests on a Namespace that nobody shows was there before anyone could be asked.
  for (const line of fixture.expected) if (line.startsWith("implied ")) found.add(line);
  return [...found].sort();
}

const byStep = (rule: Rule, fixture: Fixture): readonly string[] =>
  [...new Set(stepFindings(rule, fixture).map((finding) => fixture.lineOf(finding)))].sort();

function stepFindings(rule: Rule, fixture: Fixture): readonly Finding[] {
  const mesh = meshOf(
    fixture,
    fixture.objects.filter(({ isAfter }) => !isAfter).map(({ object }) => object),
  );
  const found: Finding[] = [];
  for (const { object, isDeleted } of fixture.objects.filter(({ isAfter }) => isAfter)) {
    const old = mesh.find(object.kind, keyOf(object));
    const known = old?.implied ? undefined : old;
    const change = isDeleted ? { old: known } : { old: known, object };
    found.push(...introducedBy(rule, fixture, mesh, change));
    if (isDeleted) mesh.delete(object.kind, keyOf(object));
    else mesh.set(object);
  }
  return found;
}

function introducedBy(
  rule: Rule,
  fixture: Fixture,
  mesh: MeshStore,
  ...changes: readonly Change[]
): readonly Finding[] {
  const { findings, errors } = judge([rule], mesh, changes, { selection: selectionOf(fixture) });
  for (const { error } of errors) throw error;
  return findings.filter(({ introduced }) => introduced);
}
