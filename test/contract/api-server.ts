// The webhook's outer shell, started for a test, and the API server that calls it: over TLS, on a free port of loopback.

import { rmSync } from "node:fs";
import { mkdtempSync } from "node:fs";
import { request as httpsRequest, type RequestOptions } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import type { AdmissionRequest, Decision, Gate } from "../../src/admission/review.ts";
import { type ApiServerClient, createApiServerClient, type Webhook } from "../../src/demo/api-server-client.ts";
import {
  type AdmissionServer,
  type AdmissionServerOptions,
  createAdmissionServer,
  type Limits,
} from "../../src/http/server.ts";
import { createLog } from "../../src/telemetry/log.ts";
import { createMetrics, type Metrics } from "../../src/telemetry/metrics.ts";
import { type Clock, systemClock } from "../../src/tls/clock.ts";
import { fixedCertificate, selfSigned } from "../../src/tls/self-signed.ts";
import type { Certificate, CertificateSource } from "../../src/tls/certificate-source.ts";

export const allow: Decision = { allowed: true, warnings: [], auditAnnotations: {}, rules: [], outcome: "allow" };

export function deny(message: string): Decision {
  return { ...allow, allowed: false, message, rules: ["some-rule"], outcome: "deny" };
}

/** A gate of two functions that remembers what it was asked. */
export interface FakeGate extends Gate {
  readonly asked: AdmissionRequest[];
}

export function fakeGate(answers: Partial<Gate> = {}): FakeGate {
  const asked: AdmissionRequest[] = [];
  const ask = (path: keyof Gate) => (request: AdmissionRequest) => {
    asked.push(request);
    return answers[path]?.(request) ?? allow;
  };
  return { asked, validate: ask("validate"), mutate: ask("mutate") };
}

export interface Shell {
  readonly url: string;
  readonly port: number;
  readonly ca: string;
  readonly server: AdmissionServer;
  readonly metrics: Metrics;
  /** what was logged */
  readonly lines: Readonly<Record<string, unknown>>[];
  client(webhooks?: readonly Webhook[]): ApiServerClient;
  /** POSTs bytes as they are. */
  post(path: string, body: string | Uint8Array, options?: RequestOptions): Promise<HttpAnswer>;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

export interface ShellOptions {
  readonly gate?: Gate;
  readonly limits?: Partial<Limits>;
  readonly certificates?: CertificateSource;
  readonly tell?: AdmissionServerOptions["tell"];
  readonly clock?: Clock;
  readonly clients?: AdmissionServerOptions["clients"];
}

let issued: Promise<Certificate> | undefined;

/**
 * One self-signed certificate for all tests of a process: making keys costs more than most tests. Everybody gets a promise of
 * their own, because the test runner counts what follows a promise to the tests of whoever made it.
 */
export async function testCertificate(): Promise<Certificate> {
  issued ??= inTemporaryFolder((folder) => issue(folder));
  return issued;
}

async function issue(folder: string): Promise<Certificate> {
  const { certificates } = await selfSigned({ folder, now: Date.now() });
  return certificates.current();
}

async function inTemporaryFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "meshward-"));
  try {
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export function temporaryFolder(test: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "meshward-"));
  test.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

export async function startShell(test: TestContext, options: ShellOptions = {}): Promise<Shell> {
  const certificates = options.certificates ?? fixedCertificate(await testCertificate());
  const lines: Record<string, unknown>[] = [];
  const log = createLog("debug", (line) => lines.push(JSON.parse(line)));
  const metrics = createMetrics({ processMetrics: false });
  const { gate = fakeGate(), limits = {}, tell, clock = systemClock, clients: mayCall } = options;
  const server = createAdmissionServer({ gate, certificates, log, metrics, limits, tell, clock, clients: mayCall });
  const { port } = await server.listen({ host: "127.0.0.1", port: 0, flag: "--port" });
  const url = `https://127.0.0.1:${port}`;
  const ca = certificates.current().ca ?? "";
  const clients: ApiServerClient[] = [];
  test.after(async () => {
    for (const client of clients) client.close();
    await server.close();
  });

  return {
    url,
    port,
    ca,
    server,
    metrics,
    lines,
    client(webhooks) {
      const client = createApiServerClient({ url, ca, ...(webhooks === undefined ? {} : { webhooks }) });
      clients.push(client);
      return client;
    },
    post: (path, body, more = {}) => exchange(`${url}${path}`, body, { method: "POST", ca, ...more }),
  };
}

/** One HTTPS request; connections are not kept unless the options bring an agent that does. */
export function exchange(url: string, body: string | Uint8Array, options: RequestOptions): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const outgoing = httpsRequest(url, { agent: false, ...options }, (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
      incoming.on("error", reject);
      incoming.on("end", () => {
        const text = Buffer.concat(chunks).toString("utf8");
        resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, text });
      });
    });
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}

export interface ReviewAnswer {
  readonly uid: string;
  readonly allowed: boolean;
  readonly status?: { readonly code: number; readonly reason: string; readonly message: string };
  readonly warnings?: readonly string[];
  readonly patch?: string;
}

export function responseIn({ text }: HttpAnswer): ReviewAnswer {
  const review: { response: ReviewAnswer } = JSON.parse(text);
  return review.response;
}

export const virtualService = {
  apiVersion: "networking.istio.io/v1",
  kind: "VirtualService",
  metadata: { name: "reviews", namespace: "shop" },
  spec: { hosts: ["reviews"], http: [{ route: [{ destination: { host: "reviews" }, weight: 100 }] }] },
} as const;

/** A review as the API server sends it; `request` overrides fields of the request. */
export function reviewBody(request: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return {
    kind: "AdmissionReview",
    apiVersion: "admission.k8s.io/v1",
    request: {
      uid: "705ab4f5-6393-11e8-b7cc-42010a800002",
      kind: { group: "networking.istio.io", version: "v1", kind: "VirtualService" },
      resource: { group: "networking.istio.io", version: "v1", resource: "virtualservices" },
      name: "reviews",
      namespace: "shop",
      operation: "CREATE",
      userInfo: { username: "jane", groups: ["developers"] },
      object: virtualService,
      oldObject: null,
      dryRun: false,
      options: { kind: "CreateOptions", apiVersion: "meta.k8s.io/v1", fieldManager: "kubectl-create" },
      ...request,
    },
  };
}
