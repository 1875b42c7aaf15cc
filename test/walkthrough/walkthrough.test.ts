import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { MemoryApiServer } from "../../src/demo/memory-api-server.ts";
import { startWebhook, type Webhook } from "../../src/cli/webhook.ts";
import { type Admission, type ApiServerClient, createApiServerClient } from "../../src/demo/api-server-client.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import { rules } from "../../src/rules/index.ts";
import { readManifests } from "../../src/sources/manifests/manifests.ts";
import { createLog } from "../../src/telemetry/log.ts";
import { selfSigned } from "../../src/tls/self-signed.ts";

// Two teams meet the mesh, in the manifests of this folder, replayed over TLS as a person would apply them; then each
// changed as somebody might. The end-to-end tests send the same to a real API server.

const folder = import.meta.dirname;

// oxlint-disable-next-line no-explicit-any -- manifests are changed field by field
type Raw = Record<string, any>;

const policy = {
  apiVersion: "meshward.io/v1alpha1",
  kind: "MeshwardPolicy",
  metadata: { name: "billing" },
  spec: { protectedNamespaces: { names: ["billing"] } },
};
const deployment = (namespace: string, name: string): Raw => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name, namespace, creationTimestamp: "2025-12-01T00:00:00Z" },
  spec: {
    selector: { matchLabels: { app: name } },
    template: {
      metadata: { labels: { app: name } },
      spec: { containers: [{ name, image: name, ports: [{ containerPort: 8080 }] }] },
    },
  },
});
const service = (namespace: string, name: string): Raw => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { name, namespace, creationTimestamp: "2025-12-01T00:00:00Z" },
  spec: { selector: { app: name }, ports: [{ name: "http", port: 80, targetPort: 8080 }] },
});
const namespace = (name: string, labels: Raw = {}): Raw => ({
  apiVersion: "v1",
  kind: "Namespace",
  metadata: {
    name,
    labels: { "kubernetes.io/metadata.name": name, ...labels },
    creationTimestamp: "2025-12-01T00:00:00Z",
  },
});

const flux = {
  username: "system:serviceaccount:flux-system:kustomize-controller",
  groups: ["system:serviceaccounts", "system:serviceaccounts:flux-system"],
};

