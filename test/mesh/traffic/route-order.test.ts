import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type ObjectOf, readObject } from "../../../src/kube/object.ts";
import { unreachableRoutes } from "../../../src/mesh/traffic/route-order.ts";

type VirtualService = ObjectOf<"VirtualService">;

const withRoutes = (matches: readonly (readonly object[])[]): VirtualService =>
  readObject("VirtualService", {
    metadata: { name: "x", namespace: "a" },
    spec: { hosts: ["x"], http: matches.map((match) => ({ match, route: [{ destination: { host: "x" } }] })) },
  });
const unreachable = (matches: readonly (readonly object[])[]) =>
  [...unreachableRoutes(withRoutes(matches))].map(({ i }) => i);

interface Request {
  readonly uri: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly port: number;
}
interface Match {
  readonly uri?: { readonly exact?: string; readonly prefix?: string };
  readonly ignoreUriCase?: boolean;
  readonly method?: { readonly exact: string };
  readonly headers?: Readonly<Record<string, { readonly exact?: string; readonly prefix?: string }>>;
  readonly port?: number;
}

function isUriTaken(uri: Match["uri"], asked: string, ignoreCase: boolean): boolean {
  const same = (text: string) => (ignoreCase ? text.toLowerCase() : text);
  const { exact, prefix = "" } = uri ?? {};
  return exact === undefined ? same(asked).startsWith(same(prefix)) : same(asked) === same(exact);
}

/** What Envoy does with a request, without an index. */
function isTaken({ uri, ignoreUriCase, method, headers = {}, port }: Match, request: Request): boolean {
  if (!isUriTaken(uri, request.uri, ignoreUriCase === true)) return false;
  if ((method?.exact ?? request.method) !== request.method || (port ?? request.port) !== request.port) return false;
  return Object.entries(headers).every(([name, { exact, prefix }]) => {
    const value = request.headers[name];
    if (value === undefined) return false;
    return exact === undefined ? value.startsWith(prefix ?? "") : value === exact;
  });
}

const uri = fc.constantFrom("/", "/a", "/A", "/a/b", "/ab", "/b", "/a/b/c");
const value = fc.constantFrom("x", "xy", "z", "");
const match: fc.Arbitrary<Match> = fc
  .record({
    uri: fc.option(
      fc.oneof(
        uri.map((exact) => ({ exact })),
        uri.map((prefix) => ({ prefix })),
      ),
      { nil: undefined },
    ),
    ignoreUriCase: fc.constantFrom(undefined, undefined, true),
    method: fc.constantFrom(undefined, undefined, { exact: "GET" }),
    headers: fc.dictionary(
      fc.constantFrom("h", "i", "j"),
      fc.oneof(
        value.map((exact) => ({ exact })),
        value.map((prefix) => ({ prefix })),
        fc.constant({}),
      ),
      { maxKeys: 3 },
    ),
    port: fc.constantFrom(undefined, undefined, 80),
  })
  .map((one) => JSON.parse(JSON.stringify(one)) as Match);
const request: fc.Arbitrary<Request> = fc.record({
  uri,
  method: fc.constantFrom("GET", "POST"),
  headers: fc.dictionary(fc.constantFrom("h", "i", "j"), value, { maxKeys: 3 }),
  port: fc.constantFrom(80, 81),
});

test("no request reaches what is called unreachable", () => {
  let found = 0;
  const routes = fc.array(fc.array(match, { maxLength: 2 }), { minLength: 2, maxLength: 8 });
  fc.assert(
    fc.property(routes, fc.array(request, { minLength: 20, maxLength: 20 }), (all, requests) => {
      const hidden = new Set(unreachable(all));
      found += hidden.size;
      for (const one of requests) {
        const first = all.findIndex((matches) => matches.length === 0 || matches.some((m) => isTaken(m, one)));
        assert.ok(!hidden.has(first), JSON.stringify([all, one]));
      }
    }),
    { numRuns: 2000 },
  );
  assert.ok(found > 1000, `only ${found} routes were unreachable`);
});

test("a route behind one that contains each of its matches is unreachable", () => {
  assert.deepEqual(unreachable([[{ uri: { prefix: "/a" } }], [{ uri: { exact: "/a/b" } }]]), [1]);
  assert.deepEqual(
    unreachable([[{ uri: { prefix: "/a" } }], [{ uri: { exact: "/a" } }, { uri: { exact: "/b" } }]]),
    [],
  );
  assert.deepEqual(unreachable([[], [{ uri: { regex: "/x" } }]]), [1]);
  assert.deepEqual(unreachable([[{ uri: { regex: "/a.*" } }], [{ uri: { exact: "/ab" } }]]), []);
  assert.deepEqual(unreachable([[{ uri: { regex: ".*" } }], [{ uri: { exact: "/ab" } }]]), [1]);
});

