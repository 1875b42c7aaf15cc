import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { createGate } from "../../src/admission/gate.ts";
import { createGateClient } from "../../src/demo/gate-client.ts";
import { MemoryApiServer } from "../../src/demo/memory-api-server.ts";
import { judge } from "../../src/engine/evaluate.ts";
import { keyOf } from "../../src/kube/identity.ts";
import { readObject } from "../../src/kube/object.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import { rules } from "../../src/rules/index.ts";
import { intentBroken } from "../../src/rules/intent/broken.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { anObject, someObjects } from "../meshes/arbitrary.ts";
import { changes, intents, type Raw, world } from "./story.ts";

// Intents of somebody who means harm, or makes mistakes: no document stops the webhook, an invalid one is never admitted, and what
// cannot be decided denies nothing.

const { policies } = loadPolicies([], rules);
const failures: unknown[] = [];
const time = () => new Date("2026-11-26T12:00:00Z");

/** An API server with the story of payments, asked by a person. */
function serverWith(more: readonly Raw[] = []) {
  const server = new MemoryApiServer();
  for (const raw of [...world, ...more]) server.putApplied(raw);
  return server;
}
async function applied(server: MemoryApiServer, raw: Raw) {
  const gate = createGate({
    mesh: () => server.mesh,
    policies: () => policies,
    rules,
    now: time,
    observe: () => undefined,
    log: { error: (fields) => void failures.push(fields) },
  });
  const request = { raw, isDeletion: false, user: { username: "jane", groups: ["system:authenticated"] } };
  const outcome = await server.request({ ...request, dryRun: true }, createGateClient(gate, time));
  assert.ok(outcome !== undefined);
  const { allowed, error, warnings } = outcome.admission;
  return { allowed, text: [error?.message ?? "", ...warnings].join("\n") };
}
const base = serverWith();
const intent = (spec: unknown): Raw => ({
  ...{ apiVersion: "meshward.io/v1alpha1", kind: "MeshwardIntent" },
  ...{ metadata: { name: "unkind", namespace: "payments" }, spec },
});

const callers = fc.oneof(
  fc.constantFrom(
    "mesh",
    "outside",
    "ingress",
    "others",
    "namespace/web",
    "sa/orders/orders-api",
    "deployment/web/storefront",
  ),
  fc.constantFrom(
    "ingress/a/b",
    "workload/payments/refunds",
    "deploy/x",
    "namespace/",
    "//",
    "sa/a/b/c",
    "OTHERS",
    " mesh ",
  ),
  fc.string({ maxLength: 12 }),
);
const values = fc.oneof(
  fc.constantFrom(
    "*",
    "/a/*",
    "/{*}/b",
    "/{**}/{*}",
    "{",
    "/a*b*c",
    "GET",
    "get",
    "10.0.0.0/8",
    "::/0",
    "1.2.3.4/99",
    "i/s",
    "",
  ),
  fc.string({ unit: "binary", maxLength: 40 }),
);
const list = fc.array(values, { maxLength: 4 });
const names = fc.oneof(
  fc.constantFrom("x-a", "[a][b]", "__proto__", "constructor", ":path", ""),
  fc.string({ maxLength: 6 }),
);
const entry = fc.record(
  {
    from: fc.array(callers, { maxLength: 4 }),
    expect: fc.constantFrom("allowed", "denied", "encrypted", "routed", "forbidden", "constructor"),
    ...{ methods: list, notMethods: list, paths: list, notPaths: list, hosts: list, notHosts: list },
    ...{ requestPrincipals: list, notRequestPrincipals: list, ipBlocks: list, notIpBlocks: list },
    ...{ remoteIpBlocks: list, notRemoteIpBlocks: list },
    headers: fc.dictionary(names, list, { maxKeys: 3 }),
    claims: fc.dictionary(names, list, { maxKeys: 3 }),
    destinations: fc.array(
      fc.record(
        { service: values, subset: values, atLeast: fc.oneof(fc.integer(), fc.double()) },
        { requiredKeys: [] },
      ),
      { maxLength: 3 },
    ),
  },
  { requiredKeys: ["from", "expect"] },
);
const target = fc.oneof(
  fc.constantFrom(
    { service: "payments-api" },
    { workloads: { app: "payments-api" } },
    { namespaces: { names: ["*"] } },
  ),
  fc.record(
    {
      service: values,
      workloads: fc.dictionary(names, values),
      ports: fc.array(fc.integer()),
      namespaces: fc.anything(),
    },
    { requiredKeys: [] },
  ),
);
const shaped = fc.record({ to: target, requests: fc.array(entry, { maxLength: 6 }) });

