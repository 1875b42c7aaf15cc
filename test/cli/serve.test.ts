import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { createApiServerClient } from "../../src/demo/api-server-client.ts";
import { selfSigned } from "../../src/tls/self-signed.ts";
import { byKeyboard } from "../../src/cli/terminal.ts";
import { serve } from "./server-process.ts";
import { meshward } from "./terminal.ts";

const root = mkdtempSync(join(tmpdir(), "meshward-serve-"));
after(() => rmSync(root, { recursive: true }));

const mesh = join(root, "mesh.yaml");
writeFileSync(
  mesh,
  `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: shop, namespace: shop, creationTimestamp: "2026-01-01T00:00:00Z" }
spec: { host: shop, subsets: [{ name: v1, labels: { version: v1 } }] }
---
apiVersion: v1
kind: Service
metadata: { name: shop, namespace: shop }
spec: { ports: [{ name: http, port: 80 }] }
`,
);
const flags = (certs: string, drainSeconds = "0") => [
  "--mesh",
  mesh,
  "--host",
  "127.0.0.1",
  "--port",
  "0",
  "--ops-port",
  "0",
  "--certs",
  certs,
  "--drain-seconds",
  drainSeconds,
];
const virtualService = (subset: string) => ({
  apiVersion: "networking.istio.io/v1",
  kind: "VirtualService",
  metadata: { name: "shop", namespace: "shop", annotations: { note: "a secret that no log may hold" } },
  spec: { hosts: ["shop"], http: [{ route: [{ destination: { host: "shop", subset } }] }] },
});

