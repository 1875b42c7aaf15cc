import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import type { ReportedLine } from "../../src/report/explanation.ts";
import type { ReportedDifference, ReportedExplanation } from "../../src/report/explanation-json.ts";
import { ListWatchServer } from "../sources/cluster/list-watch-server.ts";
import { kubeconfigFor } from "../sources/cluster/live-cluster.ts";
import { meshward } from "./terminal.ts";
import { fileWith } from "./written-files.ts";

const tour = fileURLToPath(new URL("../../policies/tour", import.meta.url));

const newYear = "2026-01-01T00:00:00Z";
/** `at` is apiVersion and kind. */
const object = (at: readonly [string, string], id: string, body = "", created = newYear) => {
  const [namespace, name] = id.split("/");
  return `apiVersion: ${at[0]}
kind: ${at[1]}
metadata: { namespace: ${namespace}, name: ${name}, creationTimestamp: "${created}" }
${body}
---
`;
};
const namespace = (name: string, labels: string) => `apiVersion: v1
kind: Namespace
metadata: { name: ${name}, labels: { ${labels} } }
---
`;
const deployment = (id: string, labels: string, ports = "8080") =>
  object(
    ["apps/v1", "Deployment"],
    id,
    `spec: { template: { metadata: { labels: { ${labels} } }, spec: { serviceAccountName: api, containers: [{ name: c, ports: [${ports
      .split(" ")
      .map((port) => `{ containerPort: ${port} }`)
      .join(", ")}] }] } } }`,
  );
const security = (kind: string, id: string, spec: string, created?: string) =>
  object(["security.istio.io/v1", kind], id, `spec: ${spec}`, created);
const networking = (kind: string, id: string, spec: string, created?: string) =>
  object(["networking.istio.io/v1", kind], id, `spec: ${spec}`, created);

const shop = [
  namespace("istio-system", "a: b"),
  namespace("payments", 'istio-injection: enabled, "meshward.io/protected": "true"'),
  namespace("orders", "istio-injection: enabled"),
  namespace("ambient", "istio.io/dataplane-mode: ambient"),
  namespace("legacy", "team: old"),
  deployment("payments/api-v1", "app: api, version: v1", "8080 9090"),
  deployment("payments/api-v2", "app: api, version: v2", "8080 9090"),
  deployment("payments/batch", 'app: batch, "sidecar.istio.io/inject": "false"'),
  deployment("orders/web", "app: web"),
  deployment("legacy/cron", "app: cron"),
  object(
    ["v1", "Service"],
    "payments/api",
    "spec: { selector: { app: api }, ports: [{ name: http, port: 80, targetPort: 8080 }, { name: metrics, port: 9090 }] }",
  ),
  security("PeerAuthentication", "istio-system/default", "{ mtls: { mode: PERMISSIVE } }"),
  security("PeerAuthentication", "payments/second", "{ mtls: { mode: DISABLE } }", "2026-01-03T00:00:00Z"),
  security("PeerAuthentication", "payments/default", "{ mtls: { mode: PERMISSIVE } }", "2026-01-02T00:00:00Z"),
  security(
    "PeerAuthentication",
    "payments/metrics",
    "{ selector: { matchLabels: { app: api } }, mtls: { mode: STRICT }, portLevelMtls: { 9090: { mode: DISABLE } } }",
  ),
  security("AuthorizationPolicy", "payments/deny", "{}"),
  security(
    "AuthorizationPolicy",
    "payments/orders",
    "{ selector: { matchLabels: { app: api } }, rules: [{ from: [{ source: { namespaces: [orders] } }] }] }",
  ),
  `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { namespace: payments, name: tried, annotations: { "istio.io/dry-run": "true" } }
spec: { action: DENY, rules: [{}] }
---
`,
  networking(
    "DestinationRule",
    "payments/api",
    "{ host: api, subsets: [{ name: v1, labels: { version: v1 } }, { name: v3, labels: { version: v3 } }] }",
  ),
  networking("DestinationRule", "orders/local", "{ host: '*.local', trafficPolicy: { tls: { mode: DISABLE } } }"),
  networking("DestinationRule", "legacy/api", "{ host: api.payments.svc.cluster.local }"),
  networking(
    "VirtualService",
    "payments/api",
    "{ hosts: [api], http: [{ name: canary, route: [{ destination: { host: api, subset: v1 }, weight: 90 }, { destination: { host: api, subset: v3 }, weight: 10 }] }] }",
  ),
  networking(
    "VirtualService",
    "orders/late",
    "{ hosts: [api.payments.svc.cluster.local], http: [{ route: [{ destination: { host: api.payments.svc.cluster.local } }] }] }",
    "2026-02-01T00:00:00Z",
  ),
].join("");
const mesh = fileWith(shop);

