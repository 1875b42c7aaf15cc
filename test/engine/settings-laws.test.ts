import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { audit } from "../../src/engine/audit.ts";
import { countedOtherwise } from "../../src/engine/counted-otherwise.ts";
import { indexesRead, readsSetting, relationsOf } from "../../src/engine/declared-reads.ts";
import { isJudgedBy, judge } from "../../src/engine/evaluate.ts";
import type { Finding } from "../../src/engine/finding.ts";
import { findingsFor } from "../../src/engine/problems.ts";
import { everyRule } from "../../src/engine/setting.ts";
import { allSubjects } from "../../src/engine/subjects.ts";
import { identityOf, keyOf } from "../../src/kube/identity.ts";
import { type AnyObject, readObject } from "../../src/kube/object.ts";
import { rules } from "../../src/rules/index.ts";
import type { Change } from "../../src/view/overlay.ts";
import {
  type AllMeshSettings,
  changedSettings,
  defaultMeshSettings,
  meshSettingsOf,
  type SettingName,
} from "../../src/view/settings.ts";
import { sideOf } from "../../src/view/side.ts";
import { MeshStore } from "../../src/view/store.ts";
import type { Index, Mesh } from "../../src/view/view.ts";
import { otherSettings, settingsVersions, someObjects } from "../meshes/arbitrary.ts";

const numRuns = Number(process.env.MESHWARD_LAW_RUNS ?? 1500);

function build(objects: readonly AnyObject[]): MeshStore {
  const mesh = new MeshStore(meshSettingsOf(objects));
  for (const object of objects) mesh.set(object);
  return mesh;
}

const textOf = ({ rule, subject, at, message }: Finding) =>
  `${rule.id} | ${identityOf(subject)} | ${at.join(".")} | ${message}`;

function audited(mesh: Mesh): readonly string[] {
  const lines: string[] = [];
  for (const result of audit(rules, mesh)) {
    if ("error" in result) throw result.error;
    if ("message" in result) lines.push(textOf(result));
  }
  return lines.sort();
}

/** What is introduced if each rule evaluates each object, in two meshes that have nothing in common. */
function introducedBetween(old: MeshStore, now: MeshStore, only: Change): readonly string[] {
  const [before, after] = [sideOf(old), sideOf(now)];
  const settings = everyRule.between(before, after);
  const lines: string[] = [];
  for (const rule of rules)
    for (const subject of allSubjects(rule, after)) {
      if (!isJudgedBy(rule, subject)) continue;
      const by = { rule, subject, setting: settings.of(rule, subject) };
      const steps = findingsFor(by, before.find(subject.kind, keyOf(subject)), {
        ...{ before, after, only, budget: undefined, mostAlone: undefined },
      });
      const step = steps?.next();
      assert.ok(step === undefined || step.done === true);
      lines.push(...(step?.value ?? []).filter(({ introduced }) => introduced).map(textOf));
    }
  return lines.sort();
}

/** Without it, a review assumes the namespace of the changed object on both sides. */
const istioNamespace = readObject("Namespace", { metadata: { name: "istio-system" } });

/** The first one of each identity. */
const distinct = (objects: readonly AnyObject[]) => [
  ...new Map(objects.toReversed().map((object) => [identityOf(object), object])).values(),
];

const operations = fc.constantFrom("create", "update", "update", "update", "delete");
const worlds = fc
  .tuple(someObjects(), otherSettings, settingsVersions, operations)
  .map(([objects, others, [first, second], operation]) => {
    const change: Change = {
      ...(operation !== "create" && { old: first }),
      ...(operation !== "delete" && { object: second }),
    };
    const beside = [...objects, ...others, istioNamespace].filter((one) => identityOf(one) !== identityOf(first));
    return { rest: distinct(beside), change };
  });

/** Two versions of one free setting, as fields of a mesh config. */
const alone = {
  defaultServiceExportTo: [["."], ["*"]],
  defaultVirtualServiceExportTo: [["."], ["*"]],
  defaultDestinationRuleExportTo: [["."], ["*"]],
  trustDomain: ["td", "cluster.local"],
  trustDomainAliases: [["td"], []],
  // Nothing is in the other one, not even its Namespace.
  rootNamespace: ["a", "nowhere"],
} as const;
type Alone = keyof typeof alone;

