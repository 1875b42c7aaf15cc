// Reviews of routes, DestinationRules and gateways that somebody made to be slow, at any size. The world grows with n, or with
// the square of n where that is said.

import type { Growing } from "./growth.ts";
import type { Raw } from "./mesh.ts";
import { review, withSpec } from "./reviews.ts";

const at = "hostile";
const networking = "networking.istio.io/v1";
const hostname = `a.${at}.svc.cluster.local`;

const list = <T>(count: number, one: (i: number) => T): readonly T[] => Array.from({ length: count }, (_, i) => one(i));

const written = (apiVersion: string, kind: string, metadata: Raw["metadata"], body: object): Raw => ({
  apiVersion,
  kind,
  metadata,
  ...body,
});
const virtualService = (name: string, spec: object, namespace = at): Raw =>
  written(networking, "VirtualService", { namespace, name }, { spec });
const destinationRule = (name: string, spec: object, namespace = at): Raw =>
  written(networking, "DestinationRule", { namespace, name }, { spec });
const service = (name: string, spec: object = {}, namespace = at): Raw =>
  written("v1", "Service", { namespace, name }, { spec: { selector: { app: name }, ports: [{ port: 80 }], ...spec } });
const deployment = (name: string, labels: object = { app: name }, namespace = at): Raw =>
  written(
    "apps/v1",
    "Deployment",
    { namespace, name },
    {
      spec: { template: { metadata: { labels }, spec: { containers: [{ name: "c" }] } } },
    },
  );
const namespace = (name: string, labels: object = {}): Raw => written("v1", "Namespace", { name, labels }, {});
const guarded = { "meshward.io/protected": "true", "istio-injection": "enabled" };
const strict = (of: string): Raw =>
  written(
    "security.istio.io/v1",
    "PeerAuthentication",
    { namespace: of, name: "default" },
    { spec: { mtls: { mode: "STRICT" } } },
  );

const to = (host: string, subset?: string) => ({ destination: { host, ...(subset === undefined ? {} : { subset }) } });
const routeTo = (subset: string, i: number, match: object = {}) => ({
  match: [{ uri: { prefix: `/${i}` }, ...match }],
  route: [to("a", subset)],
});
const subset = (i: number, more: object = {}) => ({ name: `v${i}`, labels: { version: `v${i}` }, ...more });
const plaintext = { tls: { mode: "DISABLE" } };
const selecting = (i: number) => ({ workloadSelector: { matchLabels: { app: `app-${i}` } } });

/** A change of one object: `old` is in the mesh. */
interface Attempt {
  readonly mesh: readonly Raw[];
  readonly old?: Raw;
  readonly object?: Raw;
}

type Law = NonNullable<Growing["law"]>;

const shape = (title: string, n: number, attempt: (n: number) => Attempt, law: Law = {}): Growing => ({
  title,
  n,
  law,
  mesh(size) {
    const { mesh, old } = attempt(size);
    return old === undefined ? mesh : [...mesh, old];
  },
  body(stored, size) {
    const { old, object } = attempt(size);
    if (old === undefined) return review({ object });
    const there = stored.at(-1) as Raw;
    return review({ old: there, object: object && withSpec(there, object["spec"]) });
  },
});
/** The world grows with the square of n. */
const square = (title: string, n: number, attempt: (n: number) => Attempt, law: Law = {}): Growing =>
  shape(title, n, attempt, { n: 12, most: 4.4, ...law });
/** Objects of any namespace count: its hosts are in none, or its Gateways select pods everywhere. */
const wide = (title: string, n: number, attempt: (n: number) => Attempt): Growing =>
  shape(title, n, attempt, { isMeshWide: true });

const base = [namespace(at, guarded), strict(at)];
const one = { http: [{ route: [to("a", "v0")] }] };

