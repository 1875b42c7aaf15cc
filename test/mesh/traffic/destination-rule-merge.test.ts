import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { readObject } from "../../../src/kube/object.ts";
import { asMadeOfPolicies, isMadeOfPolicies } from "../../../src/mesh/traffic/backend-policy-merge.ts";
import { DestinationRulesByHost } from "../../../src/mesh/traffic/destination-rule-lookup.ts";
import { exportSetOf, selectorOf } from "../../../src/mesh/traffic/destination-rule-merge.ts";
import { type DestinationRule, hostOfRule, isLocal, isPrivate } from "../../../src/mesh/traffic/destination-rules.ts";
import { mostSpecificHost } from "../../../src/mesh/traffic/hosts.ts";
import { SubsetsOfHost } from "../../../src/mesh/traffic/subsets.ts";
import { oldestFirst } from "../../../src/mesh/objects/creation-order.ts";
import { selects } from "../../../src/mesh/objects/selectors.ts";
import { defaultMeshSettings } from "../../../src/view/settings.ts";

// What is computed without the quadratic loops of istiod gives what the loops give.

const settings = { ...defaultMeshSettings, rootNamespace: "root" };
const host = "x.a.svc.cluster.local";
const namespaces = ["a", "b", "c", "root"];

const aPort = fc.record({
  port: fc.constantFrom({ number: 80 }, { number: 81 }),
  tls: fc.constantFrom(undefined, { mode: "SIMPLE" }, { mode: "DISABLE" }),
  connectionPool: fc.constantFrom(undefined, { tcp: { maxConnections: 1 } }),
});
const aPolicy = fc.record({
  tls: fc.constantFrom(undefined, { mode: "SIMPLE" }, { mode: "DISABLE" }, { mode: "ISTIO_MUTUAL" }),
  loadBalancer: fc.constantFrom(undefined, { simple: "RANDOM" }),
  portLevelSettings: fc.array(aPort, { maxLength: 3 }),
});
const aRule = fc.record({
  isMade: fc.constantFrom(false, false, false, true),
  namespace: fc.constantFrom(...namespaces),
  creationTimestamp: fc.constantFrom("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", undefined),
  host: fc.constantFrom(host, host, host, "*.a.svc.cluster.local", "*.local"),
  exportTo: fc.constantFrom(undefined, undefined, ["."], ["*"], ["b"], ["b", "c"], ["b", "c", "."], ["*", "b"]),
  workloadSelector: fc.constantFrom(
    undefined,
    undefined,
    {},
    { matchLabels: { app: "x" } },
    { matchLabels: { app: "y" } },
  ),
  subsets: fc.uniqueArray(
    fc.constantFrom("v1", "v2", "v3").map((name) => ({ name })),
    { selector: ({ name }) => name },
  ),
  trafficPolicy: fc.option(aPolicy, { nil: undefined }),
});
type ARule = typeof aRule extends fc.Arbitrary<infer One> ? One : never;
const rulesUpTo = (maxLength: number) =>
  fc
    .array(aRule, { maxLength, size: "max" })
    .map((all) => all.map((one, i) => (one.isMade ? madeRule(one, i) : userRule(one, i))));

const userRule = ({ namespace, creationTimestamp, ...spec }: ARule, i: number) =>
  readObject("DestinationRule", { metadata: { name: `r-${i}`, namespace, creationTimestamp }, spec });

const anEmptyPolicy = { tls: undefined, loadBalancer: undefined, portLevelSettings: [] };
/** As istiod makes one of policies: for all clients, older than every other rule, and always with a traffic policy. */
const madeRule = ({ namespace, host, trafficPolicy = anEmptyPolicy }: ARule, i: number) =>
  asMadeOfPolicies(
    readObject("DestinationRule", {
      metadata: { name: `r-${i}`, namespace, creationTimestamp: "0001-01-01T00:00:00Z" },
      spec: { host, trafficPolicy },
    }),
  );
const someRules = rulesUpTo(12);

type Subsets = DestinationRule["spec"]["subsets"];
interface Merged {
  readonly exportTo: ReadonlySet<string>;
  readonly selector: Readonly<Record<string, string>> | undefined;
  readonly namespace: string;
  readonly from: DestinationRule[];
  readonly subsets: Subsets[number][];
  trafficPolicy: DestinationRule["spec"]["trafficPolicy"];
}

