// What somebody may write to make reviews of the rules on mTLS, authorization and waypoints slow.

import type { Growing } from "./growth.ts";
import {
  authorizationPolicy,
  deployment,
  manifest,
  namespace,
  peerAuthentication,
  type Raw,
  readers,
  rootNamespace,
  service,
} from "./mesh.ts";
import { review, withSpec } from "./reviews.ts";

const at = "hostile";
const gatewayGroup = "gateway.networking.k8s.io";
const security = "security.istio.io/v1";
const list = <T>(count: number, one: (i: number) => T): readonly T[] =>
  Array.from({ length: Math.ceil(count) }, (_, i) => one(i));
const named = (name: string, namespace = at) => ({ namespace, name });

const guarded = { "meshward.io/protected": "true" };
const sidecars = namespace(at, { ...guarded, "istio-injection": "enabled" });
const ambient = namespace(at, { ...guarded, "istio.io/dataplane-mode": "ambient" });
const behindWaypoint = namespace(at, {
  ...guarded,
  "istio.io/dataplane-mode": "ambient",
  "istio.io/use-waypoint": "waypoint",
});

const closed = authorizationPolicy(named("closed"), {});
const workloads = (count: number) => list(count, (i) => deployment(named(`w-${i}`), `app-${i}`));
const services = (count: number) => list(count, (i) => service(named(`s-${i}`), `app-${i}`));
const selecting = (count: number) => list(count, (i) => authorizationPolicy(named(`p-${i}`), readers(at, `app-${i}`)));
const wide = (i: number, rules = 1) => {
  const { selector: _, ...spec } = readers(at, "", rules) as { selector: unknown };
  return authorizationPolicy(named(`wide-${i}`), spec);
};
const callers = (i: number) => [{ from: [{ source: { principals: [`cluster.local/ns/${at}/sa/caller-${i}`] } }] }];
const waypoint = (name: string) =>
  manifest(`${gatewayGroup}/v1`, "Gateway", named(name), {
    spec: {
      gatewayClassName: "istio-waypoint",
      listeners: [{ name: "mesh", port: 15008, protocol: "HBONE", allowedRoutes: { namespaces: { from: "Same" } } }],
    },
    status: { addresses: [{ value: "10.0.0.1" }] },
  });
const atGateway = (name: string, gateway: string, rules: readonly object[] = []) =>
  authorizationPolicy(named(name), { targetRefs: [{ group: gatewayGroup, kind: "Gateway", name: gateway }], rules });
const strict = (i: number, metadata = named(`strict-${i}`)) =>
  peerAuthentication(metadata, "STRICT", { app: `app-${i}` });
const ports = (count: number, mode: string) => Object.fromEntries(list(count, (i) => [String(i + 1), { mode }]));
const ofPorts = (count: number, mode: string) =>
  manifest(security, "PeerAuthentication", named("ports"), {
    spec: { selector: { matchLabels: { shop: "yes" } }, portLevelMtls: ports(count, mode) },
  });
const shop = (count: number) =>
  list(count, (i) => {
    const { spec, ...rest } = deployment(named(`w-${i}`), `app-${i}`) as Raw & { spec: { template: object } };
    const labels = { app: `app-${i}`, shop: "yes" };
    return { ...rest, spec: { ...spec, template: { ...spec.template, metadata: { labels } } } };
  });
const everywhere = (mode: string) => peerAuthentication(named("default"), mode);
const manyLabels = (count: number) => Object.fromEntries(list(count, (i) => [`label-${i}`, "x"]));
const labelled = (name: string, labels: object) =>
  manifest("apps/v1", "Deployment", named(name), { spec: { template: { metadata: { labels }, spec: {} } } });
const envoyFilter = (name: string, where = at, spec: object = {}) =>
  manifest("networking.istio.io/v1alpha3", "EnvoyFilter", named(name, where), {
    spec: { configPatches: [{ applyTo: "CLUSTER", patch: { operation: "REMOVE" } }], ...spec },
  });
