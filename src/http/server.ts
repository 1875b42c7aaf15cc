import { setTimeout as elapsed } from "node:timers/promises";
import { fastify, LogController, type FastifyError, type FastifyReply, type FastifyRequest } from "fastify";
import type { Gate } from "../admission/review.ts";
import type { ObjectEvent } from "../kube/object-event.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { Certificate, CertificateSource } from "../tls/certificate-source.ts";
import { reviewHandler } from "./admission-routes.ts";
import { type Address, listen } from "./listen.ts";
import type { ReadinessCheck } from "./readiness.ts";
import { BodyCutShort, collectBody } from "./review-body.ts";

export interface Limits {
  /**
   * A larger review is denied by its uid. Both objects may be 1.5 MiB in etcd, and Go's JSON escapes up to six-fold.
   */
  readonly bodyBytes: number;
  /** Further concurrent reviews are answered with 429, so that the API server retries within its timeout. */
  readonly inFlight: number;
  readonly requestTimeoutMs: number;
  /** must be below `requestTimeoutMs`, or Node ignores that timeout for slow bodies */
  readonly headersTimeoutMs: number;
  /** how often both timeouts are checked */
  readonly checkIntervalMs: number;
  /** must exceed the API server's 90 s, or its next request may use a connection that is being closed */
  readonly keepAliveTimeoutMs: number;
  /** `close` keeps answering for this long, so that load balancers notice first */
  readonly drainDelayMs: number;
  /** `close` closes the remaining connections after this long */
  readonly drainDeadlineMs: number;
}

const defaultLimits: Limits = {
  bodyBytes: 16 * 1_024 * 1_024,
  inFlight: 256,
  requestTimeoutMs: 15_000,
  headersTimeoutMs: 10_000,
  checkIntervalMs: 1_000,
  keepAliveTimeoutMs: 95_000,
  drainDelayMs: 0,
  drainDeadlineMs: 20_000,
};

export interface AdmissionServerOptions {
  readonly gate: Gate;
  readonly certificates: CertificateSource;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly limits?: Partial<Limits>;
  /** Receives the Events to write, after the response is sent. Must neither throw nor block. */
  readonly tell?: ((events: readonly ObjectEvent[]) => void) | undefined;
}

export interface AdmissionServer {
  /** @throws ListenError */
  listen(address: Address): Promise<{ readonly host: string; readonly port: number }>;
  /** For /readyz: is it listening, not draining, and is its certificate valid? */
  readonly readiness: readonly ReadinessCheck[];
  /**
   * Drains: /readyz fails, responses carry `Connection: close`, requests in flight are answered. When `hurry` is aborted,
   * it no longer waits for load balancers. Never rejects.
   */
  close(hurry?: AbortSignal): Promise<void>;
}

/** Serves `POST /validate` and `POST /mutate` over TLS. */
export function createAdmissionServer(options: AdmissionServerOptions): AdmissionServer {
  const limits = { ...defaultLimits, ...options.limits };
  const app = createApp(limits, options.certificates.current());
  const load = { inFlight: 0, draining: false };
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", collectBody(limits.bodyBytes));
  app.addHook("onRequest", (_request, reply, done) => {
    if (load.draining) reply.header("connection", "close");
    if (load.inFlight >= limits.inFlight) return shed(options.metrics, reply);
    load.inFlight++;
    reply.raw.once("close", () => load.inFlight--);
    return done();
  });
  app.post("/validate", reviewHandler(options, "/validate"));
  app.post("/mutate", reviewHandler(options, "/mutate"));
  app.setNotFoundHandler(notFound);
  app.setErrorHandler((error: FastifyError, request, reply) => failed(options.log, error, request, reply));
  app.server.maxConnections = 2_000;
  followCertificate(app, options);
  options.metrics.watchInFlight(() => load.inFlight);

  let closed: Promise<void> | undefined;
  return {
    listen: (address) => listen(app, address),
    readiness: readiness(app, load, options.certificates),
    close: (hurry) => (closed ??= drain(app, load, limits, hurry)),
  };
}

interface Load {
  inFlight: number;
  draining: boolean;
}

type App = ReturnType<typeof createApp>;