/** Istio pilot/pkg/model/destination_rule.go mergeDestinationRule, each rule with each earlier one. */
function merge(rules: readonly DestinationRule[]): readonly Merged[] {
  const merged: Merged[] = [];
  const isPlain = (rule: DestinationRule) => Number(selectorOf(rule) === undefined);
  for (const rule of rules.toSorted((a, b) => isPlain(a) - isPlain(b) || oldestFirst(a, b))) {
    const [exportTo, selector] = [exportSetOf(rule), selectorOf(rule)];
    let isSeparate = true;
    for (const existing of merged) {
      const isSame = exportTo.size === existing.exportTo.size && exportTo.isSupersetOf(existing.exportTo);
      isSeparate = !isSame;
      if (!isSame && !isWider(exportTo, existing.exportTo)) continue;
      const selected = compared(selector, existing.selector);
      if (selected !== "one") isSeparate = selected === "other";
      if (selected !== "other") takeIn(rule, existing);
    }
    const { subsets, trafficPolicy } = rule.spec;
    const { namespace } = rule.metadata;
    if (isSeparate) merged.push({ exportTo, selector, namespace, from: [rule], subsets: [...subsets], trafficPolicy });
  }
  return merged;
}

const isWider = (added: ReadonlySet<string>, existing: ReadonlySet<string>) =>
  existing.size > 0 && added.isSupersetOf(existing);

function compared(added: Merged["selector"], existing: Merged["selector"]): "same" | "one" | "other" {
  if ((added === undefined) !== (existing === undefined)) return "one";
  return JSON.stringify(added) === JSON.stringify(existing) ? "same" : "other";
}

function takeIn(rule: DestinationRule, existing: Merged): void {
  const { spec } = rule;
  const known = new Set(existing.subsets.map(({ name }) => name));
  existing.from.push(rule);
  existing.subsets.push(...spec.subsets.filter(({ name }) => !known.has(name)));
  const [first] = existing.from;
  if (first === undefined || isMadeOfPolicies(first) === isMadeOfPolicies(rule))
    existing.trafficPolicy ??= spec.trafficPolicy;
  else existing.trafficPolicy = overlaid(spec.trafficPolicy, existing.trafficPolicy);
}

type TrafficPolicy = DestinationRule["spec"]["trafficPolicy"];

/** Istio pilot/pkg/model/destination_rule.go mergeBackendPolicyTrafficPolicy. A rule of policies is always the existing one. */
function overlaid(user: TrafficPolicy, backend: TrafficPolicy): TrafficPolicy {
  if (user === undefined || backend === undefined) return user ?? backend;
  const portLevelSettings = user.portLevelSettings.map((entry) => ({ ...entry }));
  const byPort = new Map(portLevelSettings.map((entry) => [entry.port?.number, entry]));
  for (const entry of backend.portLevelSettings) {
    const own = byPort.get(entry.port?.number);
    if (own === undefined) portLevelSettings.push(entry);
    else Object.assign(own, { ...defined(entry), ...defined(own) });
  }
  return { ...backend, ...defined(user), portLevelSettings };
}

const defined = <T extends object>(fields: T): Partial<T> => JSON.parse(JSON.stringify(fields));

/** Istio pilot/pkg/model/push_context.go destinationRule. */
function mergedFor(client: string, owner: string | undefined, rules: readonly DestinationRule[]): readonly Merged[] {
  const best = (all: readonly DestinationRule[]) => {
    const hosts = all.map((rule) => hostOfRule(rule, settings));
    return merge(all.filter((rule) => hostOfRule(rule, settings) === mostSpecificHost(host, hosts)));
  };
  const isOwn = client === settings.rootNamespace ? isPrivate : isLocal;
  const own = best(rules.filter((rule) => rule.metadata.namespace === client && isOwn(rule, settings)));
  if (own.length > 0) return own;
  for (const namespace of new Set([owner, settings.rootNamespace])) {
    const exported = best(rules.filter((rule) => rule.metadata.namespace === namespace && !isPrivate(rule, settings)));
    const visible = exported.filter(({ exportTo }) => exportTo.size === 0 || exportTo.has("*") || exportTo.has(client));
    if (visible.length > 0) return visible;
  }
  return [];
}

const shown = ({
  from,
  subsets,
  trafficPolicy,
}: Pick<Merged, "trafficPolicy"> & { from: readonly DestinationRule[]; subsets: Subsets }) => ({
  from: from.filter((rule) => !isMadeOfPolicies(rule)).map(({ metadata }) => metadata.name),
  subsets: subsets.map(({ name }) => name),
  trafficPolicy: trafficPolicy && defined(trafficPolicy),
});
const clients = [...namespaces, "elsewhere"];
const owners = [...namespaces, undefined];

