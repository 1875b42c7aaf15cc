import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { ConnectionChanges, Connections } from "../../src/report/connections.ts";
import { deployment, namespace, service, waypoint } from "../mesh/requests/meshes.ts";
import { meshward } from "./terminal.ts";
import { fileWith, folder } from "./written-files.ts";

/** `id` is `namespace/name`; `spec` is in YAML's flow style. */
const object = (group: string, kind: string, id: string, spec: string): string => {
  const [space = "", name = ""] = id.split("/");
  return `---\napiVersion: ${group}.istio.io/v1\nkind: ${kind}\nmetadata: { namespace: ${space}, name: ${name} }\nspec: ${spec}\n`;
};
const security = (kind: string, id: string, spec: string) => object("security", kind, id, spec);
const canary = (stable: number) =>
  object(
    "networking",
    "VirtualService",
    "payments/api",
    `{ hosts: [api], http: [{ route: [{ destination: { host: api, subset: v1 }, weight: ${stable} }, { destination: { host: api, subset: v2 }, weight: ${100 - stable} }] }] }`,
  );

const namespaces = ["payments", "orders", "web"].map((name) => namespace(name, "sidecar")).join("---\n");
const shop = [
  `${namespaces}---\n${namespace("legacy")}`,
  deployment("payments", "api-v1", { app: "api", labels: "version: v1" }),
  deployment("payments", "api-v2", { app: "api", labels: "version: v2" }),
  deployment("orders", "checkout"),
  deployment("web", "shop"),
  deployment("legacy", "cron"),
  service("payments", "api"),
  service("orders", "checkout"),
  security("AuthorizationPolicy", "payments/deny", "{}"),
  security(
    "AuthorizationPolicy",
    "payments/allow",
    `{ rules: [
      { from: [{ source: { principals: [cluster.local/ns/orders/sa/checkout] } }], to: [{ operation: { methods: [POST], paths: [/payments/*] } }] },
      { from: [{ source: { namespaces: [web, orders] } }], to: [{ operation: { methods: [GET, HEAD], paths: [/public/*] } }] },
      { to: [{ operation: { methods: [GET], paths: [/healthz] } }] } ] }`,
  ),
  security(
    "AuthorizationPolicy",
    "orders/admin",
    `{ action: DENY, rules: [{ from: [{ source: { notPrincipals: [cluster.local/ns/web/sa/shop] } }], to: [{ operation: { methods: [DELETE], paths: [/admin/*] } }] }] }`,
  ),
  security("PeerAuthentication", "orders/default", "{ mtls: { mode: STRICT } }"),
  canary(90),
  object(
    "networking",
    "DestinationRule",
    "payments/api",
    "{ host: api, subsets: [{ name: v1, labels: { version: v1 } }, { name: v2, labels: { version: v2 } }] }",
  ),
].join("");
const mesh = fileWith(shop);

const connections = (...argv: string[]) => meshward(["connections", "--mesh", mesh, ...argv]);
async function told(...argv: string[]): Promise<string> {
  const { code, out, error } = await connections(...argv);
  assert.equal(code, 0, error);
  return out;
}
async function json<T>(...argv: string[]): Promise<T> {
  return JSON.parse(await told(...argv, "--format", "json")) as T;
}