const explain = (...argv: string[]) => meshward(["explain", ...argv, "--mesh", mesh]);
async function json(...argv: string[]): Promise<ReportedExplanation> {
  const { code, out, error } = await explain(...argv, "--format", "json");
  assert.equal(code, 0, error);
  return JSON.parse(out) as ReportedExplanation;
}
function* all(lines: readonly ReportedLine[]): Iterable<ReportedLine> {
  for (const line of lines) {
    yield line;
    yield* all(line.lines);
  }
}
const found = ({ lines }: { lines: readonly ReportedLine[] }, key: string) =>
  [...all(lines)].filter((line) => line.key === key);

describe("explain a namespace", () => {
  test("which policy denies by default: one without rules before others", async () => {
    const named = "{ rules: [{ from: [{ source: { namespaces: [orders] } }] }] }";
    const policies = fileWith(
      ["a", "z"].map((name) => security("AuthorizationPolicy", `payments/${name}`, named)).join("") +
        security("AuthorizationPolicy", "payments/nothing", "{}"),
    );
    const { out } = await meshward(["explain", "namespace/payments", "--mesh", policies]);
    assert.match(out, /are denied by default by AuthorizationPolicy payments\/nothing: /);
  });

  test("as a tree: enrollment, mTLS with who wins and who loses, authorization, workloads, protection", async () => {
    const { code, out } = await explain("namespace/payments");
    assert.equal(code, 0);
    const expected = [
      "Namespace payments",
      "├─ Enrollment: sidecars are injected into its pods (label istio-injection=enabled)",
      "│  └─ Deployment payments/batch is not captured: sidecar.istio.io/inject=false of the pod",
      "├─ mTLS: PERMISSIVE, by PeerAuthentication payments/default",
      "│  ├─ PeerAuthentication istio-system/default (PERMISSIVE, for the whole mesh) has no effect here: PeerAuthentication payments/default has a narrower scope",
      "│  ├─ PeerAuthentication payments/default (PERMISSIVE, for the namespace) counts",
      "│  ├─ PeerAuthentication payments/second (DISABLE, for the namespace) has no effect: PeerAuthentication payments/default is older",
      "│  └─ PeerAuthentication payments/metrics is for workloads with app=api only",
      "├─ Authorization (proxies enforce it): workloads that no policy selects are denied by default by AuthorizationPolicy payments/deny: requests that no ALLOW policy matches are denied",
      "│  ├─ ALLOW AuthorizationPolicy payments/deny (the whole namespace): allows nobody: it has no rules",
      "│  ├─ ALLOW AuthorizationPolicy payments/orders (workloads with app=api): allows namespace orders",
      "│  └─ DENY AuthorizationPolicy payments/tried (the whole namespace) has no effect: it is a dry run (annotation istio.io/dry-run)",
      "├─ Workloads: 3",
      "│  ├─ Deployment payments/api-v1: sidecar; mTLS STRICT, port 9090 DISABLE; denied by default",
      "│  ├─ Deployment payments/api-v2: sidecar; mTLS STRICT, port 9090 DISABLE; denied by default",
      "│  └─ Deployment payments/batch: not in the mesh; no mTLS; open",
      "├─ Meshward: protected by profile baseline (label meshward.io/protected=true)",
    ];
    assert.deepEqual(out.split("\n").slice(0, expected.length), expected);
  });

  test("modes of rules that a policy changes are named", async () => {
    const policies = fileWith(`apiVersion: meshward.io/v1alpha1
kind: MeshwardPolicy
metadata: { name: ours }
spec:
  protectedNamespaces: { names: ["ord*"] }
  rules: [{ id: virtual-service-weights-not-100, mode: warn }]
`);
    const { code, out } = await explain("ns/orders", "--policies", policies);
    assert.equal(code, 0);
    assert.match(out, /Meshward: protected by MeshwardPolicy ours \(name ord\*\)/);
    assert.match(out, /virtual-service-weights-not-100: warn instead of deny, by MeshwardPolicy ours/);
  });

  test("what nothing captures has neither mTLS nor authorization", async () => {
    const { out } = await explain("namespace/legacy");
    assert.match(out, /Enrollment: not in the mesh: no label enrolls it/);
    assert.match(out, /mTLS, for future captured workloads: PERMISSIVE/);
    assert.match(out, /Deployment legacy\/cron: not in the mesh; no mTLS; open/);
  });
});

