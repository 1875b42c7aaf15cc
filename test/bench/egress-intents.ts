// A change of the ServiceEntry that an intent about a host outside the mesh is about, by who may know the host and who sends requests.

import { judge } from "../../src/engine/evaluate.ts";
import type { Rule } from "../../src/engine/rule.ts";
import { keyOf } from "../../src/kube/identity.ts";
import { readAny } from "../../src/kube/object.ts";
import { cpuOf, shown, table } from "./measure.ts";
import { asStored, deployment, manifest, meshOf, type Raw, team } from "./mesh.ts";

const networking = "networking.istio.io/v1";
const teams = 800;
const names = Array.from({ length: teams }, (_, i) => team(i));
const host = "api.bank.example";
const repetition = { rounds: 9, repeat: 10 };

const entry = (exportTo: readonly string[], name: string): Raw => {
  const ports = [{ number: 443, name, protocol: "TLS" }];
  const spec = { hosts: [host], resolution: "DNS", exportTo, ports };
  return manifest(networking, "ServiceEntry", { namespace: team(0), name: "bank" }, { spec });
};

const intent = (from: string): Raw => {
  const spec = { to: { host, ports: [443] }, requests: [{ from: [from], expect: "allowed" }] };
  return manifest("meshward.io/v1alpha1", "MeshwardIntent", { namespace: team(0), name: "bank" }, { spec });
};

const mesh = (exportTo: readonly string[], from: string) =>
  meshOf([
    ...names.map((name) => manifest("v1", "Namespace", { name, labels: { "istio-injection": "enabled" } }, {})),
    ...names.flatMap((namespace) =>
      ["a", "b", "c", "d", "e"].map((name) => deployment({ namespace, name }, name, "v1")),
    ),
    asStored(entry(exportTo, "tls"), 1),
    intent(from),
  ]);

function judgedUs(rules: readonly Rule[], exportTo: readonly string[], from: string): number {
  const store = mesh(exportTo, from);
  const object = readAny(asStored(entry(exportTo, "https"), 2));
  if (object === undefined) throw new Error("a ServiceEntry is no kind of Meshward's");
  const change = { old: store.find(object.kind, keyOf(object)), object };
  return cpuOf(() => judge(rules, store, [change]), repetition);
}

/** A review that concerns one intent has to take less than 2 ms, also for a host that very many namespaces are told by name. */
export function egressIntentsTable(rules: readonly Rule[]): string {
  const own = rules.filter(({ id }) => id.includes("intent"));
  const rows = [
    ["all namespaces", ["*"]],
    ["10 namespaces by name", names.slice(0, 10)],
    [`${teams} namespaces by name`, names],
  ].flatMap(([title, exportTo]) =>
    ["mesh", `namespace/${team(1)}`].map((from) => [
      String(title),
      from,
      shown(judgedUs(own, exportTo as readonly string[], from)),
    ]),
  );
  return table(
    `An intent about a host outside the mesh, in ${teams} namespaces`,
    ["the host is exported to", "from", "the rules of intents, CPU us"],
    rows,
  );
}
