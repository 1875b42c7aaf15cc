import type { FastifyRequest } from "fastify";
import type { IncomingMessage } from "node:http";
import { uidInHead } from "../admission/unparsed-review.ts";
import type { Connections } from "./connections.ts";

/** A body that was received completely, or one that was discarded because it is larger than the limit or there are too many. */
export type ReviewBody = Buffer | TooLarge | typeof dropped;

/** A body that was dropped for newer ones, and read to its end so that the client gets an answer. */
export const dropped = "dropped";

export class TooLarge {
  /** the beginning of the body, which contains the request's uid */
  readonly head: string;
  readonly limitBytes: number;

  constructor(head: string, limitBytes: number) {
    this.head = head;
    this.limitBytes = limitBytes;
  }

  get uid(): string {
    return uidInHead(this.head);
  }
}

/** The connection ended before the body was complete, so no response is possible. */
export class BodyCutShort extends Error {
  override readonly name = "BodyCutShort";
  readonly statusCode = 400;
}

const headBytes = 4_096;
/** The connection is closed when the body exceeds the limit this many times, instead of reading it to the end. */
const patience = 4;

/**
 * A body parser for fastify that does not parse JSON. fastify's own parser answers with an HTTP error for content that a
 * user can put into an object (`__proto__` keys, more than 1 MiB), and with failurePolicy Ignore the API server admits
 * a request after an HTTP error without a review.
 */
export function collectBody(limitBytes: number, connections: Pick<Connections, "received">) {
  return (
    request: FastifyRequest,
    payload: IncomingMessage,
    done: (error: Error | null, body?: ReviewBody) => void,
  ) => {
    const chunks: Buffer[] = [];
    let size = 0;
    let head = "";
    let isDropped = false;
    const drop = () => {
      isDropped = true;
      chunks.length = 0;
    };

    payload.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size <= limitBytes) {
        if (isDropped) return;
        chunks.push(chunk);
        connections.received(request.raw, chunk.length, drop);
        return;
      }
      if (head === "" && !isDropped) {
        head = Buffer.concat([...chunks.slice(0, 4), chunk]).toString("latin1", 0, headBytes);
        chunks.length = 0;
      }
      if (size > patience * limitBytes) finish(null, received());
    });
    payload.on("end", () => finish(null, received()));
    payload.on("error", (error) => finish(new BodyCutShort(error.message)));

    function received(): ReviewBody {
      if (isDropped) return dropped;
      return size <= limitBytes ? whole(chunks, size) : new TooLarge(head, limitBytes);
    }

    let finished = false;
    function finish(error: Error | null, body?: ReviewBody): void {
      if (finished) return;
      finished = true;
      done(error, body);
    }
  };
}

function whole(chunks: Buffer[], size: number): Buffer {
  return chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks, size);
}
