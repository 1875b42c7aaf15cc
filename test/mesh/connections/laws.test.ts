import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { connectionChangesOf } from "../../../src/explain/connection-changes.ts";
import { connectionsOf } from "../../../src/explain/connections.ts";
import { everyRequest, type Request } from "../../../src/mesh/authorization/requests/boxes.ts";
import { isMet } from "../../../src/mesh/authorization/requests/difference.ts";
import { both, type RequestSet } from "../../../src/mesh/authorization/requests/sets.ts";
import { Undecided, Work } from "../../../src/mesh/authorization/requests/work.ts";
import type { Access, Status, Way } from "../../../src/mesh/connections/access.ts";
import { SharedLists } from "../../../src/mesh/connections/callers.ts";
import { accessChanges, type AccessChange } from "../../../src/mesh/connections/difference.ts";
import { PortAccess, workForPort } from "../../../src/mesh/connections/port-access.ts";
import { acceptedRows } from "../../../src/mesh/connections/rows.ts";
import { portsIn, type ReachablePort } from "../../../src/mesh/connections/targets.ts";
import type { Outcome } from "../../../src/mesh/requests/outcome.ts";
import { outcomesOf } from "../../../src/mesh/requests/outcomes.ts";
import { defaultMeshSettings } from "../../../src/view/settings.ts";
import type { Mesh } from "../../../src/view/view.ts";
import { plainRequests, requestOf } from "../authorization/requests/arbitrary.ts";
import { additions, base, meshOf } from "./meshes.ts";

const much = () => new Work(20_000_000);
const servers = (mesh: Mesh): readonly ReachablePort[] => portsIn({ kind: "namespace", name: "a" }, mesh).ports;

/** Requests of callers that can have a certificate of this mesh, or have none. */
const requests: fc.Arbitrary<readonly Request[]> = fc.array(
  plainRequests
    .filter(({ identity }) => identity === undefined || identity.startsWith("cluster.local/"))
    .map(requestOf),
  { minLength: 10, maxLength: 10 },
);

/** Everything that the fact says about a port, for callers with and without a certificate. */
const outcomesAt = ({ target }: ReachablePort, mesh: Mesh, box = everyRequest): readonly Outcome[] =>
  (["mesh", "outside"] as const).flatMap((kind) => [
    ...outcomesOf({ caller: { kind }, to: target, requests: box }, mesh, { limit: workForPort }),
  ]);

/** How a request arrives, by the way in which it is sent: the fact's own answer. */
function statusesOf(outcomes: readonly Outcome[], request: Request): ReadonlyMap<string, ReadonlySet<Status>> {
  const found = new Map<string, Set<Status>>();
  for (const { source, requests: box, result, transport } of outcomes) {
    if (!isMet(source.identity, request)) continue;
    const key = wayKey(
      source.sender,
      source.workloads.map(({ metadata, originKind }) => `${originKind} ${metadata.namespace}/${metadata.name}`),
    );
    const statuses = found.get(key) ?? new Set();
    found.set(key, statuses);
    const status = isMet(box.clauses, request) ? statusOf(result, transport) : undefined;
    if (status !== undefined) statuses.add(status);
  }
  return found;
}

function statusOf(result: Outcome["result"], transport: Outcome["transport"]): Status | undefined {
  const hops = transport.map((one) => one.result);
  if (result === "undecided" || (result === "accepted" && hops.includes("undecided"))) return "undecided";
  if (result !== "accepted") return undefined;
  return hops.includes("plaintext") || hops.length === 0 ? "plaintext" : "mtls";
}
const wayKey = (sender: string, workloads: readonly string[]): string => [sender, ...workloads.toSorted()].join("\n");

const isIn = (set: RequestSet, request: Request): boolean => set.some(({ clauses }) => isMet(clauses, request));
const appliesTo = (ways: readonly Way[], key: string): boolean =>
  ways.length === 0 || ways.some((way) => way.key === key);

const accessOf = (port: ReachablePort | undefined, mesh: Mesh, lists = new SharedLists(defaultMeshSettings)): Access =>
  new PortAccess(mesh, lists).to(port);

/** Skips the rare meshes whose policies take too much work. */
function unlessTooHard(check: () => void): void {
  try {
    check();
  } catch (error) {
    if (!(error instanceof Undecided)) throw error;
  }
}

