import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Budget } from "../../src/engine/budget.ts";
import { judge } from "../../src/engine/evaluate.ts";
import { defineRule, type Rule } from "../../src/engine/rule.ts";
import { everyRule, type Selection } from "../../src/engine/setting.ts";
import { rulesConcerned } from "../../src/engine/declared-reads.ts";
import { Subjects } from "../../src/engine/subjects.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { rules } from "../../src/rules/index.ts";
import { type Change, overlay, subjectOf } from "../../src/view/overlay.ts";
import { meshSettingsOf } from "../../src/view/settings.ts";
import { sideOf } from "../../src/view/side.ts";
import { Schemas } from "../../src/schemas/schemas.ts";
import { MeshStore } from "../../src/view/store.ts";
import { index, relation } from "../../src/view/view.ts";
import type { Growing } from "../bench/growth.ts";
import { securityCases } from "../bench/hostile-security.ts";
import { trafficCases } from "../bench/hostile-traffic.ts";
import { asStored, authorizationPolicy, deployment, manifest, namespace, type Raw } from "../bench/mesh.ts";
import { attackShapes } from "./attack-shapes.ts";
import { type CostShape, costShapes, type RawChange } from "./cost-shapes.ts";
import { gatewayShapes } from "./gateway-shapes.ts";
import { intentShapes } from "./intent-shapes.ts";
import { settingsShapes } from "./settings-shapes.ts";
import { revisionShapes } from "./revision-shapes.ts";
import { trafficShapes } from "./traffic-shapes.ts";
import { workOf } from "./work.ts";

// The cost of an evaluation, as the number of executed blocks and visited objects: never as time. In a world of twice the
// size one change may cost twice as much, and what happens in other namespaces costs nothing.

const smaller = 60;
const atMost = 2.2;
const few = 12;
const atMostElsewhere = 1.05;
/** Less work than this is setup that does not depend on the size. */
const negligible = 400;

const shapes: readonly CostShape[] = [
  ...costShapes,
  ...attackShapes,
  ...settingsShapes,
  ...revisionShapes,
  ...gatewayShapes,
  ...trafficShapes,
  ...intentShapes,
  ...[...securityCases, ...trafficCases].map(ofHostileCase),
];

/** The same worlds as in the benchmark, smaller. */
function ofHostileCase({ title, mesh, body, law = {} }: Growing): CostShape {
  return {
    title,
    ...law,
    world(n) {
      const stored = mesh(n).map(asStored);
      const { request } = JSON.parse(body(stored, n)) as { request: { oldObject: Raw | null; object: Raw | null } };
      return { objects: stored, change: { old: request.oldObject ?? undefined, object: request.object ?? undefined } };
    },
  };
}

const read = (raw: Raw): AnyObject => {
  const object = readAny(raw);
  assert.ok(object !== undefined, `${raw.kind} is no kind of Meshward's`);
  // As check does for objects of files.
  const invalid = schemas.faultsOf(raw);
  return invalid.length === 0 ? object : { ...object, invalid };
};
const schemas = new Schemas();

interface World {
  readonly mesh: MeshStore;
  readonly change: Change;
}

const worldOf = (objects: readonly Raw[], change: RawChange): World => worldWith(objects.map(read), change);

function worldWith(all: readonly AnyObject[], { old, object }: RawChange): World {
  const mesh = new MeshStore(meshSettingsOf(all));
  for (const one of all) mesh.set(one);
  return { mesh, change: { old: old && read(old), object: object && read(object) } };
}

/** Counts what is visited, and never ends an evaluation. */
class Counter extends Budget {
  override readonly spend: (objects: number) => void;
  constructor(visit: (objects: number) => void) {
    super({ limitMs: Number.POSITIVE_INFINITY, sliceMs: Number.POSITIVE_INFINITY, cpuMs: () => 0 });
    this.spend = visit;
  }
}

interface Cost {
  readonly work: number;
  readonly findings: number;
}

