import assert from "node:assert/strict";
import { join } from "node:path";
import { Readable } from "node:stream";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { run } from "../../src/cli/program.ts";
import { audit } from "../../src/engine/audit.ts";
import { everyRule } from "../../src/engine/setting.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { draftsOf } from "../../src/mesh/intents/draft.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import { rules } from "../../src/rules/index.ts";
import { readManifests } from "../../src/sources/manifests/manifests.ts";
import { meshSettingsOf } from "../../src/view/settings.ts";
import { sideOf } from "../../src/view/side.ts";
import { MeshStore } from "../../src/view/store.ts";
import { someObjects } from "../meshes/arbitrary.ts";
import { objectsIn, world } from "./story.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const ofIntents = rules.filter(({ id }) => id.startsWith("intent-"));

const read = (raw: unknown): readonly AnyObject[] => {
  const object = readAny(raw, "default");
  return object === undefined ? [] : [object];
};
function meshOf(objects: readonly AnyObject[]): MeshStore {
  const mesh = new MeshStore(meshSettingsOf(objects));
  for (const object of objects) mesh.set(object);
  return mesh;
}

/** What the rules of intents say of the intents that are written for all namespaces of a mesh. */
function saidOf(objects: readonly AnyObject[]): { readonly drafts: number; readonly said: readonly unknown[] } {
  const mesh = meshOf(objects);
  const side = sideOf(mesh);
  const drafts = [...mesh.all("Namespace")].flatMap(({ metadata }) => draftsOf(metadata.name, side));
  const sources = drafts.map((raw) => ({ raw, file: "intents.yaml", locate: () => ({ line: 1, column: 1 }) }));
  const { errors } = loadPolicies(sources, rules);
  const whole = meshOf([...objects, ...drafts.flatMap(read)]);
  const found = [...audit(ofIntents, whole, everyRule)].map((one) => ("message" in one ? one.message : one));
  return { drafts: drafts.length, said: [...errors.map(({ message }) => message), ...found] };
}

describe("intents that are written of a mesh hold in it", () => {
  test("the story of payments", () => {
    assert.deepEqual(saidOf(world.flatMap(read)), { drafts: 3, said: [] });
  });

  for (const folder of ["policies/tour", "test/walkthrough", "policies/examples/online-shop"])
    test(folder, async () => {
      const { manifests } = await readManifests([join(root, folder)]);
      const { said } = saidOf(
        manifests.flatMap(({ raw }) => read(raw)).filter(({ kind }) => kind !== "MeshwardIntent"),
      );
      assert.deepEqual(said, []);
    });

  test("arbitrary meshes", () => {
    let written = 0;
    fc.assert(
      fc.property(someObjects(), (objects) => {
        const { drafts, said } = saidOf(objects.filter(({ kind }) => kind !== "MeshwardIntent"));
        written += drafts;
        assert.deepEqual(said, []);
      }),
      { numRuns: 250 },
    );
    assert.ok(written > 5, `only ${written} intents were written`);
  });
});

async function printed(...argv: string[]): Promise<{ code: number; out: string; error: string }> {
  let [out, error] = ["", ""];
  const code = await run(argv, {
    input: Readable.from([]),
    out: (text) => (out += text),
    error: (text) => (error += text),
    colour: false,
    env: {},
    stop: new AbortController().signal,
  });
  return { code, out, error };
}

/** Policies that accept requests by all that an intent can say, and a DENY policy. */
const policies = [
  { kind: "Namespace", metadata: { name: "pay", labels: { "istio-injection": "enabled" } } },
  { kind: "Namespace", metadata: { name: "web", labels: { "istio-injection": "enabled" } } },
  ...(["pay/api", "web/front"] as const).map((name) => {
    const [namespace, app] = name.split("/");
    const template = { metadata: { labels: { app } }, spec: { serviceAccountName: app, containers: [{ name: "a" }] } };
    return { kind: "Deployment", metadata: { name: app, namespace }, spec: { template } };
  }),
  {
    kind: "Service",
    metadata: { name: "api", namespace: "pay" },
    spec: { selector: { app: "api" }, ports: [{ port: 8080, name: "http" }] },
  },
  { kind: "PeerAuthentication", metadata: { name: "default", namespace: "pay" }, spec: { mtls: { mode: "STRICT" } } },
  {
    kind: "RequestAuthentication",
    metadata: { name: "jwt", namespace: "pay" },
    spec: { jwtRules: [{ issuer: "https://issuer.example", jwksUri: "https://issuer.example/keys" }] },
  },
  {
    kind: "AuthorizationPolicy",
    metadata: { name: "api", namespace: "pay" },
    spec: {
      rules: [
        {
          from: [{ source: { serviceAccounts: ["web/front"], requestPrincipals: ["https://issuer.example/*"] } }],
          to: [{ operation: { methods: ["GET"], hosts: ["api.pay*"] } }],
        },
        { from: [{ source: { namespaces: ["pay"], ipBlocks: ["10.0.0.0/8"] } }] },
        {
          when: [
            { key: "request.auth.claims[realm][roles]", values: ["admin"] },
            { key: "request.headers[X-Debug]", values: ["1"] },
            { key: "request.headers[x-team]", values: ["a", "b"] },
          ],
        },
      ],
    },
  },
  {
    kind: "AuthorizationPolicy",
    metadata: { name: "internal", namespace: "pay" },
    spec: { action: "DENY", rules: [{ to: [{ operation: { paths: ["/internal/*"] } }] }] },
  },
];
/** An egress gateway, which takes requests of namespace `pay` alone. */
const egressGateway = `
apiVersion: v1
kind: Namespace
metadata: { name: edge }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: egress, namespace: edge }
spec:
  template:
    metadata: { labels: { app: egress }, annotations: { inject.istio.io/templates: gateway } }
    spec: { serviceAccountName: egress, containers: [{ name: istio-proxy, image: auto }] }
---
apiVersion: v1
kind: Service
metadata: { name: egress, namespace: edge }
spec: { selector: { app: egress }, ports: [{ name: https, port: 443, targetPort: 8443 }] }
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: egress, namespace: edge }
spec:
  selector: { app: egress }
  servers: [{ port: { number: 443, name: s, protocol: HTTPS }, hosts: [api.bank.example], tls: { mode: ISTIO_MUTUAL } }]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: egress, namespace: edge }
spec: { host: egress, trafficPolicy: { tls: { mode: ISTIO_MUTUAL, sni: api.bank.example } } }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: bank, namespace: pay }
spec:
  hosts: [api.bank.example]
  gateways: [mesh, edge/egress]
  http:
    - match: [{ gateways: [mesh], port: 80 }]
      route: [{ destination: { host: egress.edge.svc.cluster.local, port: { number: 443 } } }]
    - match: [{ gateways: [edge/egress] }]
      route: [{ destination: { host: api.bank.example, port: { number: 80 } } }]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: egress, namespace: edge }
spec:
  selector: { matchLabels: { app: egress } }
  rules: [{ from: [{ source: { namespaces: [pay] } }] }]
`;
const apiVersions = { Deployment: "apps/v1", Namespace: "v1", Service: "v1" };
const withVersions = policies.map((object) => ({
  apiVersion: apiVersions[object.kind as keyof typeof apiVersions] ?? "security.istio.io/v1",
  ...object,
}));

