import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { judge } from "../../src/engine/evaluate.ts";
import { keyOf } from "../../src/kube/identity.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { destinationRulePlaintext } from "../../src/rules/destination-rule/plaintext.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";

// Plaintext that reaches more clients or services than before is found, whatever rule and field it comes from; plaintext
// that reached them before is not found again.

const read = (apiVersion: string, kind: string, metadata: object, body: object): AnyObject =>
  readAny({ apiVersion, kind, metadata, ...body }) as AnyObject;
const namespace = (name: string) => read("v1", "Namespace", { name, labels: { "istio-injection": "enabled" } }, {});
const service = (name: string, ports: readonly number[] = [80]) =>
  read(
    "v1",
    "Service",
    { name, namespace: "bank" },
    {
      spec: { selector: { app: name }, ports: ports.map((port) => ({ port, name: `http-${port}` })) },
    },
  );
const deployment = (name: string, of = "bank") =>
  read(
    "apps/v1",
    "Deployment",
    { name, namespace: of },
    { spec: { template: { metadata: { labels: { app: name } } } } },
  );
const rule = (id: string, spec: object) => {
  const [of, name] = id.split("/");
  return read("networking.istio.io/v1", "DestinationRule", { name, namespace: of }, { spec });
};
const plain = { trafficPolicy: { tls: { mode: "DISABLE" } } };
const mutual = { trafficPolicy: { tls: { mode: "ISTIO_MUTUAL" } } };
const ledger = "ledger.bank.svc.cluster.local";

const mesh = [
  ...["bank", "batch", "web", "istio-system"].map(namespace),
  service("ledger"),
  service("cards", [80, 90]),
  ...[deployment("ledger"), deployment("cards"), deployment("batch", "batch"), deployment("web", "web")],
  read(
    "security.istio.io/v1",
    "PeerAuthentication",
    { name: "default", namespace: "bank" },
    {
      spec: { mtls: { mode: "STRICT" } },
    },
  ),
];

/** The findings of a change of one object: its mode, and the text before the reason. */
function found(there: readonly AnyObject[], changed: AnyObject, isDeleted = false): readonly string[] {
  const store = new MeshStore(defaultMeshSettings);
  for (const object of [...mesh, ...there]) store.set(object);
  const old = store.find(changed.kind, keyOf(changed));
  const change = isDeleted ? { old } : { old, object: changed };
  const { findings, errors } = judge([destinationRulePlaintext], store, [change]);
  assert.deepEqual(errors, []);
  return findings.map(
    ({ message, onlyWarns }) => `${onlyWarns === undefined ? "deny" : "warn"} ${message.split(", because")[0]}`,
  );
}
const sends = (id: string, to: string, from = "", mode = "deny") =>
  `${mode} DestinationRule ${id} sends plaintext ${from}to workloads behind "${to}"`;

describe("more clients", () => {
  const exported = (...exportTo: readonly string[]) => rule("bank/plain", { host: "ledger", exportTo, ...plain });

  test("exportTo gets another namespace, or all", () => {
    const before = [exported("batch")];
    assert.deepEqual(found(before, exported("batch", "web")), [sends("bank/plain", ledger, "from clients in web ")]);
    assert.deepEqual(found(before, exported("*")), [
      sends("bank/plain", ledger, "from clients in more namespaces than before "),
    ]);
    assert.deepEqual(found(before, exported("batch")), []);
    assert.deepEqual(found([exported("*")], exported("batch")), [], "fewer clients");
  });

  test("the workloadSelector goes, or selects more or other workloads", () => {
    const selecting = (matchLabels?: object) =>
      rule("web/plain", { host: ledger, ...plain, ...(matchLabels ? { workloadSelector: { matchLabels } } : {}) });
    const message = [sends("web/plain", ledger)];
    assert.deepEqual(found([selecting({ app: "back" })], selecting()), message);
    assert.deepEqual(found([selecting({ app: "back", tier: "a" })], selecting({ app: "back" })), message);
    assert.deepEqual(found([selecting({ app: "back" })], selecting({ app: "front" })), message);
    assert.deepEqual(found([selecting({ app: "back" })], selecting({ app: "back", tier: "a" })), []);
    assert.deepEqual(found([selecting()], selecting({ app: "back" })), []);
  });

  test("a workloadSelector that no workload has yet: the workload may come after the rule", () => {
    const nobody = rule("web/plain", { host: ledger, ...plain, workloadSelector: { matchLabels: { app: "nobody" } } });
    assert.deepEqual(found([deployment("front", "web")], nobody), [sends("web/plain", ledger)]);
    assert.deepEqual(found([deployment("nobody", "web")], nobody), [sends("web/plain", ledger)]);
  });

  test("a rule with mTLS for some workloads of the clients goes", () => {
    const some = rule("web/mutual", { host: ledger, ...mutual, workloadSelector: { matchLabels: { app: "a" } } });
    const others = rule("web/plain", { host: ledger, ...plain });
    assert.deepEqual(found([some, others], some, true), [sends("web/plain", ledger)]);
  });

  test("the own rule of a client namespace goes, and it gets that of the service", () => {
    const ofService = rule("bank/plain", { host: "ledger", ...plain });
    const own = rule("web/own", { host: ledger, ...mutual });
    assert.deepEqual(found([ofService, own], own, true), [sends("bank/plain", ledger, "from clients in web ")]);
    assert.deepEqual(found([ofService, rule("web/own", { host: ledger, ...plain })], own, false), []);
  });
});