const tokens = (i: number) =>
  manifest(security, "RequestAuthentication", named(`tokens-${i}`), {
    spec: { selector: { matchLabels: { app: `app-${i}` } }, jwtRules: [{ issuer: "issuer" }] },
  });
const demanding = (i: number) =>
  authorizationPolicy(named(`demand-${i}`), {
    selector: { matchLabels: { app: `other-${i}` } },
    rules: [{ from: [{ source: { requestPrincipals: ["*"] } }] }],
  });
const calling = (i: number) =>
  manifest(
    "admissionregistration.k8s.io/v1",
    "ValidatingWebhookConfiguration",
    { name: `webhook-${i}` },
    {
      webhooks: [{ name: "a.example.com", clientConfig: { service: { namespace: at, name: `s-${i}`, port: 8080 } } }],
    },
  );

const creates = (object: Raw) => () => review({ object });
const updatesLast = (change: (spec: object) => object) => (stored: readonly Raw[]) => {
  const old = stored.at(-1) as Raw & { readonly spec: object };
  return review({ old, object: withSpec(old, change(old.spec)) });
};
const deletesLast = (stored: readonly Raw[]) => review({ old: stored.at(-1) });
const relabels = (labels: object) => (stored: readonly Raw[]) => {
  const old = stored[0] as Raw;
  const all = { ...(old.metadata["labels"] as object), ...labels };
  return review({ old, object: { ...old, metadata: { ...old.metadata, labels: all } } });
};
const otherCallers = (spec: object) => ({ ...spec, rules: callers(0) });

/** `n` objects: namespaces with 40 Deployments, 40 Services and 20 policies each, one in four of them protected by none. */
function teams(n: number, own: (team: string) => readonly Raw[] = () => []): readonly Raw[] {
  const all: Raw[] = [namespace(rootNamespace)];
  for (let i = 0; i < n / 100; i++) {
    const team = `team-${i}`;
    all.push(namespace(team, { ...guarded, "istio-injection": "enabled" }), ...own(team));
    for (let j = 0; j < 40; j++)
      all.push(deployment(named(`w-${j}`, team), `app-${j}`), service(named(`s-${j}`, team), `app-${j}`));
    for (let j = 0; j < 20; j++) all.push(authorizationPolicy(named(`p-${j}`, team), readers(team, `app-${j}`)));
  }
  return all;
}
const ofMesh = (rules: number) =>
  authorizationPolicy(named("mesh", rootNamespace), {
    rules: list(rules, (i) => ({ from: [{ source: { namespaces: [`team-${i}`] } }] })),
  });