/** What concerns routes and their subsets. */
const subsetShapes: readonly Growing[] = [
  shape("n routes to n ports of one Service, which goes", 5_000, (n) => ({
    mesh: [
      ...base,
      virtualService("r", {
        hosts: ["a"],
        http: list(n, (i) => ({
          match: [{ uri: { prefix: `/${i}` } }],
          route: [{ destination: { host: "a", port: { number: i + 1 } } }],
        })),
      }),
    ],
    old: service("a", { ports: list(n, (i) => ({ name: `http-${i}`, port: i + 1 })) }),
  })),
  wide("n namespaces with a DestinationRule *.local, n Services outside the mesh; a workload comes", 1_000, (n) => ({
    mesh: [
      ...base,
      ...list(n, (i) => namespace(`n-${i}`, guarded)),
      ...list(n, (i) =>
        destinationRule("d", { host: "*.local", trafficPolicy: { tls: { mode: "ISTIO_MUTUAL" } } }, `n-${i}`),
      ),
      ...list(n, (i) => service(`s-${i}`)),
      ...list(n, (i) => deployment(`s-${i}`, { app: `s-${i}`, "sidecar.istio.io/inject": "false" })),
    ],
    object: deployment("s", { app: "s-0", "sidecar.istio.io/inject": "false" }),
  })),
  wide("n VirtualServices and n Sidecars that select apart; a DestinationRule comes", 2_000, (n) => ({
    mesh: [
      ...base,
      ...list(n, (i) => virtualService(`r-${i}`, { hosts: [`b-${i}`], http: [{ route: [to(`b-${i}`, "v0")] }] })),
      ...list(n, (i) =>
        written(
          networking,
          "Sidecar",
          { namespace: at, name: `s-${i}` },
          { spec: { workloadSelector: { labels: { app: `app-${i}` } }, egress: [{ hosts: ["./b.example"] }] } },
        ),
      ),
    ],
    object: destinationRule("d", { host: "*.local", subsets: [subset(1)] }),
  })),
  shape("n VirtualServices and n DestinationRules of one host, one rule more", 5_000, (n) => ({
    mesh: [
      ...base,
      ...list(n, (i) => virtualService(`r-${i}`, { hosts: ["a"], ...one })),
      ...list(n, (i) => destinationRule(`d-${i}`, { host: "a", subsets: [subset(i)] })),
    ],
    object: destinationRule("d", { host: "a", subsets: [subset(n)] }),
  })),
  shape("n VirtualServices of one host and one of their own, n DestinationRules of each, one more", 5_000, (n) => ({
    mesh: [
      ...base,
      ...list(n, (i) =>
        virtualService(`r-${i}`, {
          hosts: [`b-${i}`],
          http: [{ route: [to("a", `v${i}`)], mirror: { host: `b-${i}`, subset: "x" } }],
        }),
      ),
      ...list(n, (i) => destinationRule(`b-${i}`, { host: `b-${i}`, subsets: [{ name: "x" }] })),
      ...list(n, (i) => destinationRule(`d-${i}`, { host: "a", subsets: [subset(i)] })),
    ],
    object: destinationRule("d", { host: "a", subsets: [subset(n)] }),
  })),
  shape("n VirtualServices and n DestinationRules of one host, in n namespaces", 1_000, (n) => ({
    mesh: [
      ...base,
      destinationRule("d", { host: hostname, subsets: [subset(0)] }),
      ...list(n, (i) => virtualService("r", { hosts: [hostname], http: [{ route: [to(hostname, "v0")] }] }, `n-${i}`)),
      ...list(n, (i) => destinationRule("d", { host: hostname, subsets: [subset(0)] }, `n-${i}`)),
    ],
    object: destinationRule("more", { host: hostname, subsets: [subset(1)] }, "n-0"),
  })),
  shape("n VirtualServices, n DestinationRules of one host that are exported apart", 2_000, (n) => ({
    mesh: [
      ...base,
      ...list(n, (i) => virtualService(`r-${i}`, { hosts: ["a"], exportTo: [`n-${i}`], ...one })),
      ...list(n, (i) => destinationRule(`d-${i}`, { host: "a", exportTo: [`n-${i}`], subsets: [subset(0)] })),
      destinationRule("own", { host: "a", subsets: [subset(0)] }),
    ],
    object: destinationRule("d", { host: "a", exportTo: ["n-0"], subsets: [subset(1)] }),
  })),
  shape("n VirtualServices, n DestinationRules of one host that select apart", 1_000, (n) => ({
    mesh: [
      ...base,
      ...list(n, (i) => virtualService(`r-${i}`, { hosts: ["a"], ...one })),
      ...list(n, (i) => destinationRule(`d-${i}`, { host: "a", ...selecting(i), subsets: [subset(0)] })),
      ...list(n, (i) => destinationRule(`p-${i}`, { host: "a", exportTo: ["."], subsets: [subset(i + 1)] })),
    ],
    object: destinationRule("d", { host: "a", subsets: [subset(0)] }),
  })),
  square("VirtualService, n gateways of 50 pods, n routes that name them all", 400, (n) => ({
    mesh: [
      ...base,
      destinationRule("d", { host: "a", subsets: list(n, (i) => subset(i)) }),
      destinationRule("e", { host: "a", subsets: [subset(0)] }),
      ...list(50, (i) => deployment(`pod-${i}`, { edge: "yes" })),
      ...list(n, (i) =>
        written(
          networking,
          "Gateway",
          { namespace: at, name: `g-${i}` },
          { spec: { selector: { edge: "yes" }, servers: [] } },
        ),
      ),
    ],
    object: virtualService("r", {
      hosts: ["a"],
      gateways: ["mesh", ...list(n, (i) => `g-${i}`)],
      http: list(n, (i) => routeTo(`v${i}`, i, { gateways: list(n, (j) => `g-${j}`) })),
    }),
  })),
  wide("VirtualService, n gateways of 50 pods, n routes that name one each, no subset there", 1_000, (n) => ({
    mesh: [
      ...base,
      destinationRule("d", { host: "a", subsets: [] }),
      ...list(50, (i) => deployment(`pod-${i}`, { edge: "yes" })),
      ...list(n, (i) =>
        written(
          networking,
          "Gateway",
          { namespace: at, name: `g-${i}` },
          { spec: { selector: { edge: "yes" }, servers: [] } },
        ),
      ),
    ],
    object: virtualService("r", {
      hosts: ["a"],
      gateways: list(n, (i) => `g-${i}`),
      http: list(n, (i) => routeTo(`v${i}`, i, { gateways: [`g-${i}`] })),
    }),
  })),
  shape("VirtualService, n routes to n subsets of one DestinationRule", 5_000, (n) => ({
    mesh: [...base, destinationRule("d", { host: "a", subsets: list(n, (i) => subset(i)) })],
    object: virtualService("r", { hosts: ["a"], http: list(n, (i) => routeTo(`v${i}`, i)) }),
  })),
  shape("VirtualService, n routes to n subsets of n DestinationRules", 5_000, (n) => ({
    mesh: [...base, ...list(n, (i) => destinationRule(`d-${i}`, { host: "a", subsets: [subset(i)] }))],
    object: virtualService("r", { hosts: ["a"], http: list(n, (i) => routeTo(`v${i}`, i)) }),
  })),
  shape("VirtualService, n routes to n subsets that none of n DestinationRules has", 1_000, (n) => ({
    mesh: [...base, ...list(n, (i) => destinationRule(`d-${i}`, { host: "a", subsets: [subset(i)] }))],
    object: virtualService("r", { hosts: ["a"], http: list(n, (i) => routeTo(`w${i}`, i)) }),
  })),
  shape("VirtualService, n routes with a sourceNamespace, exportTo n", 5_000, (n) => ({
    mesh: [
      ...base,
      destinationRule("d", { host: "a", subsets: [subset(0)], exportTo: [".", ...list(n, (i) => `n-${i}`)] }),
      destinationRule("e", { host: "a", subsets: [subset(0)] }),
      ...list(n, (i) => namespace(`n-${i}`)),
    ],
    object: virtualService("r", {
      hosts: ["a"],
      exportTo: list(n, (i) => `n-${i}`),
      http: list(n, (i) => routeTo("v0", i, { sourceNamespace: `n-${i}` })),
    }),
  })),
  shape("VirtualService, n routes to n subsets that are nowhere, exportTo n", 1_000, (n) => ({
    mesh: [...base, destinationRule("d", { host: "a", exportTo: [".", ...list(n, (i) => `n-${i}`)] })],
    object: virtualService("r", {
      hosts: ["a"],
      exportTo: [".", ...list(n, (i) => `n-${i}`)],
      http: list(n, (i) => routeTo(`v${i}`, i)),
    }),
  })),
  shape("n DestinationRules of one host in n namespaces, one more", 5_000, (n) => ({
    mesh: [
      ...base,
      virtualService("r", { hosts: [hostname], http: [{ route: [to(hostname, "v0")] }] }),
      ...list(n, (i) => destinationRule("d", { host: hostname, subsets: [subset(0)] }, `n-${i}`)),
    ],
    object: destinationRule("d", { host: hostname, subsets: [subset(0)] }),
  })),
  wide("n DestinationRules of a host that no one knows, in n namespaces, exported by name", 2_000, (n) => ({
    mesh: [
      ...base,
      virtualService("r", { hosts: ["x.example.com"], http: [{ route: [to("x.example.com", "v0")] }] }),
      ...list(n, (i) =>
        destinationRule("d", { host: "x.example.com", subsets: [subset(0)], exportTo: [`m-${i}`] }, `n-${i}`),
      ),
    ],
    object: destinationRule("d", { host: "x.example.com", subsets: [subset(0)] }),
  })),
  wide("VirtualService, n hosts below a wildcard with n DestinationRules", 2_000, (n) => ({
    mesh: [
      ...base,
      ...list(n, (i) => destinationRule(`d-${i}`, { host: "*.example.com", subsets: [subset(i)] })),
      ...list(n, (i) =>
        written(
          networking,
          "ServiceEntry",
          { namespace: at, name: `e-${i}` },
          { spec: { hosts: [`h-${i}.example.com`] } },
        ),
      ),
    ],
    object: virtualService("r", {
      hosts: ["a"],
      http: list(n, (i) => ({ match: [{ uri: { prefix: `/${i}` } }], route: [to(`h-${i}.example.com`, "v0")] })),
    }),
  })),
  square(
    "VirtualService, n hosts of n ServiceEntries of n hosts",
    300,
    (n) => ({
      mesh: [
        ...base,
        ...list(n, (i) =>
          written(
            networking,
            "ServiceEntry",
            { namespace: at, name: `e-${i}` },
            { spec: { hosts: list(n, (j) => `h-${j}.example.com`) } },
          ),
        ),
        destinationRule("d", { host: "*.example.com", subsets: [subset(0)] }),
        destinationRule("e", { host: "*.example.com", subsets: [subset(1)] }),
      ],
      object: virtualService("r", {
        hosts: ["a"],
        http: list(n, (i) => ({ match: [{ uri: { prefix: `/${i}` } }], route: [to(`h-${i}.example.com`, "v0")] })),
      }),
    }),
    { isMeshWide: true },
  ),
  square("a delegate of n routes with n roots of n routes", 200, (n) => ({
    mesh: [
      ...base,
      destinationRule("d", { host: "a", subsets: list(n, (i) => subset(i)) }),
      destinationRule("e", { host: "a", subsets: [subset(0)] }),
      ...list(n, (i) =>
        virtualService(`root-${i}`, {
          hosts: [`b-${i}`],
          http: list(n, (j) => ({ match: [{ uri: { prefix: `/${j}` } }], delegate: { name: "delegate" } })),
        }),
      ),
    ],
    object: virtualService("delegate", { http: list(n, (i) => routeTo(`v${i}`, i)) }),
  })),
  square("a delegate of n routes with n roots of n routes, no subset there", 200, (n) => ({
    mesh: [
      ...base,
      ...list(n, (i) =>
        virtualService(`root-${i}`, {
          hosts: [`b-${i}`],
          http: list(n, (j) => ({ match: [{ uri: { prefix: `/${j}` } }], delegate: { name: "delegate" } })),
        }),
      ),
    ],
    object: virtualService("delegate", { http: list(n, (i) => routeTo(`v${i}`, i)) }),
  })),
  square("n roots with n routes to n delegates, one more", 100, (n) => {
    const root = (name: string) =>
      virtualService(name, {
        hosts: [`b-${name}`],
        http: list(n, (j) => ({ match: [{ uri: { prefix: `/${j}` } }], delegate: { name: `delegate-${j}` } })),
      });
    return {
      mesh: [
        ...base,
        destinationRule("d", { host: "a", subsets: list(n, (i) => subset(i)) }),
        destinationRule("e", { host: "a", subsets: [subset(0)] }),
        ...list(n, (i) => root(`root-${i}`)),
        ...list(n, (i) => virtualService(`delegate-${i}`, { http: [routeTo(`v${i}`, i)] })),
      ],
      object: root("root"),
    };
  }),
];

