import type { IncomingMessage } from "node:http";
import type { Server } from "node:https";
import type { Socket } from "node:net";

/**
 * What a connection is doing: `handshake` (TCP without TLS yet), `headers` (no request has arrived), `body` (the body of
 * a request is incomplete), `answering` (a complete request has no response yet), `idle` (the last request was
 * answered).
 */
const connectionStates = ["handshake", "headers", "body", "answering", "idle"] as const;
export type ConnectionState = (typeof connectionStates)[number];

export interface ConnectionLimits {
  /** All connections. When there are more, one that has no complete request is closed for a new one. */
  readonly connections: number;
  /** Bytes of all incomplete bodies. When there are more, the oldest incomplete body is dropped, and so is the rest of it. */
  readonly unfinishedBytes: number;
}

interface Connection {
  /** The TCP connection. Destroying it also ends TLS and HTTP. */
  readonly socket: Socket;
  state: ConnectionState;
  /** Increases with each change of a state, so that the smallest number is the oldest. */
  order: number;
  isSecure: boolean;
  hasServed: boolean;
  incomplete: number;
  complete: number;
  unfinishedBytes: number;
  /** Drops the incomplete body whose bytes are counted. */
  drop: () => void;
}

/** While idle connections can be closed, new ones keep this share of the places, in which they can complete a request. */
const shareOfNew = 8;

/**
 * The connections of a server, by what they are doing. A client without a complete request costs no review, so it must
 * not keep others from sending theirs: at a limit the oldest such connection is closed, and never one that waits for
 * its response. Clients that are not slow on purpose complete a request within milliseconds.
 */
export class Connections {
  readonly #limits: ConnectionLimits;
  readonly #closed: (state: ConnectionState) => void;
  readonly #byState: Readonly<Record<ConnectionState, Set<Connection>>> = {
    handshake: new Set(),
    headers: new Set(),
    body: new Set(),
    answering: new Set(),
    idle: new Set(),
  };
  readonly #handshakes = new Map<string, Connection>();
  readonly #secure = new WeakMap<Socket, Connection>();
  readonly #completed = new WeakSet<IncomingMessage>();
  /** Those with bytes of an incomplete body, the oldest first. */
  readonly #holding = new Set<Connection>();
  #changes = 0;
  #unfinishedBytes = 0;

  /** `closed` is called for each connection that is closed because of a limit. */
  constructor(server: Server, limits: ConnectionLimits, closed: (state: ConnectionState) => void) {
    this.#limits = limits;
    this.#closed = closed;
    server.on("connection", (socket: Socket) => this.#open(socket));
    server.on("secureConnection", (socket) => this.#secured(socket));
  }

  /** The number of connections in each state. */
  counts(): readonly (readonly [state: ConnectionState, count: number])[] {
    return connectionStates.map((state) => [state, this.#byState[state].size] as const);
  }

  /** The headers of a request have arrived. */
  begun(request: IncomingMessage): void {
    const connection = this.#secure.get(request.socket);
    if (connection === undefined) return;
    connection.incomplete++;
    this.#settle(connection);
  }

  /**
   * A part of a body has arrived, and is kept. `drop` is called if there are too many bytes of incomplete bodies. The client may
   * be an API server, which gets an answer when it has sent everything: it would not repeat a review whose connection was reset.
   */
  received(request: IncomingMessage, bytes: number, drop: () => void): void {
    const connection = this.#secure.get(request.socket);
    if (connection === undefined || !connection.socket.readable) return;
    connection.unfinishedBytes += bytes;
    connection.drop = drop;
    this.#holding.add(connection);
    this.#unfinishedBytes += bytes;
    while (this.#unfinishedBytes > this.#limits.unfinishedBytes) {
      const [oldest] = this.#holding;
      if (oldest === undefined) return;
      oldest.drop();
      this.#forgetBytes(oldest);
    }
  }

  /** The body of a request is complete. */
  completed(request: IncomingMessage): void {
    const connection = this.#secure.get(request.socket);
    if (connection === undefined) return;
    this.#completed.add(request);
    connection.incomplete--;
    connection.complete++;
    this.#forgetBytes(connection);
    this.#settle(connection);
  }

  /** The response was sent, or the connection ended before. */
  ended(request: IncomingMessage): void {
    const connection = this.#secure.get(request.socket);
    if (connection === undefined) return;
    if (this.#completed.has(request)) connection.complete--;
    else connection.incomplete--;
    connection.hasServed = true;
    if (connection.incomplete === 0) this.#forgetBytes(connection);
    this.#settle(connection);
  }

  #open(socket: Socket): void {
    const connection: Connection = {
      socket,
      state: "handshake",
      order: ++this.#changes,
      isSecure: false,
      hasServed: false,
      incomplete: 0,
      complete: 0,
      unfinishedBytes: 0,
      drop: () => undefined,
    };
    const peer = peerOf(socket);
    this.#byState.handshake.add(connection);
    this.#handshakes.set(peer, connection);
    socket.once("close", () => {
      this.#byState[connection.state].delete(connection);
      this.#forgetBytes(connection);
      if (this.#handshakes.get(peer) === connection) this.#handshakes.delete(peer);
    });
    const count = connectionStates.reduce((sum, state) => sum + this.#byState[state].size, 0);
    if (count > this.#limits.connections) this.#close(this.#leastNeeded());
  }

  /** Node tells of the TLS socket only, which has the addresses of the TCP connection below it. */
  #secured(socket: Socket): void {
    const peer = peerOf(socket);
    const connection = this.#handshakes.get(peer);
    if (connection === undefined) return;
    this.#handshakes.delete(peer);
    this.#secure.set(socket, connection);
    connection.isSecure = true;
    this.#settle(connection);
  }

  #settle(connection: Connection): void {
    const state = stateOf(connection);
    const places = this.#byState[connection.state];
    if (state === connection.state || !places.delete(connection)) return;
    connection.state = state;
    connection.order = ++this.#changes;
    this.#byState[state].add(connection);
  }

  #leastNeeded(): Connection | undefined {
    const { handshake, headers, body, idle } = this.#byState;
    const isMostlyNew = handshake.size + headers.size + body.size > this.#limits.connections / shareOfNew;
    return isMostlyNew || idle.size === 0 ? this.#oldest(["handshake", "headers", "body"]) : this.#oldest(["idle"]);
  }

  /** A set keeps the order of insertion, so its first is its oldest. */
  #oldest(states: readonly ConnectionState[]): Connection | undefined {
    let oldest: Connection | undefined;
    for (const state of states) {
      const [first] = this.#byState[state];
      if (first !== undefined && (oldest === undefined || first.order < oldest.order)) oldest = first;
    }
    return oldest;
  }

  #close(connection: Connection | undefined): void {
    if (connection === undefined) return;
    this.#byState[connection.state].delete(connection);
    this.#forgetBytes(connection);
    connection.socket.destroy();
    this.#closed(connection.state);
  }

  #forgetBytes(connection: Connection): void {
    this.#unfinishedBytes -= connection.unfinishedBytes;
    connection.unfinishedBytes = 0;
    connection.drop = () => undefined;
    this.#holding.delete(connection);
  }
}

function stateOf({ complete, incomplete, hasServed, isSecure }: Connection): ConnectionState {
  if (complete > 0) return "answering";
  if (incomplete > 0) return "body";
  if (hasServed) return "idle";
  return isSecure ? "headers" : "handshake";
}

const peerOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress} ${remotePort}`;
