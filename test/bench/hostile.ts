// Reviews that somebody made to be slow: from the body's bytes to the answer, in a mesh that is made for it.

import type { Rule } from "../../src/engine/rule.ts";
import type { Policies } from "../../src/policy/policies.ts";
import { median, shown, table } from "./measure.ts";
import {
  asStored,
  authorizationPolicy,
  deployment,
  destinationRule,
  manifest,
  meshOf,
  namespace,
  peerAuthentication,
  type Raw,
  readers,
  virtualService,
} from "./mesh.ts";
import { type PacedGate, pacedGate } from "./paced-review.ts";
import { review, withSpec } from "./reviews.ts";

const at = "hostile";
const many = 5_000;
const lots = 10_000;
const list = <T>(count: number, one: (i: number) => T): readonly T[] => Array.from({ length: count }, (_, i) => one(i));

interface Case {
  readonly title: string;
  /** As users write them; nothing else is in the mesh but the protected namespace. */
  readonly mesh?: readonly Raw[];
  readonly body: (stored: readonly Raw[]) => string;
}

const creates = (object: Raw) => () => review({ object });
const updatesLast = (spec: object) => (stored: readonly Raw[]) => {
  const old = stored.at(-1) as Raw;
  return review({ old, object: withSpec(old, spec) });
};
const deletesLast = (stored: readonly Raw[]) => review({ old: stored.at(-1) });

const routes = (hosts: string, route: (i: number) => object) =>
  manifest(
    "networking.istio.io/v1",
    "VirtualService",
    { namespace: at, name: "routes" },
    {
      spec: { hosts: [hosts], http: list(many, (i) => ({ match: [{ uri: { prefix: `/${i}` } }], ...route(i) })) },
    },
  );
const toSubset = (host: string, subset: string) => ({ route: [{ destination: { host, subset } }] });
const subsets = (count: number) => list(count, (i) => `v${i}`);
const workloads = (count: number) => list(count, (i) => deployment({ namespace: at, name: `w-${i}` }, `app-${i}`));
const policies = (count: number) =>
  list(count, (i) => authorizationPolicy({ namespace: at, name: `p-${i}` }, readers(at, `app-${i}`)));
const closed = authorizationPolicy({ namespace: at, name: "closed" }, {});
const strict = (i: number) => peerAuthentication({ namespace: at, name: `strict-${i}` }, "STRICT", { app: `app-${i}` });
const longName = (i: number) => `${list(123, () => "a").join(".")}.${i}`;

