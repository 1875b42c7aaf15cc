import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import fc from "fast-check";
import { audit } from "../../src/engine/audit.ts";
import { judge } from "../../src/engine/evaluate.ts";
import type { Finding } from "../../src/engine/finding.ts";
import { kindsNeeded } from "../../src/engine/declared-reads.ts";
import { readByOthers } from "../../src/engine/unread-changes.ts";
import { identityOf, keyOf } from "../../src/kube/identity.ts";
import { type AnyObject, type Labels, readObject } from "../../src/kube/object.ts";
import { isAnnotationRead, isLabelRead } from "../../src/mesh/membership/namespace-metadata.ts";
import { rules } from "../../src/rules/index.ts";
import { type AllMeshSettings, defaultMeshSettings, meshSettingsOf } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import type { Mesh } from "../../src/view/view.ts";
import { someObjects, twoControlPlanes } from "../meshes/arbitrary.ts";
import { type Fixture, readFixture } from "../rule-code/fixture.ts";

// Labels and annotations of Namespaces that nothing reads, and shares of routes: a change of them concerns nothing else. What is left out
// must never be missed.

const numRuns = Number(process.env["MESHWARD_LAW_RUNS"] ?? 1500);
const build = (objects: readonly AnyObject[], settings = defaultMeshSettings): MeshStore => {
  const mesh = new MeshStore(meshSettingsOf(objects, settings));
  for (const object of objects) mesh.set(object);
  return mesh;
};
const textOf = ({ rule, subject, at, message }: Finding) =>
  `${rule.id} | ${identityOf(subject)} | ${at.join(".")} | ${message}`;

const team = { matchLabels: { team: "x" } };
const byTeam = { from: "Selector", selector: { matchExpressions: [{ key: "team", operator: "In", values: ["x"] }] } };
/** Objects that select namespaces by the label `team`. */
const selecting = fc.constantFrom<AnyObject | undefined>(
  undefined,
  ...["istio-waypoint", "istio"].map((gatewayClassName) =>
    readObject("KubernetesGateway", {
      kind: "Gateway",
      metadata: { name: "w", namespace: "a" },
      spec: {
        gatewayClassName,
        listeners: [{ name: "l", port: 15008, protocol: "HBONE", allowedRoutes: { namespaces: byTeam } }],
        allowedListeners: { namespaces: { from: "Selector", selector: team } },
      },
    }),
  ),
  readObject("ListenerSet", {
    metadata: { name: "l", namespace: "b" },
    spec: {
      parentRef: { name: "w", namespace: "a" },
      listeners: [{ name: "l", port: 80, protocol: "HTTP", allowedRoutes: { namespaces: byTeam } }],
    },
  }),
  readObject("MeshwardIntent", {
    metadata: { name: "i", namespace: "istio-system" },
    spec: { to: { namespaces: { labels: { team: "x" } } }, requests: [{ from: ["outside"], expect: "denied" }] },
  }),
);
const settings = fc.constantFrom<AllMeshSettings>(
  defaultMeshSettings,
  twoControlPlanes,
  { ...twoControlPlanes, discovery: { other: [{ ...team, matchExpressions: [] }] } },
  {
    ...defaultMeshSettings,
    injection: {
      default: {
        webhooks: [
          {
            namespaceSelector: { ...team, matchExpressions: [] },
            objectSelector: { matchLabels: {}, matchExpressions: [] },
          },
        ],
        policy: undefined,
      },
    },
  },
);
const labels = fc.record(
  {
    team: fc.constantFrom("x", "y"),
    tier: fc.constantFrom("x", "y"),
    "istio-injection": fc.constantFrom("enabled", "enabled", "disabled"),
    "istio.io/dataplane-mode": fc.constant("ambient"),
    "istio.io/use-waypoint": fc.constant("w"),
    "istio.io/use-waypoint-namespace": fc.constant("a"),
  },
  { requiredKeys: [] },
);
const annotations = fc.record(
  { note: fc.constantFrom("x", "y"), "istio.io/use-waypoint-canary-weight": fc.constantFrom("10", "90") },
  { requiredKeys: [] },
);
/** Two versions of a Namespace, of which many differ in one label. */
const versions = fc
  .record({
    name: fc.constantFrom("a", "b", "istio-system"),
    labels,
    annotations,
    next: labels,
    noted: annotations,
    only: fc.constantFrom("team", "tier", undefined),
  })
  .map(({ name, labels, annotations, next, noted, only }) => {
    const changed = only === undefined ? next : { ...labels, [only]: next[only] ?? "z" };
    const [old, now] = [
      { labels, annotations },
      { labels: changed, annotations: noted },
    ].map((metadata) => readObject("Namespace", { kind: "Namespace", metadata: { ...metadata, name } }));
    return [old as AnyObject, now as AnyObject] as const;
  });

