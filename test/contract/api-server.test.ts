import assert from "node:assert/strict";
import { createServer } from "node:https";
import test, { describe, type TestContext } from "node:test";
import fc from "fast-check";
import jsonPatch from "fast-json-patch";
import type { Decision, PatchOperation } from "../../src/admission/review.ts";
import { createApiServerClient, type Submission, type Webhook } from "../../src/demo/api-server-client.ts";
import { WarningRecorder } from "../../src/demo/api-server-response.ts";
import { applyPatch, PatchError } from "../../src/demo/json-patch.ts";
import { appliedChange } from "../../src/demo/kubectl-apply.ts";
import { kubectlText } from "../../src/demo/kubectl-text.ts";
import { MemoryApiServer } from "../../src/demo/memory-api-server.ts";
import { registeredWebhooks } from "../../src/demo/registered-webhooks.ts";
import { webhookConfigurations } from "../../src/deploy/webhooks.ts";
import { rules } from "../../src/rules/index.ts";
import { allow, deny, fakeGate, startShell, testCertificate, virtualService } from "./api-server.ts";

const created: Submission = { operation: "CREATE", object: virtualService };
const namespace = { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } };
const enroll: PatchOperation[] = [{ op: "add", path: "/metadata/labels/istio.io~1dataplane-mode", value: "ambient" }];

function validating(failurePolicy: "Fail" | "Ignore"): Webhook {
  return { name: "v.meshward.io", path: "/validate", failurePolicy, timeoutSeconds: 1 };
}

function mutating(failurePolicy: "Fail" | "Ignore"): Webhook {
  return { ...validating(failurePolicy), name: "m.meshward.io", path: "/mutate" };
}

/** A webhook that answers with whatever the test says; `bodies` are what it was sent. */
async function startWebhook(
  test: TestContext,
  answer: (uid: string, call: number) => { status?: number; headers?: object; body: unknown },
) {
  const { cert, key, ca = "" } = await testCertificate();
  let calls = 0;
  const server = createServer({ cert, key }, (incoming, outgoing) => {
    const chunks: Buffer[] = [];
    incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
    incoming.on("end", () => {
      const { request } = JSON.parse(Buffer.concat(chunks).toString());
      const { status = 200, headers = {}, body } = answer(request.uid, ++calls);
      outgoing.writeHead(status, { ...headers });
      outgoing.end(typeof body === "string" ? body : JSON.stringify(body));
    });
  }).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  test.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `https://127.0.0.1:${address.port}`;
  return (webhooks: readonly Webhook[], submission = created) => {
    const client = createApiServerClient({ url, ca, webhooks });
    test.after(() => client.close());
    return client.admit(submission);
  };
}