const authorization: readonly Growing[] = [
  {
    title: "n policies and n workloads, no default deny; one policy changes",
    n: 5_000,
    mesh: (n) => [sidecars, ...workloads(n), ...selecting(n)],
    body: updatesLast(otherCallers),
  },
  {
    title: "the same with a default deny",
    n: 5_000,
    mesh: (n) => [sidecars, closed, ...workloads(n), ...selecting(n)],
    body: updatesLast(otherCallers),
  },
  {
    title: "the same in ambient mode",
    n: 5_000,
    mesh: (n) => [ambient, ...workloads(n), ...selecting(n)],
    body: updatesLast(otherCallers),
  },
  {
    title: "n policies of identities alone in ambient mode; one changes",
    n: 5_000,
    mesh: (n) => [
      ambient,
      ...workloads(n),
      ...list(n, (i) =>
        authorizationPolicy(named(`p-${i}`), { selector: { matchLabels: { app: `app-${i}` } }, rules: callers(i) }),
      ),
    ],
    body: updatesLast(otherCallers),
  },
  {
    title: "n policies and n workloads, a default deny; it goes",
    n: 5_000,
    mesh: (n) => [sidecars, ...workloads(n), ...selecting(n), closed],
    body: deletesLast,
  },
  {
    title: "n policies that share their first label and n workloads that have it; one changes",
    n: 5_000,
    mesh: (n) => [
      sidecars,
      ...shop(n),
      ...list(n, (i) =>
        authorizationPolicy(named(`p-${i}`), {
          selector: { matchLabels: { shop: "yes", app: `app-${i}` } },
          rules: callers(i),
        }),
      ),
    ],
    body: updatesLast(otherCallers),
  },
  {
    title: "n Services and n workloads that share their first label; a policy of methods changes",
    n: 5_000,
    mesh: (n) => [
      sidecars,
      ...shop(n),
      ...list(n, (i) =>
        manifest("v1", "Service", named(`s-${i}`), {
          spec: { selector: { shop: "yes", zone: `z-${i}` }, ports: [{ name: "http", port: 80, targetPort: 8080 }] },
        }),
      ),
      authorizationPolicy(named("methods"), {
        selector: { matchLabels: { shop: "yes" } },
        rules: [{ to: [{ operation: { methods: ["GET"] } }] }],
      }),
    ],
    body: updatesLast((spec) => ({ ...spec, rules: [{ to: [{ operation: { methods: ["GET", "POST"] } }] }] })),
  },
  {
    title: "n policies without a selector and n workloads; one policy more",
    n: 5_000,
    mesh: (n) => [sidecars, ...workloads(n), ...list(n, (i) => wide(i))],
    body: creates(authorizationPolicy(named("p"), { rules: [{}] })),
  },
  {
    title: "n policies that let everyone in and n workloads; one policy more",
    n: 5_000,
    mesh: (n) => [
      sidecars,
      ...workloads(n),
      ...list(n, (i) => authorizationPolicy(named(`open-${i}`), { rules: [{}] })),
    ],
    body: creates(authorizationPolicy(named("p"), { rules: [{}] })),
  },
  {
    title: "n policies of 100 rules without a selector, 1,000 workloads; one policy more",
    n: 100,
    mesh: (n) => [sidecars, ...workloads(1_000), ...list(n, (i) => wide(i, 100))],
    body: creates(wide(100_000, 100)),
  },
  {
    title: "one policy of n rules, 250 workloads; the default deny goes",
    n: 10_000,
    mesh: (n) => [sidecars, ...workloads(250), wide(0, n), closed],
    body: deletesLast,
  },
  {
    title: "a policy of n sources, 5,000 workloads, comes",
    n: 5_000,
    mesh: () => [sidecars, ...workloads(5_000)],
    body: (_, n) =>
      review({
        object: authorizationPolicy(named("p"), {
          rules: [{ from: list(n, (i) => ({ source: { principals: [`cluster.local/ns/a/sa/c-${i}`] } })) }],
        }),
      }),
  },
  {
    title: "matchLabels of n labels on n/10 policies and n/10 workloads; the default deny goes",
    n: 2_000,
    // The number of labels is n²/5.
    law: { most: 4.2 },
    mesh: (n) => [
      sidecars,
      ...list(n / 10, (i) =>
        authorizationPolicy(named(`p-${i}`), { selector: { matchLabels: manyLabels(n) }, rules: callers(i) }),
      ),
      ...list(n / 10, (i) => labelled(`w-${i}`, { ...manyLabels(n), app: `app-${i}` })),
      closed,
    ],
    body: deletesLast,
  },
  {
    title: "matchLabels of n labels on one policy, which changes, and n workloads",
    n: 5_000,
    mesh: (n) => [
      sidecars,
      ...workloads(n),
      authorizationPolicy(named("p"), { selector: { matchLabels: manyLabels(n) }, rules: callers(1) }),
    ],
    body: updatesLast(otherCallers),
  },
  {
    title: "n policies of addresses for a pod of 50 gateways, which is relabelled",
    n: 5_000,
    // The addresses of each policy are compared with those of all others, up to the limit of work. Gateways select pods everywhere.
    law: { most: 4.2, isMeshWide: true },
    mesh: (n) => [
      sidecars,
      ...list(50, (i) =>
        manifest("networking.istio.io/v1", "Gateway", named(`g-${i}`), {
          spec: {
            selector: { edge: "yes" },
            servers: [{ port: { number: 80, name: "http", protocol: "HTTP" }, hosts: [`h-${i}.example.com`] }],
          },
        }),
      ),
      ...list(n, (i) =>
        authorizationPolicy(named(`p-${i}`), {
          selector: { matchLabels: { edge: "yes" } },
          rules: [{ from: [{ source: { ipBlocks: [`10.0.${i >> 8}.${i & 255}`] } }] }],
        }),
      ),
      labelled("edge", { edge: "yes" }),
    ],
    body: updatesLast(() => ({ template: { metadata: { labels: { edge: "no" } }, spec: {} } })),
  },
  {
    title: "n policies that name the namespace which comes",
    n: 5_000,
    law: { isMeshWide: true },
    mesh: (n) => [
      sidecars,
      ...list(n, (i) =>
        authorizationPolicy(named(`p-${i}`), { rules: [{ from: [{ source: { namespaces: ["new"] } }] }] }),
      ),
    ],
    body: creates(namespace("new")),
  },
  {
    title: "a policy of n conditions about n headers comes",
    n: 5_000,
    mesh: () => [sidecars, ...workloads(1), closed],
    body: (_, n) =>
      review({
        object: authorizationPolicy(named("p"), {
          rules: [{ when: list(n, (i) => ({ key: `request.headers[x-${i}]`, values: ["a"], notValues: ["b"] })) }],
        }),
      }),
  },
  {
    title: "n policies of unknown accounts, n workloads with similar ones; one is relabelled",
    n: 5_000,
    mesh: (n) => [
      sidecars,
      ...list(n, (i) => authorizationPolicy(named(`p-${i}`), { rules: callers(i) })),
      ...list(n, (i) => deployment(named(`w-${i}`), `call-${i}-er`)),
    ],
    body: updatesLast((spec) => ({ ...spec, replicas: 5, selector: {} })),
  },
  {
    title: "n RequestAuthentications and n policies that demand tokens of others; one policy more",
    n: 5_000,
    mesh: (n) => [sidecars, ...list(n, tokens), ...list(n, demanding)],
    body: creates(demanding(1_000_000)),
  },
];