describe("the walkthrough", () => {
  let certs = "";
  let webhook: Webhook;
  let client: ApiServerClient;
  let cluster = new MemoryApiServer();
  let seconds = 0;

  before(async () => {
    certs = await mkdtemp(join(tmpdir(), "meshward-walkthrough-"));
    const { certificates } = await selfSigned({ folder: certs, now: Date.now() });
    const { policies, errors } = loadPolicies(
      [{ raw: policy, file: "policy.yaml", locate: () => ({ line: 1, column: 1 }) }],
      rules,
    );
    assert.deepEqual(errors, []);
    webhook = await startWebhook({
      mesh: () => cluster.mesh,
      policies: () => policies,
      certificates,
      log: createLog("silent", "stderr"),
      host: "127.0.0.1",
      port: 0,
    });
    const now = () => new Date(Date.parse("2026-01-01T00:00:00Z") + seconds * 1000);
    client = createApiServerClient({
      url: `https://127.0.0.1:${webhook.port}`,
      ca: certificates.current().ca ?? "",
      now,
    });
  });
  after(async () => {
    client.close();
    await webhook.close();
    await rm(certs, { recursive: true });
  });

  /** The cluster before the first step; `ambient` is what step 01 leaves behind. */
  function startOver({ ambient = true } = {}): void {
    cluster = new MemoryApiServer();
    const labels = ambient ? { "istio.io/dataplane-mode": "ambient" } : {};
    cluster.put(namespace("istio-system"));
    cluster.put(namespace("default"));
    if (ambient) for (const name of ["billing", "storefront"]) cluster.put(namespace(name, labels));
    for (const [where, name] of [
      ["billing", "invoices"],
      ["storefront", "checkout"],
      ["default", "catalog"],
    ] as const) {
      cluster.put(deployment(where, name));
      cluster.put(service(where, name));
    }
  }
  async function objectNamed(
    number: string,
    kind: string,
    name: string,
    change: (raw: Raw) => void = () => undefined,
  ): Promise<Raw> {
    const { manifests } = await readManifests([folder]);
    const found = manifests.find(
      ({ file, raw }) => file.includes(`/${number}-`) && raw.kind === kind && (raw as Raw).metadata.name === name,
    );
    assert.ok(found, `no ${kind} ${name} in ${number}`);
    const raw = structuredClone(found.raw) as Raw;
    change(raw);
    return raw;
  }
  async function send(
    raw: Raw,
    options: { user?: typeof flux; isDeletion?: boolean; later?: number } = {},
  ): Promise<Admission> {
    seconds += options.later ?? 1;
    const user = options.user === undefined ? {} : { user: options.user };
    const outcome = await cluster.request({ raw, isDeletion: options.isDeletion ?? false, ...user }, client);
    assert.ok(outcome, "there is nothing to delete");
    return outcome.admission;
  }
  const remove = (raw: Raw) => send(raw, { isDeletion: true });
  const denies = (admission: Admission, ...texts: RegExp[]) => {
    assert.equal(admission.allowed, false, `allowed, with: ${admission.warnings.join("\n")}`);
    assert.equal(admission.error?.code, 403);
    for (const text of texts) assert.match(admission.error?.message ?? "", text);
  };
  const allows = (admission: Admission, ...warnings: RegExp[]) => {
    assert.equal(admission.allowed, true, admission.error?.message);
    for (const text of warnings)
      assert.ok(
        admission.warnings.some((warning) => text.test(warning)),
        `${text} in ${admission.warnings.join("\n")}`,
      );
    assert.equal(admission.failedOpen.length, 0);
  };
  /** Allowed, and no rule says anything. */
  const isQuiet = (admission: Admission) => {
    allows(admission);
    assert.deepEqual(admission.warnings, []);
  };

  test("01: new namespaces are enrolled; billing is told that it has no default deny", async () => {
    startOver({ ambient: false });
    const billing = await send(await objectNamed("01", "Namespace", "billing"));
    allows(billing, /joins the ambient mesh/, /namespace-default-deny-missing/);
    assert.equal((billing.object.metadata as Raw).labels["istio.io/dataplane-mode"], "ambient");
    const storefront = await send(await objectNamed("01", "Namespace", "storefront"));
    allows(storefront, /joins the ambient mesh/);
    assert.ok(!storefront.warnings.some((warning) => warning.includes("default-deny")));
    assert.equal((storefront.object.metadata as Raw).labels["istio.io/dataplane-mode"], "ambient");
  });

  test("02: the canary is allowed; weights of 110, 80 and a subset that nobody defines are not", async () => {
    startOver();
    isQuiet(await send(await objectNamed("02", "DestinationRule", "catalog-versions")));
    isQuiet(await send(await objectNamed("02", "VirtualService", "catalog-split")));
    const route = (raw: Raw) => raw.spec.http[0].route;
    const weights = (second: number | undefined) =>
      objectNamed("02", "VirtualService", "catalog-split", (raw) => {
        route(raw)[1].weight = second;
      });
    denies(await send(await weights(30)), /80 \+ 30 = 110/, /spec\.http\[0\]\.route/, /[Ff]ix/);
    denies(await send(await weights(undefined)), /80 \+ 0 \(not set\) = 80/);
    const next = await objectNamed("02", "VirtualService", "catalog-split", (raw) => {
      route(raw)[1].destination.subset = "next";
    });
    denies(
      await send(next),
      /catalog-versions/,
      /"stable", "canary"/,
      /spec\.http\[0\]\.route\[1\]\.destination\.subset/,
    );
  });

  async function strict(): Promise<void> {
    isQuiet(await send(await objectNamed("03", "PeerAuthentication", "default")));
    isQuiet(await send(await objectNamed("03", "PeerAuthentication", "strict-billing")));
  }
  const mode = (name: string, to: string) =>
    objectNamed("03", "PeerAuthentication", name, (raw) => {
      raw.spec.mtls.mode = to;
    });

  test("03: a second mesh-wide policy has no effect, unless it comes in the same second and its name wins", async () => {
    startOver();
    await strict();
    allows(
      await send(await objectNamed("03", "PeerAuthentication", "all-strict")),
      /the older istio-system\/default applies/,
    );
    startOver();
    isQuiet(await send(await objectNamed("03", "PeerAuthentication", "default")));
    allows(await send(await objectNamed("03", "PeerAuthentication", "all-strict"), { later: 0 }));
    const winner = await mode("all-strict", "PERMISSIVE");
    denies(await send(winner), /billing/);
  });

  test("03': PERMISSIVE and port exemptions are denied in billing", async () => {
    startOver();
    await strict();
    denies(await send(await mode("strict-billing", "PERMISSIVE")), /peer-authentication-permissive/);
    const port = await objectNamed("03", "PeerAuthentication", "strict-billing", (raw) => {
      raw.spec.selector = { matchLabels: { app: "invoices" } };
      raw.spec.portLevelMtls = { 8080: { mode: "PERMISSIVE" } };
    });
    denies(await send(port), /8080/);
  });

  test("03': what billing relies on is not weakened, wherever it lives", async () => {
    startOver();
    isQuiet(await send(await objectNamed("03", "PeerAuthentication", "strict-billing")));
    denies(
      await remove(await objectNamed("03", "PeerAuthentication", "strict-billing")),
      /namespace-mtls-weakened/,
      /billing/,
    );

    startOver();
    isQuiet(await send(await objectNamed("03", "PeerAuthentication", "default")));
    denies(await send(await mode("default", "PERMISSIVE")), /namespace-mtls-weakened/, /billing/);
    startOver();
    isQuiet(await send(await objectNamed("03", "PeerAuthentication", "all-strict")));
    denies(await send(await mode("all-strict", "PERMISSIVE")), /namespace-mtls-weakened/, /billing/);
  });

  test("03': deleted while the mesh is STRICT, strict-billing is not missed", async () => {
    startOver();
    await strict();
    isQuiet(await remove(await objectNamed("03", "PeerAuthentication", "strict-billing")));
  });

  const denyAll = (change?: (raw: Raw) => void) => objectNamed("04", "AuthorizationPolicy", "nobody", change);
  const allowCheckout = () => objectNamed("04", "AuthorizationPolicy", "checkout-may-bill");

  test("04: a default deny, then who may call", async () => {
    startOver();
    isQuiet(await send(await denyAll()));
    allows(
      await send(await allowCheckout()),
      /Namespace billing is ambient and has no waypoint: ztunnel drops the rule \(methods, paths\) and denies every request to app=invoices/,
      /Create a waypoint for namespace billing and attach this rule to it with targetRefs, and allow the identity of the waypoint \(cluster\.local\/ns\/billing\/sa\/waypoint\) to reach app=invoices/,
    );
  });

  test("04': an allow bound to a waypoint that nothing lets through to the workloads", async () => {
    startOver();
    cluster.put(namespace("billing", { "istio.io/dataplane-mode": "ambient", "istio.io/use-waypoint": "waypoint" }));
    cluster.put({
      apiVersion: "gateway.networking.k8s.io/v1",
      kind: "Gateway",
      metadata: { name: "waypoint", namespace: "billing" },
      spec: {
        gatewayClassName: "istio-waypoint",
        listeners: [{ name: "mesh", port: 15008, protocol: "HBONE" }],
      },
    });
    await send(await denyAll());
    const bound = await allowCheckout();
    delete bound.spec.selector;
    bound.spec.targetRefs = [{ group: "gateway.networking.k8s.io", kind: "Gateway", name: "waypoint" }];
    allows(
      await send(bound),
      /ztunnel denies waypoint billing\/waypoint: no policy allows cluster\.local\/ns\/billing\/sa\/waypoint to reach the workloads of billing/,
    );
    const entry = await denyAll((raw) => {
      raw.metadata.name = "through-the-waypoint";
      raw.spec = { rules: [{ from: [{ source: { principals: ["cluster.local/ns/billing/sa/waypoint"] } }] }] };
    });
    await send(entry);
    const again = await send({ ...bound, metadata: { ...bound.metadata, labels: { touched: "true" } } });
    assert.ok(!again.warnings.some((warning) => warning.includes("ztunnel will refuse")));
  });

  test("04': an allow without a default deny is denied to a person, and Flux is warned", async () => {
    startOver();
    denies(await send(await allowCheckout()), /authorization-policy-without-default-deny/);
    allows(await send(await allowCheckout(), { user: flux }), /authorization-policy-without-default-deny/);
  });

  test("04': the default deny is not taken away, narrowed, disarmed or overridden", async () => {
    startOver();
    isQuiet(await send(await denyAll()));
    denies(await remove(await denyAll()), /namespace-default-deny-removed/);
    const ways: Record<string, (raw: Raw) => void> = {
      narrowed: (raw) => {
        raw.spec = { selector: { matchLabels: { app: "other" } } };
      },
      "dry run": (raw) => {
        raw.metadata.annotations = { "istio.io/dry-run": "true" };
      },
      "allows everything": (raw) => {
        raw.spec = { rules: [{}] };
      },
    };
    for (const [way, change] of Object.entries(ways)) {
      const admission = await send(await denyAll(change));
      assert.equal(admission.allowed, false, way);
    }
    for (const where of ["billing", "istio-system"]) {
      const open = await denyAll((raw) => {
        raw.metadata = { name: "open", namespace: where };
        raw.spec = { action: "ALLOW", rules: [{}] };
      });
      denies(await send(open), /billing/);
    }
  });

  test("04': the label that protects a namespace stays", async () => {
    startOver();
    cluster.put(namespace("vault", { "meshward.io/protected": "true" }));
    denies(
      await send({
        ...namespace("vault", {}),
        metadata: { ...namespace("vault").metadata, labels: { "meshward.io/protected": "false" } },
      }),
      /namespace-protection-removed/,
    );
  });

  const canary = (kind: "VirtualService" | "DestinationRule", change?: (raw: Raw) => void) =>
    objectNamed("05", kind, "invoices", change);

  test("05: the VirtualService waits for its DestinationRule, unless Flux sends it", async () => {
    startOver();
    denies(await send(await canary("VirtualService")), /invoices\.billing\.svc\.cluster\.local/);
    allows(
      await send(await canary("DestinationRule")),
      /Namespace billing is ambient and has no waypoint: ztunnel ignores connectionPool and outlierDetection/,
    );
    allows(
      await send(await canary("VirtualService")),
      /Namespace billing is ambient and has no waypoint: ztunnel ignores/,
    );
    startOver();
    allows(await send(await canary("VirtualService"), { user: flux }), /subset/);
  });

  test("05': a subset in use is not taken away; one without traffic may go", async () => {
    startOver();
    await send(await canary("DestinationRule"));
    await send(await canary("VirtualService"));
    const withoutCanary = () =>
      canary("DestinationRule", (raw) => {
        raw.spec.subsets.pop();
      });
    denies(await send(await withoutCanary()), /"canary"/);
    denies(await remove(await canary("DestinationRule")), /subset/);
    const ended = await canary("VirtualService", (raw) => {
      raw.spec.http[0].route[0].weight = 100;
      raw.spec.http[0].route[1].weight = 0;
    });
    allows(await send(ended));
    allows(await send(await withoutCanary()));
    startOver();
    await send(await canary("DestinationRule"));
    await send(await canary("VirtualService"));
    allows(await send(await withoutCanary(), { user: flux }), /"canary"/);
  });

  test("06: more tries than the timeout has time for, of requests that may have been processed", async () => {
    startOver();
    allows(
      await send(await objectNamed("06", "VirtualService", "invoices")),
      /virtual-service-retries-unsafe\] .*The timeout of the route without match, 6 s, ends before 5 tries of 2 s each are over/,
      /virtual-service-retries-unsafe\] .*On "reset", the route without match repeats requests of every method, also POST and PATCH/,
      /ztunnel ignores these routes/,
    );
  });

  test("07: a provider that the mesh config does not have is said where the mesh config is known", async () => {
    startOver();
    const traces = () => objectNamed("07", "Telemetry", "traces");
    const isUnknown =
      /telemetry-provider-unknown\] .*The mesh config has no extension provider "collector": no spans are sent/;
    const unknown = await send(await traces());
    allows(unknown, /telemetry-sampling-too-high\] .*25 percent of the requests are traced, more than 10 percent/);
    assert.ok(!unknown.warnings.some((warning) => isUnknown.test(warning)));
    startOver();
    cluster.put({
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "istio", namespace: "istio-system" },
      data: {
        mesh: "extensionProviders:\n- name: other\n  opentelemetry: { service: other.example.com, port: 4317 }\n",
      },
    });
    allows(await send(await traces()), isUnknown);
  });

  test("08: a gateway open to every namespace in plain HTTP, and a route that looks for it in its own namespace", async () => {
    startOver();
    allows(
      await send(await objectNamed("08", "Gateway", "entrance")),
      /gateway-open-to-all\] .*Listener web accepts routes of all namespaces for every host on port 80/,
      /gateway-plain-http\] .*Listener web accepts plain HTTP on port 80/,
    );
    const route = await objectNamed("08", "HTTPRoute", "invoices", (raw) => {
      raw.metadata.namespace = "default";
    });
    allows(
      await send(route),
      /http-route-parent-not-found\] .*Gateway default\/entrance does not exist/,
      /http-route-backend-not-found\] .*Service default\/invoices does not exist/,
    );
  });
});