test("rules are merged as if each was compared with each earlier one", () => {
  const sizes = new Set<number>();
  fc.assert(
    fc.property(someRules, (rules) => {
      const over = new DestinationRulesByHost(rules, settings).over(host);
      for (const client of clients)
        for (const owner of owners) {
          const merged = mergedFor(client, owner, rules);
          assert.deepEqual(over.seenBy(client, owner).map(shown), merged.map(shown));
          for (const { from } of merged) sizes.add(from.length);
        }
    }),
    { numRuns: 1_000 },
  );
  assert.ok(sizes.size > 2, "hardly any rules were merged");
});

interface Found {
  readonly definedFor: "none" | "some" | "all";
  readonly used: readonly string[];
}

/** Of one namespace of the service; without labels for every workload. */
function lookUp(
  client: string,
  owner: string | undefined,
  rules: readonly DestinationRule[],
  labels?: { app: string },
): Found {
  const merged = mergedFor(client, owner, rules);
  const selecting = merged.filter(({ selector, namespace }) => selector !== undefined && namespace === client);
  const last = merged.findLast(({ selector }) => selector === undefined);
  const first = labels && selecting.find(({ selector }) => selects(selector ?? {}, labels));
  const isEmpty = ({ selector }: Merged) => Object.keys(selector ?? {}).length === 0;
  const all = selecting.findIndex(isEmpty);
  const some = all < 0 ? [...selecting, last] : selecting.slice(0, all + 1);
  const used = labels === undefined ? some : [first ?? last];
  const without = used.filter((one) => !one?.subsets.some(({ name }) => name === "v1"));
  const partly = without.length === used.length ? "none" : "some";
  const names = without.flatMap((one) => one?.from.map(({ metadata }) => metadata.name) ?? []);
  return { definedFor: without.length === 0 ? "all" : partly, used: [...new Set(names)] };
}

const rank = ({ definedFor, used }: Found) => ["none", "some", "all"].indexOf(definedFor) * 2 + Number(used.length > 0);

test("a subset is found as if each client looked it up for each namespace of the service", () => {
  const results = new Set<string>();
  let overlapping = 0;
  fc.assert(
    fc.property(
      fc.oneof(someRules, rulesUpTo(3)).map((all) => all.filter((rule) => !isMadeOfPolicies(rule))),
      fc.constantFrom([], ["a"], ["b", "a"]),
      (rules, serviceNamespaces) => {
        const over = new DestinationRulesByHost(rules, settings).over(host);
        const subsets = new SubsetsOfHost(over, new Set(serviceNamespaces), settings);
        const possible = [undefined, ...over.rules.map(({ metadata }) => metadata.namespace)];
        const found = clients.flatMap((client) =>
          [undefined, { app: "x" }].map((labels) => {
            // Sidecars use the service of their own namespace, and gateways the oldest one (Istio pilot/pkg/model/sidecar.go).
            const isOwner = labels === undefined && serviceNamespaces.some((name) => name === client);
            const owners = isOwner ? [client] : serviceNamespaces.length > 0 ? serviceNamespaces : possible;
            const each = owners.map((owner) => lookUp(client, owner, rules, labels));
            const best = each.reduce((one, other) => (rank(other) > rank(one) ? other : one));
            const { definedFor, used } = subsets.lookUp(client, "v1", labels);
            assert.deepEqual({ definedFor, used: used.map(({ metadata }) => metadata.name) }, best);
            results.add(definedFor);
            return labels === undefined ? definedFor : [];
          }),
        );
        const own = found.flat();
        const isForAll = own.every((one) => one === "all");
        assert.equal(subsets.isDefinedForAll("v1"), isForAll);
        if (isForAll && over.rules.length > 1 && over.onlyMostSpecific !== undefined) overlapping++;
        assert.equal(subsets.isNowhere("v1"), isNowhere(subsets));
      },
    ),
    { numRuns: 1_000 },
  );
  assert.equal(results.size, 3);
  assert.ok(overlapping > 2, `only ${overlapping} rules stood before others and were used by all`);
});

const isNowhere = (subsets: SubsetsOfHost) =>
  [...subsets.clients].every((client) => subsets.lookUp(client, "v1").definedFor === "none");