describe("documents", () => {
  test("of any shape are answered", async () => {
    let denied = 0;
    await fc.assert(
      fc.asyncProperty(fc.oneof({ weight: 4, arbitrary: shaped }, fc.anything()), async (spec) => {
        // What arrives was JSON.
        const raw = JSON.parse(JSON.stringify(intent(spec))) as Raw;
        const { allowed, text } = await applied(base, raw);
        if (!allowed) denied++;
        assert.ok(allowed || text.length > 0);
        assert.ok(text.length < 40_000, `${text.length} characters`);
      }),
      { numRuns: 400 },
    );
    assert.deepEqual(failures, []);
    assert.ok(denied > 40, `only ${denied} were denied`);
  });

  test("that expect the opposite of the same requests are never admitted", async () => {
    const known = fc.constantFrom(
      "mesh",
      "outside",
      "namespace/web",
      "sa/orders/orders-api",
      "deployment/web/storefront",
    );
    const conditions = fc.record(
      {
        methods: fc.constantFrom(["GET"], ["POST", "PUT"]),
        paths: fc.constantFrom(["/a"], ["/a/*"], ["/{*}/b"], ["*"]),
        hosts: fc.constantFrom(["a.example"], ["*.example"]),
        claims: fc.constantFrom({ role: ["admin"] }, { a: ["*"], b: ["c*"] }),
        notIpBlocks: fc.constantFrom(["10.0.0.0/8"]),
      },
      { requiredKeys: [] },
    );
    const other = fc.record({ from: fc.tuple(known), expect: fc.constantFrom("encrypted", "denied") });
    await fc.assert(
      fc.asyncProperty(
        known,
        conditions,
        fc.array(other, { maxLength: 3 }),
        fc.nat(5),
        async (from, said, more, at) => {
          const requests: Raw[] = [{ from: [from], ...said, expect: "allowed" }, ...more];
          requests.splice(at % (requests.length + 1), 0, { from: [from], ...said, expect: "denied" });
          const { allowed, text } = await applied(base, intent({ to: { service: "payments-api" }, requests }));
          assert.equal(allowed, false, text);
          assert.match(text, /intent-invalid.*contradicts another one/s);
        },
      ),
      { numRuns: 60 },
    );
  });

  test("with patterns that take much work are answered, and keep nothing by accident", async () => {
    const paths = Array.from({ length: 100 }, (_, i) => `/${"{*}/a/".repeat(12)}{**}/${i}`);
    const nested = Array.from({ length: 32 }, (_, i) => ({
      from: ["mesh"],
      paths: paths.map((path) => `${path}${i}`),
      notPaths: paths.map((path) => `${path}x`),
      headers: Object.fromEntries(paths.slice(0, 16).map((_path, j) => [`x-${j}`, paths.map((_one, k) => `*${k}`)])),
      expect: i % 2 === 0 ? "allowed" : "denied",
    }));
    const { allowed, text } = await applied(base, intent({ to: { service: "payments-api" }, requests: nested }));
    assert.match(text, allowed ? /intent-(invalid|not-held)/ : /denied the request/);
    assert.deepEqual(failures, []);
    const many = Array.from({ length: 5_000 }, () => ({ from: ["namespace/web"], expect: "allowed" }));
    const long = await applied(base, intent({ to: { service: "payments-api" }, requests: many }));
    assert.equal(long.allowed, false);
    assert.match(long.text, /5000 entries, and at most 32 are possible/);
  });
});

describe("what cannot be decided", () => {
  const entries = fc.array(
    fc.record({
      from: fc.constantFrom(["mesh"], ["outside"], ["namespace/b"], ["others"]),
      expect: fc.constantFrom("allowed", "denied", "encrypted"),
    }),
    { minLength: 1, maxLength: 3 },
  );
  test("denies no change by itself", () => {
    let found = 0;
    fc.assert(
      fc.property(someObjects(20), entries, anObject, (objects, requests, changed) => {
        const unknown = new Map([["AuthorizationPolicy", "unknown"]] as const);
        const mesh = new MeshStore({ ...defaultMeshSettings, seen: true }, unknown);
        for (const object of objects) if (object.kind !== "AuthorizationPolicy") mesh.set(object);
        for (const to of [{ service: "x" }, { workloads: { app: "x" } }])
          mesh.set(
            readObject("MeshwardIntent", {
              metadata: { namespace: "a", name: Object.keys(to)[0] },
              spec: { to, requests },
            }),
          );
        const old = mesh.find(changed.kind, keyOf(changed));
        const change = { old: old?.implied ? undefined : old, object: changed };
        const { findings, errors } = judge([intentBroken], mesh, [change]);
        found += findings.length;
        assert.deepEqual(errors, []);
        for (const { onlyWarns, message } of findings) assert.equal(typeof onlyWarns, "string", message);
      }),
      { numRuns: 300 },
    );
    assert.equal(found, 0, "what is undecided on both sides is no news");
  });

  test("warns once it was known before, and denies nothing", async () => {
    const custom = {
      ...{ apiVersion: "security.istio.io/v1", kind: "AuthorizationPolicy" },
      metadata: { name: "ask", namespace: "payments" },
      spec: { action: "CUSTOM", provider: { name: "opa" }, rules: [{}] },
    };
    const { allowed, text } = await applied(serverWith(intents), custom);
    assert.equal(allowed, true, text);
    assert.match(
      text,
      /intent-broken.*must be allowed, and that can no longer be decided: .*the provider "opa" decides/,
    );
  });
});

test("ten thousand intents: each change is answered, and the one that ends an intent is denied", async () => {
  const copies = Array.from({ length: 10_000 }, (_, i) => {
    const raw = structuredClone(intents[0]) as Raw;
    const where = `team-${i % 500}`;
    raw["metadata"] = { name: `i-${i}`, namespace: where };
    return raw;
  });
  const server = serverWith([...intents, ...copies]);
  const [ofPolicies] = changes;
  const ended = await applied(server, ofPolicies?.breaking as Raw);
  assert.equal(ended.allowed, false);
  assert.match(ended.text, ofPolicies?.message as RegExp);
  const twin = await applied(server, ofPolicies?.harmless as Raw);
  assert.equal(twin.allowed, true, twin.text);
  assert.deepEqual(failures, []);
});