const review = (response: unknown) => ({
  body: { apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", response },
});
const base64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64");

type Answering = (uid: string) => { status?: number; body: unknown };
const refusedAnswers: readonly (readonly [string, "/validate" | "/mutate", Answering, RegExp])[] = [
  ["no JSON", "/validate", () => ({ body: "no" }), /json parse error/],
  ["an HTTP error", "/validate", () => ({ status: 404, body: "" }), /could not find the requested resource/],
  ["a server error", "/validate", () => ({ status: 500, body: "x" }), /an error on the server \("x"\)/],
  ["no response", "/validate", () => review(undefined), /webhook response was absent/],
  [
    "another uid",
    "/validate",
    () => review({ uid: "x", allowed: true }),
    /expected response\.uid="[0-9a-f-]+", got "x"/,
  ],
  [
    "another version",
    "/validate",
    (uid) => ({ body: { response: { uid } } }),
    /expected webhook response of admission\.k8s\.io\/v1/,
  ],
  [
    "a patch from a validating one",
    "/validate",
    (uid) => review({ uid, allowed: true, patch: "W10=" }),
    /may not return response\.patch$/,
  ],
  [
    "a patch type from a validating one",
    "/validate",
    (uid) => review({ uid, allowed: true, patchType: "JSONPatch" }),
    /patchType$/,
  ],
  [
    "a patch without a type",
    "/mutate",
    (uid) => review({ uid, allowed: true, patch: "W10=" }),
    /but not response\.patchType/,
  ],
  [
    "a type without a patch",
    "/mutate",
    (uid) => review({ uid, allowed: true, patchType: "JSONPatch" }),
    /but not response\.patch$/,
  ],
  [
    "a patch that is no list",
    "/mutate",
    (uid) => review({ uid, allowed: true, patchType: "JSONPatch", patch: base64({}) }),
    /not a list/,
  ],
];

for (const [what, path, answer, message] of refusedAnswers) {
  test(`the failure policy decides about ${what}`, async (context) => {
    const admit = await startWebhook(context, answer);
    const webhook = path === "/validate" ? validating : mutating;
    const closed = await admit([webhook("Fail")]);
    assert.equal(closed.allowed, false);
    assert.equal(closed.error?.reason, "InternalError");
    assert.match(closed.error?.message ?? "", message);
    const open = await admit([webhook("Ignore")]);
    assert.deepEqual([open.allowed, open.failedOpen], [true, [webhook("Ignore").name]]);
  });
}

test("a patch that does not apply fails the request even where failures are ignored", async (context) => {
  const patch = base64([{ op: "add", path: "/metadata/labels/a", value: "b" }]);
  const admit = await startWebhook(context, (uid) => review({ uid, allowed: true, patchType: "JSONPatch", patch }));
  const { allowed, error } = await admit([mutating("Ignore")]);
  assert.equal(allowed, false);
  assert.match(error?.message ?? "", /^Internal error occurred: add "\/metadata\/labels\/a": "labels" is not a map/);
});

test("a refusal's text is the API server's", async (context) => {
  const admit = await startWebhook(context, (uid, call) =>
    review({ uid, allowed: false, status: call === 1 ? { code: 200, reason: "Prose" } : undefined }),
  );
  assert.deepEqual((await admit([validating("Ignore")])).error, {
    code: 400,
    reason: "Prose",
    message: 'admission webhook "v.meshward.io" denied the request: Prose',
  });
  assert.match((await admit([validating("Ignore")])).error?.message ?? "", /denied the request without explanation$/);
});

test("429 with Retry-After is repeated, without it is final", async (context) => {
  const busy = { status: 429, body: "" };
  const admit = await startWebhook(context, (uid, call) =>
    call === 1 ? { ...busy, headers: { "retry-after": "0" } } : call === 2 ? review({ uid, allowed: true }) : busy,
  );
  assert.deepEqual((await admit([validating("Fail")])).failedOpen, []);
  assert.match((await admit([validating("Fail")])).error?.message ?? "", /too many requests/);
});

test("an authority that is not trusted, and a name that the certificate lacks, fail the call", async (context) => {
  const shell = await startShell(context);
  const webhooks = [validating("Fail")];
  const stranger = createApiServerClient({ url: shell.url, ca: "", webhooks });
  assert.match((await stranger.admit(created)).error?.message ?? "", /failed calling webhook .*certificate/);
  const renamed = createApiServerClient({ url: shell.url, ca: shell.ca, webhooks, serverName: "meshward.other.svc" });
  assert.match((await renamed.admit(created)).error?.message ?? "", /meshward\.other\.svc/);
  stranger.close();
  renamed.close();
});

test("the shell and the API server agree: mutation, then validation of what was mutated", async (context) => {
  const gate = fakeGate({
    mutate: () => ({
      ...allow,
      patch: enroll,
      warnings: ["enrolled"],
      auditAnnotations: { decision: "allow" },
      outcome: "warn",
    }),
    validate: () => ({ ...allow, warnings: ["enrolled", "and judged"], outcome: "warn" }),
  });
  const shell = await startShell(context, { gate });
  const submission: Submission = { operation: "CREATE", object: namespace, dryRun: true };
  const admission = await shell.client().admit(submission);
  assert.equal(admission.allowed, true);
  assert.deepEqual(admission.patch, enroll);
  assert.deepEqual(admission.warnings, ["enrolled", "and judged"]);
  assert.deepEqual(admission.auditAnnotations, { "mutate.meshward.io/decision": "allow" });
  const [mutated, validated] = gate.asked;
  assert.ok(mutated !== undefined && validated !== undefined);
  assert.notEqual(mutated.uid, validated.uid);
  assert.deepEqual([mutated.namespace, mutated.name, mutated.dryRun], ["shop", "shop", true]);
  assert.deepEqual(validated.object, admission.object);
  const labels = Object(admission.object.metadata).labels;
  assert.deepEqual(labels, { "kubernetes.io/metadata.name": "shop", "istio.io/dataplane-mode": "ambient" });
  assert.equal(
    kubectlText(submission, admission, "shop.yaml"),
    "Warning: enrolled\nWarning: and judged\nnamespace/shop created (server dry run)",
  );
});

test("a denial reads as kubectl prints it, whatever the failure policy", async (context) => {
  const shell = await startShell(context, { gate: fakeGate({ validate: () => deny("weights: 90 + 20 = 110") }) });
  const admission = await shell.client([validating("Ignore")]).admit(created);
  assert.equal(
    kubectlText(created, admission, "vs.yaml"),
    'Error from server (Forbidden): error when creating "vs.yaml": admission webhook "v.meshward.io" denied the request: weights: 90 + 20 = 110',
  );
});

test("a denied update reads as kubectl prints it: the patch, the object, and the file twice", async (context) => {
  const shell = await startShell(context, {
    gate: fakeGate({ validate: ({ operation }) => (operation === "UPDATE" ? deny("no") : allow) }),
  });
  const cluster = new MemoryApiServer();
  const client = shell.client([validating("Fail")]);
  const shop = (weight: number, labels?: object) => ({
    apiVersion: "networking.istio.io/v1",
    kind: "VirtualService",
    metadata: { name: "shop", namespace: "shop", ...(labels === undefined ? {} : { labels }) },
    spec: { hosts: ["shop"], weight },
  });
  await cluster.request({ raw: shop(1, { team: "a" }), isDeletion: false }, client);
  const outcome = await cluster.request({ raw: shop(2), isDeletion: false }, client);
  assert.ok(outcome);
  const { submission, admission, ...sent } = outcome;
  // k8s.io/kubectl pkg/cmd/apply/apply.go and pkg/cmd/util/helpers.go, AddSourceToErr.
  const config =
    '{"apiVersion":"networking.istio.io/v1","kind":"VirtualService","metadata":{"annotations":{},"name":"shop","namespace":"shop"},"spec":{"hosts":["shop"],"weight":2}}\n';
  assert.equal(
    kubectlText(submission, admission, "shop.yaml", sent),
    [
      "Error from server (Forbidden): error when applying patch:",
      JSON.stringify({
        metadata: { annotations: { "kubectl.kubernetes.io/last-applied-configuration": config }, labels: null },
        spec: { weight: 2 },
      }),
      "to:",
      'Resource: "networking.istio.io/v1, Resource=virtualservices", GroupVersionKind: "networking.istio.io/v1, Kind=VirtualService"',
      'Name: "shop", Namespace: "shop"',
      'for: "shop.yaml": error when patching "shop.yaml": admission webhook "v.meshward.io" denied the request: no',
    ].join("\n"),
  );
  const again = await cluster.request({ raw: shop(1, { team: "a" }), isDeletion: false }, client);
  assert.equal(again?.isUnchanged, true);
  assert.equal(
    kubectlText(again.submission, again.admission, "f", again),
    "virtualservice.networking.istio.io/shop unchanged",
  );
});

test("fields that something else set are kept, and fields that were applied before are removed", () => {
  const before = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "a" }, data: { mine: "1", gone: "2" } };
  const stored = {
    ...before,
    metadata: { name: "a", uid: "u", labels: { theirs: "x" } },
    data: { ...before.data, theirs: "3" },
  };
  const { object, patch } = appliedChange({ ...before, data: { mine: "2" } }, stored, before);
  assert.deepEqual(object.data, { mine: "2", theirs: "3" });
  assert.deepEqual((object.metadata as { labels: object; uid: string }).labels, { theirs: "x" });
  assert.match(patch, /^\{"data":\{"gone":null,"mine":"2"\},"metadata":/);
});

