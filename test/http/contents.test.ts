import assert from "node:assert/strict";
import { test } from "node:test";
import { createGate } from "../../src/admission/gate.ts";
import { policiesOf } from "../../src/cli/policy-options.ts";
import { defineRule } from "../../src/engine/rule.ts";
import type { ObjectEvent } from "../../src/kube/object-event.ts";
import { rules } from "../../src/rules/index.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { type RequestParts, review } from "../admission/requests.ts";
import { startShell } from "../contract/api-server.ts";

// What objects contain may be secret. It is in answers, for whoever sent it, and neither in the log nor in metrics.

const canary = "canary-5e77";
const metadata = {
  name: "shop",
  namespace: "shop",
  labels: { app: canary, [canary]: "v" },
  annotations: { note: canary, [canary]: "v", "meshward.io/break-glass": canary },
  managedFields: [{ manager: canary, fieldsV1: { [canary]: {} } }],
  finalizers: [`example.com/${canary}`],
};
const routes = (weights: readonly unknown[], more = {}) => ({
  apiVersion: "networking.istio.io/v1",
  kind: "VirtualService",
  metadata,
  spec: {
    hosts: [`${canary}.example.com`],
    gateways: [canary],
    http: [{ route: weights.map((weight) => ({ destination: { host: canary, subset: canary }, weight })) }],
    ...more,
  },
});
const right = routes([100]);
const namespace = (labels: object) => ({
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { ...metadata, name: "new", labels },
});
const deep = (levels: number): unknown => JSON.parse(`${"[".repeat(levels)}"${canary}"${"]".repeat(levels)}`);

/** Fails with the texts that errors take from their input. */
const throwing = defineRule({
  id: "test-throwing",
  subject: "DestinationRule",
  reads: [],
  mode: "deny",
  since: "0.1.0",
  summary: "s",
  why: "w",
  fix: "f",
  *check({ spec }) {
    if (spec.host === `${canary}-json`) JSON.parse(spec.host);
    yield { at: [], message: String(new RegExp(`(${canary}`)) };
  },
});
const destinationRule = (host: string) => ({
  apiVersion: "networking.istio.io/v1",
  kind: "DestinationRule",
  metadata,
  spec: { host },
});

const flux = "system:serviceaccount:flux-system:kustomize-controller";
const reviews: readonly (readonly [string, RequestParts, RegExp?])[] = [
  ["allowed", { object: namespace({ app: canary }) }],
  ["denied", { object: routes([60, 60]) }, /weights-not-100/],
  ["denied for a type", { object: routes([canary]) }, /object-malformed/],
  ["warned", { object: right }, /subset-not-found|host-not-found/],
  ["a dry run", { object: right, dryRun: true }],
  ["updated", { object: routes([60, 60]), oldObject: right }],
  ["deleted", { oldObject: right }],
  ["sent by a GitOps controller", { object: right, user: flux }],
  ["a kind without rules", { object: { ...right, apiVersion: "example.com/v1", kind: "Thing" } }],
  ["a rule that fails", { object: destinationRule(canary) }, /test-throwing/],
  ["a rule that fails with JSON", { object: destinationRule(`${canary}-json`) }, /test-throwing/],
  ["nested too deeply", { object: { ...right, spec: deep(3_000) } }, /nested/],
  ["too large to be stored", { object: { ...right, spec: { text: canary.repeat(300_000) } } }, /could not be stored/],
];

test("nothing of an object is in the log or in metrics, on any path", async (context) => {
  const mesh = new MeshStore(defaultMeshSettings);
  const { policies } = await policiesOf({ profile: "baseline" });
  const all = [...rules, throwing];
  const failing = new Set(["fail"]);
  const told: { log?: Parameters<typeof createGate>[0]["log"] } = {};
  const real = createGate({
    mesh: () => {
      if (failing.has("now")) throw new SyntaxError(`Unexpected token in ${canary}`);
      return mesh;
    },
    policies: () => policies,
    rules: all,
    log: { error: (fields, message) => told.log?.error(fields, message) },
  });
  const events: ObjectEvent[] = [];
  const shell = await startShell(context, {
    gate: { validate: (request) => real.validate(request), mutate: (request) => real.mutate(request) },
    tell: (some) => events.push(...some),
    limits: { bodyBytes: 8_000_000 },
  });
  told.log = { error: (fields, message) => void shell.lines.push({ ...fields, message }) };
  const answers: string[] = [];
  const post = async (body: string, path = "/validate", headers = {}) => {
    const { text } = await shell.post(`${path}?timeout=5s`, body, {
      headers: { "content-type": "application/json", ...headers },
    });
    answers.push(text);
    return text;
  };
  for (const [title, parts, said] of reviews) {
    const body = JSON.stringify(review(parts));
    const text = await post(body);
    if (said !== undefined) assert.match(text, said, title);
    await post(body, "/mutate");
  }
  await post(JSON.stringify(review({ object: namespace({}) })), "/mutate");
  // Bytes that are no review.
  const whole = JSON.stringify(review({ object: right }));
  for (const broken of [canary, `{"${canary}`, whole.slice(0, -30), `[${JSON.stringify(canary)}]`, `${whole}${canary}`])
    await post(broken);
  await post(`{"request":{"uid":"u","object":"${canary}"},"kind":"${"x".repeat(9_000_000)}"}`);
  // What comes with a request.
  await post(whole, "/validate", { authorization: `Bearer ${canary}`, cookie: canary, traceparent: canary });
  await shell.post(`/validate?${canary}=1`, whole).catch(() => undefined);
  await shell.post(`/${canary}`, whole).catch(() => undefined);
  failing.add("now");
  assert.match(await post(whole), /internal error/);

  assert.ok(
    answers.some((text) => text.includes(canary)),
    "no answer quotes an object, so that nothing was tried",
  );
  assert.ok(shell.lines.length > 30);
  assert.ok(
    shell.lines.some(({ rule }) => rule === "test-throwing"),
    "no rule has failed",
  );
  for (const line of shell.lines) assert.ok(!JSON.stringify(line).includes(canary), JSON.stringify(line));
  const page = await shell.metrics.text();
  assert.match(page, /meshward_rule_errors_total\{rule="test-throwing",reason="error"\} [1-9]/);
  assert.ok(!page.includes(canary));
});
