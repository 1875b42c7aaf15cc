import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type AnyObject, type ObjectOf, readAny, readObject } from "../../../src/kube/object.ts";
import { isMet } from "../../../src/mesh/authorization/requests/difference.ts";
import type { Outcome } from "../../../src/mesh/requests/outcome.ts";
import { defaultMeshSettings } from "../../../src/view/settings.ts";
import { sideOf } from "../../../src/view/side.ts";
import { MeshStore } from "../../../src/view/store.ts";
import type { Mesh } from "../../../src/view/view.ts";
import { plainOf, plainRequests, policies, requestOf } from "../authorization/requests/arbitrary.ts";
import { isAllowed, type PlainPlace, type PlainRequest } from "../authorization/requests/interpreter.ts";
import { asked } from "./asked.ts";
import { type PlainRoute, routeOf } from "./route-interpreter.ts";

type AuthorizationPolicy = ObjectOf<"AuthorizationPolicy">;

const settings = defaultMeshSettings;
const object = (kind: string, apiVersion: string, metadata: object, spec?: object): AnyObject => {
  const found = readAny({ kind, apiVersion, metadata, ...(spec === undefined ? {} : { spec }) }, "a");
  assert.ok(found !== undefined);
  return found;
};

/** A server in namespace `a`, with an HTTP or a TCP port, and a sidecar or ztunnel. */
function serverAt(place: PlainPlace): readonly AnyObject[] {
  const labels = place === "ztunnel" ? { "istio.io/dataplane-mode": "ambient" } : { "istio-injection": "enabled" };
  const name = place === "tcp" ? "tcp" : "http";
  const containers = [{ name: "main", ports: [{ containerPort: 8080 }] }];
  const template = { metadata: { labels: { app: "x" } }, spec: { containers } };
  return [
    object("Namespace", "v1", { name: "a", labels }),
    object(
      "Service",
      "v1",
      { name: "x", namespace: "a" },
      { selector: { app: "x" }, ports: [{ name, port: 80, targetPort: 8080 }] },
    ),
    object("Deployment", "apps/v1", { name: "x", namespace: "a" }, { template }),
    object(
      "RequestAuthentication",
      "security.istio.io/v1",
      { name: "jwt", namespace: "a" },
      { jwtRules: [{ issuer: "i" }] },
    ),
  ];
}

function meshWith(objects: readonly AnyObject[]): Mesh {
  const mesh = new MeshStore(settings);
  for (const one of objects) mesh.set(one);
  return sideOf(mesh);
}

const places = fc.constantFrom<PlainPlace>("http", "tcp", "ztunnel");
const several = fc.uniqueArray(policies, { maxLength: 3, selector: ({ metadata }) => metadata.name });
/** Of a caller in the mesh, or without a certificate, as the server sees it. */
const sent = plainRequests.map((plain): PlainRequest => {
  const { identity } = plain;
  return {
    ...plain,
    port: 8080,
    identity: identity && `${settings.trustDomain}/${identity.split("/").slice(1).join("/")}`,
  };
});
/** What a sidecar asks for in TLS is up to its configuration, and in plaintext there is no name, whatever callers want. */
const nameOfCluster = "outbound_.80_._.x.a.svc.cluster.local";
const asSeen = (plain: PlainRequest, name: string): PlainRequest => ({
  ...plain,
  sni: plain.identity === undefined ? "" : name || nameOfCluster,
});
const asksFor = (sni: string): readonly AnyObject[] =>
  sni === ""
    ? []
    : [
        object(
          "DestinationRule",
          "networking.istio.io/v1",
          { name: "sni", namespace: "a" },
          { host: "x", trafficPolicy: { tls: { mode: "ISTIO_MUTUAL", sni } } },
        ),
      ];
const callerOf = ({ identity }: PlainRequest): string => (identity === undefined ? "outside" : "mesh");

/** The outcomes of the parts that a request is in. */
const of = (plain: PlainRequest, outcomes: readonly Outcome[]): readonly Outcome[] =>
  outcomes.filter(({ requests }) => isMet(requests.clauses, requestOf(plain)));

