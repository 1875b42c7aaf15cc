import { manifest, type Raw } from "../bench/mesh.ts";
import { type CostShape, list, named, namespace, policy } from "./cost-shapes.ts";

const enrolled = namespace({ "istio-injection": "enabled" });
const gateway = (name: string, servers: readonly object[], selector: object = { istio: "shapes" }): Raw =>
  manifest("networking.istio.io/v1", "Gateway", named(name), { spec: { selector, servers } });
const server = (i: number, hosts: readonly string[], more: object = {}) => ({
  port: { number: 443, name: `https-${i}`, protocol: "HTTPS" },
  hosts,
  tls: { mode: "SIMPLE", credentialName: "shapes" },
  ...more,
});
const plain = (i: number, hosts: readonly string[]) => ({
  port: { number: 80, name: `http-${i}`, protocol: "HTTP" },
  hosts,
});
const virtualService = (name: string, spec: object): Raw =>
  manifest("networking.istio.io/v1", "VirtualService", named(name), { spec });
const passing = { port: { number: 443, name: "tls", protocol: "TLS" }, hosts: ["*"], tls: { mode: "PASSTHROUGH" } };
const passedOn = (name: string, host: string) => ({
  hosts: [host],
  gateways: [name],
  tls: [{ match: [{ sniHosts: [host] }], route: [{ destination: { host: "a" } }] }],
});
const http = [{ route: [{ destination: { host: "a" } }] }];
const route = (spec: object): Raw => manifest("gateway.networking.k8s.io/v1", "HTTPRoute", named("r"), { spec });
const listener = (i: number, hostname: string) => ({ name: `l-${i}`, port: 80, protocol: "HTTP", hostname });
const kubernetesGateway = (name: string, listeners: readonly object[]): Raw =>
  manifest("gateway.networking.k8s.io/v1", "Gateway", named(name), { spec: { gatewayClassName: "istio", listeners } });
const waypoint = (name: string, annotations: object = {}): Raw =>
  manifest(
    "gateway.networking.k8s.io/v1",
    "Gateway",
    { ...named(name), annotations: { "gateway.istio.io/service-account": "shapes", ...annotations } },
    { spec: { gatewayClassName: "istio-waypoint" } },
  );
const gatewayName = "gateway.networking.k8s.io/gateway-name";
const backendTlsPolicy = (name: string, targetRefs: readonly object[]): Raw =>
  manifest("gateway.networking.k8s.io/v1", "BackendTLSPolicy", named(name), {
    spec: { targetRefs, validation: { hostname: "shapes.example.com", wellKnownCACertificates: "System" } },
  });
const telemetry = (spec: object): Raw => manifest("telemetry.istio.io/v1", "Telemetry", named("t"), { spec });
const logged = { accessLogging: [{ providers: [{ name: "envoy" }] }] };
const unlogged = { accessLogging: [{ providers: [{ name: "envoy" }], disabled: true }] };
const meshConfig = (mesh: string): Raw =>
  manifest("v1", "ConfigMap", { namespace: "istio-system", name: "istio" }, { data: { mesh } });
const service = (i: number): Raw =>
  manifest("v1", "Service", named(`s-${i}`), {
    spec: { selector: { app: "app" }, ports: [{ name: `tcp-${i}`, port: 1000 + i }] },
  });
const gatewayPods = (name: string, istio: string): Raw =>
  manifest("apps/v1", "Deployment", named(name), {
    spec: {
      template: {
        metadata: { labels: { istio }, annotations: { "inject.istio.io/templates": "gateway" } },
        spec: { containers: [{ name: "istio-proxy", image: "auto" }] },
      },
    },
  });
const ingress = gatewayPods("ingress", "shapes");
const kubernetesIngress = (name: string, rules: number): Raw =>
  manifest(
    "networking.k8s.io/v1",
    "Ingress",
    { ...named(name), annotations: { "kubernetes.io/ingress.class": "istio" } },
    {
      spec: {
        rules: list(rules, (i) => ({
          host: `h-${i}.example.com`,
          http: {
            paths: [{ path: "/", pathType: "Prefix", backend: { service: { name: "none", port: { number: 80 } } } }],
          },
        })),
      },
    },
  );
const noRoute = { parentRefs: [{ name: "g" }], rules: [{ backendRefs: [{ name: "s-0", port: 1000 }] }] };

const toOne = (host: string) => ({ gateways: ["g"], http: [{ route: [{ destination: { host } }] }] });
const authentication = (name: string, matchLabels: object): Raw =>
  manifest("security.istio.io/v1", "RequestAuthentication", named(name), {
    spec: { selector: { matchLabels }, jwtRules: [{ issuer: "https://login.example.com" }] },
  });

