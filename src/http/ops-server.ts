import { fastify } from "fastify";
import type { Metrics } from "../telemetry/metrics.ts";
import { type Address, listen } from "./listen.ts";
import type { ReadinessCheck } from "./readiness.ts";
import { withoutSchemas } from "./without-schemas.ts";

export interface OpsServer {
  /** @throws ListenError */
  listen(address: Address): Promise<{ readonly host: string; readonly port: number }>;
  close(): Promise<void>;
}

export interface OpsServerOptions {
  readonly checks: readonly ReadinessCheck[];
  readonly metrics: Metrics;
  /** Returns the page at `/`, or undefined if this replica has none yet; without this function, there is no such path. */
  readonly page?: (() => string | undefined) | undefined;
}

/** Serves /livez, /readyz (`?verbose` lists the checks) and /metrics in plain HTTP, for the kubelet and Prometheus. */
export function createOpsServer({ checks, metrics, page }: OpsServerOptions): OpsServer {
  const app = fastify({
    ...withoutSchemas,
    logger: false,
    forceCloseConnections: true,
    exposeHeadRoutes: true,
    requestTimeout: 10_000,
  });

  // Liveness checks only that the process answers, because a restart fixes nothing that readiness reports.
  app.get("/livez", (_request, reply) => reply.type("text/plain; charset=utf-8").send("ok\n"));
  app.get("/readyz", (request, reply) => {
    const results = checks.map(run);
    const failures = results.filter(({ problem }) => problem !== undefined);
    const verbose = typeof request.query === "object" && request.query !== null && "verbose" in request.query;
    const lines = (verbose ? results : failures).map(lineOf);
    lines.push(failures.length === 0 ? "ok" : "not ready");
    return reply
      .code(failures.length === 0 ? 200 : 503)
      .type("text/plain; charset=utf-8")
      .send(`${lines.join("\n")}\n`);
  });
  app.get("/metrics", async (_request, reply) => reply.type(metrics.contentType).send(await metrics.text()));
  if (page !== undefined)
    app.get("/", (_request, reply) => {
      const html = page();
      if (html === undefined)
        return reply
          .code(503)
          .type("text/plain; charset=utf-8")
          .send("no audit yet; the elected replica has the page\n");
      // The policy of the page itself is in the page.
      return reply.headers(pageHeaders).type("text/html; charset=utf-8").send(html);
    });
  app.setNotFoundHandler((_request, reply) =>
    reply.code(404).send({ error: "no such path; this port serves GET /livez, /readyz and /metrics" }),
  );

  return {
    listen: (address) => listen(app, address),
    close: () => app.close(),
  };
}

const pageHeaders = {
  "cache-control": "no-store",
  "content-security-policy": "frame-ancestors 'none'",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};

interface Result {
  readonly name: string;
  readonly problem: string | undefined;
  readonly note?: string | undefined;
}

/** A check that throws counts as failed. */
function run(check: ReadinessCheck): Result {
  try {
    return { name: check.name, problem: check.problem(), note: check.note?.() };
  } catch (error) {
    return { name: check.name, problem: error instanceof Error ? error.message : String(error) };
  }
}

function lineOf({ name, problem, note }: Result): string {
  return problem === undefined
    ? `[+]${name} ok${note === undefined ? "" : `: ${note}`}`
    : `[-]${name} failed: ${problem}`;
}
