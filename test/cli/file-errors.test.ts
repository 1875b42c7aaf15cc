import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { meshward } from "./terminal.ts";

const root = mkdtempSync(join(tmpdir(), "meshward-file-errors-"));
after(() => rmSync(root, { recursive: true }));
const manifest = join(root, "namespace.yaml");
writeFileSync(manifest, "apiVersion: v1\nkind: Namespace\nmetadata: { name: shop }\n");
const no = join(root, "no", "such");
const below = join(manifest, "below");
const serve = [
  "serve",
  "--port",
  "0",
  "--ops-port",
  "0",
  "--host",
  "127.0.0.1",
  "--log-level",
  "silent",
  "--drain-seconds",
  "0",
];
const mesh = ["--mesh", manifest];
const kubeconfig = join(root, "kubeconfig");
writeFileSync(
  kubeconfig,
  JSON.stringify({
    "current-context": "a",
    clusters: [{ name: "a", cluster: { server: "https://127.0.0.1:1", "certificate-authority": no } }],
    users: [{ name: "a", user: {} }],
    contexts: [{ name: "a", context: { cluster: "a", user: "a" } }],
  }),
);

/** Every option that takes a path, with paths that are not there, are folders, or go through a file. */
const commands = [
  ["check", no],
  ["check", below],
  ["check", manifest, "--output", join(no, "report")],
  ["check", manifest, "--output", root],
  ["check", manifest, "--output", below],
  ["check", manifest, "--mesh", no],
  ["check", manifest, "--policies", no],
  ["check", manifest, "--mesh", "cluster", "--kubeconfig", no],
  ["check", manifest, "--mesh", "cluster", "--kubeconfig", root],
  ["check", manifest, "--mesh", "cluster", "--kubeconfig", kubeconfig],
  ["audit", ...mesh, "--output", root],
  ["audit", ...mesh, "--policies", no],
  ["explain", "namespace/shop", "--mesh", no],
  ["explain", "namespace/shop", ...mesh, "--change", no],
  ["explain", "namespace/shop", ...mesh, "--delete", below],
  ["explain", "namespace/shop", ...mesh, "--policies", no],
  ["capture", "--output", join(no, "capture"), "--kubeconfig", kubeconfig],
  ["capture", "--output", root, "--kubeconfig", kubeconfig],
  ["demo", no],
  [...serve, ...mesh, "--self-signed", "--certs", manifest],
  [...serve, ...mesh, "--self-signed", "--certs", below],
  // Only where there is /proc: a folder in which none can be made, and of which Linux says that it does not exist.
  ...(existsSync("/proc/self") ? [[...serve, ...mesh, "--self-signed", "--certs", "/proc/nowhere/certs"]] : []),
  [...serve, ...mesh, "--tls-cert", no, "--tls-key", no],
  [...serve, ...mesh, "--tls-cert", root, "--tls-key", root],
  [...serve, "--mesh", no, "--self-signed", "--certs", root],
];

describe("a path that cannot be used is said in words, and exit 2", () => {
  for (const argv of commands)
    test(argv.join(" ").replaceAll(root, ""), async () => {
      const { code, error } = await meshward(argv);
      assert.equal(code, 2);
      assert.match(error, /^meshward: /);
      assert.doesNotMatch(error, /\b(E[A-Z]{3,}|defect|no such file or directory|illegal operation)\b/);
    });
});
