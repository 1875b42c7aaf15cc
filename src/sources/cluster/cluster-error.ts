/**
 * The kind of error between Meshward and an API server.
 * - `configuration`: the kubeconfig is missing or wrong; a retry does not help.
 * - `unreachable`: no connection, or a connection that broke.
 * - `untrusted`: TLS verification failed on either side.
 * - `unauthorized` (401), `forbidden` (403), `absent` (404), `expired` (410), `busy` (429, 503).
 * - `exists` (409, AlreadyExists): an object of this name was to be created, and there is one.
 * - `conflict` (other 409): the object has changed since it was read, or has another uid; read it again.
 * - `invalid` (422): the object or patch violates the definition of its kind.
 * - `failed`: any other response that is not usable.
 */
export type Fault =
  | "configuration"
  | "unreachable"
  | "untrusted"
  | "unauthorized"
  | "forbidden"
  | "absent"
  | "expired"
  | "exists"
  | "conflict"
  | "invalid"
  | "busy"
  | "failed";

/** The message is one line with the reason and what to do. */
export class ClusterError extends Error {
  override readonly name = "ClusterError";
  readonly fault: Fault;
  /** How long the server asked to wait before a retry (Retry-After). */
  readonly retryAfterMs: number | undefined;

  constructor(fault: Fault, message: string, retryAfterMs?: number) {
    super(oneLine(message));
    this.fault = fault;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Makes a message of the server safe to print: one line without escape sequences, of limited length. */
function oneLine(text: string): string {
  const line = text.replace(/[\s\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, " ").trim();
  return line.length > 500 ? `${line.slice(0, 500)}…` : line;
}

const faults: Readonly<Record<number, Fault>> = {
  401: "unauthorized",
  403: "forbidden",
  404: "absent",
  409: "conflict",
  410: "expired",
  422: "invalid",
  429: "busy",
  503: "busy",
};

const advice: Partial<Record<Fault, string>> = {
  unauthorized:
    "the credentials have expired or belong to another cluster; log in again, or give another --context; in a pod: is its service account still there?",
  forbidden: "grant it the verbs get, list and watch",
  busy: "try again later",
};

/** What an API server says about a request that it does not fulfil. */
export interface Refusal {
  readonly status: number;
  /** `message` of the Status object, or the text of the response. */
  readonly said: string;
  /** `reason` of the Status object: `AlreadyExists`, `Conflict`. */
  readonly reason?: string | undefined;
  /** Whether the request was to change something; RBAC has other verbs for that. */
  readonly isWrite?: boolean;
  readonly retryAfterMs?: number | undefined;
}

/** The error for a response with a status of 300 or more. `server` is the server's name in messages. */
export function statusError(server: string, refusal: Refusal): ClusterError {
  const { status, said, reason, isWrite = false, retryAfterMs } = refusal;
  const fault = reason === "AlreadyExists" ? "exists" : (faults[status] ?? "failed");
  const next = isWrite && fault === "forbidden" ? adviceForWrite(said) : advice[fault];
  const text = [`${server} answered ${status}`, said && `: ${said}`, next && `; ${next}`];
  return new ClusterError(fault, text.filter(Boolean).join(""), retryAfterMs);
}

/** RBAC names the verb that is missing; a webhook that denies a request has said what to do. */
const adviceForWrite = (said: string): string | undefined =>
  / cannot [a-z]+ resource /.test(said) ? "grant it this verb" : undefined;

const unreachable: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ENOTFOUND: "no such host",
  EAI_AGAIN: "the host name cannot be resolved",
  EHOSTUNREACH: "no route to host",
  ENETUNREACH: "no route to host",
  ETIMEDOUT: "connection timed out",
  ECONNRESET: "the server closed the connection",
  EPIPE: "the server closed the connection",
};

const untrusted: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: "its certificate has expired",
  ERR_TLS_CERT_ALTNAME_INVALID: "its certificate is for other host names; set tls-server-name in the kubeconfig",
  EPROTO:
    "the TLS handshake failed, or the server does not speak TLS; check the scheme of the server in the kubeconfig",
  ERR_SSL_WRONG_VERSION_NUMBER: "the server does not speak TLS; check the scheme of the server in the kubeconfig",
};

/** The error for a request without a response. */
export function requestError(server: string, error: unknown): ClusterError {
  if (error instanceof ClusterError) return error;
  const code = codeOf(error);
  const reason = untrusted[code];
  if (reason !== undefined) return new ClusterError("untrusted", `${server} is not trusted: ${reason}`);
  if (/CERT|SIGNATURE|ISSUER/.test(code))
    return new ClusterError(
      "untrusted",
      `${server} is not trusted: its certificate is not signed by a CA of the kubeconfig (${code}); put the cluster's CA into certificate-authority-data`,
    );
  const why = unreachable[code] ?? (error instanceof Error ? error.message : String(error));
  return new ClusterError(
    "unreachable",
    `${server} cannot be reached: ${why}; check that the API server is running and that the server in the kubeconfig is correct; in a pod: can it reach the API server?`,
  );
}

/** The code of a system error. If several addresses were tried (IPv4 and IPv6), the code of the first error. */
export function codeOf(error: unknown): string {
  if (error instanceof AggregateError) return codeOf(error.errors[0]);
  return error instanceof Error && "code" in error ? String(error.code) : "";
}