describe("connections", () => {
  test("a service account whose pods are all outside the mesh is shown, and that nobody has its certificate", async () => {
    const allow = (account: string) =>
      security(
        "AuthorizationPolicy",
        "payments/allow-account",
        `{ rules: [{ from: [{ source: { principals: [cluster.local/ns/${account}] } }], to: [{ operation: { methods: [PUT] } }] }] }`,
      );
    const from = async (account: string) => {
      const files = fileWith(shop + allow(account));
      const { out } = await meshward(["connections", "--mesh", files, "--service", "api.payments"]);
      return out.split("\n").filter((line) => line.includes("PUT"));
    };
    const [outside, ...more] = await from("legacy/sa/cron");
    assert.match(outside ?? "", /mTLS +from legacy\/cron \(no pod of it has a certificate\): PUT/);
    assert.deepEqual(more, []);
    assert.match(String(await from("web/sa/shop")), /from web\/shop: PUT/);
    // One that has no pods yet may get them anywhere.
    assert.match(String(await from("legacy/sa/new")), /from legacy\/new: PUT/);
  });

  test("of a whole mesh: callers and requests in few words, ports with the same callers together", async () => {
    assert.equal(
      await told(),
      `deployment/legacy/cron:8080
  plaintext  from everybody: all requests

checkout.orders:80
  mTLS       from web/shop: all requests
  mTLS       from everybody in the mesh: all requests but DELETE on /admin/*

api.payments:80
  mTLS       from namespaces orders, web: GET, HEAD on /public/*
  mTLS       from orders/checkout: POST on /payments/*
  mTLS       from everybody in the mesh: GET on /healthz
  plaintext  from outside the mesh: GET on /healthz
  routed     to 90 % subset v1, 10 % subset v2 (VirtualService payments/api) for everybody in the mesh

deployment/web/shop:8080
  mTLS       from everybody in the mesh: all requests
  plaintext  from outside the mesh: all requests
`,
    );
  });

  test("of one caller, whatever others can reach", async () => {
    const note = (name: string) => `\nnote: only requests from this caller are shown: ${name}\n`;
    assert.equal(
      await told("--service", "api.payments", "--from", "deployment/orders/checkout"),
      `api.payments:80
  mTLS       from orders/checkout: GET, HEAD on /public/*; GET on /healthz; POST on /payments/*
  routed     to 90 % subset v1, 10 % subset v2 (VirtualService payments/api)
${note("Deployment orders/checkout")}`,
    );
    const ofLegacy = await told("--service", "checkout.orders", "--from", "namespace/legacy");
    assert.match(
      ofLegacy,
      /^checkout\.orders:80\n {2}nobody: the client sends plaintext, and the server requires mTLS/,
    );
    const { code, error } = await connections("--from", "deployment/orders/chekout");
    assert.equal(code, 2);
    assert.match(error, /--from: .*did you mean/);
  });

  test("of one caller that comes with a change", async () => {
    const change = fileWith(deployment("web", "new"));
    const shown = await told("--service", "api.payments", "--from", "deployment/web/new", "--change", change);
    assert.match(
      shown,
      /^ {2}api\.payments:80\n\+ {3}mTLS from web\/new: GET, HEAD on \/public\/\*; GET on \/healthz\n/m,
    );
    assert.doesNotMatch(shown, /web\/shop|orders/);
  });

  test("of ports that share a change: all together are told what each of them is told alone", async () => {
    const two = [
      namespaces,
      ...["a", "b"].flatMap((name) => [deployment("payments", name), service("payments", name)]),
      security(
        "AuthorizationPolicy",
        "payments/own",
        "{ selector: { matchLabels: { app: b } }, rules: [{ from: [{ source: { namespaces: [web] } }] }] }",
      ),
    ].join("");
    const change = fileWith(
      security("AuthorizationPolicy", "payments/all", "{ rules: [{ from: [{ source: { namespaces: [orders] } }] }] }"),
    );
    const changes = async (...argv: string[]) => {
      const { out } = await meshward([
        "connections",
        "--mesh",
        fileWith(two),
        "--change",
        change,
        "--format",
        "json",
        ...argv,
      ]);
      return (JSON.parse(out) as ConnectionChanges).groups;
    };
    const together = await changes();
    assert.deepEqual(
      together.map(({ title }) => title),
      ["a.payments:80", "b.payments:80"],
    );
    for (const [i, name] of ["a", "b"].entries())
      assert.deepEqual((await changes("--service", `${name}.payments`))[0]?.changes, together[i]?.changes);
    assert.notDeepEqual(together[0]?.changes, together[1]?.changes);
  });

  test("of a namespace, and of a Service", async () => {
    const ofNamespace = await json<Connections>("--namespace", "orders");
    assert.deepEqual(
      ofNamespace.groups.map(({ title }) => title),
      ["checkout.orders:80"],
    );
    const payments = await told("--service", "api.payments");
    assert.match(payments, /^api\.payments:80$/m);
    assert.doesNotMatch(payments, /checkout\.orders:80/);
    for (const same of ["api.payments.svc", "api.payments.svc.cluster.local"])
      assert.equal(await told("--service", same), payments);
    assert.equal(await told("--service", "api", "-n", "payments"), payments);
  });

  test("as JSON, for programs: callers by name, conditions of requests", async () => {
    const { groups } = await json<Connections>("--service", "api.payments");
    const [group] = groups;
    assert.deepEqual(group?.ports, [{ kind: "Service", namespace: "payments", name: "api", port: 80 }]);
    const [first] = group.connections;
    assert.deepEqual(first?.from.alternatives, [
      {
        kind: "named",
        ...{ accounts: [], namespaces: ["orders", "web"], patterns: [], also: [] },
        but: { accounts: [], namespaces: [], patterns: [] },
      },
    ]);
    assert.deepEqual(first.requests.alternatives, [
      [
        { attribute: "method", not: false, values: ["GET", "HEAD"] },
        { attribute: "path", not: false, values: ["/public/*"] },
      ],
    ]);
    assert.deepEqual(
      group.routes[0]?.to.map(({ subset, percent }) => [subset, percent]),
      [
        ["v1", 90],
        ["v2", 10],
      ],
    );
  });

  test("as CSV: a row for each port and connection, also for ports that nobody can reach", async () => {
    const closed = fileWith(`${shop}${security("AuthorizationPolicy", "web/deny", "{}")}`);
    const { out } = await meshward(["connections", "--mesh", closed, "--format", "csv"]);
    const rows = out.split("\r\n");
    assert.equal(rows[0], "to_kind,to_namespace,to_name,to_port,from,status,requests,note");
    assert.ok(rows.includes('Service,payments,api,80,"namespaces orders, web",mtls,"GET, HEAD on /public/*",'));
    assert.ok(
      rows.includes(
        "Deployment,web,shop,8080,nobody,none,,denied because no rule of the ALLOW policies at the sidecar matches: AuthorizationPolicy web/deny",
      ),
      out,
    );
  });

  test("as Markdown, for Graphviz and for Mermaid", async () => {
    const markdown = await told("--format", "markdown");
    assert.match(markdown, /- \*\*checkout\.orders:80\*\*\n {2}- mTLS from web\/shop: all requests\n/);
    const dot = await told("--format", "dot", "--namespace", "orders");
    assert.match(dot, /^digraph connections \{/);
    assert.match(dot, /n1 -> n0 \[label="all requests", style=solid, color=black\];/);
    const mermaid = await told("--format", "mermaid", "--namespace", "orders");
    assert.match(mermaid, /^flowchart LR\n/);
    assert.match(mermaid, /n2 -->\|"all requests but DELETE on \/admin\/#42;"\| n0/);
  });

  test("names of users cannot break out of a format", async () => {
    const hostile = fileWith(
      `${shop}${security("AuthorizationPolicy", "web/x", `{ rules: [{ to: [{ operation: { methods: ['=cmd()"|'], paths: ['/"]; n9 -> n0', '/<script>|x', "/\\u001b[31m"] } }] }] }`)}`,
    );
    const of = async (format: string) =>
      (await meshward(["connections", "--mesh", hostile, "--namespace", "web", "--format", format])).out;
    for (const format of ["text", "csv", "markdown", "dot", "mermaid"])
      assert.ok(!(await of(format)).includes("\u001b"), format);
    assert.match(await of("csv"), /,"'=cmd\(\)""\| on /);
    assert.match(await of("dot"), /\/\\"\]; n9 -> n0/);
    assert.doesNotMatch(await of("mermaid"), /<script>/);
    assert.doesNotMatch(await of("markdown"), /<script>/);
  });

  test("several reports at once, into files", async () => {
    const [csv, graph] = [join(folder, "out.csv"), join(folder, "out.mmd")];
    const { code, out } = await connections("-o", `csv=${csv}`, "-o", `mermaid=${graph}`);
    assert.equal(code, 0);
    assert.match(out, /^checkout\.orders:80$/m);
  });

  test("on a narrow terminal nothing is lost, and lines are broken where there is room for a text", async () => {
    const words = (text: string) => text.split(/\s+/).filter((word) => word !== "");
    for (const columns of [40, 60]) {
      const narrow = await meshward(["connections", "--mesh", mesh], { columns });
      assert.deepEqual(words(narrow.out), words(await told()));
      assert.ok(columns === 40 || narrow.out.split("\n").every((line) => line.length <= columns));
    }
  });
});

describe("connections of callers that send in different ways", () => {
  const ambient = [
    `${namespace("shop", "ambient", "istio.io/use-waypoint: waypoint")}---\n${namespace("web", "ambient")}---\n${namespace("old", "sidecar")}`,
    ...[deployment("shop", "cart"), deployment("web", "front"), service("shop", "cart"), waypoint("shop", "waypoint")],
    security(
      "AuthorizationPolicy",
      "shop/get",
      `{ targetRefs: [{ kind: Service, group: "", name: cart }], rules: [{ from: [{ source: { principals: [cluster.local/ns/web/sa/front] } }], to: [{ operation: { methods: [GET] } }] }] }`,
    ),
  ].join("");
  const mixed = fileWith(ambient);

  test("a sidecar passes by the waypoint that ztunnel uses, and so do callers outside the mesh", async () => {
    const { out } = await meshward(["connections", "--mesh", mixed, "--service", "cart.shop"]);
    assert.equal(
      out,
      `cart.shop:80
  mTLS       from web/front (through ztunnel): GET
  mTLS       from everybody in the mesh but shop/waypoint (with a sidecar): all requests
  plaintext  from outside the mesh: all requests
`,
    );
  });

  test("ztunnel that lets only the waypoint in closes both ways", async () => {
    const closed = fileWith(
      security(
        "AuthorizationPolicy",
        "shop/only-waypoint",
        "{ rules: [{ from: [{ source: { principals: [cluster.local/ns/shop/sa/waypoint] } }] }] }",
      ),
    );
    const { out } = await meshward(["connections", "--mesh", mixed, "--service", "cart.shop", "--change", closed]);
    assert.equal(
      out,
      `  cart.shop:80
-   mTLS from everybody in the mesh but shop/waypoint (with a sidecar): all requests
-   plaintext from outside the mesh: all requests
`,
    );
  });

  test("callers that a change only tells apart from others lose and win nothing", async () => {
    const nothing = "The change has no effect on who can reach what.\n";
    const change = async (text: string, before = mixed) =>
      (await meshward(["connections", "--mesh", before, "--change", fileWith(text)])).out;
    for (const at of ["web", "shop", "old"])
      assert.equal(
        await change(
          object(
            "networking",
            "DestinationRule",
            `${at}/calm`,
            "{ host: cart.shop.svc.cluster.local, trafficPolicy: { connectionPool: { tcp: { maxConnections: 9 } } } }",
          ),
        ),
        nothing,
        at,
      );
    const route = (at: string) =>
      `---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: slow, namespace: ${at} }\nspec: { parentRefs: [{ group: "", kind: Service, name: cart, namespace: shop }], rules: [{ timeouts: { request: 3s }, backendRefs: [{ name: cart, namespace: shop, port: 80 }] }] }\n`;
    assert.equal(await change(route("shop")), nothing);
    // A waypoint that no longer stands in front is nobody who comes: ztunnel let it in before.
    const freed = fileWith(ambient.replace("istio.io/use-waypoint: waypoint", "x: y"));
    const both = await Promise.all([change(ambient, freed), change(namespace("shop", "ambient"))]);
    for (const text of both) assert.doesNotMatch(text, /from (namespace shop|shop\/waypoint)/);
  });

  test("a named caller that can only send through ztunnel is no caller with a sidecar", async () => {
    const only = (...names: readonly string[]) =>
      security(
        "AuthorizationPolicy",
        "shop/only",
        `{ selector: { matchLabels: { app: cart } }, rules: [{ from: [{ source: { principals: [${names.map((name) => `cluster.local/ns/${name}`).join(", ")}] } }] }] }`,
      );
    const closed = fileWith(ambient + only("shop/sa/waypoint"));
    const change = async (name: string) => {
      const file = fileWith(only("shop/sa/waypoint", name));
      return (await meshward(["connections", "--mesh", closed, "--change", file])).out;
    };
    assert.equal(await change("web/sa/other"), "The change has no effect on who can reach what.\n");
    assert.match(await change("old/sa/other"), /\+ +mTLS from old\/other \(with a sidecar\): all requests/);
  });

  test("a namespace instead of each of its ports, and instead of each of its service accounts", async () => {
    const many = ["one", "two", "three"];
    const principals = many.map((name) => `cluster.local/ns/web/sa/${name}`).join(", ");
    const mesh = fileWith(
      [
        `${namespace("shop", "sidecar")}---\n${namespace("web", "sidecar")}`,
        ...many.flatMap((name) => [deployment("web", name), deployment("shop", name), service("shop", name)]),
        security("PeerAuthentication", "shop/default", "{ mtls: { mode: STRICT } }"),
        security(
          "AuthorizationPolicy",
          "shop/web",
          `{ rules: [{ from: [{ source: { principals: [${principals}] } }] }] }`,
        ),
      ].join(""),
    );
    const { out } = await meshward(["connections", "--mesh", mesh, "--namespace", "shop"]);
    assert.equal(
      out,
      `everything in namespace shop (3 ports)
  mTLS       from all 3 service accounts of web: all requests
`,
    );
  });
});

describe("connections of a change", () => {
  const widened = fileWith(
    security(
      "AuthorizationPolicy",
      "payments/more",
      "{ rules: [{ from: [{ source: { namespaces: [web] } }], to: [{ operation: { methods: [GET, POST] } }] }] }",
    ),
  );

  test("only what a new rule adds to what was allowed before", async () => {
    assert.equal(
      await told("--change", widened),
      `  api.payments:80
+   mTLS from namespace web: GET on any path but /healthz, /public/*; POST
`,
    );
  });

  test("what a deletion takes away", async () => {
    const file = fileWith(security("AuthorizationPolicy", "orders/admin", "{}"));
    const { groups } = await json<ConnectionChanges>("--delete", file);
    assert.deepEqual(
      groups.flatMap(({ title, changes }) =>
        changes.map(({ kind, is, from, requests }) => [title, kind, is, from.text, requests.text]),
      ),
      [["checkout.orders:80", "appeared", "mtls", "everybody in the mesh but web/shop", "DELETE on /admin/*"]],
    );
  });

  test("mTLS that becomes plaintext, and who else gets in with it", async () => {
    const file = fileWith(security("PeerAuthentication", "orders/default", "{ mtls: { mode: DISABLE } }"));
    assert.equal(
      await told("--change", file),
      `  checkout.orders:80
-   mTLS from web/shop: DELETE on /admin/*
~   mTLS -> plaintext from everybody in the mesh: all requests but DELETE on /admin/*
+   plaintext from outside the mesh: all requests but DELETE on /admin/*
`,
    );
  });

  test("the shares of a canary", async () => {
    assert.equal(
      await told("--change", fileWith(canary(50))),
      `  api.payments:80
~   from everybody in the mesh: all requests: 90 % subset v1, 10 % subset v2 -> 50 % subset v1, 50 % subset v2
`,
    );
  });

  test("requests of which some destinations or pods refuse some", async () => {
    const missing = object(
      "networking",
      "DestinationRule",
      "payments/api",
      "{ host: api, subsets: [{ name: v1, labels: { version: v1 } }] }",
    );
    assert.match(
      await told("--change", fileWith(missing)),
      /~ {3}from everybody in the mesh: all requests: 90 % subset v1, 10 % subset v2 -> 90 % subset v1, 10 % subset v2, which reach nothing/,
    );
    const closed = fileWith(
      security(
        "AuthorizationPolicy",
        "payments/closed",
        "{ selector: { matchLabels: { version: v2 } }, action: DENY, rules: [{ to: [{ operation: { paths: [/healthz] } }] }] }",
      ),
    );
    const line = "from everybody: GET on /healthz: some destinations refuse them now";
    assert.match(await told("--change", closed), new RegExp(`^~ {3}${line}$`, "m"));
    assert.match(await told("--change", closed, "--format", "csv"), /^partly,.*,all,some\r?$/m);
    const mesh = fileWith(`${shop}---\n${readFileSync(closed, "utf8")}`);
    const { out } = await meshward(["connections", "--mesh", mesh, "--delete", closed]);
    assert.match(out, /^~ {3}from everybody: GET on \/healthz: no destination refuses them any more$/m);
  });

  test("a Service that comes, and one that goes", async () => {
    const added = fileWith(service("web", "shop"));
    const { groups } = await json<ConnectionChanges>("--change", added);
    assert.deepEqual(
      groups.map(({ title, existence }) => [title, existence]),
      [
        ["shop.web:80", "new"],
        ["deployment/web/shop:8080", "gone"],
      ],
    );
  });

  test("nothing, if the same is only said in another way", async () => {
    const same = fileWith(
      [
        security(
          "AuthorizationPolicy",
          "payments/allow",
          `{ rules: [
            { to: [{ operation: { methods: [GET], paths: [/healthz] } }] },
            { from: [{ source: { namespaces: [orders] } }, { source: { namespaces: [web] } }], to: [{ operation: { methods: [HEAD], paths: [/public/*] } }, { operation: { methods: [GET], paths: [/public/*] } }] } ] }`,
        ),
        security(
          "AuthorizationPolicy",
          "payments/posts",
          `{ rules: [{ when: [{ key: source.principal, values: [cluster.local/ns/orders/sa/checkout] }], to: [{ operation: { methods: [POST], paths: [/payments/*] } }] }] }`,
        ),
      ].join(""),
    );
    assert.equal(await told("--change", same), "The change has no effect on who can reach what.\n");
  });

  test("of a scope only", async () => {
    assert.match(await told("--change", widened, "--namespace", "orders"), /^The change has no effect/);
  });

  test("in every format", async () => {
    for (const format of ["json", "csv", "markdown", "dot", "mermaid"])
      assert.match(await told("--change", widened, "--format", format), /namespace web/, format);
    assert.match(await told("--change", widened, "--format", "markdown"), /```diff\n\+ mTLS from namespace web/);
  });

  test("since a revision of git", async () => {
    const repository = join(folder, "repository");
    mkdirSync(repository);
    const git = (...argv: string[]) =>
      execFileSync("git", ["-C", repository, "-c", "user.name=x", "-c", "user.email=x@example.com", ...argv]);
    git("init", "-q");
    writeFileSync(join(repository, "mesh.yaml"), shop);
    git("add", ".");
    git("commit", "-qm", "before");
    writeFileSync(join(repository, "mesh.yaml"), shop.replace("methods: [DELETE]", "methods: [PUT]"));
    const home = process.cwd();
    process.chdir(repository);
    const { code, out, error } = await meshward(["connections", "--mesh", ".", "--since", "HEAD"]).finally(() =>
      process.chdir(home),
    );
    assert.equal(code, 0, error);
    assert.equal(
      out,
      `  checkout.orders:80
+   mTLS from everybody in the mesh but web/shop: DELETE on /admin/*
-   mTLS from everybody in the mesh but web/shop: PUT on /admin/*
`,
    );
  });
});

describe("check --connections", () => {
  const change = fileWith(
    security("PeerAuthentication", "orders/default", "{ mtls: { mode: STRICT } }") +
      security(
        "AuthorizationPolicy",
        "orders/admin",
        "{ action: DENY, rules: [{ to: [{ operation: { methods: [DELETE], paths: [/admin/*] } }] }] }",
      ),
  );
  const check = (...argv: string[]) => meshward(["check", change, "--mesh", mesh, "--connections", ...argv]);

  test("shows beside the findings what the change does, in text, Markdown and JSON", async () => {
    const { code, out } = await check();
    assert.equal(code, 0, out);
    assert.match(
      out,
      /Who can reach what:\n\n {2}checkout\.orders:80\n- {3}mTLS from web\/shop: DELETE on \/admin\/\*\n\n2 objects checked/,
    );
    const markdown = (await check("--format", "markdown")).out;
    assert.match(
      markdown,
      /### Who can reach what\n\n\*\*checkout\.orders:80\*\*\n\n```diff\n- mTLS from web\/shop: DELETE on \/admin\/\*\n```/,
    );
    const report = JSON.parse((await check("--format", "json")).out) as { connections: ConnectionChanges };
    assert.equal(report.connections.groups[0]?.changes[0]?.kind, "gone");
  });

  test("says so if there is nothing to compare with, or nowhere to show it", async () => {
    const alone = await meshward(["check", change, "--connections"]);
    assert.equal(alone.code, 2);
    assert.match(alone.error, /compares the mesh before and after the change; give --mesh or --since/);
    const hidden = await check("--format", "sarif");
    assert.equal(hidden.code, 2);
    assert.match(hidden.error, /--connections is shown as text, json or markdown; add one of these outputs/);
    assert.equal((await check("--format", "sarif", "-o", `markdown=${join(folder, "comment.md")}`)).code, 0);
  });
});

describe("connections that cannot be told", () => {
  const refused = async (argv: readonly string[], expected: RegExp) => {
    const { code, out, error } = await meshward(["connections", ...argv]);
    assert.deepEqual([code, out], [2, ""], error);
    assert.match(error, expected);
  };

  test("a namespace or a Service that is not there: what was probably meant", async () => {
    await refused(
      ["--mesh", mesh, "--namespace", "paymens"],
      /--namespace: there is no namespace "paymens" in this mesh; did you mean "payments"\?/,
    );
    await refused(
      ["--mesh", mesh, "--service", "apy.payments"],
      /there is no Service apy\.payments in this mesh; did you mean api\.payments\?/,
    );
    await refused(
      ["--mesh", mesh, "--service", "api.web"],
      /there is no Service api\.web in this mesh; did you mean api\.payments\?/,
    );
    await refused(["--mesh", mesh, "--service", "api"], /names no namespace; use api\.<namespace>, or add --namespace/);
    await refused(
      ["--mesh", mesh, "--service", "api.payments", "-n", "web"],
      /is in namespace payments, and --namespace says web; leave out one/,
    );
    await refused(["--mesh", mesh, "--service", "a..b"], /is not a Service; use <name>\.<namespace>/);
  });

  test("a mesh without anything to reach, a file that is no YAML, a change that deletes what is not there", async () => {
    const policies = fileWith(security("AuthorizationPolicy", "payments/deny", "{}"));
    await refused(
      ["--mesh", policies],
      /contains neither Services nor workloads, so nothing in it can be reached; give the manifests of the whole mesh/,
    );
    await refused(
      ["--mesh", policies, "--service", "api.payments"],
      /the mesh contains no Services, so api\.payments is not known/,
    );
    await refused(["--mesh", fileWith("a: [")], /cannot be read completely:/);
    await refused(["--mesh", mesh, "--change", fileWith("a: [")], /cannot be read completely:/);
    await refused(
      ["--mesh", mesh, "--delete", fileWith(service("web", "other"))],
      /the mesh has no Service web\/other/,
    );
    await refused(["--mesh", mesh, "--since", "HEAD", "--delete", mesh], /leave out --change and --delete/);
  });

  test("workloads that are not known: nobody is said to be let in, and the note says why", async () => {
    const partial = fileWith(`${namespaces}${service("payments", "api")}`);
    const { code, out } = await meshward(["connections", "--mesh", partial]);
    assert.equal(code, 0);
    assert.match(out, /undecided/);
    assert.doesNotMatch(out, /^ {2}(?:mTLS|plaintext) /m);
    assert.match(out, /note: the mesh contains no Workload/);
  });

  test("a change of what is undecided before and after: its effect is not known, and not none", async () => {
    const deciding = (provider: string) =>
      security(
        "AuthorizationPolicy",
        "web/ask",
        `{ action: CUSTOM, provider: { name: ${provider} }, rules: [{ to: [{ operation: { paths: [/admin*] } }] }] }`,
      );
    const asked = fileWith(`${shop}${deciding("opa")}`);
    const { code, out } = await meshward(["connections", "--mesh", asked, "--change", fileWith(deciding("other"))]);
    assert.equal(code, 0);
    assert.match(
      out,
      /^The change has no known effect on who can reach what\.\n\nnote: requests to deployment\/web\/shop:8080 are undecided before and after the change, so what it does to them is not known: the provider "other" decides/,
    );
  });

  test("policies that are too hard to examine are undecided, in a second", async () => {
    const rules = Array.from(
      { length: 60 },
      (_, i) =>
        `{ from: [{ source: { notNamespaces: ['*a${i}*'] } }], to: [{ operation: { paths: ['*${i}x*', '/a${i}*'], notPaths: ['/b${i}*'], methods: ['M${i}*'] } }], when: [{ key: 'request.headers[x-${i}]', values: ['a*'] }] }`,
    );
    const hard = fileWith(
      `${shop}${["ALLOW", "DENY"].map((action) => security("AuthorizationPolicy", `web/${action.toLowerCase()}`, `{ action: ${action}, rules: [${rules.join(", ")}] }`)).join("")}`,
    );
    const { out } = await meshward(["connections", "--mesh", hard, "--namespace", "web"]);
    assert.match(out, /^ {2}undecided +from everybody: all requests \(there are so many policies and conditions/m);
    assert.doesNotMatch(out, /routed/);
  });

  test("a provider that decides: undecided, with the reason", async () => {
    const asked = fileWith(
      `${shop}${security("AuthorizationPolicy", "web/ask", "{ action: CUSTOM, provider: { name: opa }, rules: [{ to: [{ operation: { paths: [/admin*] } }] }] }")}`,
    );
    const { out } = await meshward(["connections", "--mesh", asked, "--namespace", "web"]);
    assert.match(
      out,
      /undecided +from everybody: any method on \/admin\* \(the provider "opa" decides, which is not known\)/,
    );
    assert.match(out, /mTLS +from everybody in the mesh: any method on any path but \/admin\*/);
  });
});
