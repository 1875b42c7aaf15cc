import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { bySeverity } from "../../src/admission/severity.ts";
import { Budget } from "../../src/engine/budget.ts";
import { judging } from "../../src/engine/evaluate.ts";
import type { Finding } from "../../src/engine/finding.ts";
import { ruled, type Ruling } from "../../src/engine/ruling.ts";
import { everyRule } from "../../src/engine/setting.ts";
import { withoutPauses } from "../../src/engine/steps.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { rules } from "../../src/rules/index.ts";
import { defaultMeshSettings, meshSettingsOf } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import {
  authorizationPolicy,
  deployment,
  destinationRule,
  manifest,
  namespace,
  peerAuthentication,
  type Raw,
  readers,
  service,
} from "../bench/mesh.ts";

// A step of a review, from one pause to the next, delays all others, and one that takes too long is an error. So whatever goes over
// many objects pauses between them. Counted are the pauses of a budget of which every slice is over.

const at = "shop";
const many = 300;
const list = <T>(one: (i: number) => T): readonly T[] => Array.from({ length: many }, (_, i) => one(i));
const named = (name: string) => ({ namespace: at, name });
const read = (raw: Raw): AnyObject => {
  const object = readAny(raw);
  assert.ok(object !== undefined);
  return object;
};

/** Wants to pause wherever it may. */
class Hasty extends Budget {
  constructor() {
    super({ limitMs: Number.POSITIVE_INFINITY, sliceMs: 0, cpuMs: () => 0 });
  }
  override isSliceOver(): boolean {
    return true;
  }
}

interface World {
  readonly objects: readonly Raw[];
  readonly old?: Raw;
  readonly object?: Raw;
}

/** The pauses of one rule for one change. */
function pausesOf(id: string, { objects, old, object }: World): number {
  const rule = rules.find((one) => one.id === id);
  assert.ok(rule !== undefined, id);
  const all = [...objects, ...(old === undefined ? [] : [old])].map(read);
  const mesh = new MeshStore(meshSettingsOf(all));
  for (const one of all) mesh.set(one);
  const change = { old: old && read(old), object: object && read(object) };
  let pauses = 0;
  const steps = judging([rule], mesh, [change], { selection: everyRule, budget: new Hasty() });
  while (!steps.next().done) pauses++;
  return pauses;
}

const guarded = namespace(at, { "meshward.io/protected": "true", "istio-injection": "enabled" });
const workloads = list((i) => deployment(named(`w-${i}`), `app-${i}`));
const policies = list((i) => authorizationPolicy(named(`p-${i}`), readers(at, `app-${i}`)));
const defaultDeny = authorizationPolicy(named("closed"), {});
const plain = (i: number) =>
  manifest("networking.istio.io/v1", "DestinationRule", named(`d-${i}`), {
    spec: { host: `svc-${i}`, trafficPolicy: { tls: { mode: "DISABLE" } } },
  });
const server = (i: number) => ({
  hosts: [`h-${i}.example.com`],
  port: { number: 443, name: `p-${i}`, protocol: "HTTPS" },
  tls: { mode: "SIMPLE", credentialName: `c-${i}` },
});
const gateway = manifest("networking.istio.io/v1", "Gateway", named("g"), {
  spec: { selector: { istio: "ingress" }, servers: list(server) },
});

