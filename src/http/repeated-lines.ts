import type { Log } from "../telemetry/log.ts";
import type { Clock } from "../tls/clock.ts";

/** After the first line of a kind, further ones are counted for this long and written as one line. */
const intervalMs = 10_000;

interface Repeated {
  fields: object;
  count: number;
}

/**
 * Log lines that any client can cause as often as it likes. The first of a kind is written immediately. Those that follow
 * are counted, and each interval writes one line for them, with the fields of the last one and `repeated`, their number.
 */
export class RepeatedLines {
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #kinds = new Map<string, Repeated>();
  #stop: (() => void) | undefined;

  constructor(log: Log, clock: Clock) {
    this.#log = log;
    this.#clock = clock;
  }

  /** Lines with the same message and `kind` are of one kind. Both come from a fixed set, which bounds the memory. */
  warn(kind: string, fields: object, message: string): void {
    const key = `${message}\n${kind}`;
    const known = this.#kinds.get(key);
    if (known !== undefined) {
      known.fields = fields;
      known.count++;
      return;
    }
    this.#kinds.set(key, { fields, count: 0 });
    this.#log.warn(fields, message);
    this.#stop ??= this.#clock.every(intervalMs, () => this.#write());
  }

  /** Writes what was counted. */
  close(): void {
    this.#write();
    this.#stop?.();
    this.#stop = undefined;
    this.#kinds.clear();
  }

  #write(): void {
    for (const [key, known] of this.#kinds) {
      const { fields, count } = known;
      if (count === 0) {
        this.#kinds.delete(key);
        continue;
      }
      known.count = 0;
      this.#log.warn({ ...fields, repeated: count, seconds: intervalMs / 1_000 }, key.slice(0, key.indexOf("\n")));
    }
    if (this.#kinds.size > 0) return;
    this.#stop?.();
    this.#stop = undefined;
  }
}