describe("explain a workload", () => {
  test("each port, the policies for it, its identity and hosts", async () => {
    const explanation = await json("deployment/payments/api-v1");
    assert.deepEqual(explanation.target, { kind: "Deployment", namespace: "payments", name: "api-v1" });
    assert.deepEqual(
      found(explanation, "mtls.port").map(({ of, value }) => [of, value]),
      [
        ["8080", "STRICT"],
        ["9090", "DISABLE"],
      ],
    );
    assert.equal(found(explanation, "identity")[0]?.value, "cluster.local/ns/payments/sa/api");
    assert.equal(found(explanation, "host")[0]?.value, "api.payments.svc.cluster.local");
    assert.equal(found(explanation, "authorization")[0]?.value, "denied-by-default");
    assert.deepEqual(
      found(explanation, "authorization.policy").map(({ of, counts }) => [of, counts]),
      [
        ["AuthorizationPolicy payments/deny", true],
        ["AuthorizationPolicy payments/orders", true],
        ["AuthorizationPolicy payments/tried", false],
      ],
    );
    assert.match(
      found(explanation, "mtls.otherPlane")[0]?.text ?? "",
      /^in ambient mode it is STRICT.*port 9090: PERMISSIVE$/,
    );
  });

  test("by its kind, its short name, with -n, or by its bare name", async () => {
    const words = [
      ["deployment/payments/api-v1"],
      ["deploy", "payments/api-v1"],
      ["Deployments", "api-v1", "-n", "payments"],
      ["workload/payments/api-v1"],
      ["api-v1", "-n", "payments"],
    ];
    const outputs = await Promise.all(words.map((argv) => explain(...argv)));
    assert.deepEqual(
      new Set(outputs.map(({ code, out }) => `${code} ${out.split("\n")[0]}`)),
      new Set(["0 Deployment payments/api-v1"]),
    );
  });

  test("what ztunnel makes of HTTP rules, and ports that go past the mesh", async () => {
    const text = [
      shop,
      deployment("ambient/app", "app: app"),
      security("AuthorizationPolicy", "ambient/read", "{ rules: [{ to: [{ operation: { methods: [GET] } }] }] }"),
      security(
        "AuthorizationPolicy",
        "ambient/write",
        "{ action: DENY, rules: [{ to: [{ operation: { methods: [POST] } }] }] }",
      ),
      deployment("orders/past", "app: past").replace(
        "labels: { app: past }",
        'labels: { app: past }, annotations: { "traffic.sidecar.istio.io/excludeInboundPorts": "8080" }',
      ),
    ].join("");
    const wide = fileWith(text);
    const app = await meshward(["explain", "deploy/ambient/app", "--mesh", wide]);
    assert.match(
      app.out,
      /ALLOW AuthorizationPolicy ambient\/read.*\n.*rules\[0\] allows nobody: ztunnel does not support methods/,
    );
    assert.match(
      app.out,
      /DENY AuthorizationPolicy ambient\/write.*\n.*rules\[0\] never matches: ztunnel does not support methods/,
    );
    const past = await meshward(["explain", "deploy/orders/past", "--mesh", wide]);
    assert.match(
      past.out,
      /port 8080: plaintext regardless of policies, because annotation .*excludeInboundPorts makes it bypass the mesh/,
    );
    const orders = await meshward(["explain", "ns/orders", "--mesh", wide]);
    assert.match(orders.out, /Deployment orders\/past: sidecar; mTLS PERMISSIVE, port 8080 bypasses the mesh; open/);
    const strict = await meshward(["explain", "ns/orders", "--strict", "--mesh", wide]);
    assert.match(
      strict.out,
      /Deployment orders\/past: annotation .*excludeInboundPorts makes port 8080 bypass the mesh/,
    );
  });

  test("a gateway's pods have the policies that name their Gateway", async () => {
    const gatewayApi = "gateway.networking.k8s.io/v1";
    const gateway = [
      shop,
      object([gatewayApi, "Gateway"], "orders/edge", "spec: { gatewayClassName: istio }"),
      deployment(
        "orders/edge-istio",
        '"gateway.networking.k8s.io/gateway-name": edge, "gateway.istio.io/managed": c',
      ).replace(
        "metadata: {",
        `metadata: { ownerReferences: [{ apiVersion: ${gatewayApi}, kind: Gateway, name: edge }],`,
      ),
      security(
        "AuthorizationPolicy",
        "orders/edge",
        "{ targetRefs: [{ group: gateway.networking.k8s.io, kind: Gateway, name: edge }] }",
      ),
    ].join("");
    const { out } = await meshward(["explain", "deploy/orders/edge-istio", "--mesh", fileWith(gateway)]);
    assert.match(out, /it is a proxy of the data plane/);
    assert.match(out, /mTLS: set by its Gateway; PeerAuthentications have no effect on proxies/);
    assert.match(out, /denied by default by AuthorizationPolicy orders\/edge/);
    assert.match(out, /ALLOW AuthorizationPolicy orders\/edge \(at Gateway edge\): allows nobody/);
  });

  test("one that nothing captures says so, and what it would be", async () => {
    const explanation = await json("deployment/payments/batch");
    assert.deepEqual([found(explanation, "capture")[0]?.value, found(explanation, "mtls")[0]?.value], ["none", "none"]);
    assert.match(found(explanation, "mtls.otherPlane")[0]?.text ?? "", /would be PERMISSIVE/);
    assert.match(found(explanation, "authorization")[0]?.text ?? "", /open: its pods are not captured/);
  });
});

