import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { entrancesOf } from "../../../src/mesh/requests/entrances.ts";
import { frontOf, type WebScheme } from "../../../src/mesh/requests/front.ts";
import { stageAt } from "../../../src/mesh/requests/gateway-stage.ts";
import { meshOf } from "./asked.ts";

// The expected destinations are those of the filter chains that istiod builds for the same objects.

const edge = `
apiVersion: v1
kind: Namespace
metadata: { name: edge }
---
apiVersion: v1
kind: Namespace
metadata: { name: shop }
`;
const open = "allowedRoutes: { namespaces: { from: All } }";
const listener = (name: string, hostname: string, mode: string, port = 443) =>
  `{ name: ${name}, port: ${port}, protocol: TLS, ${hostname === "" ? "" : `hostname: "${hostname}", `}tls: { mode: ${mode}, certificateRefs: [{ name: c }] }, ${open} }`;
const https = (name: string, hostname: string) =>
  `{ name: ${name}, port: 443, protocol: HTTPS, hostname: "${hostname}", tls: { certificateRefs: [{ name: c }] }, ${open} }`;
const gateway = (...listeners: readonly string[]) => `---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: public, namespace: edge, creationTimestamp: "2026-01-01T00:00:00Z" }
spec: { gatewayClassName: istio, listeners: [${listeners.join(", ")}] }
`;
interface Written {
  readonly kind?: string;
  readonly section?: string;
  readonly namespace?: string;
  readonly hosts?: string;
  readonly rules?: string;
  readonly day?: number;
}
const route = (
  name: string,
  { kind = "TLSRoute", section = "", namespace = "shop", hosts = "", rules, day = 2 }: Written,
) => `---
apiVersion: gateway.networking.k8s.io/v1
kind: ${kind}
metadata: { name: ${name}, namespace: ${namespace}, creationTimestamp: "2026-01-0${day}T00:00:00Z" }
spec:
  parentRefs: [{ name: public, namespace: edge${section === "" ? "" : `, sectionName: ${section}`} }]
  ${hosts === "" ? "" : `hostnames: [${hosts}]`}
  rules: [${rules ?? `{ backendRefs: [{ name: ${name}, port: 443 }] }`}]
`;

/** Where connections for a host end at port 443: the first labels of the destinations, `http` or `nothing`. */
function taken(
  text: string,
  host: string,
  scheme: WebScheme | "tcp" = "https",
  knowledge: Parameters<typeof meshOf>[1] = {},
): string {
  const mesh = meshOf(edge + text, knowledge);
  const to = { host, port: 443, scheme };
  const front = frontOf(host, mesh);
  const [entrance] = entrancesOf(to, front, mesh);
  assert.ok(entrance);
  const stage = stageAt(entrance, to, front, mesh);
  if (stage.kind === "ended") return stage.result === "nowhere" ? "nothing" : stage.because;
  if (stage.place === "http") return "http";
  const destinations = stage.routes.stream?.route.route ?? [];
  return destinations.map(({ destination }) => destination.host.split(".")[0]).join(" ") || "nothing";
}

describe("of the filter chains of a port, the most specific name decides", () => {
  test("a listener without a route for its connections has none, and leaves them to others", () => {
    const all = gateway(
      https("web", "*.example.com"),
      listener("tls", "*.shop.example.com", "Passthrough"),
      listener("end", "pay.example.com", "Terminate"),
    );
    assert.equal(taken(all, "a.shop.example.com"), "http");
    assert.equal(taken(all, "pay.example.com"), "http");
    const routed = all + route("cart", { section: "tls" }) + route("pay", { section: "end" });
    assert.equal(taken(routed, "a.shop.example.com"), "cart");
    assert.equal(taken(routed, "pay.example.com"), "pay");
  });

  test("where TLS is passed on, the names are those of the matches, and not those of the listener", () => {
    const all =
      gateway(listener("wide", "", "Passthrough"), listener("narrow", "*.example.com", "Passthrough")) +
      route("exact", { section: "wide", hosts: "a.shop.example.com" }) +
      route("every", { section: "narrow" });
    assert.equal(taken(all, "a.shop.example.com"), "exact");
    assert.equal(taken(all, "b.shop.example.com"), "every");
    assert.equal(taken(all, "other.org"), "nothing");
  });

  // The Gateways that istiod generates are of one second, so that the names of the listeners decide.
  test("a name that a listener of the port has which is earlier by name is left out, together with all names of its match", () => {
    const takenAt = (one: string, all: string) => {
      const listeners = [listener(one, "a.example.com", "Passthrough"), listener(all, "*.example.com", "Passthrough")];
      return (host: string) =>
        taken(
          gateway(...listeners) +
            route("first", { section: one, day: 2 }) +
            route("second", { section: all, hosts: '"a.example.com", "b.example.com"', day: 1 }),
          host,
        );
    };
    const inOrder = takenAt("a-one", "b-all");
    assert.equal(inOrder("a.example.com"), "first");
    assert.equal(inOrder("b.example.com"), "nothing");
    const reversed = takenAt("one", "all");
    assert.equal(reversed("a.example.com"), "second");
    assert.equal(reversed("b.example.com"), "second");
  });

  test("a wider name of a route ends at the hostname of the listener", () => {
    const all =
      gateway(listener("shop", "*.example.com", "Passthrough")) +
      route("older", { hosts: '"*.com"', day: 1 }) +
      route("younger", { hosts: '"*.example.com"', day: 2 });
    assert.equal(taken(all, "a.example.com"), "older");
  });

  test("connections without a name go to the chain for every name, also where TLS is passed on", () => {
    const all = gateway(listener("every", "", "Passthrough"), listener("end", "a.example.com", "Terminate"));
    assert.equal(taken(all + route("db", { section: "every" }), "any.invalid", "tcp"), "db");
    assert.equal(taken(all + route("db", { section: "every" }), "any.invalid", "http"), "db");
    const named = route("db", { section: "every", hosts: "db.example.com" });
    assert.equal(taken(all + named, "any.invalid", "tcp"), "nothing");
  });
});

