import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
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

  test("names the exceptions that are unused, expired, not allowed, end soon, too long or too wide", async () => {
    const policies = join(root, "exceptions.yaml");
    const soon = new Date(Date.now() + 3 * 86_400_000).toISOString().slice(0, 10);
    const exception = (name: string, rule: string, expiresAt: string, match = "") =>
      `apiVersion: meshward.io/v1alpha1\nkind: MeshwardException\nmetadata: { name: ${name}, namespace: shop }\nspec: { rules: [${rule}], ${match}reason: why, owner: who, expiresAt: "${expiresAt}" }\n`;
    const one = "match: { objects: { names: [x] } }, ";
    writeFileSync(
      policies,
      [
        "apiVersion: meshward.io/v1alpha1\nkind: MeshwardPolicy\nmetadata: { name: p }\nspec: { exceptions: { rules: [virtual-*, gateway-*] } }\n",
        exception("used", "virtual-service-weights-not-100", "2099-01-01T00:00:00Z"),
        exception("idle", "gateway-tls-weak", soon, one),
        exception("expired", "gateway-tls-weak", "2020-01-01"),
        exception("other", "object-malformed", soon, one),
        exception("wide", "object-malformed", soon),
      ].join("---\n"),
    );
    const { error } = await meshward(["audit", "--mesh", mesh, "--policies", policies]);
    assert.deepEqual(
      error.split("\n").filter((line) => line.includes("MeshwardException")),
      [
        "used ends more than a year from now, 2099-01-01T00:00:00Z; give it an earlier expiresAt; it accepts every finding of its rules in its namespace, also on objects that do not exist yet; limit it with spec.match",
        `idle accepts no finding of this mesh; delete it if it is no longer needed; it ends in 4 days, ${soon}`,
        "expired expired, 2020-01-01, and accepts nothing; delete it",
        `other has no effect as far as it is not allowed: MeshwardPolicy p allows no exception for object-malformed in this namespace, only for virtual-*, gateway-*; it ends in 4 days, ${soon}`,
        `wide has no effect as far as it is not allowed: MeshwardPolicy p allows no exception for object-malformed in this namespace, only for virtual-*, gateway-*; it ends in 4 days, ${soon}; it accepts, as far as it is allowed, every finding of its rules in its namespace, also on objects that do not exist yet; limit it with spec.match`,
      ].map((text) => `meshward: note: MeshwardException shop/${text}`),
    );
  });

  test("--write-exceptions accepts what is there, and nothing else", async () => {
    const file = join(root, "known.yaml");
    const { error, code } = await meshward(["audit", "--mesh", mesh, "--write-exceptions", file, "--expires", "30d"]);
    assert.equal(code, 1);
    assert.match(error, /exceptions? until \d{4}-\d{2}-\d{2} written to .*known\.yaml/);
    const then = await meshward(["audit", "--mesh", mesh, "--policies", file, "--format", "json"]);
    const report = JSON.parse(then.out) as {
      findings: unknown[];
      accepted: unknown[];
      summary: { deny: number; warn: number };
    };
    assert.deepEqual([report.summary.deny, report.summary.warn, then.code], [0, 0, 0]);
    assert.ok(report.accepted.length > 0);
    const again = await meshward(["audit", "--mesh", mesh, "--write-exceptions", file]);
    assert.equal(again.code, 2);
    assert.match(again.error, /known\.yaml cannot be written: it exists/);
    assert.equal((await meshward(["audit", "--mesh", mesh, "--write-exceptions", file, "--expires", "soon"])).code, 2);
  });

  test("a rule that asks who sends a request is named where nobody does", async () => {
    const policies = join(root, "leads.yaml");
    const expression = "'leads' in request.userInfo.groups";
    writeFileSync(
      policies,
      `apiVersion: meshward.io/v1alpha1
kind: MeshwardPolicy
metadata: { name: own }
spec:
  customRules: [{ id: leads, kinds: [VirtualService], expression: "${expression}", message: wrong, mode: deny }]
`,
    );
    const of = ["--policies", policies];
    const audited = await meshward(["audit", "--mesh", mesh, ...of]);
    assert.match(
      audited.out,
      /skipped: .*own\/leads \(asks about a request; an audit has none: the webhook, or check with --user/,
    );
    const checked = await meshward(["check", mesh, ...of]);
    assert.match(checked.out, /skipped: .*own\/leads \(asks about a request; give --user, --group or --operation\)/);
    const asked = await meshward(["check", mesh, ...of, "--user", "bob"]);
    assert.doesNotMatch(asked.out, /asks about a request/);
    assert.match(asked.out, /deny .*wrong/);
  });

  test("a policy that selects no object of the mesh is named", async () => {
    const policies = join(root, "unselective.yaml");
    const policy = (name: string, objects: string) => `apiVersion: meshward.io/v1alpha1
kind: MeshwardPolicy
metadata: { name: ${name} }
spec:
  match: { objects: ${objects} }
  rules: [{ id: virtual-service-weights-not-100, mode: warn }]
`;
    writeFileSync(
      policies,
      [policy("typo", "{ names: [no-such-*] }"), policy("all", "{ kinds: [VirtualService] }")].join("---\n"),
    );
    const { error } = await meshward(["audit", "--mesh", mesh, "--policies", policies]);
    assert.match(error, /note: MeshwardPolicy typo: spec\.match selects no object of this mesh/);
    assert.doesNotMatch(error, /MeshwardPolicy all/);
  });

  test("--write-exceptions writes names that are free and valid, and says what the policies do not allow", async () => {
    const policies = join(root, "own.yaml");
    writeFileSync(
      policies,
      `apiVersion: meshward.io/v1alpha1
kind: MeshwardPolicy
metadata: { name: own }
spec:
  customRules: [{ id: names, kinds: [VirtualService], expression: object.metadata.name == 'x', message: wrong }]
---
apiVersion: meshward.io/v1alpha1
kind: MeshwardPolicy
metadata: { name: limits }
spec: { match: { namespaces: { names: [shop] } }, exceptions: { rules: [virtual-service-*], maxDays: 30 } }
---
apiVersion: meshward.io/v1alpha1
kind: MeshwardException
metadata: { name: known-virtual-service-weights-not-100, namespace: shop }
spec:
  rules: [virtual-service-weights-not-100]
  match: { objects: { names: [other] } }
  reason: r
  owner: o
  expiresAt: "2099-01-01"
`,
    );
    const file = join(root, "free.yaml");
    const { error } = await meshward([
      ...["audit", "--mesh", mesh, "--policies", policies, "--write-exceptions", file, "--expires", "20d"],
    ]);
    assert.match(
      error,
      /note: 1 of them will have no effect, as the policies are: own\/names in shop, because MeshwardPolicy limits allows no exception for own\/names in this namespace/,
    );
    const names = [...readFileSync(file, "utf8").matchAll(/^ {2}name: (.*)$/gm)].map(([, name]) => name);
    assert.deepEqual(names, [
      "known-own.names",
      "known-virtual-service-subset-not-found",
      "known-virtual-service-weights-not-100-2",
    ]);
    const args = ["audit", "--mesh", mesh, "--policies", policies, "--policies", file, "--format", "json"];
    const report = JSON.parse((await meshward(args)).out) as Report;
    assert.deepEqual([report.findings.map(({ rule }) => rule), report.accepted.length], [["own/names"], 2]);
    // The last day of 30 days from now ends more than 30 days from now.
    const bound = join(root, "bound.yaml");
    const atBound = await meshward([
      ...["audit", "--mesh", mesh, "--policies", policies, "--write-exceptions", bound, "--expires", "30d"],
    ]);
    assert.match(atBound.error, /note: 1 of them will have no effect, as the policies are: own\/names in shop[^\n]*$/m);
    assert.doesNotMatch(atBound.error, /no effect, as the policies are: .*the exception ends in/);
    const ends = [...readFileSync(bound, "utf8").matchAll(/^ {2}expiresAt: "?([^"\n]*)/gm)].map(([, end = ""]) => end);
    const daysTo = (end: string) => (Date.parse(end) - Date.now()) / 86_400_000;
    assert.equal(ends.length, 3);
    for (const end of ends) assert.ok(daysTo(end) > 29.9 && daysTo(end) <= 30, end);
    const withBound = ["audit", "--mesh", mesh, "--policies", policies, "--policies", bound, "--format", "json"];
    assert.equal((JSON.parse((await meshward(withBound)).out) as Report).accepted.length, 2);
    const late = await meshward([
      ...["audit", "--mesh", mesh, "--policies", policies, "--write-exceptions", join(root, "late.yaml")],
    ]);
    assert.match(late.error, /note: 3 of them will have no effect.*the exception ends in \d+ days, and .* at most 30/);
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
