import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { rotateAnnotation, secretOf } from "../../src/controllers/authority-secret.ts";
import { newAuthority } from "../../src/tls/authority.ts";
import { bundleFor } from "../../src/tls/rotation.ts";
import { kubeconfigOf } from "../controllers/memory-cluster-server.ts";
import { MemoryCluster, type Raw } from "../controllers/memory-cluster.ts";
import { meshward } from "./terminal.ts";

const at = { namespace: "meshward-system", name: "meshward-tls" };
const key = `secrets/${at.namespace}/${at.name}`;
const configuration = "validatingwebhookconfigurations//meshward";

/** An installation: an authority, a leader, and webhooks that trust the authority. */
async function installation(context: TestContext, now = Date.now()) {
  const state = { issuer: await newAuthority(now), previous: [(await newAuthority(now)).cert], switchedAt: now };
  const cluster = new MemoryCluster();
  cluster.put(key, secretOf(state, at, undefined));
  cluster.put("leases/meshward-system/meshward", { spec: { holderIdentity: "meshward-0_1" } });
  const caBundle = Buffer.from(bundleFor(state)).toString("base64");
  cluster.put(configuration, { webhooks: [{ name: "mesh.validate.meshward.io", clientConfig: { caBundle } }] });
  const kubeconfig = await kubeconfigOf(cluster, context);
  const certs = (...args: readonly string[]) => meshward(["certs", ...args, "--kubeconfig", kubeconfig]);
  return { cluster, certs, state };
}

test("certs show: phase, leader, authorities and caBundle, and never a key", async (context) => {
  const { certs, state } = await installation(context);
  const { code, out } = await certs("show");
  assert.equal(code, 0, out);
  assert.match(out, /^Secret +meshward-system\/meshward-tls$/m);
  assert.match(out, /^Phase +retiring: /m);
  assert.match(out, /^Leader +meshward-0_1$/m);
  assert.match(out, /^issuer +CN=meshward-ca-\S+\n +valid \S+Z to \S+Z\n +SHA-256 (?:[0-9A-F]{2}:){31}/m);
  assert.match(out, /^former +CN=meshward-ca-/m);
  assert.match(out, /^caBundle +1 of 1 webhooks have these authorities$/m);
  const json = await certs("show", "--output", "json");
  const shown = JSON.parse(json.out) as Raw;
  assert.deepEqual([shown["phase"], shown["problems"], shown["authorities"].length], ["retiring", [], 2]);
  for (const text of [out, json.out])
    assert.ok(!text.includes("PRIVATE") && !text.includes(state.issuer.key.slice(60, 90)));
});

test("certs show: what is wrong is listed, with exit code 1", async (context) => {
  const { cluster, certs } = await installation(context, Date.now() - 400 * 86_400_000);
  cluster.put(configuration, { webhooks: [{ name: "mesh.validate.meshward.io", clientConfig: {} }] });
  cluster.put("leases/meshward-system/meshward", { spec: { holderIdentity: "" } });
  const { code, out } = await certs("show");
  assert.equal(code, 1);
  assert.match(out, /^Problem +the issuer expired on /m);
  assert.match(out, /^Problem +no replica leads/m);
  assert.match(out, /^Problem +caBundle of mesh\.validate\.meshward\.io \(ValidatingWebhookConfiguration\): empty$/m);
  cluster.remove(configuration);
  assert.match((await certs("show")).out, /^Problem +there is no webhook configuration meshward$/m);
});

test("certs: a Secret that is missing, damaged or forbidden is one line and exit code 2", async (context) => {
  const { cluster, certs } = await installation(context);
  for (const command of ["show", "rotate"]) {
    const missing = await certs(command, "--tls-secret", "other");
    assert.equal(missing.code, 2);
    assert.match(
      missing.error,
      /^meshward: there is no Secret meshward-system\/other; give --namespace and --tls-secret/,
    );
  }
  cluster.put(key, { data: { "issuer.crt": "YQ==", "issuer.key": "YQ==" } });
  const damaged = await certs("show");
  assert.equal(damaged.code, 2);
  assert.match(damaged.error, /is damaged: issuer\.crt is not a certificate in PEM; the elected replica restores it/);
});

test("certs rotate: the Secret is annotated, and nothing else changes; a second request is noted", async (context) => {
  const { cluster, certs } = await installation(context);
  const before = cluster.get(key) as Raw;
  const { code, out, error } = await certs("rotate");
  assert.deepEqual([code, error], [0, ""]);
  assert.match(out, /Watch it with meshward certs show/);
  const after = cluster.get(key) as Raw;
  assert.deepEqual(after["data"], before["data"]);
  assert.match(after["metadata"].annotations[rotateAnnotation], /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  const again = await certs("rotate", "--distrust-previous");
  assert.match(again.error, /note: the request of .* was not begun yet/);
  assert.match((cluster.get(key) as Raw)["metadata"].annotations[rotateAnnotation], / distrust$/);
});
