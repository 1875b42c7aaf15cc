import type { FastifyRequest } from "fastify";
import type { IncomingMessage } from "node:http";

/** A body that was received whole, or one that was read past and dropped because it is larger than the limit. */
export type ReviewBody = Buffer | TooLarge;

export class TooLarge {
  /** the beginning, which names the request's uid */
  readonly head: string;
  readonly limitBytes: number;

  constructor(head: string, limitBytes: number) {
    this.head = head;
    this.limitBytes = limitBytes;
  }

  /** The API server writes the uid first in the request; what a user wrote comes later. "" when it is not there. */
  get uid(): string {
    return /"request"\s*:\s*\{\s*"uid"\s*:\s*"([^"\\]{1,128})"/.exec(this.head)?.[1] ?? "";
  }
}

/** The connection ended in the middle of a body: nobody is left to answer. */
export class BodyCutShort extends Error {
  override readonly name = "BodyCutShort";
  readonly statusCode = 400;
}

const headBytes = 4_096;
/** A sender of more than this many times the limit is cut off, instead of read to the end. */
const patience = 4;

/**
 * A body parser for fastify that leaves JSON alone: fastify's own refuses with an HTTP error what a user can put into an
 * object (`__proto__` keys, sizes over 1 MiB), and with failurePolicy Ignore an HTTP error means "admit unjudged".
 */
export function collectBody(limitBytes: number) {
  return (
    _request: FastifyRequest,
    payload: IncomingMessage,
    done: (error: Error | null, body?: ReviewBody) => void,
  ) => {
    const chunks: Buffer[] = [];
    let size = 0;
    let head = "";

    payload.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size <= limitBytes) {
        chunks.push(chunk);
        return;
      }
      if (head === "") {
        head = Buffer.concat([...chunks.slice(0, 4), chunk]).toString("latin1", 0, headBytes);
        chunks.length = 0;
      }
      if (size > patience * limitBytes) finish(null, new TooLarge(head, limitBytes));
    });
    payload.on("end", () => finish(null, size <= limitBytes ? whole(chunks, size) : new TooLarge(head, limitBytes)));
    payload.on("error", (error) => finish(new BodyCutShort(error.message)));

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