const waypoints: readonly Growing[] = [
  {
    title: "n waypoints, Services, policies and workloads; one policy goes",
    n: 1_000,
    mesh: (n) => [
      ambient,
      ...list(n, (i) => waypoint(`waypoint-${i}`)),
      ...list(n, (i) => {
        const { metadata, ...rest } = service(named(`s-${i}`), `app-${i}`);
        return { ...rest, metadata: { ...metadata, labels: { "istio.io/use-waypoint": `waypoint-${i}` } } };
      }),
      ...workloads(n),
      ...list(n, (i) => atGateway(`p-${i}`, `waypoint-${i}`)),
    ],
    body: deletesLast,
  },
  {
    title: "the same, in a namespace that names no waypoint for its Services",
    n: 1_000,
    mesh: (n) => [
      ambient,
      ...list(n, (i) => waypoint(`waypoint-${i}`)),
      ...services(n),
      ...workloads(n),
      ...list(n, (i) => atGateway(`p-${i}`, `waypoint-${i}`)),
    ],
    body: deletesLast,
  },
  {
    title: "n policies for callers behind one waypoint, n workloads; one changes",
    n: 5_000,
    mesh: (n) => [
      behindWaypoint,
      waypoint("waypoint"),
      ...workloads(n),
      ...list(n, (i) =>
        authorizationPolicy(named(`p-${i}`), { selector: { matchLabels: { app: `app-${i}` } }, rules: callers(i) }),
      ),
    ],
    body: updatesLast(otherCallers),
  },
  {
    title: "the same without selectors",
    n: 1_000,
    mesh: (n) => [
      behindWaypoint,
      waypoint("waypoint"),
      ...workloads(n),
      ...list(n, (i) => authorizationPolicy(named(`p-${i}`), { rules: callers(i) })),
    ],
    body: updatesLast(otherCallers),
  },
  {
    title: "n policies for n Services of one waypoint, n workloads; one changes",
    n: 5_000,
    mesh: (n) => [
      behindWaypoint,
      waypoint("waypoint"),
      ...workloads(n),
      ...services(n),
      ...list(n, (i) =>
        authorizationPolicy(named(`p-${i}`), { targetRefs: [{ kind: "Service", name: `s-${i}` }], rules: callers(i) }),
      ),
    ],
    body: updatesLast(otherCallers),
  },
  {
    title: "n policies of one waypoint, n workloads; the waypoint goes",
    n: 5_000,
    mesh: (n) => [
      behindWaypoint,
      ...workloads(n),
      ...list(n, (i) => atGateway(`p-${i}`, "waypoint", callers(i))),
      waypoint("waypoint"),
    ],
    body: deletesLast,
  },
  {
    title: "n Services and n workloads that name a waypoint; it goes",
    n: 5_000,
    mesh: (n) => [
      ambient,
      ...list(n, (i) => {
        const { metadata, ...rest } = service(named(`s-${i}`), `app-${i}`);
        return { ...rest, metadata: { ...metadata, labels: { "istio.io/use-waypoint": "waypoint" } } };
      }),
      ...list(n, (i) => labelled(`w-${i}`, { app: `app-${i}`, "istio.io/use-waypoint": "waypoint" })),
      waypoint("waypoint"),
    ],
    body: deletesLast,
  },
];