describe("the registered webhooks", async () => {
  const labels: Readonly<Record<string, Readonly<Record<string, string>>>> = {
    bank: { "meshward.io/protected": "true" },
  };
  const configurations = webhookConfigurations(rules, { url: "https://127.0.0.1:1" });
  const webhooks = await registeredWebhooks(configurations, (namespace) => labels[namespace] ?? {});
  const asked = (submission: Submission) =>
    webhooks.filter(({ matches }) => matches?.(submission)).map(({ name }) => name);
  const object = (apiVersion: string, kind: string, metadata: object) => ({ apiVersion, kind, metadata, spec: {} });
  const istio = (namespace: string) => object("networking.istio.io/v1", "VirtualService", { name: "a", namespace });
  const protectedLabels = { "meshward.io/protected": "true" };
  for (const [what, submission, names] of [
    ["an Istio object", { operation: "CREATE", object: istio("shop") }, ["mesh.validate.meshward.io"]],
    [
      "one in a protected namespace",
      { operation: "CREATE", object: istio("bank") },
      ["mesh-protected.validate.meshward.io"],
    ],
    ["one in Meshward's namespace", { operation: "CREATE", object: istio("meshward-system") }, []],
    [
      "a kind that no rule reads",
      { operation: "CREATE", object: object("v1", "Secret", { name: "a", namespace: "shop" }) },
      [],
    ],
    [
      "a new namespace",
      { operation: "CREATE", object: object("v1", "Namespace", { name: "shop" }) },
      ["namespaces.validate.meshward.io", "enrollment.mutate.meshward.io"],
    ],
    [
      "a label that is taken off a protected namespace",
      {
        operation: "UPDATE",
        object: object("v1", "Namespace", { name: "bank" }),
        oldObject: object("v1", "Namespace", { name: "bank", labels: protectedLabels }),
      },
      ["namespace-labels-protected.validate.meshward.io", "enrollment.mutate.meshward.io"],
    ],
    [
      "an update that changes no label of a namespace",
      {
        operation: "UPDATE",
        object: object("v1", "Namespace", { name: "shop", annotations: { a: "b" } }),
        oldObject: object("v1", "Namespace", { name: "shop" }),
      },
      ["enrollment.mutate.meshward.io"],
    ],
    [
      "a ConfigMap that is not Istio's",
      {
        operation: "UPDATE",
        object: object("v1", "ConfigMap", { name: "x", namespace: "istio-system" }),
        oldObject: {},
      },
      [],
    ],
  ] as const satisfies readonly (readonly [string, Submission, readonly string[]])[])
    test(`${what}: ${names.join(", ") || "none"}`, () => assert.deepEqual(asked(submission), names));
});

