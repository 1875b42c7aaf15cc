import { manifest } from "../bench/mesh.ts";
import { type CostShape, list, named, namespace, workload } from "./cost-shapes.ts";

// Worlds of routes, services and Sidecars, each with as much of one thing as is wanted.

const networking = "networking.istio.io/v1";
const istio = (kind: string, name: string, spec: object) => manifest(networking, kind, named(name), { spec });
const inNamespace = (kind: string, where: string, spec: object) =>
  manifest(networking, kind, { namespace: where, name: "x" }, { spec });
const service = (name: string) =>
  manifest("v1", "Service", named(name), { spec: { selector: { app: "app-0" }, ports: [{ port: 80 }] } });
const protectedNamespace = namespace({ "meshward.io/protected": "true", "istio-injection": "enabled" });
const to = (host: string, subset?: string) => ({ destination: { host, ...(subset === undefined ? {} : { subset }) } });
const matching = (i: number) => [{ uri: { exact: `/${i}` } }];

const gatewayPods = {
  spec: { template: { metadata: { labels: { istio: "shapes" } }, spec: { containers: [{ name: "istio-proxy" }] } } },
};

const backendTlsPolicy = (name: string) =>
  manifest("gateway.networking.k8s.io/v1", "BackendTLSPolicy", named(`p-${name}`), {
    spec: {
      targetRefs: [{ group: "", kind: "Service", name }],
      validation: { hostname: "shapes.example.com", wellKnownCACertificates: "System" },
    },
  });

/** n Services and their pods behind a Gateway. */
const behindGateway = (n: number) => [
  namespace({ "istio-injection": "enabled" }),
  manifest("gateway.networking.k8s.io/v1", "Gateway", named("g"), {
    spec: { gatewayClassName: "istio", listeners: [{ name: "http", port: 80, protocol: "HTTP" }] },
  }),
  ...list(n, (i) =>
    manifest("apps/v1", "Deployment", named(`w-${i}`), {
      spec: { template: { metadata: { labels: { app: `app-${i}` } }, spec: {} } },
    }),
  ),
  ...list(n, (i) =>
    manifest("v1", "Service", named(`s-${i}`), {
      spec: { selector: { app: `app-${i}` }, ports: [{ name: "http", port: 80 }] },
    }),
  ),
];
const routeOfGateway = (n: number) =>
  manifest("gateway.networking.k8s.io/v1", "HTTPRoute", named("r"), {
    spec: {
      parentRefs: [{ name: "g" }],
      hostnames: ["shapes.example.com"],
      rules: list(n, (i) => ({
        matches: [{ path: { type: "Exact", value: `/${i}` } }],
        backendRefs: [{ name: `s-${i}`, port: 80 }],
      })),
    },
  });
const forCallersWithin = manifest("security.istio.io/v1", "AuthorizationPolicy", named("callers"), {
  spec: { rules: [{ from: [{ source: { principals: ["cluster.local/ns/front/sa/web"] } }] }] },
});

