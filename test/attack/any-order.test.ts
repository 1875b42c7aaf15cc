import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { loadPolicies } from "../../src/policy/load.ts";
import { rules } from "../../src/rules/index.ts";
import type { Raw } from "../admission/requests.ts";
import { Cluster } from "./cluster.ts";
import { objectsOf, type Step } from "./ways.ts";

// Tools apply and prune objects in an order of their own, and try again what was denied. Whatever the order is, all of it must be
// done in the end: no denial waits for an object that waits itself.

const { policies } = loadPolicies([], rules, "baseline");
const numRuns = Number(process.env.MESHWARD_LAW_RUNS ?? 15);
/** How often a tool tries what was denied. */
const mostRounds = 4;
/** The control plane, and the waypoint of another protected namespace. */
const kept: ReadonlySet<string> = new Set(["istio-system", "infra"]);
const writers = ["flux", "person"] as const;
type Writer = (typeof writers)[number];

interface Target {
  readonly object: Raw;
  readonly name: string;
  readonly kind: string;
  readonly namespace: string;
}

function targetsIn(objects: readonly Raw[]): ReadonlyMap<string, readonly Target[]> {
  const targets = objects.flatMap((object) => {
    const { name, namespace } = object["metadata"] as { readonly name: string; readonly namespace?: string };
    const isIstio = String(object["apiVersion"]).startsWith("networking.istio.io") && object["kind"] === "Gateway";
    const kind = `${isIstio ? "Istio " : ""}${String(object["kind"])}`;
    return namespace === undefined ? [] : [{ object, name, kind, namespace }];
  });
  return new Map(Map.groupBy(targets, ({ namespace }) => namespace));
}

const suffix = (writer: Writer): string => (writer === "person" ? "" : ` as ${writer}`);
const deletionOf = ({ kind, namespace, name }: Target, writer: Writer): Step => ({
  [`delete ${kind} ${namespace}/${name}${suffix(writer)}`]: null,
});
function creationOf({ object, kind, namespace, name }: Target, writer: Writer): Step {
  const { apiVersion: _, kind: __, metadata, ...body } = object;
  const { name: ___, namespace: ____, ...rest } = metadata as Raw;
  return { [`create ${kind} ${namespace}/${name}${suffix(writer)}`]: { metadata: rest, ...body } };
}

/** Tries all steps, and again those that were denied; what is left in the end, with the messages. */
function leftOf(cluster: Cluster, steps: readonly Step[]): readonly string[] {
  let left = steps;
  let messages: readonly string[] = [];
  for (let round = 0; round < mostRounds && left.length > 0; round++) {
    const denied = left.flatMap((step) => {
      const { allowed, message } = cluster.request(step);
      return allowed ? [] : [{ step, message: message ?? "" }];
    });
    left = denied.map(({ step }) => step);
    messages = denied.map(({ message }) => message);
  }
  return messages;
}

for (const world of ["shop", "bank"] as const)
  describe(`objects of a namespace in any order (${world})`, () => {
    const objects = objectsOf(world);
    for (const [namespace, targets] of targetsIn(objects)) {
      if (kept.has(namespace)) continue;
      test(`${namespace} is pruned and made again`, () => {
        const orders = fc.record({
          pruned: fc.shuffledSubarray([...targets], { minLength: targets.length }),
          made: fc.shuffledSubarray([...targets], { minLength: targets.length }),
          writer: fc.constantFrom(...writers),
        });
        fc.assert(
          fc.property(orders, ({ pruned, made, writer }) => {
            const cluster = new Cluster(objects, policies);
            const deletions = pruned.map((one) => deletionOf(one, writer));
            assert.deepEqual(leftOf(cluster, deletions), [], "something is not pruned");
            assert.deepEqual(
              leftOf(
                cluster,
                made.map((one) => creationOf(one, writer)),
              ),
              [],
              "something is not made",
            );
          }),
          { numRuns },
        );
      });
    }
  });
