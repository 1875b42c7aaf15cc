import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { impliedNamespace, readObject } from "../../../src/kube/object.ts";
import {
  atPort,
  mtlsModeOf,
  mtlsOf,
  type PeerAuthentication,
  type Plane,
} from "../../../src/mesh/mtls/effective-mtls.ts";
import type { EffectiveMode, Modes } from "../../../src/mesh/mtls/peer-authentications.ts";
import { defaultMeshSettings, type AllMeshSettings } from "../../../src/view/settings.ts";
import { MeshStore } from "../../../src/view/store.ts";

type Labels = Record<string, string>;
interface Policy {
  /** `namespace/name`. */
  readonly id: string;
  readonly age?: number;
  /** Absent: no selector; null: `selector: {}`. */
  readonly selector?: Labels | null | undefined;
  readonly mode?: string | undefined;
  readonly ports?: Record<string, string> | undefined;
  readonly labels?: Labels;
}

/** `age`: the higher the older. */
function peerAuthentication({ id, age = 0, selector, mode, ports, labels }: Policy): PeerAuthentication {
  const [namespace, name] = id.split("/");
  const creationTimestamp = new Date(Date.UTC(2026, 0, 1) - age * 1000).toISOString().replace(".000Z", "Z");
  const portLevelMtls = ports && Object.fromEntries(Object.entries(ports).map(([port, mode]) => [port, { mode }]));
  return readObject("PeerAuthentication", {
    apiVersion: "security.istio.io/v1",
    kind: "PeerAuthentication",
    metadata: { namespace, name, creationTimestamp, labels },
    spec: {
      selector: selector === null ? {} : selector && { matchLabels: selector },
      mtls: mode === undefined ? undefined : { mode },
      portLevelMtls,
    },
  });
}

function meshOf(policies: readonly Policy[], settings: Partial<AllMeshSettings> = {}): MeshStore {
  const mesh = new MeshStore({ ...defaultMeshSettings, ...settings });
  for (const policy of policies) mesh.set(peerAuthentication(policy));
  return mesh;
}
const shown = (verdict: EffectiveMode) =>
  `${verdict.mode} ${verdict.by ? `${verdict.by.metadata.namespace}/${verdict.by.metadata.name}` : "-"}${verdict.isDropped ? " dropped" : ""}`;
const all = ({ mode, ports }: Modes) => [
  shown(mode),
  ...[...ports].map(([port, verdict]) => `${port}: ${shown(verdict)}`),
];
const api = { app: "api", version: "v1" };