const intent = (i: number, of: string): Raw =>
  written(
    "meshward.io/v1alpha1",
    "MeshwardIntent",
    { namespace: at, name: `intent-${i}` },
    { spec: { to: { service: of }, requests: [{ from: [`namespace/${at}`], path: `/${i}`, expect: "allowed" }] } },
  );

const ofPath = written(
  "security.istio.io/v1",
  "AuthorizationPolicy",
  { namespace: at, name: "p" },
  { spec: { rules: [{ to: [{ operation: { paths: ["/x"] } }] }] } },
);

/** What intents expect of requests that many routes divide. */
const intentShapes: readonly Growing[] = [
  shape("VirtualService of n routes, 50 intents", 2_000, (n) => ({
    mesh: [...base, service("a"), deployment("a"), ...list(50, (i) => intent(i, "a"))],
    object: virtualService("r", {
      hosts: ["a"],
      http: list(n, (i) => ({ match: [{ uri: { prefix: `/${i}/` } }], route: [to("a")] })),
    }),
  })),
  square("n VirtualServices of n source labels, n intents; a policy comes", 100, (n) => ({
    mesh: [
      ...base,
      ...list(n, (i) => service(`s-${i}`)),
      ...list(n, (i) => deployment(`s-${i}`)),
      ...list(n, (i) =>
        virtualService(`r-${i}`, {
          hosts: [`s-${i}`],
          http: [
            ...list(n, (j) => ({ match: [{ sourceLabels: { app: `s-${j}` } }], route: [to(`s-${i}`)] })),
            { route: [to(`s-${i}`)] },
          ],
        }),
      ),
      ...list(n, (i) => intent(i, `s-${i}`)),
    ],
    object: ofPath,
  })),
  shape("VirtualService of n source labels, n workloads, an intent; a policy comes", 2_000, (n) => ({
    mesh: [
      ...base,
      service("a"),
      deployment("a"),
      ...list(n, (i) => deployment(`s-${i}`)),
      virtualService("r", {
        hosts: ["a"],
        http: list(n, (i) => ({ match: [{ sourceLabels: { app: `s-${i}` } }], route: [to("a")] })),
      }),
      intent(0, "a"),
    ],
    object: ofPath,
  })),
];