describe("more services", () => {
  const wide = rule("istio-system/wide", { host: "*.bank.svc.cluster.local", ...plain });
  const own = (name: string) => rule(`bank/${name}`, { host: name });

  test("the own rule of a service goes before a wildcard rule", () => {
    assert.deepEqual(found([wide, own("ledger")], own("ledger"), true), [sends("istio-system/wide", ledger)]);
    assert.deepEqual(found([wide, own("ledger"), own("cards")], own("ledger"), true), [
      sends("istio-system/wide", "*.bank.svc.cluster.local"),
    ]);
  });

  test("the rule is for a wider host", () => {
    const one = (host: string) => rule("istio-system/wide", { host, ...plain });
    assert.deepEqual(found([one(ledger)], wide), [sends("istio-system/wide", "cards.bank.svc.cluster.local")]);
    assert.deepEqual(found([wide], one(ledger)), []);
  });

  test("a service is created behind a rule that reaches others: a warning", () => {
    const more = [deployment("loans")];
    const loans = "loans.bank.svc.cluster.local";
    assert.deepEqual(found([wide, ...more], service("loans")), [sends("istio-system/wide", loans, "", "warn")]);
  });

  test("more ports", () => {
    const cards = "cards.bank.svc.cluster.local";
    const at = (...ports: readonly number[]) =>
      rule("bank/plain", {
        host: "cards",
        trafficPolicy: { portLevelSettings: ports.map((number) => ({ port: { number }, tls: { mode: "DISABLE" } })) },
      });
    assert.deepEqual(found([at(80)], at(80, 90)), [`${sends("bank/plain", cards)} at port 90`]);
    assert.deepEqual(found([at(80, 90)], rule("bank/plain", { host: "cards", ...plain })), []);
    const exempt = rule("bank/plain", {
      host: "cards",
      trafficPolicy: {
        ...plain.trafficPolicy,
        portLevelSettings: [{ port: { number: 90 }, tls: { mode: "ISTIO_MUTUAL" } }],
      },
    });
    assert.deepEqual(found([exempt], rule("bank/plain", { host: "cards", ...plain })), [sends("bank/plain", cards)]);
    assert.deepEqual(found([rule("bank/plain", { host: "cards", ...plain })], exempt), []);
  });
});

describe("plaintext as before", () => {
  const before = rule("bank/plain", { host: "ledger", ...plain });

  test("a subset says DISABLE too", () => {
    const both = rule("bank/plain", { host: "ledger", ...plain, subsets: [{ name: "v1", ...plain }] });
    assert.deepEqual(found([before], both), []);
    const wasMutual = rule("bank/plain", { host: "ledger", ...plain, subsets: [{ name: "v1", ...mutual }] });
    assert.deepEqual(found([wasMutual], both), [`${sends("bank/plain", ledger)} in subset "v1"`]);
  });

  test("another rule with the same effect takes its place", () => {
    const other = rule("istio-system/wide", { host: "*.bank.svc.cluster.local", ...plain });
    assert.deepEqual(found([before, other], before, true), []);
  });

  test("another field of the rule changes", () => {
    const subsets = [{ name: "v1", labels: { version: "v1" } }];
    assert.deepEqual(found([before], rule("bank/plain", { host: "ledger", ...plain, subsets })), []);
  });
});
