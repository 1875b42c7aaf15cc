// Changes in the root namespace of a mesh in which every namespace has an intent.

import { judge } from "../../src/engine/evaluate.ts";
import type { Rule } from "../../src/engine/rule.ts";
import { keyOf } from "../../src/kube/identity.ts";
import { readAny } from "../../src/kube/object.ts";
import { cpuOf, shown, table } from "./measure.ts";
import {
  asStored,
  authorizationPolicy,
  deployment,
  destinationRule,
  manifest,
  meshOf,
  type Raw,
  storedMesh,
  team,
  teamCount,
} from "./mesh.ts";

const security = "security.istio.io/v1";
const root = "istio-system";
const rootPolicy = (name: string, spec: object): Raw =>
  manifest(security, "AuthorizationPolicy", { namespace: root, name }, { spec });
const paths = (...some: readonly string[]): object => ({ to: [{ operation: { paths: some } }] });

const denyAdmin = rootPolicy("deny-admin", { action: "DENY", rules: [paths("/admin/*")] });
/** What the root namespace has before the change. */
export const rootPolicies: readonly Raw[] = [
  manifest("v1", "Namespace", { name: root }, {}),
  denyAdmin,
  manifest(
    security,
    "PeerAuthentication",
    { namespace: root, name: "default" },
    { spec: { mtls: { mode: "STRICT" } } },
  ),
];

const annotate = ({ metadata, ...raw }: Raw): Raw => ({
  ...raw,
  metadata: { ...metadata, annotations: { "argocd.argoproj.io/tracking-id": "mesh" } },
});
const asking = rootPolicy("ask", { action: "CUSTOM", provider: { name: "opa" }, rules: [paths("/ask/*")] });
const mtls = (mode: string): Raw =>
  manifest(security, "PeerAuthentication", { namespace: root, name: "default" }, { spec: { mtls: { mode } } });
/** None but the last one ends what an intent expects. */
export const rootChanges = {
  annotated: annotate(denyAdmin),
  denying: rootPolicy("deny-debug", { action: "DENY", rules: [paths("/debug/*")] }),
  deniesMore: rootPolicy("deny-admin", { action: "DENY", rules: [paths("/admin/*", "/debug/*")] }),
  deniesOthers: rootPolicy("deny-admin", { action: "DENY", rules: [paths("/debug/*")] }),
  permissive: mtls("PERMISSIVE"),
  tokens: manifest(
    security,
    "RequestAuthentication",
    { namespace: root, name: "tokens" },
    { spec: { jwtRules: [{ issuer: "https://issuer.example" }] } },
  ),
  /** What a provider decides is not known, so that every entry is followed. */
  asking,
  /** An ALLOW policy allows and denies. */
  strangers: rootPolicy("allow-health", { selector: { matchLabels: { app: "health" } }, rules: [paths("/health")] }),
  endsOne: rootPolicy("deny-one", {
    action: "DENY",
    rules: [{ from: [{ source: { principals: ["cluster.local/ns/team-7/sa/shop"] } }] }],
  }),
} as const;

/** Namespaces with three services and an intent each, which holds. */
export function* withIntents(namespaces: number): Iterable<Raw> {
  for (let i = 0; i < namespaces; i++) {
    const at = `team-${i}`;
    yield manifest("v1", "Namespace", { name: at, labels: { "istio-injection": "enabled" } }, {});
    for (const app of ["payments", "shop", "web"]) yield* service(at, app);
    yield manifest(
      security,
      "AuthorizationPolicy",
      { namespace: at, name: "payments" },
      { spec: { selector: { matchLabels: { app: "payments" } }, rules: [posts(at)] } },
    );
    const requests = [
      { from: [`serviceaccount/${at}/shop`], methods: ["POST"], paths: ["/payments/*"], expect: "allowed" },
      { from: ["others"], expect: "denied" },
      { from: ["mesh"], expect: "encrypted" },
    ];
    yield manifest(
      "meshward.io/v1alpha1",
      "MeshwardIntent",
      { namespace: at, name: "payments" },
      { spec: { to: { service: "payments" }, requests } },
    );
  }
}

const posts = (at: string): object => ({
  from: [{ source: { principals: [`cluster.local/ns/${at}/sa/shop`] } }],
  to: [{ operation: { methods: ["POST"], paths: ["/payments/*"] } }],
});

