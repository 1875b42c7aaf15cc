// From a review's bytes to the answer's, without HTTP: everything that Meshward does beyond reading the JSON.

import { answer } from "../../src/admission/answer.ts";
import { createGate } from "../../src/admission/gate.ts";
import { PendingChanges } from "../../src/admission/pending-changes.ts";
import { readReview } from "../../src/admission/review.ts";
import { policiesOf } from "../../src/cli/policy-options.ts";
import { keyOf } from "../../src/kube/identity.ts";
import { rules } from "../../src/rules/index.ts";
import { cpuOf, shown, table } from "./measure.ts";
import { meshOf, storedMesh } from "./mesh.ts";
import { type Asked, everySort } from "./webhook.ts";

const repetition = { rounds: 15, repeat: 2_000 };

/** The ratio to JSON.parse of the same body says whether a change made the gate slower, whatever the machine. */
export async function gateTable(): Promise<string> {
  const mesh = meshOf(storedMesh(1_000));
  const { policies } = await policiesOf({ profile: "baseline" });
  const gate = createGate({ mesh: () => mesh, policies: () => policies, rules });
  const ask = ({ path }: Asked, body: Buffer): string => {
    const reading = readReview(body);
    if ("problem" in reading) throw new Error(`a review of the bench cannot be read: ${reading.problem}`);
    const decision = path === "/validate" ? gate.validate(reading.request) : gate.mutate(reading.request);
    return JSON.stringify(answer(reading.request.uid, decision, path));
  };
  const rows = everySort().map((asked) => {
    const bodies = asked.bodies.map((body) => Buffer.from(body));
    const bodyOf = (i: number) => bodies[i % bodies.length] as Buffer;
    if (!ask(asked, bodyOf(0)).includes(asked.said)) throw new Error(`the gate does not say ${asked.said}`);
    const whole = cpuOf((i) => ask(asked, bodyOf(i)), repetition);
    const parse = cpuOf((i) => JSON.parse(bodyOf(i).toString("utf8")) as unknown, repetition);
    return [asked.title, shown(parse), shown(whole), (whole / parse).toFixed(2)];
  });
  return table(
    "In one process, bytes to answer, 1,000 objects",
    ["review", "JSON.parse, CPU us", "gate, CPU us", "ratio"],
    rows,
  );
}

/** What a review costs while changes of other users are admitted that the watch has not shown yet. */
export async function pendingTable(): Promise<string> {
  const mesh = meshOf(storedMesh(1_000));
  const { policies } = await policiesOf({ profile: "baseline" });
  const others = [...meshOf(storedMesh(2_000)).all("VirtualService")].filter(
    (object) => mesh.find("VirtualService", keyOf(object)) === undefined,
  );
  const gateWith = (count: number) => {
    const pending = new PendingChanges({ wait: async () => undefined, most: Math.max(count, 1), keepMs: 3_600_000 });
    for (const object of others.slice(0, count)) pending.add({ object }, mesh);
    if (pending.size !== count) throw new Error(`${pending.size} of ${count} changes are pending`);
    // A dry run is not added, so that the number of pending changes stays the same.
    return createGate({ mesh: () => mesh, policies: () => policies, rules, pending, readAgain: async () => undefined });
  };
  const gates = [0, 1, 16, 128].map((count) => ({ count, gate: gateWith(count) }));
  const rows = everySort()
    .filter(({ path }) => path === "/validate")
    .map((asked) => {
      const requests = asked.bodies.map((body) => {
        const reading = readReview(Buffer.from(body));
        if ("problem" in reading) throw new Error(`a review of the bench cannot be read: ${reading.problem}`);
        return { ...reading.request, dryRun: true };
      });
      const costs = gates.map(({ gate }) =>
        cpuOf((i) => gate.validate(requests[i % requests.length] ?? never()), repetition),
      );
      const [none = 1] = costs;
      return [asked.title, shown(none), ...costs.slice(1).map((cost) => (cost / none).toFixed(2))];
    });
  return table(
    "Pending changes of others, 1,000 objects",
    ["review", "none, CPU us", ...gates.slice(1).map(({ count }) => `${count}, ratio`)],
    rows,
  );
}

const never = (): never => {
  throw new Error("no review");
};