const mtls: readonly Growing[] = [
  {
    title: "a PeerAuthentication of n PERMISSIVE ports, 20 workloads, comes",
    n: 20_000,
    mesh: () => [sidecars, everywhere("STRICT"), ...shop(20)],
    body: (_, n) => review({ object: ofPorts(n, "PERMISSIVE") }),
  },
  {
    title: "the same, 200 workloads",
    n: 20_000,
    mesh: () => [sidecars, everywhere("STRICT"), ...shop(200)],
    body: (_, n) => review({ object: ofPorts(n, "PERMISSIVE") }),
  },
  {
    title: "the same in ambient mode",
    n: 20_000,
    mesh: () => [ambient, everywhere("STRICT"), ...shop(200)],
    body: (_, n) => review({ object: ofPorts(n, "PERMISSIVE") }),
  },
  {
    title: "a PeerAuthentication of n STRICT ports, 200 workloads, comes",
    n: 20_000,
    mesh: () => [sidecars, everywhere("PERMISSIVE"), ...shop(200)],
    body: (_, n) => review({ object: ofPorts(n, "STRICT") }),
  },
  {
    title: "a PeerAuthentication of n STRICT ports, 20 workloads, goes (n × 20 findings)",
    n: 5_000,
    mesh: (n) => [sidecars, everywhere("PERMISSIVE"), ...shop(20), ofPorts(n, "STRICT")],
    body: deletesLast,
  },
  {
    title: "n/2 PeerAuthentications with selectors, n workloads; one goes",
    n: 5_000,
    mesh: (n) => [sidecars, ...workloads(n), ...list(n / 2, (i) => strict(i))],
    body: deletesLast,
  },
  {
    title: "n PeerAuthentications with selectors, no workloads known of theirs; one goes",
    n: 5_000,
    mesh: (n) => [sidecars, ...list(n, (i) => strict(i))],
    body: deletesLast,
  },
  {
    title: "n PeerAuthentications that share their first label, n workloads, n Services; one goes",
    n: 5_000,
    mesh: (n) => [
      sidecars,
      ...shop(n),
      ...services(n),
      ...list(n, (i) => peerAuthentication(named(`p-${i}`), "STRICT", { shop: "yes", app: `app-${i}` })),
    ],
    body: deletesLast,
  },
  {
    title: "n PeerAuthentications without a selector, n workloads; one more",
    n: 5_000,
    mesh: (n) => [sidecars, ...workloads(n), ...list(n, (i) => peerAuthentication(named(`p-${i}`), "STRICT"))],
    body: creates(peerAuthentication(named("p"), "PERMISSIVE")),
  },
  {
    title: "n PeerAuthentications of ports, n workloads, n Services; a Service goes",
    n: 5_000,
    mesh: (n) => [sidecars, ...workloads(n), ...list(n, (i) => strict(i)), ...services(n)],
    body: deletesLast,
  },
  {
    title: "n PeerAuthentications of ports that share a label, n workloads; the Service of all goes",
    n: 5_000,
    mesh: (n) => [
      sidecars,
      ...shop(n),
      ...list(n, (i) => peerAuthentication(named(`p-${i}`), "STRICT", { shop: "yes", app: `app-${i}` })),
      manifest("v1", "Service", named("all"), { spec: { selector: { shop: "yes" }, ports: [{ port: 9090 }] } }),
    ],
    body: deletesLast,
  },
  {
    title: "a PeerAuthentication of 5,000 ports, n workloads, n Services comes",
    n: 1_000,
    mesh: (n) => [
      sidecars,
      ...shop(n),
      ...list(n, (i) =>
        manifest("v1", "Service", named(`s-${i}`), { spec: { selector: { shop: "yes" }, ports: [{ port: 8080 }] } }),
      ),
    ],
    body: creates(ofPorts(5_000, "STRICT")),
  },
  {
    title: "n webhooks of n Services and n workloads; the namespace becomes STRICT",
    n: 5_000,
    mesh: (n) => [
      namespace(at, { "istio-injection": "enabled" }),
      ...workloads(n),
      ...services(n),
      ...list(n, calling),
      everywhere("PERMISSIVE"),
    ],
    body: updatesLast(() => ({ mtls: { mode: "STRICT" } })),
  },
  {
    title: "a Deployment of n containers, excludeInboundPorts of n ports",
    n: 10_000,
    mesh: (n) => [
      sidecars,
      manifest("apps/v1", "Deployment", named("w"), {
        spec: {
          template: {
            metadata: { labels: { app: "w" } },
            spec: { containers: list(n, (i) => ({ name: `c-${i}`, ports: [{ containerPort: i + 20_000 }] })) },
          },
        },
      }),
    ],
    body: (stored, n) => {
      const old = stored.at(-1) as Raw & { readonly spec: { readonly template: object } };
      const excluded = list(n, (i) => i + 20_000).join(",");
      const annotations = { "traffic.sidecar.istio.io/excludeInboundPorts": excluded };
      const { template } = old.spec;
      const next = { ...old.spec, template: { ...template, metadata: { labels: { app: "w" }, annotations } } };
      return review({ old, object: withSpec(old, next) });
    },
  },
];

