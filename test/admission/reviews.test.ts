import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { answer, type WebhookPath } from "../../src/admission/answer.ts";
import { createGate } from "../../src/admission/gate.ts";
import { readReview } from "../../src/admission/review.ts";
import { readAny } from "../../src/kube/object.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import { rules } from "../../src/rules/index.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";

// What the API server sends and what it gets back, whole, under the default profile. Each file is one exchange.

interface Exchange {
  readonly path: WebhookPath;
  /** What is there already. */
  readonly mesh: readonly unknown[];
  readonly review: unknown;
  /** A patch is shown decoded. */
  readonly answer: unknown;
}

const folder = join(import.meta.dirname, "reviews");
const { policies } = loadPolicies([], rules);

for (const file of readdirSync(folder))
  test(file, () => {
    const exchange = JSON.parse(readFileSync(join(folder, file), "utf8")) as Exchange;
    assert.deepEqual(answered(exchange), exchange.answer);
  });

function answered({ path, mesh, review }: Exchange): unknown {
  const store = new MeshStore(defaultMeshSettings);
  for (const raw of mesh) {
    const object = readAny(raw);
    assert.ok(object);
    store.set(object);
  }
  const reading = readReview(JSON.stringify(review));
  assert.ok("request" in reading, JSON.stringify(reading));
  const gate = createGate({ mesh: () => store, rules, policies: () => policies });
  const decision = path === "/validate" ? gate.validate(reading.request) : gate.mutate(reading.request);
  const { response, ...rest } = JSON.parse(JSON.stringify(answer(reading.request.uid, decision, path))) as {
    response: { patch?: string };
  };
  const { patch } = response;
  const decoded = patch === undefined ? {} : { patch: JSON.parse(Buffer.from(patch, "base64").toString()) as unknown };
  return { ...rest, response: { ...response, ...decoded } };
}