test("an empty text that is asked for exactly is no presence, and no path", () => {
  assert.deepEqual(unreachable([[{ headers: { h: { exact: "" } } }], [{ headers: { h: { exact: "x" } } }]]), []);
  assert.deepEqual(unreachable([[{ headers: { h: {} } }], [{ headers: { h: { exact: "" } } }]]), [1]);
  assert.deepEqual(unreachable([[{ uri: { exact: "" } }], [{ uri: { exact: "/x" } }]]), []);
  assert.deepEqual(
    unreachable([[{ withoutHeaders: { h: { exact: "" } } }], [{ uri: { exact: "/x" }, withoutHeaders: { h: {} } }]]),
    [],
  );
});

test("an empty value is a condition, other than no value", () => {
  const empty = { headers: { h: { exact: "" } } };
  assert.deepEqual(unreachable([[empty], [{ headers: { h: { exact: "1" } } }], [empty]]), [2]);
});

test("the source counts only where no gateways are named", () => {
  const labels = { sourceLabels: { app: "t" } };
  assert.deepEqual(unreachable([[labels], [{ ...labels, sourceNamespace: "a" }]]), [1]);
  assert.deepEqual(unreachable([[labels], []]), []);
  // All gateways of the VirtualService are named, so the source is not asked for.
  assert.deepEqual(unreachable([[{ ...labels, gateways: ["mesh"] }], []]), [1]);
});

test("a prefix takes the requests of a regular expression that begins with it", () => {
  const route = (uri: object) => [{ uri }];
  const taken = (prefix: string, regex: string) => unreachable([route({ prefix }), route({ regex })]).length > 0;
  assert.equal(taken("/api", "/api/v[0-9]+"), true);
  assert.equal(taken("/api/", "^/api/.*"), true);
  assert.equal(taken("/a.b", "/a\\.b/.*"), true);
  assert.equal(taken("/api", "/api(/.*)?"), true);
  assert.equal(taken("/api", "/ap(?:i|is)"), false);
  assert.equal(taken("/api", "/api?"), false);
  assert.equal(taken("/api", "/api/.*|/old"), false);
  assert.equal(taken("/api", "(?i)/api/.*"), false);
  assert.equal(taken("/api", "/ap\\w/.*"), false);
  assert.equal(taken("/api", "/API/.*"), false);
  const ignoring = { uri: { prefix: "/API" }, ignoreUriCase: true };
  assert.deepEqual(unreachable([[ignoring], route({ regex: "/api/.*" })]), [1]);
});

test("property: every path that an expression matches reaches the prefix which is said to take it", () => {
  const piece = fc.constantFrom(
    "/",
    "/a",
    "a",
    "b",
    "\\.",
    ".",
    "[ab]",
    "[]|(]",
    "(a|b)",
    "(?:/b)?",
    "a*",
    "b+",
    "a{0,2}",
    "|",
    "\\d",
    "\\Q(\\E",
  );
  const text = fc.array(fc.constantFrom("/", "a", "b", ".", "(", "|", "]", "1"), { maxLength: 6 });
  fc.assert(
    fc.property(
      fc.array(piece, { minLength: 1, maxLength: 5 }),
      text,
      fc.array(text, { minLength: 20 }),
      (pieces, start, texts) => {
        const [regex, prefix] = [pieces.join(""), `/${start.join("")}`];
        if (unreachable([[{ uri: { prefix } }], [{ uri: { regex } }]]).length === 0) return;
        const matching = texts.map((one) => `/${one.join("")}`).filter((path) => matches(regex, path));
        assert.ok(matching.every((path) => path.startsWith(prefix)));
      },
    ),
    { numRuns: 2000 },
  );
});

/** As RE2 reads it: `]` at the beginning of a class is one of its characters, and a text between \Q and \E stands for itself. */
function matches(regex: string, path: string): boolean {
  const inJs = regex.replaceAll("[]|(]", "[\\]|(]").replaceAll("\\Q(\\E", "\\(");
  try {
    return new RegExp(`^(?:${inJs})$`).test(path);
  } catch {
    return false;
  }
}
