import {
  Agent as HttpAgent,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type RequestOptions,
  request as httpRequest,
} from "node:http";
import { Agent as HttpsAgent, type RequestOptions as HttpsOptions, request as httpsRequest } from "node:https";
import { urlToHttpOptions } from "node:url";
import type { KubeConfig } from "@kubernetes/client-node";
import { member } from "../../kube/read.ts";
import { isSystemError, unreadable } from "../../text/file-errors.ts";
import { ClusterError, codeOf, requestError, statusError } from "./cluster-error.ts";
import { type KubeconfigOptions, readKubeconfig } from "./kubeconfig.ts";

export interface ApiRequest {
  readonly method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** The path with its query: `/api/v1/pods?limit=500`. */
  readonly path: string;
  readonly body?: object;
  /** Of the body. Default: a merge patch (RFC 7386) for PATCH, otherwise JSON. */
  readonly contentType?: string;
  readonly signal?: AbortSignal;
}

/** A client of one API server with persistent connections. */
export interface ClusterConnection {
  /** The name in messages: `https://10.0.0.1:6443 (context prod)`. */
  readonly server: string;
  /**
   * Sends a request and resolves when the response headers have arrived.
   * @throws ClusterError for every status of 400 or more, and if there is no response; the signal's reason if it is a ClusterError
   */
  request(request: ApiRequest): Promise<IncomingMessage>;
  /** Closes every connection, including those in use. */
  close(): void;
}

export interface ConnectionOptions extends KubeconfigOptions {
  readonly userAgent?: string;
}

/** Reads the kubeconfig without sending a request. @throws ClusterError `configuration` */
export async function connectToCluster(options: ConnectionOptions): Promise<ClusterConnection> {
  const config = await readKubeconfig(options);
  const cluster = config.getCurrentCluster() as { readonly server: string };
  return new KeptConnection(options, config, cluster.server);
}

class KeptConnection implements ClusterConnection {
  readonly server: string;
  readonly #options: ConnectionOptions;
  readonly #base: string;
  readonly #secure: boolean;
  readonly #agent: HttpAgent | HttpsAgent;
  #config: KubeConfig;
  /** The number of times that the credentials were reloaded. */
  #generation = 0;
  #reading: Promise<void> | undefined;
  /** A credential plugin is started once for all requests that wait for it. */
  #obtaining: Promise<Credentials> | undefined;

  constructor(options: ConnectionOptions, config: KubeConfig, base: string) {
    this.#options = options;
    this.#config = config;
    this.#base = base.replace(/\/$/, "");
    this.#secure = base.startsWith("https:");
    // One agent for all requests, because client-node would create one for each. Its pools are separated by
    // certificate.
    const kept = { keepAlive: true, keepAliveMsecs: 30_000, maxFreeSockets: 16 };
    this.#agent = this.#secure ? new HttpsAgent(kept) : new HttpAgent(kept);
    this.server = `${this.#base} (context ${config.currentContext})`;
  }

