import { createLog } from "../telemetry/log.ts";

/** What a process writes to standard error. */
export interface ErrorLines {
  /** An error of a command, which is for its user. */
  tell(text: string): void;
  /** A warning of Node. */
  warn(warning: Error): void;
  /** An exception that nothing handles, after which the process ends. */
  crash(error: unknown): void;
}

/** Lines of JSON, for a server whose streams something collects as one log. */
export function jsonErrorLines(): ErrorLines {
  const log = createLog("info", "stderr");
  return {
    tell: (text) => log.error({}, text.trimEnd()),
    warn: ({ name, message }) => log.warn({ name }, message),
    crash(error) {
      const [message, stack] = error instanceof Error ? [error.message, error.stack] : [String(error), undefined];
      log.error({ error: message, stack }, "this is a bug in Meshward, please report it; the server stops");
    },
  };
}
