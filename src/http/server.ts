import { totalmem } from "node:os";
import { setTimeout as elapsed } from "node:timers/promises";
import { fastify, LogController, type FastifyError, type FastifyReply, type FastifyRequest } from "fastify";
import type { Gate } from "../admission/review.ts";
import type { ObjectEvent } from "../kube/object-event.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { printableLine } from "../text/printable.ts";
import type { Certificate, CertificateSource } from "../tls/certificate-source.ts";
import { type Clock, systemClock } from "../tls/clock.ts";
import { secureContext } from "../tls/secure-context.ts";
import { reviewHandler } from "./admission-routes.ts";
import { ClientAuthentication, type Clients } from "./client-authentication.ts";
import { type ConnectionLimits, Connections } from "./connections.ts";
import { type Address, listen } from "./listen.ts";
import type { ReadinessCheck } from "./readiness.ts";
import { RepeatedLines } from "./repeated-lines.ts";
import { BodyCutShort, collectBody, dropped, type ReviewBody } from "./review-body.ts";
import { withoutSchemas } from "./without-schemas.ts";

export interface Limits extends ConnectionLimits {
  /**
   * A larger review is denied by its uid. Both objects may be 1.5 MiB in etcd, and Go's JSON escapes up to six-fold.
   */
  readonly bodyBytes: number;
  /**
   * Further concurrent reviews are answered with 429, so that the API server retries within its timeout. A review counts
   * from the last byte of its body.
   */
  readonly inFlight: number;
  /** The same for the bytes of their bodies. */
  readonly inFlightBytes: number;
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

const mebibyte = 1_024 * 1_024;
const bodyBytes = 16 * mebibyte;

/**
 * The limits for what a server may keep of bodies, so that it sheds reviews before its memory is used up: an eighth and a
 * sixteenth of the memory, and not more than a busy cluster needs. A body of the largest size always has room.
 */
export const bodyLimits = (memoryBytes: number): Pick<Limits, "inFlightBytes" | "unfinishedBytes"> => ({
  inFlightBytes: Math.max(bodyBytes, Math.min(128 * mebibyte, Math.floor(memoryBytes / 8))),
  unfinishedBytes: Math.max(bodyBytes, Math.min(64 * mebibyte, Math.floor(memoryBytes / 16))),
});

/** What the container, or the machine, allows this process. Without a limit, Node returns 0 or a huge number. */
const memoryBytes = (): number => Math.min(process.constrainedMemory() || Number.POSITIVE_INFINITY, totalmem());

const defaultLimits: Limits = {
  bodyBytes,
  inFlight: 256,
  connections: 2_000,
  ...bodyLimits(memoryBytes()),
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
  /** The largest object that the cluster can store, in bytes. Default: see {@link readReview}. */
  readonly storedBytes?: number | undefined;
  readonly clock?: Clock;
  /** Default: everyone who reaches the port may call. */
  readonly clients?: Clients | undefined;
}

export interface AdmissionServer {
  /** @throws ListenError */
  listen(address: Address): Promise<{ readonly host: string; readonly port: number }>;
  /** The number of reviews so far, without those that were shed. */
  reviews(): number;
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
  const { metrics, clock = systemClock } = options;
  const limits = { ...defaultLimits, ...options.limits };
  const { clients } = options;
  const app = createApp(limits, options.certificates.current(), clients);
  const load: Load = { inFlight: 0, reviews: 0, bytes: 0, draining: false };
  const rejected = new RepeatedLines(options.log, clock);
  const authentication = clients && new ClientAuthentication(clients, { metrics, rejected });
  authentication?.guard(app.server);
  const connections = new Connections(app.server, limits, (state) => {
    metrics.connectionClosed(state);
    rejected.warn(state, { state }, "connections without a complete request were closed, because there were too many");
  });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", collectBody(limits.bodyBytes, connections));
  app.addHook("onRequest", (request, reply, done) => {
    if (load.draining || authentication?.isOutdated(request.raw) === true) reply.header("connection", "close");
    connections.begun(request.raw);
    reply.raw.once("close", () => connections.ended(request.raw));
    const refusal = authentication?.refusal(request.raw);
    if (refusal === undefined) return done();
    return reply.code(403).header("connection", "close").send({ error: refusal });
  });
  const preHandler = admitReviews({ load, limits, connections, metrics, rejected });
  app.post("/validate", { preHandler }, reviewHandler({ ...options, rejected }, "/validate"));
  app.post("/mutate", { preHandler }, reviewHandler({ ...options, rejected }, "/mutate"));
  app.setNotFoundHandler(notFound);
  app.setErrorHandler((error: FastifyError, request, reply) => {
    return failed({ log: options.log, rejected }, error, request, reply);
  });
  app.server.on("tlsClientError", (error: NodeJS.ErrnoException) => handshakeFailed(rejected, error));
  followCertificate(app, options);
  followAuthorities(app, options, authentication);
  metrics.watchInFlight(() => load.inFlight);
  metrics.watchConnections(() => connections.counts());