  async request(request: ApiRequest): Promise<IncomingMessage> {
    const generation = this.#generation;
    try {
      return await this.#attempt(request);
    } catch (error) {
      if (!(error instanceof ClusterError) || error.fault !== "unauthorized") throw error;
      // Tokens can be revoked early, and are replaced in files, by plugins, or in the kubeconfig itself.
      if (generation === this.#generation) await this.#readAgain();
      return this.#attempt(request);
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  #readAgain(): Promise<void> {
    this.#reading ??= this.#replaceConfig().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async #replaceConfig(): Promise<void> {
    // A new KubeConfig, because the token caches of client-node do not learn that a token was rejected.
    this.#config = await readKubeconfig({ ...this.#options, context: this.#config.currentContext });
    this.#generation++;
  }

  async #attempt(request: ApiRequest): Promise<IncomingMessage> {
    this.#obtaining ??= this.#credentials().finally(() => {
      this.#obtaining = undefined;
    });
    const credentials = await this.#obtaining;
    try {
      return await this.#checked(await this.#send(request, credentials), request);
    } catch (error) {
      if (!(error instanceof StaleSocketError)) throw error;
      return this.#checked(await this.#send(request, credentials), request);
    }
  }

  async #credentials(): Promise<Credentials> {
    const options: HttpsOptions = {};
    try {
      await this.#config.applyToHTTPSOptions(options);
    } catch (error) {
      throw new ClusterError(
        "unauthorized",
        `cannot get credentials for ${this.server}: ${whyNoCredentials(error)}; run kubectl get namespaces to see whether kubectl can`,
      );
    }
    const headers: OutgoingHttpHeaders = { ...(options.headers as OutgoingHttpHeaders | undefined) };
    // A token from a file may end with a line break.
    if (typeof headers["Authorization"] === "string") headers["Authorization"] = headers["Authorization"].trim();
    const isProxied = Boolean(this.#config.getCurrentCluster()?.proxyUrl);
    return { ...defined(options), headers, ...(isProxied ? {} : { agent: this.#agent }) };
  }

  #send(request: ApiRequest, credentials: Credentials): Promise<IncomingMessage> {
    const { method = "GET", path, body, contentType = contentTypes[method], signal } = request;
    const text = body === undefined ? undefined : JSON.stringify(body);
    const options: RequestOptions = {
      ...urlToHttpOptions(new URL(this.#base + path)),
      ...credentials,
      method,
      headers: {
        ...credentials.headers,
        accept: "application/json",
        "user-agent": this.#options.userAgent ?? "meshward",
        ...(text === undefined ? {} : { "content-type": contentType, "content-length": Buffer.byteLength(text) }),
      },
      ...(signal === undefined ? {} : { signal }),
    };
    return new Promise((resolve, reject) => {
      const sent = this.#secure ? httpsRequest(options) : httpRequest(options);
      sent.once("response", resolve);
      sent.once("error", (error) => reject(this.#reasonOf(error, request, sent.reusedSocket)));
      sent.end(text);
    });
  }

  #reasonOf(error: Error, { method = "GET", signal }: ApiRequest, isReused: boolean): Error {
    if (signal?.aborted) return signal.reason instanceof Error ? signal.reason : error;
    // The server closed an idle connection at the moment when it was reused.
    if (isReused && method === "GET" && ["ECONNRESET", "EPIPE"].includes(codeOf(error))) return new StaleSocketError();
    return requestError(this.server, error);
  }

  async #checked(response: IncomingMessage, { method = "GET", path }: ApiRequest): Promise<IncomingMessage> {
    const { statusCode: status = 0 } = response;
    if (status < 300) return response;
    const text = await shortText(response);
    const answer = json(text);
    throw statusError(this.server, {
      status,
      said: (oneOf(member(answer, "message")) ?? text.slice(0, 200)) || path.split("?")[0] || "",
      reason: oneOf(member(answer, "reason")),
      isWrite: method !== "GET",
      retryAfterMs: retryAfterMs(response.headers["retry-after"]),
    });
  }
}

/** The reason: a credential plugin failed, or a file that the kubeconfig names cannot be read. */
function whyNoCredentials(error: unknown): string {
  if (!isSystemError(error))
    return (error instanceof Error ? error.message : String(error)) || "the credential plugin failed";
  const { syscall, path = "", code } = error;
  if (!syscall.startsWith("spawn")) return `${path}: ${unreadable(error)}`;
  return `the credential plugin ${path} ${code === "ENOENT" ? "does not exist: install it, or correct its path" : `cannot be started (${code})`}`;
}

class StaleSocketError extends Error {}

type Credentials = Omit<HttpsOptions, "headers"> & { readonly headers: OutgoingHttpHeaders };

const contentTypes = {
  GET: "application/json",
  POST: "application/json",
  PUT: "application/json",
  PATCH: "application/merge-patch+json",
  DELETE: "application/json",
};

/** client-node leaves options with the value `undefined`, which Node does not treat as absent. */
const defined = (options: object): object =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));

const oneOf = (value: unknown): string | undefined => (typeof value === "string" && value !== "" ? value : undefined);

/** Parses Retry-After: seconds, or a date. */
function retryAfterMs(header: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  const ms = /^\d+$/.test(header.trim()) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return Number.isFinite(ms) && ms > 0 ? ms : undefined;
}

function json(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

const longestStatus = 64 * 1024;

/**
 * Reads the beginning of an error response's body. Errors while reading are ignored, because the status matters more.
 */
async function shortText(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of response) {
      chunks.push(chunk as Buffer);
      size += (chunk as Buffer).length;
      if (size > longestStatus) break;
    }
  } catch {
    response.destroy();
  }
  return Buffer.concat(chunks).toString("utf8");
}