function createApp(limits: Limits, certificate: Certificate) {
  return fastify({
    logger: false,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: limits.bodyBytes,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    connectionTimeout: 0,
    return503OnClosing: false,
    forceCloseConnections: false,
    exposeHeadRoutes: false,
    trustProxy: false,
    https: {
      ...secureContext(certificate),
      handshakeTimeout: 5_000,
      headersTimeout: limits.headersTimeoutMs,
      connectionsCheckingInterval: limits.checkIntervalMs,
      maxHeaderSize: 16_384,
    },
  });
}

/**
 * All options of the TLS context. A new certificate needs all of them again, because Node replaces the whole context.
 */
function secureContext({ cert, key }: Certificate) {
  return { cert, key, minVersion: "TLSv1.2", honorCipherOrder: true } as const;
}

function followCertificate(app: App, { certificates, log, metrics }: AdmissionServerOptions): void {
  metrics.certificate(certificates.current().notAfter);
  certificates.onChange((certificate) => {
    try {
      app.server.setSecureContext(secureContext(certificate));
    } catch (error) {
      refused(error instanceof Error ? error.message : String(error));
      return;
    }
    metrics.certificate(certificate.notAfter);
    metrics.certificateReload("ok");
    log.info({ notAfter: new Date(certificate.notAfter).toISOString() }, "certificate was reloaded");
  });
  certificates.onProblem(refused);

  function refused(problem: string): void {
    metrics.certificateReload("refused");
    log.error({ problem }, "certificate was not reloaded; the last valid one stays in use");
  }
}

function shed(metrics: Metrics, reply: FastifyReply): void {
  metrics.shed();
  void reply
    .code(429)
    .header("retry-after", "1")
    .send({ error: "too many requests in flight; try again in one second" });
}

const webhookPath = /^\/(validate|mutate)(\?|$)/;

function notFound(request: FastifyRequest, reply: FastifyReply): FastifyReply {
  if (!webhookPath.test(request.url)) {
    return reply.code(404).send({ error: "no such path; this port serves POST /validate and POST /mutate" });
  }
  return reply.code(405).header("allow", "POST").send({ error: "wrong method; expected POST with an AdmissionReview" });
}

/** Handles errors before a review is received: HTTP that fastify rejects, or a client that closed the connection. */
function failed(log: Log, error: FastifyError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const status = error.statusCode ?? 500;
  const fields = { path: request.url.slice(0, 64), status, error: error.message };
  if (error instanceof BodyCutShort)
    log.warn(fields, "the client closed the connection before the review was complete");
  else if (status < 500) log.warn(fields, "request rejected");
  else log.error({ ...fields, stack: error.stack }, "request failed");
  const text = status < 500 ? error.message : "internal error; see Meshward's log";
  return reply.code(status).send({ error: text });
}

function readiness(app: App, load: Load, certificates: CertificateSource): ReadinessCheck[] {
  return [
    { name: "listening", problem: () => (app.server.listening ? undefined : "the webhook's port is not open") },
    { name: "not-draining", problem: () => (load.draining ? "shutting down" : undefined) },
    {
      name: "certificate",
      problem() {
        const { notAfter } = certificates.current();
        return notAfter > Date.now() ? undefined : `the certificate expired on ${new Date(notAfter).toISOString()}`;
      },
    },
  ];
}

/**
 * fastify's own close would close idle connections immediately and then wait for the keep-alive timeout of the busy
 * ones. Destroying connections instead would lose reviews, which the API server does not send again.
 */
async function drain(app: App, load: Load, limits: Limits, hurry: AbortSignal | undefined): Promise<void> {
  load.draining = true;
  if (!app.server.listening) return app.close();
  const options = hurry === undefined ? {} : { signal: hurry };
  if (limits.drainDelayMs > 0) await elapsed(limits.drainDelayMs, undefined, options).catch(() => undefined);
  const idle = setInterval(() => app.server.closeIdleConnections(), 50);
  const deadline = setTimeout(() => app.server.closeAllConnections(), limits.drainDeadlineMs);
  await app.close();
  clearInterval(idle);
  clearTimeout(deadline);
}
