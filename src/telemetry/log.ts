import pino from "pino";

export const logLevels = ["debug", "info", "warn", "error", "silent"] as const;
export type LogLevel = (typeof logLevels)[number];

/** An admission review that was answered. */
export interface AnsweredReview {
  readonly uid: string;
  readonly path: "/validate" | "/mutate";
  readonly operation: "CREATE" | "UPDATE" | "DELETE";
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly user: string;
  readonly dryRun: boolean;
  readonly decision: string;
  /** Ids of the rules that had findings. */
  readonly rules: readonly string[];
  readonly liveRead: string | undefined;
  readonly concurrent: string | undefined;
  readonly milliseconds: number;
}

/**
 * Writes one JSON line for each call: `level`, `time` (ISO 8601), the fields, `msg`. Never pass contents of objects
 * or headers.
 */
export interface Log {
  /** Logs a review at level `info`: the same line as `info` with these fields, at less cost, because every review has one. */
  admission(review: AnsweredReview): void;
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
  if (typeof target === "function") return logTo({ write: target, flush: () => undefined }, options);
  const destination = pino.destination({ dest: target === "stdout" ? 1 : 2, sync: true });
  // If the disk is full or the pipe is closed, log lines are lost and decisions go on.
  destination.on("error", () => undefined);
  // Collecting the lines of a turn of the event loop for one write was slower: each setImmediate polls for events again.
  return logTo({ write: (line) => void destination.write(line), flush: () => destination.flushSync() }, options);
}

interface Lines {
  write(line: string): void;
  flush(): void;
}

function logTo(lines: Lines, options: pino.LoggerOptions): Log {
  const logger = pino(options, lines);
  const hasAdmission = logger.isLevelEnabled("info");
  return {
    admission(review) {
      if (hasAdmission) lines.write(admissionLine(review, new Date()));
    },
    debug: (fields, message) => logger.debug(fields, message),
    info: (fields, message) => logger.info(fields, message),
    warn: (fields, message) => logger.warn(fields, message),
    error: (fields, message) => logger.error(fields, message),
    flush: () => lines.flush(),
  };
}

const quoted = (text: string): string => JSON.stringify(text);

function admissionLine(review: AnsweredReview, now: Date): string {
  const { uid, path, operation, kind, namespace, name, user, dryRun, decision, rules, liveRead, concurrent } = review;
  const asked = `"path":"${path}","operation":"${operation}","kind":${quoted(kind)},"namespace":${quoted(namespace)}`;
  const by = `"name":${quoted(name)},"user":${quoted(user)},"dryRun":${dryRun}`;
  const decided = `"decision":"${decision}","rules":${rules.length === 0 ? "[]" : JSON.stringify(rules)}`;
  const read = liveRead === undefined ? "" : `,"liveRead":"${liveRead}"`;
  const others = concurrent === undefined ? "" : `,"concurrent":"${concurrent}"`;
  return `{"level":"info","time":"${now.toISOString()}","uid":${quoted(uid)},${asked},${by},${decided}${read}${others},"milliseconds":${review.milliseconds},"msg":"admission"}\n`;
}
