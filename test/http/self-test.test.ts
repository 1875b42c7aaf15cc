import assert from "node:assert/strict";
import test from "node:test";
import { selfTest } from "../../src/admission/self-test.ts";
import { fakeGate, responseIn, reviewBody, startShell } from "../contract/api-server.ts";

const lease = {
  kind: { group: "coordination.k8s.io", version: "v1", kind: "Lease" },
  resource: { group: "coordination.k8s.io", version: "v1", resource: "leases" },
  namespace: "meshward-system",
  name: selfTest.name,
  operation: "CREATE",
  object: { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata: { name: selfTest.name } },
};

test("a self-test is denied without asking the gate, and neither logged nor counted", async (context) => {
  const gate = fakeGate();
  const shell = await startShell(context, { gate });
  const answer = responseIn(await shell.post("/validate?timeout=5s", JSON.stringify(reviewBody(lease))));
  assert.equal(answer.allowed, false);
  assert.ok(JSON.stringify(answer).includes(selfTest.answer));
  assert.deepEqual(gate.asked, []);
  assert.deepEqual(shell.lines, []);
  assert.doesNotMatch(await shell.metrics.text(), /^meshward_admission_requests_total\{.*\} [1-9]/m);
});

test("only the object of the self-test is denied that way", async (context) => {
  const gate = fakeGate();
  const shell = await startShell(context, { gate });
  const others = [
    { ...lease, name: "meshward" },
    { ...lease, operation: "UPDATE", oldObject: lease.object },
    {
      ...lease,
      kind: { ...lease.kind, group: "example.com" },
      object: { ...lease.object, apiVersion: "example.com/v1" },
    },
    { ...lease, kind: { ...lease.kind, kind: "Other" }, object: { ...lease.object, kind: "Other" } },
  ];
  for (const other of others) await shell.post("/validate?timeout=5s", JSON.stringify(reviewBody(other)));
  assert.equal(gate.asked.length, others.length);
});
