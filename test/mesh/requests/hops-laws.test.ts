import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { type AnyObject, type ObjectOf, readAny, readObject } from "../../../src/kube/object.ts";
import { isMet } from "../../../src/mesh/authorization/requests/difference.ts";
import { everyRequest } from "../../../src/mesh/authorization/requests/boxes.ts";
import { outcomesOfEntry } from "../../../src/mesh/requests/entry.ts";
import { frontOf } from "../../../src/mesh/requests/front.ts";
import type { Outcome } from "../../../src/mesh/requests/outcome.ts";
import { defaultMeshSettings } from "../../../src/view/settings.ts";
import { sideOf } from "../../../src/view/side.ts";
import { MeshStore } from "../../../src/view/store.ts";
import type { Mesh } from "../../../src/view/view.ts";
import { plainOf, plainRequests, policies, requestOf } from "../authorization/requests/arbitrary.ts";
import type { PlainRequest } from "../authorization/requests/interpreter.ts";
import { asked } from "./asked.ts";
import { documentsOf } from "./documents.ts";
import { type ChangingRoute, type PlainStop, resultOf } from "./hop-interpreter.ts";
import {
  deployment,
  destinationRule,
  gateway,
  gatewayProxy,
  namespace,
  service,
  serviceEntry,
  virtualService,
  waypoint,
} from "./meshes.ts";

type AuthorizationPolicy = ObjectOf<"AuthorizationPolicy">;

const settingsWith = (mergesSlashes: boolean) => ({ ...defaultMeshSettings, mergesSlashes });
const host = "h.example";
const server = "x.a.svc.cluster.local";
const nameOfServer = `outbound_.80_._.${server}`;

interface Drawn {
  readonly atGateway: readonly AuthorizationPolicy[];
  readonly atServer: readonly AuthorizationPolicy[];
  readonly ofClient: readonly ChangingRoute[];
  readonly ofGateway: readonly ChangingRoute[];
  readonly isMtls: boolean;
  readonly isForwarded: boolean;
  readonly isMerging: boolean;
}

const stringMatch = fc.constantFrom(
  { exact: "/a" },
  { prefix: "/" },
  { prefix: "/a" },
  { prefix: "/b" },
  { prefix: "/a/" },
  { exact: "/b/b" },
);
const valueMatch = fc.constantFrom({ exact: "x" }, { prefix: "x" }, { exact: "y" });
const changing: fc.Arbitrary<ChangingRoute> = fc
  .record({
    match: fc.array(fc.record({ uri: stringMatch, headers: fc.record({ "x-a": valueMatch }) }, { requiredKeys: [] }), {
      maxLength: 1,
    }),
    rewrite: fc.option(fc.constantFrom({ uri: "/b" }, { uri: "/a/b" }, { uri: "/" }), { nil: undefined, freq: 2 }),
    headers: fc.option(
      fc.constantFrom(
        { request: { set: { "x-a": "x" } } },
        { request: { remove: ["x-a"] } },
        { request: { set: { "x-b": "1" } } },
      ),
      { nil: undefined, freq: 2 },
    ),
  })
  .map((one) => Object.fromEntries(Object.entries(one).filter(([, value]) => value !== undefined)) as never);
const everything: ChangingRoute = { match: [] };
const several = fc.uniqueArray(policies, { maxLength: 2, selector: ({ metadata }) => metadata.name });
const drawn: fc.Arbitrary<Drawn> = fc.record({
  atGateway: several,
  atServer: several,
  ofClient: fc.array(changing, { maxLength: 1 }).map((all) => [...all, everything]),
  ofGateway: fc.array(changing, { minLength: 1, maxLength: 3 }),
  isMtls: fc.boolean(),
  isForwarded: fc.boolean(),
  isMerging: fc.boolean(),
});

const moved = (all: readonly AuthorizationPolicy[], where: string, more: object = {}): readonly AuthorizationPolicy[] =>
  all.map(({ metadata, spec }) =>
    readObject("AuthorizationPolicy", {
      metadata: { namespace: where, name: `${metadata.name}-${where}${Object.keys(more).length}` },
      spec: { action: spec.action, rules: spec.rules, ...more },
    }),
  );