const cases: readonly Case[] = [
  {
    title: "VirtualService, 5,000 routes to a subset that is there",
    mesh: [destinationRule({ namespace: at, name: "d" }, "a")],
    body: creates(routes("a", () => toSubset("a", "v1"))),
  },
  {
    title: "VirtualService, 5,000 routes to subsets of 5,000 hosts that are not",
    body: creates(routes("a", (i) => toSubset(`svc-${i}`, "v1"))),
  },
  {
    title: "VirtualService, 5,000 routes to 5,000 subsets of one host",
    mesh: [destinationRule({ namespace: at, name: "d" }, "a", subsets(many))],
    body: creates(routes("a", (i) => toSubset("a", `v${i}`))),
  },
  {
    title: "DestinationRule with 5,000 subsets that 5,000 routes use: all go",
    mesh: [
      routes("a", (i) => toSubset("a", `v${i}`)),
      destinationRule({ namespace: at, name: "d" }, "a", subsets(many)),
    ],
    body: deletesLast,
  },
  {
    title: "DestinationRule with 5,000 subsets",
    body: creates(destinationRule({ namespace: at, name: "d" }, "a", subsets(many))),
  },
  {
    title: "VirtualService, 5,000 destinations in one route",
    body: creates(
      manifest(
        "networking.istio.io/v1",
        "VirtualService",
        { namespace: at, name: "r" },
        {
          spec: {
            hosts: ["a"],
            http: [{ route: list(many, (i) => ({ destination: { host: `h-${i}`, subset: "v1" }, weight: 1 })) }],
          },
        },
      ),
    ),
  },
  {
    title: "VirtualService to a host with 10,000 dots",
    body: creates(virtualService({ namespace: at, name: "d" }, "a.".repeat(lots))),
  },
  {
    title: "VirtualService, 5,000 hosts with 123 dots each",
    body: creates(routes("a", (i) => toSubset(longName(i), "v1"))),
  },
  {
    title: "VirtualService for 10,000 hosts",
    body: creates(
      manifest(
        "networking.istio.io/v1",
        "VirtualService",
        { namespace: at, name: "h" },
        { spec: { hosts: list(lots, (i) => `h-${i}.example.com`), http: [toSubset("a", "v1")] } },
      ),
    ),
  },
  {
    title: "5,000 VirtualServices that use the DestinationRule which goes",
    mesh: [
      ...list(many, (i) => virtualService({ namespace: at, name: `v-${i}` }, "a")),
      destinationRule({ namespace: at, name: "d" }, "a"),
    ],
    body: deletesLast,
  },
  {
    title: "5,000 DestinationRules of one host, one more",
    mesh: [
      virtualService({ namespace: at, name: "v" }, "a"),
      ...list(many, (i) => destinationRule({ namespace: at, name: `d-${i}` }, "a")),
    ],
    body: creates(destinationRule({ namespace: at, name: "d" }, "a")),
  },
  {
    title: "AuthorizationPolicy with 10,000 rules",
    mesh: [closed],
    body: creates(authorizationPolicy({ namespace: at, name: "p" }, readers(at, "a", lots))),
  },
  {
    title: "AuthorizationPolicy over 5,000 workloads and 50 policies",
    mesh: [...workloads(many), ...policies(50), closed],
    body: creates(authorizationPolicy({ namespace: at, name: "p" }, { rules: [{}] })),
  },
  {
    title: "AuthorizationPolicy over 50 workloads and 5,000 policies",
    mesh: [...workloads(50), ...policies(many), closed],
    body: creates(authorizationPolicy({ namespace: at, name: "p" }, { rules: [{}] })),
  },
  {
    title: "the default deny of 5,000 workloads goes",
    mesh: [...workloads(many), ...policies(50), closed],
    body: deletesLast,
  },
  {
    title: "a workload of 5,000, with 50 policies, is relabelled",
    mesh: [closed, ...policies(50), ...workloads(many)],
    body: updatesLast({ template: { metadata: { labels: { app: "other" } }, spec: { containers: [] } } }),
  },
  {
    title: "PeerAuthentication of 5,000 workloads, PERMISSIVE",
    mesh: [...workloads(many), peerAuthentication({ namespace: at, name: "default" }, "STRICT")],
    body: updatesLast({ mtls: { mode: "PERMISSIVE" } }),
  },
  {
    title: "one of 1,000 PeerAuthentications with selectors, 5,000 workloads, goes",
    mesh: [...workloads(many), ...list(1_000, strict)],
    body: deletesLast,
  },
  {
    title: "16 MiB: an annotation",
    body: creates(virtualService({ namespace: at, name: "v", labels: { a: "x".repeat(15 * 1_024 * 1_024) } }, "a")),
  },
  {
    title: "16 MiB: 5,000,000 empty routes",
    body: () =>
      review({
        object: manifest(
          "networking.istio.io/v1",
          "VirtualService",
          { namespace: at, name: "e" },
          { spec: { hosts: ["a"], http: "ROUTES" } },
        ),
      }).replace(`"ROUTES"`, `[${"{},".repeat(5_000_000)}{}]`),
  },
  {
    title: "16 MiB: 5,000,000 routes that are numbers",
    body: creates(
      manifest(
        "networking.istio.io/v1",
        "VirtualService",
        { namespace: at, name: "e" },
        { spec: { hosts: ["a"], http: list(5_000_000, () => 0) } },
      ),
    ),
  },
  {
    title: "16 MiB: a policy with 5,000,000 fields that nobody knows",
    body: creates(authorizationPolicy({ namespace: at, name: "f" }, { rules: [], more: list(2_500_000, () => [1]) })),
  },
];

export async function hostileTable(rules: readonly Rule[], inForce: Policies): Promise<string> {
  const protectedNamespace = namespace(at, { "meshward.io/protected": "true", "istio-injection": "enabled" });
  const rows: string[][] = [];
  for (const { title, mesh = [], body } of cases) {
    const stored = [protectedNamespace, ...mesh].map(asStored);
    const view = meshOf(stored);
    const gate = pacedGate({ mesh: () => view, policies: () => inForce, rules });
    const bytes = Buffer.from(body(stored));
    const [first, ...later] = await asked(gate, bytes);
    const ofLater = (value: "ms" | "longestMs") => shown(median(later.map((one) => one[value])));
    const start = [title, shown(bytes.length / 1_024), first?.outcome ?? "", shown(first?.ms ?? 0)];
    rows.push([...start, ofLater("ms"), ofLater("longestMs")]);
  }
  const head = ["review", "KB", "outcome", "first time, ms", "later, ms", "longest without a pause, ms"];
  return table("Made to be slow: CPU from the review's bytes to the answer", head, rows);
}

/** Often enough to see what the first look costs more, which builds indexes and runs cold. */
async function asked(gate: PacedGate, bytes: Buffer) {
  const reviews = [await gate.review(bytes)];
  const most = (reviews[0]?.ms ?? 0) < 1_000 ? 4 : 2;
  while (reviews.length < most) reviews.push(await gate.review(bytes));
  return reviews;
}
