/**
 * What went wrong between Meshward and an API server.
 * - `configuration`: no or a wrong kubeconfig; trying again is no use.
 * - `unreachable`: no connection, or one that broke.
 * - `untrusted`: TLS says that this is not the server, or not for us.
 * - `unauthorized` (401), `forbidden` (403), `absent` (404), `expired` (410), `busy` (429, 503).
 * - `failed`: any other answer that is none.
 */
export type Fault =
  | "configuration"
  | "unreachable"
  | "untrusted"
  | "unauthorized"
  | "forbidden"
  | "absent"
  | "expired"
  | "busy"
  | "failed";

/** Its message is one line that says what and what to do. */
export class ClusterError extends Error {
  override readonly name = "ClusterError";
  readonly fault: Fault;
  /** How long the server asked to be left alone. */
  readonly retryAfterMs: number | undefined;

  constructor(fault: Fault, message: string, retryAfterMs?: number) {
    super(oneLine(message));
    this.fault = fault;
    this.retryAfterMs = retryAfterMs;
  }
}

/** What a server says is shown to users: no line breaks, no escape sequences, no novels. */
function oneLine(text: string): string {
  const line = text.replace(/[\s\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, " ").trim();
  return line.length > 500 ? `${line.slice(0, 500)}…` : line;
}

const faults: Readonly<Record<number, Fault>> = {
  401: "unauthorized",
  403: "forbidden",
  404: "absent",
  410: "expired",
  429: "busy",
  503: "busy",
};

const advice: Partial<Record<Fault, string>> = {
  unauthorized: "the credentials have expired or are not of this cluster: log in again, or give another --context",
  forbidden: "grant it the verbs get, list and watch",
  busy: "try again later",
};

/** The error of an answer with a status of 400 or more. `server` is what users know it by. */
export function statusError(server: string, status: number, said: string, retryAfterMs?: number): ClusterError {
  const fault = faults[status] ?? "failed";
  const text = [`${server} answered ${status}`, said && `: ${said}`, advice[fault] && `; ${advice[fault]}`];
  return new ClusterError(fault, text.filter(Boolean).join(""), retryAfterMs);
}

const unreachable: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there",
  ENOTFOUND: "no such host",
  EAI_AGAIN: "the name cannot be looked up",
  EHOSTUNREACH: "no route to it",
  ENETUNREACH: "no route to it",
  ETIMEDOUT: "it does not answer",
  ECONNRESET: "it closed the connection",
  EPIPE: "it closed the connection",
};

const untrusted: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: "its certificate has expired",
  ERR_TLS_CERT_ALTNAME_INVALID: "its certificate is for other names; set tls-server-name in the kubeconfig",
  EPROTO: "it does not speak TLS as asked; check the scheme of the kubeconfig's server",
  ERR_SSL_WRONG_VERSION_NUMBER: "it does not speak TLS; check the scheme of the kubeconfig's server",
};

/** The error of a request that got no answer. */
export function requestError(server: string, error: unknown): ClusterError {
  if (error instanceof ClusterError) return error;
  const code = codeOf(error);
  const reason = untrusted[code];
  if (reason !== undefined) return new ClusterError("untrusted", `${server} is not trusted: ${reason}`);
  if (/CERT|SIGNATURE|ISSUER/.test(code))
    return new ClusterError(
      "untrusted",
      `${server} is not trusted: its certificate is not signed by the kubeconfig's authority (${code}); put the cluster's CA into certificate-authority-data`,
    );
  const why = unreachable[code] ?? (error instanceof Error ? error.message : String(error));
  return new ClusterError(
    "unreachable",
    `${server} cannot be reached: ${why}; check that the API server runs and that the kubeconfig's server is right`,
  );
}

/** The code of a system error; of several attempts (IPv4 and IPv6), that of the first. */
export function codeOf(error: unknown): string {
  if (error instanceof AggregateError) return codeOf(error.errors[0]);
  return error instanceof Error && "code" in error ? String(error.code) : "";
}