describe("connections say what the fact about requests says", () => {
  test("a request is in a line if it arrives in this way, and in none if it does not", () => {
    let [accepted, refused] = [0, 0];
    fc.assert(
      fc.property(additions, requests, (more, some) => {
        const mesh = meshOf([...base, ...more]);
        unlessTooHard(() => {
          for (const port of servers(mesh)) {
            const rows = acceptedRows(accessOf(port, mesh), much());
            const outcomes = outcomesAt(port, mesh);
            const answers = some.flatMap((request) =>
              [...statusesOf(outcomes, request)].map(([key, expected]) => ({ request, key, expected })),
            );
            for (const { request, key, expected } of answers) {
              const inRows = rows.filter(
                (row) => appliesTo(row.ways, key) && isIn(row.callers, request) && isIn(row.requests, request),
              );
              assert.deepEqual([...new Set(inRows.map(({ status }) => status))].sort(), [...expected].sort(), key);
            }
            accepted += answers.filter(({ expected }) => expected.size > 0).length;
            refused += answers.filter(({ expected }) => expected.size === 0).length;
          }
        });
      }),
      { numRuns: 150 },
    );
    assert.ok(accepted > 500 && refused > 500, `${accepted} accepted, ${refused} refused`);
  });

  test("everything in a line arrives as it says, when the fact is asked about all of it", () => {
    let lines = 0;
    fc.assert(
      fc.property(additions, (more) => {
        const mesh = meshOf([...base, ...more]);
        unlessTooHard(() => {
          const rows = servers(mesh).flatMap((port) =>
            acceptedRows(accessOf(port, mesh), much()).map((row) => ({ ...row, port })),
          );
          for (const { port, status, callers, requests: set, partly, ways } of rows) {
            if (status === "undecided" || partly.length > 0 || ways.length > 0) continue;
            lines++;
            for (const box of both(callers, set, much())) {
              const outcomes = outcomesAt(port, mesh, box);
              assert.ok(outcomes.length > 0, "somebody can send it");
              const found = outcomes.map(({ result, transport }) => statusOf(result, transport));
              assert.deepEqual([...new Set(found)], [status]);
            }
          }
        });
      }),
      { numRuns: 100 },
    );
    assert.ok(lines > 200, `${lines} lines`);
  });
});

describe("the semantic difference", () => {
  test("a request is in a change if its outcome before and after says so", () => {
    let changed = 0;
    fc.assert(
      fc.property(additions, additions, requests, (older, newer, some) => {
        const [before, after] = [meshOf([...base, ...older]), meshOf([...base, ...newer])];
        unlessTooHard(() => {
          const lists = new SharedLists(defaultMeshSettings);
          for (const port of servers(after)) {
            const old = servers(before).find(({ name }) => name === port.name);
            const changes = accessChanges(accessOf(old, before, lists), accessOf(port, after, lists), much());
            const sides = [old, port].map((one, i) =>
              one === undefined ? [] : outcomesAt(one, i === 0 ? before : after),
            );
            for (const request of some) {
              const [was, is] = sides.map((outcomes) => statusesOf(outcomes, request));
              // What is told of callers that send in several ways is told by way, which is another property.
              if (was?.size !== 1 || is?.size !== 1) continue;
              const [[from], [to]] = [[...was.values()], [...is.values()]];
              const found = changes.filter(
                ({ callers, requests: set }) => isIn(callers, request) && isIn(set, request),
              );
              assert.deepEqual(toldOf(found), expectedOf(from, to));
              if (found.length > 0) changed++;
            }
          }
        });
      }),
      { numRuns: 120 },
    );
    assert.ok(changed > 100, `${changed} changed requests`);
  });

  test("nothing changes if policies are renamed, reordered, split in two, or their documents are in another order", () => {
    let compared = 0;
    fc.assert(
      fc.property(additions, fc.boolean(), (more, isReversed) => {
        const [before, after] = [
          [...base, ...more],
          [...base, ...more.flatMap(rewritten)],
        ];
        const changes = connectionChangesOf(meshOf(before), meshOf(isReversed ? after.toReversed() : after), {
          kind: "mesh",
        });
        const isHard = JSON.stringify(changes).includes("too much work");
        if (isHard) return;
        compared += more.length;
        assert.deepEqual(changes.groups, []);
      }),
      { numRuns: 150 },
    );
    assert.ok(compared > 150, `${compared} objects`);
  });

  test("the order of documents does not matter for what is printed", () => {
    fc.assert(
      fc.property(additions, (more) => {
        const all = [...base, ...more];
        assert.deepEqual(
          connectionsOf(meshOf(all.toReversed()), { kind: "mesh" }).groups,
          connectionsOf(meshOf(all), { kind: "mesh" }).groups,
        );
      }),
      { numRuns: 60 },
    );
  });
});

const toldOf = (changes: readonly AccessChange[]): readonly string[] =>
  [
    ...new Set(
      changes.flatMap(({ change }) =>
        change.kind === "status" ? [`${change.from ?? "none"} -> ${change.to ?? "none"}`] : [],
      ),
    ),
  ].sort();

/** Appears, goes, or changes from what it only was to what it only is. */
function expectedOf(was: ReadonlySet<Status> = new Set(), is: ReadonlySet<Status> = new Set()): readonly string[] {
  if (was.size === 0) return [...is].map((to) => `none -> ${to}`).sort();
  if (is.size === 0) return [...was].map((from) => `${from} -> none`).sort();
  const [lost, won] = [[...was].filter((one) => !is.has(one)), [...is].filter((one) => !was.has(one))];
  return lost.flatMap((from) => won.map((to) => `${from} -> ${to}`)).sort();
}

type Raw = (typeof base)[number];
interface PolicySpec {
  readonly action: string;
  readonly rules: readonly unknown[];
}

/** The same policy in other words: with another name, its rules in reverse order, one policy for each of several rules. */
function rewritten(raw: Raw): readonly Raw[] {
  if (raw.kind !== "AuthorizationPolicy") return [raw];
  const spec = raw.spec as PolicySpec;
  const metadata = raw.metadata as { readonly name: string };
  const named = (suffix: string, rules: readonly unknown[]): Raw => ({
    ...raw,
    metadata: { ...metadata, name: `${metadata.name}-${suffix}` },
    spec: { ...spec, rules },
  });
  const reversed = spec.rules.toReversed();
  if (reversed.length < 2) return [named("renamed", reversed)];
  return reversed.map((rule, i) => named(String(i), [rule]));
}