const dated = { creationTimestamp: "2026-01-01T00:00:00Z" };
const inNamespace = (namespace: string, name = "s") => ({ name, namespace, ...dated });
const host = "s.a.svc.cluster.local";
const policyOf = (name: string, rule: object, action = "ALLOW") =>
  readObject("AuthorizationPolicy", { metadata: inNamespace("a", name), spec: { action, rules: [rule] } });
const ofIdentity = "td/ns/b/sa/s";
/** Objects of which several together depend on these settings. */
const sensitive: readonly AnyObject[] = [
  ...["a", "b"].map((name) =>
    readObject("Namespace", {
      metadata: { name, labels: { "istio-injection": "enabled", "meshward.io/protected": "true" } },
    }),
  ),
  readObject("Service", {
    metadata: inNamespace("a"),
    spec: { selector: { app: "s" }, ports: [{ port: 80, name: "http" }] },
  }),
  readObject("Workload", {
    kind: "Deployment",
    metadata: inNamespace("a"),
    spec: { template: { metadata: { labels: { app: "s", version: "v1" } }, spec: { containers: [] } } },
  }),
  readObject("VirtualService", {
    metadata: inNamespace("b"),
    spec: { hosts: [host], http: [{ route: [{ destination: { host, subset: "v1" } }] }] },
  }),
  readObject("VirtualService", {
    metadata: inNamespace("b", "t"),
    spec: {
      hosts: ["s.example.com"],
      exportTo: ["."],
      http: [{ route: [{ destination: { host: "s.example.com" } }] }],
    },
  }),
  readObject("VirtualService", {
    metadata: inNamespace("b", "u"),
    spec: { hosts: ["other.example.com"], exportTo: ["."], http: [{ route: [{ destination: { host } }] }] },
  }),
  readObject("VirtualService", {
    metadata: inNamespace("b", "v"),
    spec: {
      hosts: ["*.example.com"],
      exportTo: ["a"],
      http: [{ route: [{ destination: { host: "nobody.b.svc.cluster.local", subset: "v1" } }] }],
    },
  }),
  readObject("VirtualService", {
    metadata: inNamespace("a"),
    spec: { hosts: [host], http: [{ route: [{ destination: { host } }] }] },
  }),
  readObject("DestinationRule", {
    metadata: inNamespace("a"),
    spec: { host, subsets: [{ name: "v1", labels: { version: "v1" } }] },
  }),
  readObject("ServiceEntry", {
    metadata: inNamespace("a"),
    spec: { hosts: ["s.example.com"], ports: [{ number: 80, name: "http", protocol: "HTTP" }], resolution: "DNS" },
  }),
  policyOf("principals", { from: [{ source: { principals: [ofIdentity] } }] }),
  policyOf("notPrincipals", { from: [{ source: { notPrincipals: [ofIdentity] } }] }, "DENY"),
  policyOf("trustDomains", { from: [{ source: { trustDomains: ["td"] } }] }),
  policyOf("condition", { when: [{ key: "source.principal", values: [ofIdentity] }] }),
  policyOf("domainCondition", { when: [{ key: "source.trustDomain", values: ["td"] }] }, "DENY"),
];

/** More objects than relations are followed from, of which each counts in another way if the setting is different. */
const crowd = (kind: Parameters<typeof readObject>[0], spec: object): readonly AnyObject[] =>
  Array.from({ length: 1_001 }, (_, i) => readObject(kind, { metadata: inNamespace("crowd", `x-${i}`), spec }));