const fixtureFolder = join(import.meta.dirname, "../rules");
const fixtureFiles = (): readonly string[] =>
  rules.flatMap(({ id }) =>
    readdirSync(join(fixtureFolder, id))
      .filter((name) => name.endsWith(".yaml"))
      .map((name) => join(fixtureFolder, id, name)),
  );

/** What the change introduces, by a search for the subjects or by a scan of all. */
function introduced(
  mesh: Mesh,
  { old, object }: Record<"old" | "object", AnyObject>,
  isScan = false,
): readonly string[] {
  const { findings, errors } = judge(rules, mesh, [{ old, object }], { isScan });
  for (const { error } of errors) throw error;
  return findings
    .filter(({ introduced, rule, subject }) => introduced && (!rule.onlyOwnChanges || subject === object))
    .map(textOf)
    .sort();
}

/** The object with other weights wherever it has positive ones: by their place in its text. */
function weighted(object: AnyObject, weightAt: (place: number) => number): AnyObject {
  let places = 0;
  const changed = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(changed);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, one]: [string, unknown]) =>
        key === "weight" && typeof one === "number" && one > 0 ? [key, weightAt(places++)] : [key, changed(one)],
      ),
    );
  };
  const other = changed(object) as AnyObject;
  return places > 0 ? other : object;
}

/** For each route with weights: steps of a canary, the end of all of its destinations, and their begin. */
function* weightChanges({ objects, settings }: Fixture) {
  const before = objects.flatMap(({ object, isAfter }) => (isAfter ? [] : [object]));
  for (const one of before.filter(({ kind }) => kind === "VirtualService" || kind === "KubernetesRoute")) {
    const [first, second, none] = [
      (i: number) => (i % 2 === 0 ? 99 : 1),
      (i: number) => (i % 2 === 0 ? 1 : 99),
      () => 0,
    ];
    // Weights whose sum can overflow are not compared.
    if (weighted(one, none) === one || /"weight":\d{6}/.test(JSON.stringify(one))) continue;
    for (const [was, is, readBy] of [
      [first, second, "intents"],
      [second, first, "intents"],
      [first, none, "any"],
      [none, first, "any"],
    ] as const) {
      const change = { old: weighted(one, was), object: weighted(one, is) };
      yield { mesh: build([...before.filter((known) => known !== one), change.old], settings), change, readBy };
    }
  }
}