function* service(at: string, app: string): Iterable<Raw> {
  const named = { namespace: at, name: app };
  yield manifest("v1", "Service", named, { spec: { selector: { app }, ports: [{ port: 8080, name: "http" }] } });
  const containers = [{ name: "app", ports: [{ containerPort: 8080 }] }];
  const template = { metadata: { labels: { app } }, spec: { serviceAccountName: app, containers } };
  yield manifest("apps/v1", "Deployment", named, { spec: { template } });
}

const sizes = [100, 300, 1000];

/** A change that can end no entry has to stay within the budget of a review, and one that decides nothing has to cost next to nothing. */
export function rootIntentsTable(rules: readonly Rule[]): string {
  const own = rules.filter(({ id }) => id === "intent-broken");
  const rows = sizes.flatMap((size) => {
    const mesh = meshOf([...rootPolicies, ...withIntents(size)].map((raw) => asStored(raw, 1)));
    return Object.entries(rootChanges).map(([title, raw]) => {
      const object = readAny(asStored(raw, 2));
      if (object === undefined) throw new Error(`${raw.kind} is no kind of Meshward's`);
      const change = { old: mesh.find(object.kind, keyOf(object)), object };
      return [title, String(size), shown(cpuOf(() => judge(own, mesh, [change]), { rounds: 3, repeat: 1 }) / 1000)];
    });
  });
  return table(
    "Intents: one in each namespace, under a change in the root namespace",
    ["change", "intents", "intent-broken, CPU ms"],
    rows,
  );
}

const objects = 100_000;

/** As the mesh of all benchmarks, with an intent in each of its namespaces. */
function* wideMesh(): Iterable<Raw> {
  yield* storedMesh(objects);
  yield asStored(denyAdmin, 1);
  for (let i = 0; i < teamCount(objects); i++) {
    const at = team(i);
    const reader = `serviceaccount/${at}/reader-0`;
    yield asStored(deployment({ namespace: at, name: "reader-0" }, "reader-0"), 1);
    const requests = [
      { from: [reader], methods: ["GET"], paths: ["/api/*"], expect: "allowed" },
      { from: ["others"], expect: "denied" },
      { from: ["mesh"], expect: "encrypted" },
    ];
    const spec = { to: { service: "svc-3" }, requests };
    yield asStored(manifest("meshward.io/v1alpha1", "MeshwardIntent", { namespace: at, name: "read" }, { spec }), 1);
  }
}

const wideChanges: readonly (readonly [title: string, raw: Raw])[] = [
  ["DENY policy, a path more", rootChanges.deniesMore],
  ["ALLOW policy of some workloads, new", rootChanges.strangers],
  ["ALLOW policy of the ingress, new", authorizationPolicy({ namespace: root, name: "ingress" }, ingressOnly())],
  ["PeerAuthentication, PERMISSIVE", rootChanges.permissive],
  ["RequestAuthentication, new", rootChanges.tokens],
  ["DestinationRule *.local, new", destinationRule({ namespace: root, name: "all" }, "*.local")],
  ["Deployment of the ingress gateway", deployment({ namespace: root, name: "ingress" }, "ingress", "v2")],
];

function ingressOnly(): object {
  return { rules: [{ from: [{ source: { principals: [`cluster.local/ns/${root}/sa/ingress`] } }] }] };
}

/** Each has to stay within the budget of an ordinary review, although it reaches every namespace. */
export function wideIntentsTable(rules: readonly Rule[]): string {
  const mesh = meshOf(wideMesh());
  const others = rules.filter(({ id }) => !id.includes("intent"));
  const rows = wideChanges.map(([title, raw]) => {
    const object = readAny(asStored(raw, 1));
    if (object === undefined) throw new Error(`${raw.kind} is no kind of Meshward's`);
    const change = { old: mesh.find(object.kind, keyOf(object)), object };
    const ms = (some: readonly Rule[]) => cpuOf(() => judge(some, mesh, [change]), { rounds: 3, repeat: 1 }) / 1000;
    const [all, without] = [ms(rules), ms(others)];
    return [title, shown(all), shown(without), `${(all / without).toFixed(1)}x`];
  });
  return table(
    `Changes in the root namespace of ${shown(objects)} objects, with an intent in each namespace`,
    ["change", "all rules, CPU ms", "without those of intents, CPU ms", "with them"],
    rows,
  );
}
