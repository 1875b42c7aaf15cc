import assert from "node:assert/strict";
import { test } from "node:test";
import { asked, meshOf, told } from "./asked.ts";
import { deployment, gatewayProxy, namespace, peerAuthentication, service } from "./meshes.ts";

// Which connections leave a pod past its sidecar (Istio tools/istio-iptables/pkg/capture/run.go Run).

const x = service("shop", "x");
const annotated = (annotations: string) =>
  deployment("web", "client").replace(
    "metadata: { labels: { app: client } }",
    `metadata: { labels: { app: client }, annotations: { ${annotations} } }`,
  );
const mesh = (annotations: string, server = x) =>
  meshOf(
    [
      namespace("web", "sidecar"),
      "---\n",
      namespace("shop", "sidecar"),
      annotated(annotations),
      deployment("shop", "x"),
      server,
      peerAuthentication("shop/strict", "STRICT"),
    ].join(""),
  );
const set = (values: Readonly<Record<string, string>>) =>
  Object.entries(values)
    .map(([name, value]) => `traffic.sidecar.istio.io/${name}: ${JSON.stringify(value)}`)
    .join(", ");
const at = (address: string) => x.replace("spec: {", `spec: { clusterIP: ${JSON.stringify(address)},`);
const headless = at("None");

const redirected = "accepted";
const past = "refused";
const unknown = "undecided";
for (const [values, result, server] of [
  [{}, redirected],
  [{ excludeOutboundPorts: "80" }, past],
  // The port of the Service counts, not that of its pods.
  [{ excludeOutboundPorts: "443,8080" }, redirected],
  [{ excludeOutboundPorts: "0120" }, past],
  [{ excludeOutboundPorts: "80", includeOutboundPorts: "80" }, past],
  [{ includeOutboundPorts: "443" }, redirected],
  [{ includeOutboundIPRanges: "*" }, redirected],
  [{ includeOutboundIPRanges: "0.0.0.0/0" }, redirected],
  [{ includeOutboundIPRanges: "" }, past],
  [{ includeOutboundIPRanges: "", includeOutboundPorts: "80" }, redirected],
  [{ includeOutboundIPRanges: "10.96.0.0/12" }, unknown],
  [{ includeOutboundIPRanges: "10.96.0.0/12" }, unknown, headless],
  [{ includeOutboundIPRanges: "10.96.0.0/12" }, redirected, at("10.96.0.7")],
  [{ includeOutboundIPRanges: "10.96.0.0/12" }, past, at("10.112.0.7")],
  [{ includeOutboundIPRanges: "10.96.0.0/12", includeOutboundPorts: "80" }, redirected],
  [{ excludeOutboundIPRanges: "169.254.169.254/32" }, redirected],
  [{ excludeOutboundIPRanges: "10.0.0.0/8" }, unknown],
  [{ excludeOutboundIPRanges: "169.254.169.254/32,10.0.0.0/8" }, past, at("10.96.0.7")],
  [{ excludeOutboundIPRanges: "10.0.0.0/16", includeOutboundPorts: "80" }, unknown],
  [{ excludeOutboundIPRanges: "10.0.0.0/16" }, redirected, at("10.96.0.7")],
  [{ excludeOutboundIPRanges: "fd00::/8" }, redirected, at("10.96.0.7")],
  [{ excludeInterfaces: "eth0" }, past],
  [{ excludeInterfaces: "net1" }, redirected],
] as const)
  test(`${JSON.stringify(values)}${server === undefined ? "" : `, ${/clusterIP: (\S+),/.exec(server)?.[1]}`}`, () => {
    for (const from of ["web/client", "web/sa/client", "web"])
      assert.deepEqual(
        asked(mesh(set(values), server), from, "shop/x:80").map((one) => one.result),
        [result],
        from,
      );
  });

test("clients without redirection may call their sidecar, or not", () => {
  const none = "sidecar.istio.io/interceptionMode: NONE";
  assert.deepEqual(told(mesh(none), "web/client", "shop/x:80"), [
    "GET / from service account web/client is undecided: it is not known whether Deployment web/client sends requests past its sidecar: the interception mode is NONE",
  ]);
});

test("the sidecar that is passed is named", () => {
  assert.deepEqual(told(mesh(set({ excludeOutboundPorts: "80" })), "web/client", "shop/x:80"), [
    "GET / from callers without an identity past the sidecar of Deployment web/client is refused: the client sends plaintext, and the server requires mTLS (PeerAuthentication shop/strict) [x]",
  ]);
});

test("pods of one account that differ in this are told apart", () => {
  const other = deployment("web", "other", { app: "client" }).replace(
    "serviceAccountName: other",
    "serviceAccountName: client",
  );
  const both = meshOf(
    [
      namespace("web", "sidecar"),
      "---\n",
      namespace("shop", "sidecar"),
      annotated(set({ excludeOutboundPorts: "80" })),
      other,
      deployment("shop", "x"),
      x,
      peerAuthentication("shop/strict", "STRICT"),
    ].join(""),
  );
  const results = asked(both, "web/sa/client", "shop/x:80").map(({ result }) => result);
  assert.deepEqual(results.sort(), ["accepted", "refused"]);
});

test("who has a certificate does not send past its sidecar, and gateways redirect nothing", () => {
  const excluded = set({ excludeOutboundPorts: "80" });
  assert.deepEqual(
    asked(mesh(excluded), "mesh", "shop/x:80").map(({ result }) => result),
    ["accepted"],
  );
  const proxy = gatewayProxy("web", "client").replace("annotations: {", `annotations: { ${excluded},`);
  const gateways = meshOf(
    [namespace("web", "sidecar"), "---\n", namespace("shop", "sidecar"), proxy, deployment("shop", "x"), x].join(""),
  );
  assert.deepEqual(
    asked(gateways, "web/client", "shop/x:80").map(({ source }) => source.sender),
    ["proxy"],
  );
});
