import { type AddressInfo, connect, createServer, type Server as TcpServer, type Socket } from "node:net";
import { Agent, request as httpsRequest } from "node:https";
import { once } from "node:events";
import { createSecureContext, type SecureContext } from "node:tls";
import { setTimeout as elapsed } from "node:timers/promises";
import { responseIn, reviewBody, virtualService } from "../contract/api-server.ts";

// Clients that send reviews as API servers do, and what stands between them and the replicas.

/** MESHWARD_LOAD_SECONDS makes each load longer, and the greatest one greater. */
export const isLong = process.env["MESHWARD_LOAD_SECONDS"] !== undefined;
/** How long one load lasts, in milliseconds. */
export const loadMs = Number(process.env["MESHWARD_LOAD_SECONDS"] ?? 3) * 1_000;

interface Case {
  readonly body: string;
  readonly allowed: boolean;
}

const weighted = (weight: number) => ({
  ...virtualService,
  spec: {
    hosts: ["reviews"],
    http: [{ route: [50, weight].map((one) => ({ destination: { host: "reviews" }, weight: one })) }],
  },
});
const asked = (allowed: boolean, request: object): Case => ({
  allowed,
  body: JSON.stringify(reviewBody({ ...request })),
});
/** Each operation, right and wrong. */
const cases: readonly Case[] = [
  asked(true, {}),
  asked(false, { object: weighted(60) }),
  asked(true, { operation: "UPDATE", oldObject: weighted(60), object: weighted(50) }),
  asked(false, { operation: "UPDATE", oldObject: weighted(50), object: weighted(60) }),
  asked(true, { operation: "DELETE", oldObject: virtualService, object: null }),
];

interface Failure {
  readonly why: string;
  /** By performance.now(). */
  readonly failedMs: number;
  /** The port from which the connection of the review came. */
  readonly clientPort: number | undefined;
}

export interface LoadResult {
  /** Reviews with an answer or a failure. */
  readonly sent: number;
  /** Repeated because the answer was 429, as an API server does. */
  readonly repeated: number;
  readonly failed: readonly Failure[];
  /** Of the answers: in milliseconds. */
  readonly p50: number;
  readonly p99: number;
  /** The serial numbers of the certificates of new connections. */
  readonly serials: ReadonlySet<string>;
}

export interface LoadOptions {
  readonly port: number;
  /** What the API server trusts at the moment; it counts for new connections. */
  readonly caBundle: () => string;
  readonly clients: number;
  /** Each client sends a review so often, in milliseconds. */
  readonly everyMs: number;
  /** A client starts a new connection for each of so many reviews. Default: it keeps its connection. */
  readonly reconnectAfter?: number;
  /** Gets the serial numbers of the certificates that clients have been shown. */
  readonly serials?: Set<string>;
}

/** Sends reviews from many clients while the task runs. */
export async function underLoad(options: LoadOptions, task: () => Promise<void>): Promise<LoadResult> {
  const { clients, everyMs, serials = new Set<string>() } = options;
  const result = { sent: 0, repeated: 0, latencies: [] as number[], serials };
  const failed: Failure[] = [];
  const over = new AbortController();
  const client = async (which: number) => {
    const agents = new Agents(options, result.serials);
    await elapsed((everyMs * which) / clients);
    for (let nth = which; !over.signal.aborted; nth++) {
      const began = performance.now();
      const { body, allowed } = cases[nth % cases.length] as Case;
      const why = await tried(
        () => post(options.port, body, agents.next()),
        allowed,
        () => result.repeated++,
      );
      result.sent++;
      const now = performance.now();
      if (why !== undefined) failed.push({ why, failedMs: now, clientPort: agents.clientPort });
      else result.latencies.push(now - began);
      await elapsed(Math.max(0, began + everyMs - performance.now()));
    }
    agents.close();
  };
  const running = Promise.all(Array.from({ length: clients }, (_, which) => client(which)));
  try {
    await task();
  } finally {
    over.abort();
    await running;
  }
  const sorted = result.latencies.toSorted((a, b) => a - b);
  const at = (share: number) => Math.round(sorted[Math.floor(sorted.length * share)] ?? Number.NaN);
  return { ...result, failed, p50: at(0.5), p99: at(0.99) };
}

export const shown = ({ sent, repeated, failed, p50, p99 }: LoadResult): string =>
  `reviews: ${sent}, failed: ${failed.length}, repeated after 429: ${repeated}, p50 ${p50} ms, p99 ${p99} ms`;

/** What trusts one bundle, because thousands of connections trust the same few. */
const trusting = (caBundle: string): SecureContext => {
  const known = contexts.get(caBundle) ?? createSecureContext({ ca: caBundle });
  contexts.set(caBundle, known);
  return known;
};
const contexts = new Map<string, SecureContext>();

