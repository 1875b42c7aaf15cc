import assert from "node:assert/strict";
import { test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { type Audit, corpus, type Expected, type RecordedChange, type Verdict } from "./verdicts/corpus.ts";
import { audited, judged } from "./verdicts/judged.ts";

// What Meshward decided at commit 38641e0, before its code was built anew: whatever the code looks like, it decides the
// same. The changes are from there, too: each fixture of test/rules (the unmarked objects, then the marked ones one by
// one; steps, and steps taken back; updates and deletions), draws of the generators in test/meshes and of the client TLS
// laws, the tour of `npm run demo`, and edges of a request made by hand; a good share of them again by other writers,
// under other policies, and over a mesh that is known in part. Of 34,000 such changes those are kept that differ most.
//
// A difference that is intended is recorded with its reason: test/verdicts/record.ts says how. Rules that came later have
// changes of their own, from their fixtures, whose names end with "since" and a number.
//
// At first, 795 changes: 274 allowed without a word, 226 with warnings, 288 denied, 7 refused because something is unknown. By rule,
// the changes that it denies and those that it warns of:
//
//   authorization-policy-allows-everyone        8    8
//   authorization-policy-bypasses-waypoint      5    8
//   authorization-policy-namespace-unknown      7   13
//   authorization-policy-not-enforced-l7        7   10
//   authorization-policy-principal-malformed    4    4
//   authorization-policy-rules-split            4    5
//   authorization-policy-target-not-found       8   12
//   authorization-policy-waypoint-locked-out    4    8
//   authorization-policy-without-default-deny  11    8
//   destination-rule-plaintext                  8    4
//   destination-rule-tls-breaks-strict          4    4
//   envoy-filter-affects-protected              6    4
//   gateway-tls-weak                            4    4
//   mesh-config-weakened                        5    7
//   namespace-dataplane-conflict                4    6
//   namespace-default-deny-missing             12  116
//   namespace-default-deny-removed             53    7
//   namespace-enrolled-backs-webhook            4    8
//   namespace-leaves-mesh                      13    4
//   namespace-mtls-weakened                    45    4
//   namespace-protection-removed               10    4
//   object-malformed                            4    4
//   peer-authentication-permissive             33    4
//   peer-authentication-port-unknown            4    4
//   peer-authentication-without-effect          4   15
//   policy-revision-inert                       4    6
//   policy-selector-empty                      10    7
//   request-authentication-not-required         6    8
//   routes-need-waypoint                        4    4
//   virtual-service-route-rejected              9    4
//   virtual-service-subset-not-found           24   18
//   virtual-service-weights-not-100            13    8
//   waypoint-not-found                          8   11
//   workload-leaves-mesh                       17    4

const { changes, audits } = corpus();
const everyVerdict = changes.flatMap(({ expected }) => expected.at(-1) ?? []);

/** What admission sees of a revision is not enough for a denial. */
const neverDenying = ["policy-revision-elsewhere", "policy-revision-narrowed"];

interface Difference {
  readonly title: string;
  readonly expected: unknown;
  readonly found: unknown;
}

test("every change is judged as it was", () => {
  report(
    changes.flatMap((change) => difference(`${change.name}: ${described(change)}`, change.expected, judged(change))),
  );
});

test("every audit finds what it found", () => {
  report(audits.flatMap((one) => difference(one.name, one.expected, audited(one))));
});

test("names are unique, and every rule that denies anywhere warns somewhere", (t) => {
  const names = [...changes, ...audits].map(({ name }) => name);
  assert.equal(new Set(names).size, names.length);
  const denied = everyVerdict.flatMap((verdict) => verdict.denied);
  const warned = everyVerdict.flatMap((verdict) => verdict.warned);
  for (const id of new Set([...denied, ...warned]))
    t.diagnostic(
      `${id}: denies ${denied.filter((one) => one === id).length}, warns ${warned.filter((one) => one === id).length}`,
    );
  const alsoWarning = [...new Set([...denied, ...neverDenying])].sort();
  assert.deepEqual(alsoWarning, [...new Set(warned)].sort());
});

/** The last expectation holds. */
function difference<T extends Verdict | Audit>(
  title: string,
  expected: readonly Expected<T>[],
  found: T,
): Difference[] {
  const last = expected.at(-1);
  if (last === undefined) return [{ title, expected: "nothing is recorded yet", found }];
  const { since: _, ...verdict } = last;
  return isDeepStrictEqual(verdict, found) ? [] : [{ title, expected: verdict, found }];
}

function report(differences: readonly Difference[]): void {
  const shown = differences.map(
    ({ title, expected, found }) =>
      `${title}\n  expected ${JSON.stringify(expected)}\n  found    ${JSON.stringify(found)}`,
  );
  assert.ok(
    differences.length === 0,
    `${differences.length} differ; where that is intended, record it as test/verdicts/record.ts says:\n${shown.join("\n")}`,
  );
}

function described({ request: { object, oldObject, writer, dryRun }, policies }: RecordedChange): string {
  const operation = oldObject === undefined ? "CREATE" : object === undefined ? "DELETE" : "UPDATE";
  const { kind, metadata } = (object ?? oldObject) as { kind: string; metadata: { namespace?: string; name?: string } };
  const place = [metadata.namespace, metadata.name].filter((part) => part !== undefined).join("/");
  return `${operation} ${kind} ${place} by ${writer.name}${dryRun ? " (dry run)" : ""}, policies: ${policies.name}`;
}
