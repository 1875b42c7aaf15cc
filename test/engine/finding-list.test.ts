import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { decide } from "../../src/admission/decide.ts";
import { judgementOf, rulingsFor } from "../../src/admission/judgement.ts";
import { judge } from "../../src/engine/evaluate.ts";
import { absent } from "../../src/engine/evidence.ts";
import { defineRule, type Problem, type Rule } from "../../src/engine/rule.ts";
import { selectionOf } from "../../src/engine/setting.ts";
import { withoutPauses } from "../../src/engine/steps.ts";
import { type AnyObject, readObject } from "../../src/kube/object.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import { findProfile } from "../../src/policy/profiles.ts";
import { rules } from "../../src/rules/index.ts";
import type { Change } from "../../src/view/overlay.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";

const object = readObject("VirtualService", { metadata: { name: "v", namespace: "shop" } });
const other = readObject("VirtualService", { metadata: { name: "other", namespace: "shop" } });
const finding = (problems: Iterable<Problem>): Rule =>
  defineRule({
    id: "virtual-service-many",
    subject: "VirtualService",
    reads: [],
    mode: "deny",
    since: "0.1.0",
    summary: "",
    why: "",
    fix: "Fix it.",
    check: () => problems,
  });
const many = (count: number, more: Partial<Problem> = {}): readonly Problem[] =>
  Array.from({ length: count }, (_, i) => ({ at: ["spec", i], message: `problem ${i}`, ...more }));

const found = (problems: readonly Problem[], mostAlone: number) =>
  judge([finding(problems)], new MeshStore(defaultMeshSettings), [{ object }], { mostAlone }).findings;

describe("many findings of one rule for one object", () => {
  test("are reported one by one up to the limit", () => {
    assert.deepEqual(
      found(many(3), 3).map(({ message, standsFor }) => [message, standsFor]),
      many(3).map(({ message }) => [message, undefined]),
    );
    assert.deepEqual(
      found(many(4), 3).map(({ message }) => message),
      many(4).map(({ message }) => message),
    );
  });

  test("beyond it, one stands for all others that are alike, and says how many", () => {
    const last = found(many(1_000), 3).at(-1);
    assert.deepEqual(
      [last?.at, last?.message, last?.standsFor],
      [["spec", 3], "problem 3; and 996 more problems of this kind", 996],
    );
  });

  test("a message that is a function is formed for those that are reported, and not for those that one stands for", () => {
    const formed: number[] = [];
    const lazy = Array.from({ length: 1_000 }, (_, i): Problem => {
      const message = () => {
        formed.push(i);
        return `problem ${i}`;
      };
      return { at: ["spec", i], message, key: `${i}` };
    });
    const texts = (problems: readonly Problem[]) => found(problems, 3).map(({ message }) => message);
    assert.deepEqual(texts(lazy), texts(many(1_000)));
    assert.deepEqual(formed, [0, 1, 2, 3]);
  });

  test("a message that is a function is the key where there is none", () => {
    const state = (text: string): Problem => ({ at: [], message: () => text });
    const rule = finding([]);
    const compared = { ...rule, check: (one: unknown) => [state(one === object ? "new" : "old"), state("both")] };
    const change = { old: readObject("VirtualService", { metadata: { name: "v", namespace: "shop" } }), object };
    const { findings } = judge([compared], new MeshStore(defaultMeshSettings), [change], {});
    assert.deepEqual(
      findings.map(({ message, introduced }) => [message, introduced]),
      [
        ["new", true],
        ["both", false],
      ],
    );
  });

  test("a finding never stands for one that can get another ruling", () => {
    const differing: readonly Partial<Problem>[] = [
      { onlyWarns: "it is uncertain" },
      {},
      { topic: "mtls" },
      { evidence: [absent("Service", "shop")] },
      { evidence: [absent("Gateway", "shop")] },
      { evidence: [object] },
      { topic: "mtls", evidence: [object] },
      { topic: "mtls", evidence: [other] },
      { acceptedWith: [{ rule: "a", object }] },
      { acceptedWith: [{ rule: "a", object: other }] },
    ];
    const problems = differing.flatMap((more) => many(10, more));
    const rest = found(problems, 5).slice(5);
    assert.deepEqual(
      rest.map(({ onlyWarns, topic, evidence, acceptedWith, standsFor }) => [
        { onlyWarns, topic, evidence, acceptedWith },
        standsFor,
      ]),
      differing.map(({ onlyWarns, topic, evidence, acceptedWith }, i) => [
        { onlyWarns, topic, evidence, acceptedWith },
        i === 0 ? 4 : 9,
      ]),
    );
  });

  test("problems that existed before do not hide those that are introduced", () => {
    const rule = defineRule({
      ...finding([]),
      subject: "VirtualService",
      reads: [],
      check: ({ metadata }) => many(metadata.labels["version"] === "new" ? 20 : 10),
    });
    const old = readObject("VirtualService", { metadata: { name: "v", namespace: "shop" } });
    const next = readObject("VirtualService", {
      metadata: { name: "v", namespace: "shop", labels: { version: "new" } },
    });
    const view = new MeshStore(defaultMeshSettings);
    view.set(old);
    const { findings } = judge([rule], view, [{ old, object: next }], { mostAlone: 5 });
    assert.deepEqual(
      findings.slice(5).map(({ introduced, standsFor }) => [introduced, standsFor]),
      [
        [false, 4],
        [true, 9],
      ],
    );
  });

  test("the denial counts all of them", () => {
    const rules = [finding(many(1_000))];
    const profile = findProfile("baseline");
    assert.ok("profile" in profile);
    const { policies } = loadPolicies([], rules, profile.profile);
    const change = { object };
    const selection = selectionOf(policies);
    const evaluation = judge(rules, new MeshStore(defaultMeshSettings), [change], { selection, mostAlone: 100 });
    const request = {
      uid: "u",
      kind: { group: "networking.istio.io", version: "v1", kind: "VirtualService" },
      subResource: "",
      name: "v",
      namespace: "shop",
      operation: "CREATE" as const,
      user: { name: "a", groups: [] },
      object: {},
      oldObject: undefined,
      fieldManager: "",
      dryRun: false,
    };
    const judgement = judgementOf({ request, change, evaluation, selection, policies });
    const { message = "" } = withoutPauses(decide(judgement, withoutPauses(rulingsFor(judgement))));
    assert.match(message, /cannot be created: 1000 problems/);
    assert.match(message, /…and 980 more problems/);
  });
});