describe("a review pauses between", () => {
  const worlds: readonly (World & { readonly title: string; readonly rules: readonly string[] })[] = [
    {
      title: "the workloads of a namespace whose policies change",
      rules: [
        "namespace-authorization-opened",
        "namespace-authorization-widened",
        "namespace-deny-weakened",
        "namespace-nobody-allowed",
      ],
      objects: [guarded, ...workloads, ...policies],
      old: defaultDeny,
    },
    {
      title: "the workloads of a namespace whose mTLS changes",
      rules: ["namespace-mtls-not-strict"],
      objects: [guarded, ...workloads],
      old: peerAuthentication(named("default"), "STRICT"),
      object: peerAuthentication(named("default"), "PERMISSIVE"),
    },
    {
      title: "the DestinationRules of a namespace that becomes STRICT",
      rules: ["destination-rule-plaintext"],
      objects: [guarded, ...workloads, ...list((i) => service(named(`svc-${i}`), `app-${i}`)), ...list(plain)],
      object: peerAuthentication(named("default"), "STRICT"),
    },
    { title: "the servers of a Gateway", rules: ["gateway-conflict"], objects: [guarded], object: gateway },
  ];
  for (const { title, rules: ids, ...world } of worlds)
    test(title, () => {
      for (const id of ids) assert.ok(pausesOf(id, world) >= many, `${id}: ${pausesOf(id, world)}`);
    });

  test("the objects that count in another way with other settings", () => {
    const config = (mesh: string): Raw => ({
      ...{ apiVersion: "v1", kind: "ConfigMap", metadata: { namespace: "istio-system", name: "istio" } },
      data: { mesh },
    });
    const pauses = pausesOf("destination-rule-plaintext", {
      objects: [guarded, ...list((i) => destinationRule(named(`d-${i}`), `svc-${i}`))],
      old: config("{}"),
      object: config("defaultDestinationRuleExportTo: ['.']\n"),
    });
    assert.ok(pauses >= many / 100, String(pauses));
  });
});

describe("what follows from an evaluation", () => {
  const [rule] = rules;
  assert.ok(rule !== undefined);
  const mesh = new MeshStore(defaultMeshSettings);
  const settings = everyRule.between(mesh, mesh);
  const finding = (i: number, message = "m"): Finding => {
    const subject = read(deployment({ namespace: `ns-${i % 7}`, name: `w-${i}` }, "app"));
    return {
      rule,
      subject,
      setting: settings.of(rule, subject),
      at: [],
      message,
      introduced: true,
      class: "intrinsic",
    };
  };

  test("pauses between many rulings", () => {
    const findings = Array.from({ length: 5_000 }, (_, i) => finding(i));
    const context = { after: mesh, exceptionFor: () => undefined };
    let pauses = 0;
    const rulings = ruled(findings, context);
    let step = rulings.next();
    for (; !step.done; step = rulings.next()) pauses++;
    assert.ok(pauses >= 25, String(pauses));
    const sorting = bySeverity(step.value);
    pauses = 0;
    while (!sorting.next().done) pauses++;
    assert.ok(pauses >= 5, String(pauses));
  });

  test("has an order that depends on the content alone", () => {
    const modes = ["off", "audit", "deny", "warn"] as const;
    const all = Array.from({ length: 40 }, (_, i): Ruling => {
      const one = finding(i % 10, i % 3 === 0 ? "a" : "b");
      return { finding: { ...one, at: ["spec", i % 4 === 0 ? 10 : 9] }, mode: modes[i % 4] ?? "off", lowered: [] };
    });
    const shown = (rulings: readonly Ruling[]) =>
      rulings
        .filter(({ mode }) => mode !== "off")
        .map(
          ({ mode, finding: { subject, at, message } }) => `${mode} ${subject.metadata.name} ${at.join()} ${message}`,
        );
    const sorted = shown(withoutPauses(bySeverity(all)));
    assert.deepEqual(shown(withoutPauses(bySeverity(all.toReversed()))), sorted);
    assert.deepEqual(
      [...new Set(sorted.map((line) => line.split(" ")[0]))],
      ["deny", "warn", "audit"],
      "most severe first",
    );
  });

  test("has the order of names in messages, and of numbers in paths", () => {
    const at = (place: number, name: string, namespaceOf: string): Ruling => {
      const subject = read(deployment({ namespace: namespaceOf, name }, "app"));
      return { finding: { ...finding(0), subject, at: ["x", place] }, mode: "deny", lowered: [] };
    };
    const sorted = withoutPauses(bySeverity([at(10, "a", "b"), at(9, "a", "b"), at(0, "z", "b"), at(0, "a", "b-c")]));
    assert.deepEqual(
      sorted.map(
        ({
          finding: {
            subject,
            at: [, place],
          },
        }) => `${subject.metadata.namespace}/${subject.metadata.name} ${place}`,
      ),
      ["b-c/a 0", "b/a 9", "b/a 10", "b/z 0"],
    );
  });
});