const named = { rules: [{ from: [{ source: { principals: ["td/ns/a/sa/x"] } }] }] };
const crowds: { readonly [S in Alone]?: readonly AnyObject[] } = {
  defaultServiceExportTo: crowd("Service", { ports: [{ port: 80, name: "http" }] }),
  defaultVirtualServiceExportTo: crowd("VirtualService", { hosts: ["x.crowd.svc.cluster.local"] }),
  defaultDestinationRuleExportTo: crowd("DestinationRule", { host: "x.crowd.svc.cluster.local" }),
  trustDomain: crowd("AuthorizationPolicy", { selector: { matchLabels: { app: "nobody" } }, ...named }),
};
/**
 * Whether relations lead only from the index, so that keys are computed at each look-up, and every rule that reads one evaluates
 * all its subjects.
 */
const isOnlyOfRulesEvaluatedWhole = (index: Index, differing: ReadonlySet<SettingName>): boolean =>
  rules.every((rule) => {
    const read = relationsOf(rule.reads).filter(({ from, to }) => from === index || to === index);
    return read.length === 0 || (readsSetting(rule, differing) && read.every(({ to }) => to !== index));
  });

const meshConfigWith = (mesh: object) =>
  readObject("MeshConfig", {
    kind: "ConfigMap",
    metadata: { name: "istio", namespace: "istio-system" },
    data: { mesh: JSON.stringify(mesh) },
  });
/** Some of the sensitive objects, and others. */
const sensitiveWorlds = fc
  .tuple(fc.subarray([...sensitive], { minLength: sensitive.length - 4 }), someObjects(6))
  .map((objects) => distinct([...objects.flat(), istioNamespace]));

/** The findings that a change introduces, once it is sure that an evaluation of everything introduces the same. */
function introducedBy(change: Change, rest: readonly AnyObject[]): readonly Finding[] {
  const [old, now] = [change.old, change.object].map((one) => build(one === undefined ? rest : [...rest, one]));
  assert.ok(old !== undefined && now !== undefined);
  const found = judge(rules, old, [change]).findings.filter((one) => one.introduced);
  assert.deepEqual(found.map(textOf).sort(), introducedBetween(old, now, change));
  return found;
}

