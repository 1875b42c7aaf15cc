import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { program } from "./program.ts";

const root = mkdtempSync(join(tmpdir(), "meshward-closed-pipe-"));
after(() => rmSync(root, { recursive: true }));

const route = (weight: number): string => `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: api, namespace: shop }
spec:
  hosts: [api.example.com]
  http: [{ route: [{ destination: { host: a.example.com }, weight: ${weight} }, { destination: { host: b.example.com }, weight: 60 }] }]
`;
const wrong = join(root, "wrong.yaml");
writeFileSync(wrong, route(60));
const right = join(root, "right.yaml");
writeFileSync(right, route(40));

/** The exit code of a command, nobody of whose readers reads anything, as after `| head -1` got its line. */
async function unreadBy(streams: readonly ("stdout" | "stderr")[], ...args: string[]) {
  const child = spawn(process.execPath, [await program(), ...args], { stdio: ["ignore", "pipe", "pipe"] });
  for (const stream of streams) child[stream].destroy();
  const [code] = await once(child, "exit");
  return code;
}

describe("a reader that leaves early changes no exit code", () => {
  for (const streams of [["stdout"], ["stdout", "stderr"]] as const)
    test(`a denial, without a reader of ${streams.join(" and ")}`, async () =>
      assert.equal(await unreadBy(streams, "check", wrong, "--no-config"), 1));

  test("nothing wrong", async () => assert.equal(await unreadBy(["stdout"], "check", right, "--no-config"), 0));

  test("what cannot be read", async () =>
    assert.equal(await unreadBy(["stdout", "stderr"], "audit", "--mesh", join(root, "absent"), "--no-config"), 2));
});
