import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { selfSigned } from "../../src/tls/self-signed.ts";
import { meshward } from "../cli/terminal.ts";
import { type ControlPlane, startControlPlane } from "./control-plane.ts";
import { binaries, isDenied, namespace, skip, succeeds } from "./environment.ts";
import { freePorts, type Program, startProgram, until } from "./program.ts";

// Meshward outside of the cluster, by the commands of docs/install.md: with the objects that `manifests --url` prints, and with
// a token of their service account and nothing more.

const built = fileURLToPath(new URL("../../dist/meshward.js", import.meta.url));
const page = readFileSync(new URL("../../docs/install.md", import.meta.url), "utf8");

describe("outside of the cluster", { skip }, () => {
  let plane: ControlPlane;
  let program: Program | undefined;
  let folder: string;
  let ports: readonly number[];
  before(async () => {
    plane = await startControlPlane({ binaries: binaries(), controllers: true, definitions: true });
    await succeeds(plane, ["create", "-f", "-"], [namespace("istio-system")]);
    folder = join(plane.folder, "outside");
    await selfSigned({ folder, now: Date.now() });
    ports = await freePorts(2);
  });
  after(async () => {
    await program?.stop();
    await plane?.close();
  });

  /** With a token of the service account, as a kubeconfig that somebody writes on the machine outside. */
  async function kubeconfig(): Promise<string> {
    const [, command = ""] = /`kubectl (create token [^`]+)`/.exec(page) ?? [];
    const { stdout } = await succeeds(plane, command.split(" "));
    const config = JSON.parse(readFileSync(plane.kubeconfig("admin"), "utf8")) as { users: { user: object }[] };
    for (const entry of config.users) entry.user = { token: stdout.trim() };
    const path = join(folder, "meshward.kubeconfig");
    writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
    return path;
  }

  test("its objects are applied, it serves with a token, and the sample is denied through the URL", async () => {
    const [port = 0, opsPort = 0] = ports;
    const ca = join(folder, "ca.crt");
    const { code, out, error } = await meshward(["manifests", "--url", `https://127.0.0.1:${port}`, "--ca-file", ca]);
    assert.equal(code, 0, error);
    const applied = await plane.kubectl(["apply", "-f", "-"], { input: out });
    assert.equal(applied.code, 0, applied.stderr);
    program = startProgram({
      name: "outside",
      path: process.execPath,
      args: [
        ...[built, "serve", "--mesh", "cluster", "--kubeconfig", await kubeconfig()],
        ...["--tls-cert", join(folder, "tls.crt"), "--tls-key", join(folder, "tls.key")],
        ...["--host", "127.0.0.1", "--port", String(port), "--ops-port", String(opsPort), "--drain-seconds", "0"],
      ],
      logPath: join(folder, "log"),
    });
    const isReady = async () => ((await fetch(`http://127.0.0.1:${opsPort}/readyz`)).status === 200 ? true : undefined);
    await until("Meshward", isReady, { programs: [program] });
    const [, sample = ""] = /kubectl apply --dry-run=server -f - <<'END'\n([\s\S]*?)\nEND\n/.exec(page) ?? [];
    const denied = await until("the sample to be denied", async () => {
      const output = await plane.kubectl(["apply", "--dry-run=server", "-f", "-"], { input: sample, as: "tenant" });
      return output.code === 0 ? undefined : output;
    });
    isDenied(denied, /virtual-service-weights-not-100/);
  });

  test("the API server forbade it nothing that it asked for", () => {
    const requests = plane.auditLog();
    assert.ok(requests.some(({ requestURI }) => requestURI.includes("/virtualservices")));
    assert.deepEqual(
      requests.filter(({ responseStatus }) => responseStatus?.code === 403).map(({ requestURI }) => requestURI),
      [],
    );
  });

  test("it ends when it is asked to, and its objects are gone with one command", async () => {
    await program?.stop(60_000);
    assert.equal(program?.ended(), "exit code 0");
    const { code, out } = await meshward(["unregister", "--kubeconfig", plane.kubeconfig("admin")]);
    assert.equal(code, 0, out);
    await until("the API server to ask no more", async () => {
      const { code: created, stderr } = await plane.kubectl(["create", "namespace", "afterwards"], { as: "tenant" });
      if (created !== 0 && !stderr.includes("AlreadyExists")) throw new Error(stderr);
      return true;
    });
  });
});