function meshOf(text: string, more: readonly AnyObject[], { isMerging }: Drawn): Mesh {
  const store = new MeshStore(settingsWith(isMerging));
  const written = documentsOf(text).flatMap((raw) => readAny(raw, "a") ?? []);
  for (const object of [...written, ...more]) store.set(object);
  return sideOf(store);
}

const routesTo = (destination: object, routes: readonly ChangingRoute[]): string =>
  `http: ${JSON.stringify(routes.map((route) => ({ ...route, route: [{ destination }] })))}`;
const tokens = (where: string, isForwarded: boolean): AnyObject =>
  readObject("RequestAuthentication", {
    metadata: { namespace: where, name: "jwt" },
    spec: { jwtRules: [{ issuer: "i", forwardOriginalToken: isForwarded }] },
  });

interface World {
  readonly mesh: Mesh;
  readonly stops: readonly PlainStop[];
  readonly outcomes: (mesh: Mesh) => readonly Outcome[];
  /** The request as somebody can send it there. */
  readonly asSent: (plain: PlainRequest) => PlainRequest;
}

const toX = { host: server, port: { number: 80 } };
const behind = namespace("a", "sidecar") + deployment("a", "x") + service("a", "x");
const egress = `---\n${namespace("web", "sidecar")}---\n${namespace("infra", "sidecar")}${gatewayProxy("infra", "egress")}`;
const certificateOf = (plain: PlainRequest): string =>
  `cluster.local/${(plain.identity ?? "td/ns/b/sa/b").split("/").slice(1).join("/")}`;

/** What a stop is if nothing is said of it. */
const stop: PlainStop = {
  policies: undefined,
  place: "http",
  port: 0,
  sni: "",
  tokens: "kept",
  routes: undefined,
  sendsAs: "itself",
};

/** From the gateway on. */
const behindGateway = ({ atGateway, atServer, ofGateway, isForwarded }: Drawn, port: number, sni: string) => ({
  objects: [...moved(atGateway, "infra"), ...atServer, tokens("infra", isForwarded), tokens("a", false)],
  stops: [
    {
      ...stop,
      ...{ policies: moved(atGateway, "infra"), port, sni, routes: ofGateway },
      ...{ tokens: isForwarded ? "kept" : "removed", sendsAs: { account: "cluster.local/ns/infra/sa/egress" } },
    },
    { ...stop, policies: atServer, port: 8080, sni: nameOfServer },
  ] satisfies readonly PlainStop[],
});

function throughEgress(one: Drawn): World {
  const { ofClient, ofGateway, isMtls } = one;
  const mode = isMtls
    ? "{ port: { number: 443, name: s, protocol: HTTPS }, hosts: [h.example], tls: { mode: ISTIO_MUTUAL } }"
    : "{ port: { number: 80, name: h, protocol: HTTP }, hosts: [h.example] }";
  const toGateway = { host: "egress.infra.svc.cluster.local", port: { number: isMtls ? 443 : 80 } };
  const { objects, stops } = behindGateway(one, isMtls ? 8443 : 8080, isMtls ? host : "");
  const text = [
    behind,
    egress,
    serviceEntry("web/h", `hosts: [${host}]\nresolution: DNS\nports: [{ number: 80, name: http, protocol: HTTP }]`),
    gateway("infra/egress", [mode]),
    virtualService("web/out", `hosts: [${host}]\n${routesTo(toGateway, ofClient)}`),
    virtualService("infra/beyond", `hosts: [${host}]\ngateways: [egress]\n${routesTo(toX, ofGateway)}`),
    isMtls
      ? destinationRule(
          "infra/egress",
          `host: ${toGateway.host}\ntrafficPolicy: { tls: { mode: ISTIO_MUTUAL, sni: ${host} } }`,
        )
      : "",
  ].join("");
  return {
    mesh: meshOf(text, objects, one),
    stops: [{ ...stop, routes: ofClient, sendsAs: isMtls ? "itself" : undefined }, ...stops],
    outcomes: (mesh) => asked(mesh, "mesh", `${host}:80`),
    asSent: (plain) => ({ ...plain, host, identity: certificateOf(plain) }),
  };
}