interface Case {
  readonly what: string;
  readonly policies: readonly Policy[];
  readonly sidecar: readonly string[];
  /** As the sidecar where absent. */
  readonly ambient?: readonly string[];
  readonly namespace?: string;
}
const selector = { app: "api" };
const cases: readonly Case[] = [
  { what: "nothing", policies: [], sidecar: ["PERMISSIVE -"] },
  { what: "mesh-wide", policies: [{ id: "istio-system/a", mode: "STRICT" }], sidecar: ["STRICT istio-system/a"] },
  {
    what: "another namespace's",
    policies: [{ id: "orders/a", mode: "STRICT" }],
    sidecar: ["PERMISSIVE -"],
  },
  {
    what: "the namespace overrides the mesh, whatever their age",
    policies: [
      { id: "istio-system/a", mode: "STRICT", age: 9 },
      { id: "payments/a", mode: "DISABLE" },
    ],
    sidecar: ["DISABLE payments/a"],
    ambient: ["PERMISSIVE payments/a"],
  },
  {
    what: "the workload overrides the namespace",
    policies: [
      { id: "payments/a", mode: "STRICT", age: 9 },
      { id: "payments/b", mode: "PERMISSIVE", selector },
    ],
    sidecar: ["PERMISSIVE payments/b"],
  },
  {
    what: "UNSET and absent modes inherit, one after the other",
    policies: [
      { id: "istio-system/a", mode: "STRICT" },
      { id: "payments/a", mode: "UNSET" },
      { id: "payments/b", selector },
    ],
    sidecar: ["STRICT istio-system/a"],
  },
  {
    what: "UNSET for the mesh is PERMISSIVE",
    policies: [{ id: "istio-system/a", mode: "UNSET" }],
    sidecar: ["PERMISSIVE -"],
  },
  {
    what: "the oldest wins, even when it sets nothing",
    policies: [
      { id: "payments/old", age: 2 },
      { id: "payments/a", mode: "STRICT", age: 1 },
      { id: "istio-system/b", mode: "STRICT", age: 1 },
      { id: "istio-system/old", mode: "PERMISSIVE", age: 2 },
    ],
    sidecar: ["PERMISSIVE istio-system/old"],
  },
  {
    what: "the oldest of those that select the workload",
    policies: [
      { id: "payments/older", mode: "PERMISSIVE", selector: { app: "other" }, age: 3 },
      { id: "payments/old", mode: "STRICT", selector: { version: "v1" }, age: 2 },
      { id: "payments/new", mode: "DISABLE", selector, ports: { 80: "DISABLE" }, age: 1 },
    ],
    sidecar: ["STRICT payments/old"],
  },
  {
    what: "of one age the name decides for sidecars, and nothing for ztunnel: the weaker is judged",
    policies: [
      { id: "payments/b", mode: "PERMISSIVE" },
      { id: "payments/a", mode: "STRICT" },
    ],
    sidecar: ["STRICT payments/a"],
    ambient: ["PERMISSIVE payments/b"],
  },
  {
    what: "of one age, with selectors",
    policies: [
      { id: "payments/a", mode: "STRICT", selector },
      { id: "payments/b", mode: "DISABLE", selector: { version: "v1" } },
    ],
    sidecar: ["STRICT payments/a"],
    ambient: ["PERMISSIVE payments/b"],
  },
  {
    what: "a selector in the root namespace counts nowhere",
    policies: [{ id: "istio-system/a", mode: "STRICT", selector }],
    sidecar: ["PERMISSIVE -"],
  },
  {
    what: "nor for the root namespace itself",
    policies: [{ id: "istio-system/a", mode: "STRICT", selector }],
    sidecar: ["PERMISSIVE -"],
    namespace: "istio-system",
  },
  {
    what: "an empty selector in the root namespace: mesh-wide for sidecars only",
    policies: [{ id: "istio-system/a", mode: "STRICT", selector: null }],
    sidecar: ["STRICT istio-system/a"],
    ambient: ["PERMISSIVE -"],
  },
  {
    what: "an empty selector in the root namespace, for its own workloads",
    policies: [{ id: "istio-system/a", mode: "STRICT", selector: {} }],
    sidecar: ["STRICT istio-system/a"],
    namespace: "istio-system",
  },
  {
    what: "an empty selector in the namespace is none",
    policies: [{ id: "payments/a", mode: "STRICT", selector: null }],
    sidecar: ["STRICT payments/a"],
  },
  {
    what: "another revision's policy is nobody's",
    policies: [{ id: "payments/a", mode: "STRICT", labels: { "istio.io/rev": "canary" } }],
    sidecar: ["PERMISSIVE -"],
  },
  {
    what: "ports inherit from the workload's mode",
    policies: [{ id: "payments/a", mode: "STRICT", selector, ports: { 80: "UNSET", 81: "DISABLE", 82: "STRICT" } }],
    sidecar: ["STRICT payments/a", "80: STRICT payments/a", "81: DISABLE payments/a", "82: STRICT payments/a"],
    ambient: ["STRICT payments/a", "80: STRICT payments/a", "81: PERMISSIVE payments/a", "82: STRICT payments/a"],
  },
  {
    what: "a STRICT port of an open workload",
    policies: [{ id: "payments/a", mode: "PERMISSIVE", selector, ports: { 80: "STRICT" } }],
    sidecar: ["PERMISSIVE payments/a", "80: STRICT payments/a"],
  },
  {
    what: "a STRICT port of an open workload in a STRICT mesh: ztunnel takes the mesh for cover and refuses nothing",
    policies: [
      { id: "istio-system/a", mode: "STRICT" },
      { id: "payments/a", mode: "PERMISSIVE", selector, ports: { 80: "STRICT" } },
    ],
    sidecar: ["PERMISSIVE payments/a", "80: STRICT payments/a"],
    ambient: ["PERMISSIVE payments/a", "80: PERMISSIVE payments/a dropped"],
  },
  {
    what: "a DISABLE port under an inherited STRICT stays shut at ztunnel",
    policies: [
      { id: "payments/a", mode: "STRICT" },
      { id: "payments/b", selector, ports: { 80: "DISABLE" } },
    ],
    sidecar: ["STRICT payments/a", "80: DISABLE payments/b"],
    ambient: ["STRICT payments/a", "80: STRICT payments/b"],
  },
  {
    what: "a PERMISSIVE port under an inherited STRICT",
    policies: [
      { id: "payments/a", mode: "STRICT" },
      { id: "payments/b", selector, ports: { 80: "PERMISSIVE" } },
    ],
    sidecar: ["STRICT payments/a", "80: PERMISSIVE payments/b"],
  },
  {
    what: "a PERMISSIVE port under a namespace policy that sets nothing opens every port at ztunnel",
    policies: [
      { id: "istio-system/a", mode: "STRICT" },
      { id: "payments/a", mode: "UNSET" },
      { id: "payments/b", selector, ports: { 80: "PERMISSIVE" } },
    ],
    sidecar: ["STRICT istio-system/a", "80: PERMISSIVE payments/b"],
    ambient: ["PERMISSIVE payments/b dropped", "80: PERMISSIVE payments/b"],
  },
  {
    what: "the conversion does not see an empty selector",
    policies: [
      { id: "payments/a", mode: "STRICT", selector: null },
      { id: "payments/b", selector, ports: { 80: "PERMISSIVE" } },
    ],
    sidecar: ["STRICT payments/a", "80: PERMISSIVE payments/b"],
    ambient: ["PERMISSIVE payments/b dropped", "80: PERMISSIVE payments/b"],
  },
];