/** What is refused, or judged, of one VirtualService alone. */
const virtualServiceShapes: readonly Growing[] = [
  shape("VirtualService, n hosts, n SNI hosts", 10_000, (n) => ({
    mesh: base,
    object: virtualService("r", {
      hosts: list(n, (i) => `h-${i}.example.com`),
      tls: [{ match: [{ port: 443, sniHosts: list(n, (i) => `h-${i}.example.com`) }], route: [to("a")] }],
    }),
  })),
  shape("VirtualService, n wildcards, n SNI hosts, half of them below none", 10_000, (n) => ({
    mesh: base,
    object: virtualService("r", {
      hosts: list(n, (i) => `*.h-${i}.example.com`),
      tls: [
        {
          match: [{ port: 443, sniHosts: list(n, (i) => `x.h-${i}.${i % 2 === 0 ? "example" : "invalid"}.com`) }],
          route: [to("a")],
        },
      ],
    }),
  })),
  shape("VirtualService, n wildcards of every length, n SNI hosts below none", 5_000, (n) => ({
    mesh: base,
    object: virtualService("r", {
      hosts: list(n, (i) => `*${"a".repeat(i % 60)}-${i}.${"a.".repeat(i % 80)}com`),
      tls: [
        {
          match: [{ port: 443, sniHosts: list(n, (i) => `${"a".repeat(60)}-${i}.${"a.".repeat(80)}com`) }],
          route: [to("a")],
        },
      ],
    }),
  })),
  shape("VirtualService, n hosts twice", 10_000, (n) => ({
    mesh: base,
    object: virtualService("r", {
      hosts: list(2 * n, (i) => (i % 3 === 0 ? "*" : "x") + `.h-${i % n}.example.com`),
      http: [{ route: [to("a")] }],
    }),
  })),
  shape("VirtualService, n routes whose weights are wrong otherwise than before", 5_000, (n) => {
    const routes = (weight: number) =>
      virtualService("r", {
        hosts: ["a"],
        http: list(n, (i) => ({
          match: [{ uri: { prefix: `/${i}` } }],
          route: [
            { ...to("a"), weight },
            { ...to(`b-${i}`), weight: 10 },
          ],
        })),
      });
    return { mesh: base, old: routes(90), object: routes(80) };
  }),
  shape("VirtualService for n Services of an ambient namespace without waypoint", 5_000, (n) => ({
    mesh: [namespace(at, { "istio.io/dataplane-mode": "ambient" }), ...list(n, (i) => service(`s-${i}`))],
    object: virtualService("r", { hosts: list(n, (i) => `s-${i}`), http: [{ route: [to("s-0")] }] }),
  })),
  shape("n VirtualServices for one Service of an ambient namespace that loses its waypoint", 5_000, (n) => ({
    mesh: [
      namespace(at, { "istio.io/dataplane-mode": "ambient", "istio.io/use-waypoint": "w" }),
      service("a"),
      ...list(n, (i) => virtualService(`r-${i}`, { hosts: ["a"], http: [{ route: [to("a")] }] })),
    ],
    old: written(
      "gateway.networking.k8s.io/v1",
      "Gateway",
      { namespace: at, name: "w" },
      {
        spec: { gatewayClassName: "istio-waypoint", listeners: [{ port: 15008, protocol: "HBONE" }] },
      },
    ),
  })),
  square("Gateway of n servers of n hosts with old TLS", 300, (n) => ({
    mesh: base,
    object: written(
      networking,
      "Gateway",
      { namespace: at, name: "g" },
      {
        spec: {
          selector: { edge: "yes" },
          servers: list(n, () => ({
            hosts: list(n, (j) => `h-${j}.example.com`),
            tls: { mode: "PASSTHROUGH", minProtocolVersion: "TLSV1_0" },
          })),
        },
      },
    ),
  })),
];