describe("explain a host", () => {
  test("what clients use and what they pass over, and why", async () => {
    const explanation = await json("host", "api.payments.svc.cluster.local", "--from", "orders");
    assert.deepEqual(explanation.target, { kind: "Host", name: "api.payments.svc.cluster.local", from: "orders" });
    assert.deepEqual(found(explanation, "destinationRule")[0]?.value, ["DestinationRule orders/local"]);
    assert.deepEqual(
      found(explanation, "destinationRule.passedOver")
        .map(({ of, value }) => `${of} ${JSON.stringify(value)}`)
        .sort(),
      ['DestinationRule legacy/api "elsewhere"', 'DestinationRule payments/api "later-namespace"'],
    );
    assert.equal(found(explanation, "virtualService")[0]?.value, "VirtualService payments/api");
    assert.match(
      found(explanation, "virtualService.passedOver")[0]?.text ?? "",
      /VirtualService orders\/late has no effect: VirtualService payments\/api is older/,
    );
    assert.deepEqual(
      found(explanation, "request").map(({ of, value }) => [of, value]),
      [
        ["80", ["refused"]],
        ["9090", ["plaintext"]],
      ],
    );
    assert.match(
      found(explanation, "request")[0]?.text ?? "",
      /clients send plaintext, by DestinationRule orders\/local/,
    );
  });

  test("subsets with the workloads that have them; a short name is one of the clients' namespace", async () => {
    const { code, out } = await explain("host", "api", "--from", "payments");
    assert.equal(code, 0);
    assert.match(out, /^Host api\.payments\.svc\.cluster\.local, for clients in payments\n/);
    assert.match(out, /subset v1 \(version=v1\): Deployment payments\/api-v1\n/);
    assert.match(out, /subset v3 \(version=v3\): no workload has these labels\n/);
    assert.match(out, /http\[0\] canary: 90% to api subset v1, 10% to api subset v3\n/);
    assert.match(out, /A request to port 80: mTLS/);
  });

  test("a host is found by the names that the DNS of Kubernetes resolves", async () => {
    for (const [asked, ...from] of [
      ["api.payments", "--from", "orders"],
      ["API.payments.svc", "--from", "orders"],
      ["api.payments.svc.cluster.local.", "--from", "orders"],
    ] as const) {
      const { code, out } = await explain("host", asked, ...from);
      assert.equal(code, 0, asked);
      assert.match(out, /^Host api\.payments\.svc\.cluster\.local, for clients in orders\n/);
    }
    const { out } = await explain("host", "api.payments");
    assert.match(out, /^Host api\.payments\.svc\.cluster\.local, for clients in payments\n/);
  });

  test("clients outside the mesh and ambient clients are told apart", async () => {
    const legacy = await json("service/payments/api", "--from", "legacy");
    assert.deepEqual(found(legacy, "request")[0]?.value, ["refused"]);
    assert.equal(found(legacy, "destinationRule")[0]?.counts, false);
    const { out } = await explain("host", "api.payments.svc.cluster.local", "--from", "ambient");
    assert.match(out, /Clients in ambient are ambient: ztunnel does not use VirtualServices and DestinationRules/);
  });

  test("a waypoint looks DestinationRules up from its own namespace", async () => {
    const waypoint = [
      namespace("mobile", '"istio.io/dataplane-mode": ambient, "istio.io/use-waypoint": way'),
      object(
        ["gateway.networking.k8s.io/v1", "Gateway"],
        "mobile/way",
        "spec: { gatewayClassName: istio-waypoint, listeners: [{ name: mesh, port: 15008, protocol: HBONE }] }\nstatus: { addresses: [{ value: 10.0.0.1 }] }",
      ),
      deployment("mobile/app", "app: app"),
      object(["v1", "Service"], "mobile/app", "spec: { selector: { app: app }, ports: [{ port: 80 }] }"),
      networking("DestinationRule", "mobile/app", "{ host: app }"),
      networking("DestinationRule", "ambient/app", "{ host: app.mobile.svc.cluster.local }"),
      security("AuthorizationPolicy", "mobile/app", "{ targetRefs: [{ kind: Service, name: app }] }"),
    ].join("");
    const { out, code } = await meshward([
      "explain",
      "host",
      "app.mobile.svc.cluster.local",
      "--from",
      "ambient",
      "--mesh",
      fileWith(shop + waypoint),
    ]);
    assert.equal(code, 0);
    assert.match(out, /Waypoint: mobile\/way \(the namespace's label\)/);
    assert.match(
      out,
      /At the waypoint, for ambient clients \(looked up from mobile\):\n.*\n│ {2}└─ DestinationRule mobile\/app is used/,
    );
    assert.match(
      out,
      /Authorization at the waypoint \(proxies enforce it\): denied by default by AuthorizationPolicy mobile\/app/,
    );
  });
});

describe("explain a change", () => {
  const strict = fileWith(security("PeerAuthentication", "payments/default", "{ mtls: { mode: STRICT } }"));

  test("shows only what differs, before and after", async () => {
    const { code, out } = await explain("namespace/payments", "--change", strict);
    assert.equal(code, 0);
    assert.equal(
      out,
      [
        "  Namespace payments",
        "- ├─ mTLS: PERMISSIVE, by PeerAuthentication payments/default",
        "+ └─ mTLS: STRICT, by PeerAuthentication payments/default",
        "-    ├─ PeerAuthentication payments/default (PERMISSIVE, for the namespace) counts",
        "+    └─ PeerAuthentication payments/default (STRICT, for the namespace) counts",
        "",
      ].join("\n"),
    );
  });

  test("of a deletion", async () => {
    const gone = fileWith(security("AuthorizationPolicy", "payments/deny", "{}"));
    const { out } = await explain("deployment/payments/batch", "--delete", gone);
    assert.match(out, /^- .*AuthorizationPolicy payments\/deny/m);
    const missing = await explain(
      "namespace/payments",
      "--delete",
      fileWith(security("AuthorizationPolicy", "payments/none", "{}")),
    );
    assert.equal(missing.code, 2);
    assert.match(missing.error, /the mesh has no AuthorizationPolicy payments\/none; correct the file or the mesh/);
  });

  test("that adds what is to be explained shows all of it; one elsewhere has no effect", async () => {
    const added = await explain("deployment/orders/new", "--change", fileWith(deployment("orders/new", "app: new")));
    assert.equal(added.code, 0);
    assert.match(added.out, /^\+ ├─ Captured by a sidecar/m);
    const { out } = await explain("namespace/orders", "--change", strict);
    assert.match(out, /the change has no effect here/);
  });

  test("as JSON has both sides and the lines that differ", async () => {
    const { out } = await explain("namespace/payments", "--change", strict, "--format", "json");
    const { kind, differences, before, after } = JSON.parse(out) as ReportedDifference;
    assert.equal(kind, "ExplanationDifference");
    assert.deepEqual(
      differences.map(({ mark, under, line }) => [mark, under.join(), line.key, line.value]),
      [
        ["-", "", "mtls", "PERMISSIVE"],
        ["+", "", "mtls", "STRICT"],
        ["-", "mtls", "mtls.policy", "counts"],
        ["+", "mtls", "mtls.policy", "counts"],
      ],
    );
    assert.deepEqual(
      [found({ lines: before }, "mtls")[0]?.value, found({ lines: after }, "mtls")[0]?.value],
      ["PERMISSIVE", "STRICT"],
    );
  });

  test("that moves the root namespace is seen", async () => {
    const config = fileWith(
      "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: istio, namespace: istio-system }\ndata: { mesh: 'rootNamespace: legacy' }\n",
    );
    const { out } = await explain("namespace/orders", "--change", config);
    assert.match(out, /^- .*mTLS: PERMISSIVE, by PeerAuthentication istio-system\/default/m);
  });
});

describe("explain --strict", () => {
  test("lists what would break, each with what to do, and what is not known", async () => {
    const explanation = await json("namespace/payments", "--strict");
    const named = (key: string) => found(explanation, key).flatMap(({ of }) => (of === null ? [] : [of]));
    assert.deepEqual(named("strict.client"), ["legacy", "payments"]);
    assert.deepEqual(named("strict.destinationRule"), ["DestinationRule orders/local"]);
    assert.deepEqual(named("strict.exempt"), ["Deployment payments/api-v1 9090", "Deployment payments/api-v2 9090"]);
    assert.deepEqual(named("strict.outside"), ["Deployment payments/batch"]);
    assert.equal(found(explanation, "strict.todo").length, 6);
    assert.match(found(explanation, "strict.unknown")[0]?.text ?? "", /the actual callers/);
  });

  test("where nothing would break that the mesh shows, says so, with what is not known", async () => {
    const calm = fileWith(namespace("shop", "istio-injection: enabled") + deployment("shop/api", "app: api"));
    const { code, out } = await meshward(["explain", "namespace/shop", "--strict", "--mesh", calm]);
    assert.equal(code, 0);
    assert.match(out, /No connection in this mesh would fail/);
    assert.match(out, /1 workload would refuse plaintext that it accepts now: Deployment shop\/api/);
    assert.match(out, /Not known: Services, /);
  });

  test("is a question about namespaces", async () => {
    const { code, error } = await explain("deployment/payments/batch", "--strict");
    assert.equal(code, 2);
    assert.match(error, /explain namespace\/<name> --strict/);
  });
});

describe("what does not exist is named, with what is near, and the exit code is 2", () => {
  const cases: readonly (readonly [string, readonly string[], RegExp])[] = [
    ["a namespace", ["namespace/payment"], /no namespace "payment" in this mesh; did you mean namespace\/payments\?/],
    [
      "a workload",
      ["deployment/payments/api-v11"],
      /no Deployment payments\/api-v11 .*did you mean deployment\/payments\/api-v1\?/,
    ],
    [
      "of another kind",
      ["pod/payments/api-v1"],
      /no Pod payments\/api-v1.*did you mean deployment\/payments\/api-v1\?/,
    ],
    ["a pod that another made", ["pod/payments/api-v1-7d9f8c-x2x4z"], /did you mean deployment\/payments\/api-v1\?/],
    ["in another namespace", ["deploy/orders/batch"], /did you mean deployment\/payments\/batch\?/],
    [
      "whose namespace is not there",
      ["deploy/paymens/batch"],
      /no namespace "paymens"; did you mean payments\/batch\?/,
    ],
    ["a bare name", ["payments"], /no workload default\/payments .*did you mean/],
    [
      "a host",
      ["host", "apii.payments.svc.cluster.local"],
      /no object in this mesh refers to host apii.*did you mean api\.payments\.svc\.cluster\.local\?/,
    ],
    [
      "a host of Kubernetes' DNS",
      ["host", "apii.payments", "--from", "orders"],
      /no object in this mesh refers to host apii\.payments; did you mean api\.payments\.svc\.cluster\.local\?/,
    ],
    [
      "a short name elsewhere",
      ["host", "api", "--from", "orders"],
      /did you mean api\.payments\.svc\.cluster\.local\?/,
    ],
    ["a host without clients", ["host", "api"], /give it with --from <namespace>/],
    [
      "the clients",
      ["host", "api.payments.svc.cluster.local", "--from", "order"],
      /--from: there is no namespace "order" .*orders\?/,
    ],
    [
      "a kind",
      ["virtualservice/payments/api"],
      /explain supports namespaces, workloads, hosts and gateways, not "virtualservice"/,
    ],
    ["nothing", ["deployment//"], /"deployment\/\/" is not a target/],
    ["a namespace without its kind", ["payments"], /no namespace "default"; did you mean namespace\/payments\?/],
  ];
  for (const [what, argv, expected] of cases)
    test(what, async () => {
      const { code, out, error } = await explain(...argv);
      assert.deepEqual([code, out], [2, ""]);
      assert.match(error, expected);
      assert.doesNotMatch(error, /defect of Meshward/);
    });
});

test("kinds that the mesh shows nothing of are named", async () => {
  const alone = fileWith(security("PeerAuthentication", "shop/default", "{ mtls: { mode: STRICT } }"));
  const { code, out } = await meshward(["explain", "namespace/shop", "--mesh", alone]);
  assert.equal(code, 0);
  assert.match(out, /Not known, because the mesh contains none: Namespaces, Workloads/);
  const workload = await meshward(["explain", "deployment/shop/api", "--mesh", alone]);
  assert.match(workload.error, /the mesh contains no workloads, so shop\/api is not known/);
  const named = fileWith("apiVersion: v1\nkind: Namespace\nmetadata: { name: shop }\n");
  const namespace = await meshward(["explain", "shop", "--mesh", named]);
  assert.match(namespace.error, /so default\/shop is not known; did you mean namespace\/shop\?/);
});

test("the tour's mesh, whole, explains the API of the payments: a policy for debugging opens them", async () => {
  const { code, out } = await meshward(["explain", "deployment/payments/api", "--mesh", tour]);
  assert.equal(code, 0);
  assert.match(
    out,
    /Authorization \(ztunnel enforces it\): open: AuthorizationPolicy payments\/allow-debugging allows everyone/,
  );
  assert.match(out, /port 9090 \(metrics\): PERMISSIVE, by PeerAuthentication payments\/api-metrics/);
});

test("a live cluster is explained as files are", async (context) => {
  const server = new ListWatchServer();
  for (const [version, kind, plural] of [
    ["v1", "Namespace", "namespaces"],
    ["v1", "Service", "services"],
    ["apps/v1", "Deployment", "deployments"],
    ["networking.istio.io/v1", "DestinationRule", "destinationrules"],
  ] as const)
    server.serve(version, kind, plural);
  const metadata = { name: "shop", namespace: "shop" };
  server.apply("namespaces", { metadata: { name: "shop", labels: { "istio-injection": "enabled" } } });
  server.apply("services", { metadata, spec: { selector: { app: "shop" }, ports: [{ port: 80 }] } });
  server.apply("destinationrules", { metadata, spec: { host: "shop", subsets: [{ name: "v1", labels: { v: "1" } }] } });
  const kubeconfig = kubeconfigFor(context, await server.listen());
  context.after(() => server.close());
  const argv = ["explain", "host", "shop", "--from", "shop", "--mesh", "cluster", "--kubeconfig", kubeconfig];
  const { code, out, error } = await meshward(argv);
  assert.equal(code, 0, error);
  assert.match(out, /DestinationRule shop\/shop is used\n/);
  assert.match(out, /subset v1 \(v=1\): no workload has these labels/);
});
