import pino from "pino";

export const logLevels = ["debug", "info", "warn", "error", "silent"] as const;
export type LogLevel = (typeof logLevels)[number];

/** One JSON line a call: `time` (ISO 8601), `level`, the fields, `msg`. Never given an object's contents or a header. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
  /** Writes out what is still held back; called before the process ends. */
  flush(): void;
}

/** Where the lines go: a file descriptor or, in tests, a function that gets each line. */
export type LogTarget = "stdout" | "stderr" | ((line: string) => void);

/**
 * Lines are written in the calling thread: a transport of pino's would need a worker file beside the program, and lines
 * of a process that dies would be lost in it.
 */
export function createLog(level: LogLevel, target: LogTarget): Log {
  const options: pino.LoggerOptions = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
  };
  if (typeof target === "function") return wrap(pino(options, { write: target }), () => undefined);
  const destination = pino.destination({ dest: target === "stdout" ? 1 : 2, sync: true });
  // A full disk or a closed pipe costs the log, never a decision.
  destination.on("error", () => undefined);
  return wrap(pino(options, destination), () => destination.flushSync());
}

function wrap(logger: pino.Logger, flush: () => void): Log {
  return {
    debug: (fields, message) => logger.debug(fields, message),
    info: (fields, message) => logger.info(fields, message),
    warn: (fields, message) => logger.warn(fields, message),
    error: (fields, message) => logger.error(fields, message),
    flush,
  };
}