const ports = (n: number) => list(n, (i) => ({ port: 1_000 + i, name: `p-${i}` }));
const settings = (n: number, mode = "DISABLE") => list(n, (i) => ({ port: { number: 1_000 + i }, tls: { mode } }));
const client = [
  deployment("client", { app: "client" }, "clients"),
  namespace("clients", { "istio-injection": "enabled" }),
];

/** What clients send. */
const clientTlsShapes: readonly Growing[] = [
  shape("Service of n ports, n DestinationRules with a subset above it, one more", 2_000, (n) => ({
    mesh: [
      ...base,
      ...client,
      service("a", { ports: ports(n) }),
      deployment("a"),
      ...list(n, (i) =>
        destinationRule(`d-${i}`, {
          host: "a",
          subsets: [subset(i, { trafficPolicy: { portLevelSettings: settings(1), ...plaintext } })],
        }),
      ),
    ],
    object: destinationRule("d", { host: "a", trafficPolicy: plaintext }),
  })),
  shape("Service of n ports, n DestinationRules in n namespaces above it, one more", 2_000, (n) => ({
    mesh: [
      ...base,
      service("a", { ports: ports(n) }),
      deployment("a"),
      ...list(n, (i) => destinationRule("d", { host: hostname, trafficPolicy: plaintext }, `n-${i}`)),
    ],
    object: destinationRule("d", { host: "a", trafficPolicy: plaintext }),
  })),
  shape("n Services, n DestinationRules of one wildcard in n namespaces, one more", 1_000, (n) => ({
    mesh: [
      ...base,
      ...list(n, (i) => service(`s-${i}`)),
      ...list(n, (i) => deployment(`s-${i}`)),
      ...list(n, (i) =>
        destinationRule("d", { host: `*.${at}.svc.cluster.local`, trafficPolicy: plaintext }, `n-${i}`),
      ),
    ],
    object: destinationRule("d", { host: `*.${at}.svc.cluster.local`, trafficPolicy: plaintext }),
  })),
  shape("n Services and n DestinationRules of their own, one more", 5_000, (n) => ({
    mesh: [
      ...base,
      ...list(n, (i) => service(`s-${i}`)),
      ...list(n, (i) => deployment(`s-${i}`)),
      ...list(n, (i) => destinationRule(`d-${i}`, { host: `s-${i}`, subsets: [subset(0)] })),
    ],
    object: destinationRule("d", { host: "s-0", trafficPolicy: plaintext }),
  })),
  square("DestinationRule of n subsets of n ports", 200, (n) => ({
    mesh: [...base, service("a", { ports: ports(n) }), deployment("a")],
    object: destinationRule("d", {
      host: "a",
      subsets: list(n, (i) => subset(i, { trafficPolicy: { portLevelSettings: settings(n) } })),
    }),
  })),
  square("DestinationRule of n subsets of n ports, SIMPLE, exportTo n", 200, (n) => ({
    mesh: [...base, service("a", { ports: ports(n) }), deployment("a")],
    object: destinationRule("d", {
      host: "a",
      exportTo: [".", ...list(n, (i) => `n-${i}`)],
      subsets: list(n, (i) => subset(i, { trafficPolicy: { portLevelSettings: settings(n, "SIMPLE") } })),
    }),
  })),
  square("n DestinationRules of one host with exportTo n each, one more", 200, (n) => ({
    mesh: [
      ...base,
      service("a"),
      deployment("a"),
      ...list(n, (i) =>
        destinationRule(`d-${i}`, {
          host: "a",
          exportTo: list(n, (j) => `n-${i}-${j}`),
          trafficPolicy: plaintext,
        }),
      ),
    ],
    object: destinationRule("d", { host: "a", exportTo: ["*"], trafficPolicy: plaintext }),
  })),
  shape("n DestinationRules with TLS for n Services of a namespace, SIMPLE, one more", 2_000, (n) => ({
    mesh: [
      ...base,
      ...list(n, (i) => service(`s-${i}`)),
      ...list(n, (i) => deployment(`s-${i}`)),
      ...list(n, (i) => destinationRule(`d-${i}`, { host: `s-${i}`, trafficPolicy: { tls: { mode: "SIMPLE" } } })),
    ],
    object: destinationRule("d", { host: "s-0", trafficPolicy: { tls: { mode: "SIMPLE" } } }),
  })),
  shape("a DestinationRule with TLS for n Services with n workloads each selects", 500, (n) => ({
    mesh: [
      ...base,
      ...list(n, (i) => service(`s-${i}`, { selector: { team: "a" } })),
      ...list(n, (i) => deployment(`w-${i}`, { team: "a" })),
    ],
    object: destinationRule("d", { host: `*.${at}.svc.cluster.local`, trafficPolicy: { tls: { mode: "SIMPLE" } } }),
  })),
];