/** As if a policy gave hosts to a namespace. */
const hostOwners = [{ hosts: ["*.owned.example.com"], namespaces: ["owner"] }];
const owned: Selection = {
  between(before, after) {
    const settings = everyRule.between(before, after);
    const of: typeof settings.of = (rule, subject) => {
      const setting = settings.of(rule, subject);
      return "hostOwners" in rule.parameters
        ? { ...setting, parameters: { ...setting.parameters, hostOwners } }
        : setting;
    };
    return { ...settings, of };
  },
};

/** The cost of one rule. Indexes are built before. */
function costOf(rule: Rule, { mesh, change }: World, mostAlone = Number.POSITIVE_INFINITY): Cost {
  let findings = 0;
  const work = workOf((visit) => {
    const evaluation = judge([rule], mesh, [change], { selection: owned, budget: new Counter(visit), mostAlone });
    assert.deepEqual(evaluation.errors, []);
    findings = evaluation.findings.length;
  });
  return { work, findings };
}

/** The costs of a rule in two worlds; undefined if the change cannot concern the rule. */
interface Growth {
  readonly rule: Rule;
  readonly small: Cost;
  readonly large: Cost;
}

function growthOf(all: readonly Rule[], small: World, large: World): readonly Growth[] {
  const { kind } = subjectOf(large.change);
  // A change of the mesh settings concerns all rules.
  const concerned = kind === "MeshConfig" || kind === "InjectorConfig" ? all : rulesConcerned(all, kind);
  for (const { mesh, change } of [small, large]) judge(concerned, mesh, [change]);
  return concerned.map((rule) => ({ rule, small: costOf(rule, small), large: costOf(rule, large) }));
}

const isTooMuch = ({ small, large }: Growth, most: number): boolean =>
  large.work > negligible && large.work > most * small.work;

const described = ({ rule, small, large }: Growth, title: string): string =>
  `${(large.work / small.work).toFixed(2)} times: ${rule.id}, ${title} (${small.work} to ${large.work})`;

/** The objects of a world again, in other namespaces. */
function copied(objects: readonly Raw[], count: number): readonly Raw[] {
  const text = JSON.stringify(objects);
  return Array.from({ length: count }, (_, i) => {
    const copies = JSON.parse(text.replaceAll(/hostile|shapes/g, `other-${i}`)) as readonly Raw[];
    return copies.map((raw): Raw => {
      const isElsewhere = raw.metadata["namespace"] !== undefined || raw.kind === "Namespace";
      const name = `${String(raw.metadata["name"])}-${i}`;
      return isElsewhere ? raw : { ...raw, metadata: { ...raw.metadata, name } };
    });
  }).flat();
}