const namespaces: readonly Growing[] = [
  {
    title: "the namespace of n workloads, Services, policies is relabelled",
    n: 5_000,
    mesh: (n) => [sidecars, closed, ...workloads(n), ...services(n), ...selecting(n), ...list(n, (i) => strict(i))],
    body: relabels({ team: "other" }),
  },
  {
    title: "the namespace of n workloads, Services, policies leaves the mesh",
    n: 5_000,
    mesh: (n) => [sidecars, closed, ...workloads(n), ...services(n), ...selecting(n), ...list(n, (i) => strict(i))],
    body: relabels({ "istio-injection": "disabled" }),
  },
  {
    title: "one of n workloads beside n Services and 2n policies is relabelled",
    n: 5_000,
    mesh: (n) => [sidecars, closed, ...services(n), ...selecting(n), ...list(n, (i) => strict(i)), ...workloads(n)],
    body: updatesLast((spec) => ({ ...spec, template: { metadata: { labels: { app: "other" } }, spec: {} } })),
  },
  {
    title: "n policies with an empty selector, n ambient workloads; a workload changes",
    n: 5_000,
    mesh: (n) => [
      ambient,
      ...list(n, (i) => authorizationPolicy(named(`p-${i}`), { selector: {}, rules: callers(i) })),
      ...workloads(n),
    ],
    body: updatesLast((spec) => ({ ...spec, template: { metadata: { labels: { app: "other" } }, spec: {} } })),
  },
  {
    title: "n EnvoyFilters and n workloads; one more",
    n: 5_000,
    mesh: (n) => [sidecars, ...workloads(n), ...list(n, (i) => envoyFilter(`f-${i}`))],
    body: creates(envoyFilter("f")),
  },
];