function modesOf(policies: readonly Policy[], plane: Plane, namespace = "payments"): readonly string[] {
  return all(mtlsOf(impliedNamespace(namespace), meshOf(policies)).of(api, plane));
}

describe("effective mTLS", () => {
  for (const { what, policies, sidecar, ambient = sidecar, namespace } of cases) {
    test(`sidecar: ${what}`, () => assert.deepEqual(modesOf(policies, "sidecar", namespace), sidecar));
    test(`ambient: ${what}`, () => assert.deepEqual(modesOf(policies, "ambient", namespace), ambient));
  }

  test("the root namespace is a setting", () => {
    const mesh = meshOf([{ id: "mesh-root/a", mode: "STRICT" }], { rootNamespace: "mesh-root" });
    assert.equal(mtlsOf(impliedNamespace("payments"), mesh).wide("sidecar").mode, "STRICT");
  });

  test("of a workload, by whatever takes its traffic; the weaker where that is not known", () => {
    const mesh = meshOf([
      { id: "payments/a", mode: "STRICT" },
      { id: "payments/b", mode: "STRICT", selector, ports: { 80: "DISABLE" } },
    ]);
    const workload = (spec: object = {}) =>
      readObject("Workload", { kind: "Pod", metadata: { name: "x", namespace: "payments", labels: api }, spec });
    const namespace = impliedNamespace("payments");
    assert.equal(mtlsModeOf(workload(), namespace, mesh)?.mode, "STRICT");
    assert.equal(mtlsModeOf(workload(), namespace, mesh, 80)?.mode, "DISABLE");
    assert.equal(mtlsModeOf(workload({ hostNetwork: true }), namespace, mesh), undefined);
  });
});

// The same from the other side: what istiod hands to ztunnel, as data, and what ztunnel makes of it.

interface Deny {
  readonly ports: readonly number[];
  readonly notPorts: readonly number[];
}
const setMode = (mode: string | undefined) => (mode === "UNSET" ? undefined : mode);
const oldestOf = (list: readonly Policy[]) => list.toSorted((a, b) => (b.age ?? 0) - (a.age ?? 0))[0];
const isEmpty = ({ selector }: Policy) => Object.keys(selector ?? {}).length === 0;
const hasNone = ({ selector }: Policy) => selector === undefined;
const isSelecting = (policy: Policy) =>
  !isEmpty(policy) && Object.entries(policy.selector ?? {}).every(([key, value]) => (api as Labels)[key] === value);
const strict: Deny = { ports: [], notPorts: [] };

const modeOf = (policy: Policy | undefined) => setMode(policy?.mode);
const portsWith = ({ ports = {} }: Policy, wanted: readonly string[]) =>
  Object.keys(ports)
    .filter((port) => wanted.includes(ports[port] ?? ""))
    .map(Number);