test("updates and deletions carry the old object; a collection's deletion carries no name", async (context) => {
  const gate = fakeGate();
  const client = (await startShell(context, { gate })).client();
  await client.admit({ operation: "UPDATE", object: virtualService, oldObject: virtualService, fieldManager: "helm" });
  const deleted = await client.admit({ operation: "DELETE", oldObject: virtualService, collection: true });
  const generated = { ...virtualService, metadata: { namespace: "shop", generateName: "reviews-" } };
  const named = await client.admit({ operation: "CREATE", object: generated });
  assert.deepEqual(
    gate.asked.map(({ operation, name, fieldManager, object }) => [
      operation,
      name.slice(0, 8),
      fieldManager,
      object !== undefined,
    ]),
    [
      ["UPDATE", "reviews", "helm", true],
      ["DELETE", "reviews", "", false],
      ["CREATE", "reviews-", "kubectl-client-side-apply", true],
    ],
  );
  assert.equal(
    kubectlText({ operation: "DELETE" }, deleted, "f"),
    "virtualservice.networking.istio.io/reviews deleted",
  );
  assert.match(
    kubectlText(created, named, "f"),
    /^virtualservice\.networking\.istio\.io\/reviews-[0-9a-f]{5} created$/,
  );
});

test("warnings: repeated ones are shown once, control characters cost the warning, length costs the rest", () => {
  const recorder = new WarningRecorder();
  for (const text of ["a", "a", "b\n", "", "c"]) recorder.add(text);
  assert.deepEqual(recorder.shown, ["a", "c"]);
  for (let index = 0; index < 30; index++) recorder.add(`${index} ${"x".repeat(500)}`);
  assert.ok(recorder.shown.every((text) => text.length <= 256));
  assert.equal(recorder.shown.length, 18);
});