/** The connections of one client. */
class Agents {
  readonly #options: LoadOptions;
  readonly #serials: Set<string>;
  #agent: Agent | undefined;
  #used = 0;
  /** The port of the connection that was begun last. */
  clientPort: number | undefined;
  constructor(options: LoadOptions, serials: Set<string>) {
    this.#options = options;
    this.#serials = serials;
  }
  next(): Agent {
    const { caBundle, reconnectAfter = Number.POSITIVE_INFINITY } = this.#options;
    if (this.#agent === undefined || this.#used >= reconnectAfter) {
      this.#agent?.destroy();
      this.#used = 0;
      // A session that is resumed would not verify the certificate.
      const secureContext = trusting(caBundle());
      const agent = new Agent({ keepAlive: true, maxSockets: 1, maxCachedSessions: 0, secureContext });
      const known = new WeakSet();
      const createConnection = agent.createConnection.bind(agent);
      agent.createConnection = (...args) => {
        const socket = createConnection(...args) as Socket;
        return socket.once("connect", () => (this.clientPort = socket.localPort));
      };
      agent.on("free", (socket: { getPeerX509Certificate(): { serialNumber: string } | undefined }) => {
        if (known.has(socket)) return;
        known.add(socket);
        const serial = socket.getPeerX509Certificate()?.serialNumber;
        if (serial !== undefined) this.#serials.add(serial);
      });
      this.#agent = agent;
    }
    this.#used++;
    return this.#agent;
  }
  close(): void {
    this.#agent?.destroy();
  }
}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

/** Why a review failed; undefined: it has the right answer. Repeats it as the client of the API server does: after a 429. */
async function tried(
  send: () => Promise<Answer>,
  allowed: boolean,
  repeating: () => void,
): Promise<string | undefined> {
  try {
    for (;;) {
      const answer = await send();
      const { "retry-after": after } = answer.headers;
      if (answer.status === 429 && after !== undefined) {
        repeating();
        await elapsed(Number(after) * 1_000);
        continue;
      }
      if (answer.status !== 200) return `status ${answer.status}`;
      return responseIn(answer).allowed === allowed ? undefined : `allowed: ${!allowed}`;
    }
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code ?? error);
  }
}

function post(port: number, body: string, agent: Agent): Promise<Answer> {
  return new Promise((resolve, reject) => {
    // By address: to look up the name for each connection is a good part of what a client costs.
    const to = { host: "127.0.0.1", servername: "localhost", port, path: "/validate?timeout=30s" };
    const options = { ...to, agent, method: "POST", headers: { "content-type": "application/json" } };
    const outgoing = httpsRequest(options, (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
      incoming.on("error", reject);
      incoming.on("end", () =>
        resolve({
          status: incoming.statusCode ?? 0,
          headers: incoming.headers,
          text: Buffer.concat(chunks).toString("utf8"),
        }),
      );
    });
    outgoing.on("error", reject);
    outgoing.setTimeout(30_000, () => outgoing.destroy(new Error("no answer within 30 seconds")));
    outgoing.end(body);
  });
}

/** A Service: it forwards each new connection to one of the endpoints, which change when the test or `follow` says so. */
export class Service {
  endpoints: readonly number[] = [];
  /** Where the connection from a port of a client was forwarded to, and when, by performance.now(). */
  readonly forwarded = new Map<number | undefined, { readonly endpoint: number; readonly ms: number }>();
  readonly #server: TcpServer;
  readonly #sockets = new Set<Socket>();
  #next = 0;

  constructor() {
    this.#server = createServer((client) => {
      const port = this.endpoints[this.#next++ % this.endpoints.length];
      if (port === undefined) {
        client.destroy();
        return;
      }
      this.forwarded.set(client.remotePort, { endpoint: port, ms: performance.now() });
      const server = connect(port, "127.0.0.1");
      for (const [one, other] of [
        [client, server],
        [server, client],
      ] as const) {
        this.#sockets.add(one);
        one.setNoDelay(true);
        one.on("error", () => other.destroy());
        one.on("close", () => {
          this.#sockets.delete(one);
          other.destroy();
        });
        one.pipe(other);
      }
    });
  }

  async listen(): Promise<number> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    return (this.#server.address() as AddressInfo).port;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** Keeps the endpoints to the replicas that are ready, as kubelet and the endpoints controller do, only faster. */
export async function follow(
  service: Service,
  replicas: () => readonly { readonly port: number; readonly opsPort: number }[],
  stop: AbortSignal,
): Promise<void> {
  while (!stop.aborted) {
    const ready = await Promise.all(
      replicas().map(async ({ port, opsPort }) => {
        // The kubelet forgives a probe or two that a busy replica is late with; one that has ended refuses at once.
        const signal = AbortSignal.timeout(10_000);
        const answer = await fetch(`http://127.0.0.1:${opsPort}/readyz`, { signal }).catch(() => undefined);
        return answer?.ok === true ? port : undefined;
      }),
    );
    service.endpoints = ready.filter((port) => port !== undefined);
    await elapsed(100);
  }
}
