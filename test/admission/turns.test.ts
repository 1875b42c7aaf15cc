import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { TooManyWaiting, Turns } from "../../src/admission/turns.ts";

/** Takes a turn for each name, in this order, and returns the names in the order of their turns. */
async function orderOf(users: readonly string[]): Promise<readonly string[]> {
  const turns = new Turns();
  const order: string[] = [];
  const all = users.map(async (name) => {
    await turns.take(name.split("#")[0] ?? "");
    order.push(name);
    await Promise.resolve();
    turns.done();
  });
  await Promise.all(all);
  return order;
}

describe("turns of long reviews", () => {
  test("the first is taken at once, and again after all are done", () => {
    const turns = new Turns();
    assert.equal(turns.take("ada"), undefined);
    assert.equal(turns.hasWaiting("ada"), false);
    assert.ok(turns.take("ada") instanceof Promise);
    assert.deepEqual([turns.hasWaiting("ada"), turns.hasWaiting("eve")], [true, false]);
    turns.done();
    turns.done();
    assert.equal(turns.take("ada"), undefined);
  });

  test("a user with one change waits for one change of a user with many", async () => {
    const order = await orderOf(["eve#0", "eve#1", "eve#2", "eve#3", "ada#0", "bob#0", "ada#1"]);
    assert.deepEqual(order, ["eve#0", "eve#1", "ada#0", "bob#0", "eve#2", "ada#1", "eve#3"]);
  });

  test("the service accounts of a namespace are one user", async () => {
    const account = (name: string) => `system:serviceaccount:shop:${name}`;
    const order = await orderOf([account("a"), account("b"), account("c"), "ada"]);
    assert.deepEqual(order, [account("a"), account("b"), "ada", account("c")]);
  });

  test("there is a limit for one user, and one for all", () => {
    const turns = new Turns();
    void turns.take("ada");
    for (let i = 0; i < 96; i++) void turns.take("eve");
    const tooMany = (error: unknown) =>
      error instanceof TooManyWaiting && /changes of this user that/.test(error.message);
    assert.throws(() => turns.take("eve"), tooMany);
    assert.ok(turns.take("ada") instanceof Promise);
    for (let i = 0; i < 95; i++) void turns.take(`user-${i}`);
    assert.throws(() => turns.take("last"), /changes of all users that/);
  });
});
