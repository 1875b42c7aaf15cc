import pino from "pino";

export const logLevels = ["debug", "info", "warn", "error", "silent"] as const;
export type LogLevel = (typeof logLevels)[number];

/** An admission review that was answered. Its fields are described in `reviewFields`. */
export interface AnsweredReview {
  readonly uid: string;
  readonly path: "/validate" | "/mutate";
  readonly operation: "CREATE" | "UPDATE" | "DELETE";
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly user: string;
  readonly userGroups: readonly string[];
  readonly dryRun: boolean;
  readonly decision: string;
  readonly rules: readonly string[];
  readonly addedLabels: readonly string[] | undefined;
  readonly liveRead: string | undefined;
  readonly concurrent: string | undefined;
  readonly milliseconds: number;
}

/** The fields of a review in the log, in their order. The documentation is made from them. */
export const reviewFields = {
  uid: "uid of the request, as in traces of the API server",
  path: "/validate or /mutate",
  operation: "CREATE, UPDATE or DELETE",
  group: "API group of the object; empty for the core group",
  version: "version of the object in the request",
  kind: "kind of the object",
  namespace: "namespace of the object; empty for cluster-scoped objects",
  name: "name of the object; empty if the API server has yet to generate it",
  user: "name of the requester",
  userGroups: "groups of the requester; of many, the first 20",
  dryRun: "whether it was a dry run, which stores nothing",
  decision: "allow, warn, deny or error (error: the review failed, so the request was denied)",
  rules: "ids of the rules that had findings",
  addedLabels: "keys of the labels that were added to the object; absent if there are none",
  liveRead:
    "result of reading the evidence of a denial again: confirmed, changed (the cached data was outdated) or late; absent if that was not necessary",
  concurrent:
    "result where a change that was admitted a moment before made a difference: denied, admitted or undecided; absent otherwise",
  milliseconds: "time from the last byte of the review to its response",
} as const satisfies Readonly<Record<keyof AnsweredReview, string>>;

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

const listed = (texts: readonly string[]): string => (texts.length === 0 ? "[]" : JSON.stringify(texts));
const quoted = (text: string): string => JSON.stringify(text);

function admissionLine(review: AnsweredReview, now: Date): string {
  const { uid, path, operation, kind, namespace, name, user, dryRun, decision, liveRead, concurrent } = review;
  const type = `"group":${quoted(review.group)},"version":${quoted(review.version)},"kind":${quoted(kind)}`;
  const asked = `"path":"${path}","operation":"${operation}",${type},"namespace":${quoted(namespace)}`;
  const by = `"name":${quoted(name)},"user":${quoted(user)},"userGroups":${listed(review.userGroups)},"dryRun":${dryRun}`;
  const added = review.addedLabels === undefined ? "" : `,"addedLabels":${listed(review.addedLabels)}`;
  const decided = `"decision":"${decision}","rules":${listed(review.rules)}${added}`;
  const read = liveRead === undefined ? "" : `,"liveRead":"${liveRead}"`;
  const others = concurrent === undefined ? "" : `,"concurrent":"${concurrent}"`;
  return `{"level":"info","time":"${now.toISOString()}","uid":${quoted(uid)},${asked},${by},${decided}${read}${others},"milliseconds":${review.milliseconds},"msg":"admission"}\n`;
}