function handedToZtunnel(policies: readonly Policy[]): readonly Deny[] {
  const mesh = oldestOf(policies.filter((policy) => policy.id.startsWith("istio-system/") && hasNone(policy)));
  const own = policies.filter(({ id }) => id.startsWith("payments/"));
  const inherited = modeOf(oldestOf(own.filter(isEmpty))) ?? modeOf(mesh);
  const workload = oldestOf(own.filter(isSelecting));
  const isStrict = (modeOf(workload) ?? inherited) === "STRICT";
  if (workload !== undefined && portsWith(workload, exceptionsTo(modeOf(workload), isStrict)).length > 0)
    return conversion(workload, oldestOf(own.filter(hasNone)), mesh);
  return isStrict ? [strict] : [];
}

function exceptionsTo(own: string | undefined, isStrict: boolean): readonly string[] {
  if (!isStrict) return ["STRICT"];
  return own === undefined ? ["PERMISSIVE"] : ["PERMISSIVE", "DISABLE"];
}

function conversion(workload: Policy, wide: Policy | undefined, mesh: Policy | undefined): readonly Deny[] {
  const own = modeOf(workload);
  const nearest = wide === undefined ? modeOf(mesh) : modeOf(wide);
  const under = [own, own ?? modeOf(wide), modeOf(wide) === undefined ? modeOf(mesh) : undefined];
  const single = under.includes("STRICT") ? [] : portsWith(workload, ["STRICT"]);
  const notPorts = (own ?? nearest) === "STRICT" ? portsWith(workload, ["PERMISSIVE", "DISABLE"]) : [];
  const denies = single.map((port): Deny => ({ ports: [port], notPorts: [] }));
  return notPorts.length > 0 ? [...denies, { ports: [], notPorts }] : denies;
}

const isDenied = ({ ports, notPorts }: Deny, port: number) =>
  (ports.length === 0 || ports.includes(port)) && !notPorts.includes(port);

const modes = fc.constantFrom(undefined, "UNSET", "STRICT", "PERMISSIVE", "DISABLE");
const somePolicies = fc
  .array(
    fc.record({
      namespace: fc.constantFrom("istio-system", "payments", "payments", "payments"),
      selector: fc.constantFrom<Labels | null | undefined>(
        undefined,
        null,
        {},
        selector,
        { version: "v1" },
        { app: "x" },
      ),
      mode: modes,
      ports: fc.option(
        fc.dictionary(fc.constantFrom("80", "81", "82"), fc.constantFrom("UNSET", "STRICT", "PERMISSIVE", "DISABLE")),
        { nil: undefined },
      ),
    }),
    { maxLength: 6 },
  )
  .map((policies): readonly Policy[] =>
    policies.map(({ namespace, ...policy }, i) => ({ ...policy, id: `${namespace}/p${i}`, age: i })),
  );

describe("properties", () => {
  test("at ztunnel a port is STRICT exactly where a policy that it is given denies plaintext", () => {
    fc.assert(
      fc.property(somePolicies, (policies) => {
        const effective = mtlsOf(impliedNamespace("payments"), meshOf(policies)).of(api, "ambient");
        const denies = handedToZtunnel(policies);
        for (const port of [80, 81, 82, 83])
          assert.equal(
            atPort(effective, port).mode === "STRICT",
            denies.some((deny) => isDenied(deny, port)),
            `${port}`,
          );
      }),
      { numRuns: 2000 },
    );
  });

  test("ages that differ leave nothing to the order of objects", () => {
    fc.assert(
      fc.property(somePolicies, fc.constantFrom<Plane>("sidecar", "ambient"), (policies, plane) => {
        assert.deepEqual(modesOf(policies.toReversed(), plane), modesOf(policies, plane));
      }),
    );
  });

  test("of one age, ztunnel is judged no stronger than under any order of them", () => {
    fc.assert(
      fc.property(somePolicies, (policies) => {
        const namespace = impliedNamespace("payments");
        const same = mtlsOf(namespace, meshOf(policies.map((policy) => ({ ...policy, age: 0 })))).of(api, "ambient");
        const ordered = mtlsOf(namespace, meshOf(policies)).of(api, "ambient");
        for (const port of [80, 81, 82, 83])
          if (atPort(same, port).mode === "STRICT") assert.equal(atPort(ordered, port).mode, "STRICT");
      }),
    );
  });

  test("the mode of sidecars is that of the narrowest level that sets one", () => {
    fc.assert(
      fc.property(somePolicies, (policies) => {
        const { mode, by } = mtlsOf(impliedNamespace("payments"), meshOf(policies)).of(api, "sidecar").mode;
        if (by === undefined) assert.equal(mode, "PERMISSIVE");
        else assert.equal(by.spec.mtls?.mode, mode);
      }),
    );
  });
});
