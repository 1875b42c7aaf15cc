// One server in a process of its own, so that nothing but it counts: `server.ts KIND [OBJECTS]`. It says its port, then
// answers each message with the CPU that it has used. Another profile is a message, too.

import { once } from "node:events";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { fastify } from "fastify";
import { readChange } from "../../src/admission/change.ts";
import type { Decision, Gate } from "../../src/admission/review.ts";
import { keepReviewsYoung } from "../../src/cli/serve/memory.ts";
import { policiesOf } from "../../src/cli/policy-options.ts";
import { startWebhook } from "../../src/cli/webhook.ts";
import { createAdmissionServer } from "../../src/http/server.ts";
import type { Policies } from "../../src/policy/policies.ts";
import { createLog, type LogLevel } from "../../src/telemetry/log.ts";
import { createMetrics, type Metrics } from "../../src/telemetry/metrics.ts";
import { fixedCertificate } from "../../src/tls/self-signed.ts";
import type { Certificate } from "../../src/tls/certificate-source.ts";
import { meshOf, storedMesh } from "./mesh.ts";

/**
 * `shell`, `log`, `metrics` and `door` are Meshward without a part: the HTTP shell that reads the review and allows it;
 * the same with its log; with its metrics too; with the objects read at the door as well.
 */
export type ServerKind = "bare" | "floor" | "fastify" | "shell" | "log" | "metrics" | "door" | "meshward";
export type Ask = { readonly certificate: Certificate } | { readonly profile: string } | "cpu";
export type Told = { readonly port: number } | { readonly cpuUs: number } | { readonly profile: string };

const allowed = JSON.stringify({
  apiVersion: "admission.k8s.io/v1",
  kind: "AdmissionReview",
  response: { uid: "0df28fbd-5f5f-11e8-bc74-36e6bb280816", allowed: true, auditAnnotations: { decision: "allow" } },
});

/** While others are measured, these wait for longer than the 5 s after which Node closes a connection. */
const keepAliveTimeout = 95_000;

/** Reads the body and answers; knows no JSON. */
async function bare({ cert, key }: Certificate): Promise<number> {
  const server = createServer({ cert, key, keepAlive: true, keepAliveTimeout }, (request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(allowed) });
      response.end(chunks.length > 0 ? allowed : "");
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

/** The least that any webhook does: parses the review and says yes, with nothing but Node. */
async function floor({ cert, key }: Certificate): Promise<number> {
  const server = createServer({ cert, key, keepAlive: true, keepAliveTimeout }, (request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { uid } = (JSON.parse(Buffer.concat(chunks).toString("utf8")) as { request: { uid: string } }).request;
      const answer = JSON.stringify({
        apiVersion: "admission.k8s.io/v1",
        kind: "AdmissionReview",
        response: { uid, allowed: true },
      });
      response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(answer) });
      response.end(answer);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

/** The least that a webhook on fastify does: parses the review and says yes. */
async function parsing({ cert, key }: Certificate): Promise<number> {
  const app = fastify({ https: { cert, key } });
  app.post("/validate", (request, reply) => {
    const { uid } = (request.body as { request: { uid: string } }).request;
    return reply.send({ apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", response: { uid, allowed: true } });
  });
  await app.listen({ host: "127.0.0.1", port: 0 });
  return (app.server.address() as AddressInfo).port;
}

const allow: Decision = {
  allowed: true,
  warnings: [],
  auditAnnotations: { decision: "allow" },
  rules: [],
  outcome: "allow",
};

/** Allows everything, after a look at the change or without one. */
function partOfMeshward(kind: ServerKind, certificate: Certificate): Promise<number> {
  const gate: Gate = { validate: () => allow, mutate: () => allow };
  if (kind === "door")
    gate.validate = (request) => ("change" in readChange(request) ? allow : { ...allow, allowed: false });
  const level: LogLevel = kind === "shell" ? "silent" : "info";
  const metrics: Metrics = createMetrics({ processMetrics: kind !== "shell" && kind !== "log" });
  if (kind === "shell" || kind === "log") metrics.admission = () => undefined;
  const log = createLog(level, "stdout");
  return createAdmissionServer({ gate, certificates: fixedCertificate(certificate), log, metrics })
    .listen({ host: "127.0.0.1", port: 0, flag: "--port" })
    .then(({ port }) => port);
}

let policies: Policies | undefined;

/** Everything that `serve` has, its log and its metrics too. */
async function meshward(certificate: Certificate, objects: number): Promise<number> {
  keepReviewsYoung();
  const mesh = meshOf(storedMesh(objects));
  ({ policies } = await policiesOf({ profile: "baseline" }));
  const webhook = await startWebhook({
    mesh: () => mesh,
    policies: () => policies as Policies,
    certificates: fixedCertificate(certificate),
    log: createLog("info", "stdout"),
    host: "127.0.0.1",
    port: 0,
  });
  return webhook.port;
}

function start(kind: ServerKind, certificate: Certificate): Promise<number> {
  if (kind === "bare") return bare(certificate);
  if (kind === "floor") return floor(certificate);
  if (kind === "fastify") return parsing(certificate);
  return kind === "meshward" ? meshward(certificate, Number(process.argv[3])) : partOfMeshward(kind, certificate);
}

async function told(ask: Ask): Promise<Told> {
  if (ask === "cpu") {
    const { user, system } = process.cpuUsage();
    return { cpuUs: user + system };
  }
  if ("certificate" in ask) return { port: await start(process.argv[2] as ServerKind, ask.certificate) };
  ({ policies } = await policiesOf(ask));
  return ask;
}

// Whoever fails to answer ends, and the bench with it.
process.on("message", (ask: Ask) => void told(ask).then((answer) => process.send?.(answer)));
process.on("disconnect", () => process.exit());