/** n namespaces of 40 Deployments and Services each, all protected, and a rule for every host in a namespace apart. */
function everywhere(host: string, trafficPolicy: object, more: (n: number) => readonly Raw[] = () => []) {
  return (n: number): Attempt => ({
    mesh: [
      ...list(n, (i) => namespace(`t-${i}`, guarded)),
      ...list(n, (i) => strict(`t-${i}`)),
      ...list(40 * n, (i) => service(`s-${i % 40}`, {}, `t-${Math.floor(i / 40)}`)),
      ...list(40 * n, (i) => deployment(`s-${i % 40}`, { app: `s-${i % 40}` }, `t-${Math.floor(i / 40)}`)),
      ...more(n),
      ...client,
    ],
    object: destinationRule("all", { host, trafficPolicy }, "clients"),
  });
}
/** Ten rules and as many VirtualServices in each namespace. */
const routed = (n: number): readonly Raw[] =>
  list(10 * n, (i) => [`s-${i % 10}`, `t-${Math.floor(i / 10)}`] as const).flatMap(([name, of]) => [
    destinationRule(name, { host: name, subsets: [subset(0)] }, of),
    virtualService(name, { hosts: [name], http: [{ route: [to(name, "v0")] }] }, of),
  ]);
const pool = { connectionPool: { tcp: { maxConnections: 100 } } };
/** A DestinationRule for every host. */
const everyHost = (title: string, attempt: (n: number) => Attempt): Growing =>
  shape(title, 1_000, attempt, { n: 10, isMeshWide: true });
const meshWideShapes: readonly Growing[] = [
  everyHost("DestinationRule *.local, no TLS, n namespaces of 80 objects", everywhere("*.local", pool)),
  everyHost("DestinationRule *, no TLS, n namespaces of 80 objects", everywhere("*", pool)),
  everyHost(
    "DestinationRule *.svc.cluster.local, mTLS, n namespaces",
    everywhere("*.svc.cluster.local", { tls: { mode: "ISTIO_MUTUAL" } }),
  ),
  everyHost("DestinationRule *.local, DISABLE, n namespaces of 80 objects", everywhere("*.local", plaintext)),
  everyHost(
    "DestinationRule *.local, no TLS, n namespaces of 80 objects and 10 routes to subsets",
    everywhere("*.local", pool, routed),
  ),
  everyHost(
    "DestinationRule *.local, SIMPLE, n namespaces of 80 objects",
    everywhere("*.local", { tls: { mode: "SIMPLE" } }),
  ),
];

export const trafficCases: readonly Growing[] = [
  ...subsetShapes,
  ...intentShapes,
  ...virtualServiceShapes,
  ...clientTlsShapes,
  ...meshWideShapes,
];
