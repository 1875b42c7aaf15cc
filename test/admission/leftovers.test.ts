import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { getHeapSpaceStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { answer } from "../../src/admission/answer.ts";
import { createGate } from "../../src/admission/gate.ts";
import { readReview } from "../../src/admission/review.ts";
import { keepReviewsYoung } from "../../src/cli/serve/memory.ts";
import { policiesOf } from "../../src/cli/policy-options.ts";
import { rules } from "../../src/rules/index.ts";
import { asStored, manifest, meshOf, type Raw, rootNamespace, storedMesh, team } from "../bench/mesh.ts";
import { review, withSpec } from "../bench/reviews.ts";
import { updates } from "../bench/webhook.ts";

setFlagsFromString("--expose-gc");
// As the server does.
keepReviewsYoung();
const gc = runInNewContext("gc") as (options?: { type: "minor" }) => void;

/** Bytes of objects that a minor garbage collection does not visit. */
const oldBytes = (): number =>
  getHeapSpaceStatistics().find(({ space_name: name }) => name === "old_space")?.space_used_size ?? Number.NaN;

const atGateway = (name: string, paths: readonly string[]): Raw => {
  const http = paths.map((prefix) => ({ match: [{ uri: { prefix } }], route: [{ destination: { host: "svc-1" } }] }));
  const spec = { hosts: ["shared.example.com"], gateways: [`${rootNamespace}/public`], http };
  return asStored(
    manifest("networking.istio.io/v1", "VirtualService", { namespace: team(0), name }, { spec }),
    5_000 + name.length,
  );
};
const stored = [...storedMesh(1_000), atGateway("first", ["/api"]), atGateway("second", ["/api/v2"])];
/** A review of each object of a kind, which the edit changes; undefined: that one stays as it is. */
const edits = (kind: string, edit: (old: Raw) => Raw | undefined): readonly string[] =>
  stored.flatMap((old) => {
    const object = old.kind === kind ? edit(old) : undefined;
    return object === undefined ? [] : [review({ old, object })];
  });
const withFields = (old: Raw, fields: object): Raw => withSpec(old, { ...(old["spec"] as object), ...fields });

const reviews: Readonly<Record<string, readonly string[]>> = {
  VirtualService: updates(1_000),
  "VirtualService that shares a host": [
    review({ old: atGateway("second", ["/api/v2"]), object: atGateway("second", ["/api/v3"]) }),
  ],
  AuthorizationPolicy: edits("AuthorizationPolicy", (old) =>
    old.metadata["name"] === "default-deny"
      ? undefined
      : withFields(old, { rules: [{ to: [{ operation: { methods: ["GET", "HEAD"], paths: ["/api/*"] } }] }] }),
  ),
  PeerAuthentication: edits("PeerAuthentication", (old) =>
    old.metadata["name"] === "metrics" ? withFields(old, { portLevelMtls: { 9091: { mode: "STRICT" } } }) : undefined,
  ),
  DestinationRule: edits("DestinationRule", (old) =>
    withFields(old, { trafficPolicy: { connectionPool: { tcp: { maxConnections: 50 } } } }),
  ),
  Namespace: edits("Namespace", (old) => {
    const { metadata } = old;
    return { ...old, metadata: { ...metadata, labels: { ...(metadata["labels"] as object), tier: "gold" } } };
  }),
  Service: edits("Service", (old) => withFields(old, { type: "NodePort" })),
  Deployment: edits("Deployment", (old) => {
    const { template } = old["spec"] as { template: { metadata: { labels: object } } };
    const labels = { ...template.metadata.labels, tier: "gold" };
    return withFields(old, { template: { ...template, metadata: { ...template.metadata, labels } } });
  }),
};

/** In bytes. Where something keeps what is of one review, it leaves nearly 4,000 or more. */
const mostLeft = 1_500;
const reviewsInRound = 600;

describe("what a review leaves behind", async () => {
  const mesh = meshOf(stored);
  const { policies } = await policiesOf({ profile: "baseline" });
  const gate = createGate({ mesh: () => mesh, policies: () => policies, rules });
  for (const [kind, texts] of Object.entries(reviews))
    it(`is little that a minor garbage collection does not free, after a review of the kind ${kind}`, () => {
      const bodies = texts.map((body) => Buffer.from(body));
      const ask = (count: number) => {
        for (let i = 0; i < count; i++) {
          const reading = readReview(bodies[i % bodies.length] as Buffer);
          if ("problem" in reading) assert.fail(reading.problem);
          assert.match(
            JSON.stringify(answer(reading.request.uid, gate.validate(reading.request), "/validate")),
            /allowed/,
          );
        }
      };
      // Until functions are compiled and indexes are built.
      ask(500);
      // What is left by every review is left in each round. What is compiled or grows once is left in one, so that the first round
      // that leaves little answers the question.
      let left = Number.POSITIVE_INFINITY;
      for (let rounds = 3; rounds > 0 && left >= mostLeft; rounds--) {
        gc();
        const before = oldBytes();
        ask(reviewsInRound);
        gc({ type: "minor" });
        left = Math.min(left, (oldBytes() - before) / reviewsInRound);
      }
      assert.ok(left < mostLeft, `each review leaves ${Math.round(left)} bytes among the old objects`);
    });
});