describe("changes that nothing reads", () => {
  test("of labels and annotations of a Namespace, none introduces anything elsewhere", () => {
    const seen = { unread: 0, read: 0, elsewhere: 0 };
    fc.assert(
      fc.property(someObjects(), selecting, settings, versions, (given, selector, settings, [old, object]) => {
        const others = [...given, ...(selector === undefined ? [] : [selector])];
        const mesh = build([...others.filter((one) => identityOf(one) !== identityOf(old)), old], settings);
        const isUnread = readByOthers([{ old, object }], mesh, mesh) === "none";
        seen[isUnread ? "unread" : "read"]++;
        const [narrowed, all] = [introduced(mesh, { old, object }), introduced(mesh, { old, object }, true)];
        assert.deepEqual(narrowed, all);
        const own = `| ${identityOf(object)} |`;
        if (all.some((line) => !line.includes(own))) seen.elsewhere++;
      }),
      { numRuns },
    );
    assert.ok(Math.min(seen.unread, seen.read) > numRuns / 20 && seen.elsewhere > 0, JSON.stringify(seen));
  });

  test("of the shares of a route's destinations, none introduces anything elsewhere", async () => {
    const seen = { canary: 0, other: 0, canaryElsewhere: 0, otherElsewhere: 0 };
    for (const file of fixtureFiles())
      for (const { mesh, change, readBy } of weightChanges(await readFixture(file))) {
        const narrowed = introduced(mesh, change);
        assert.deepEqual(narrowed, introduced(mesh, change, true), `${file} ${identityOf(change.old)}`);
        assert.equal(readByOthers([change], mesh, mesh), readBy, `${file} ${identityOf(change.old)}`);
        const isElsewhere = narrowed.some((line) => !line.includes(`| ${identityOf(change.old)} |`));
        seen[readBy === "intents" ? "canary" : "other"]++;
        if (isElsewhere) seen[readBy === "intents" ? "canaryElsewhere" : "otherElsewhere"]++;
      }
    assert.ok(Math.min(seen.canary, seen.other) > 50, JSON.stringify(seen));
    assert.ok(Math.min(seen.canaryElsewhere, seen.otherElsewhere) > 0, JSON.stringify(seen));
  });

  test("rules ask Namespaces only for labels and annotations that count as read", async () => {
    const folder = join(import.meta.dirname, "../rules");
    const asked = new Set<string>();
    const unread = new Set<string>();
    for (const rule of rules.filter((one) => kindsNeeded(one).has("Namespace")))
      for (const file of readdirSync(join(folder, rule.id)).filter((name) => name.endsWith(".yaml"))) {
        const fixture = await readFixture(join(folder, rule.id, file));
        const ask: Ask = (key, isCounted) => {
          asked.add(key);
          if (!isCounted(key, mesh)) unread.add(key);
        };
        const mesh = build(
          fixture.objects.map(({ object }) => watched(object, ask)),
          fixture.settings,
        );
        for (const _ of audit([rule], mesh)) continue;
        const namespaces = [...mesh.all("Namespace")];
        const unlabelled = namespaces.map((old) => ({
          old,
          object: watched({ ...old, metadata: { ...old.metadata, labels: {}, annotations: {} } }, ask),
        }));
        judge([rule], mesh, unlabelled, { isScan: true });
        const others = fixture.objects.filter(({ object: { kind } }) => kind !== "Namespace");
        judge(
          [rule],
          mesh,
          others.map(({ object }) => ({ old: mesh.find(object.kind, keyOf(object)) })),
          {
            isScan: true,
          },
        );
      }
    assert.deepEqual([...unread], []);
    assert.ok(asked.size > 10, [...asked].join());
  });
});

type Ask = (key: string, isCounted: (key: string, mesh: Mesh) => boolean) => void;

/** Tells which labels and annotations a Namespace is asked for that it has not. */
function watched(object: AnyObject, ask: Ask): AnyObject {
  if (object.kind !== "Namespace") return object;
  const asking = (values: Labels, isCounted: (key: string, mesh: Mesh) => boolean) =>
    new Proxy(values, {
      get(target, key) {
        if (typeof key === "string" && !Object.hasOwn(target, key)) ask(key, isCounted);
        return Reflect.get(target, key) as unknown;
      },
    });
  const { labels, annotations } = object.metadata;
  return {
    ...object,
    metadata: {
      ...object.metadata,
      labels: asking(labels, isLabelRead),
      annotations: asking(annotations, isAnnotationRead),
    },
  };
}
