import assert from "node:assert/strict";
import test from "node:test";
import { meshward } from "./terminal.ts";

const mesh = ["serve", "--mesh", "policies/tour/1-enrolment/03-workloads.yaml", "--port", "0", "--ops-port", "0"];
const secret = ["--tls-secret", "meshward-tls"];

for (const [what, args, says] of [
  [
    "two sources of a certificate",
    [...secret, "--service", "meshward", "--self-signed"],
    /remove either --tls-secret or --self-signed/,
  ],
  [
    "a Secret and files",
    [...secret, "--service", "meshward", "--tls-cert", "a", "--tls-key", "b"],
    /remove either --tls-secret, or --tls-cert and --tls-key/,
  ],
  ["a Secret without a name for the certificate", secret, /give --service, or --tls-host/],
  [
    "a Secret without a cluster",
    [...secret, "--service", "meshward", "--namespace", "meshward-system"],
    /--tls-secret is kept in a cluster; give --mesh cluster/,
  ],
  ["a Service without a Secret", ["--service", "meshward", "--self-signed"], /give --tls-secret, or remove --service/],
  ["no certificate at all", [], /give --tls-secret, elsewhere give --tls-cert and --tls-key, or --self-signed/],
  ["a wait that is no number", [...secret, "--rotation-wait", "soon"], /--rotation-wait/],
] as const)
  test(`serve: ${what} is one line that says what to do, exit 2`, async () => {
    const { code, out, error } = await meshward([...mesh, ...args]);
    assert.equal(code, 2, error);
    assert.match(error, says);
    assert.equal(out, "");
    assert.match(error, /^meshward: .*\n/);
  });