/** What each rule about traffic finds. */
export const trafficShapes: readonly CostShape[] = [
  {
    title: "a route of a Gateway to n Services whose policy refuses the Gateway",
    world: (n) => ({
      objects: [...behindGateway(n), forCallersWithin],
      change: { object: routeOfGateway(n) },
    }),
  },
  {
    title: "the first policy of a namespace with n Services behind a Gateway",
    world: (n) => ({
      objects: [...behindGateway(n), routeOfGateway(n)],
      change: { object: forCallersWithin },
    }),
  },
  {
    title: "n routes to n subsets of pods whose policies allow nobody",
    world: (n) => ({
      objects: [
        namespace({ "istio-injection": "enabled" }),
        manifest("security.istio.io/v1", "AuthorizationPolicy", named("nobody"), { spec: {} }),
        manifest("v1", "Service", named("s"), { spec: { selector: { tier: "shapes" }, ports: [{ port: 80 }] } }),
        ...list(n, (i) =>
          manifest("apps/v1", "Deployment", named(`w-${i}`), {
            spec: { template: { metadata: { labels: { tier: "shapes", app: `app-${i}` } }, spec: {} } },
          }),
        ),
        istio("DestinationRule", "s", {
          host: "s",
          subsets: list(n, (i) => ({ name: `subset-${i}`, labels: { app: `app-${i}` } })),
        }),
      ],
      change: {
        object: istio("VirtualService", "r", {
          hosts: ["s"],
          http: list(n, (i) => ({ match: matching(i), route: [to("s", `subset-${i}`)] })),
        }),
      },
    }),
  },
  {
    title:
      "a VirtualService for other names of n Services, and n VirtualServices for the full host and another name of each",
    world: (n) => {
      const http = [{ route: [to("s-0")] }];
      const nameOf = (i: number) => `s-${i}.${named("x").namespace}.svc`;
      return {
        objects: [
          namespace({}),
          ...list(n, (i) =>
            manifest("v1", "Service", named(`s-${i}`), { spec: { ports: [{ name: "http", port: 80 }] } }),
          ),
          ...list(n, (i) => istio("VirtualService", `full-${i}`, { hosts: [`s-${i}`], http })),
          ...list(n, (i) => istio("VirtualService", `name-${i}`, { hosts: [nameOf(i)], http })),
          ...list(n, (i) => istio("VirtualService", `same-${i}`, { hosts: [nameOf(0)], http })),
        ],
        change: { object: istio("VirtualService", "r", { hosts: list(n, nameOf), http }) },
      };
    },
  },
  {
    title:
      "a BackendTLSPolicy for n Services hides the subset of n rules of the root namespace, to which n routes lead",
    world: (n) => {
      const names = list(n, (i) => `s-${i}`);
      return {
        objects: [
          ...names.flatMap((name) => [service(name), backendTlsPolicy(name)]),
          istio("VirtualService", "r", {
            hosts: names,
            http: names.map((name, i) => ({ match: matching(i), route: [to(name, "v1")] })),
          }),
        ],
        change: {
          object: manifest(
            networking,
            "DestinationRule",
            { namespace: "istio-system", name: "d" },
            { spec: { host: "*.shapes.svc.cluster.local", subsets: [{ name: "v1" }] } },
          ),
        },
      };
    },
  },
  {
    title: "a BackendTLSPolicy beside n DestinationRules for one host, of which only the newest counts",
    world: (n) => ({
      objects: [
        service("a"),
        ...list(n, (i) =>
          istio("DestinationRule", `d-${String(i).padStart(5, "0")}`, {
            host: "a",
            trafficPolicy: {
              tls: { mode: "ISTIO_MUTUAL", sni: `${i}` },
              portLevelSettings: list(4, (port) => ({ port: { number: 80 + port }, tls: { mode: "ISTIO_MUTUAL" } })),
            },
          }),
        ),
      ],
      change: { object: backendTlsPolicy("a") },
    }),
  },
  {
    title: "n http routes to the TLS ports of n Services, of which half have a DestinationRule with TLS",
    world: (n) => ({
      objects: [
        ...list(n, (i) =>
          manifest("v1", "Service", named(`s-${i}`), { spec: { ports: [{ name: "https", port: 443 }] } }),
        ),
        ...list(n / 2, (i) =>
          istio("DestinationRule", `d-${i}`, { host: `s-${2 * i}`, trafficPolicy: { tls: { mode: "SIMPLE" } } }),
        ),
      ],
      change: {
        object: istio("VirtualService", "r", {
          hosts: ["r.example.com"],
          http: list(n, (i) => ({
            match: matching(i),
            route: [{ destination: { host: `s-${i}`, port: { number: 443 } } }],
          })),
        }),
      },
    }),
  },
  {
    title: "n routes with CORS at a gateway of n workloads whose policy asks for tokens",
    world: (n) => ({
      objects: [
        namespace({}),
        ...list(n, workload),
        ...list(n, (i) => manifest("apps/v1", "Deployment", named(`g-${i}`), gatewayPods)),
        istio("Gateway", "g", {
          selector: { istio: "shapes" },
          servers: [{ port: { number: 80, name: "http", protocol: "HTTP" }, hosts: ["*"] }],
        }),
        manifest("security.istio.io/v1", "AuthorizationPolicy", named("tokens"), {
          spec: { rules: [{ from: [{ source: { requestPrincipals: ["*"] } }] }] },
        }),
      ],
      change: {
        object: istio("VirtualService", "r", {
          hosts: ["r.example.com"],
          gateways: ["g"],
          http: list(n, (i) => ({ match: matching(i), corsPolicy: {}, route: [to("s")] })),
        }),
      },
    }),
  },
  {
    title: "a DestinationRule with TLS at n ports that are for TLS, and n VirtualServices to other ports",
    world: (n) => ({
      objects: [
        istio("ServiceEntry", "e", {
          hosts: ["outside.shapes.example.com"],
          ports: list(n, (i) => ({ number: 1000 + i, name: `p-${i}`, protocol: "TLS" })),
        }),
        ...list(n, (i) =>
          istio("VirtualService", `r-${i}`, {
            hosts: [`r-${i}.example.com`],
            http: [{ route: [{ destination: { host: "outside.shapes.example.com", port: { number: 80 } } }] }],
          }),
        ),
      ],
      change: {
        object: istio("DestinationRule", "d", {
          host: "outside.shapes.example.com",
          trafficPolicy: { tls: { mode: "SIMPLE" } },
        }),
      },
    }),
  },
  {
    title: "a delegate with n routes, and VirtualServices that delegate to it for another path",
    world: (n) => ({
      objects: list(8, (i) =>
        istio("VirtualService", `r-${i}`, {
          hosts: [`r-${i}.example.com`],
          http: [{ match: [{ uri: { prefix: "/elsewhere" } }], delegate: { name: "d" } }],
        }),
      ),
      change: {
        object: istio("VirtualService", "d", { http: list(n, (i) => ({ match: matching(i), route: [to("a")] })) }),
      },
    }),
  },
  {
    title: "a delegate with n routes to a Service that has two ports, of which they name none",
    world: (n) => ({
      objects: [
        ...["a", ...list(8, (i) => `r-${i}`)].map((name) =>
          manifest("v1", "Service", named(name), {
            spec: { ports: (name === "a" ? [90, 91] : [80, 81]).map((port) => ({ name: `http-${port}`, port })) },
          }),
        ),
        ...list(8, (i) =>
          istio("VirtualService", `r-${i}`, { hosts: [`r-${i}`], http: [{ delegate: { name: "d" } }] }),
        ),
      ],
      change: {
        object: istio("VirtualService", "d", { http: list(n, (i) => ({ match: matching(i), route: [to("a")] })) }),
      },
    }),
  },
  {
    title: "a DestinationRule with mTLS for n subsets and ports, and n workloads without a sidecar",
    world: (n) => ({
      objects: [
        protectedNamespace,
        manifest("v1", "Service", named("m"), {
          spec: { selector: { app: "m" }, ports: list(n, (i) => ({ name: `tcp-${i}`, port: 1000 + i })) },
        }),
        ...list(n, (i) => {
          const labels = { app: "m", version: `v${i}`, "sidecar.istio.io/inject": "false" };
          return manifest("apps/v1", "Deployment", named(`m-${i}`), { spec: { template: { metadata: { labels } } } });
        }),
      ],
      change: {
        object: istio("DestinationRule", "m", {
          host: "m",
          trafficPolicy: {
            tls: { mode: "ISTIO_MUTUAL" },
            portLevelSettings: list(n, (i) => ({ port: { number: 1000 + 2 * i }, tls: { mode: "ISTIO_MUTUAL" } })),
          },
          subsets: list(n, (i) => ({
            name: `v${i}`,
            labels: { version: `v${i}` },
            trafficPolicy: { tls: { mode: "ISTIO_MUTUAL" } },
          })),
        }),
      },
    }),
  },
  {
    title: "n ports of databases that are declared as HTTP",
    world: (n) => ({
      objects: [protectedNamespace],
      change: {
        object: manifest("v1", "Service", named("db"), {
          spec: { ports: list(n, (i) => ({ name: `http-${i}`, port: 1000 + i, targetPort: 5432 })) },
        }),
      },
    }),
  },
  {
    title: "an HTTPRoute with n rules whose timeouts cut each other off",
    world: (n) => ({
      objects: [service("a")],
      change: {
        object: manifest("gateway.networking.k8s.io/v1", "HTTPRoute", named("r"), {
          spec: {
            parentRefs: [{ name: "g" }],
            rules: list(n, () => ({
              backendRefs: [{ name: "a", port: 80 }],
              timeouts: { backendRequest: "1s", request: "9s" },
            })),
          },
        }),
      },
    }),
  },
  {
    title: "n HTTPRoutes for some paths of one Service; one more",
    world: (n) => {
      const route = (i: number) =>
        manifest("gateway.networking.k8s.io/v1", "HTTPRoute", named(`r-${i}`), {
          spec: {
            parentRefs: [{ group: "", kind: "Service", name: "a" }],
            rules: [
              { matches: [{ path: { type: "PathPrefix", value: `/${i}` } }], backendRefs: [{ name: "a", port: 80 }] },
            ],
          },
        });
      const service = manifest("v1", "Service", named("a"), { spec: { ports: [{ name: "http", port: 80 }] } });
      return { objects: [service, ...list(n, route)], change: { object: route(n) } };
    },
  },
  {
    title: "an HTTPRoute with n rules with filters of an extension",
    world: (n) => ({
      objects: [service("a")],
      change: {
        object: manifest("gateway.networking.k8s.io/v1", "HTTPRoute", named("r"), {
          spec: {
            parentRefs: [{ group: "", kind: "Service", name: "a" }],
            rules: list(n, () => ({
              filters: [{ type: "ExtensionRef" }],
              backendRefs: [{ name: "a", port: 80, filters: [{ type: "ExtensionRef" }] }],
            })),
          },
        }),
      },
    }),
  },
  {
    title: "an HTTPRoute with n rules whose expressions Envoy cannot read",
    world: (n) => ({
      objects: [service("a")],
      change: {
        object: manifest("gateway.networking.k8s.io/v1", "HTTPRoute", named("r"), {
          spec: {
            parentRefs: [{ group: "", kind: "Service", name: "a" }],
            rules: list(n, () => ({
              matches: [{ path: { type: "RegularExpression", value: "(" } }],
              backendRefs: [{ name: "a", port: 80 }],
            })),
          },
        }),
      },
    }),
  },
  {
    title: "a VirtualService with n routes that mirror to their own destination",
    world: (n) => ({
      objects: [service("a")],
      change: {
        object: istio("VirtualService", "r", {
          hosts: ["a"],
          http: list(n, (i) => ({ match: matching(i), route: [to("a")], mirror: { host: "a" } })),
        }),
      },
    }),
  },
  {
    title: "a VirtualService with n routes that have faults, mirrors elsewhere and unsafe retries",
    world: (n) => ({
      objects: [protectedNamespace, service("a")],
      change: {
        object: istio("VirtualService", "r", {
          hosts: ["a"],
          http: list(n, (i) => ({
            match: matching(i),
            route: [to("a")],
            fault: { abort: { httpStatus: 500, percentage: { value: 1 } } },
            mirror: { host: "a.elsewhere.svc.cluster.local" },
            retries: { attempts: 2, retryOn: "5xx" },
          })),
        }),
      },
    }),
  },
  {
    title: "a VirtualService of which n routes move all requests at once",
    world: (n) => {
      const routes = (stable: number) =>
        istio("VirtualService", "r", {
          hosts: ["a"],
          http: list(n, (i) => ({
            match: matching(i),
            route: [
              { ...to("a", "v1"), weight: stable },
              { ...to("a", "v2"), weight: 100 - stable },
            ],
          })),
        });
      return { objects: [protectedNamespace, routes(100)], change: { old: routes(100), object: routes(0) } };
    },
  },
  {
    title: "a DestinationRule with n subsets without workloads, each with a route",
    world: (n) => ({
      objects: [
        protectedNamespace,
        service("a"),
        manifest("apps/v1", "Deployment", named("w"), {
          spec: { template: { metadata: { labels: { app: "app-0", version: "other" } }, spec: {} } },
        }),
        istio("VirtualService", "r", {
          hosts: ["a"],
          http: list(n, (i) => ({ match: matching(i), route: [to("a", `v${i}`)] })),
        }),
      ],
      change: {
        object: istio("DestinationRule", "d", {
          host: "a",
          subsets: list(n, (i) => ({ name: `v${i}`, labels: { version: `v${i}` } })),
        }),
      },
    }),
  },
  {
    title:
      "a DestinationRule with n subsets of the same n workloads, each with names that one of the workloads does not have",
    world: (n) => ({
      objects: [
        protectedNamespace,
        service("a"),
        ...list(n, (i) =>
          manifest("apps/v1", "Deployment", named(`w-${i}`), {
            spec: { template: { metadata: { labels: { app: "app-0" } }, spec: { serviceAccountName: `s-${i}` } } },
          }),
        ),
      ],
      change: {
        object: istio("DestinationRule", "d", {
          host: "a",
          subsets: list(n, (i) => ({
            name: `v${i}`,
            labels: { app: "app-0" },
            trafficPolicy: {
              tls: { mode: "ISTIO_MUTUAL", subjectAltNames: [`spiffe://cluster.local/ns/shapes/sa/s-${i}`] },
            },
          })),
        }),
      },
    }),
  },
  {
    title: "n DestinationRules for one wildcard with a subset that n Services below it have no workload for",
    world: (n) => ({
      objects: [
        protectedNamespace,
        ...list(n, (i) => service(`s-${i}`)),
        manifest("apps/v1", "Deployment", named("w"), {
          spec: { template: { metadata: { labels: { app: "app-0", version: "other" } }, spec: {} } },
        }),
        ...list(n, (i) =>
          istio("DestinationRule", `d-${i}`, {
            host: "*.shapes.svc.cluster.local",
            subsets: [{ name: "v1", labels: { version: "v1" } }],
          }),
        ),
      ],
      change: {
        object: istio("VirtualService", "r", {
          hosts: ["a"],
          http: list(n, (i) => ({ match: matching(i), route: [to(`s-${i}`, "v1")] })),
        }),
      },
    }),
  },
  {
    title: "a DestinationRule with n subsets without workloads, each with a route by one of n ExternalNames",
    world: (n) => ({
      objects: [
        service("a"),
        manifest("apps/v1", "Deployment", named("w"), {
          spec: { template: { metadata: { labels: { app: "app-0", version: "other" } }, spec: {} } },
        }),
        ...list(n, (i) =>
          manifest("v1", "Service", named(`n-${i}`), {
            spec: { type: "ExternalName", externalName: "a.shapes.svc.cluster.local" },
          }),
        ),
        istio("VirtualService", "r", {
          hosts: ["a"],
          http: list(n, (i) => ({ match: matching(i), route: [to(`n-${i}`, `v${i}`)] })),
        }),
      ],
      change: {
        object: istio("DestinationRule", "d", {
          host: "a",
          subsets: list(n, (i) => ({ name: `v${i}`, labels: { version: `v${i}` } })),
        }),
      },
    }),
  },
  {
    title: "a DestinationRule with TLS that is not verified at n ports",
    world: (n) => ({
      objects: [protectedNamespace],
      change: {
        object: istio("DestinationRule", "d", {
          host: "outside.example.com",
          trafficPolicy: {
            portLevelSettings: list(n, (i) => ({
              port: { number: 1000 + i },
              tls: { mode: "SIMPLE", insecureSkipVerify: true },
            })),
          },
        }),
      },
    }),
  },
  {
    title: "a ServiceEntry with n partial wildcards, n wide addresses and n TCP ports",
    world: (n) => ({
      objects: [protectedNamespace],
      change: {
        object: istio("ServiceEntry", "e", {
          hosts: list(n, (i) => `*-${i}.example.com`),
          addresses: list(n, (i) => `${i}.0.0.0/8`),
          resolution: "STATIC",
          ports: list(n, (i) => ({ number: 1000 + i, name: `p-${i}`, protocol: "TLS" })),
        }),
      },
    }),
  },
  {
    title: "a VirtualService with n tcp routes and n tls matches that others take, in the mesh and at a gateway",
    isMeshWide: true,
    world: (n) => {
      const hosts = list(n, (i) => `h-${i}.example.com`);
      const routes = (where: string) =>
        inNamespace("VirtualService", where, {
          hosts,
          gateways: ["mesh", "a/g"],
          tcp: list(n, (i) => ({ match: [{ port: 1000 + i }], route: [to("a")] })),
          tls: list(n, (i) => ({ match: [{ sniHosts: [`h-${i}.example.com`] }], route: [to("a")] })),
        });
      return {
        objects: [
          protectedNamespace,
          istio("Gateway", "g", {
            selector: { istio: "shapes" },
            servers: [
              { port: { number: 443, name: "tls", protocol: "TLS" }, hosts: ["*"], tls: { mode: "PASSTHROUGH" } },
              { port: { number: 1000, name: "tcp", protocol: "TCP" }, hosts: ["*"] },
            ],
          }),
          routes("a"),
        ],
        change: { object: routes("b") },
      };
    },
  },
  {
    title: "n ServiceEntries of one host, one more that is older",
    isMeshWide: true,
    world: (n) => {
      const entry = (where: string, number: number) =>
        inNamespace("ServiceEntry", where, {
          hosts: ["outside.example.com"],
          ports: [{ number, name: "p", protocol: number % 2 === 0 ? "TLS" : "HTTP" }],
        });
      return {
        objects: [protectedNamespace, ...list(n, (i) => entry(`n-${i}`, 80 + i))],
        change: { object: entry("a", 80) },
      };
    },
  },
  {
    title: "n Sidecars for n workloads, one more",
    world: (n) => {
      const sidecar = (i: number) => istio("Sidecar", `s-${i}`, { workloadSelector: { labels: { app: `app-${i}` } } });
      return {
        objects: [protectedNamespace, ...list(n, workload), ...list(n, sidecar)],
        change: { object: istio("Sidecar", "s", { workloadSelector: { labels: { app: "app-0" } } }) },
      };
    },
  },
  {
    title:
      "a Sidecar of n goes that hid n VirtualServices of other namespaces from n workloads: their routes lead nowhere",
    world: (n) => {
      const sidecar = (i: number) =>
        istio("Sidecar", `s-${i}`, {
          workloadSelector: { labels: { app: `app-${i}` } },
          egress: [{ hosts: ["./*"] }],
        });
      const old = istio("Sidecar", "x", { egress: [{ hosts: ["./*"] }] });
      return {
        objects: [
          protectedNamespace,
          old,
          ...list(n, (i) => workload(n + i)),
          ...list(n, sidecar),
          ...list(n, (i) => service(`s-${i}`)),
          ...list(n, (i) =>
            inNamespace("VirtualService", `web-${i}`, {
              hosts: [`s-${i}.shapes.svc.cluster.local`],
              http: list(4, (j) => ({ match: matching(j), route: [to("nothing", "v1")] })),
            }),
          ),
        ],
        change: { old },
      };
    },
  },
  {
    title: "a Sidecar that names n hosts of other namespaces, each with a VirtualService for it",
    world: (n) => {
      const hosts = list(n, (i) => `a.web-${i}.svc.cluster.local`);
      return {
        objects: [
          protectedNamespace,
          workload(0),
          ...hosts.map((host, i) =>
            inNamespace("VirtualService", `far-${i}`, { hosts: [host], http: [{ route: [to("nothing")] }] }),
          ),
        ],
        change: {
          old: istio("Sidecar", "s", { egress: [{ hosts: ["./*"] }] }),
          object: istio("Sidecar", "s", { egress: [{ hosts: hosts.map((host) => `*/${host}`) }] }),
        },
      };
    },
  },
  {
    title: "a Sidecar that hides n VirtualServices, n ServiceEntries and n DestinationRules",
    world: (n) => ({
      objects: [
        protectedNamespace,
        ...list(n, (i) =>
          istio("VirtualService", `r-${i}`, { hosts: [`a-${i}.shapes.example.com`], http: [{ route: [to("a")] }] }),
        ),
        ...list(n, (i) => istio("ServiceEntry", `e-${i}`, { hosts: [`b-${i}.example.com`] })),
        ...list(n, (i) => istio("DestinationRule", `d-${i}`, { host: `c-${i}.elsewhere.svc.cluster.local` })),
      ],
      change: { object: istio("Sidecar", "s", { egress: [{ hosts: ["./*.svc.cluster.local"] }] }) },
    }),
  },
  {
    title: "a Sidecar that hides n VirtualServices with subsets, and n services from DestinationRules without TLS",
    world: (n) => ({
      objects: [
        protectedNamespace,
        ...list(n, (i) =>
          istio("VirtualService", `r-${i}`, {
            hosts: [`s-${i}`],
            http: [{ route: [{ destination: { host: `s-${i}`, subset: "v1" } }] }],
          }),
        ),
        ...list(n, (i) => service(`s-${i}`)),
        ...list(n, (i) =>
          istio("DestinationRule", `d-${i}`, { host: `s-${i}`, trafficPolicy: { tls: { mode: "DISABLE" } } }),
        ),
      ],
      change: { object: istio("Sidecar", "s", { egress: [{ hosts: ["elsewhere/*"] }] }) },
    }),
  },
  {
    title: "a Service whose host n VirtualServices route, which is deleted",
    world: (n) => ({
      objects: [
        protectedNamespace,
        service("a"),
        ...list(n, (i) => istio("VirtualService", `r-${i}`, { hosts: ["a"], http: [{ route: [to("b")] }] })),
      ],
      change: { old: service("a") },
    }),
  },
  {
    title: "a VirtualService with n routes to delegates that are missing, private or none",
    world: (n) => ({
      objects: [
        protectedNamespace,
        ...list(n, (i) =>
          istio("VirtualService", `d-${i}`, {
            ...(i % 2 === 0 ? { hosts: [`d-${i}.example.com`] } : {}),
            http: [{ route: [to("a")] }],
          }),
        ),
      ],
      change: {
        object: istio("VirtualService", "r", {
          hosts: ["a"],
          http: list(2 * n, (i) => ({ match: matching(i), delegate: { name: `d-${i}` } })),
        }),
      },
    }),
  },
  {
    title: "a route of the Gateway API with n hostnames of another owner",
    world: (n) => ({
      objects: [
        protectedNamespace,
        manifest("gateway.networking.k8s.io/v1", "Gateway", named("g"), {
          spec: {
            gatewayClassName: "istio",
            listeners: [{ name: "l", port: 80, protocol: "HTTP", hostname: "*.owned.example.com" }],
          },
        }),
      ],
      change: {
        object: manifest("gateway.networking.k8s.io/v1", "HTTPRoute", named("r"), {
          spec: { parentRefs: [{ name: "g" }], hostnames: list(n, (i) => `a-${i}.owned.example.com`) },
        }),
      },
    }),
  },
  {
    title: "a VirtualService with n hosts of another owner",
    world: (n) => ({
      objects: [protectedNamespace],
      change: {
        object: istio("VirtualService", "r", {
          hosts: list(n, (i) => `a-${i}.owned.example.com`),
          gateways: ["ingress/public"],
          http: [{ route: [to("a")] }],
        }),
      },
    }),
  },
  {
    title: "a VirtualService with n matches for a port that its Service does not have",
    world: (n) => ({
      objects: [protectedNamespace, service("a")],
      change: {
        object: istio("VirtualService", "r", {
          hosts: ["a"],
          http: list(n, (i) => ({ match: [{ uri: { exact: `/${i}` }, port: 1000 + i }], route: [to("a")] })),
        }),
      },
    }),
  },
  {
    title: "a DestinationRule with settings for n ports that its Service does not have, and failover without detection",
    world: (n) => ({
      objects: [protectedNamespace, service("a")],
      change: {
        object: istio("DestinationRule", "d", {
          host: "a",
          trafficPolicy: {
            portLevelSettings: list(n, (i) => ({
              port: { number: 1000 + i },
              loadBalancer: { localityLbSetting: {} },
            })),
          },
        }),
      },
    }),
  },
  {
    title: "n DestinationRules for one host, with failover without detection",
    world: (n) => ({
      objects: [
        protectedNamespace,
        service("a"),
        ...list(n, (i) =>
          istio("DestinationRule", `d-${i}`, {
            host: "a",
            trafficPolicy: { loadBalancer: { localityLbSetting: {} } },
          }),
        ),
      ],
      change: {
        object: istio("DestinationRule", "d", {
          host: "a",
          trafficPolicy: { loadBalancer: { localityLbSetting: {} } },
        }),
      },
    }),
  },
  {
    title: "a ServiceEntry with n hosts and no endpoint, exported to n namespaces that do not exist",
    world: (n) => ({
      objects: [protectedNamespace],
      change: {
        object: istio("ServiceEntry", "e", {
          hosts: list(n, (i) => `a-${i}.example.com`),
          exportTo: list(n, (i) => `nowhere-${i}`),
          ports: [{ number: 443, name: "tls", protocol: "TLS" }],
          resolution: "STATIC",
        }),
      },
    }),
  },
  {
    title: "a ServiceEntry with n hosts outside the mesh, for which settings for the port hide TLS",
    // Clients of other namespaces use the DestinationRules there for the same hosts.
    isMeshWide: true,
    world: (n) => ({
      objects: [
        protectedNamespace,
        istio("DestinationRule", "r", {
          host: "*.example.com",
          trafficPolicy: { tls: { mode: "SIMPLE" }, portLevelSettings: [{ port: { number: 80 } }] },
        }),
      ],
      change: {
        object: istio("ServiceEntry", "e", {
          hosts: list(n, (i) => `a-${i}.example.com`),
          ports: [{ number: 80, name: "http", protocol: "HTTP", targetPort: 443 }],
          resolution: "DNS",
        }),
      },
    }),
  },
  {
    title: "n ServiceEntries without endpoints for one host, in n namespaces",
    world: (n) => {
      const entry = (where: string) =>
        inNamespace("ServiceEntry", where, {
          hosts: ["a.example.com"],
          ports: [{ number: 443, name: "tls", protocol: "TLS" }],
          resolution: "STATIC",
        });
      return {
        objects: [protectedNamespace, ...list(n, (i) => entry(`team-${i}`))],
        change: { object: entry("other") },
      };
    },
  },
  {
    title: "n VirtualServices of n namespaces for one Service, each for other clients",
    world: (n) => ({
      objects: [
        protectedNamespace,
        ...list(n, (i) =>
          inNamespace("VirtualService", `team-${i}`, {
            hosts: [`a.${named("x").namespace}.svc.cluster.local`],
            exportTo: [`client-${i}`],
            http: [{ route: [to("b.example.com")] }],
          }),
        ),
      ],
      change: { object: service("a") },
    }),
  },
  {
    title: "a Sidecar with n hosts that do not exist",
    world: (n) => ({
      objects: [protectedNamespace, service("a")],
      change: {
        object: istio("Sidecar", "s", {
          egress: [{ hosts: list(n, (i) => `./missing-${i}.shapes.svc.cluster.local`) }],
        }),
      },
    }),
  },
  {
    title: "a VirtualService with n prefixes that are replaced without their slash",
    world: (n) => ({
      objects: [protectedNamespace],
      change: {
        object: istio("VirtualService", "v", {
          hosts: ["v.example.com"],
          gateways: ["g"],
          http: list(n, (i) => ({ match: [{ uri: { prefix: `/p-${i}` } }], rewrite: { uri: "/" }, route: [to("a")] })),
        }),
      },
    }),
  },
  {
    title: "a VirtualService at a gateway for n hosts, whose requests n others divide",
    world: (n) => ({
      objects: [
        protectedNamespace,
        ...list(n, (i) => service(`s-${i}`)),
        ...list(n, (i) =>
          istio("VirtualService", `split-${i}`, { hosts: [`s-${i}`], http: [{ route: [to("a"), to("b")] }] }),
        ),
      ],
      change: {
        object: istio("VirtualService", "v", {
          hosts: ["v.example.com"],
          gateways: ["g"],
          http: list(n, (i) => ({ match: matching(i), route: [to(`s-${i}`)] })),
        }),
      },
    }),
  },
  {
    title: "a namespace with n workloads and n Sidecars for them becomes ambient",
    world: (n) => ({
      objects: [
        namespace({}),
        ...list(n, workload),
        ...list(n, (i) => istio("Sidecar", `s-${i}`, { workloadSelector: { labels: { app: `app-${i}` } } })),
      ],
      change: { old: namespace({}), object: namespace({ "istio.io/dataplane-mode": "ambient" }) },
    }),
  },
  {
    title: "a VirtualService with n routes to n aliases of hosts without the port",
    world: (n) => ({
      objects: [
        protectedNamespace,
        ...list(n, (i) => service(`s-${i}`)),
        ...list(n, (i) =>
          manifest("v1", "Service", named(`alias-${i}`), {
            spec: { type: "ExternalName", externalName: `s-${i}.shapes.svc.cluster.local`, ports: [{ port: 81 }] },
          }),
        ),
      ],
      change: {
        object: istio("VirtualService", "v", {
          hosts: ["v.example.com"],
          gateways: ["g"],
          http: list(n, (i) => ({ match: matching(i), route: [to(`alias-${i}`)] })),
        }),
      },
    }),
  },
  {
    title: "a VirtualService with n routes of a gateway to n hosts without addresses",
    world: (n) => ({
      objects: [
        protectedNamespace,
        ...list(n, (i) =>
          istio("ServiceEntry", `e-${i}`, {
            hosts: [`e-${i}.shapes.example.com`],
            ports: [{ number: 80, name: "http" }],
          }),
        ),
      ],
      change: {
        object: istio("VirtualService", "v", {
          hosts: ["v.example.com"],
          gateways: ["g"],
          http: list(n, (i) => ({
            match: matching(i),
            route: [{ destination: { host: `e-${i}.shapes.example.com`, port: { number: 80 } } }],
          })),
        }),
      },
    }),
  },
  {
    title: "a VirtualService with n routes, each to two Services for the same pods",
    world: (n) => ({
      objects: [
        protectedNamespace,
        ...list(2 * n, (i) =>
          manifest("v1", "Service", named(`s-${i}`), {
            spec: {
              selector: { app: "app", ...(i % 2 === 0 ? {} : { version: "v2" }) },
              ports: [{ name: "http", port: 80 }],
            },
          }),
        ),
      ],
      change: {
        object: istio("VirtualService", "v", {
          hosts: ["v.example.com"],
          gateways: ["g"],
          http: list(n, (i) => ({
            match: matching(i),
            route: [
              { ...to(`s-${2 * i}`), weight: 50 },
              { ...to(`s-${2 * i + 1}`), weight: 50 },
            ],
          })),
        }),
      },
    }),
  },
];