describe("the fix of a problem about an object that the change deletes", () => {
  const objects: Readonly<Record<string, AnyObject>> = {
    service: readObject("Service", { metadata: { name: "web", namespace: "shop" }, spec: { ports: [{ port: 80 }] } }),
    entry: readObject("ServiceEntry", {
      metadata: { name: "db", namespace: "shop" },
      spec: { hosts: ["db.example.com"], ports: [{ number: 443, name: "tls", protocol: "TLS" }], resolution: "DNS" },
    }),
    gateway: readObject("Gateway", { metadata: { name: "main", namespace: "shop" }, spec: { servers: [] } }),
    routes: readObject("VirtualService", {
      metadata: { name: "routes", namespace: "shop" },
      spec: {
        hosts: ["web.example.com"],
        gateways: ["main"],
        http: [
          {
            route: [
              { destination: { host: "web" }, weight: 50 },
              { destination: { host: "db.example.com" }, weight: 50 },
            ],
          },
        ],
      },
    }),
    route: readObject("KubernetesRoute", {
      kind: "HTTPRoute",
      metadata: { name: "route", namespace: "shop" },
      spec: {
        parentRefs: [{ kind: "Service", group: "", name: "web" }],
        rules: [{ backendRefs: [{ name: "web", port: 80 }] }],
      },
    }),
    cut: readObject("DestinationRule", {
      metadata: { name: "cut", namespace: "shop" },
      spec: { host: "db.example.com" },
    }),
  };
  const ids = [
    "destination-rule-never-used",
    "http-route-backend-not-found",
    "virtual-service-destination-not-found",
    "virtual-service-gateway-not-found",
  ];
  const asked = rules.filter(({ id }) => ids.includes(id));
  const fixesOf = (change: Change): readonly (readonly [string, string | undefined])[] => {
    const mesh = new MeshStore(defaultMeshSettings);
    for (const one of Object.values(objects)) mesh.set(one);
    return judge(asked, mesh, [change]).findings.map(({ rule, fix }) => [rule.id, fix] as const);
  };
  const routesFirst = [
    "virtual-service-destination-not-found",
    "Remove its routes first, then the Service or the ServiceEntry.",
  ];

  test("is to keep the object, or to change first what refers to it", () => {
    const keep = (what: string, subject: string) => `Keep ${what}, or first change ${subject}, which refers to it.`;
    assert.deepEqual(fixesOf({ old: objects["service"] }), [
      ["http-route-backend-not-found", keep("Service shop/web", "HTTPRoute shop/route")],
      routesFirst,
    ]);
    assert.deepEqual(fixesOf({ old: objects["entry"] }), [
      ["destination-rule-never-used", keep("ServiceEntry shop/db", "DestinationRule shop/cut")],
      routesFirst,
    ]);
    assert.deepEqual(fixesOf({ old: objects["gateway"] }), [
      ["virtual-service-gateway-not-found", keep("Gateway shop/main", "VirtualService shop/routes")],
    ]);
  });

  test("is that of the rule for a reference that is wrong", () => {
    const wrong = readObject("VirtualService", {
      metadata: { name: "routes", namespace: "shop" },
      spec: { hosts: ["web.example.com"], gateways: ["other"], http: [{ route: [{ destination: { host: "web" } }] }] },
    });
    assert.deepEqual(fixesOf({ old: objects["routes"], object: wrong }), [
      ["virtual-service-gateway-not-found", undefined],
    ]);
  });
});