function throughIngress(one: Drawn): World {
  const { objects, stops } = behindGateway(one, 8080, "");
  const text = [
    behind,
    egress,
    gateway("infra/egress", ["{ port: { number: 80, name: h, protocol: HTTP }, hosts: [h.example] }"]),
    virtualService("infra/in", `hosts: [${host}]\ngateways: [egress]\n${routesTo(toX, one.ofGateway)}`),
  ].join("");
  return {
    mesh: meshOf(text, objects, one),
    stops,
    outcomes: (mesh) => [
      ...outcomesOfEntry(
        { to: { kind: "entry", host, port: 80, scheme: "http" }, front: frontOf(host, mesh) },
        everyRequest,
        mesh,
      ),
    ],
    asSent: (plain) => ({ ...plain, host, identity: undefined }),
  };
}

function throughWaypoint(one: Drawn): World {
  const { atGateway, atServer, ofGateway, isForwarded } = one;
  const text = [
    namespace("a", "ambient", "istio.io/use-waypoint: w"),
    `---\n${namespace("web", "ambient")}`,
    deployment("a", "x"),
    service("a", "x"),
    waypoint("a", "w"),
    virtualService("a/x", `hosts: [${server}]\n${routesTo(toX, ofGateway)}`),
  ].join("");
  const atWaypoint = moved(atGateway, "a", { targetRefs: [{ group: "", kind: "Service", name: "x" }] });
  const jwt = readObject("RequestAuthentication", {
    metadata: { namespace: "a", name: "jwt" },
    spec: {
      targetRefs: [{ group: "", kind: "Service", name: "x" }],
      jwtRules: [{ issuer: "i", forwardOriginalToken: isForwarded }],
    },
  });
  return {
    mesh: meshOf(text, [...atWaypoint, ...atServer, jwt], one),
    stops: [
      {
        ...stop,
        ...{ policies: atWaypoint, port: 80, routes: ofGateway, sendsAs: { account: "cluster.local/ns/a/sa/w" } },
        tokens: isForwarded ? "kept" : "removed",
      },
      { ...stop, policies: atServer, place: "ztunnel", port: 8080, tokens: "ignored" },
    ],
    outcomes: (mesh) => asked(mesh, "mesh", "a/x:80").filter(({ source }) => source.sender === "ztunnel"),
    asSent: (plain) => ({ ...plain, identity: certificateOf(plain), sni: "" }),
  };
}

/** The gateway sends requests to the waypoint, which has routes and policies of its own. */
function throughIngressAndWaypoint(one: Drawn): World {
  const { atGateway, ofGateway, ofClient, isForwarded } = one;
  const { objects, stops } = behindGateway(one, 8080, "");
  const text = [
    namespace("a", "ambient", "istio.io/use-waypoint: w, istio.io/ingress-use-waypoint: 'true'"),
    deployment("a", "x"),
    service("a", "x"),
    waypoint("a", "w"),
    virtualService("a/x", `hosts: [${server}]\n${routesTo(toX, ofClient)}`),
    egress,
    gateway("infra/egress", ["{ port: { number: 80, name: h, protocol: HTTP }, hosts: [h.example] }"]),
    virtualService("infra/in", `hosts: [${host}]\ngateways: [egress]\n${routesTo(toX, ofGateway)}`),
  ].join("");
  const atWaypoint = moved(atGateway, "a", { targetRefs: [{ group: "", kind: "Service", name: "x" }] });
  const jwt = readObject("RequestAuthentication", {
    metadata: { namespace: "a", name: "of-x" },
    spec: {
      targetRefs: [{ group: "", kind: "Service", name: "x" }],
      jwtRules: [{ issuer: "i", forwardOriginalToken: isForwarded }],
    },
  });
  const [atEntrance = stop] = stops;
  return {
    mesh: meshOf(text, [...objects, ...atWaypoint, jwt], one),
    stops: [
      atEntrance,
      {
        ...stop,
        ...{ policies: atWaypoint, port: 80, routes: ofClient, sendsAs: { account: "cluster.local/ns/a/sa/w" } },
        tokens: isForwarded ? "kept" : "removed",
      },
      { ...stop, policies: one.atServer, place: "ztunnel", port: 8080, tokens: "ignored" },
    ],
    outcomes: (mesh) => [
      ...outcomesOfEntry(
        { to: { kind: "entry", host, port: 80, scheme: "http" }, front: frontOf(host, mesh) },
        everyRequest,
        mesh,
      ),
    ],
    asSent: (plain) => ({ ...plain, host, identity: undefined }),
  };
}