  let closed: Promise<void> | undefined;
  return {
    listen: (address) => listen(app, address),
    reviews: () => load.reviews,
    readiness: readiness(app, load, options.certificates),
    close: (hurry) => (closed ??= drain(app, load, limits, hurry).finally(() => rejected.close())),
  };
}

interface Admitting {
  readonly load: Load;
  readonly limits: Limits;
  readonly connections: Connections;
  readonly metrics: Metrics;
  readonly rejected: RepeatedLines;
}

/** Runs when the body is complete, so that a client which only begins a review takes no place of another. */
function admitReviews({ load, limits, connections, metrics, rejected }: Admitting) {
  return (request: FastifyRequest, reply: FastifyReply, done: () => void): void => {
    connections.completed(request.raw);
    const body = request.body as ReviewBody | null | undefined;
    const bytes = bytesOf(body);
    const isFull = load.inFlight > 0 && load.bytes + bytes > limits.inFlightBytes;
    if (body === dropped || load.inFlight >= limits.inFlight || isFull) {
      metrics.shed();
      rejected.warn("429", { status: 429 }, "too many reviews in flight; the API server sends them again");
      shed(reply);
      return;
    }
    load.inFlight++;
    load.reviews++;
    load.bytes += bytes;
    reply.raw.once("close", () => {
      load.inFlight--;
      load.bytes -= bytes;
    });
    done();
  };
}

const bytesOf = (body: ReviewBody | null | undefined): number => (Buffer.isBuffer(body) ? body.length : 0);

interface Load {
  inFlight: number;
  reviews: number;
  /** of the bodies of the reviews in flight */
  bytes: number;
  draining: boolean;
}

type App = ReturnType<typeof createApp>;

function createApp(limits: Limits, certificate: Certificate, clients: Clients | undefined) {
  return fastify({
    ...withoutSchemas,
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
      ...secureContext(certificate, clients?.authorities.current()),
      requestCert: clients !== undefined,
      rejectUnauthorized: false,
      // As long as API servers wait for it (client-go transport, TLSHandshakeTimeout): giving up before them on a busy machine
      // costs both sides another handshake.
      handshakeTimeout: 10_000,
      headersTimeout: limits.headersTimeoutMs,
      connectionsCheckingInterval: limits.checkIntervalMs,
      maxHeaderSize: 16_384,
    },
  });
}

function followCertificate(app: App, options: AdmissionServerOptions): void {
  const { certificates, log, metrics } = options;
  metrics.certificate(certificates.current().notAfter);
  warnOfExposure(options);
  certificates.onChange((certificate) => {
    try {
      app.server.setSecureContext(secureContext(certificate, options.clients?.authorities.current()));
    } catch (error) {
      refused(error instanceof Error ? error.message : String(error));
      return;
    }
    metrics.certificate(certificate.notAfter);
    metrics.certificateReload("ok");
    log.info({ notAfter: new Date(certificate.notAfter).toISOString() }, "certificate was reloaded");
    warnOfExposure(options);
  });
  certificates.onProblem(refused);

  function refused(problem: string): void {
    metrics.certificateReload("refused");
    log.error({ problem }, "certificate was not reloaded; the last valid one stays in use");
  }
}

function followAuthorities(
  app: App,
  { certificates, clients, log }: AdmissionServerOptions,
  authentication: ClientAuthentication | undefined,
): void {
  clients?.authorities.onChange((pem) => {
    app.server.setSecureContext(secureContext(certificates.current(), pem));
    authentication?.replaced();
    app.server.closeIdleConnections();
    log.info({}, "authorities of client certificates were reloaded");
  });
  clients?.authorities.onProblem((problem) =>
    log.error({ problem }, "authorities of client certificates were not reloaded; the last valid ones stay in use"),
  );
}

function shed(reply: FastifyReply): void {
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

function warnOfExposure({ certificates, log }: AdmissionServerOptions): void {
  const problem = certificates.exposure?.();
  if (problem !== undefined) log.warn({ problem }, "the private key is not private");
}

interface Lines {
  readonly log: Log;
  readonly rejected: RepeatedLines;
}

/** Handles errors before a review is received: HTTP that fastify rejects, or a client that closed the connection. */
function failed(lines: Lines, error: FastifyError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const status = error.statusCode ?? 500;
  const fields = { path: request.url.slice(0, 64), status, error: error.message };
  if (error instanceof BodyCutShort)
    lines.rejected.warn("", fields, "the client closed the connection before the review was complete");
  else if (status < 500) lines.rejected.warn(String(status), fields, "request rejected");
  else lines.log.error({ ...fields, stack: error.stack }, "request failed");
  const text = status < 500 ? error.message : "internal error; see Meshward's log";
  return reply.code(status).send({ error: text });
}

/** Load balancers open connections and close them again, which is no failure. */
function handshakeFailed(rejected: RepeatedLines, { code = "", message }: NodeJS.ErrnoException): void {
  if (code === "ECONNRESET") return;
  rejected.warn("", { error: printableLine(code || message, 64) }, "TLS handshake failed");
}

function readiness(app: App, load: Load, certificates: CertificateSource): ReadinessCheck[] {
  return [
    { name: "listening", problem: () => (app.server.listening ? undefined : "the webhook's port is not open") },
    { name: "not-draining", problem: () => (load.draining ? "shutting down" : undefined) },
    {
      name: "certificate",
      problem() {
        const { notAfter } = certificates.current();
        if (notAfter <= Date.now()) return `the certificate expired on ${new Date(notAfter).toISOString()}`;
        return certificates.problem?.();
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
