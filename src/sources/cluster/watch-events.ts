import type { IncomingMessage } from "node:http";
import { isObject, member } from "../../kube/read.ts";
import type { ClusterConnection } from "./connection.ts";
import { ClusterError, statusError } from "./cluster-error.ts";
import { cutOff } from "./list.ts";

export interface WatchEvent {
  /** `other`: an unknown type, which only shows that the server is reachable. */
  readonly type: "set" | "deleted" | "bookmark" | "other";
  readonly object: Record<string, unknown>;
}

const types: Readonly<Record<string, WatchEvent["type"]>> = {
  ADDED: "set",
  MODIFIED: "set",
  DELETED: "deleted",
  BOOKMARK: "bookmark",
};

/** The maximum length of an event, more than ten times the size of the largest object that the API server stores. */
const longestLine = 32 << 20;
const newline = 0x0a;

/**
 * Reads the events of a watch, in batches of those that have arrived. Ends when the server ends the watch.
 * @throws ClusterError for an ERROR event, for an invalid event, and for a stream that breaks, also in the middle of a line
 */
export async function* watchEvents(
  response: IncomingMessage,
  connection: ClusterConnection,
  options: { readonly signal?: AbortSignal; readonly heard?: () => void },
): AsyncGenerator<readonly WatchEvent[], void, undefined> {
  const rest: Buffer[] = [];
  let restBytes = 0;
  try {
    for await (const chunk of response) {
      options.heard?.();
      const bytes = chunk as Buffer;
      const end = bytes.lastIndexOf(newline);
      if (end >= 0) {
        const whole = Buffer.concat([...rest.splice(0), bytes.subarray(0, end)]).toString("utf8");
        restBytes = 0;
        yield whole.split("\n").flatMap((line) => (line.trim() === "" ? [] : [eventOf(line, connection)]));
      }
      rest.push(bytes.subarray(end + 1));
      restBytes += bytes.length - end - 1;
      if (restBytes > longestLine) throw broken(connection, `an event of more than ${longestLine} bytes`);
    }
  } catch (error) {
    throw cutOff(response, connection, error, options.signal);
  }
  if (restBytes > 0) throw broken(connection, "an incomplete event");
}

function eventOf(line: string, connection: ClusterConnection): WatchEvent {
  let event: unknown;
  try {
    event = JSON.parse(line) as unknown;
  } catch {
    throw broken(connection, "an event that is not JSON");
  }
  const { type, object } = isObject(event) ? event : { type: undefined, object: undefined };
  if (typeof type !== "string" || !isObject(object)) throw broken(connection, "an event without type or object");
  if (type === "ERROR") throw errorOf(object, connection);
  return { type: types[type] ?? "other", object };
}

function errorOf(status: object, { server }: ClusterConnection): ClusterError {
  const code = member(status, "code");
  const message = member(status, "message");
  const seconds = member(member(status, "details"), "retryAfterSeconds");
  return statusError(server, {
    status: typeof code === "number" ? code : 500,
    said: typeof message === "string" ? message : "a watch failed",
    retryAfterMs: typeof seconds === "number" ? seconds * 1000 : undefined,
  });
}

const broken = ({ server }: ClusterConnection, what: string): ClusterError =>
  new ClusterError("failed", `${server} sent ${what}`);
