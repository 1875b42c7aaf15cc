import pino from "pino";

export const logLevels = ["debug", "info", "warn", "error", "silent"] as const;
export type LogLevel = (typeof logLevels)[number];

/**
 * Writes one JSON line for each call: `time` (ISO 8601), `level`, the fields, `msg`. Never pass contents of objects
 * or headers.
 */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
  /** Writes buffered lines; called before the process ends. */
  flush(): void;
}

/** The destination of the lines: a file descriptor or, in tests, a function that receives each line. */
export type LogTarget = "stdout" | "stderr" | ((line: string) => void);

/**
 * Lines are written in the calling thread. A transport of pino would need a worker file beside the program, and would
 * lose lines when the process crashes.
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
  // If the disk is full or the pipe is closed, log lines are lost and decisions go on.
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
