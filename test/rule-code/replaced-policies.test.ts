import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { judge } from "../../src/engine/evaluate.ts";
import type { Rule } from "../../src/engine/rule.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { authorizationPolicyAllowsEveryone } from "../../src/rules/authorization-policy/allows-everyone.ts";
import { authorizationPolicyWithoutDefaultDeny } from "../../src/rules/authorization-policy/without-default-deny.ts";
import { gatewayConflict } from "../../src/rules/gateway/conflict.ts";
import { peerAuthenticationPermissive } from "../../src/rules/peer-authentication/permissive.ts";
import { virtualServiceWeightsNot100 } from "../../src/rules/virtual-service/weights-not-100.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";

// A problem that is there already, on an object under another name or by the effect of others, is no reason to deny a change. A
// replacement that does more is.

const anObject = (raw: unknown): AnyObject => readAny(raw) as AnyObject;

type Fields = Readonly<Record<string, unknown>>;
interface Replacement {
  readonly there: readonly AnyObject[];
  readonly gone?: readonly AnyObject[];
  readonly come: readonly AnyObject[];
}

/** The names of the objects with a problem for which the change may be denied. */
function denied(rule: Rule, { there, gone = [], come }: Replacement): readonly string[] {
  const mesh = new MeshStore(defaultMeshSettings);
  for (const object of [...there, ...gone]) mesh.set(object);
  const changes = [...gone.map((old) => ({ old })), ...come.map((object) => ({ object }))];
  const { findings, errors } = judge([rule], mesh, changes);
  assert.deepEqual(errors, []);
  assert.notEqual(findings.length, 0, "nothing is reported at all");
  return findings
    .filter(({ introduced, onlyWarns }) => introduced && onlyWarns === undefined)
    .map(({ subject }) => subject.metadata.name);
}

const apiVersions: Readonly<Record<string, string>> = {
  VirtualService: "networking.istio.io/v1",
  Gateway: "networking.istio.io/v1",
};
const istio = (kind: string, named: string, spec: Fields, more: Fields = {}): AnyObject => {
  const [namespace, name] = named.split("/");
  const apiVersion = apiVersions[kind] ?? "security.istio.io/v1";
  return anObject({ apiVersion, kind, metadata: { namespace, name, ...more }, spec });
};
const policy = (name: string, spec: Fields, more?: Fields) => istio("AuthorizationPolicy", name, spec, more);
const from = (...principals: readonly string[]) => ({ from: [{ source: { principals } }] });
const [web, ops] = [from("cluster.local/ns/web/sa/web"), from("cluster.local/ns/ops/sa/ops")];
const of = (matchLabels: Readonly<Record<string, string>>) => ({ selector: { matchLabels } });
const workload = (name: string, labels: Readonly<Record<string, string>>) =>
  anObject({
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name, namespace: "shop" },
    spec: { template: { metadata: { labels } } },
  });
const cart = workload("cart", { app: "cart", tier: "back" });
const front = workload("front", { app: "front" });
const stock = workload("stock", { app: "stock", tier: "back" });

describe("an ALLOW policy without a default deny beside it", () => {
  const ofCart = { ...of({ app: "cart" }), rules: [web, ops] };
  const a = policy("shop/a", ofCart);
  const both = { ...of({ tier: "back" }), rules: [web] };
  const ofStock = { ...of({ app: "stock" }), rules: [ops] };
  const stocks = policy("shop/stock", ofStock);
  const wholeNamespace = policy("shop/deny", {});
  const cases: readonly [string, Replacement, readonly string[]][] = [
    ["another name", { there: [], gone: [a], come: [policy("shop/b", ofCart)] }, []],
    ["another name, and the old one is still there", { there: [a], come: [policy("shop/b", ofCart)] }, []],
    [
      "one for each rule",
      {
        there: [],
        gone: [a],
        come: [
          policy("shop/b", { ...of({ app: "cart" }), rules: [web] }),
          policy("shop/c", { ...of({ app: "cart" }), rules: [ops] }),
        ],
      },
      [],
    ],
    ["a second one", { there: [a], come: [policy("shop/b", { ...of({ app: "cart" }), rules: [web] })] }, []],
    [
      "for some of them",
      { there: [a], come: [policy("shop/b", { ...of({ app: "cart", v: "2" }), rules: [web] })] },
      [],
    ],
    [
      "beside one for everyone",
      { there: [policy("shop/a", { ...of({ app: "cart" }), rules: [{}] })], come: [policy("shop/b", ofCart)] },
      [],
    ],
    [
      "beside one for everyone everywhere",
      { there: [policy("shop/a", { rules: [{}] })], come: [policy("shop/b", ofCart)] },
      ["b"],
    ],
    ["one for two", { there: [cart, stock, front], gone: [a, stocks], come: [policy("shop/b", both)] }, []],
    ["for others too", { there: [cart, stock, front], gone: [a], come: [policy("shop/b", both)] }, ["b"]],
    ["for others", { there: [a], come: [policy("shop/b", ofStock)] }, ["b"]],
    ["elsewhere", { there: [], gone: [a], come: [policy("bank/b", ofCart)] }, ["b"]],
    [
      "and the default deny goes",
      { there: [], gone: [a, wholeNamespace], come: [policy("shop/b", { ...of({ app: "cart" }), rules: [web] })] },
      ["b"],
    ],
  ];
  for (const [what, replacement, expected] of cases)
    test(what, () => assert.deepEqual(denied(authorizationPolicyWithoutDefaultDeny, replacement), expected));
});

