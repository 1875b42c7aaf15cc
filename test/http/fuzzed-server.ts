import { Agent } from "node:https";
import { startWebhook } from "../../src/cli/webhook.ts";
import { readAny } from "../../src/kube/object.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import { rules } from "../../src/rules/index.ts";
import { createLog } from "../../src/telemetry/log.ts";
import { fixedCertificate } from "../../src/tls/self-signed.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { exchange, type HttpAnswer, testCertificate } from "../contract/api-server.ts";
import { stored } from "./fuzzed-reviews.ts";

export interface FuzzedServer {
  post(body: string | Buffer): Promise<HttpAnswer>;
  /** Internal errors so far. */
  failures(): number;
  close(): Promise<void>;
}

/** Meshward as it is served, with all rules, over TLS. */
export async function startFuzzedServer(): Promise<FuzzedServer> {
  const mesh = new MeshStore(defaultMeshSettings);
  for (const raw of stored) {
    const object = readAny(raw);
    if (object !== undefined) mesh.set(object);
  }
  const { policies } = loadPolicies([], rules);
  const certificate = await testCertificate();
  let failures = 0;
  const webhook = await startWebhook({
    mesh: () => mesh,
    policies: () => policies,
    certificates: fixedCertificate(certificate),
    log: createLog("error", () => failures++),
    host: "127.0.0.1",
    port: 0,
  });
  const agent = new Agent({ keepAlive: true, ca: certificate.ca });
  return {
    post: (body) => exchange(`https://127.0.0.1:${webhook.port}/validate`, body, { method: "POST", agent }),
    failures: () => failures,
    async close() {
      agent.destroy();
      await webhook.close();
    },
  };
}
