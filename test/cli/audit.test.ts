import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import type { Report } from "../../src/report/report.ts";
import { meshward } from "./terminal.ts";

const root = mkdtempSync(join(tmpdir(), "meshward-audit-"));
after(() => rmSync(root, { recursive: true }));
const mesh = join(root, "mesh.yaml");
writeFileSync(
  mesh,
  `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: shop, namespace: shop }
spec:
  hosts: [shop]
  http:
    - route:
        - destination: { host: shop, subset: v1 }
          weight: 90
        - destination: { host: shop, subset: v2 }
          weight: 20
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: shop, namespace: shop }
spec: { host: shop, subsets: [{ name: v1 }] }
`,
);

describe("audit", () => {
  test("says of what is there what admission would, with nothing introduced", async () => {
    const { code, out } = await meshward(["audit", "--mesh", mesh, "--format", "json"]);
    const { findings, summary } = JSON.parse(out) as Report;
    assert.equal(code, 1);
    assert.deepEqual(
      findings.map(({ rule, mode, introduced, file, line }) => [rule, mode, introduced, file, line]),
      [
        ["virtual-service-weights-not-100", "deny", false, mesh, 7],
        ["virtual-service-subset-not-found", "deny", false, mesh, 10],
      ],
    );
    assert.deepEqual([summary.objects, summary.deny], [3, 2]);
  });

  test("what is missing from a mesh does not exist: it denies, where check of a set would warn", async () => {
    const alone = join(root, "alone.yaml");
    writeFileSync(
      alone,
      "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: { name: a, namespace: a }\nspec: { hosts: [a], http: [{ route: [{ destination: { host: a, subset: v1 } }] }] }\n",
    );
    const codes = [await meshward(["audit", "--mesh", alone]), await meshward(["check", alone])].map(
      ({ code }) => code,
    );
    assert.deepEqual(codes, [1, 0]);
  });

  test("names the exceptions that accept nothing, but for those that have expired", async () => {
    const policies = join(root, "exceptions.yaml");
    const exception = (name: string, rule: string, year: number) =>
      `apiVersion: meshward.io/v1alpha1\nkind: MeshwardException\nmetadata: { name: ${name}, namespace: shop }\nspec: { rules: [${rule}], reason: why, owner: who, expiresAt: "${year}-01-01T00:00:00Z" }\n`;
    writeFileSync(
      policies,
      [
        exception("used", "virtual-service-weights-not-100", 2099),
        exception("idle", "gateway-tls-weak", 2099),
        exception("expired", "gateway-tls-weak", 2020),
      ].join("---\n"),
    );
    const { error } = await meshward(["audit", "--mesh", mesh, "--policies", policies]);
    assert.deepEqual(
      error.split("\n").filter((line) => line.includes("MeshwardException")),
      [
        "meshward: note: MeshwardException shop/idle accepts no finding of this mesh; delete it if it is no longer needed",
      ],
    );
  });

  test("--fail-on, and a mesh that is not there", async () => {
    assert.equal((await meshward(["audit", "--mesh", mesh, "--fail-on", "never"])).code, 0);
    const missing = await meshward(["audit", "--mesh", join(root, "none")]);
    assert.equal(missing.code, 2);
    assert.match(missing.error, /--mesh .*none/);
    const without = await meshward(["audit"]);
    assert.equal(without.code, 2);
    assert.match(without.error, /--mesh/);
  });
});