/** Worlds with many gateways, servers, listeners and routes. */
export const gatewayShapes: readonly CostShape[] = [
  {
    title: "n Gateways of one proxy with hosts of their own, one comes with the host of another",
    world: (n) => ({
      objects: [namespace({}), ...list(n, (i) => gateway(`g-${i}`, [server(0, [`h-${i}.shapes.example.com`])]))],
      change: { object: gateway("new", [server(0, ["h-1.shapes.example.com"])]) },
    }),
  },
  {
    title: "n Gateways of one proxy for one host",
    world: (n) => ({
      objects: [namespace({}), ...list(n, (i) => gateway(`g-${i}`, [server(0, ["one.shapes.example.com"])]))],
      change: { object: gateway("new", [server(0, ["one.shapes.example.com"])]) },
    }),
  },
  {
    title: "n VirtualServices whose names a Gateway passes through, and another one ends TLS for the name of the next",
    // Gateways of all namespaces are at one proxy, and names are compared there.
    isMeshWide: true,
    world: (n) => ({
      objects: [
        namespace({}),
        gateway("passing", [passing]),
        gateway("ending", [server(0, ["new.shapes.example.com"])]),
        ...list(n, (i) => virtualService(`v-${i}`, passedOn("passing", `h-${i}.shapes.example.com`))),
      ],
      change: { object: virtualService("new", passedOn("passing", "new.shapes.example.com")) },
    }),
  },
  {
    title: "n VirtualServices of n Gateways that pass one name through, and a Gateway that ends TLS for it",
    // Gateways of all namespaces are at one proxy, and names are compared there.
    isMeshWide: true,
    world: (n) => ({
      objects: [
        namespace({}),
        ...list(n, (i) => gateway(`g-${i}`, [passing], i === 0 ? { istio: "shapes" } : { istio: `other-${i}` })),
        ...list(n, (i) => virtualService(`v-${i}`, passedOn(`g-${i}`, "new.shapes.example.com"))),
      ],
      change: { object: gateway("new", [server(0, ["new.shapes.example.com"])]) },
    }),
  },
  {
    title: "a Gateway with n servers for the same n hosts, plain and with TLS",
    n: 12,
    most: 4.4,
    world: (n) => ({
      objects: [namespace({})],
      change: {
        object: gateway("new", [
          ...list(n, (i) =>
            server(
              i,
              list(n, (j) => `h-${j}.shapes.example.com`),
            ),
          ),
          ...list(n, (i) => plain(i, ["*", ...list(n, (j) => `h-${j}.shapes.example.com`)])),
        ]),
      },
    }),
  },
  {
    title: "a VirtualService with n gateways that do not exist",
    world: (n) => ({
      objects: [namespace({})],
      change: {
        object: virtualService("v", { hosts: ["a.shapes.example.com"], gateways: list(n, (i) => `g-${i}`), http }),
      },
    }),
  },
  {
    title: "a VirtualService without gateways for n hosts that n Gateways offer",
    world: (n) => ({
      objects: [enrolled, ...list(n, (i) => gateway(`g-${i}`, [plain(0, [`./h-${i}.example.com`])]))],
      change: { object: virtualService("v", { hosts: list(n, (i) => `h-${i}.example.com`), http }) },
    }),
  },
  {
    title: "a VirtualService with n hosts and n gateways that offer the first one",
    n: 12,
    most: 4.4,
    world: (n) => ({
      objects: [namespace({}), ...list(n, (i) => gateway(`g-${i}`, [plain(0, ["h-0.shapes.example.com"])]))],
      change: {
        object: virtualService("v", {
          hosts: list(n, (i) => `h-${i}.shapes.example.com`),
          gateways: list(n, (i) => `g-${i}`),
          http,
        }),
      },
    }),
  },
  {
    title: "a route with n parents and n backends that do not exist",
    world: (n) => ({
      objects: [namespace({}), service(0)],
      change: {
        object: route({
          parentRefs: list(n, (i) => ({ name: `g-${i}` })),
          rules: [
            { backendRefs: list(n, (i) => ({ name: `b-${i}`, namespace: "other", port: 80, weight: 1 })) },
            ...list(n, () => ({ backendRefs: [] })),
          ],
        }),
      },
    }),
  },
  {
    title: "a Gateway with n certificates in another namespace, and one of n ReferenceGrants goes",
    world(n) {
      const grant = (i: number): Raw =>
        manifest(
          "gateway.networking.k8s.io/v1beta1",
          "ReferenceGrant",
          { name: `shapes-${i}`, namespace: "shapes-certs" },
          {
            spec: {
              from: [{ group: "gateway.networking.k8s.io", kind: "Gateway", namespace: "shapes" }],
              to: [{ group: "", kind: "Secret", name: `shapes-${i}` }],
            },
          },
        );
      const secured = (i: number) => ({
        ...listener(i, `l-${i}.example.com`),
        protocol: "HTTPS",
        tls: { certificateRefs: [{ name: `shapes-${i}`, namespace: "shapes-certs" }] },
      });
      const used = grant(0);
      const gate = kubernetesGateway(
        "g",
        Array.from({ length: Math.min(n, 64) }, (_, i) => secured(i)),
      );
      return { objects: [gate, ...list(n, (i) => grant(i + 1)), used], change: { old: used } };
    },
  },
  {
    title: "n ReferenceGrants for Services of their own and n routes to others, and one grant goes",
    world(n) {
      const grant = (i: number): Raw =>
        manifest(
          "gateway.networking.k8s.io/v1beta1",
          "ReferenceGrant",
          { namespace: "shapes-backends", name: `g-${i}` },
          {
            spec: {
              from: [{ group: "gateway.networking.k8s.io", kind: "HTTPRoute", namespace: "shapes" }],
              to: [{ group: "", kind: "Service", name: `s-${i}` }],
            },
          },
        );
      const route = (i: number): Raw =>
        manifest("gateway.networking.k8s.io/v1", "HTTPRoute", named(`r-${i}`), {
          spec: {
            parentRefs: [{ name: "g" }],
            rules: [{ backendRefs: [{ name: `s-${i}`, namespace: "shapes-backends", port: 80 }] }],
          },
        });
      const last = grant(n);
      return { objects: [...list(n, grant), ...list(n, route), route(n), last], change: { old: last } };
    },
  },
  {
    title:
      "a Gateway with n listeners whose certificates are in another namespace, and the ReferenceGrant for them goes",
    world(n) {
      const names = { name: "certificates", namespace: "shapes-backends" };
      const from = [{ group: "gateway.networking.k8s.io", kind: "Gateway", namespace: "shapes" }];
      const grant = manifest("gateway.networking.k8s.io/v1beta1", "ReferenceGrant", names, {
        spec: { from, to: [{ group: "", kind: "Secret" }] },
      });
      const listeners = list(n, (i) => ({
        name: `l-${i}`,
        port: 443,
        protocol: "HTTPS",
        hostname: `h-${i}.shapes.example.com`,
        tls: { mode: "Terminate", certificateRefs: [{ name: "c", namespace: "shapes-backends" }] },
      }));
      return { objects: [namespace({}), kubernetesGateway("g", listeners), grant], change: { old: grant } };
    },
  },
  {
    title: "n ListenerSets of one Gateway, each with a route, and its only listener takes the host of one",
    world(n) {
      const opened = (hostname: string): Raw =>
        manifest("gateway.networking.k8s.io/v1", "Gateway", named("g"), {
          spec: {
            gatewayClassName: "istio",
            allowedListeners: { namespaces: { from: "All" } },
            listeners: [listener(0, hostname)],
          },
        });
      const sets = list(n, (i) =>
        manifest("gateway.networking.k8s.io/v1", "ListenerSet", named(`s-${i}`), {
          spec: { parentRef: { name: "g" }, listeners: [listener(0, `h-${i}.shapes.example.com`)] },
        }),
      );
      const routes = list(n, (i) =>
        manifest("gateway.networking.k8s.io/v1", "HTTPRoute", named(`r-${i}`), {
          spec: { ...noRoute, parentRefs: [{ kind: "ListenerSet", name: `s-${i}` }] },
        }),
      );
      const old = opened("own.shapes.example.com");
      return {
        objects: [namespace({}), service(0), old, ...sets, ...routes],
        change: { old, object: opened("h-1.shapes.example.com") },
      };
    },
  },
  {
    title: "n HTTPRoutes for one host at one Gateway, whose rules an older one takes",
    world: (n) => {
      const one = (i: number, path: string): Raw =>
        manifest("gateway.networking.k8s.io/v1", "HTTPRoute", named(`r-${i}`), {
          spec: {
            parentRefs: [{ name: "g" }],
            hostnames: ["one.shapes.example.com"],
            rules: [{ matches: [{ path: { value: path } }], backendRefs: [{ name: "s-0", port: 1000 }] }],
          },
        });
      const gateways = [kubernetesGateway("g", [{ name: "http", port: 80, protocol: "HTTP" }])];
      return {
        objects: [namespace({}), service(0), ...gateways, ...list(n, (i) => one(i, `/${i}`))],
        change: { old: one(0, "/0"), object: one(0, "/") },
      };
    },
  },
  {
    title: "n HTTPRoutes for one host at one Gateway, which redirect requests to their own URL",
    world: (n) => {
      const one = (i: number, statusCode: number): Raw =>
        manifest("gateway.networking.k8s.io/v1", "HTTPRoute", named(`r-${i}`), {
          spec: {
            parentRefs: [{ name: "g" }],
            hostnames: ["one.shapes.example.com"],
            rules: [
              {
                matches: [{ path: { value: `/${i}` } }],
                filters: [{ type: "RequestRedirect", requestRedirect: { scheme: "http", statusCode } }],
              },
            ],
          },
        });
      const gateways = [kubernetesGateway("g", [{ name: "http", port: 80, protocol: "HTTP" }])];
      return {
        objects: [namespace({}), ...gateways, ...list(n, (i) => one(i, 301))],
        change: { old: one(0, 301), object: one(0, 302) },
      };
    },
  },
  {
    title: "a VirtualService with n redirects at n Gateways",
    world: (n) => ({
      objects: [
        namespace({}),
        ...list(n, (i) =>
          gateway(`g-${i}`, [server(0, ["one.shapes.example.com"]), plain(1, ["one.shapes.example.com"])]),
        ),
      ],
      change: {
        object: virtualService("v", {
          hosts: ["one.shapes.example.com"],
          gateways: list(n, (i) => `g-${i}`),
          http: list(n, (i) => ({ match: [{ uri: { exact: `/${i}` } }], redirect: { scheme: "https" } })),
        }),
      },
    }),
  },
  {
    title: "a VirtualService with n hosts moves from a gateway of n policies to one without",
    world: (n) => {
      const of = (name: string) =>
        virtualService("v", { hosts: list(n, (i) => `h-${i}.shapes.example.com`), gateways: [name], http });
      const [old, object] = [of("guarded"), of("open")];
      return {
        objects: [
          namespace({ "istio-injection": "enabled", "meshward.io/protected": "true" }),
          ingress,
          gateway("guarded", [plain(0, ["*"])]),
          gatewayPods("open", "shapes-open"),
          gateway("open", [plain(0, ["*"])], { istio: "shapes-open" }),
          ...list(n, (i) =>
            policy(`p-${i}`, {
              selector: { matchLabels: { istio: "shapes" } },
              rules: [{ to: [{ operation: { hosts: [`h-${i}.shapes.example.com`], methods: ["GET"] } }] }],
            }),
          ),
          old,
        ],
        change: { old, object },
      };
    },
  },
  {
    title: "a route with n hosts for a Gateway with n listeners for others, and one that allows nobody",
    n: 12,
    most: 4.4,
    world: (n) => ({
      objects: [
        namespace({}),
        service(0),
        kubernetesGateway("g", [
          ...list(n, (i) => listener(i, `l-${i}.shapes.example.com`)),
          listener(n, "h-0.shapes.example.com"),
        ]),
        kubernetesGateway("other", [{ name: "tcp", port: 80, protocol: "TCP" }]),
      ],
      change: {
        object: route({
          ...noRoute,
          parentRefs: [{ name: "g" }, { name: "g", sectionName: "l-0" }, { name: "other" }],
          hostnames: list(n, (i) => `h-${i}.shapes.example.com`),
        }),
      },
    }),
  },
  {
    title: "n TCPRoutes at one listener and n at a ListenerSet each, one more",
    world: (n) => {
      const db = [{ name: "db", port: 5432, protocol: "TCP" }];
      const set = (i: number): Raw =>
        manifest("gateway.networking.k8s.io/v1", "ListenerSet", named(`set-${i}`), {
          spec: { parentRef: { name: "g" }, listeners: [{ name: "db", port: 6000 + i, protocol: "TCP" }] },
        });
      const tcpRoute = (name: string, parents: readonly object[]): Raw =>
        manifest("gateway.networking.k8s.io/v1", "TCPRoute", named(name), {
          spec: { parentRefs: parents, rules: [{ backendRefs: [{ name: "s-0", port: 1000 }] }] },
        });
      return {
        objects: [
          namespace({}),
          manifest("gateway.networking.k8s.io/v1", "Gateway", named("g"), {
            spec: {
              gatewayClassName: "istio",
              listeners: db,
              allowedListeners: { namespaces: { from: "Same" } },
            },
          }),
          ...list(n, set),
          ...list(n, (i) => tcpRoute(`r-${i}`, [{ name: "g" }])),
          ...list(n, (i) => tcpRoute(`t-${i}`, [{ kind: "ListenerSet", name: `set-${i}` }])),
        ],
        change: { object: tcpRoute("changed", [{ name: "g" }]) },
      };
    },
  },
  {
    title: "n WasmPlugins for a Gateway that does not exist, one more with n such targets",
    world: (n) => {
      const plugin = (name: string, count: number): Raw =>
        manifest("extensions.istio.io/v1alpha1", "WasmPlugin", named(name), {
          spec: {
            targetRefs: list(count, (i) => ({
              group: "gateway.networking.k8s.io",
              kind: "Gateway",
              name: `gone-${i}`,
            })),
          },
        });
      return {
        objects: [
          namespace({}),
          kubernetesGateway("g", [listener(0, "h.example.com")]),
          ...list(n, (i) => plugin(`p-${i}`, 1)),
        ],
        change: { object: plugin("changed", n) },
      };
    },
  },
  {
    title: "a BackendTLSPolicy with n targets that do not exist, and n others for one Service",
    world: (n) => ({
      objects: [
        namespace({}),
        service(0),
        ...list(n, (i) =>
          backendTlsPolicy(`b-${String(i).padStart(5, "0")}`, [{ group: "", kind: "Service", name: "s-0" }]),
        ),
      ],
      change: {
        object: backendTlsPolicy("changed", [
          { group: "", kind: "Service", name: "s-0" },
          ...list(n, (i) => ({ group: "", kind: "Service", name: `gone-${i}` })),
        ]),
      },
    }),
  },
  {
    title: "n Services of one STRICT workload have a BackendTLSPolicy each, and its PeerAuthentication changes",
    world: (n) => {
      const strict = (mode: string) =>
        manifest("security.istio.io/v1", "PeerAuthentication", named("default"), { spec: { mtls: { mode } } });
      return {
        objects: [
          namespace({ "istio-injection": "enabled" }),
          manifest("apps/v1", "Deployment", named("w"), {
            spec: {
              selector: { matchLabels: { app: "w" } },
              template: { metadata: { labels: { app: "w" } }, spec: { containers: [{ name: "w", image: "w" }] } },
            },
          }),
          ...list(n, (i) =>
            manifest("v1", "Service", named(`t-${i}`), {
              spec: { selector: { app: "w" }, ports: [{ name: "https", port: 443 }] },
            }),
          ),
          ...list(n, (i) => backendTlsPolicy(`b-${i}`, [{ group: "", kind: "Service", name: `t-${i}` }])),
        ],
        change: { old: strict("PERMISSIVE"), object: strict("STRICT") },
      };
    },
  },
  {
    title: "a VirtualService with n routes that retry, and whose faults come first",
    world: (n) => ({
      objects: [namespace({}), service(0)],
      change: {
        object: virtualService("v", {
          hosts: ["s-0"],
          http: list(n, (i) => ({
            match: [{ uri: { exact: `/${i}` } }],
            fault: { abort: { httpStatus: 503, percentage: { value: 1 } } },
            retries: { attempts: 2 },
            route: [{ destination: { host: "s-0" } }],
          })),
        }),
      },
    }),
  },
  {
    title: "a Telemetry with n providers that the mesh config with n providers does not have",
    world: (n) => ({
      objects: [namespace({}), meshConfig(`extensionProviders: [${list(n, (i) => `{ name: p-${i} }`).join(", ")}]`)],
      change: {
        object: telemetry({
          accessLogging: [{ providers: list(n, (i) => ({ name: `q-${i}` })) }],
          tracing: list(n, () => ({ randomSamplingPercentage: 100 })),
        }),
      },
    }),
  },
  {
    title: "n Telemetries name no provider, and that of their namespace no longer does",
    world: (n) => ({
      objects: [
        namespace({}),
        meshConfig("accessLogFile: /dev/stdout"),
        ...list(n, (i) =>
          manifest("telemetry.istio.io/v1", "Telemetry", named(`t-${i}`), {
            spec: { selector: { matchLabels: { app: `a-${i}` } }, accessLogging: [{ disabled: true }] },
          }),
        ),
      ],
      change: {
        old: telemetry({ accessLogging: [{ providers: [{ name: "envoy" }] }] }),
        object: telemetry({ accessLogging: [{ disabled: false }] }),
      },
    }),
  },
  {
    title: "a Telemetry with n providers whose services do not exist, and n Services in their namespace",
    world: (n) => ({
      objects: [
        namespace({}),
        meshConfig(
          `extensionProviders: [${list(n, (i) => `{ name: p-${i}, zipkin: { service: z-${i}.shapes.svc.cluster.local } }`).join(", ")}]`,
        ),
        ...list(n, service),
      ],
      change: {
        object: telemetry({ accessLogging: [{ providers: list(n, (i) => ({ name: `p-${i}` })) }] }),
      },
    }),
  },
  {
    title: "n claims that none of n RequestAuthentications verifies at n Gateways",
    // A Gateway selects pods of every namespace.
    isMeshWide: true,
    world: (n) => ({
      objects: [
        namespace({}),
        ...list(n, (i) => gateway(`g-${i}`, [plain(0, ["*"])])),
        ...list(n, (i) =>
          manifest("security.istio.io/v1", "RequestAuthentication", named(`r-${i}`), {
            spec: { selector: { matchLabels: { istio: `other-${i}` } }, jwtRules: [{ issuer: "shapes" }] },
          }),
        ),
      ],
      change: {
        object: virtualService("claims", {
          hosts: ["shapes.example.com"],
          gateways: list(n, (i) => `g-${i}`),
          http: list(n, (i) => ({
            match: [{ headers: { [`@request.auth.claims.c-${i}`]: { exact: "a" } } }],
            route: [{ destination: { host: "a" } }],
          })),
        }),
      },
    }),
  },
  {
    title: "a Service with n annotations that are nearly Istio's",
    world: (n) => ({
      objects: [namespace({})],
      change: {
        object: manifest(
          "v1",
          "Service",
          {
            ...named("misspelt"),
            annotations: Object.fromEntries(list(n, (i) => [`sidecar-${i}.istio.io/proxyCPULimit`, "1"])),
          },
          { spec: { ports: [{ port: 80 }] } },
        ),
      },
    }),
  },
  {
    title: "a VirtualService with n paths that contain a wildcard",
    world: (n) => ({
      objects: [namespace({})],
      change: {
        object: virtualService("paths", {
          hosts: ["shapes.example.com"],
          http: list(n, (i) => ({
            match: [{ uri: { prefix: `/p-${i}/*` } }],
            route: [{ destination: { host: "a" } }],
          })),
        }),
      },
    }),
  },
  {
    title: "an EnvoyFilter with n patches that ask for an old name",
    world: (n) => ({
      objects: [namespace({})],
      change: {
        object: manifest("networking.istio.io/v1alpha3", "EnvoyFilter", named("old"), {
          spec: {
            configPatches: list(n, () => ({
              applyTo: "HTTP_FILTER",
              match: { listener: { filterChain: { filter: { name: "envoy.http_connection_manager" } } } },
              patch: { operation: "REMOVE" },
            })),
          },
        }),
      },
    }),
  },
  {
    title: "an EnvoyFilter with n patches that istiod ignores",
    world: (n) => ({
      objects: [namespace({})],
      change: {
        object: manifest("networking.istio.io/v1alpha3", "EnvoyFilter", named("ignored"), {
          spec: {
            configPatches: list(n, () => ({ applyTo: "HTTP_FILTER", patch: { operation: "REMOVE" } })),
          },
        }),
      },
    }),
  },
  {
    title: "a policy with n rules that are only negative",
    world: (n) => ({
      objects: [namespace({})],
      change: { object: policy("p", { rules: list(n, (i) => ({ to: [{ operation: { notPaths: [`/${i}`] } }] })) }) },
    }),
  },
  {
    title: "a DENY policy with n rules that name identities",
    world: (n) => ({
      objects: [enrolled],
      change: {
        object: policy("p", {
          action: "DENY",
          rules: list(n, (i) => ({ from: [{ source: { namespaces: [`n-${i}`] } }] })),
        }),
      },
    }),
  },
  {
    title: "a DENY policy with n rules for HTTP and n Services with TCP ports",
    n: 12,
    most: 4.4,
    world: (n) => ({
      objects: [enrolled, ...list(n, service)],
      change: {
        object: policy("p", {
          selector: { matchLabels: { app: "app" } },
          action: "DENY",
          rules: list(n, (i) => ({ to: [{ operation: { paths: [`/${i}`] } }] })),
        }),
      },
    }),
  },
  {
    title:
      "a CUSTOM policy with n rules for a port and n Services with TCP ports, of which a provider over HTTP is not asked",
    n: 12,
    world: (n) => ({
      objects: [
        enrolled,
        ...list(n, (i) => service(i)),
        manifest(
          "v1",
          "ConfigMap",
          { name: "istio", namespace: "istio-system" },
          {
            data: {
              mesh: JSON.stringify({ extensionProviders: [{ name: "oauth", envoyExtAuthzHttp: { service: "a" } }] }),
            },
          },
        ),
      ],
      change: {
        object: policy("p", {
          selector: { matchLabels: { app: "app" } },
          action: "CUSTOM",
          provider: { name: "oauth" },
          rules: list(n, (i) => ({ to: [{ operation: { ports: [String(1000 + i)] } }] })),
        }),
      },
    }),
  },
  {
    title: "a policy with n hosts at a gateway with n VirtualServices",
    world: (n) => ({
      objects: [
        enrolled,
        ingress,
        gateway("g", [plain(0, ["*"])]),
        ...list(n, (i) => virtualService(`v-${i}`, { hosts: [`h-${i}.shapes.example.com`], gateways: ["g"], http })),
      ],
      change: {
        object: policy("p", {
          selector: { matchLabels: { istio: "shapes" } },
          rules: [{ to: [{ operation: { hosts: list(n, (i) => `other-${i}.shapes.example.com`) } }] }],
        }),
      },
    }),
  },
  {
    title: "a VirtualService with n routes that write hosts, before a policy that denies n others and the last one",
    world: (n) => {
      const of = (write: boolean) =>
        virtualService("v", {
          hosts: ["api.shapes.example.com"],
          gateways: ["g"],
          http: list(n, (i) => ({
            match: [{ uri: { exact: `/${i}` } }],
            ...(write ? { rewrite: { authority: `written-${i}` } } : {}),
            route: [{ destination: { host: "s-0" } }],
          })),
        });
      const denied = list(n, (i) => `written-${i + 1}`);
      return {
        objects: [
          enrolled,
          ingress,
          gateway("g", [plain(0, ["*"])]),
          service(0),
          manifest("apps/v1", "Deployment", named("app"), {
            spec: { template: { metadata: { labels: { app: "app" } }, spec: { containers: [{ name: "app" }] } } },
          }),
          policy("p", {
            action: "DENY",
            selector: { matchLabels: { app: "app" } },
            rules: [{ to: [{ operation: { hosts: ["api.shapes.example.com", ...denied] } }] }],
          }),
          of(false),
        ],
        change: { old: of(false), object: of(true) },
      };
    },
  },
  {
    title: "a Gateway with n hosts that no longer demand a client certificate",
    world: (n) => {
      const of = (mode: string) =>
        gateway(
          "new",
          list(n, (i) => server(i, [`h-${i}.shapes.example.com`], { tls: { mode } })),
        );
      return { objects: [namespace({})], change: { old: of("MUTUAL"), object: of("SIMPLE") } };
    },
  },
  {
    title: "n waypoints and n workloads with one service account, and a waypoint with a proxy of its own",
    world: (n) => ({
      objects: [
        namespace({}),
        ...list(n, (i) => waypoint(`w-${i}`)),
        ...list(n, (i) =>
          manifest("apps/v1", "Deployment", named(`d-${i}`), {
            spec: { template: { spec: { serviceAccountName: "shapes" } } },
          }),
        ),
      ],
      change: { object: waypoint("new", { "sidecar.istio.io/proxyImage": "shapes/proxy" }) },
    }),
  },
  {
    title: "a Gateway with n servers at ports that none of n Services of its pods has",
    world: (n) => ({
      objects: [
        enrolled,
        ingress,
        ...list(n, (i) =>
          manifest("v1", "Service", named(`front-${i}`), {
            spec: { selector: { istio: "shapes" }, ports: [{ name: "http", port: 80 }] },
          }),
        ),
      ],
      change: {
        object: gateway(
          "g",
          list(n, (i) => ({ port: { number: 9000 + i, name: `http-${i}`, protocol: "HTTP" }, hosts: ["*"] })),
        ),
      },
    }),
  },
  {
    title: "a VirtualService of a waypoint that rewrites n paths, under a policy of n paths",
    world: (n) => ({
      objects: [
        namespace({ "istio.io/dataplane-mode": "ambient", "istio.io/use-waypoint": "w" }),
        waypoint("w"),
        service(0),
        policy("p", {
          targetRefs: [{ group: "", kind: "Service", name: "s-0" }],
          rules: list(n, (i) => ({ to: [{ operation: { paths: [`/${i}`] } }] })),
        }),
      ],
      change: {
        object: virtualService("new", {
          hosts: ["s-0"],
          http: list(n, (i) => ({
            match: [{ uri: { prefix: `/${i}/` } }],
            rewrite: { uri: `/to/${i}` },
            route: [{ destination: { host: "s-0" } }],
          })),
        }),
      },
    }),
  },
  {
    title: "a VirtualService of a waypoint with n routes to n Services with policies of their own",
    world: (n) => ({
      objects: [
        namespace({ "istio.io/dataplane-mode": "ambient", "istio.io/use-waypoint": "w" }),
        waypoint("w"),
        ...list(n + 1, service),
        ...list(n, (i) => policy(`p-${i}`, { targetRefs: [{ group: "", kind: "Service", name: `s-${i + 1}` }] })),
      ],
      change: {
        object: virtualService("new", {
          hosts: ["s-0"],
          http: list(n, (i) => ({
            match: [{ uri: { prefix: `/${i}/` } }],
            route: [{ destination: { host: `s-${i + 1}` } }],
          })),
        }),
      },
    }),
  },
  {
    title: "a Gateway that comes to allow n ListenerSets, each for every host and every namespace",
    world(n) {
      const gateway = (from: string): Raw =>
        manifest("gateway.networking.k8s.io/v1", "Gateway", named("g"), {
          spec: { gatewayClassName: "istio", allowedListeners: { namespaces: { from } } },
        });
      const sets = list(n, (i) =>
        manifest("gateway.networking.k8s.io/v1", "ListenerSet", named(`s-${i}`), {
          spec: {
            parentRef: { name: "g" },
            listeners: [
              { name: "any", port: 1000 + i, protocol: "HTTP", allowedRoutes: { namespaces: { from: "All" } } },
            ],
          },
        }),
      );
      const old = gateway("None");
      return { objects: [namespace({}), old, ...sets], change: { old, object: gateway("All") } };
    },
  },
  {
    title: "n policies that select the pods of a waypoint, which comes",
    world: (n) => ({
      objects: [
        namespace({ "istio.io/dataplane-mode": "ambient" }),
        ...list(n, (i) => policy(`p-${i}`, { selector: { matchLabels: { [gatewayName]: "new" } } })),
      ],
      change: { object: waypoint("new") },
    }),
  },
  {
    title: "a policy that selects the pods of one of n waypoints",
    world: (n) => ({
      objects: [namespace({ "istio.io/dataplane-mode": "ambient" }), ...list(n, (i) => waypoint(`w-${i}`))],
      change: { object: policy("new", { selector: { matchLabels: { [gatewayName]: "w-0" } } }) },
    }),
  },
  {
    title: "n Services name a waypoint of their own namespace, whose Telemetry turns the log off",
    world: (n) => ({
      objects: [
        namespace({ "istio.io/dataplane-mode": "ambient" }),
        waypoint("w"),
        ...list(n, (i) => ({ ...service(i), metadata: named(`s-${i}`, { "istio.io/use-waypoint": "w" }) })),
      ],
      change: { old: telemetry(logged), object: telemetry(unlogged) },
    }),
  },
  {
    title: "n Telemetries for n Services behind a waypoint of another namespace, whose Telemetry turns the log off",
    isMeshWide: true,
    world: (n) => {
      const elsewhere = { namespace: "edge", name: "t" };
      return {
        objects: [
          namespace({
            "istio.io/dataplane-mode": "ambient",
            "istio.io/use-waypoint": "w",
            "istio.io/use-waypoint-namespace": "edge",
          }),
          manifest("v1", "Namespace", { name: "edge" }, {}),
          manifest(
            "gateway.networking.k8s.io/v1",
            "Gateway",
            { namespace: "edge", name: "w" },
            {
              spec: {
                gatewayClassName: "istio-waypoint",
                listeners: [
                  { name: "mesh", port: 15008, protocol: "HBONE", allowedRoutes: { namespaces: { from: "All" } } },
                ],
              },
            },
          ),
          ...list(n, service),
          ...list(n, (i) => ({
            ...telemetry({ targetRefs: [{ group: "", kind: "Service", name: `s-${i}` }], ...logged }),
            metadata: named(`t-${i}`),
          })),
        ],
        change: {
          old: { ...telemetry(logged), metadata: elsewhere },
          object: { ...telemetry(unlogged), metadata: elsewhere },
        },
      };
    },
  },
  {
    title: "n rules with CORS at n Gateways whose policy asks for tokens",
    world: (n) => {
      const all = { namespaces: { from: "All" } };
      const listeners = [{ name: "http", port: 80, protocol: "HTTP", allowedRoutes: all }];
      return {
        objects: [
          namespace({}),
          ...list(n, (i) => kubernetesGateway(`g-${i}`, listeners)),
          manifest("security.istio.io/v1", "RequestAuthentication", named("tokens"), {
            spec: { jwtRules: [{ issuer: "https://shapes.example.com" }] },
          }),
          policy("tokens", { rules: [{ from: [{ source: { requestPrincipals: ["*"] } }] }] }),
        ],
        change: {
          object: route({
            parentRefs: list(Math.min(n, 32), (i) => ({ name: `g-${i}` })),
            hostnames: ["r.example.com"],
            rules: list(n, (i) => ({
              matches: [{ path: { type: "Exact", value: `/${i}` } }],
              filters: [{ type: "CORS", cors: {} }],
              backendRefs: [{ name: "a", port: 80 }],
            })),
          }),
        },
      };
    },
  },
  {
    title: "the namespace of n gateways, whose image the injector replaces, is no longer injected",
    world: (n) => ({
      objects: [
        enrolled,
        ...list(n, (i) =>
          manifest("apps/v1", "Deployment", named(`gateway-${i}`), {
            spec: {
              template: {
                metadata: { labels: { istio: `gateway-${i}` } },
                spec: { containers: [{ name: "istio-proxy", image: "auto" }] },
              },
            },
          }),
        ),
      ],
      change: { old: enrolled, object: namespace({}) },
    }),
  },
  {
    title: "an Ingress with n hosts and backends",
    world: (n) => ({
      objects: [namespace({ "meshward.io/protected": "true" }), ...list(n, (i) => kubernetesIngress(`other-${i}`, 1))],
      change: { object: kubernetesIngress("many", n) },
    }),
  },
  {
    title: "a gateway of n routes and Services keeps the tokens that each of them needs",
    world: (n) => ({
      objects: [
        enrolled,
        ingress,
        gateway("g", [plain(0, ["*"])]),
        ...list(n, (i) => virtualService(`v-${i}`, { ...toOne(`s-${i}`), hosts: [`h-${i}.example.com`] })),
        ...list(n, service),
        manifest("apps/v1", "Deployment", named("app"), {
          spec: { template: { metadata: { labels: { app: "app" } } } },
        }),
        policy("tokens", {
          selector: { matchLabels: { app: "app" } },
          rules: [{ from: [{ source: { requestPrincipals: ["*"] } }] }],
        }),
        authentication("server", { app: "app" }),
      ],
      change: { object: authentication("gateway", { istio: "shapes" }) },
    }),
  },
  {
    title: "a Gateway with n servers and no selector",
    world: (n) => ({
      objects: [enrolled],
      change: {
        object: gateway(
          "open",
          list(n, (i) => plain(i, [`o-${i}.example.com`])),
          {},
        ),
      },
    }),
  },
];