test("every request is in a part, and the part has the result that the plain reading of the policies gives", () => {
  let undecided = 0;
  fc.assert(
    fc.property(places, several, sent, (place, all, plain) => {
      const sni = place === "ztunnel" ? "" : plain.sni;
      const mesh = meshWith([...serverAt(place), ...all, ...asksFor(sni)]);
      const results = new Set(of(plain, asked(mesh, callerOf(plain), "a/x:80")).map(({ result }) => result));
      const expected = isAllowed(asSeen(plain, sni), all, place, settings) ? "accepted" : "denied";
      assert.notEqual(results.size, 0, "the parts are the whole set");
      if (results.delete("undecided") && results.size === 0) undecided++;
      else assert.deepEqual([...results], [expected]);
    }),
    { numRuns: 400 },
  );
  assert.ok(undecided < 20, `${undecided} questions took too much work`);
});

test("the example of a part has its result, whatever the part leaves open", () => {
  fc.assert(
    fc.property(places, several, sent, (place, all, rest) => {
      const mesh = meshWith([...serverAt(place), ...all]);
      for (const caller of ["mesh", "outside"])
        for (const { example, result } of asked(mesh, caller, "a/x:80")) {
          if (result === "undecided") continue;
          const plain = asSeen({ ...plainOf(example, rest), port: 8080 }, "");
          assert.equal(result, isAllowed(plain, all, place, settings) ? "accepted" : "denied");
        }
    }),
    { numRuns: 300 },
  );
});

test("the order of policies, rules and documents makes no difference", () => {
  const reversed = ({ metadata, spec }: AuthorizationPolicy) =>
    readObject("AuthorizationPolicy", { metadata, spec: { ...spec, rules: spec.rules.toReversed() } });
  fc.assert(
    fc.property(places, several, sent, (place, all, plain) => {
      const answer = (objects: readonly AnyObject[]) =>
        new Set(of(plain, asked(meshWith(objects), callerOf(plain), "a/x:80")).map(({ result }) => result));
      const [server, others] = [serverAt(place), all.map(reversed)];
      const [a, b] = [answer([...others.toReversed(), ...server.toReversed()]), answer([...server, ...all])];
      // What takes too much work may depend on the order.
      fc.pre(!a.has("undecided") && !b.has("undecided"));
      assert.deepEqual(a, b);
    }),
    { numRuns: 200 },
  );
});

const stringMatch = (values: readonly string[]) =>
  fc.constantFrom(...values).chain((value) => fc.constantFrom({ exact: value }, { prefix: value }));
const routes: fc.Arbitrary<readonly PlainRoute[]> = fc.array(
  fc.record({
    match: fc.array(
      fc.record(
        {
          uri: fc.oneof(
            stringMatch(["/", "/a", "/a/b", "/b"]),
            fc.constantFrom({ regex: "/a/.+" }, { regex: "/[^/]+/b" }, { regex: "/a(/b|/)?" }, { regex: "/a|/b" }),
          ),
          method: stringMatch(["GET", "P"]),
          headers: fc.record({ "x-a": fc.oneof(stringMatch(["x", "xy"]), fc.constant({})) }),
          withoutHeaders: fc.record({ "x-a": stringMatch(["x", "y"]) }),
        },
        { requiredKeys: [] },
      ),
      { maxLength: 2 },
    ),
  }),
  { minLength: 1, maxLength: 4 },
);

test("every request follows the first route that matches it", () => {
  fc.assert(
    fc.property(routes, plainRequests, (all, plain) => {
      const hosts = all.map((_, i) => `v${i}`);
      const http = all.map(({ match }, i) => ({ match, route: [{ destination: { host: "x", subset: hosts[i] } }] }));
      const routing = object(
        "VirtualService",
        "networking.istio.io/v1",
        { name: "x", namespace: "a" },
        { hosts: ["x"], http },
      );
      const mesh = meshWith([...serverAt("http"), routing]);
      const request = { ...plain, headers: { "x-a": (plain.headers["x-a"] ?? []).slice(0, 1) } };
      const found = of(
        { ...request, identity: `${settings.trustDomain}/ns/other/sa/other` },
        asked(mesh, "mesh", "a/x:80").filter(({ source }) => source.namespace === undefined),
      );
      const index = routeOf(request, all);
      assert.deepEqual(
        found.map(({ route }) => route.route?.index),
        [index],
        "routes divide the requests into parts that do not overlap",
      );
    }),
    { numRuns: 400 },
  );
});
