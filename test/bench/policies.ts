// What many policies and exceptions cost a review, and a change of one of them.

import { createGate } from "../../src/admission/gate.ts";
import { readReview } from "../../src/admission/review.ts";
import { modesOf } from "../../src/engine/rule.ts";
import { loadPolicies, type PolicySource } from "../../src/policy/load.ts";
import { lossesOf } from "../../src/policy/losses.ts";
import { rules } from "../../src/rules/index.ts";
import { cpuOf, shown, table } from "./measure.ts";
import { meshOf, storedMesh } from "./mesh.ts";
import { everySort } from "./webhook.ts";

const apiVersion = "meshward.io/v1alpha1";
const source = (raw: object): PolicySource => ({ raw, file: "bench.yaml", locate: () => ({ line: 1, column: 1 }) });
const weights = "virtual-service-weights-not-100";

/** Each document has another kind of condition. None matches what the bench reviews, as most match nothing elsewhere. */
const matches: readonly ((i: number) => object)[] = [
  (i) => ({ namespaces: { names: [`team-${i}`] } }),
  (i) => ({ namespaces: { names: [`tenant-${i}-*`] } }),
  (i) => ({ namespaces: { labels: { team: `t${i}` } } }),
  (i) => ({ objects: { names: [`api-${i}`] } }),
  (i) => ({ objects: { labels: { app: `a${i}` } } }),
  (i) => ({ groups: [`group-${i}`] }),
  (i) => ({ serviceAccounts: [`ci/deployer-${i}`] }),
];

const policy = (i: number, match: object | undefined): PolicySource =>
  source({
    apiVersion,
    kind: "MeshwardPolicy",
    metadata: { name: `policy-${i}` },
    spec: {
      ...(match === undefined ? {} : { match }),
      rules: [
        { id: weights, existing: "warn" },
        { id: "*", onError: "deny" },
      ],
    },
  });
const exception = (i: number): PolicySource =>
  source({
    apiVersion,
    kind: "MeshwardException",
    metadata: { name: `exception-${i}`, namespace: `ns-${i % 50}` },
    spec: {
      ...{ rules: [weights], reason: "r", owner: "o", expiresAt: "2099-01-01" },
      match: { objects: { names: [`legacy-${i}`] } },
    },
  });

function loaded(sources: readonly PolicySource[]) {
  const { policies, errors } = loadPolicies(sources, rules);
  if (errors.length > 0) throw new Error(errors[0]?.message);
  return policies;
}

const repetition = { rounds: 9, repeat: 1_000 };

export const policiesTable = (): string => [reviewTable(), changeTable()].join("\n");

export function reviewTable(): string {
  const mesh = meshOf(storedMesh(1_000));
  const one = [policy(0, undefined)];
  const many = [
    ...one,
    ...Array.from({ length: 1_000 }, (_, i) => policy(i + 1, matches[i % matches.length]?.(i))),
    ...Array.from({ length: 10_000 }, (_, i) => exception(i)),
  ];
  const [few, all] = [loaded(one), loaded(many)];
  const gateWith = (policies: typeof few) => createGate({ mesh: () => mesh, policies: () => policies, rules });
  const [withOne, withAll] = [gateWith(few), gateWith(all)];
  const rows = everySort()
    .filter(({ path }) => path === "/validate")
    .map((asked) => {
      const requests = asked.bodies.map((body) => {
        const reading = readReview(Buffer.from(body));
        if ("problem" in reading) throw new Error(`a review of the bench cannot be read: ${reading.problem}`);
        return reading.request;
      });
      const request = (i: number) => requests[i % requests.length] as (typeof requests)[number];
      const base = cpuOf((i) => withOne.validate(request(i)), repetition);
      const cost = cpuOf((i) => withAll.validate(request(i)), repetition);
      return [asked.title, shown(base), shown(cost), (cost / base).toFixed(2)];
    });
  return table(
    "1,000 policies and 10,000 exceptions, 1,000 objects",
    ["review", "1 policy, CPU us", "all, CPU us", "ratio"],
    rows,
  );
}

const defaults = rules.map((rule) => ({ id: rule.id, tags: rule.tags, mode: modesOf(rule) }));

/** A change of one of many documents, until the new policies are in force. */
function changeTable(): string {
  const rows = [100, 1_000, 10_000].map((count) => {
    const sources = [
      ...Array.from({ length: count }, (_, i) => policy(i, matches[i % matches.length]?.(i))),
      ...Array.from({ length: count }, (_, i) => exception(i)),
    ];
    let current = loaded(sources);
    const cost = cpuOf(
      (i) => {
        const next = loaded([policy(0, { namespaces: { names: [`team-${i}`] } }), ...sources.slice(1)]);
        lossesOf(current, next, defaults);
        current = next;
      },
      { rounds: 3, repeat: 3 },
    );
    return [`${count} policies, ${count} exceptions`, shown(cost)];
  });
  return table("A change of one document", ["documents", "CPU us"], rows);
}