test("patches apply as a reference library applies them", () => {
  const key = fc.constantFrom("a", "b", "a/b", "~");
  const pointer = fc
    .array(key, { minLength: 1, maxLength: 3 })
    .map((steps) => steps.map((step) => `/${step.replaceAll("~", "~0").replaceAll("/", "~1")}`).join(""));
  const operation: fc.Arbitrary<PatchOperation> = fc.oneof(
    fc.record({ op: fc.constantFrom("add", "replace", "test"), path: pointer, value: fc.constantFrom("x", "y") }),
    fc.record({ op: fc.constant("remove"), path: pointer }),
  );
  const leaf = fc.constantFrom("x", "y");
  const inner = fc.dictionary(key, fc.oneof(leaf, fc.dictionary(key, leaf, { noNullPrototype: true })), {
    noNullPrototype: true,
  });
  const property = fc.property(
    fc.dictionary(key, fc.oneof(leaf, inner), { noNullPrototype: true }),
    fc.array(operation, { maxLength: 4 }),
    (object, patch) => {
      const before = structuredClone(object);
      let expected: unknown;
      try {
        // fast-json-patch goes into text and sets what is not there; RFC 6902 does neither, and so its validation is on.
        expected = jsonPatch.applyPatch(
          structuredClone(object),
          structuredClone(patch) as jsonPatch.Operation[],
          true,
        ).newDocument;
      } catch {
        assert.throws(() => applyPatch(object, patch), PatchError);
        return;
      }
      assert.deepEqual(JSON.parse(JSON.stringify(applyPatch(object, patch))), JSON.parse(JSON.stringify(expected)));
      assert.deepEqual(object, before);
    },
  );
  fc.assert(property, { numRuns: 400 });
});

test("inherited names are nothing that a patch finds", () => {
  assert.throws(() => applyPatch({}, [{ op: "remove", path: "/constructor" }]), PatchError);
  assert.throws(() => applyPatch({}, [{ op: "add", path: "/__proto__/a", value: 1 }]), PatchError);
  const patched = applyPatch({}, [{ op: "add", path: "/__proto__", value: { a: 1 } }]);
  assert.deepEqual([Object.keys(patched), Object.getPrototypeOf(patched)], [["__proto__"], Object.prototype]);
});

test("a decision's object is never changed by an answer", async (context) => {
  const decision: Decision = Object.freeze({ ...allow, patch: Object.freeze(enroll) });
  const shell = await startShell(context, { gate: fakeGate({ mutate: () => decision }) });
  const object = Object.freeze({ ...namespace });
  assert.equal((await shell.client().admit({ operation: "CREATE", object })).allowed, true);
  assert.deepEqual(object, { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } });
});