describe("a change of what settings of the mesh come from", () => {
  test("introduces what an evaluation of everything introduces, and leaves the mesh that has the new settings", () => {
    const differed = new Set<string>();
    let [narrowed, introduced] = [0, 0];
    fc.assert(
      fc.property(worlds, ({ rest, change }) => {
        const [old, now] = [change.old, change.object].map((one) => build(one === undefined ? rest : [...rest, one]));
        assert.ok(old !== undefined && now !== undefined);
        const { findings, errors, before, after } = judge(rules, old, [change]);
        for (const { error } of errors) throw error;
        const found = findings
          .filter((one) => one.introduced)
          .map(textOf)
          .sort();
        assert.deepEqual(found, introducedBetween(old, now, change));
        assert.deepEqual({ ...after.settings }, { ...now.settings });
        assert.deepEqual(audited(before), audited(old));
        assert.deepEqual(audited(after), audited(now));
        if (changedSettings(before.settings, after.settings).size > 0) narrowed++;
        introduced += found.length;
        for (const name of Object.keys(defaultMeshSettings) as (keyof AllMeshSettings)[])
          if (JSON.stringify(before.settings[name]) !== JSON.stringify(after.settings[name])) differed.add(name);
      }),
      { numRuns: Math.ceil(numRuns / 3) },
    );
    // No object contains the domain of the cluster.
    const all = Object.keys(defaultMeshSettings).filter((name) => name !== "domain");
    assert.deepEqual([...differed].sort(), all.sort());
    assert.ok(narrowed > 0 && introduced > 0, "the law was not tried");
  });

  for (const [name, values] of Object.entries(alone) as [Alone, (typeof alone)[Alone]][]) {
    const [one, other] = values.map((value) => meshConfigWith({ [name]: value }));
    const changes = [
      { old: one, object: other },
      { old: other, object: one },
    ];
    // What only says that the mesh config is different.
    const isElsewhere = ({ subject }: Finding) => subject.kind !== "MeshConfig";

    test(`introduces the same if only ${name} is different`, () => {
      let introduced = 0;
      fc.assert(
        fc.property(sensitiveWorlds, fc.constantFrom(...changes), (rest, change) => {
          introduced += introducedBy(change, rest).filter(isElsewhere).length;
        }),
        { numRuns: Math.ceil(numRuns / 10) },
      );
      assert.ok(introduced > 0, "the law was not tried");
    });

    const many = crowds[name];
    if (many === undefined) continue;
    test(`introduces the same if so many objects depend on ${name} that no relations are followed`, () => {
      fc.assert(
        fc.property(sensitiveWorlds, fc.constantFrom(...changes), (rest, change) => {
          introducedBy(change, [...rest, ...many]);
        }),
        { numRuns: Math.ceil(numRuns / 500) },
      );
    });
  }

  test("introduces the same if a mesh config is created or deleted", () => {
    const config = meshConfigWith({});
    fc.assert(
      fc.property(sensitiveWorlds, fc.constantFrom({ object: config }, { old: config }), (rest, change) => {
        introducedBy(change, rest);
      }),
      { numRuns: Math.ceil(numRuns / 10) },
    );
  });

  test("changes no key but of objects that count in another way, and of indexes that say so", () => {
    const used = new Set<string>();
    const indexes = indexesRead(rules);
    const [oldRoot, newRoot] = alone.rootNamespace.map((rootNamespace) => meshConfigWith({ rootNamespace }));
    assert.ok(oldRoot !== undefined && newRoot !== undefined);
    // Few workloads keep ports from their sidecar, so that now and then no random world has one when the root namespace changes.
    const annotations = { "traffic.sidecar.istio.io/excludeInboundPorts": "80" };
    const passing = readObject("Workload", {
      kind: "Deployment",
      metadata: inNamespace("b"),
      spec: { template: { metadata: { labels: { app: "s" }, annotations }, spec: { containers: [] } } },
    });
    const passed = { rest: [passing], change: { old: oldRoot, object: newRoot } };
    // Nor do many have a probe of which only the injector decides whether it is rewritten.
    const probed = readObject("Workload", {
      kind: "Deployment",
      metadata: inNamespace("b"),
      spec: { template: { spec: { containers: [{ name: "c", readinessProbe: { httpGet: { port: 80 } } }] } } },
    });
    const [rewriting, keeping] = [true, false].map((rewriteAppHTTPProbe) =>
      readObject("InjectorConfig", {
        kind: "ConfigMap",
        metadata: { name: "istio-sidecar-injector", namespace: "istio-system" },
        data: {
          config: "policy: enabled",
          values: JSON.stringify({ sidecarInjectorWebhook: { rewriteAppHTTPProbe } }),
        },
      }),
    );
    assert.ok(rewriting !== undefined && keeping !== undefined);
    const kept = { rest: [probed], change: { old: rewriting, object: keeping } };
    fc.assert(
      fc.property(worlds, ({ rest, change }) => {
        const mesh = build(rest);
        const [before, after] = [change.old, change.object].map((one) =>
          meshSettingsOf(one === undefined ? rest : [...rest, one]),
        );
        assert.ok(before !== undefined && after !== undefined);
        const differing = changedSettings(before, after);
        const step = countedOtherwise({ all: (kind) => mesh.all(kind), settings: before }, after, differing).next();
        assert.ok(step.done === true);
        const counted = new Set(step.value);
        for (const one of indexes)
          for (const object of mesh.all(one.kind)) {
            const { kind, keys, dependsOn } = one;
            const [old, now] = [before, after].map((settings) => [...new Set(keys(object as never, settings))].sort());
            if (counted.has(object) || JSON.stringify(old) === JSON.stringify(now)) continue;
            const named = dependsOn.filter((name) => differing.has(name));
            if (named.length === 0 && isOnlyOfRulesEvaluatedWhole(one, differing)) continue;
            assert.ok(named.length > 0, `an index of ${kind} depends on ${[...differing].join()}: ${String(keys)}`);
            for (const name of named) used.add(`${name} ${kind}`);
          }
      }),
      { numRuns, examples: [[passed], [kept]] },
    );
    const said = indexes.flatMap(({ kind, dependsOn }) => dependsOn.map((name) => `${name} ${kind}`));
    assert.deepEqual([...used].sort(), [...new Set(said)].sort());
  });
});