describe("cost laws", () => {
  test("twice the world costs at most about twice as much, for each rule", (t) => {
    const found = new Map(rules.map(({ id }) => [id, 0]));
    const problems: string[] = [];
    for (const { title, n = smaller, most = atMost, world } of shapes) {
      const [small, large] = [n, 2 * n].map((size) => {
        const { objects, change } = world(size);
        return worldOf(objects, change);
      }) as [World, World];
      for (const growth of growthOf(rules, small, large)) {
        const { id } = growth.rule;
        found.set(id, (found.get(id) ?? 0) + growth.large.findings);
        if (isTooMuch(growth, most)) problems.push(described(growth, title));
      }
    }
    for (const [id, findings] of found) t.diagnostic(`${id}: ${findings} findings`);
    assert.deepEqual(problems, []);
    const unused = [...found].filter(([, findings]) => findings === 0).map(([id]) => id);
    assert.deepEqual(
      unused,
      [],
      "rules that find nothing in any of these worlds; add one to a file test/engine/*-shapes.ts",
    );
  });

  test("twice as many other namespaces cost nothing", () => {
    const problems: string[] = [];
    for (const { title, isMeshWide = false, world } of shapes) {
      if (isMeshWide) continue;
      const { objects, change } = world(few);
      const [own, others] = [objects.map(read), copied(objects, 6).map(read)];
      const [small, large] = [others.slice(0, others.length / 2), others].map((elsewhere) =>
        worldWith([...elsewhere, ...own], change),
      ) as [World, World];
      for (const growth of growthOf(rules, small, large))
        if (isTooMuch(growth, atMostElsewhere)) problems.push(described(growth, title));
    }
    assert.deepEqual(problems, []);
  });

  test("a workload reaches the policies that select one of its labels, not those of its whole namespace", () => {
    const at = "shapes";
    const ofApp = (n: number): readonly Raw[] =>
      Array.from({ length: n }, (_, i) => {
        const selector = { matchLabels: { app: `app-${i}` } };
        const rule = { to: [{ operation: { methods: ["GET"], ports: ["9999"] } }] };
        return [
          deployment({ namespace: at, name: `w-${i}` }, `app-${i}`),
          authorizationPolicy({ namespace: at, name: `a-${i}` }, { selector, rules: [rule] }),
          manifest(
            "security.istio.io/v1",
            "PeerAuthentication",
            { namespace: at, name: `p-${i}` },
            { spec: { selector, portLevelMtls: { 9999: { mode: "STRICT" } } } },
          ),
          manifest(
            "telemetry.istio.io/v1",
            "Telemetry",
            { namespace: at, name: `t-${i}` },
            { spec: { selector: { matchLabels: { app: `misspelt-${i}` } } } },
          ),
        ];
      }).flat();
    const ambient = namespace(at, { "istio.io/dataplane-mode": "ambient" });
    const old = deployment({ namespace: at, name: "w-0" }, "app-0");
    const object = deployment({ namespace: at, name: "w-0" }, "misspelt-0", "v2");
    const reached = [smaller, 2 * smaller].map((n) => {
      const { mesh, change } = worldOf([ambient, ...ofApp(n)], { old, object });
      const subjects = new Subjects([change], { before: mesh, after: sideOf(overlay(mesh, [change])) });
      return ["authorization-policy-not-enforced-l7", "authorization-policy-port-unknown"]
        .concat("peer-authentication-port-unknown", "selector-matches-nothing")
        .map((id) => {
          const rule = rules.find((one) => one.id === id);
          assert.ok(rule !== undefined, id);
          const found = [...subjects.of(rule)].filter((one) => one !== undefined);
          return `${id}: ${found
            .map(({ metadata }) => metadata.name)
            .sort()
            .join()}`;
        });
    });
    assert.deepEqual(reached[1], reached[0]);
    assert.deepEqual(reached[0], [
      "authorization-policy-not-enforced-l7: a-0",
      "authorization-policy-port-unknown: a-0",
      "peer-authentication-port-unknown: p-0",
      "selector-matches-nothing: a-0,p-0,t-0",
    ]);
  });

  test("a label of a Namespace that nothing reads reaches no other object", () => {
    const at = "shapes";
    const labels = { "istio-injection": "enabled", "meshward.io/protected": "true" };
    const objects = [
      deployment({ namespace: at, name: "w" }, "w"),
      authorizationPolicy({ namespace: at, name: "p" }, {}),
    ];
    const old = namespace(at, { ...labels, team: "a" });
    const reached = [
      { ...labels, team: "b" },
      { ...labels, "istio-injection": "disabled" },
    ].map((changed) => {
      const { mesh, change } = worldOf([old, ...objects], { old, object: namespace(at, changed) });
      const subjects = new Subjects([change], { before: mesh, after: sideOf(overlay(mesh, [change])) });
      const found = rules.flatMap((rule) => [...subjects.of(rule)].filter((one) => one !== undefined));
      return new Set(found.map(({ kind }) => kind));
    });
    assert.deepEqual([...(reached[0] ?? [])], ["Namespace"]);
    assert.ok((reached[1]?.size ?? 0) > 1, "the label that decides injection reaches others");
  });

  test("a rule that finds nothing without objects at the end of a relation is asked about nothing where there are none", () => {
    const at = "shapes";
    const [old, object] = [namespace(at, { "istio-injection": "enabled" }), namespace(at, {})];
    const spec = { hosts: ["a"], http: [{ route: [{ destination: { host: "a" } }] }] };
    const routes = manifest("networking.istio.io/v1", "VirtualService", { namespace: at, name: "r" }, { spec });
    const targetRefs = [{ group: "", kind: "Service", name: "a" }];
    const policy = authorizationPolicy({ namespace: "elsewhere", name: "p" }, { targetRefs });
    const service = manifest("v1", "Service", { namespace: at, name: "a" }, { spec: { ports: [{ port: 80 }] } });
    const skipping = rules.filter(({ onlyWith }) => Array.isArray(onlyWith));
    assert.deepEqual(skipping.map(({ id }) => id).sort(), ["routes-rewrite-past-policies", "routes-skip-policies"]);
    const asked = (objects: readonly Raw[], changed: RawChange) => {
      const { mesh, change } = worldOf(objects, changed);
      const subjects = new Subjects([change], { before: mesh, after: sideOf(overlay(mesh, [change])) });
      return skipping.map((rule) => [...subjects.of(rule)].some((one) => one?.kind === "VirtualService"));
    };
    assert.deepEqual(asked([old, service, routes], { old, object }), [false, false]);
    assert.deepEqual(asked([old, service, routes, policy], { old, object }), [true, true]);
    const own = { ...policy, metadata: { namespace: at, name: "p" } };
    assert.deepEqual(asked([old, service, routes, own], { old: own }), [true, true], "what the last one caused ends");
    assert.deepEqual(asked([old, service, routes], { object: own }), [true, true], "the first one is looked at");
  });

  test("texts of problems that are counted and not shown are not made", () => {
    const route = (_: unknown, i: number) => ({ route: [{ destination: { host: `h-${i}`, subset: "v1" } }] });
    const named = { namespace: "shapes", name: "r" };
    const spec = { hosts: ["a"], http: Array.from({ length: 4 * smaller }, route) };
    const world = worldOf([], { object: manifest("networking.istio.io/v1", "VirtualService", named, { spec }) });
    const rule = rules.find(({ id }) => id === "virtual-service-subset-not-found");
    assert.ok(rule !== undefined);
    costOf(rule, world);
    const [all, one] = [costOf(rule, world), costOf(rule, world, 1)];
    assert.ok(one.work * 4 < all.work * 3, `${one.work} of ${all.work}`);
  });

  test("a rule that compares all workloads with each other breaks the law", () => {
    const besideWorkload = relation(
      "besideWorkload",
      index("Workload", ({ metadata }) => [metadata.namespace]),
      index("Workload", ({ metadata }) => [metadata.namespace]),
    );
    const texts = { mode: "warn", since: "0.1.0", summary: "A.", why: "B.", fix: "C." } as const;
    const quadratic = defineRule({
      id: "workload-quadratic",
      subject: "Workload",
      reads: [besideWorkload],
      ...texts,
      *check(workload, mesh) {
        for (const other of mesh.related(besideWorkload, workload))
          if (other === workload) yield { at: [], message: "" };
      },
    });
    const worlds = [smaller, 2 * smaller].map((n) => {
      const objects = Array.from({ length: n }, (_, i) => deployment({ namespace: "a", name: `w-${i}` }, `app-${i}`));
      return worldOf(objects, { object: deployment({ namespace: "a", name: "w" }, "app") });
    }) as [World, World];
    const [growth] = growthOf([quadratic], ...worlds);
    assert.ok(growth !== undefined && growth.large.work > 3 * growth.small.work, JSON.stringify(growth));
    assert.ok(isTooMuch(growth, atMost));
    assert.deepEqual(growthOf([quadratic], ...worlds), [growth], "the same work is counted each time");
  });
});