test("conditions of policies become those of intents, and what they exclude is denied", () => {
  const objects = withVersions.flatMap(read);
  assert.deepEqual(saidOf(objects), { drafts: 1, said: [] });
  const [draft] = draftsOf("pay", sideOf(meshOf(objects)));
  const notPaths = ["/internal/*"];
  assert.deepEqual(draft?.spec.requests, [
    { from: ["namespace/pay"], notPaths, ipBlocks: ["10.0.0.0/8"], expect: "allowed" },
    {
      from: ["mesh"],
      notPaths,
      headers: { "x-debug": ["1"], "x-team": ["a", "b"] },
      claims: { "[realm][roles]": ["admin"] },
      expect: "allowed",
    },
    {
      from: ["serviceaccount/web/front"],
      notPaths,
      methods: ["GET"],
      hosts: ["api.pay*"],
      requestPrincipals: ["https://issuer.example/*"],
      expect: "allowed",
    },
    { from: ["mesh"], paths: ["/internal/*"], expect: "denied" },
    { from: ["others"], expect: "denied" },
    { from: ["mesh", "outside"], expect: "encrypted" },
  ]);
});

test("hosts of ServiceEntries have intents: who gets there, past which gateway, and who does not", () => {
  const serviceEntry = (name: string, spec: object) => ({
    ...{ apiVersion: "networking.istio.io/v1", kind: "ServiceEntry", metadata: { name, namespace: "pay" }, spec },
  });
  const ports = [
    { number: 80, name: "http", protocol: "HTTP" },
    { number: 443, name: "tls", protocol: "TLS" },
  ];
  const objects = [
    ...withVersions,
    serviceEntry("bank", { hosts: ["api.bank.example", "*.bank.example"], resolution: "DNS", ports }),
    ...objectsIn(egressGateway),
  ].flatMap(read);
  assert.deepEqual(saidOf(objects).said, []);
  const drafts = draftsOf("pay", sideOf(meshOf(objects))).filter(({ spec }) => "host" in spec.to);
  assert.deepEqual(
    drafts.map(({ spec }) => spec),
    [
      {
        to: { host: "api.bank.example", ports: [80] },
        requests: [
          { from: ["namespace/pay"], expect: "allowed" },
          { from: ["namespace/web"], expect: "denied" },
          { from: ["mesh"], expect: "routed", destinations: [{ service: "egress.edge" }] },
        ],
      },
      {
        to: { host: "api.bank.example", ports: [443] },
        requests: [
          { from: ["mesh"], expect: "allowed" },
          { from: ["mesh"], expect: "encrypted" },
        ],
      },
    ],
  );
});

describe("meshward intent", () => {
  test("prints documents that can be read", async () => {
    const { code, out } = await printed("intent", "--from-mesh", "payments", "--mesh", join(root, "policies/tour"));
    assert.equal(code, 0);
    const { manifests, errors } = await readManifests(["-"], { input: Readable.from([out]) });
    assert.deepEqual(errors, []);
    assert.ok(manifests.length > 0);
    assert.deepEqual(loadPolicies(manifests, rules).errors, []);
  });

  test("suggests a namespace", async () => {
    const { code, error } = await printed("intent", "--from-mesh", "payment", "--mesh", join(root, "policies/tour"));
    assert.equal(code, 2);
    assert.match(error, /--from-mesh: there is no namespace "payment" in this mesh; did you mean "payments"\?/);
  });
});
