import { judge } from "../../src/engine/evaluate.ts";
import { keyOf } from "../../src/kube/identity.ts";
import { readAny } from "../../src/kube/object.ts";
import { rules } from "../../src/rules/index.ts";
import { manifest, meshOf, storedMesh, team, teamCount, virtualService, deployment, authorizationPolicy, readers, asStored, destinationRule } from "./mesh.ts";
const objects = Number(process.argv[2] ?? 10000);
const teams = teamCount(objects);
const many = Number(process.argv[3] ?? 1000);
const raws = [...storedMesh(objects)];
const intents = Array.from({ length: many }, (_, i) => asStored(manifest("meshward.io/v1alpha1", "MeshwardIntent", { namespace: team(1 + (i % (teams - 1))), name: `i-${i}` }, { spec: { to: { service: `svc-${i % 5}` }, requests: [{ from: [`namespace/${team(1 + (i % (teams - 1)))}`], expect: "allowed" }, { from: ["others"], expect: "denied" }] } }), 1));
const mesh = meshOf([...raws, ...intents]);
console.log(teams, "teams", raws.length);
const own = rules.filter(({ id }) => /intent/.test(id));
const others = rules.filter(({ id }) => !/intent/.test(id));
const cases = [0, 1].flatMap((t) => [
  ["vs", t, virtualService({ namespace: team(t), name: "vs-5" }, "svc-5", { weights: [50, 50] })],
  ["deploy", t, deployment({ namespace: team(t), name: "svc-5" }, "svc-5", "v9")],
  ["dr", t, destinationRule({ namespace: team(t), name: "svc-5" }, "svc-5", ["v1", "v2", "v3"])],
  ["ap", t, authorizationPolicy({ namespace: team(t), name: "new" }, readers(team(t), "svc-1"))],
] as const);
for (const [title, t, raw] of cases) {
  const object = readAny(asStored(raw, 2))!;
  const old = mesh.find(object.kind, keyOf(object));
  const change = { old, object };
  const time = (list: typeof rules) => { for (let i = 0; i < 3; i++) judge(list, mesh, [change]); const n = 20; const c = process.cpuUsage(); let f = 0; for (let i = 0; i < n; i++) f = judge(list, mesh, [change]).findings.length; const u = process.cpuUsage(c); return [((u.user + u.system) / n / 1000).toFixed(3), f]; };
  console.log(title, "team", t, old !== undefined, "others", ...time(others), "intent rules", ...time(own), ...own.map((r) => `${r.id} ${time([r])}`));
}