const meshWide: readonly Growing[] = [
  {
    title: "n objects; a mesh-wide STRICT goes",
    n: 100_000,
    law: { n: 1_000, isMeshWide: true },
    mesh: (n) => [...teams(n), peerAuthentication(named("default", rootNamespace), "STRICT")],
    body: deletesLast,
  },
  {
    title: "the same, where each namespace has a STRICT of its own",
    n: 100_000,
    law: { n: 1_000, isMeshWide: true },
    mesh: (n) => [
      ...teams(n, (team) => [peerAuthentication(named("default", team), "STRICT")]),
      peerAuthentication(named("default", rootNamespace), "STRICT"),
    ],
    body: deletesLast,
  },
  {
    title: "n objects; a mesh-wide ALLOW of 100 rules comes",
    n: 100_000,
    law: { n: 1_000, isMeshWide: true },
    mesh: (n) => teams(n),
    body: creates(ofMesh(100)),
  },
  {
    title: "n objects; a mesh-wide ALLOW of 100 rules changes",
    n: 100_000,
    law: { n: 1_000, isMeshWide: true },
    mesh: (n) => [...teams(n), ofMesh(100)],
    body: updatesLast(() => ({ rules: [{ from: [{ source: { namespaces: ["a"] } }] }] })),
  },
  {
    title: "n objects; the mesh-wide default deny goes",
    n: 100_000,
    law: { n: 1_000, isMeshWide: true },
    mesh: (n) => [...teams(n), ofMesh(0)],
    body: deletesLast,
  },
  {
    title: "the same, where each namespace has a default deny of its own",
    n: 100_000,
    law: { n: 1_000, isMeshWide: true },
    mesh: (n) => [...teams(n, (team) => [authorizationPolicy(named("closed", team), {})]), ofMesh(0)],
    body: deletesLast,
  },
  {
    title: "n objects; a mesh-wide ALLOW of everyone comes",
    n: 100_000,
    law: { n: 1_000, isMeshWide: true },
    mesh: (n) => teams(n, (team) => [authorizationPolicy(named("closed", team), {})]),
    body: creates(authorizationPolicy(named("open", rootNamespace), { rules: [{}] })),
  },
  {
    title: "n objects; a mesh-wide EnvoyFilter comes",
    n: 100_000,
    law: { n: 1_000, isMeshWide: true },
    mesh: (n) => teams(n),
    body: creates(envoyFilter("f", rootNamespace)),
  },
  {
    title: "n policies in the root namespace, 500 namespaces; one more",
    n: 1_000,
    law: { isMeshWide: true },
    mesh: (n) => [
      ...teams(50 * n),
      ...list(n, (i) => authorizationPolicy(named(`p-${i}`, rootNamespace), readers("a", `app-${i}`))),
    ],
    body: creates(authorizationPolicy(named("p", rootNamespace), readers("a", "a"))),
  },
  {
    title: "n PeerAuthentications in the root namespace, 500 namespaces; one more",
    n: 1_000,
    law: { isMeshWide: true },
    mesh: (n) => [...teams(50 * n), ...list(n, (i) => peerAuthentication(named(`p-${i}`, rootNamespace), "STRICT"))],
    body: creates(peerAuthentication(named("p", rootNamespace), "PERMISSIVE")),
  },
  {
    title: "n EnvoyFilters in the root namespace, 500 namespaces; one more",
    n: 1_000,
    law: { isMeshWide: true },
    mesh: (n) => [...teams(50 * n), ...list(n, (i) => envoyFilter(`f-${i}`, rootNamespace))],
    body: creates(envoyFilter("f", rootNamespace)),
  },
];

export const securityCases: readonly Growing[] = [...authorization, ...waypoints, ...mtls, ...namespaces, ...meshWide];