describe("where TLS is terminated", () => {
  const terminated = gateway(listener("end", "*.example.com", "Terminate"));

  test("the route of one name takes the connections of all names of the listener", () => {
    assert.equal(taken(terminated + route("pay", { hosts: "pay.example.com" }), "other.example.com"), "pay");
  });

  test("routes of the namespace of the Gateway come first, whatever their age is", () => {
    const all =
      terminated +
      route("old", { kind: "TCPRoute", day: 1 }) +
      route("own", { kind: "TCPRoute", namespace: "edge", day: 3 });
    assert.equal(taken(all, "a.example.com"), "own");
  });

  test("a rule of a TLSRoute whose backends all have weight 0 takes nothing, that of a TCPRoute everything", () => {
    const rules = "{ backendRefs: [{ name: a, port: 443, weight: 0 }] }, { backendRefs: [{ name: b, port: 443 }] }";
    assert.equal(taken(terminated + route("r", { rules }), "a.example.com"), "b");
    assert.equal(taken(terminated + route("r", { kind: "TCPRoute", rules }), "a.example.com"), "internal");
  });
});

describe("ListenerSets", () => {
  const opened = (from: string) =>
    gateway(listener("one", "a.example.com", "Passthrough"), https("wild", "*.example.com")).replace(
      "gatewayClassName: istio,",
      `gatewayClassName: istio, allowedListeners: { namespaces: { from: ${from} } },`,
    ) + route("db", { section: "one" });
  const set = (namespace: string, name: string, listeners: string, day = 3) => `---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: { name: ${name}, namespace: ${namespace}, creationTimestamp: "2026-01-0${day}T00:00:00Z" }
spec: { parentRef: { name: public, namespace: edge }, listeners: [${listeners}] }
`;
  const inSet = (name: string, setName: string, written: Written = {}) =>
    route(name, written).replace(
      "{ name: public, namespace: edge",
      `{ group: gateway.networking.k8s.io, kind: ListenerSet, name: ${setName}, namespace: shop`,
    );

  test("where they are not known, only the host of a listener is decided", () => {
    const unknown = { ListenerSet: "unknown" } as const;
    const doubt = "Gateway edge/public lets ListenerSets add listeners, and these are not known";
    assert.equal(taken(opened("All"), "a.example.com", "https", unknown), "db");
    assert.equal(taken(opened("All"), "b.example.com", "https", unknown), doubt);
    assert.equal(taken(opened("Same"), "other.org", "https", unknown), doubt);
    assert.equal(taken(opened("None"), "b.example.com", "https", unknown), "http");
    assert.equal(taken(opened("None"), "other.org", "https", unknown), "nothing");
  });

  test("the listener of a set takes its host if the Gateway allows the set", () => {
    const added =
      set("shop", "more", listener("b", "b.example.com", "Passthrough")) + inSet("own", "more", { section: "b" });
    assert.equal(taken(opened("All") + added, "b.example.com"), "own");
    assert.equal(taken(opened("Same") + added, "b.example.com"), "http");
    assert.equal(taken(opened("None") + added, "b.example.com"), "http");
    assert.equal(taken(opened("All") + added, "c.example.com"), "http");
  });

  test("a route of the Gateway is for none of its listeners", () => {
    const added = opened("All") + set("shop", "more", listener("b", "b.org", "Passthrough"));
    assert.equal(taken(added + route("own", { hosts: "b.org" }), "b.org"), "nothing");
    assert.equal(taken(added + inSet("own", "more", { hosts: "b.org" }), "b.org"), "own");
  });

  test("the Gateway's listener comes first, then the oldest set", () => {
    const all =
      opened("All") +
      set(
        "shop",
        "young",
        `${listener("a", "a.example.com", "Passthrough")}, ${listener("b", "b.org", "Passthrough")}`,
        5,
      ) +
      set("shop", "old", listener("b", "b.org", "Passthrough"), 4) +
      inSet("young", "young") +
      inSet("old", "old");
    assert.equal(taken(all, "a.example.com"), "db");
    assert.equal(taken(all, "b.org"), "old");
  });

  test("a selector compares the labels of the set's namespace", () => {
    const selecting = (labels: string) =>
      opened("Selector").replace("from: Selector", `from: Selector, selector: { matchLabels: ${labels} }`) +
      set("shop", "more", listener("b", "b.example.com", "Passthrough")) +
      inSet("own", "more");
    assert.equal(taken(selecting("{ kubernetes.io/metadata.name: shop }"), "b.example.com"), "own");
    assert.equal(taken(selecting("{ team: other }"), "b.example.com"), "http");
    // Without a selector, nobody is selected.
    assert.equal(taken(opened("Selector"), "b.example.com"), "http");
  });
});