const isIn = (plain: PlainRequest) => (outcome: Outcome) => {
  const request = requestOf(plain);
  return isMet(outcome.source.identity, request) && isMet(outcome.requests.clauses, request);
};

/** What is not accepted for certain may be so for another reason, if a decision on the way is not known. */
const isAsClaimed = ({ result, authorization }: Outcome, expected: string): boolean =>
  result === expected ||
  (authorization.some((one) => one.result === "undecided") && result !== "accepted" && expected !== "accepted");
const hasRepeatedHeader = ({ headers }: PlainRequest): boolean =>
  Object.values(headers).some(({ length }) => length > 1);

/** A path is what the first proxy compares, after it has merged the slashes that are sent. */
const isMerged = ({ path }: PlainRequest, { isMerging }: Drawn): boolean => isMerging && path.includes("//");

/** Claims come with a token, and headers have one value, because a route reads several as one. */
const requests = plainRequests.map(
  (plain): PlainRequest => ({
    ...plain,
    claims: plain.token === undefined ? {} : plain.claims,
    headers: Object.fromEntries(Object.entries(plain.headers).map(([name, values]) => [name, values.slice(0, 1)])),
  }),
);

const numRuns = Number(process.env["RUNS"] ?? 150);

for (const [way, worldOf] of [
  ["an egress gateway", throughEgress],
  ["an ingress gateway", throughIngress],
  ["a waypoint", throughWaypoint],
  ["an ingress gateway and a waypoint", throughIngressAndWaypoint],
] as const)
  describe(`requests that pass ${way}`, () => {
    test("are each in a part, which has the result of going from proxy to proxy", (t) => {
      const counts = new Map<string, number>();
      const count = (what: string) => counts.set(what, (counts.get(what) ?? 0) + 1);
      fc.assert(
        fc.property(drawn, requests, (one, plain) => {
          const { mesh, stops, outcomes, asSent } = worldOf(one);
          const sent = asSent(plain);
          const found = outcomes(mesh).filter(isIn(sent));
          assert.notEqual(found.length, 0, "the parts are the whole set");
          const expected = resultOf(sent, stops, settingsWith(one.isMerging));
          const decided = found.filter(({ result }) => result !== "undecided");
          for (const outcome of decided)
            assert.ok(isAsClaimed(outcome, expected), `${outcome.result}, not ${expected}`);
          if (decided.length === 0) count("undecided");
          else count(expected);
        }),
        { numRuns },
      );
      t.diagnostic(JSON.stringify(Object.fromEntries(counts)));
      for (const result of ["accepted", "denied", "nowhere"])
        assert.ok((counts.get(result) ?? 0) > numRuns / 30, `${counts.get(result)} are ${result}`);
      assert.ok((counts.get("undecided") ?? 0) < numRuns / 3, `${counts.get("undecided")} are undecided`);
    });

    test("have examples with the result that is claimed of them", () => {
      fc.assert(
        fc.property(drawn, requests, (one, rest) => {
          const { mesh, stops, outcomes, asSent } = worldOf(one);
          for (const outcome of outcomes(mesh)) {
            const sent = asSent(plainOf(outcome.example, rest));
            if (outcome.result === "undecided" || hasRepeatedHeader(sent) || isMerged(sent, one)) continue;
            const expected = resultOf(sent, stops, settingsWith(one.isMerging));
            assert.ok(isAsClaimed(outcome, expected), `${outcome.result}, not ${expected}: ${JSON.stringify(sent)}`);
          }
        }),
        { numRuns },
      );
    });
  });
