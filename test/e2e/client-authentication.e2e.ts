import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { generate } from "selfsigned";
import { type ControlPlane, startControlPlane } from "./control-plane.ts";
import { binaries, isDenied, send, skip, virtualService } from "./environment.ts";
import { type Meshward, register, startMeshward } from "./meshward.ts";
import { until } from "./program.ts";

// The API server shows the certificate of its AdmissionConfiguration, as docs/client-authentication.md has it.

interface Pair {
  readonly cert: string;
  readonly key: string;
}
async function issued(name: string, ca?: Pair): Promise<Pair> {
  const extensions = ca === undefined ? [{ name: "basicConstraints" as const, cA: true }] : [];
  const options = { algorithm: "sha256", keyType: "ec", extensions, ...(ca === undefined ? {} : { ca }) } as const;
  const { cert, private: key } = await generate([{ name: "commonName", value: name }], { ...options });
  return { cert, key };
}

describe("an API server with a client certificate", { skip }, () => {
  let plane: ControlPlane;
  let meshward: Meshward;
  let folder: string;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "meshward-client-e2e-"));
    const file = (name: string, text: string): string => {
      writeFileSync(join(folder, name), text);
      return join(folder, name);
    };
    const authority = await issued("authority of the API server");
    const client = await issued("kube-apiserver", authority);
    const user = { "client-certificate-data": btoa(client.cert), "client-key-data": btoa(client.key) };
    const kubeconfig = file(
      "webhooks.kubeconfig",
      JSON.stringify({ apiVersion: "v1", kind: "Config", users: [{ name: "*", user }] }),
    );
    const plugin = (name: string) => ({
      name,
      configuration: {
        apiVersion: "apiserver.config.k8s.io/v1",
        kind: "WebhookAdmissionConfiguration",
        kubeConfigFile: kubeconfig,
      },
    });
    const configuration = {
      apiVersion: "apiserver.config.k8s.io/v1",
      kind: "AdmissionConfiguration",
      plugins: [plugin("ValidatingAdmissionWebhook"), plugin("MutatingAdmissionWebhook")],
    };
    const admission = file("admission.json", JSON.stringify(configuration));
    plane = await startControlPlane({
      binaries: binaries(),
      definitions: true,
      apiServer: [`--admission-control-config-file=${admission}`],
    });
    const clientCa = file("client-ca.crt", authority.cert);
    meshward = await startMeshward({ plane, args: ["--client-ca", clientCa, "--client-name", "kube-apiserver"] });
    await meshward.ready();
  });
  after(async () => {
    await meshward?.stop();
    await plane?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test("may call Meshward, which answers nobody else", async () => {
    await register(plane, meshward);
    isDenied(await send(plane, ["apply", "-f", "-"], { objects: [virtualService("default", "wrong", [60, 60])] }));
    await assert.rejects(
      new Promise((resolve, reject) => {
        const { hostname, port } = new URL(meshward.url);
        const asked = request({ hostname, port, path: "/validate", method: "POST", ca: meshward.authority }, resolve);
        asked.on("error", reject).end("{}");
      }),
    );
    const refused = await until("the log to say so", () => {
      const lines = meshward.log().filter(({ msg }) => String(msg).startsWith("client refused"));
      return lines.length > 0 ? lines : undefined;
    });
    assert.deepEqual(
      refused.map(({ reason }) => reason),
      ["no certificate"],
    );
  });
});
