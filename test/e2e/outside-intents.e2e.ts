import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { parse } from "yaml";
import { egressGateway } from "../intents/egress.ts";
import { objectsIn } from "../intents/story.ts";
import { isDenied, isFree, namespace, type Raw, send, skip } from "./environment.ts";
import { until } from "./program.ts";
import { startWithIntents, type WithIntents } from "./with-intents.ts";

// Intents of policies/intents.md about hosts outside the mesh: one where sidecars refuse other hosts, one behind an egress gateway.

const page = readFileSync(new URL("../../policies/intents.md", import.meta.url), "utf8");
const intentOf = (name: string): Raw =>
  parse(new RegExp(`<!-- intent: ${name} -->\\n\`\`\`yaml\\n([\\s\\S]*?)\`\`\``).exec(page)?.[1] ?? "") as Raw;
const delay = { everyMs: 250 };

const pods = (where: string, app: string): Raw => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: app, namespace: where },
  spec: {
    selector: { matchLabels: { app } },
    template: {
      metadata: { labels: { app } },
      spec: { serviceAccountName: app, containers: [{ name: "app", image: "app:1" }] },
    },
  },
});
const entry = (name: string, host: string, exportTo: string): Raw => ({
  apiVersion: "networking.istio.io/v1",
  kind: "ServiceEntry",
  metadata: { name, namespace: "payments" },
  spec: {
    hosts: [host],
    exportTo: [exportTo],
    resolution: "DNS",
    ports: [{ number: 443, name: "https", protocol: "HTTPS" }],
  },
});
const refusing: Raw = {
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name: "istio", namespace: "istio-system" },
  data: { mesh: "outboundTrafficPolicy: { mode: REGISTRY_ONLY }" },
};
const allow = (from: string): Raw => ({
  apiVersion: "security.istio.io/v1",
  kind: "AuthorizationPolicy",
  metadata: { name: `allow-${from}`, namespace: "infra" },
  spec: {
    selector: { matchLabels: { app: "egress" } },
    rules: [{ from: [{ source: { namespaces: [from] } }] }],
  },
});
const route = (host: string, to: string): Raw => ({
  apiVersion: "networking.istio.io/v1",
  kind: "VirtualService",
  metadata: { name: host.split(".")[0], namespace: "web" },
  spec: { hosts: [host], exportTo: ["."], http: [{ route: [{ destination: { host: to, port: { number: 80 } } }] }] },
});

const inMesh = { "istio-injection": "enabled" };
const namespaces = ["payments", "orders", "web", "builds", "infra"].map((name) => namespace(name, inMesh));
const workloads = ["payments/payments", "orders/orders", "web/shop", "builds/runner"].map((path) => {
  const [where = "", app = ""] = path.split("/");
  return pods(where, app);
});

describe("intents about hosts outside the mesh", { skip }, () => {
  let started: WithIntents;
  const apply = (...objects: readonly Raw[]) => send(started.plane, ["apply", "-f", "-"], { objects });
  before(async () => {
    const objects = [refusing, entry("stripe", "api.stripe.com", "."), ...workloads, ...objectsIn(egressGateway)];
    started = await startWithIntents([...namespaces, ...objects]);
  });
  after(() => started?.close());

  test("hold when they are written", async () => {
    await started.hold([intentOf("stripe"), intentOf("egress")]);
    isFree(await apply(intentOf("stripe"), intentOf("egress")), /\[intent-/);
  });

  const cases: readonly (readonly [title: string, breaking: Raw, message: RegExp, harmless: Raw])[] = [
    [
      "a ServiceEntry that more namespaces know",
      entry("stripe", "api.stripe.com", "*"),
      /must be denied: GET \/ from namespace (web|orders) would be allowed, because it leaves the mesh/,
      entry("adyen", "api.adyen.com", "*"),
    ],
    [
      "a policy of the egress gateway",
      allow("web"),
      /to host artifacts\.example\.com from namespace web would be allowed, by AuthorizationPolicy infra\/allow-web rule 1/,
      allow("builds"),
    ],
    [
      "a route past the egress gateway",
      route("artifacts.example.com", "artifacts.example.com"),
      /would be routed to artifacts\.example\.com/,
      route("other.example.com", "other.example.com"),
    ],
  ];
  for (const [title, breaking, message, harmless] of cases)
    test(`${title}: what ends an intent is denied, and its twin is not`, async () => {
      // The watch may not show the intents yet.
      const output = await until(
        "the change to be denied",
        async () => {
          const tried = await send(started.plane, ["apply", "--dry-run=server", "-f", "-"], { objects: [breaking] });
          return /intent-broken/.test(tried.stderr) ? apply(breaking) : undefined;
        },
        delay,
      );
      isDenied(output, /intent-broken/);
      assert.match(output.stderr, message);
      isFree(await apply(harmless), /\[intent-/);
    });
});