describe("serve", () => {
  test("judges against the folder, logs one line a decision, and stops when asked", async () => {
    const certs = join(root, "certs");
    const server = await serve(...flags(certs), "--self-signed");
    const ca = readFileSync(join(certs, "ca.crt"), "utf8");
    const client = createApiServerClient({ url: `https://127.0.0.1:${server.port}`, ca });
    const right = await client.admit({ operation: "CREATE", object: virtualService("v1") });
    const wrong = await client.admit({ operation: "CREATE", object: virtualService("v9") });
    client.close();
    assert.deepEqual([right.allowed, right.warnings, wrong.allowed], [true, [], false]);
    assert.match(wrong.error?.message ?? "", /VirtualService shop\/shop/);
    assert.match(wrong.error?.message ?? "", /"v9"/);

    const ops = (path: string) => fetch(`http://127.0.0.1:${server.opsPort}${path}`);
    assert.equal((await ops("/livez")).status, 200);
    assert.equal((await ops("/readyz")).status, 200);
    const metrics = await (await ops("/metrics")).text();
    assert.match(metrics, /^meshward_admission_requests_total\{.*decision="deny".*\} 1$/m);
    assert.equal(
      metrics.match(/^meshward_admission_requests_total\{.* 1$/gm)?.length,
      2,
      "of the warm-up nothing counts",
    );
    assert.match(metrics, /^meshward_view_objects\{kind="DestinationRule"\} 1$/m);

    const exit = once(server.child, "exit");
    server.child.kill("SIGTERM");
    assert.deepEqual(await exit, [0, null]);
    assert.deepEqual(
      server.log().map(({ msg }) => msg),
      [
        "certificate was created; put its CA into caBundle of the webhook configuration",
        "serving",
        "admission",
        "admission",
        "stopping",
      ],
    );
    const decisions = server.log().filter(({ msg }) => msg === "admission");
    assert.deepEqual(
      decisions.map(({ decision }) => decision),
      ["allow", "deny"],
    );
    assert.deepEqual(decisions[1]?.rules, ["virtual-service-subset-not-found"]);
    for (const line of decisions) {
      assert.ok(typeof line.uid === "string" && typeof line.milliseconds === "number" && typeof line.user === "string");
      assert.ok(!JSON.stringify(line).includes("secret"));
    }
  });

  test("the line that says that it serves names version, profile, policies and what is protected", async () => {
    const server = await serve(...flags(join(root, "stated")), "--self-signed", "--profile", "strict");
    const { version, profile, policies, protectedLabels } = await server.logged("serving");
    assert.match(String(version), /^\d+\.\d+\.\d+/);
    assert.deepEqual([profile, policies], ["strict", []]);
    assert.deepEqual(protectedLabels, [{ "meshward.io/protected": "true" }]);
    const exit = once(server.child, "exit");
    server.child.kill("SIGTERM");
    await exit;
  });

  test("Ctrl-C in a terminal does not wait for load balancers, nor does a start that fails", async () => {
    const slow = (certs: string) => [...flags(certs, "9999"), "--log-level", "silent", "--self-signed"];
    const hints: string[] = [];
    const stopped = await meshward(["serve", ...slow(join(root, "keyboard"))], {
      stop: AbortSignal.abort(byKeyboard),
      hint: (text) => hints.push(text),
    });
    assert.deepEqual([stopped.code, stopped.out, stopped.error], [0, "", ""]);
    assert.match(
      hints.join(""),
      /^The certificate of the webhook's CA is .*ca\.crt; .*\nMeshward stops when requests in flight are answered; press Ctrl-C again to stop immediately\.\n$/,
    );
    const failed = await meshward(["serve", ...slow(mesh)]);
    assert.equal(failed.code, 2);
    assert.match(failed.error, /^meshward: The certificate cannot be written to /);
  });

  function wrong(name: string, argv: () => Promise<readonly string[]> | readonly string[], says: RegExp): void {
    void test(`${name}: one line that says what to do, exit 2`, async () => {
      const flags = ["--mesh", mesh, "--host", "127.0.0.1", "--log-level", "silent", ...(await argv())];
      const { code, error } = await meshward(["serve", ...flags]);
      assert.equal(code, 2);
      assert.match(error, says);
      assert.doesNotMatch(error, /defect/);
    });
  }

  wrong("no certificate", () => [], /give --tls-cert and --tls-key, or --self-signed/);
  wrong(
    "a certificate that is not there",
    () => ["--tls-cert", join(root, "no.crt"), "--tls-key", join(root, "no.key")],
    /--tls-cert .* does not exist/,
  );
  wrong(
    "a certificate and a key that do not match",
    async () => {
      const [one, other] = [join(root, "one"), join(root, "other")];
      for (const folder of [one, other]) await selfSigned({ folder, now: Date.now() });
      return ["--tls-cert", join(one, "tls.crt"), "--tls-key", join(other, "tls.key")];
    },
    /do not match/,
  );
  wrong(
    "a port that is taken",
    async () => {
      const taken = createServer().listen(0, "127.0.0.1");
      after(() => taken.close());
      await once(taken, "listening");
      return ["--self-signed", "--certs", join(root, "c"), "--port", String((taken.address() as AddressInfo).port)];
    },
    /Port \d+ on 127\.0\.0\.1 is in use .*--port/,
  );
  wrong("a port that is none", () => ["--self-signed", "--port", "70000"], /expected a port between 0 and 65535/);
  wrong(
    "a policy with an unknown rule",
    () => {
      const policy = join(root, "policy.yaml");
      writeFileSync(
        policy,
        "apiVersion: meshward.io/v1alpha1\nkind: MeshwardPolicy\nmetadata: { name: a }\nspec: { rules: [{ id: object-malfored, mode: warn }] }\n",
      );
      return ["--self-signed", "--certs", join(root, "c"), "--policies", policy];
    },
    /policy\.yaml:4:\d+: .*did you mean "object-malformed"\?/,
  );
  for (const [what, text] of [
    ["an empty file", ""],
    ["other objects only", "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\n"],
  ] as const)
    wrong(
      `policies without a document: ${what}`,
      () => {
        const folder = mkdtempSync(join(root, "policies-"));
        writeFileSync(join(folder, "policy.yaml"), text);
        return ["--self-signed", "--certs", join(root, "c"), "--policies", folder];
      },
      /contains no MeshwardPolicy, MeshwardException or MeshwardIntent.*; .*leave --policies out/,
    );
  wrong(
    "a limit below what every cluster stores",
    () => ["--self-signed", "--object-limit", "1000"],
    /--object-limit.*expected whole bytes, 1572864 to/,
  );
});