describe("an ALLOW policy for everyone", () => {
  const deny = policy("shop/deny", {});
  const was = (spec: Fields) => [policy("shop/a", spec)];
  const ofAll = { rules: [{}] };
  const ofCart = { ...of({ app: "cart" }), rules: [{}] };
  const ofMesh = policy("shop/a", { rules: [from("*")] });
  const most = { rules: [{ to: [{ operation: { notPaths: ["/admin"] } }] }] };
  const b = (spec: Fields, more?: Fields) => [policy("shop/b", spec, more)];
  const peers = (mode: string) => istio("PeerAuthentication", "shop/default", { mtls: { mode } });
  const cases: readonly [string, Replacement, readonly string[]][] = [
    ["another name", { there: [deny], gone: was(ofAll), come: b(ofAll) }, []],
    ["another name, where it leaves something out", { there: [deny], gone: was(most), come: b(most) }, []],
    ["for some workloads", { there: [deny], gone: was(ofAll), come: b(ofCart) }, []],
    ["for fewer", { there: [deny], gone: was(ofCart), come: b({ ...of({ app: "cart", v: "2" }), rules: [{}] }) }, []],
    ["for more", { there: [deny], gone: was(ofCart), come: b(ofAll) }, ["b"]],
    ["for others", { there: [deny, ...was(ofCart)], come: b({ ...of({ app: "stock" }), rules: [{}] }) }, ["b"]],
    ["elsewhere", { there: [deny], gone: was(ofAll), come: [policy("bank/deny", {}), policy("bank/b", ofAll)] }, ["b"]],
    ["for what was left out", { there: [deny], gone: was(most), come: b(ofAll) }, ["b"]],
    ["for each identity before, with STRICT", { there: [deny, ofMesh, peers("STRICT")], come: b(ofAll) }, []],
    ["for each identity before", { there: [deny, ofMesh, peers("PERMISSIVE")], come: b(ofAll) }, ["b"]],
    [
      "for some identity before, with STRICT",
      { there: [deny, peers("STRICT")], gone: was({ rules: [web] }), come: b(ofAll) },
      ["b"],
    ],
  ];
  for (const [what, replacement, expected] of cases)
    test(what, () => assert.deepEqual(denied(authorizationPolicyAllowsEveryone, replacement), expected));
});

describe("other objects under another name", () => {
  test("rules of policies may be about names", () => {
    const routes = (name: string) => istio("VirtualService", name, { hosts: ["cart"] });
    const check = () => [{ at: [], message: "the name is wrong" }];
    const ofPolicy: Rule = { ...virtualServiceWeightsNot100, check, definedBy: "MeshwardPolicy names" };
    assert.deepEqual(denied(ofPolicy, { there: [routes("shop/a")], come: [routes("shop/b")] }), ["b"]);
  });

  const peers = (named: string, mode: string, more?: Fields) =>
    istio("PeerAuthentication", named, { mtls: { mode } }, more);
  const a = peers("shop/a", "PERMISSIVE");
  test("PeerAuthentication", () => {
    const come = (one: AnyObject) => denied(peerAuthenticationPermissive, { there: [], gone: [a], come: [one] });
    assert.deepEqual(
      come(peers("shop/b", "PERMISSIVE", { annotations: { "argocd.argoproj.io/tracking-id": "b" } })),
      [],
    );
    assert.deepEqual(come(peers("bank/b", "PERMISSIVE")), ["b"]);
    assert.deepEqual(come(peers("shop/b", "DISABLE")), ["b"]);
  });

  test("VirtualService", () => {
    const routes = (named: string, weight: number) =>
      istio("VirtualService", named, {
        hosts: ["cart"],
        http: [{ route: [50, weight].map((one) => ({ destination: { host: "cart" }, weight: one })) }],
      });
    const come = (one: AnyObject) =>
      denied(virtualServiceWeightsNot100, { there: [], gone: [routes("shop/a", 20)], come: [one] });
    assert.deepEqual(come(routes("shop/b", 20)), []);
    assert.deepEqual(come(routes("shop/b", 30)), ["b"]);
  });

  test("the Gateway that another one is in conflict with", () => {
    const gateway = (named: string, hosts: readonly string[]) =>
      istio("Gateway", named, {
        selector: { istio: "ingress" },
        servers: [
          {
            port: { number: 443, name: "https", protocol: "HTTPS" },
            hosts,
            tls: { mode: "SIMPLE", credentialName: "c" },
          },
        ],
      });
    const there = [gateway("shop/z", ["cart.example.com"])];
    const replaced = (hosts: readonly string[]) =>
      denied(gatewayConflict, {
        there,
        gone: [gateway("shop/a", ["cart.example.com"])],
        come: [gateway("shop/b", hosts)],
      });
    assert.deepEqual(replaced(["cart.example.com"]), []);
    assert.deepEqual(denied(gatewayConflict, { there, come: [gateway("shop/b", ["cart.example.com"])] }), ["z"]);
  });
});
