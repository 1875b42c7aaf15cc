import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import type { Meshward } from "./meshward.ts";

/**
 * What a Service and kube-proxy do: one address for several replicas. A connection goes to one that is ready; readiness is
 * noticed with a delay, as endpoints are.
 */
export class ServiceAddress {
  readonly #server: Server;
  readonly #replicas: readonly Meshward[];
  readonly #looking: NodeJS.Timeout;
  readonly #sockets = new Set<Socket>();
  #ready: readonly Meshward[] = [];
  #next = 0;
  #isLooking = false;

  private constructor(replicas: readonly Meshward[], delayMs: number) {
    this.#replicas = replicas;
    this.#server = createServer((socket) => this.#forward(socket));
    this.#looking = setInterval(() => void this.#look(), delayMs);
  }

  static async open(replicas: readonly Meshward[], delayMs = 1_000): Promise<ServiceAddress> {
    const address = new ServiceAddress(replicas, delayMs);
    address.#server.listen(0, "127.0.0.1");
    await once(address.#server, "listening");
    return address;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** The replicas that get connections. */
  get endpoints(): readonly Meshward[] {
    return this.#ready;
  }

  async close(): Promise<void> {
    clearInterval(this.#looking);
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }

  async #look(): Promise<void> {
    // One after the other: an answer that comes late must not undo what a later one has said.
    if (this.#isLooking) return;
    this.#isLooking = true;
    try {
      await this.#update();
    } finally {
      this.#isLooking = false;
    }
  }

  async #update(): Promise<void> {
    const states = await Promise.all(this.#replicas.map(async (one) => (await one.ops("/readyz"))?.status === 200));
    this.#ready = this.#replicas.filter((_, index) => states[index]);
  }

  #forward(socket: Socket): void {
    const replica = this.#ready[this.#next++ % Math.max(1, this.#ready.length)];
    if (replica === undefined) {
      socket.destroy();
      return;
    }
    const upstream = connect(replica.port, "127.0.0.1");
    for (const one of [socket, upstream]) {
      this.#sockets.add(one);
      one.once("close", () => this.#sockets.delete(one));
      one.on("error", () => undefined);
    }
    socket.pipe(upstream).pipe(socket);
    socket.once("close", () => upstream.destroy());
    upstream.once("close", () => socket.destroy());
  }
}
